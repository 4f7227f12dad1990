package tests

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/tests/stack"
)

// globexAPI starts workers and an API of globex for a test, and gives a client of it for each who asks.
func globexAPI(t *testing.T) func(who string) *client.Client {
	t.Helper()
	dir, err := local.Tenant(t.TempDir(), "globex")
	if err != nil {
		t.Fatal(err)
	}
	workers, err := local.Workers(filepath.Join(local.Bin, "workers"), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(workers.Stop)
	server, address, err := local.Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return func(who string) *client.Client {
		c, err := client.New(address, "globex", func(ctx context.Context) (string, error) { return local.Token(ctx, who) })
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// supplied runs a signing of globex to its end.
func supplied(t *testing.T, id string) (*stack.Signing, evidence.Ending) {
	t.Helper()
	r := request(t, "globex", "supplier-contract")
	r.ID = id
	g := begin(t, r)
	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	ending, _ := ended(t, g, countersign.Completed)
	return g, ending
}

// storedOf is what is stored in the place of a bundle, as its ending names it.
func storedOf(t *testing.T, ending evidence.Ending) []byte {
	t.Helper()
	store, err := local.S3Client(t.Context(), "globex-starter")
	if err != nil {
		t.Fatal(err)
	}
	o := ending.Evidence.Object
	o.SHA256 = ending.Evidence.Concealed
	stored, err := activities.ReadObject(t.Context(), store, "globex", o, evidence.MaxBundleSize+shred.MaxOverhead)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// spelled says whether a text holds a string as it is, as JSON, or in base64.
func spelled(text []byte, s string) bool {
	escaped, _ := json.Marshal(s)
	for _, needle := range []string{s, strings.Trim(string(escaped), `"`)} {
		if bytes.Contains(text, []byte(needle)) || strings.Contains(decoded(text), needle) {
			return true
		}
	}
	return false
}

// decoded is all that a text holds in base64, at each alignment.
func decoded(text []byte) string {
	var all strings.Builder
	for _, m := range regexp.MustCompile(`[A-Za-z0-9+/]{8,}`).FindAll(text, -1) {
		for cut := range 4 {
			part := m[min(cut, len(m)):]
			if plain, err := base64.StdEncoding.DecodeString(string(part[:len(part)/4*4])); err == nil {
				all.Write(plain)
			}
		}
	}
	return all.String()
}

func TestShredding_LockedEvidenceSaysNothingOfAnybodyAndIsHandedOutWhole(t *testing.T) {
	as := globexAPI(t)
	g, ending := supplied(t, requestID(t))
	if ending.Evidence.Concealed == "" {
		t.Fatal("the evidence of a tenant with a key for personal data is locked plain")
	}
	plain := bundle(t, "globex", ending)
	stored := storedOf(t, ending)
	people, err := evidence.PersonalData(plain)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, p := range people {
		for _, s := range p.Strings {
			if len(s) < 6 {
				continue // so short that cipher text may have it as well
			}
			if !spelled(plain, s) {
				t.Errorf("the check itself doesn't find %q in the plain bundle", s)
			}
			if found++; spelled(stored, s) {
				t.Errorf("what is locked says %q", s)
			}
		}
	}
	if found < 20 || !slices.ContainsFunc(people, func(p evidence.Personal) bool { return slices.Contains(p.Strings, "Gina Gross") }) {
		t.Errorf("%d strings of people were looked for, of %v", found, people)
	}
	if left := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, countersign.WithheldBundle(countersign.Completed))); len(left) > 0 {
		t.Errorf("the plain copy that waited for the lock is still there: %q", left)
	}
	if ending.Log == nil || !strings.Contains(string(ending.Log.Entry), `"concealed":"`+ending.Evidence.Concealed+`"`) {
		t.Errorf("the log's entry doesn't name what is stored: %+v", ending.Log)
	}
	body, shredded, err := as("machine:globex/procurement").Evidence(t.Context(), g.Request.ID, ending.Evidence)
	if err != nil || shredded || !bytes.Equal(body, plain) {
		t.Errorf("the API gave %d bytes, shredded %v, %v", len(body), shredded, err)
	}
}
