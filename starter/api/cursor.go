package api

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/countersign-dev/countersign"
)

// maxCursor bounds a cursor that a caller gives back.
const maxCursor = 4096

// cursorKey is derived from the key of the tenant's API: every process of it takes the others' cursors, and nobody else can make one.
func cursorKey(keyFile string) ([]byte, error) {
	secret, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the starter's key: %w", err)
	}
	return hkdf.Key(sha256.New, secret, nil, "countersign cursor v1", 32)
}

// sealCursor makes a cursor out of a place in a list. It can be read, and counts for this tenant, this list and this filter alone.
func (t *tenant) sealCursor(list, filter string, place any) (string, error) {
	body, err := json.Marshal(place)
	if err != nil {
		return "", fmt.Errorf("couldn't make a cursor: %w", err)
	}
	text := base64.RawURLEncoding
	return text.EncodeToString(body) + "." + text.EncodeToString(t.cursorSeal(list, filter, body)), nil
}

func (t *tenant) cursorSeal(list, filter string, body []byte) []byte {
	mac := hmac.New(sha256.New, t.cursors)
	for _, part := range [][]byte{[]byte(t.settings.Tenant), []byte(list), []byte(filter), body} {
		fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return mac.Sum(nil)
}

// openCursor reads a cursor of this tenant, list and filter. Anything else is refused in one way.
func (t *tenant) openCursor(list, filter, cursor string, place any) error {
	refusal := newProblem(http.StatusUnprocessableEntity, "bad-cursor", "the cursor is not one of this list with this filter; begin without one")
	first, second, _ := strings.Cut(cursor, ".")
	body, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil || len(cursor) > maxCursor {
		return refusal
	}
	seal, err := base64.RawURLEncoding.DecodeString(second)
	if err != nil || !hmac.Equal(seal, t.cursorSeal(list, filter, body)) {
		return refusal
	}
	if err := countersign.ParseStrict(body, place); err != nil {
		return refusal
	}
	return nil
}
