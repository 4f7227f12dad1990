package countersign

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// What a grant may allow.
const (
	GrantDecide   = "decide"   // to approve or reject in stages of the grant's role
	GrantDelegate = "delegate" // to hand a part of it on, as far as depth reaches
)

// Bounds on grants.
const (
	MaxGrantLife  = 90 * 24 * time.Hour
	MaxGrantDepth = 3
	MaxGrantUses  = 100
	maxGrantScope = 50 // documents, or purposes
)

// Bounds on cover, the grant over purposes: it reaches signings that nobody has seen yet, so it is shorter and handed on less than others.
const (
	// MaxCoverLife is the longest three months of a calendar, which a leave may take. Who is away for longer has the role taken off them in the
	// tenant's file, and it is given to somebody else there.
	MaxCoverLife = 92 * 24 * time.Hour
	// MaxCoverDepth lets whoever covers find somebody for one day more, and no further.
	MaxCoverDepth = 1
)

// Grant lets one person use a part of another person's authority, for a while. It is narrow by construction: one tenant, one role, named
// documents, one signing or the signings of named purposes, a window, a number of uses. A grant that stands on another one names it by
// digest, and may only narrow it.
//
// A grant over purposes is cover: for somebody's absence, without knowing what will come. Only a colleague of the delegator's own
// organisation can have it, and whatever is a part of it: people of one issuer, and of a home issuer of the tenant.
//
// Its digest is its name: `access/<tenant>/<digest>` is the workflow that keeps it, so that no two grants can share a name and none can
// change under its name.
type Grant struct {
	V         int      `json:"v"`
	Tenant    string   `json:"tenant"`
	Delegator Actor    `json:"delegator" doc:"Whose authority it is a part of."`
	Grantee   Actor    `json:"grantee" doc:"Who may use it."`
	Role      string   `json:"role" doc:"The role in whose stages it may be used."`
	Actions   []string `json:"actions" doc:"Any of decide, delegate."`
	Documents []string `json:"documents" doc:"SHA-256 of the documents that it is for; empty where it is for one signing, or for purposes."`
	Request   string   `json:"request" doc:"The request that it is for; empty where it is for documents, or for purposes."`
	Purposes  []string `json:"purposes,omitempty" doc:"The purposes whose signings it is for, whichever may come; left out where it is for documents, or for one signing."`
	NotBefore int64    `json:"nbf"` // seconds since 1970, UTC
	NotAfter  int64    `json:"exp"` // half-open: at this second it is over
	Depth     int      `json:"depth" doc:"How often it may be handed on."`
	Uses      int      `json:"uses" doc:"How many decisions it is for."`
	Parent    string   `json:"parent" doc:"Digest of the grant that it is a part of; empty where the delegator holds the role."`
	Reason    string   `json:"reason"`
	IssuedAt  int64    `json:"iat"`
}

// Digest is SHA-256("countersign grant v1\0" ‖ RFC 8785 JSON), in hex: the grant's name, and the nonce of the delegator's proof.
func (g Grant) Digest() (string, error) { return Digest("countersign grant v1", g) }

// Check finds what is wrong with the grant itself, without asking anybody.
func (g Grant) Check() error {
	if g.V != Version {
		return fmt.Errorf("grant: v is %d, this build reads %d", g.V, Version)
	}
	if err := CheckTenantID(g.Tenant); err != nil {
		return err
	}
	if g.Request != "" {
		if err := CheckRequestID(g.Request); err != nil {
			return fmt.Errorf("grant: %w", err)
		}
	}
	switch {
	case g.Delegator.Issuer == "" || g.Delegator.Subject == "" || g.Grantee.Issuer == "" || g.Grantee.Subject == "":
		return errors.New("grant: delegator and grantee need iss and sub")
	case g.Delegator == g.Grantee:
		return errors.New("grant: nobody grants to themselves")
	case !isShortName(g.Role):
		return fmt.Errorf("grant: role %q is not a name", clip(g.Role))
	case len(g.Actions) == 0 || !slices.IsSorted(g.Actions) || len(slices.Compact(slices.Clone(g.Actions))) != len(g.Actions):
		return errors.New("grant: actions must be named, sorted, each once")
	case g.scopes() != 1:
		return errors.New("grant: name either documents, one request or purposes; a grant for everything is no grant")
	case len(g.Documents) > maxGrantScope || !slices.IsSorted(g.Documents) || len(slices.Compact(slices.Clone(g.Documents))) != len(g.Documents):
		return fmt.Errorf("grant: at most %d documents, sorted, each once", maxGrantScope)
	case g.Depth < 0 || g.Depth > MaxGrantDepth:
		return fmt.Errorf("grant: depth is %d; give 0 to %d", g.Depth, MaxGrantDepth)
	case g.Depth > 0 && !slices.Contains(g.Actions, GrantDelegate):
		return fmt.Errorf("grant: depth %d needs the action %q", g.Depth, GrantDelegate)
	case g.Uses < 1 || g.Uses > MaxGrantUses:
		return fmt.Errorf("grant: uses is %d; give 1 to %d", g.Uses, MaxGrantUses)
	case g.Parent != "" && !isDigest(g.Parent):
		return errors.New("grant: parent must be the 64 hex digits of a grant's digest")
	case g.IssuedAt < 0 || g.IssuedAt > 1<<53-1:
		return errors.New("grant: iat must be seconds since 1970")
	}
	for _, action := range g.Actions {
		if action != GrantDecide && action != GrantDelegate {
			return fmt.Errorf("grant: action %q is none that can be granted", clip(action))
		}
	}
	if len(g.Purposes) > 0 {
		if err := g.checkCover(); err != nil {
			return err
		}
	}
	for _, document := range g.Documents {
		if !isDigest(document) {
			return errors.New("grant: documents are named by their SHA-256, 64 lower-case hex digits")
		}
	}
	longest := MaxGrantLife
	if len(g.Purposes) > 0 {
		longest = MaxCoverLife
	}
	if g.NotBefore < 0 || g.NotAfter > 1<<53-1 || g.NotAfter <= g.NotBefore || g.NotAfter-g.NotBefore > int64(longest/time.Second) {
		return fmt.Errorf("grant: exp must be after nbf and at most %d days later", longest/(24*time.Hour))
	}
	return checkText("grant: reason", g.Reason, MaxReason)
}

// scopes is of how many kinds of thing the grant is for something.
func (g Grant) scopes() (n int) {
	for _, named := range []bool{len(g.Documents) > 0, g.Request != "", len(g.Purposes) > 0} {
		if named {
			n++
		}
	}
	return n
}

// checkCover finds what is wrong with a grant over purposes. That its people are of a home issuer is known to the tenant's file alone.
func (g Grant) checkCover() error {
	switch {
	case len(g.Purposes) > maxGrantScope || !slices.IsSorted(g.Purposes) || len(slices.Compact(slices.Clone(g.Purposes))) != len(g.Purposes):
		return fmt.Errorf("grant: at most %d purposes, sorted, each once", maxGrantScope)
	case g.Delegator.Issuer != g.Grantee.Issuer:
		return errors.New("grant: a purpose is lent to a colleague of the delegator's own organisation alone; lend others one request, or documents")
	case g.Depth > MaxCoverDepth:
		return fmt.Errorf("grant: depth is %d; give 0 to %d where it is for purposes", g.Depth, MaxCoverDepth)
	}
	for _, purpose := range g.Purposes {
		if !isShortName(purpose) {
			return fmt.Errorf("grant: purpose %q is not a name", clip(purpose))
		}
	}
	return nil
}

// Live says whether the grant's window is open at an instant. The window is half-open: it closes with the second that exp names.
func (g Grant) Live(now time.Time) *Refusal {
	switch {
	case now.Unix() < g.NotBefore:
		return Refuse("grant-not-yet", "the grant begins at %s", time.Unix(g.NotBefore, 0).UTC().Format(time.RFC3339))
	case now.Unix() >= g.NotAfter:
		return Refuse("grant-expired", "the grant ended at %s", time.Unix(g.NotAfter, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// Covers says whether the grant is for that document in that request, of that purpose, of its tenant. It says nothing of the grants above it: what
// a chain is for, each grant of it is for.
func (g Grant) Covers(tenant, purpose, request, sha256 string) *Refusal {
	switch {
	case g.Tenant != tenant:
		return Refuse("grant-other-tenant", "the grant is of another tenant")
	case g.Request != "" && g.Request != request:
		return Refuse("grant-other-signing", "the grant is for another request")
	case len(g.Documents) > 0 && !slices.Contains(g.Documents, sha256):
		return Refuse("grant-other-document", "the grant is for another document")
	case len(g.Purposes) > 0 && !slices.Contains(g.Purposes, purpose):
		return Refuse("grant-other-purpose", "the grant is for another purpose")
	case g.scopes() == 0:
		return Refuse("grant-for-nothing", "the grant is for nothing")
	}
	return nil
}

// Narrows says whether the grant is a part of the parent and nothing beside it (RFC 8693 leaves the chain to us; it is made of grants,
// each hashing its parent).
func (g Grant) Narrows(parent Grant) error {
	digest, err := parent.Digest()
	if err != nil {
		return err
	}
	switch {
	case g.Parent != digest:
		return errors.New("it names another parent")
	case g.Tenant != parent.Tenant:
		return errors.New("it is of another tenant than its parent")
	case g.Delegator != parent.Grantee:
		return errors.New("its delegator is not whom the parent was granted to")
	case g.Role != parent.Role:
		return errors.New("it is for another role than its parent")
	case !slices.Contains(parent.Actions, GrantDelegate) || parent.Depth < 1:
		return errors.New("its parent may not be handed on")
	case g.Depth >= parent.Depth:
		return errors.New("it may be handed on as far as its parent, or further")
	case g.NotBefore < parent.NotBefore || g.NotAfter > parent.NotAfter:
		return errors.New("its window is not within its parent's")
	case g.Uses > parent.Uses:
		return errors.New("it has more uses than its parent")
	case parent.Request != "" && g.Request != parent.Request:
		return errors.New("it is for another request than its parent")
	case len(g.Purposes) > 0 && len(parent.Purposes) == 0:
		return errors.New("it is for whatever comes of a purpose, and its parent for one request or for documents")
	case len(parent.Purposes) > 0 && g.Grantee.Issuer != parent.Grantee.Issuer:
		return errors.New("its parent covers for an absence, and no part of that leaves the organisation")
	}
	for _, purpose := range g.Purposes {
		if !slices.Contains(parent.Purposes, purpose) {
			return errors.New("it is for a purpose that its parent is not for")
		}
	}
	for _, action := range g.Actions {
		if !slices.Contains(parent.Actions, action) {
			return fmt.Errorf("it allows to %s, which its parent doesn't", action)
		}
	}
	if len(parent.Documents) > 0 {
		if len(g.Documents) == 0 {
			return errors.New("it is for any document of a request, and its parent for named ones")
		}
		for _, document := range g.Documents {
			if !slices.Contains(parent.Documents, document) {
				return errors.New("it is for a document that its parent is not for")
			}
		}
	}
	return nil
}

// CheckChain checks a chain of grants from the one that stands on a role to the one that is used: each a part of the one before, nobody
// twice.
func CheckChain(chain []Grant) error {
	if len(chain) == 0 || len(chain) > MaxGrantDepth+1 {
		return fmt.Errorf("a chain has 1 to %d grants, this one has %d", MaxGrantDepth+1, len(chain))
	}
	if chain[0].Parent != "" {
		return errors.New("the chain doesn't begin at somebody's own role")
	}
	people := []Actor{chain[0].Delegator}
	for i, g := range chain {
		if err := g.Check(); err != nil {
			return err
		}
		if i > 0 {
			if err := g.Narrows(chain[i-1]); err != nil {
				return fmt.Errorf("grant %d of the chain: %w", i+1, err)
			}
		}
		if slices.Contains(people, g.Grantee) {
			return fmt.Errorf("the chain leads back to %s", g.Grantee)
		}
		people = append(people, g.Grantee)
	}
	return nil
}

// SignedGrant is the input of the workflow that keeps a grant. The proof is an ID token of the delegator whose nonce is the grant's digest.
type SignedGrant struct {
	Grant Grant `json:"grant"`
	Proof Proof `json:"proof"`
}

// Acceptance is how a grantee takes a grant: nobody acts for another without having agreed to.
type Acceptance struct {
	V        int    `json:"v"`
	Tenant   string `json:"tenant"`
	Grant    string `json:"grant" doc:"Digest of the grant."`
	Actor    Actor  `json:"actor"`
	IssuedAt int64  `json:"iat"`
}

// Digest is SHA-256("countersign acceptance v1\0" ‖ RFC 8785 JSON), in hex: the nonce of the grantee's proof.
func (a Acceptance) Digest() (string, error) { return Digest("countersign acceptance v1", a) }

// SignedAcceptance is the payload of the accept signal.
type SignedAcceptance struct {
	Acceptance Acceptance `json:"acceptance"`
	Proof      Proof      `json:"proof"`
}

// GrantEnd is the payload of the signals revoke and give-back. The server's stamp on the signal says who sent it.
type GrantEnd struct {
	ID     string `json:"id" doc:"The caller's id of this ending, for duplicates."`
	Reason string `json:"reason"`
}

// Check finds what is wrong with the ending itself.
func (e GrantEnd) Check() error { return Withdrawal(e).Check() }

// The states of a grant.
const (
	GrantInvited   = "invited"    // offered, not yet accepted
	GrantActive    = "active"     // may be used
	GrantRefused   = "refused"    // could not be given
	GrantExpired   = "expired"    // its window closed
	GrantRevoked   = "revoked"    // its delegator, or the tenant's owner, took it back
	GrantGivenBack = "given-back" // its grantee gave it up
)
