package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/policy"
)

// file writes a file for one test.
func file(t *testing.T, name, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	auditors = `@id("auditors-view") permit (principal, action == Action::"view", resource is Signing) when { principal.roles.contains("auditor") };`
	giver    = `@id("owner-gives") permit (principal, action == Action::"delegate", resource is Grant) when { principal.roles.contains("owner") };`
	broken   = "\n" + `@id("typo") forbid (principal, action, resource) when { context has grnt };`
	aCase    = `
cases:
  - name: an auditor looks
    question:
      action: view
      principal: {actor: {iss: "https://id.acme.example", sub: ada}, kind: home, roles: [auditor], tenants: [acme]}
      resource: {signing: saga/acme/PO-1, tenant: acme, requester: {iss: "https://id.acme.example", sub: procurement}}
    allowed: true
    policies: [auditors-view]
`
)

func TestPolicyShowWritesTheSetThatDecides(t *testing.T) {
	clean(t)
	exit, out, _ := run(t, "", "policy", "show")
	if exit != exitOK || out != policy.Default() {
		t.Errorf("the built-in set: exit code %d, %s", exit, out)
	}
	exit, out, _ = run(t, "", "policy", "show", file(t, "acme.cedar", auditors), "--json")
	var shown struct {
		Set, Text  string
		Policies   []policy.Summary
		Invariants []policy.Invariant
	}
	if err := json.Unmarshal([]byte(out), &shown); err != nil || exit != exitOK {
		t.Fatalf("exit code %d: %v", exit, err)
	}
	e, err := policy.NewEngine(shown.Text)
	if err != nil || e.Hash() != shown.Set || len(shown.Policies) != len(e.Policies()) || len(shown.Invariants) != len(policy.Invariants()) || !strings.HasSuffix(shown.Text, auditors) {
		t.Errorf("%+v: %v", shown, err)
	}
}

func TestPolicyCheckOfTheBuiltInSetHolds(t *testing.T) {
	clean(t)
	exit, out, errout := run(t, "", "policy", "check")
	if exit != exitOK || errout != "" || !strings.HasPrefix(out, "pass  policies") || !strings.Contains(out, "pass  model") || !strings.Contains(out, " questions in ") {
		t.Errorf("exit code %d, %s, %s", exit, out, errout)
	}
}

func TestPolicyCheckShowsTheSmallestCounterexample(t *testing.T) {
	clean(t)
	bad := file(t, "acme.cedar", giver)
	exit, out, errout := run(t, "", "policy", "check", bad)
	if exit != exitUnproven || !strings.Contains(out, "fail  model") || !strings.Contains(out, "ana delegates to ben, but principal's roles: owner") || !strings.Contains(errout, "does not hold") {
		t.Errorf("exit code %d, %s, %s", exit, out, errout)
	}
	exit, out, errout = run(t, "", "policy", "check", bad, "--json")
	var report policyReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if exit != exitUnproven || report.Holds || report.Counterexample == nil || report.Counterexample.Invariant.ID != "entitled-to-delegate" || report.Model.Asked == 0 || !strings.Contains(errout, `"code":"policy-broken"`) {
		t.Errorf("exit code %d, %+v, %s", exit, report, errout)
	}
}

func TestPolicyCheckRunsCases(t *testing.T) {
	clean(t)
	good, cases := file(t, "acme.cedar", auditors), file(t, "cases.yaml", aCase)
	if exit, out, errout := run(t, "", "policy", "check", good, "--cases", cases); exit != exitOK || !strings.Contains(out, "pass  cases     1") {
		t.Errorf("exit code %d, %s, %s", exit, out, errout)
	}
	exit, out, _ := run(t, "", "policy", "check", file(t, "none.cedar", "// nothing"), "--cases", cases)
	if exit != exitUnproven || !strings.Contains(out, cases+":3: an auditor looks: wanted allowed by auditors-view, is refused: nothing permits it") {
		t.Errorf("without the policy: exit code %d, %s", exit, out)
	}
	exit, _, errout := run(t, "", "policy", "check", good, "--cases", file(t, "cases.yaml", strings.Replace(aCase, "kind:", "knid:", 1)))
	if exit != exitFailed || !strings.Contains(errout, `cases.yaml:6: there is nothing called "knid" here`) {
		t.Errorf("a slip in the cases: exit code %d, %s", exit, errout)
	}
}

func TestAPolicyFileWithFaultsIsExitCode6AndAMissingOne1(t *testing.T) {
	clean(t)
	bad := file(t, "acme.cedar", broken)
	for _, args := range [][]string{{"show", bad}, {"check", bad}, {"diff", "built-in", bad}, {"diff", bad, "built-in"}} {
		if exit, out, errout := run(t, "", append([]string{"policy"}, args...)...); exit != exitUnproven || out != "" || !strings.Contains(errout, bad+":2: policy \"typo\": nothing ever has an attribute `grnt`") {
			t.Errorf("%v: exit code %d, %s, %s", args, exit, out, errout)
		}
	}
	if exit, _, _ := run(t, "", "policy", "check", bad+".missing"); exit != exitFailed {
		t.Errorf("no file: exit code %d", exit)
	}
	for _, args := range [][]string{{"check", "a", "b"}, {"diff", "a"}, {"show", "--cases", "x"}, {"nonsense"}} {
		if exit, _, _ := run(t, "", append([]string{"policy"}, args...)...); exit != exitUsage {
			t.Errorf("%v: exit code %d", args, exit)
		}
	}
}

func TestPolicyDiffShowsWhatAFileChanges(t *testing.T) {
	clean(t)
	small := file(t, "small.cedar", `@id("decide") permit (principal, action == Action::"decide", resource) when { resource.eligible.contains(principal) };`)
	shut := file(t, "shut.cedar", `@id("decide") permit (principal, action == Action::"decide", resource) when { false };`)
	exit, out, errout := run(t, "", "policy", "diff", "--whole", small, shut)
	if exit != exitOK || !strings.HasPrefix(out, "allow to deny") || !strings.Contains(out, "ana decides") || !strings.Contains(out, "was allowed by decide") || strings.Contains(out, "deny to allow") {
		t.Errorf("exit code %d, %s, %s", exit, out, errout)
	}
	exit, out, _ = run(t, "", "policy", "diff", "--whole", small, small, "--json")
	var answer struct {
		Changes []policy.Change
		Model   policy.Coverage
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || exit != exitOK || len(answer.Changes) != 0 || answer.Model.Asked == 0 {
		t.Errorf("exit code %d, %s: %v", exit, out, err)
	}
}
