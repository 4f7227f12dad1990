package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/policy"
)

// Authority is what a decision under a grant stands on: every grant of the chain, from the one that the role's holder gave to the one that
// the actor used, with the proofs of those who gave and took them.
type Authority struct {
	Grants      []GrantRecord `json:"grants"`
	HolderRoles []string      `json:"holderRoles"` // of the first delegator, as the tenant's file gave them when this was asked
	People      []Named       `json:"people"`      // of the chain, the holder first, as the tenant's file named them
}

// Named is a person as the tenant's file names them.
type Named struct {
	Actor        countersign.Actor `json:"actor"`
	Name         string            `json:"name,omitempty"`
	Organisation string            `json:"organisation,omitempty"`
}

// named is what the tenant's file called a person of the chain; no more than the actor where it did not.
func (a *Authority) named(who countersign.Actor) Named {
	for _, p := range a.People {
		if p.Actor == who {
			return p
		}
	}
	return Named{Actor: who}
}

// namesItsPeople says whether the people are those of the chain, the holder first, each once.
func (a *Authority) namesItsPeople() bool {
	var chain, named []countersign.Actor
	for i, g := range a.Grants {
		if i == 0 {
			chain = append(chain, g.Grant.Grant.Delegator)
		}
		chain = append(chain, g.Grant.Grant.Grantee)
	}
	for _, p := range a.People {
		named = append(named, p.Actor)
	}
	return slices.Equal(chain, named)
}

// GrantRecord is one grant as its workflow keeps it.
type GrantRecord struct {
	Grant    countersign.SignedGrant       `json:"grant"`
	Given    *Proven                       `json:"given,omitempty"` // that the delegator gave it
	Accepted *countersign.SignedAcceptance `json:"accepted,omitempty"`
	Taken    *Proven                       `json:"taken,omitempty"` // that the grantee took it
	State    string                        `json:"state"`
	Used     int                           `json:"used"` // decisions, so far
}

// Proven is a proof with what is needed to check it again without a network: the issuer's key, and the instant as of which it was checked.
type Proven struct {
	Key json.RawMessage `json:"key"`
	At  time.Time       `json:"at"`
}

// KeyRecord is one enrolled key as its workflow keeps it.
type KeyRecord struct {
	Enrolment countersign.SignedEnrolment `json:"enrolment"`
	Proven    *Proven                     `json:"proven,omitempty"`
	State     string                      `json:"state"` // active, refused or retired
	Counter   uint32                      `json:"counter"`
}

// The states of an enrolled key.
const (
	KeyActive  = "active"
	KeyRefused = "refused"
	KeyRetired = "retired"
)

// Delegators are the people of the chain but the actor, the role's holder first.
func (a *Authority) Delegators() []countersign.Actor {
	if a == nil {
		return nil
	}
	var list []countersign.Actor
	for _, g := range a.Grants {
		list = append(list, g.Grant.Grant.Delegator)
	}
	return list
}

// inForce says that each grant of the chain was taken and none was ended before its time. A window that closed is another matter: it is
// compared with the instant of the decision, to the second.
func (a *Authority) inForce() bool {
	for _, g := range a.Grants {
		if g.Accepted == nil || g.State != countersign.GrantActive && g.State != countersign.GrantExpired {
			return false
		}
	}
	return len(a.Grants) > 0
}

// purposes are those of the cover that the last grant is, or is a part of: the narrowest that the chain names. None where nothing in it is cover.
func (a *Authority) purposes() []string {
	for _, g := range slices.Backward(a.Grants) {
		if list := g.Grant.Grant.Purposes; len(list) > 0 {
			return list
		}
	}
	return nil
}

// covers says whether each grant of the chain is for what is to be signed, and cover for one of the tenant's own: of whom is covered for, the plan
// says that, which every approver's proof binds. Without a grant there is nothing to ask.
func (a *Authority) covers(in SignInput, stage countersign.Stage) *countersign.Refusal {
	if a == nil || len(a.Grants) == 0 {
		return nil // whether there should be one is for its chain to say
	}
	holder := a.Delegators()[0]
	if e, ok := stage.Find(holder); len(a.purposes()) > 0 && (!ok || e.Partner) {
		return countersign.Refuse("cover-is-by-a-colleague", "the grants cover for %s, whom the plan doesn't name as one of the tenant's own", holder)
	}
	_, request, _ := countersign.ParseSagaID(in.Context.Signing)
	for _, g := range a.Grants {
		if refusal := g.Grant.Grant.Covers(in.Context.Tenant, in.Plan.Purpose, request, in.Context.Document.SHA256); refusal != nil {
			return refusal
		}
	}
	return nil
}

// Scope is the authority as the policy is asked about it: the last grant, which is the narrowest, within the purposes of the cover that it may be
// a part of.
func (a *Authority) Scope() *policy.Grant {
	if a == nil || len(a.Grants) == 0 {
		return nil
	}
	last := a.Grants[len(a.Grants)-1].Grant.Grant
	return &policy.Grant{
		Tenant: last.Tenant, Holder: a.Grants[0].Grant.Grant.Delegator, HolderRoles: a.HolderRoles, Delegators: a.Delegators(),
		Grantee: last.Grantee, Role: last.Role, Actions: last.Actions, Documents: last.Documents, Request: last.Request, Purposes: a.purposes(),
		NotBefore: last.NotBefore, NotAfter: last.NotAfter, Depth: last.Depth, InForce: a.inForce(),
	}
}

// Chain checks that the grants are a chain, of this tenant, from the holder to the grantee, under the digests that are named.
func (a *Authority) Chain(tenant string, holder, grantee countersign.Actor, digests []string) *countersign.Refusal {
	if a == nil || len(a.Grants) != len(digests) {
		return countersign.Refuse("grant-chain", "the grants are not those that the decision names")
	}
	var chain []countersign.Grant
	for i, g := range a.Grants {
		digest, err := g.Grant.Grant.Digest()
		if err != nil || digest != digests[i] {
			return countersign.Refuse("grant-chain", "a grant is not the one that the decision names")
		}
		chain = append(chain, g.Grant.Grant)
	}
	if err := countersign.CheckChain(chain); err != nil {
		return countersign.Refuse("grant-chain", "the grants are no chain: %s", err)
	}
	last := chain[len(chain)-1]
	if last.Tenant != tenant || chain[0].Delegator != holder || last.Grantee != grantee {
		return countersign.Refuse("grant-chain", "the grants lead from somebody else, or to somebody else, than the decision names")
	}
	return nil
}

// Verify checks the proofs of everybody who gave and took a grant of the chain, without a network. Where the chain has cover in it, all of them
// must be people of one issuer that the tenant calls its own: a partner has no standing access, in nobody's place.
func (a *Authority) Verify(issuers []countersign.Issuer) error {
	if len(a.purposes()) > 0 {
		if err := a.verifyCover(issuers); err != nil {
			return err
		}
	}
	for _, g := range a.Grants {
		grant := g.Grant.Grant
		digest, err := grant.Digest()
		if err != nil {
			return err
		}
		if err := g.Given.verify(GrantBound(grant, digest), g.Grant.Proof, issuers); err != nil {
			return fmt.Errorf("the grant of %s: %w", grant.Delegator, err)
		}
		if g.Accepted == nil {
			return fmt.Errorf("the grant of %s was never accepted", grant.Delegator)
		}
		taken := g.Accepted.Acceptance
		if taken.V != countersign.Version {
			return fmt.Errorf("the acceptance of %s: v is %d, this build reads %d", grant.Grantee, taken.V, countersign.Version)
		}
		if taken.Tenant != grant.Tenant || taken.Grant != digest || taken.Actor != grant.Grantee {
			return fmt.Errorf("the acceptance of %s is of another grant", grant.Grantee)
		}
		acceptance, err := taken.Digest()
		if err != nil {
			return err
		}
		if err := g.Taken.verify(AcceptanceBound(taken, acceptance), g.Accepted.Proof, issuers); err != nil {
			return fmt.Errorf("the acceptance of %s: %w", grant.Grantee, err)
		}
	}
	return nil
}

func (a *Authority) verifyCover(issuers []countersign.Issuer) error {
	home := a.Grants[0].Grant.Grant.Delegator.Issuer
	if !slices.ContainsFunc(issuers, func(i countersign.Issuer) bool { return i.URL == home && i.Kind == "home" }) {
		return countersign.Refuse("cover-is-by-a-colleague", "the grants cover for somebody of %s, which is no issuer of the tenant's own", home)
	}
	for _, g := range a.Grants {
		if grant := g.Grant.Grant; grant.Delegator.Issuer != home || grant.Grantee.Issuer != home {
			return countersign.Refuse("cover-is-by-a-colleague", "the grants cover for somebody of %s, and lead to another organisation", home)
		}
	}
	return nil
}

func (p *Proven) verify(what identity.Bound, proof countersign.Proof, issuers []countersign.Issuer) error {
	if p == nil {
		return errors.New("there is no proof of it")
	}
	for _, i := range issuers {
		if i.URL == what.Actor.Issuer {
			_, err := identity.VerifyArchivedBound(what, proof.IDToken, i, p.Key, p.At)
			return err
		}
	}
	return fmt.Errorf("the issuer of %s is not among those that the tenant trusted", what.Actor)
}

// GrantBound is what the delegator's ID token proves.
func GrantBound(g countersign.Grant, digest string) identity.Bound {
	return identity.Bound{Digest: digest, Actor: g.Delegator, IssuedAt: g.IssuedAt, What: "grant"}
}

// AcceptanceBound is what the grantee's ID token proves.
func AcceptanceBound(a countersign.Acceptance, digest string) identity.Bound {
	return identity.Bound{Digest: digest, Actor: a.Actor, IssuedAt: a.IssuedAt, What: "acceptance"}
}

// Verify checks that the key is the actor's own, by the proofs of its enrolment, and that it signed the digest. Without a network.
func (k *KeyRecord) Verify(tenant string, actor countersign.Actor, digest string, p *countersign.KeyProof, issuers []countersign.Issuer) (identity.KeyUse, error) {
	e := k.Enrolment.Enrolment
	switch {
	case p == nil:
		return identity.KeyUse{}, countersign.Refuse("key-missing", "the decision has no signature of the enrolled key")
	case e.Tenant != tenant || e.Actor != actor:
		return identity.KeyUse{}, countersign.Refuse("key-other-person", "the key was enrolled by somebody else, or for another tenant")
	case k.Proven == nil:
		return identity.KeyUse{}, countersign.Refuse("key-not-enrolled", "the key's enrolment was not proven")
	}
	at := slices.IndexFunc(issuers, func(i countersign.Issuer) bool { return i.URL == actor.Issuer })
	if at < 0 {
		return identity.KeyUse{}, countersign.Refuse("token-issuer", "the issuer of %s is not among those that the tenant trusted", actor)
	}
	if _, _, err := identity.VerifyArchivedEnrolment(k.Enrolment, issuers[at], k.Proven.Key, k.Proven.At); err != nil {
		return identity.KeyUse{}, fmt.Errorf("the enrolment of the key: %w", err)
	}
	use, refusal := identity.VerifyKeyProof(digest, *p, e)
	if refusal != nil {
		return identity.KeyUse{}, refusal
	}
	return use, nil
}

// Assurance is how strongly a decision is proven: by an ID token bound to it, and, for 2, by the person's own enrolled key as well.
func Assurance(key *KeyRecord) int {
	if key == nil {
		return 1
	}
	return 2
}
