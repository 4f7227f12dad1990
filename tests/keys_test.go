package tests

import (
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
)

// A purpose that is a control point takes no decision that only a login proves.
func TestR22_AControlPointNeedsThePersonsOwnKey(t *testing.T) {
	t.Parallel()
	g := resale(t)
	wantRefused(t, approve(t, g, "acme/alice", "legal", nil), "proof-strong-enough", "not proven strongly enough")
	alice := passkey(t, "acme", "acme/alice")
	wantCounted(t, approve(t, g, "acme/alice", "legal", alice))
}

// What an enrolled key proves is one person's decision: each row is refused with its reason.
func TestR05_KeysThatProveNothing(t *testing.T) {
	t.Parallel()
	g := resale(t)
	t.Run("one that nobody enrolled", func(t *testing.T) {
		t.Parallel()
		stray := stack.NewAuthenticator("localhost", "http://localhost:8080")
		wantRefused(t, approve(t, g, "acme/alice", "legal", stray), "key-not-enrolled", "enrol it first")
	})
	t.Run("somebody else's", func(t *testing.T) {
		t.Parallel()
		remy := passkey(t, "acme", "nord/remy")
		wantRefused(t, approve(t, g, "acme/alice", "legal", remy), "key-other-person", "enrolled by somebody else")
	})
	t.Run("without its owner verified", func(t *testing.T) {
		t.Parallel()
		key := passkey(t, "acme", "acme/alice")
		key.SetUserVerification(false)
		wantRefused(t, approve(t, g, "acme/alice", "legal", key), "key-not-verified", "")
	})
	t.Run("one that counts back", func(t *testing.T) {
		t.Parallel()
		key := passkey(t, "acme", "acme/alice")
		key.SetCounter(7)
		other := resaleNamed(t, "-counter")
		wantCounted(t, approve(t, other, "acme/alice", "legal", key))
		key.SetCounter(3)
		wantRefused(t, approve(t, g, "acme/alice", "legal", key), "key-counter", "there may be a copy of it")
	})
	t.Run("one that was retired", func(t *testing.T) {
		t.Parallel()
		key := stack.NewAuthenticator("localhost", "http://localhost:8080")
		id, err := local.Enrol(t.Context(), "acme", "acme/alice", key)
		if err == nil {
			_, err = local.Key(t.Context(), "acme", id, func(k evidence.KeyStatus) bool { return k.State == evidence.KeyActive })
		}
		if err == nil {
			err = local.Tell(t.Context(), "acme", "acme/alice", countersign.EnrolmentID("acme", id), countersign.SignalRetire, countersign.Retirement{ID: "r", Reason: "lost"})
		}
		if err == nil {
			_, err = local.Key(t.Context(), "acme", id, func(k evidence.KeyStatus) bool { return k.State == evidence.KeyRetired })
		}
		if err != nil {
			t.Fatal(err)
		}
		wantRefused(t, approve(t, g, "acme/alice", "legal", key), "key-retired", "enrol another one")
	})
}

func resaleNamed(t testing.TB, suffix string) *stack.Signing {
	t.Helper()
	r := request(t, "acme", "resale-agreement")
	r.ID += suffix
	return begin(t, r)
}

// A key has one holder: two subjects can't share one credential.
func TestR05_AKeyHasOneHolder(t *testing.T) {
	t.Parallel()
	key := stack.NewAuthenticator("localhost", "http://localhost:8080")
	id, err := local.Enrol(t.Context(), "acme", "nord/remy", key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Key(t.Context(), "acme", id, func(k evidence.KeyStatus) bool { return k.State == evidence.KeyActive }); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Enrol(t.Context(), "acme", "nord/rona", key); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second person enrolled the same key: %v", err)
	}
}

// Enrolments that aren't the sender's own are refused, and leave the key's name free for its owner.
func TestR05_EnrolmentsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		relyingID, origin string
		want              string
	}{
		"for another site":    {"evil.example", "https://evil.example", "key-relying-party"},
		"by a page of no one": {"localhost", "http://localhost:9999", "key-origin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := local.Enrol(t.Context(), "acme", "nord/remy", stack.NewAuthenticator(row.relyingID, row.origin))
			if err != nil {
				t.Fatal(err)
			}
			if err := local.Failure(t.Context(), "acme", countersign.EnrolmentID("acme", id)); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("ended with %v, want %s", err, row.want)
			}
		})
	}
}
