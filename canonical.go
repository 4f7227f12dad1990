package countersign

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	strict "github.com/go-json-experiment/json"
	"github.com/gowebpki/jcs"
)

// Canonical is v as RFC 8785 JSON: the bytes that digests are taken over, the same in every language.
func Canonical(v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("couldn't write JSON: %w", err)
	}
	out, err := jcs.Transform(plain)
	if err != nil {
		return nil, fmt.Errorf("couldn't make the JSON canonical (RFC 8785): %w", err)
	}
	return out, nil
}

// ParseStrict reads one JSON value and nothing besides: unknown, doubled or differently written members and trailing bytes are errors, at every depth. Go's own
// decoder lets each of them pass, and two readers could understand one text differently. Of a member that it doesn't know, the error is ErrUnknownMember.
func ParseStrict(raw []byte, v any) error { return parse(raw, v, strict.RejectUnknownMembers(true)) }

// ParseKnown reads like ParseStrict, and passes over members that it doesn't know, those that are written differently among them: for what a newer build may have
// written while an older one is still running. Nothing that is to be verified is read by it.
func ParseKnown(raw []byte, v any) error { return parse(raw, v) }

// ErrUnknownMember is the error of a member that the reader doesn't know, or that is written differently.
var ErrUnknownMember = strict.ErrUnknownName

func parse(raw []byte, v any, how ...strict.Options) error {
	err := strict.Unmarshal(raw, v, how...)
	var misfit *strict.SemanticError
	if !errors.As(err, &misfit) {
		return err
	}
	// Who sent the text knows it as JSON, not as our types.
	at := string(misfit.JSONPointer)
	if at == "" {
		at = "/"
	}
	if misfit.Err == nil {
		return fmt.Errorf("at %s: a JSON %s doesn't fit there", at, misfit.JSONKind)
	}
	return fmt.Errorf("at %s: %w", at, misfit.Err)
}

// Digest is the SHA-256 over a domain name, a zero byte and the canonical JSON of v, in lower-case hex. The domain
// keeps a digest of one kind from being shown as one of another kind.
func Digest(domain string, v any) (string, error) {
	body, err := Canonical(v)
	if err != nil {
		return "", err
	}
	return digestOf(domain, body), nil
}

func digestOf(domain string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(domain))
	h.Write([]byte{0})
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// SHA256 is the plain digest of bytes, in lower-case hex, as sha256sum prints it.
func SHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
