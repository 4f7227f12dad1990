package tests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
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

func TestR10_AnApproverOfAnotherTenantIsTurnedAway(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Put(t.Context(), "globex/gina", g.Decision(status, "globex/gina", "legal", countersign.Approve))
	wantDenied(t, "gina's decision in acme", err)
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

// resigned is the token signed with a key of our own under the issuer's key id, with its claims changed.
func resigned(t *testing.T, token string, change func(map[string]any)) string {
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
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", parsed.Signatures[0].Header.KeyID))
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
