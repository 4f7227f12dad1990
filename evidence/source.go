package evidence

import (
	"encoding/json"
	"net/netip"
	"strings"
	"unicode"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

// Source is from where something was sent, as the API saw it: the address that the connection came from, and what the program there called
// itself. It is no proof: who sends to Temporal without the API writes there what they like, or nothing. It helps to find out about a decision that
// is disputed; nothing is decided by it.
type Source struct {
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
}

// HeaderSource is the field of a signal's or a start's header that holds the source, as JSON.
const HeaderSource = "countersign-source"

// maxUserAgent bounds what a program calls itself, in bytes.
const maxUserAgent = 256

// maxSourceField bounds the field of the header, in bytes: more is not read.
const maxSourceField = 1 << 10

// Payload is the source as a field of a header. What can't be recorded as it is, is left out.
func (s Source) Payload() (*commonpb.Payload, error) {
	body, err := json.Marshal(s.kept())
	if err != nil {
		return nil, err
	}
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: body}, nil
}

// ReadSource reads the source from a header. What is no address, or nothing that a program calls itself, is as if it weren't there.
func ReadSource(h *commonpb.Header) Source {
	field := h.GetFields()[HeaderSource]
	if field == nil || len(field.GetData()) > maxSourceField {
		return Source{}
	}
	var s Source
	if json.Unmarshal(field.GetData(), &s) != nil {
		return Source{}
	}
	return s.kept()
}

// kept is what of a source is fit to be shown: an address in its usual spelling, and one line of printable text.
func (s Source) kept() Source {
	var kept Source
	if a, err := netip.ParseAddr(s.IP); err == nil {
		kept.IP = a.Unmap().WithZone("").String()
	}
	agent := strings.ToValidUTF8(s.UserAgent, "")
	for len(agent) > maxUserAgent {
		agent = strings.ToValidUTF8(agent[:maxUserAgent], "")
	}
	kept.UserAgent = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, agent))
	return kept
}

// source is from where an event was sent, as far as that was recorded. The saga's first event was the custodian's, which keeps who asked it.
func (c *Case) source(e *historypb.HistoryEvent) Source {
	switch {
	case e.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED && c.Admission != nil && c.Admission.Source != nil:
		return c.Admission.Source.kept()
	case e.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		return ReadSource(e.GetWorkflowExecutionSignaledEventAttributes().GetHeader())
	}
	return Source{}
}
