package policy

import (
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/countersign-dev/countersign"
)

// The actions that the default set knows.
const (
	Request  = "request"
	Decide   = "decide"
	Withdraw = "withdraw"

	BreakGlass = "break-glass"
	Review     = "review"

	View     = "view"
	Delegate = "delegate"
	Accept   = "accept"
	GiveBack = "give-back"
	Revoke   = "revoke"
	Enrol    = "enrol"
	Retire   = "retire"
)

// The kinds of thing that a question is about.
const (
	kindSigning = "Signing"
	kindStage   = "Stage"
	kindGrant   = "Grant"
	kindKey     = "Key"
)

// Question is everything that an answer depends on. It is recorded beside the answer, and asked again by whoever verifies.
type Question struct {
	Action    string    `json:"action"`
	Principal Principal `json:"principal"`
	Resource  Resource  `json:"resource"`
	Now       time.Time `json:"now"`
	Assurance int       `json:"assurance"`
	Grant     *Grant    `json:"grant,omitempty"` // that the actor acts under; nil where on a role of their own
}

// Grant is the authority that somebody lent to the actor: the last grant of a chain, which is the narrowest, with the chain's people.
type Grant struct {
	Tenant      string              `json:"tenant"`
	Holder      countersign.Actor   `json:"holder"`      // whose role it is
	HolderRoles []string            `json:"holderRoles"` // as the tenant's settings give them now
	Delegators  []countersign.Actor `json:"delegators"`  // from the holder to whom the actor has it from
	Grantee     countersign.Actor   `json:"grantee"`
	Role        string              `json:"role"`
	Actions     []string            `json:"actions"`
	Documents   []string            `json:"documents"`
	Request     string              `json:"request"`
	Purposes    []string            `json:"purposes,omitempty"` // of the cover that it is, or is a part of; empty where it is neither
	NotBefore   int64               `json:"nbf"`                // seconds since 1970, UTC
	NotAfter    int64               `json:"exp"`                // half-open
	Depth       int                 `json:"depth"`
	InForce     bool                `json:"inForce"` // every grant of the chain was accepted, and none was revoked or given back
}

// Principal is the actor as the tenant's settings describe it; a stranger has neither tenants nor roles.
type Principal struct {
	Actor   countersign.Actor `json:"actor"`
	Kind    string            `json:"kind"` // home, partner, machine or stranger
	Roles   []string          `json:"roles"`
	Tenants []string          `json:"tenants"`
}

// Resource is the signing, the stage of one, the grant or the key that is asked about.
type Resource struct {
	Signing   string              `json:"signing"`
	Stage     string              `json:"stage,omitempty"`
	Tenant    string              `json:"tenant"`
	Role      string              `json:"role,omitempty"`
	Requester *countersign.Actor  `json:"requester,omitempty"`
	Eligible  []countersign.Actor `json:"eligible,omitempty"`
	Decided   []countersign.Actor `json:"decided,omitempty"`
	Deadline  time.Time           `json:"deadline,omitzero"`
	Assurance int                 `json:"assurance,omitempty"` // the least that is accepted

	// Of a signing that somebody reaches under a grant.
	Request  string `json:"request,omitempty"`
	Document string `json:"document,omitempty"` // SHA-256
	Purpose  string `json:"purpose,omitempty"`

	Grant       string              `json:"grant,omitempty"` // digest
	Delegators  []countersign.Actor `json:"delegators,omitempty"`
	Grantee     *countersign.Actor  `json:"grantee,omitempty"`
	GranteeKind string              `json:"granteeKind,omitempty"`
	Purposes    []string            `json:"purposes,omitempty"` // that it is cover for

	Key    string             `json:"key,omitempty"` // id
	Holder *countersign.Actor `json:"holder,omitempty"`
}

// entity names the resource, by the most exact thing that it is.
func (r Resource) entity() types.EntityUID {
	kind, name := kindSigning, r.Signing
	switch {
	case r.Key != "":
		kind, name = kindKey, r.Key
	case r.Grant != "":
		kind, name = kindGrant, r.Grant
	case r.Stage != "":
		kind, name = kindStage, r.Signing+"#"+r.Stage
	}
	return types.NewEntityUID(types.EntityType(kind), types.String(name))
}

// PrincipalOf describes an actor to the policy as the tenant's settings do.
func PrincipalOf(s *countersign.Settings, a countersign.Actor) Principal {
	m, ok := s.Member(a)
	if !ok {
		return Principal{Actor: a, Kind: "stranger", Roles: []string{}, Tenants: []string{}}
	}
	return Principal{Actor: a, Kind: m.Kind, Roles: m.Roles, Tenants: []string{s.Tenant}}
}

func (q Question) cedar() (cedar.Request, types.EntityMap) {
	principal := entity(q.Principal.Actor)
	resource := q.Resource.entity()
	attributes := types.RecordMap{
		"tenant": types.String(q.Resource.Tenant), "role": types.String(q.Resource.Role),
		"eligible": entities(q.Resource.Eligible), "decided": entities(q.Resource.Decided),
		"deadline": types.Long(q.Resource.Deadline.UnixMilli()), "assurance": types.Long(int64(q.Resource.Assurance)),
		"request": types.String(q.Resource.Request), "document": types.String(q.Resource.Document),
		"delegators": entities(q.Resource.Delegators), "granteeKind": types.String(q.Resource.GranteeKind),
		"purpose": types.String(q.Resource.Purpose), "purposes": strings(q.Resource.Purposes), "decidedIssuers": issuers(q.Resource.Decided),
		"requesterIssuer": types.String(""), "granteeIssuer": types.String(""),
	}
	for name, a := range map[string]*countersign.Actor{"requester": q.Resource.Requester, "grantee": q.Resource.Grantee, "holder": q.Resource.Holder} {
		if a != nil {
			attributes[types.String(name)] = entity(*a)
			attributes[types.String(name+"Issuer")] = types.String(a.Issuer)
		}
	}
	context := types.RecordMap{"now": types.Long(q.Now.UnixMilli()), "assurance": types.Long(int64(q.Assurance))}
	if q.Grant != nil {
		context["grant"] = q.Grant.record()
	}
	return cedar.Request{
			Principal: principal, Action: types.NewEntityUID("Action", types.String(q.Action)), Resource: resource,
			Context: types.NewRecord(context),
		}, types.EntityMap{
			principal: {UID: principal, Attributes: types.NewRecord(types.RecordMap{
				"kind": types.String(q.Principal.Kind), "roles": strings(q.Principal.Roles), "tenants": strings(q.Principal.Tenants),
				"issuer": types.String(q.Principal.Actor.Issuer),
			})},
			resource: {UID: resource, Attributes: types.NewRecord(attributes)},
		}
}

func (g Grant) record() types.Record {
	return types.NewRecord(types.RecordMap{
		"tenant": types.String(g.Tenant), "holder": entity(g.Holder), "holderRoles": strings(g.HolderRoles), "delegators": entities(g.Delegators),
		"grantee": entity(g.Grantee), "role": types.String(g.Role), "actions": strings(g.Actions), "documents": strings(g.Documents),
		"request": types.String(g.Request), "purposes": strings(g.Purposes), "issuers": issuers(append([]countersign.Actor{g.Holder}, g.Delegators...)),
		"notBefore": types.Long(g.NotBefore * 1000), "notAfter": types.Long(g.NotAfter * 1000),
		"depth": types.Long(int64(g.Depth)), "inForce": types.Boolean(g.InForce),
	})
}

func entity(a countersign.Actor) types.EntityUID {
	return types.NewEntityUID("Actor", types.String(a.String()))
}

func entities(list []countersign.Actor) types.Set {
	var values []types.Value
	for _, a := range list {
		values = append(values, entity(a))
	}
	return types.NewSet(values...)
}

func issuers(list []countersign.Actor) types.Set {
	var values []types.Value
	for _, a := range list {
		values = append(values, types.String(a.Issuer))
	}
	return types.NewSet(values...)
}

func strings(list []string) types.Set {
	var values []types.Value
	for _, s := range list {
		values = append(values, types.String(s))
	}
	return types.NewSet(values...)
}
