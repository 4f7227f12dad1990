package tests

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	sdk "go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// Compliance has evidence checked, and reads the reports, with its own credential and none of the bucket's.
func TestR24_R23_ComplianceHasEvidenceCheckedAndReadsTheReports(t *testing.T) {
	faultyWorkers(t) // globex's, one after another with the other tests of checks
	dir, err := local.Tenant(t.TempDir(), "globex")
	if err != nil {
		t.Fatal(err)
	}
	server, address, err := local.Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	homes := map[string]string{}
	run := func(code int, who string, args ...string) string {
		t.Helper()
		if homes[who] == "" {
			homes[who] = t.TempDir()
		}
		args = append(args, "--tenant", "globex", "--issuer", local.Issuers["globex"].URL)
		out, fault, got, err := local.CLI(t.Context(), address, homes[who], who, args...)
		if err != nil || got != code {
			t.Fatalf("countersign %s: exit code %d, want %d: %v\n%s%s", strings.Join(args, " "), got, code, err, out, fault)
		}
		return out
	}
	g := begin(t, request(t, "globex", "supplier-contract"))
	approved(t, g)
	ended(t, g, countersign.Completed)

	var would client.CheckRun
	if err := json.Unmarshal([]byte(run(0, "globex/greta", "audit", "check-now", "--dry-run", "--json")), &would); err != nil {
		t.Fatal(err)
	}
	isNewest := func(s client.CheckSample) bool { return s.Request == g.Request.ID && s.Why == "newest" }
	if would.State != client.CheckWould || would.Random == 0 || !slices.ContainsFunc(would.Sample, isNewest) {
		t.Errorf("the dry run says %+v", would)
	}
	var report evidence.EvidenceReport
	if err := countersign.ParseStrict([]byte(run(0, "globex/greta", "audit", "check-now", "--json")), &report); err != nil {
		t.Fatal(err)
	}
	if !report.Passed || report.Tenant != "globex" || !slices.ContainsFunc(report.Bundles, func(b evidence.SampleReport) bool { return b.Request == g.Request.ID }) {
		t.Errorf("the report is %+v", report)
	}
	name, _, _ := countersign.ParseEvidenceCheckKey("globex", countersign.EvidenceCheckKey("globex", report.At, report.ID))
	var list client.EvidenceChecks
	if err := json.Unmarshal([]byte(run(0, "globex/greta", "audit", "checks", "--limit", "1", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Checks) == 0 || list.Checks[0].Check != name || list.Schedule.Late || list.Schedule.Next == nil {
		t.Errorf("the list is %+v", list)
	}
	if out := run(0, "globex/greta", "audit", "checks", name); !strings.Contains(out, g.Request.ID) {
		t.Errorf("the report is told as\n%s", out)
	}

	// Whoever is no compliance and no owner has none made, and reads none: by the API, and past it.
	for _, args := range [][]string{{"audit", "check-now"}, {"audit", "check-now", "--dry-run"}, {"audit", "checks"}, {"audit", "checks", name}} {
		run(3, "globex/gina", args...)
	}
	for who, may := range map[string]bool{"globex/greta": true, "globex/gina": false, "machine:globex/procurement": false} {
		c, err := local.Dial(t.Context(), "globex", who)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		err = c.ScheduleClient().GetHandle(t.Context(), countersign.EvidenceCheckID("globex")).Trigger(t.Context(), sdk.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP})
		if (err == nil) != may {
			t.Errorf("%s triggers the schedule at the server: %v", who, err)
		}
	}

	// Who read which report, and who asked for a check, is recorded.
	var recorded []string
	for cursor := ""; ; {
		var page client.Reads
		if status, body := fetched(t, address, "globex/greta", "/v1/globex/reads?cursor="+cursor); status != http.StatusOK || json.Unmarshal(body, &page) != nil {
			t.Fatalf("the reads answer %d", status)
		}
		for _, r := range page.Reads {
			if r.What == evidence.ReadChecks {
				of := r.Filter
				if r.Object != nil {
					of = r.Object.Key
				}
				recorded = append(recorded, of)
				if r.Reader.Actor != local.Actor("globex/greta") {
					t.Errorf("%s read %q", r.Reader.Actor, of)
				}
			}
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	key := countersign.EvidenceCheckKey("globex", report.At, report.ID)
	if want := []string{"run=dry", "run=now", key, "", key}; !slices.Equal(recorded, want) {
		t.Errorf("recorded is %q, want %q", recorded, want)
	}
}

// What was time-stamped anew is exported with its evidence record, which verification finds by itself: of one signing, and of a period.
func TestR11_R25_EvidenceRecordsAreExportedBesideTheirBundles(t *testing.T) {
	t.Parallel()
	from := time.Now().Add(-time.Second)
	g, ending := done(t)
	home, file := t.TempDir(), filepath.Join(t.TempDir(), "e.asice")
	run := func(code int, args ...string) string {
		t.Helper()
		out, fault, got, err := local.CLI(t.Context(), apiURL, home, "acme/olivia", args...)
		if err != nil || got != code && code >= 0 {
			t.Fatalf("countersign %s: exit code %d, want %d: %v\n%s%s", strings.Join(args, " "), got, code, err, out, fault)
		}
		return out
	}
	verify := func(file string) string {
		t.Helper()
		return run(0, "audit", "verify", file, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA, "--log-key", local.Tenants["acme"].LogPublicKey)
	}
	renewing.Lock()
	defer renewing.Unlock()
	run(-1, "audit", "renew", "--within-days", "7300") // bundles of other tests may not be renewable
	if out := run(0, "audit", "export", g.Request.ID, "-o", file); !strings.Contains(out, file+".ers") || !strings.Contains(out, file+".log.json") {
		t.Fatalf("the export says\n%s", out)
	}
	if out := verify(file); !strings.Contains(out, "time-stamped anew") {
		t.Errorf("audit verify writes\n%s", out)
	}
	found := false
	for _, r := range readsOf(t, g.Request.ID) {
		found = found || r.What == evidence.ReadRenewal && r.Reader.Actor == local.Actor("acme/olivia") && strings.HasPrefix(r.Object.Key, strings.TrimSuffix(countersign.RenewalKey("acme", g.Request.ID, 1), "001.ers"))
	}
	if !found {
		t.Error("that the evidence record was read is not recorded")
	}
	listed(t, from, g.Request.ID)
	dir := t.TempDir()
	run(0, "audit", "export", "--from", from.UTC().Format(time.RFC3339Nano), "--until", time.Now().UTC().Format(time.RFC3339Nano), "--output", dir, "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA)
	if out := verify(filepath.Join(dir, "bundles", ending.Evidence.Object.SHA256+".asice")); !strings.Contains(out, "time-stamped anew") {
		t.Errorf("audit verify of what was exported of a period writes\n%s", out)
	}
	if status, _ := fetched(t, apiURL, "nord/rhea", "/v1/acme/signings/"+g.Request.ID+"/evidence/renewal"); status != http.StatusNotFound {
		t.Errorf("who may not see the signing is answered %d", status)
	}
}

// TestR24_ANewInstallationSaysWhenItsFirstCheckIsDue asks about acme, of which no test has the evidence checked.
func TestR24_ANewInstallationSaysWhenItsFirstCheckIsDue(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	checks := func(args ...string) string {
		t.Helper()
		out, fault, code, err := local.CLI(t.Context(), apiURL, home, "acme/olivia", append([]string{"audit", "checks", "--tenant", "acme", "--issuer", local.Issuers["acme"].URL}, args...)...)
		if err != nil || code != 0 {
			t.Fatalf("exit code %d, %v\n%s%s", code, err, out, fault)
		}
		return out
	}
	var list client.EvidenceChecks
	if err := json.Unmarshal([]byte(checks("--json")), &list); err != nil {
		t.Fatal(err)
	}
	s := list.Schedule
	if s.Newest != nil {
		t.Skip("the schedule's own time for a check came while the tests ran")
	}
	if s.Late || s.FirstDue == nil || s.FirstDue.Before(time.Now()) || s.FirstDue.After(time.Now().Add(30*time.Hour+15*time.Minute)) {
		t.Errorf("the schedule is %+v", s)
	}
	if out := checks(); !strings.Contains(out, "not yet: the first is due by 20") || strings.Contains(out, "LATE") {
		t.Errorf("it is told as\n%s", out)
	}
}
