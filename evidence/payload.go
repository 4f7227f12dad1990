package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	commonpb "go.temporal.io/api/common/v1"

	"github.com/countersign-dev/countersign"
)

// decode reads the one JSON payload of an event of a closed history, as strictly as everything that is to be verified: what two readers could understand
// differently is an error, and so is what this build doesn't know, because it can't say what that means.
func decode(p *commonpb.Payloads, into any) error {
	err := read(p, into, countersign.ParseStrict)
	if errors.Is(err, countersign.ErrUnknownMember) {
		return fmt.Errorf("couldn't read its payload, which a newer build may have written; ask that one: %w", err)
	}
	return err
}

// ReadRunning reads the one JSON payload of an event of a signing that is still running. While workers are replaced, a newer one may have written more than
// this one knows, and that is passed over; a doubled member is an error all the same.
func ReadRunning(p *commonpb.Payloads, into any) error {
	return read(p, into, countersign.ParseKnown)
}

// quoting is what carries a sender's own bytes in one of its members. They are kept as they came, whatever they are, and only their own readers judge them: what a
// stranger sends must not make a whole history unreadable.
type quoting interface {
	quoted() (member string, bytes *json.RawMessage)
}

func (in *CheckInput) quoted() (string, *json.RawMessage)    { return "signed", &in.Signed }
func (in *WithdrawInput) quoted() (string, *json.RawMessage) { return "withdrawal", &in.Withdrawal }

func read(p *commonpb.Payloads, into any, parse func([]byte, any) error) error {
	if len(p.GetPayloads()) != 1 {
		return fmt.Errorf("it has %d payloads instead of one", len(p.GetPayloads()))
	}
	payload := p.Payloads[0]
	if enc := string(payload.GetMetadata()["encoding"]); enc != "json/plain" {
		return fmt.Errorf("its payload is encoded as %q, not as plain JSON", enc)
	}
	raw := payload.GetData()
	q, ok := into.(quoting)
	if !ok {
		return parse(raw, into)
	}
	name, kept := q.quoted()
	rest, quote, err := unquote(raw, name)
	if err != nil {
		return err
	}
	if err := parse(rest, into); err != nil {
		return err
	}
	*kept = quote
	return nil
}

// unquote takes the value of a member out of a JSON object, and leaves null in its place. Where the member is there a second time, that one stays, for the
// reader of the rest to refuse.
func unquote(raw []byte, member string) (rest []byte, quote json.RawMessage, err error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if d.PeekKind() != '{' {
		return raw, nil, nil
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, nil, err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, nil, err
		}
		if name.String() != member {
			if err := d.SkipValue(); err != nil {
				return nil, nil, err
			}
			continue
		}
		value, err := d.ReadValue()
		if err != nil {
			return nil, nil, err
		}
		end := int(d.InputOffset())
		rest := slices.Concat(raw[:end-len(value)], []byte("null"), raw[end:])
		return rest, json.RawMessage(bytes.Clone(value)), nil
	}
	return raw, nil, nil
}
