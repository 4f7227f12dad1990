package identity

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

func TestAPasskeyOfASoftwareAuthenticatorProvesADigest(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]virtualwebauthn.KeyType{"ES256": virtualwebauthn.KeyTypeEC2, "RS256": virtualwebauthn.KeyTypeRSA} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newPasskey(t, kind)
			k.virtual.Counter = 41
			challenge, _ := digestBytes(keyDigest)
			answer := virtualwebauthn.CreateAssertionResponse(virtualwebauthn.RelyingParty{ID: relyingID, Origin: origin},
				virtualwebauthn.NewAuthenticator(), *k.virtual, virtualwebauthn.AssertionOptions{Challenge: challenge})
			var parsed struct{ Response countersign.KeyProof }
			if err := json.Unmarshal([]byte(answer), &parsed); err != nil {
				t.Fatal(err)
			}
			p := parsed.Response
			p.Key = countersign.SHA256(k.virtual.ID)
			use, refusal := VerifyKeyProof(keyDigest, p, k.enrolment)
			if refusal != nil {
				t.Fatal(refusal)
			}
			if want := (KeyUse{Key: p.Key, Kind: countersign.KeyPasskey, Counter: 41, UserVerified: true}); use != want {
				t.Errorf("%+v, want %+v", use, want)
			}
		})
	}
}

func TestWhatAnHonestPasskeyMaySay(t *testing.T) {
	t.Parallel()
	k := newEdPasskey(t) // EdDSA, which the software authenticator hasn't
	a := k.assertion(keyDigest)
	backedUp, extended, unknownFlags := slices.Clone(a.auth), slices.Clone(a.auth), slices.Clone(a.auth)
	backedUp[32] |= 0x18
	extended[32] |= 0x80
	unknownFlags[32] |= 0x22
	for name, a := range map[string]assertion{
		"no more than needed":               a,
		"not in a frame":                    a.with("crossOrigin", false),
		"of another origin that it is for":  a.with("origin", "https://other.acme.example"),
		"a member that nobody knows yet":    a.with("new_keys_may_be_added_here", "do not compare clientDataJSON against a template"),
		"a token binding, as browsers once": a.with("tokenBinding", map[string]any{"status": "supported"}),
		"a key that is backed up":           {client: a.client, auth: backedUp},
		"an extension":                      {client: a.client, auth: append(extended, 0xa1, 0x61, 'x', 0xf5)},
		"flags that are kept for later":     {client: a.client, auth: unknownFlags},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			use, refusal := VerifyKeyProof(keyDigest, k.prove(a), k.enrolment)
			if refusal != nil {
				t.Fatal(refusal)
			}
			if use.Counter != 7 || !use.UserVerified || use.Kind != countersign.KeyPasskey {
				t.Errorf("%+v", use)
			}
		})
	}
}

func TestADeviceKeyProvesADigest(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			d := newDevice(t, algorithm)
			use, refusal := VerifyKeyProof(keyDigest, d.prove(keyDigest), d.enrolment)
			if refusal != nil {
				t.Fatal(refusal)
			}
			id, err := d.enrolment.KeyID()
			if want := (KeyUse{Key: id, Kind: countersign.KeyDevice}); err != nil || use != want {
				t.Errorf("%+v, want %+v (%v)", use, want, err)
			}
		})
	}
}

// The archive is JSON: its names are a promise.
func TestTheUseOfAKeyIsWrittenAsPromised(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(Facts{EnrolledKey: &KeyUse{Key: "k", Kind: "passkey", Counter: 3, UserVerified: true}})
	if err != nil || !strings.Contains(string(raw), `"enrolledKey":{"key":"k","kind":"passkey","counter":3,"userVerified":true}`) {
		t.Errorf("%s (%v)", raw, err)
	}
	if raw, err = json.Marshal(Facts{}); err != nil || strings.Contains(string(raw), "enrolledKey") {
		t.Errorf("%s (%v)", raw, err)
	}
}

// The decision's proof is checked without the key, which only the caller can judge.
func TestProofOfADecisionDoesNotLookAtTheKey(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	d, c := i.ballot()
	p := countersign.Proof{IDToken: i.token(c), Key: &countersign.KeyProof{Key: "nonsense"}}
	facts, err := NewRegistry([]countersign.Issuer{i.setting()}).VerifyProof(t.Context(), d, p, testNow)
	if err != nil || facts.Assurance != 1 || facts.EnrolledKey != nil {
		t.Errorf("%+v (%v)", facts, err)
	}
	if facts, err = verifyArchivedProof(d, p, i.setting(), facts.Key, testNow); err != nil || facts.EnrolledKey != nil {
		t.Errorf("%+v (%v)", facts, err)
	}
}

func refuseAll(t *testing.T, what string, p countersign.KeyProof, e countersign.Enrolment) {
	t.Helper()
	use, refusal := VerifyKeyProof(keyDigest, p, e)
	if refusal == nil || use != (KeyUse{}) {
		t.Errorf("%s: accepted, %+v", what, use)
		return
	}
	if !strings.HasPrefix(refusal.Code, "key-") || len(refusal.Message) > 500 {
		t.Errorf("%s: refused as %+v", what, refusal)
	}
}

func TestEveryByteOfAPasskeysProofCounts(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]*passkey{"ES256": newPasskey(t, virtualwebauthn.KeyTypeEC2), "EdDSA": newEdPasskey(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			honest := k.prove(k.assertion(keyDigest))
			if _, refusal := VerifyKeyProof(keyDigest, honest, k.enrolment); refusal != nil {
				t.Fatal(refusal)
			}
			for part, of := range map[string]func(*countersign.KeyProof) *string{
				"clientData":        func(p *countersign.KeyProof) *string { return &p.ClientData },
				"authenticatorData": func(p *countersign.KeyProof) *string { return &p.AuthenticatorData },
				"signature":         func(p *countersign.KeyProof) *string { return &p.Signature },
			} {
				raw, _ := decodeExact(*of(&honest))
				for at := range raw {
					for _, mask := range []byte{0x01, 0x02, 0x20, 0x80, 0xff} {
						changed := slices.Clone(raw)
						changed[at] ^= mask
						p := honest
						*of(&p) = segment(changed)
						refuseAll(t, part+" changed", p, k.enrolment)
					}
				}
				for _, changed := range [][]byte{raw[:len(raw)-1], raw[1:], append(slices.Clone(raw), 0), append(slices.Clone(raw), raw...)} {
					p := honest
					*of(&p) = segment(changed)
					refuseAll(t, part+" longer or shorter", p, k.enrolment)
				}
				everyCharacter(t, part, *of(&honest), func(s string) {
					p := honest
					*of(&p) = s
					refuseAll(t, part+" written otherwise", p, k.enrolment)
				})
			}
		})
	}
}

func TestEveryCharacterOfADevicesProofCounts(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			d := newDevice(t, algorithm)
			honest := d.prove(keyDigest)
			if _, refusal := VerifyKeyProof(keyDigest, honest, d.enrolment); refusal != nil {
				t.Fatal(refusal)
			}
			everyCharacter(t, "JWS", honest.Signature, func(s string) {
				p := honest
				p.Signature = s
				refuseAll(t, "JWS changed", p, d.enrolment)
			})
			for at := range honest.Key {
				p := honest
				p.Key = p.Key[:at] + string(p.Key[at]^1) + p.Key[at+1:]
				refuseAll(t, "key changed", p, d.enrolment)
			}
		})
	}
}

// everyCharacter calls with each character replaced, taken away and preceded by another one.
func everyCharacter(t *testing.T, what, s string, try func(string)) {
	t.Helper()
	if s == "" {
		t.Fatal("there is no " + what)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for at := range s {
		next := alphabet[(strings.IndexByte(alphabet, s[at])+1)%len(alphabet)]
		for _, c := range []byte{next, 'A', '_', '+', '.', '=', '\n', ' ', 0x80} {
			if s[at] != c {
				try(s[:at] + string([]byte{c}) + s[at+1:])
			}
		}
		for _, c := range []string{"\n", "\r", "A", "."} {
			if changed := s[:at] + c + s[at:]; changed != s {
				try(changed)
			}
		}
		try(s[:at] + s[at+1:])
	}
	for _, tail := range []string{"\n", "=", "A", ".", "\x00"} {
		try(s + tail)
	}
}
