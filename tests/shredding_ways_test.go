package tests

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
	"github.com/countersign-dev/countersign/starter/client"
)

// shredded waits until an approved shredding is done: what is in its way is looked for again after ten seconds, then after twice as long each time.
func shredded(t *testing.T, c *client.Client, digest string) evidence.ShreddingStatus {
	t.Helper()
	often, last := time.NewTicker(time.Second), time.After(5*time.Minute)
	defer often.Stop()
	for {
		status, err := c.Shredding(t.Context(), digest)
		if err == nil && status.State == evidence.OrderShredded {
			return status
		}
		select {
		case <-often.C:
		case <-last:
			t.Fatalf("within 5 minutes it is not done: %+v, %v", status, err)
		}
	}
}

// A signing that runs and names somebody is in the way of shredding them, when it is proposed and when it is to be done; others are in nobody's way.
func TestN13_NothingGoesThatARunningSigningNames(t *testing.T) {
	as := globexAPI(t)
	supplied(t, requestID(t))
	r := request(t, "globex", "supplier-contract")
	r.ID = requestID(t) + "-runs"
	g := begin(t, r)
	if _, err := g.Open(t.Context(), "legal"); err != nil {
		t.Fatal(err)
	}
	// She may decide and has not: she is named already. The list of what runs lags behind a little.
	eventually(t, "a proposal is refused because a signing runs", func() bool {
		_, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "globex/gina", true))
		return err != nil && strings.Contains(err.Error(), r.ID) && !strings.Contains(err.Error(), requestID(t)+" ")
	})
	_, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "globex/gina", false))
	wantRefusal(t, "a proposal about somebody whom a running signing names", err, "signing-runs")

	decide(t, g, "globex/gina", "legal", countersign.Approve)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	ended(t, g, countersign.Completed)
	var proposed evidence.ShreddingStatus
	eventually(t, "it may be proposed once the signing is over", func() bool {
		proposed, err = as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "globex/gina", false))
		return err == nil
	})
	r.ID += "-later"
	later := begin(t, r)
	if _, err := later.Open(t.Context(), "legal"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the later signing is in the list of those that run", func() bool {
		_, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "globex/gina", true))
		return err != nil
	})
	doing, err := as("globex/georg").AnswerShredding(t.Context(), approval(t, "globex/georg", proposed))
	if err != nil || doing.State != evidence.OrderDoing || !strings.Contains(doing.Problem, r.ID) {
		t.Fatalf("approved while a signing runs, it is %+v, %v", doing, err)
	}
	if left := versions(t, "documents", countersign.SubjectKey("globex", proposed.Key)); len(left) == 0 {
		t.Fatal("the key is gone while a signing that names her runs")
	}
	decide(t, later, "globex/gina", "legal", countersign.Reject)
	ending, _ := ended(t, later, countersign.Rejected)
	done := shredded(t, as("globex/greta"), proposed.Digest)
	if done.Problem != "" || done.Done == nil || done.Done.Record.Key != proposed.Key {
		t.Errorf("once the signing is over, it is %+v", done)
	}
	// So nothing of her is locked under another key: what ended since is shredded with the rest.
	if _, shredded, err := as("globex/greta").EvidenceFile(t.Context(), r.ID, ending.Evidence); err != nil || !shredded {
		t.Errorf("the evidence of the signing that ran is shredded: %v, %v", shredded, err)
	}

	// Compliance was told of each step, and nobody was told of whom.
	told := map[string][]string{}
	for _, raw := range inMailbox(t, "api/messages", proposed.Digest) {
		var m struct {
			To      []string `json:"to"`
			Subject string   `json:"subject"`
			Text    string   `json:"text"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		for _, to := range m.To {
			told[to] = append(told[to], m.Subject)
		}
		if spelled(raw, "g-2001") || strings.Contains(m.Subject+m.Text, "Gina") || spelled(raw, countersign.PersonDigest("globex", local.Actor("globex/gina"))) || spelled(raw, "erasure asked for") {
			t.Errorf("a mail says of whom: %s", raw)
		}
	}
	for _, who := range []string{"greta@globex.example", "georg@globex.example"} {
		got := strings.Join(told[who], "|")
		for _, want := range []string{"Your answer is asked", "approved", "can't be done yet", "Locked evidence, done"} {
			if strings.Count(got, want) != 1 {
				t.Errorf("%s is told %q, of which %q is one", who, got, want)
			}
		}
	}
}

// A legal hold that began after the proposal keeps what was approved from being done, until it is lifted.
func TestN13_AHoldThatBeganSinceIsInTheWayUntilItIsLifted(t *testing.T) {
	as := globexAPI(t)
	g, ending := supplied(t, requestID(t))
	proposed, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "hart/chris", false))
	if err != nil {
		t.Fatal(err)
	}
	globexOrder(t, as, g.Request.ID, ending, countersign.OrderHold)
	doing, err := as("globex/georg").AnswerShredding(t.Context(), approval(t, "globex/georg", proposed))
	if err != nil || doing.State != evidence.OrderDoing || !strings.Contains(doing.Problem, g.Request.ID) || !strings.Contains(doing.Problem, "legal hold") {
		t.Fatalf("approved while the evidence is held, it is %+v, %v", doing, err)
	}
	if left := versions(t, "documents", countersign.SubjectKey("globex", proposed.Key)); len(left) == 0 {
		t.Fatal("the key is gone while evidence is held")
	}
	globexOrder(t, as, g.Request.ID, ending, countersign.OrderLift)
	shredded(t, as("globex/greta"), proposed.Digest)

	// What is left of the bundle can be held anew, by the same two: it doesn't say any more who had a part in it.
	held := globexOrder(t, as, g.Request.ID, ending, countersign.OrderHold)
	if held.State != evidence.OrderHeld || !onHold(t, ending.Evidence.Object.Key, ending.Evidence.Object.VersionID) {
		t.Errorf("the hold of a bundle in which somebody was shredded is %+v", held)
	}
	// And it is in nobody's way whose key is gone already, while the others' stay.
	_, err = as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "globex/gina", true))
	wantRefusal(t, "shredding another person of the bundle that is held", err, "held")
	globexOrder(t, as, g.Request.ID, ending, countersign.OrderLift)
}

// Who has lost the role since, by the tenant's file, has nothing shredded and nothing held.
func TestN13_WhoLostTheRoleSinceOrdersNothing(t *testing.T) {
	dir := t.TempDir()
	as, _ := globexAt(t, dir)
	supplied(t, requestID(t))
	proposed, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "hart/chris", false))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "globex.yaml")
	text, err := os.ReadFile(file)
	before, after, ok := strings.Cut(string(text), "name: Greta Graf")
	if err != nil || !ok {
		t.Fatalf("the tenant's file doesn't name her: %v", err)
	}
	if err := os.WriteFile(file, []byte(before+"name: Greta Graf"+strings.Replace(after, "roles: [compliance]", "roles: [finance]", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	doing, err := as("globex/georg").AnswerShredding(t.Context(), approval(t, "globex/georg", proposed))
	if err != nil || doing.State != evidence.OrderDoing || !strings.Contains(doing.Problem, "role") {
		t.Fatalf("approved after its proposer lost the role, it is %+v, %v", doing, err)
	}
	if left := versions(t, "documents", countersign.SubjectKey("globex", proposed.Key)); len(left) == 0 {
		t.Error("the key is gone")
	}
	// It is tried again, and done once she has the role again: an order that was left waiting would shred under the next test's workers.
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	shredded(t, as("globex/greta"), proposed.Digest)
}

// globexOrder has an order about evidence given by greta, approved by georg, and carried out.
func globexOrder(t *testing.T, as func(who string) *client.Client, request string, ending evidence.Ending, act string) evidence.OrderStatus {
	t.Helper()
	o := countersign.SignedOrder{Order: countersign.Order{
		V: countersign.Version, Tenant: "globex", Request: request, Act: act, Matter: "claim 7", Reason: "claim by the supplier",
		Bundle: ending.Evidence.Object, Actor: local.Actor("globex/greta"), IssuedAt: time.Now().Unix(),
	}}
	digest, err := o.Order.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if o.Proof.IDToken, err = local.ProveDigest(t.Context(), "globex/greta", digest); err != nil {
		t.Fatal(err)
	}
	if _, err := as("globex/greta").GiveOrder(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	a := countersign.SignedOrderAnswer{Answer: countersign.OrderAnswer{V: countersign.Version, Tenant: "globex", Order: digest, Verdict: countersign.Approve, Actor: local.Actor("globex/georg"), IssuedAt: time.Now().Unix()}}
	bound, err := a.Answer.Digest()
	if err == nil {
		a.Proof.IDToken, err = local.ProveDigest(t.Context(), "globex/georg", bound)
	}
	if err != nil {
		t.Fatal(err)
	}
	status, err := as("globex/georg").AnswerOrder(t.Context(), request, a)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// What is stored is time-stamped anew beside the bundle, so that a bundle can be renewed when somebody in it was shredded, and by a record from before as well.
func TestR11_N13_WhatIsLeftOfAShreddedBundleIsRenewedHeldAndGathered(t *testing.T) {
	as, address := globexAt(t, t.TempDir())
	g, ending := supplied(t, requestID(t))
	home := t.TempDir()
	cli := func(args ...string) (string, int) {
		t.Helper()
		out, fault, code, err := local.CLI(t.Context(), address, home, "globex/greta", append(args, "--tenant", "globex")...)
		if err != nil {
			t.Fatal(err)
		}
		return out + fault, code
	}
	renew := func(ending ...string) *evidence.RenewedBundle {
		t.Helper()
		kept, err := as("globex/greta").Renew(t.Context(), client.RenewalBody{WithinDays: 7300, Ending: ending})
		if err != nil {
			t.Fatal(err)
		}
		var status evidence.RenewalStatus
		eventually(t, "the renewal has ended", func() bool {
			status, err = as("globex/greta").Renewal(t.Context(), kept.ID)
			return err == nil && status.State != evidence.RenewalRunning
		})
		for i, p := range status.Problems {
			if p.Request == g.Request.ID {
				t.Errorf("problem %d of the renewal: %+v", i, p)
			}
		}
		for i, b := range status.Renewed {
			if b.Request == g.Request.ID {
				return &status.Renewed[i]
			}
		}
		return nil
	}
	first := renew()
	if first == nil || first.Record == nil || first.Stored == nil || first.Record.Key != countersign.RenewalKey("globex", g.Request.ID, 1) || first.Stored.Key != countersign.StoredRenewalKey("globex", g.Request.ID, 1) {
		t.Fatalf("renewed is %+v", first)
	}
	proposed, err := as("globex/greta").ProposeShredding(t.Context(), proposal(t, "globex/greta", "hart/chris", false))
	if err != nil {
		t.Fatal(err)
	}
	if done, err := as("globex/georg").AnswerShredding(t.Context(), approval(t, "globex/georg", proposed)); err != nil || done.State != evidence.OrderShredded {
		t.Fatalf("the shredding is %+v, %v", done, err)
	}
	second := renew("sha512")
	if second == nil || second.Record != nil || second.Stored == nil || second.Stored.Key != countersign.StoredRenewalKey("globex", g.Request.ID, 2) {
		t.Fatalf("renewed after the shredding is %+v", second)
	}

	// The record of before and the one of after both hold over what is left, and over no other shredded bytes.
	body, shredded, err := as("globex/greta").EvidenceFile(t.Context(), g.Request.ID, ending.Evidence)
	if err != nil || !shredded {
		t.Fatalf("what is left: shredded %v, %v", shredded, err)
	}
	file := filepath.Join(t.TempDir(), "left.asice.shredded")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := local.S3Client(t.Context(), "globex-starter")
	if err != nil {
		t.Fatal(err)
	}
	verify := func(record *countersign.Object) (string, int) {
		t.Helper()
		raw, err := activities.ReadObject(t.Context(), reader, "globex", *record, evidence.MaxRenewalSize)
		if err == nil {
			err = os.WriteFile(file+".ers", raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		out, code := cli("audit", "verify", file, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA)
		return strings.Join(strings.Fields(out), " "), code
	}
	for record, want := range map[*countersign.Object]string{first.Stored: "pass renewal time-stamped anew 1 times", second.Stored: "pass renewal time-stamped anew 2 times"} {
		out, code := verify(record)
		if !strings.Contains(out, want) || code != 0 {
			t.Errorf("with %s, audit verify ends with %d, want %q:\n%s", record.Key, code, want, out)
		}
	}
	exported := filepath.Join(t.TempDir(), "exported.asice.shredded")
	if out, code := cli("audit", "export", g.Request.ID, "-o", exported); code != 0 || !strings.Contains(out, exported+".ers") {
		t.Errorf("audit export ends with %d:\n%s", code, out)
	}
	out, code := cli("audit", "verify", exported, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA)
	if code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), "pass renewal time-stamped anew 2 times") {
		t.Errorf("what was exported is verified with %d:\n%s", code, out)
	}

	c, keys, err := shred.ReadFile(body)
	if err != nil {
		t.Fatal(err)
	}
	left, lost, err := c.Reveal(keys)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(body)
	forged[len(forged)-len(left)+lost[0].Offset] ^= 1
	if err := os.WriteFile(file, forged, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := verify(second.Stored); code != 6 || !strings.Contains(out, "pass seal") || !strings.Contains(out, "fail renewal") {
		t.Errorf("of other bytes, audit verify ends with %d:\n%s", code, out)
	}

	// A dispute gathers what is left, has it held, and says what is not there any more.
	globexOrder(t, as, g.Request.ID, ending, countersign.OrderHold)
	case7 := filepath.Join(t.TempDir(), "case")
	out, code = cli("audit", "dispute", g.Request.ID, "--out", case7, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA, "--log-key", local.Tenants["globex"].LogPublicKey)
	flat := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{"bundle holds seal: sealed by", "shredded found personal data of 1 of 3 people (key " + proposed.Key, "document found the signed PDF is whole", "timeline not gathered", "order holds", "hold holds held for claim 7", "log holds the ending is entry", "reads found"} {
		if code != 0 || !strings.Contains(flat, want) {
			t.Errorf("audit dispute ends with %d and says nothing of %q:\n%s", code, want, out)
		}
	}
	for _, name := range []string{g.Request.ID + ".asice.shredded", g.Request.ID + ".pdf", "report.json", "MANIFEST.sha256"} {
		if _, err := os.Stat(filepath.Join(case7, name)); err != nil {
			t.Error(err)
		}
	}
	globexOrder(t, as, g.Request.ID, ending, countersign.OrderLift)
}
