package tests

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
	"github.com/countersign-dev/countersign/workflows"
)

// refused wants a decision to be recorded as refused, and the signing to go on as if it had not come.
func refused(t *testing.T, g *stack.Signing, r countersign.DecisionRecord, code, says string) {
	t.Helper()
	if r.Refusal == nil {
		t.Fatal("the decision counted")
	}
	if r.Refusal.Code != code || !strings.Contains(r.Refusal.Message, says) {
		t.Errorf("refused as %q: %q\nwant %q with %q", r.Refusal.Code, r.Refusal.Message, code, says)
	}
	status, err := g.Status(t.Context())
	if err != nil || status.State != "approval" {
		t.Errorf("the signing is in %q (%v), want it to go on", status.State, err)
	}
}

// TestR05_RefusedDecisions sends decisions that must not count, each by somebody whom the server lets signal.
func TestR05_RefusedDecisions(t *testing.T) {
	t.Parallel()
	type draft struct {
		g      *stack.Signing
		status workflows.Status
		d      countersign.Decision // alice's honest approval
	}
	prove := func(t *testing.T, who string, d countersign.Decision) string {
		t.Helper()
		token, err := local.Prove(t.Context(), who, d)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for _, c := range []struct {
		name string
		make func(t *testing.T, x draft) (sender string, d countersign.Decision, token string)
		code string
		says string
	}{
		{"token of another decision", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			other := x.d
			other.Verdict = countersign.Reject
			return "acme/alice", x.d, prove(t, "acme/alice", other)
		}, "token-other-decision", "not issued for this decision"},
		{"sent by another person", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			return "hart/carol", x.d, prove(t, "acme/alice", x.d)
		}, "other-sender", "another one sent it"},
		{"naming another person", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			x.d.Actor = local.Actor("acme/dave")
			return "acme/alice", x.d, prove(t, "acme/alice", x.d)
		}, "other-sender", "another one sent it"},
		{"a person of another stage", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			x.d.Actor = local.Actor("hart/carol")
			return "hart/carol", x.d, prove(t, "hart/carol", x.d)
		}, "not-entitled", "nothing gives you this right"},
		{"signed with none", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			return "acme/alice", x.d, unsigned(t, prove(t, "acme/alice", x.d))
		}, "token-algorithm", `signed with "none"`},
		{"signed with a foreign key", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			return "acme/alice", x.d, resigned(t, prove(t, "acme/alice", x.d), nil)
		}, "token-signature", "not of a key of"},
		{"expired", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			return "acme/alice", x.d, expired(t, "acme", prove(t, "acme/alice", x.d))
		}, "token-expired", "the token expired at 20"},
		{"of another issuer", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			return "acme/alice", x.d, resigned(t, prove(t, "acme/alice", x.d), func(claims map[string]any) { claims["iss"] = local.Issuers["globex"].URL })
		}, "token-issuer", "doesn't trust"},
		{"a bearer token as proof", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			token, err := local.Token(t.Context(), "acme/alice")
			if err != nil {
				t.Fatal(err)
			}
			return "acme/alice", x.d, token
		}, "token-audience", `not meant for "countersign-evidence"`},
		{"another document", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			x.d.Document.VersionID = "another"
			return "acme/alice", x.d, prove(t, "acme/alice", x.d)
		}, "other-document", "another version"},
		{"another signing", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			x.d.Context = strings.Repeat("a", 64)
			return "acme/alice", x.d, prove(t, "acme/alice", x.d)
		}, "other-signing", "another signing"},
		{"another policy", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			x.d.Policy = strings.Repeat("a", 64)
			return "acme/alice", x.d, prove(t, "acme/alice", x.d)
		}, "other-policy", "another policy"},
		{"a closed or unknown stage", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			x.d.Stage = "board"
			return "acme/alice", x.d, prove(t, "acme/alice", x.d)
		}, "no-open-stage", `stage "board"`},
		{"expired decision", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			x.d.IssuedAt, x.d.ExpiresAt = time.Now().Add(-10*time.Minute).Unix(), time.Now().Add(-time.Second).Unix()
			return "acme/alice", x.d, prove(t, "acme/alice", x.d)
		}, "decision-expired", "decide again"},
		{"on behalf without a grant", func(t *testing.T, x draft) (string, countersign.Decision, string) {
			carol := local.Actor("hart/carol")
			x.d.OnBehalfOf = &carol
			return "acme/alice", x.d, prove(t, "acme/alice", x.d)
		}, "malformed", "needs a grant"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			g := contract(t)
			status, err := g.Open(t.Context(), "legal")
			if err != nil {
				t.Fatal(err)
			}
			sender, d, token := c.make(t, draft{g, status, g.Decision(status, "acme/alice", "legal", countersign.Approve)})
			signed := countersign.SignedDecision{ID: "decision-1", Decision: d, Proof: countersign.Proof{IDToken: token}}
			if err := g.Send(t.Context(), sender, signed); err != nil {
				t.Fatal(err)
			}
			refused(t, g, record(t, g, signed), c.code, c.says)
		})
	}
}

func TestR05_APayloadThatIsNoDecisionIsRecordedAndTheSigningGoesOn(t *testing.T) {
	t.Parallel()
	g := contract(t)
	if _, err := g.Open(t.Context(), "legal"); err != nil {
		t.Fatal(err)
	}
	if err := g.Send(t.Context(), "acme/alice", map[string]string{"hello": "world"}); err != nil {
		t.Fatal(err)
	}
	status, err := g.Until(t.Context(), func(s workflows.Status) bool { return len(s.Decisions) == 1 })
	if err != nil {
		t.Fatal(err)
	}
	refused(t, g, status.Decisions[0], "malformed", "at /hello: unknown object member name")
}

func TestR05_AReplayedTokenDoesNotCountTwice(t *testing.T) {
	t.Parallel()
	g := contract(t)
	signed := decide(t, g, "acme/alice", "legal", countersign.Approve)
	if r := record(t, g, signed); r.Refusal != nil {
		t.Fatalf("the honest decision was refused: %v", r.Refusal)
	}
	signed.ID = "again"
	if err := g.Send(t.Context(), "acme/alice", signed); err != nil {
		t.Fatal(err)
	}
	refused(t, g, record(t, g, signed), "no-open-stage", "is closed")
}

func TestR09_ADisabledPersonGetsNoProof(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Prove(t.Context(), "acme/dave", g.Decision(status, "acme/dave", "legal", countersign.Approve)); err == nil || !strings.Contains(err.Error(), "disabled") {
		t.Errorf("dave got a proof, or another error: %v", err)
	}
}

// Paul approves with the quorum still open, and then sends the same token again under another id: it is his vote already.
func TestR05_AReplayedTokenIsNoSecondVote(t *testing.T) {
	faultyWorkers(t, "role: legal\n              quorum: 1", "role: legal\n              quorum: 2", "roles: [finance, requester]", "roles: [finance, requester, legal]")
	g := begin(t, request(t, "globex", "supplier-contract"))
	signed := decide(t, g, "globex/paul", "legal", countersign.Approve)
	if r := record(t, g, signed); r.Refusal != nil {
		t.Fatalf("the honest decision was refused: %v", r.Refusal)
	}
	signed.ID = "again"
	if err := g.Send(t.Context(), "globex/paul", signed); err != nil {
		t.Fatal(err)
	}
	refused(t, g, record(t, g, signed), "one-person-one-vote", "you have already decided in this signing")
	if status, err := g.Status(t.Context()); err != nil || status.Stage != "legal" {
		t.Errorf("the open stage is %q (%v), want legal: one of two approved", status.Stage, err)
	}
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	ended(t, g, countersign.Completed)
}

// An expired login opens neither the API nor the server.
func TestR09_AnExpiredTokenLogsNobodyIn(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	token, err := local.Token(t.Context(), "acme/alice")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token   string
		expired bool
	}{"signed by the issuer's key again": {reissued(t, "acme", token, nil), false}, "expired": {expired(t, "acme", token), true}} {
		var p client.Problem
		code := call(t, "", "GET", "/v1/acme/signings/"+g.Request.ID, http.Header{"Authorization": {"Bearer " + c.token}}, nil, &p)
		if c.expired != (code == http.StatusUnauthorized) || c.expired != (p.Code == "unauthenticated") || c.expired != strings.Contains(p.Detail, "an access token is needed: current") {
			t.Errorf("%s: the API answered %d %q: %q", name, code, p.Code, p.Detail)
		}
		temporal, err := local.DialToken("acme", c.token)
		if err != nil {
			t.Fatal(err)
		}
		defer temporal.Close()
		err = temporal.SignalWorkflow(t.Context(), status.Saga.Workflow, status.Saga.Run, countersign.SignalDecide, "x")
		if c.expired {
			wantDenied(t, "an expired token", err)
		} else if err != nil {
			t.Errorf("%s: the server answered %v", name, err)
		}
	}
}

// Gina approves for globex. Whichever way she tries acme, she is told that she can't, and nothing else: neither who may, nor that the signing is there.
func TestR10_AnApproverOfAnotherTenantIsTurnedAway(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Put(t.Context(), "globex/gina", g.Decision(status, "globex/gina", "legal", countersign.Approve))
	wantDenied(t, "gina's decision in acme", err)
	if err == nil || err.Error() != "Request unauthorized." {
		t.Errorf("the server tells her %q", err)
	}

	path := "/v1/acme/signings/"
	var there, missing client.Problem
	for request, into := range map[string]*client.Problem{g.Request.ID: &there, "no-such-request": &missing} {
		if code := call(t, "globex/gina", "GET", path+request+"/decision?verdict=approve", nil, nil, into); code != http.StatusUnauthorized {
			t.Errorf("the API answers %d for %s", code, request)
		}
	}
	if !reflect.DeepEqual(there, missing) || there.Code != "unauthenticated" || !strings.Contains(there.Detail, "of an identity provider that the tenant trusts") {
		t.Errorf("the API tells her %+v, and of what isn't there %+v", there, missing)
	}

	_, told, code, err := local.CLI(t.Context(), apiURL, t.TempDir(), "globex/gina", "decide", g.Request.ID, "--approve", "--yes")
	if err != nil {
		t.Fatal(err)
	}
	if code != 3 || !strings.Contains(told, "an access token is needed: current, of an identity provider that the tenant trusts") {
		t.Errorf("the command line ends with %d and tells her %q", code, told)
	}

	// Nothing of it counts, and alice is asked as before.
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	_, report := ended(t, g, countersign.Completed)
	if n := len(report.Statement.Decisions); n != 2 {
		t.Errorf("the evidence has %d decisions, want two", n)
	}
}

// An early decision is checked at once, while its proof is fresh, and counts when its stage opens. A duplicate counts once.
func TestM2_AnEarlyDecisionIsKeptAndADuplicateCountsOnce(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	early, err := g.Put(t.Context(), "hart/carol", g.Decision(status, "hart/carol", "counsel", countersign.Approve))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Send(t.Context(), "hart/carol", early); err != nil {
		t.Fatal(err)
	}
	if r := record(t, g, early); r.Refusal != nil {
		t.Fatalf("the early decision was refused: %v", r.Refusal)
	}
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	_, report := ended(t, g, countersign.Completed)
	d := report.Statement.Decisions
	if len(d) != 3 || !d[0].Counted || !d[1].Counted || d[2].Counted || d[2].Refusal.Code != "not-looked-at" || d[2].Sender != local.Actor("hart/carol").String() {
		t.Errorf("the decisions are %+v, want two that count, and carol's repetition", d)
	}
}

// unsigned is the token with the algorithm none and no signature.
func unsigned(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	var header map[string]any
	raw, _ := base64.RawURLEncoding.DecodeString(parts[0])
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	header["alg"] = "none"
	raw, _ = json.Marshal(header)
	return base64.RawURLEncoding.EncodeToString(raw) + "." + parts[1] + "."
}

// expired is the token as its issuer would have issued it an hour ago.
func expired(t *testing.T, issuer, token string) string {
	t.Helper()
	return reissued(t, issuer, token, func(claims map[string]any) {
		for _, name := range []string{"iat", "nbf", "auth_time", "exp"} {
			if at, ok := claims[name].(float64); ok {
				claims[name] = at - time.Hour.Seconds()
			}
		}
	})
}

// reissued is the token with its claims changed, signed by the issuer's real key.
func reissued(t *testing.T, issuer, token string, change func(map[string]any)) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(local.Data, "idp", issuer, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Keys []jose.JSONWebKey }
	if err := json.Unmarshal(raw, &state); err != nil || len(state.Keys) == 0 {
		t.Fatalf("couldn't read the keys of %s: %v", issuer, err)
	}
	return signedAgain(t, token, state.Keys[len(state.Keys)-1].Key, change)
}

// resigned is the token signed with a key of our own under the issuer's key id, with its claims changed.
func resigned(t *testing.T, token string, change func(map[string]any)) string {
	t.Helper()
	return signedAgain(t, token, ecKey(t), change)
}

// signedAgain is the token with its claims changed, signed by a key under the key id and the type that it has.
func signedAgain(t *testing.T, token string, key any, change func(map[string]any)) string {
	t.Helper()
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(parsed.UnsafePayloadWithoutVerification(), &claims); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(claims)
	}
	header := parsed.Signatures[0].Header
	options := (&jose.SignerOptions{}).WithHeader("kid", header.KeyID)
	if kind, ok := header.ExtraHeaders[jose.HeaderType].(string); ok {
		options = options.WithType(jose.ContentType(kind))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(claims)
	jws, err := signer.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}
