package countersign

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Request is what a procurement system asks: the input of RequestSigning, in plain JSON.
type Request struct {
	V        int      `json:"v" doc:"Version of this document: 1." default:"1"`
	Tenant   string   `json:"tenant" doc:"The tenant whose key signs."`
	ID       string   `json:"request" doc:"The caller's own id of the request; the same id is the same signing."`
	Purpose  string   `json:"purpose" doc:"One of the tenant's purposes; it decides who must approve."`
	Title    string   `json:"title" doc:"What approvers read."`
	Document Document `json:"document"`
	// Deadlines override the tenant's periods, stage by stage, with absolute instants.
	Deadlines map[string]time.Time `json:"deadlines,omitempty" doc:"Absolute deadline of a stage, by the stage's name."`
}

// Check finds what is wrong with the request itself, without asking anybody. Its errors name the field.
func (r Request) Check() error {
	if r.V != Version {
		return fmt.Errorf("v: is %d, this build reads %d", r.V, Version)
	}
	if err := CheckTenantID(r.Tenant); err != nil {
		return err
	}
	if err := CheckRequestID(r.ID); err != nil {
		return err
	}
	if !isShortName(r.Purpose) {
		return fmt.Errorf("purpose %q is not a name: use lower-case letters, digits and dashes", clip(r.Purpose))
	}
	if err := checkText("title", r.Title, MaxTitle); err != nil {
		return err
	}
	if strings.TrimSpace(r.Title) == "" {
		return fmt.Errorf("title: is empty; approvers need to know what they are asked")
	}
	if strings.ContainsAny(r.Title, "\n\t\u2028\u2029") {
		return fmt.Errorf("title: has a line end or a tab; it is one line")
	}
	if len(r.Deadlines) > 20 {
		return fmt.Errorf("deadlines: %d given, at most 20 stages", len(r.Deadlines))
	}
	if err := r.Document.Check(); err != nil {
		return err
	}
	if err := CheckKey(r.Tenant, r.Document.Key); err != nil {
		return fmt.Errorf("document: %w", err)
	}
	return nil
}

// Fingerprint tells the same request from another one under the same id.
func (r Request) Fingerprint() (string, error) { return Digest("countersign request v1", r) }

// isBidiControl finds what makes text look like other text (Unicode TR 36, bidirectional overrides and isolates).
func isBidiControl(c rune) bool { return c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 }

func checkText(field, s string, limit int) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s: is not valid UTF-8", field)
	}
	if n := utf8.RuneCountInString(s); n > limit {
		return fmt.Errorf("%s: has %d characters, at most %d", field, n, limit)
	}
	for _, c := range s {
		if c < ' ' && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 || isBidiControl(c) {
			return fmt.Errorf("%s: has a control character (U+%04X)", field, c)
		}
	}
	return nil
}

// Withdrawal is the payload of the withdraw signal. Only the requester may send it; the server's stamp on the signal says who did.
type Withdrawal struct {
	ID     string `json:"id" doc:"The caller's id of this withdrawal, for duplicates."`
	Reason string `json:"reason"`
}

// Check finds what is wrong with the withdrawal itself.
func (w Withdrawal) Check() error {
	if err := CheckRequestID(w.ID); err != nil {
		return fmt.Errorf("withdrawal id: %w", err)
	}
	return checkText("reason", w.Reason, MaxReason)
}

// WithdrawalRecord is what became of one withdraw signal: it took effect, or was refused with the reason.
type WithdrawalRecord struct {
	ID      string   `json:"id"`
	Reason  string   `json:"reason"`
	Sender  string   `json:"sender"` // as the server stamped it; empty where it could not be read
	At      string   `json:"at"`     // RFC 3339 UTC, when the server took it
	Refusal *Refusal `json:"refusal,omitempty"`
}
