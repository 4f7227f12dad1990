// Package countersign is the vocabulary of the signing pipeline: tenants, documents, requests, decisions, plans and
// outcomes, with the canonical bytes and digests that bind them to each other.
//
// It does no I/O and imports nothing else of this module. Everything here is plain JSON on the wire, so that a
// workflow can be started and a decision signalled from any Temporal SDK.
package countersign

import (
	"fmt"
	"strings"
)

// Version is the version of the documents that this build writes: requests, decisions, statements.
const Version = 1

// Limits of what a stranger may send. They are part of the contract: a larger value is refused with a message, never cut.
const (
	MaxTitle  = 200  // characters of a title
	MaxReason = 2000 // characters of a reason
)

// Actor is a person or a machine as its own identity provider names it. The same subject at two issuers is two actors.
type Actor struct {
	Issuer  string `json:"iss" doc:"The issuer URL of the actor's identity provider."`
	Subject string `json:"sub" doc:"The actor's subject at that issuer."`
}

// String is the actor as one word, as the Temporal server stamps it on events: issuer, '#', subject.
func (a Actor) String() string { return a.Issuer + "#" + a.Subject }

// IsZero says that nobody is named.
func (a Actor) IsZero() bool { return a == Actor{} }

// CheckTenantID says whether id can name a tenant: it becomes a namespace, a key prefix and part of workflow ids.
func CheckTenantID(id string) error {
	if !isName(id, 2, 31) {
		return fmt.Errorf("tenant %q is not a name: use 2 to 31 lower-case letters, digits and dashes, a letter first", clip(id))
	}
	return nil
}

// CheckRequestID says whether id can name a request: it becomes part of workflow ids and object keys.
func CheckRequestID(id string) error {
	if !isRequestID(id) {
		return fmt.Errorf("request id %q can't be used: use 1 to 80 letters, digits, '.', '_' and '-', a letter or digit first", clip(id))
	}
	return nil
}

// clip keeps what a stranger sent from filling an error message.
func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}

// ParseActor reads what Actor.String wrote. A platform process is no actor and does not parse.
func ParseActor(s string) (Actor, bool) {
	issuer, subject, ok := strings.Cut(s, "#")
	if !ok || subject == "" || !isURL(issuer) {
		return Actor{}, false
	}
	return Actor{Issuer: issuer, Subject: subject}, true
}
