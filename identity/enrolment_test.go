package identity

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

// enrols is an enrolment of lena's as she sends it, after a change; prove is the key that she enrols.
func (i *testIssuer) enrols(e countersign.Enrolment, prove func(digest string) countersign.KeyProof, changes claims) countersign.SignedEnrolment {
	i.t.Helper()
	e.Actor = i.actor("lena")
	digest, err := e.Digest()
	if err != nil {
		i.t.Fatal(err)
	}
	_, c := i.ballot()
	return countersign.SignedEnrolment{
		Enrolment: e, Proof: countersign.Proof{IDToken: i.token(c.with(claims{"nonce": digest}).with(changes))}, Possession: prove(digest),
	}
}

func TestAPersonEnrolsAKey(t *testing.T) {
	t.Parallel()
	k, d := newPasskey(t, virtualwebauthn.KeyTypeEC2), newDevice(t, jose.EdDSA)
	for kind, c := range map[string]struct {
		enrolment countersign.Enrolment
		prove     func(string) countersign.KeyProof
	}{
		countersign.KeyPasskey: {k.enrolment, func(digest string) countersign.KeyProof { return k.prove(k.assertion(digest)) }},
		countersign.KeyDevice:  {d.enrolment, d.prove},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			i := newTestIssuer(t)
			s := i.enrols(c.enrolment, c.prove, nil)
			facts, use, err := NewRegistry([]countersign.Issuer{i.setting()}).VerifyEnrolment(t.Context(), s, testNow)
			if err != nil {
				t.Fatal(err)
			}
			if facts.Actor != s.Enrolment.Actor || facts.Assurance != 1 || use.Kind != kind || use.Key != s.Possession.Key {
				t.Errorf("%+v, %+v", facts, use)
			}
			i.server.Close()
			again, sameUse, err := VerifyArchivedEnrolment(s, i.setting(), facts.Key, testNow)
			if err != nil || !reflect.DeepEqual(facts, again) || use != sameUse {
				t.Errorf("online %+v %+v\noffline %+v %+v (%v)", facts, use, again, sameUse, err)
			}
		})
	}
}

func TestWrongEnrolmentsAreRefusedWithTheirReason(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	r := NewRegistry([]countersign.Issuer{i.setting()})
	d, stranger := newDevice(t, jose.ES256), newDevice(t, jose.ES256)
	good := i.enrols(d.enrolment, d.prove, nil)
	changed := func(change func(*countersign.SignedEnrolment)) countersign.SignedEnrolment {
		s := good
		change(&s)
		return s
	}
	ends := testNow.Unix() + 300
	for _, c := range []struct {
		name, code, message string
		signed              countersign.SignedEnrolment
		at                  time.Time
	}{
		{"no enrolment", "malformed", "enrolment: v is 0", changed(func(s *countersign.SignedEnrolment) { s.Enrolment = countersign.Enrolment{} }), testNow},
		{"a key's signature in the proof", "malformed", "its proof is an ID token alone", changed(func(s *countersign.SignedEnrolment) { s.Proof.Key = &s.Possession }), testNow},
		{"expired at this second", "enrolment-expired", "the enrolment expired at 2026-03-01T12:05:00Z; begin it again", good, time.Unix(ends, 0)},
		{"expired long ago", "enrolment-expired", "begin it again", good, time.Unix(ends, 0).Add(time.Hour)},
		{"no possession", "key-malformed", "key must be the 64 hex digits", changed(func(s *countersign.SignedEnrolment) { s.Possession = countersign.KeyProof{} }), testNow},
		{"possession of another key", "key-other", "names another key", changed(func(s *countersign.SignedEnrolment) { s.Possession = stranger.prove(keyDigest) }), testNow},
		{"possession shown for something else", "key-other-decision", "signed something else", changed(func(s *countersign.SignedEnrolment) { s.Possession = d.prove(keyDigest) }), testNow},
		{"somebody else's enrolment of the same key", "key-other-decision", "signed something else", changed(func(s *countersign.SignedEnrolment) { s.Enrolment.Actor.Subject = "liam" }), testNow},
		{"another tenant's", "key-other-decision", "signed something else", changed(func(s *countersign.SignedEnrolment) { s.Enrolment.Tenant = "partner" }), testNow},
		{"no token", "token-missing", "there is no token", changed(func(s *countersign.SignedEnrolment) { s.Proof.IDToken = "" }), testNow},
		{"the token of another enrolment", "token-other-decision", "the token was not issued for this enrolment: its nonce is not the enrolment's digest", i.enrols(d.enrolment, d.prove, claims{"nonce": keyDigest}), testNow},
		{"the token of another person", "token-other-person", "another person than the enrolment names", i.enrols(d.enrolment, d.prove, claims{"sub": "liam"}), testNow},
		{"a stale login", "token-not-fresh", "before the enrolment was put to them", i.enrols(d.enrolment, d.prove, claims{"auth_time": seconds(-time.Hour)}), testNow},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			facts, use, err := r.VerifyEnrolment(t.Context(), c.signed, c.at)
			wantRefusal(t, err, c.code, c.message)
			if !reflect.DeepEqual(facts, Facts{}) || use != (KeyUse{}) {
				t.Errorf("a refused enrolment has %+v, %+v", facts, use)
			}
			_, _, err = VerifyArchivedEnrolment(c.signed, i.setting(), mustJWK(t, i), c.at)
			wantRefusal(t, err, c.code, c.message)
		})
	}
	// A moment earlier it is open.
	longer := i.enrols(d.enrolment, d.prove, claims{"exp": ends + 60})
	if _, _, err := r.VerifyEnrolment(t.Context(), longer, time.Unix(ends-1, 999_999_999)); err != nil {
		t.Errorf("before its end: %v", err)
	}
}

// An issuer that doesn't answer is nobody's fault: the enrolment may be tried again.
func TestAnEnrolmentWaitsForTheIssuer(t *testing.T) {
	t.Parallel()
	i := newTestIssuer(t)
	d := newDevice(t, jose.ES256)
	s := i.enrols(d.enrolment, d.prove, nil)
	i.server.Close()
	_, use, err := NewRegistry([]countersign.Issuer{i.setting()}).VerifyEnrolment(t.Context(), s, testNow)
	wantNoRefusal(t, err)
	if !errors.Is(err, ErrUnavailable) || use != (KeyUse{}) {
		t.Errorf("%v, %+v", err, use)
	}
}
