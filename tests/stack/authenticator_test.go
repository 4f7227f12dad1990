package stack

import (
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
)

func TestTheAuthenticatorProvesWhatIdentityAccepts(t *testing.T) {
	t.Parallel()
	a := NewAuthenticator("sign.acme.example", "https://sign.acme.example")
	lena := countersign.Actor{Issuer: "https://id.acme.example", Subject: "lena"}
	e := a.Enrolment("acme", lena, time.Unix(1772366400, 0))
	if err := e.Check(); err != nil {
		t.Fatal(err)
	}
	digest, err := e.Digest()
	if err != nil {
		t.Fatal(err)
	}
	prove := func() (identity.KeyUse, *countersign.Refusal) {
		p, err := a.Prove(digest)
		if err != nil {
			t.Error(err)
		}
		return identity.VerifyKeyProof(digest, p, e)
	}
	a.SetCounter(9)
	if use, refusal := prove(); refusal != nil || use.Counter != 9 || !use.UserVerified {
		t.Errorf("%+v, %v", use, refusal)
	}
	a.SetUserVerification(false)
	if _, refusal := prove(); refusal == nil || refusal.Code != "key-not-verified" {
		t.Errorf("unverified: %v", refusal)
	}
	a.SetUserVerification(true)
	if use, refusal := prove(); refusal != nil || use.Key != countersign.SHA256(a.credential.ID) {
		t.Errorf("%+v, %v", use, refusal)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if again := a.Enrolment("acme", lena, time.Unix(1772366400, 0)); again.PublicKey != e.PublicKey {
				t.Error("another key")
			}
			if _, refusal := prove(); refusal != nil {
				t.Error(refusal)
			}
		})
	}
	all.Wait()
	if _, err := a.Prove("approve"); err == nil {
		t.Error("proved what is no digest")
	}
}
