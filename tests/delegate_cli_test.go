package tests

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/starter/client"
)

// people runs the command line for several people, each with a home of their own.
func people(t *testing.T) func(who string, code int, args ...string) string {
	t.Helper()
	homes := t.TempDir()
	return func(who string, code int, args ...string) string {
		t.Helper()
		out, fault, got, err := local.CLI(t.Context(), apiURL, filepath.Join(homes, who), who, args...)
		if err != nil || got != code {
			t.Fatalf("countersign %s, as %s: exit code %d, want %d: %v\n%s%s", strings.Join(args, " "), who, got, code, err, out, fault)
		}
		return out + fault
	}
}

// id is the first word of what a command wrote as its result.
func id(out string) string {
	for l := range strings.Lines(out) {
		if word, _, ok := strings.Cut(strings.TrimSpace(l), " "); ok && len(word) == 64 {
			return word
		}
	}
	return ""
}

// A partner's delegate by the command line: she sees nothing, is lent one decision, makes it by her own key, and sees nothing again.
func TestR20_ByTheCommandLineADelegateSeesASigningUnderALiveGrantAlone(t *testing.T) {
	t.Parallel()
	run := people(t)
	g := resale(t)
	if _, err := g.Open(t.Context(), "legal"); err != nil {
		t.Fatal(err)
	}
	request, rona := g.Request.ID, local.Actor("nord/rona")
	if out := run("nord/rona", 4, "status", request); !strings.Contains(out, "no such signing") {
		t.Errorf("without a grant she is told\n%s", out)
	}
	offer := []string{"grant", "offer", "--to", rona.String(), "--role", "reseller", "--request", request, "--for", "1h", "--reason", "on holiday"}
	if out := run("nord/rhea", 0, append(offer, "--dry-run")...); !strings.Contains(out, rona.String()) {
		t.Errorf("the dry run shows\n%s", out)
	}
	if out := run("nord/rhea", 0, "grant", "list"); strings.Contains(out, request) {
		t.Errorf("a dry run gave a grant:\n%s", out)
	}
	grant := id(run("nord/rhea", 0, offer...))
	if grant == "" {
		t.Fatal("the offer doesn't say which grant it is")
	}
	run("nord/rona", 4, "status", request) // offered, and not taken yet
	if out := run("nord/remy", 4, "grant", "show", grant); !strings.Contains(out, "no such grant") {
		t.Errorf("a colleague, whom it doesn't concern, is told\n%s", out)
	}
	if out := run("nord/rona", 0, "grant", "accept", grant); !strings.Contains(out, "active") {
		t.Errorf("the acceptance became\n%s", out)
	}
	key := filepath.Join(t.TempDir(), "key.pem")
	if out := run("nord/rona", 3, "decide", request, "--approve", "--yes", "--grant", grant); !strings.Contains(out, "not proven strongly enough") {
		t.Errorf("without a key her decision is refused with\n%s", out)
	}
	if out := run("nord/rona", 0, "key", "enrol", key); !strings.Contains(out, "active") {
		t.Errorf("the enrolment became\n%s", out)
	}
	if out := run("nord/rona", 0, "decide", request, "--approve", "--show", "--grant", grant); !strings.Contains(out, "in place") || !strings.Contains(out, "Rhea Rask") {
		t.Errorf("the decision shows\n%s", out)
	}
	run("nord/rona", 0, "decide", request, "--approve", "--yes", "--grant", grant, "--key", key)
	if out := run("nord/rona", 3, "decide", request, "--approve", "--yes", "--grant", grant, "--key", key); !strings.Contains(out, "one person has one vote") {
		t.Errorf("her second decision is refused with\n%s", out)
	}
	if out := run("nord/rhea", 0, "grant", "show", grant); !strings.Contains(out, "used 1 of 1") || !strings.Contains(out, "on holiday") {
		t.Errorf("the grant shows\n%s", out)
	}
	run("nord/remy", 4, "grant", "revoke", grant) // it is none of his
	if out := run("nord/rhea", 0, "grant", "revoke", grant, "--reason", "back again"); !strings.Contains(out, "revoked") {
		t.Errorf("the revocation became\n%s", out)
	}
	run("nord/rona", 5, "grant", "give-back", grant) // there is nothing left to give back
}

// Offboarding a person ends all that they hold, says what that was, and who still stands in the tenant's file.
func TestR14_OffboardingAPersonIsOneCommand(t *testing.T) {
	t.Parallel()
	run := people(t)
	g := resale(t)
	draft := local.Draft("acme", "nord/rhea", "hart/chris", "reseller", g.Request.ID)
	grant := granted(t, "nord/rhea", "hart/chris", draft)
	chris := local.Actor("hart/chris")
	a := passkey(t, "acme", "hart/chris")
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"offboard", "--person", chris.String(), "--reason", "left", "--json"}
	if out := run("acme/alice", 3, args...); !strings.Contains(out, "only the tenant's owner") {
		t.Errorf("alice, who owns nothing, is told\n%s", out)
	}
	read := func(text string) (o client.Offboarding) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		return o
	}
	dry := read(run("acme/olivia", 0, append(args, "--dry-run")...))
	if !dry.DryRun || !slices.Contains(dry.Grants, grant) || len(dry.Keys) == 0 {
		t.Errorf("would end %+v", dry)
	}
	done := read(run("acme/olivia", 0, args...))
	if !slices.Equal(done.Grants, dry.Grants) || !slices.Equal(done.Keys, dry.Keys) || !slices.Equal(done.Listed, []string{chris.String()}) {
		t.Errorf("ended %+v, and would have ended %+v", done, dry)
	}
	// The keys are gone, and the grant with them.
	signed, err := g.PutWith(t.Context(), "hart/chris", g.Decision(status, "hart/chris", "legal", "approve"), a)
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, record(t, g, signed), "key-retired", "enrol another one")
	if out := run("acme/olivia", 0, "grant", "show", grant); !strings.Contains(out, "revoked") {
		t.Errorf("the grant shows\n%s", out)
	}
}
