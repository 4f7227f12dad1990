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
	View     = "view"
)

// Question is everything that an answer depends on. It is recorded beside the answer, and asked again by whoever verifies.
type Question struct {
	Action    string    `json:"action"`
	Principal Principal `json:"principal"`
	Resource  Resource  `json:"resource"`
	Now       time.Time `json:"now"`
	Assurance int       `json:"assurance"`
}

// Principal is the actor as the tenant's settings describe it; a stranger has neither tenants nor roles.
type Principal struct {
	Actor   countersign.Actor `json:"actor"`
	Kind    string            `json:"kind"` // home, partner, machine or stranger
	Roles   []string          `json:"roles"`
	Tenants []string          `json:"tenants"`
}

// Resource is the signing, or the stage of one, that is asked about.
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
	kind, name := "Signing", q.Resource.Signing
	if q.Resource.Stage != "" {
		kind, name = "Stage", q.Resource.Signing+"#"+q.Resource.Stage
	}
	resource := types.NewEntityUID(types.EntityType(kind), types.String(name))
	attributes := types.RecordMap{
		"tenant": types.String(q.Resource.Tenant), "role": types.String(q.Resource.Role),
		"eligible": entities(q.Resource.Eligible), "decided": entities(q.Resource.Decided),
		"deadline": types.Long(q.Resource.Deadline.UnixMilli()), "assurance": types.Long(int64(q.Resource.Assurance)),
	}
	if q.Resource.Requester != nil {
		attributes["requester"] = entity(*q.Resource.Requester)
	}
	return cedar.Request{
			Principal: principal, Action: types.NewEntityUID("Action", types.String(q.Action)), Resource: resource,
			Context: types.NewRecord(types.RecordMap{"now": types.Long(q.Now.UnixMilli()), "assurance": types.Long(int64(q.Assurance))}),
		}, types.EntityMap{
			principal: {UID: principal, Attributes: types.NewRecord(types.RecordMap{
				"kind": types.String(q.Principal.Kind), "roles": strings(q.Principal.Roles), "tenants": strings(q.Principal.Tenants),
			})},
			resource: {UID: resource, Attributes: types.NewRecord(attributes)},
		}
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

func strings(list []string) types.Set {
	var values []types.Value
	for _, s := range list {
		values = append(values, types.String(s))
	}
	return types.NewSet(values...)
}
