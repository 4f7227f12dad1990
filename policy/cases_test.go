package policy_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/policy"
)

const goodCases = `
cases:
  - name: lena decides
    question: &decides
      action: decide
      principal: {actor: {iss: "https://id.acme.example", sub: lena}, kind: home, roles: [legal], tenants: [acme]}
      resource:
        signing: saga/acme/PO-1
        stage: legal
        tenant: acme
        role: legal
        requester: {iss: "https://id.acme.example", sub: procurement}
        eligible:
          - {iss: "https://id.acme.example", sub: liam}
          - {iss: "https://id.acme.example", sub: lena}
        deadline: 2026-03-04T12:00:00Z
        assurance: 1
      now: 2026-03-04T11:00:00Z
      assurance: 1
    allowed: true
    policies: [stage-role-decides]
  - name: and is not refused
    question: *decides
    allowed: false
  - name: by another policy
    question: *decides
    allowed: true
    policies: [requester-requests]
`

func TestCasesAreQuestionsWithTheirAnswers(t *testing.T) {
	t.Parallel()
	cases, err := policy.ReadCases("acme.yaml", []byte(goodCases))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(cases[0].Question, may(policy.Decide)) {
		t.Errorf("read\n%+v, want\n%+v", cases[0].Question, may(policy.Decide))
	}
	failed := policy.RunCases(engine(t, policy.Default()), cases)
	if len(failed) != 2 || failed[0].Case != "and is not refused" || failed[0].Line != 22 || failed[0].Wanted != "refused" || failed[1].Wanted != "allowed by requester-requests" {
		t.Errorf("failed: %+v", failed)
	}
}

func TestFaultsOfCasesAreToldWithFileAndLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, after, message string }{
		"an unknown name":        {"role: legal\n", "rolle: legal\n", `acme.yaml:11: there is nothing called "rolle" here`},
		"twice":                  {"tenant: acme\n", "tenant: acme\n        tenant: globex\n", `acme.yaml:11: "tenant" is said twice`},
		"no time":                {"now: 2026-03-04T11:00:00Z", "now: tomorrow", `acme.yaml:18: "tomorrow" is not a time`},
		"no number":              {"assurance: 1\n    allowed", "assurance: strong\n    allowed", `acme.yaml:19: "strong" is not a number`},
		"no list":                {"roles: [legal]", "roles: legal", `acme.yaml:6: here goes a list`},
		"no actor":               {"{iss: \"https://id.acme.example\", sub: procurement}", "procurement", `acme.yaml:12: here go names with values`},
		"no text":                {"signing: saga/acme/PO-1", "signing:", `acme.yaml:8: "" is not a text`},
		"neither yes nor no":     {"allowed: false", "allowed: perhaps", `acme.yaml:24: "perhaps" is not true or false`},
		"no answer":              {"    allowed: false\n", "", `acme.yaml:22: case "and is not refused" doesn't say whether it is allowed`},
		"no name":                {"name: lena decides", "name: \"\"", `acme.yaml:3: a case needs a name`},
		"one name for two":       {"name: by another policy", "name: lena decides", `acme.yaml:25: another case has the name "lena decides"`},
		"no action":              {"      action: decide\n", "", `asks about no action`},
		"no YAML":                {"cases:", "cases: [", `couldn't read the cases: acme.yaml: yaml: `},
		"two documents":          {"cases:", "---\ncases:\n---\ncases:", `has a second document`},
		"an unknown top":         {"cases:", "case:", `acme.yaml:2: there is nothing called "case" here`},
		"more than a mebibyte":   {"cases:", "#" + strings.Repeat("x", 1<<20) + "\ncases:", `at most 1048576`},
		"all faults at a time":   {"role: legal\n        requester: {iss", "rolle: legal\n        requester: {is", "acme.yaml:11: there is nothing called \"rolle\" here\nacme.yaml:12: there is nothing called \"is\" here"},
		"no cases":               {goodCases[1:], "cases: []\n", `there are no cases`},
		"an empty file":          {goodCases, "", `couldn't read the cases: acme.yaml: EOF`},
		"something in its place": {goodCases[1:], "hello\n", `acme.yaml:2: here go names with values`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(goodCases, c.before) {
				t.Fatalf("the cases don't have %q", c.before)
			}
			if _, err := policy.ReadCases("acme.yaml", []byte(strings.Replace(goodCases, c.before, c.after, 1))); err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("%v; want %q", err, c.message)
			}
		})
	}
}
