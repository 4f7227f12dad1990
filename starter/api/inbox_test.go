package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// keep puts a grant into the pipeline, as its keeper would answer.
func (s *service) keep(g countersign.Grant, state string, used ...string) string {
	s.t.Helper()
	g.V, g.Tenant, g.Actions, g.Uses = 1, "acme", []string{countersign.GrantDecide}, max(1, g.Uses)
	if g.NotAfter == 0 {
		g.NotBefore, g.NotAfter = time.Now().Unix()-60, time.Now().Unix()+3600
	}
	digest, err := g.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	status := evidence.GrantStatus{Digest: digest, GrantRecord: evidence.GrantRecord{Grant: countersign.SignedGrant{Grant: g}, State: state, Used: len(used)}, Uses: used}
	if state != countersign.GrantInvited {
		status.Accepted = &countersign.SignedAcceptance{}
	}
	s.pipeline.mu.Lock()
	defer s.pipeline.mu.Unlock()
	s.pipeline.kept[countersign.AccessID("acme", digest)] = kept{workflow: countersign.WorkflowAccess, status: status}
	return digest
}

func (s *service) inboxOf(who string) client.Inbox {
	s.t.Helper()
	_, body := s.call(http.MethodGet, "/v1/acme/inbox", s.token(who), nil, nil)
	var inbox client.Inbox
	if err := json.Unmarshal(body, &inbox); err != nil {
		s.t.Fatal(err)
	}
	return inbox
}

// Whoever covers for an absence finds what waits for the absent one, with the grant to decide under, and sees it under that grant. Every row is a step
// beside a good cover, and shows nothing.
func TestR20_TheInboxShowsACoveringColleagueWhatWaitsForTheAbsentOneAndAPartnerNothing(t *testing.T) {
	t.Parallel()
	cover := func(s *service) countersign.Grant {
		return countersign.Grant{Delegator: s.actor("alice"), Grantee: s.actor("ben"), Role: "legal", Purposes: []string{"contract"}}
	}
	for name, row := range map[string]struct {
		who    string
		state  string
		change func(*service, *countersign.Grant)
		want   string
	}{
		"a colleague":         {"ben", countersign.GrantActive, nil, "PO-1"},
		"for one request":     {"ben", countersign.GrantActive, func(_ *service, g *countersign.Grant) { g.Purposes, g.Request = nil, "PO-1" }, "PO-1"},
		"for another purpose": {"ben", countersign.GrantActive, func(_ *service, g *countersign.Grant) { g.Purposes = []string{"lease"} }, ""},
		"of another role":     {"ben", countersign.GrantActive, func(_ *service, g *countersign.Grant) { g.Role = "counsel" }, ""},
		"not taken":           {"ben", countersign.GrantInvited, nil, ""},
		"revoked":             {"ben", countersign.GrantRevoked, nil, ""},
		"somebody else's":     {"olivia", countersign.GrantActive, nil, ""},
		"over":                {"ben", countersign.GrantActive, func(_ *service, g *countersign.Grant) { g.NotBefore, g.NotAfter = 1, time.Now().Unix() }, ""},
		"not begun": {"ben", countersign.GrantActive, func(_ *service, g *countersign.Grant) {
			g.NotBefore, g.NotAfter = time.Now().Unix()+60, time.Now().Unix()+90
		}, ""},
		"of a partner": {"hart/chris", countersign.GrantActive, func(s *service, g *countersign.Grant) { g.Grantee = s.actor("hart/chris") }, ""},
		"between partners": {"hart/chris", countersign.GrantActive, func(s *service, g *countersign.Grant) {
			g.Delegator, g.Grantee, g.Role = s.actor("hart/carol"), s.actor("hart/chris"), "counsel"
		}, ""},
		"of a stranger": {"nobody", countersign.GrantActive, func(s *service, g *countersign.Grant) { g.Grantee = s.actor("nobody") }, ""},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.open("PO-1")
			if name == "between partners" {
				later := s.open("PO-1")
				later.Stage = "counsel"
				s.pipeline.sagas["PO-1"] = later
			}
			g := cover(s)
			if row.change != nil {
				row.change(s, &g)
			}
			grant := s.keep(g, row.state)
			inbox := s.inboxOf(row.who)
			var got string
			for _, w := range inbox.Waiting {
				if got += w.Request; w.Grant != grant || w.OnBehalfOf == nil || *w.OnBehalfOf != g.Delegator || w.Purpose != "contract" {
					t.Errorf("it waits as %+v, under the grant %s", w, grant)
				}
			}
			if got != row.want || inbox.Unanswered > 0 || inbox.Truncated {
				t.Errorf("the inbox is %+v, want %q", inbox, row.want)
			}
			response, body := s.call(http.MethodGet, "/v1/acme/signings/PO-1?grant="+grant, s.token(row.who), nil, nil)
			if sees := response.StatusCode == http.StatusOK; sees != (row.want != "") && name != "of another role" {
				t.Errorf("under the grant it is answered %d %s", response.StatusCode, body)
			}
		})
	}
}

// In their own right people need no grant, a vote that was made by cover is theirs no more, and a grant that is used up leads nowhere.
func TestTheInboxNamesAGrantOnlyWhereItIsNeededAndOfUse(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	voted := s.open("PO-2")
	voted.Decided = []countersign.Actor{s.actor("ben"), s.actor("alice")}
	s.pipeline.sagas["PO-2"] = voted
	s.keep(countersign.Grant{Delegator: s.actor("alice"), Grantee: s.actor("ben"), Role: "legal", Purposes: []string{"contract"}}, countersign.GrantActive)
	s.keep(countersign.Grant{Delegator: s.actor("alice"), Grantee: s.actor("olivia"), Role: "legal", Purposes: []string{"contract"}}, countersign.GrantActive, "a decision")
	s.keep(countersign.Grant{Delegator: s.actor("hart/carol"), Grantee: s.actor("alice"), Role: "legal", Request: "PO-1"}, countersign.GrantActive)
	for who, under := range map[string]bool{"alice": false, "ben": true} {
		if waiting := s.inboxOf("olivia").Waiting; len(waiting) != 0 {
			t.Errorf("olivia's grant is used up, and she has %+v", waiting)
		}
		inbox := s.inboxOf(who)
		if len(inbox.Waiting) != 1 || inbox.Waiting[0].Request != "PO-1" || (inbox.Waiting[0].Grant != "") != under {
			t.Errorf("%s has %+v", who, inbox)
		}
	}
}
