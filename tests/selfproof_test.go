package tests

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/tests/stranger"
)

// What people decided is proven by what they signed themselves, without trusting our server: alice signs by a passkey, rhea by a device key. A
// stranger who has the bundle, no code of ours and the identity providers' public keys finds who decided what, and that not a byte of it can be another.
func TestN01_ApproversSignTheDecisionItselfAndAStrangerProvesItWithoutUs(t *testing.T) {
	t.Parallel()
	g := resale(t)
	wantCounted(t, approve(t, g, "acme/alice", "legal", passkey(t, "acme", "acme/alice")))
	run, key := people(t), filepath.Join(t.TempDir(), "key.pem")
	run("nord/rhea", 0, "key", "enrol", key)
	// A reason that JSON can write in more ways than one: there is one canonical way alone.
	run("nord/rhea", 0, "decide", g.Request.ID, "--approve", "--yes", "--key", key, "--reason", "Zürich <&> \"🖋\"\u2028 ok")
	ending, _ := ended(t, g, countersign.Completed)

	decisions, err := stranger.Decisions(bundle(t, "acme", ending))
	if err != nil || len(decisions) != 2 {
		t.Fatalf("the bundle has %d decisions (%v), want two", len(decisions), err)
	}
	for i, who := range []string{"acme/alice", "nord/rhea"} {
		d, actor := decisions[i], local.Actor(who)
		text := d.Signed.Decision
		var says struct {
			Verdict  string
			Document struct{ SHA256 string }
		}
		if err := json.Unmarshal(text, &says); err != nil || says.Verdict != "approve" || says.Document.SHA256 != g.Request.Document.SHA256 {
			t.Errorf("%s: the decision says %+v (%v)", who, says, err)
		}
		person, err := stranger.ProvenByLogin(stranger.DecisionTag, text, d.Signed.Proof.IDToken)
		if err != nil || person.Issuer != actor.Issuer || person.Subject != actor.Subject {
			t.Errorf("the login proves %+v (%v), want %s", person, err, who)
		}
		if err := stranger.ProvenByKey(d, text); err != nil {
			t.Errorf("%s: the key's signature proves nothing: %v", who, err)
		}

		// Each of the two proofs finds each changed byte of the verdict by itself.
		at := bytes.Index(text, []byte(`"approve"`)) + 1
		for n := range len("approve") {
			forged := bytes.Clone(text)
			forged[at+n] ^= 1
			if _, err := stranger.ProvenByLogin(stranger.DecisionTag, forged, d.Signed.Proof.IDToken); err == nil || !strings.Contains(err.Error(), "nonce is not the digest") {
				t.Errorf("%s: with byte %d of the verdict changed the login says %v", who, n, err)
			}
			if err := stranger.ProvenByKey(d, forged); err == nil || !strings.Contains(err.Error(), "signed something else") {
				t.Errorf("%s: with byte %d of the verdict changed the key says %v", who, n, err)
			}
		}
		t.Run(strings.ReplaceAll(who, "/", "-")+", forged as far as it goes", func(t *testing.T) {
			forged := bytes.Replace(text, []byte(`"approve"`), []byte(`"reject"`), 1)
			h, err := stranger.Digest(stranger.DecisionTag, forged)
			if err != nil {
				t.Fatal(err)
			}
			if err := stranger.ProvenByKey(aboutDigest(t, d, text, h), forged); err == nil || !strings.Contains(err.Error(), "signature is not of") {
				t.Errorf("with the digest changed wherever it is signed the key says %v", err)
			}
		})
	}

	// The owner of a passkey was there: an assertion that doesn't say so is none, whatever it signs.
	unverified := decisions[0]
	proof := *unverified.Signed.Proof.Key
	said, err := base64.RawURLEncoding.DecodeString(proof.AuthenticatorData)
	if err != nil {
		t.Fatal(err)
	}
	said[32] &^= 1 << 2
	proof.AuthenticatorData = base64.RawURLEncoding.EncodeToString(said)
	unverified.Signed.Proof.Key = &proof
	if err := stranger.ProvenByKey(unverified, unverified.Signed.Decision); err == nil || !strings.Contains(err.Error(), "didn't verify its user") {
		t.Errorf("without its user verified the passkey says %v", err)
	}
	// A key proves what its own holder decides, and nobody else's decision.
	swapped := decisions[1]
	swapped.Check.Key, swapped.Signed.Proof.Key = decisions[0].Check.Key, decisions[0].Signed.Proof.Key
	if err := stranger.ProvenByKey(swapped, swapped.Signed.Decision); err == nil || !strings.Contains(err.Error(), "the key is of") {
		t.Errorf("alice's key proves rhea's decision: %v", err)
	}
}

// What a stranger finds in the evidence is the payload that was sent. A decision that leaves out what is empty would have another digest to them than
// its proofs are of, so it doesn't count.
func TestN01_ADecisionCountsOnlyAsTheJSONThatWasProven(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		change func(decision map[string]any)
		code   string
	}{
		{"without its reason", func(d map[string]any) { delete(d, "reason") }, "malformed"},
		{"without its grants", func(d map[string]any) { delete(d, "grants") }, "malformed"},
		{"on behalf of null", func(d map[string]any) { d["onBehalfOf"] = nil }, "malformed"},
		{"with grants that are null", func(d map[string]any) { d["grants"] = nil }, "token-other-decision"},
		{"whole", func(map[string]any) {}, ""},
	} {
		signed, err := local.ProveWith(t.Context(), "acme/alice", g.Decision(status, "acme/alice", "legal", countersign.Approve), nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(signed)
		if err != nil {
			t.Fatal(err)
		}
		var payload map[string]any
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&payload); err != nil {
			t.Fatal(err)
		}
		row.change(payload["decision"].(map[string]any))
		if err := g.Send(t.Context(), "acme/alice", payload); err != nil {
			t.Fatal(err)
		}
		if r := record(t, g, signed); row.code == "" {
			wantCounted(t, r)
		} else if r.Counted() || r.Refusal.Code != row.code {
			t.Errorf("%s: became %+v (%v), want a refusal %s", row.name, r, r.Refusal, row.code)
		}
	}
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ended(t, g, countersign.Completed)
}

// aboutDigest is a decision whose key's proof names another digest, in what it signs, under the signature that it had.
func aboutDigest(t *testing.T, d stranger.Decision, text, h []byte) stranger.Decision {
	t.Helper()
	was, err := stranger.Digest(stranger.DecisionTag, text)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(part string, from, to string) string {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || !bytes.Contains(raw, []byte(from)) {
			t.Fatalf("the proof doesn't name the digest: %v", err)
		}
		return base64.RawURLEncoding.EncodeToString(bytes.Replace(raw, []byte(from), []byte(to), 1))
	}
	proof := *d.Signed.Proof.Key
	if proof.ClientData != "" {
		proof.ClientData = replace(proof.ClientData, base64.RawURLEncoding.EncodeToString(was), base64.RawURLEncoding.EncodeToString(h))
	} else {
		parts := strings.Split(proof.Signature, ".")
		parts[1] = replace(parts[1], hex.EncodeToString(was), hex.EncodeToString(h))
		proof.Signature = strings.Join(parts, ".")
	}
	d.Signed.Proof.Key = &proof
	return d
}
