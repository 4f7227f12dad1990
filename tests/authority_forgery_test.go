package tests

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// The operator of the server, with the tenant's real key, tries to change who decided under which authority. What people and their keys proved
// can't be made up, and the policy is asked again: the verifier finds each.
func TestR04_OurOwnServerCannotForgeAuthority(t *testing.T) {
	t.Parallel()
	g := resale(t)
	alice, remy := passkey(t, "acme", "acme/alice"), passkey(t, "acme", "nord/remy")
	draft := local.Draft("acme", "nord/rhea", "nord/remy", "reseller", g.Request.ID)
	draft.Reason = "for one decision"
	grant := granted(t, "nord/rhea", "nord/remy", draft)
	status, err := local.Grant(t.Context(), "acme", grant, func(s evidence.GrantStatus) bool { return s.Given != nil })
	if err != nil {
		t.Fatal(err)
	}
	wantCounted(t, approve(t, g, "acme/alice", "legal", alice))
	wantCounted(t, approve(t, g, "nord/remy", "reseller", remy, grant))
	ending, report := ended(t, g, countersign.Completed)
	original, err := evidence.OpenBundle(bundle(t, "acme", ending))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	verified(t, reseal(t, original, report.History, countersign.Completed, nil), countersign.Completed)

	lender, err := json.Marshal(local.Actor("nord/rhea"))
	if err != nil {
		t.Fatal(err)
	}
	lent := `"onBehalfOf":` + string(lender) + `,"grants":["` + grant + `"]`

	for name, c := range map[string]struct {
		change func(*testing.T, *historypb.History)
		check  string
	}{
		"stripped delegation: as if for themselves": {everywhere(lent, `"grants":[]`), "decisions"},
		"stripped delegation: without the grants":   {withoutMember("authority"), "context"},
		"a wider grant":                          {everywhere(`"reason":"for one decision"`, `"reason":"for any decision"`), "decisions"},
		"a longer grant":                         {everywhere(`"depth":0,"uses":1`, `"depth":0,"uses":9`), "decisions"},
		"a grant to somebody else":               {everywhere(`"sub":"n-4002"`, `"sub":"n-4003"`), "decisions"},
		"a grant by somebody else":               {everywhere(`"sub":"n-4001"`, `"sub":"n-4003"`), "context"},
		"a grant that nobody took":               {withoutMember("accepted"), "context"},
		"a grant that was revoked":               {everywhere(`"state":"active","used"`, `"state":"revoked","used"`), "policy"},
		"a holder without the role":              {everywhere(`"holderRoles":["reseller"]`, `"holderRoles":["visitor"]`), "policy"},
		"a key of somebody else":                 {everywhere(`"kind":"passkey"`, `"kind":"device"`), "decisions"},
		"a decision that no key signed":          {everywhere(`"assurance":2`, `"assurance":1`), "context"},
		"another assertion":                      {everywhere(`"authenticatorData":"`, `"authenticatorData":"AAAA`), "decisions"},
		"a proof of the grant at another moment": {everywhere(`"at":"`+status.Given.At.Format(time.RFC3339Nano)+`"`, `"at":"2020-01-01T00:00:00Z"`), "decisions"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			history := proto.Clone(report.History).(*historypb.History)
			c.change(t, history)
			forged := evidence.Verify(reseal(t, original, history, countersign.Completed, nil), roots)
			var failed []string
			for _, f := range forged.Findings {
				if f.State == evidence.Fail {
					failed = append(failed, f.Check+": "+f.Detail)
				}
			}
			if len(failed) == 0 || !strings.HasPrefix(strings.Join(failed, "\n"), c.check+":") {
				t.Errorf("the forgery is found as %q, want %s", failed, c.check)
			}
		})
	}
}

// withoutMember takes a member out of each object that the activities of a history were given or found.
func withoutMember(member string) func(*testing.T, *historypb.History) {
	return func(t *testing.T, h *historypb.History) {
		t.Helper()
		taken := 0
		for _, e := range h.Events {
			for _, p := range [...]*commonpb.Payloads{e.GetActivityTaskScheduledEventAttributes().GetInput(), e.GetActivityTaskCompletedEventAttributes().GetResult()} {
				for _, payload := range p.GetPayloads() {
					var v any
					if err := json.Unmarshal(payload.Data, &v); err != nil {
						t.Fatal(err)
					}
					n := take(v, member)
					if n == 0 {
						continue
					}
					body, err := json.Marshal(v)
					if err != nil {
						t.Fatal(err)
					}
					payload.Data, taken = body, taken+n
				}
			}
		}
		if taken == 0 {
			t.Fatalf("the history has no %q", member)
		}
	}
}

// take takes a member out of each object of a value, and counts them.
func take(v any, member string) (taken int) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v[member]; ok {
			delete(v, member)
			taken++
		}
		for _, inner := range v {
			taken += take(inner, member)
		}
	case []any:
		for _, inner := range v {
			taken += take(inner, member)
		}
	}
	return taken
}
