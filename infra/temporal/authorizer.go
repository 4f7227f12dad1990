package temporal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
)

const (
	workflowService = "/temporal.api.workflowservice.v1.WorkflowService/"
	healthCheck     = "/grpc.health.v1.Health/Check"
	// notPermitted is all that a denied caller learns; the server's log says more.
	notPermitted = "not permitted"
)

// rule looks into a request that the caller's role may send in principle and
// says why this one is refused, or nil.
type rule func(t *tenant, request any) error

// rules is an allow-list: a method that isn't in it is denied.
type rules map[string]rule

// authorizer decides by an allow-list per role and denies everything else. It
// looks into the request, because Temporal's own roles stop at the namespace:
// its "write" role may poll as a worker, terminate and delete.
type authorizer struct {
	directory *Directory
	rules     roleRules
	logger    log.Logger
	// anyNamespace takes roles in one tenant as roles in all. For tests.
	anyNamespace bool
}

var _ authorization.Authorizer = (*authorizer)(nil)

// Authorize implements authorization.Authorizer. The principal of an allowed
// call is {person|machine, "<issuer url>#<sub>"} or {platform,
// "platform#<role>/<tenant>"}; the server stamps it on every event that the call
// causes.
func (a *authorizer) Authorize(_ context.Context, claims *authorization.Claims, target *authorization.CallTarget) (authorization.Result, error) {
	// The internal frontend serves the server's own system workers. Its claim
	// mapper is fixed in the server and can't be reached through the public port.
	if claims != nil && claims.System == authorization.RoleAdmin && claims.AuthType == authorization.InternalPrincipalType {
		return authorization.Result{
			Decision:  authorization.DecisionAllow,
			Principal: &commonpb.Principal{Type: claims.AuthType, Name: claims.Subject},
		}, nil
	}
	var who *caller
	if claims != nil {
		who, _ = claims.Extensions.(*caller)
	}
	kind, err := a.decide(who, target)
	if err != nil {
		name := "anonymous"
		if who != nil {
			name = who.name()
		}
		a.logger.Warn("denied", tag.NewStringTag("principal", name), tag.NewStringTag("method", target.APIName),
			tag.WorkflowNamespace(target.Namespace), tag.NewStringTag("reason", err.Error()))
		return authorization.Result{Decision: authorization.DecisionDeny, Reason: notPermitted}, nil
	}
	return authorization.Result{
		Decision:  authorization.DecisionAllow,
		Principal: &commonpb.Principal{Type: kind, Name: who.name()},
	}, nil
}

func (a *authorizer) decide(who *caller, target *authorization.CallTarget) (string, error) {
	if who == nil {
		return "", errors.New("nobody is authenticated")
	}
	method, ours := strings.CutPrefix(target.APIName, workflowService)
	if target.Namespace == "" {
		if target.APIName == healthCheck || (ours && (method == "GetSystemInfo" || method == "GetClusterInfo")) {
			return a.anyTenant(who)
		}
		return "", errors.New("the call names no namespace and isn't on the list of those that need none")
	}
	t, ok := a.directory.tenants[target.Namespace]
	if !ok {
		return "", errors.New("the namespace belongs to no tenant")
	}
	kind, lists := a.roles(who, t)
	if kind == "" && a.anyNamespace {
		kind, lists = a.rolesAnywhere(who)
	}
	if kind == "" {
		return "", errors.New("the caller has no role in this tenant")
	}
	if !ours {
		return "", errors.New("the service isn't on the list of any role")
	}
	refusal := errors.New("the method isn't on the list of the caller's roles")
	for _, list := range lists {
		check, listed := list[method]
		if !listed {
			continue
		}
		if check == nil {
			return kind, nil
		}
		if err := check(t, target.Request); err != nil {
			refusal = fmt.Errorf("%s: %w", method, err)
			continue
		}
		return kind, nil
	}
	return "", refusal
}

// roles returns the caller's kind in a tenant and the lists of its roles there.
func (a *authorizer) roles(who *caller, t *tenant) (string, []rules) {
	if who.role != "" {
		if who.tenant != t.id {
			return "", nil
		}
		return KindPlatform, []rules{a.rules.platform[who.role], a.rules.reach}
	}
	if !t.issuers[who.issuer] {
		return "", nil
	}
	var kind string
	lists := []rules{a.rules.reach}
	if _, ok := t.people[who.member]; ok {
		kind = KindPerson
		lists = append(lists, a.rules.person)
	} else if _, ok := t.machines[who.member]; ok {
		kind = KindMachine
	} else {
		return "", nil
	}
	if t.requester[who.member] {
		lists = append(lists, a.rules.requester)
	}
	if t.watching[who.member] {
		lists = append(lists, a.rules.watching)
	}
	return kind, lists
}

// rolesAnywhere is roles in all tenants together.
func (a *authorizer) rolesAnywhere(who *caller) (kind string, lists []rules) {
	for _, name := range a.directory.Namespaces() {
		if here, more := a.roles(who, a.directory.tenants[name]); here != "" {
			kind, lists = here, append(lists, more...)
		}
	}
	return kind, lists
}

// anyTenant admits whoever has a role in at least one tenant.
func (a *authorizer) anyTenant(who *caller) (string, error) {
	for _, t := range a.directory.tenants {
		if kind, _ := a.roles(who, t); kind != "" {
			return kind, nil
		}
	}
	return "", errors.New("the caller has no role in any tenant")
}
