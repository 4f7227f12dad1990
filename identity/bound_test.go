package identity

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
)

// offer is something else than a decision that lena proves, with the claims of the ID token that proves it.
func (i *testIssuer) offer(what string) (Bound, claims) {
	b := Bound{Digest: countersign.SHA256([]byte(what)), Actor: i.actor("lena"), IssuedAt: testNow.Unix(), What: what}
	_, c := i.ballot()
	return b, c.with(claims{"nonce": b.Digest})
}

func TestWhateverIsBoundIsCheckedAsADecisionIsAndNamedByItsWord(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	for _, word := range []string{"enrolment", "grant", "acceptance"} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			what, c := i.offer(word)
			online, err := r.VerifyBound(t.Context(), what, i.token(c), testNow)
			if err != nil {
				t.Fatal(err)
			}
			if online.Actor != what.Actor || online.Assurance != 1 || online.EnrolledKey != nil {
				t.Errorf("facts are %+v", online)
			}
			for _, f := range []struct {
				changes       claims
				code, message string
			}{
				{claims{"nonce": strings.Repeat("0", 64)}, "token-other-decision", "the token was not issued for this " + word + ": its nonce is not the " + word + "'s digest"},
				{claims{"sub": "liam"}, "token-other-person", "the token is of another person than the " + word + " names"},
				{claims{"auth_time": seconds(-time.Hour)}, "token-not-fresh", "before the " + word + " was put to them; a fresh login is needed"},
				{claims{"exp": seconds(0)}, "token-expired", "expired at"},
				{claims{"iss": "https://evil.example"}, "token-issuer", "is of"},
			} {
				token := i.token(c.with(f.changes))
				_, err := r.VerifyBound(t.Context(), what, token, testNow)
				wantRefusal(t, err, f.code, f.message)
				_, err = VerifyArchivedBound(what, token, i.setting(), mustJWK(t, i), testNow)
				wantRefusal(t, err, f.code, f.message)
			}
			offline, err := VerifyArchivedBound(what, i.token(c), i.setting(), online.Key, testNow)
			if err != nil || !reflect.DeepEqual(online, offline) {
				t.Errorf("online %+v\noffline %+v (%v)", online, offline, err)
			}
		})
	}
}

// What a caller forgot must not fit what a token leaves out.
func TestNothingIsBoundToNothing(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	full, c := i.offer("grant")
	for name, forget := range map[string]func(*Bound, claims){
		"no digest":             func(b *Bound, c claims) { b.Digest = ""; delete(c, "nonce") },
		"a digest in capitals":  func(b *Bound, c claims) { b.Digest = strings.ToUpper(b.Digest); c["nonce"] = b.Digest },
		"a digest that is cut":  func(b *Bound, c claims) { b.Digest = b.Digest[:62]; c["nonce"] = b.Digest },
		"a digest of no digits": func(b *Bound, c claims) { b.Digest = strings.Repeat("x", 64); c["nonce"] = b.Digest },
		"no subject":            func(b *Bound, c claims) { b.Actor.Subject = ""; delete(c, "sub") },
		"no actor":              func(b *Bound, _ claims) { b.Actor = countersign.Actor{} },
		"no word":               func(b *Bound, _ claims) { b.What = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			what, changed := full, c.with(nil)
			forget(&what, changed)
			_, err := r.VerifyBound(t.Context(), what, i.token(changed), testNow)
			wantNoRefusal(t, err)
			_, err = VerifyArchivedBound(what, i.token(changed), i.setting(), mustJWK(t, i), testNow)
			wantNoRefusal(t, err)
		})
	}
}
