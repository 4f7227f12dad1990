package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

var update = flag.Bool("update", false, "write the golden files anew")

// run runs one command line, apart from the environment of whoever runs the tests.
func run(t *testing.T, stdin string, args ...string) (exit int, out, errout string) {
	t.Helper()
	var o, e bytes.Buffer
	exit = execute(t.Context(), args, terminal{in: strings.NewReader(stdin), out: &o, err: &e})
	return exit, o.String(), e.String()
}

// clean takes the caller's settings out of the environment.
func clean(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "COUNTERSIGN_") || name == "BROWSER" {
			t.Setenv(name, "")
		}
	}
	t.Setenv("COUNTERSIGN_CACHE", "off")
}

func TestHelp(t *testing.T) {
	clean(t)
	for name, args := range map[string][]string{"help": {"--help"}, "exit-codes": {"help", "exit-codes"}} {
		exit, out, _ := run(t, "", args...)
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if exit != exitOK || out != string(want) {
			t.Errorf("%s: exit code %d:\n%s", name, exit, out)
		}
	}
}

func TestTheManualSaysTheExitCodes(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range strings.Split(exitCodes, "\n") {
		if code, meaning, _ := strings.Cut(text, "  "); !strings.Contains(string(manual), "| "+code+" | "+meaning+" |") {
			t.Errorf("docs/cli.md doesn't say: | %s | %s |", code, meaning)
		}
	}
}

func TestMisuseIsExitCode2(t *testing.T) {
	clean(t)
	t.Setenv("COUNTERSIGN_TOKEN", "x")
	for _, args := range [][]string{
		{"nonsense"}, {"--nonsense"}, {"status"}, {"status", "a", "b"}, {"request"}, {"request", "--file", "x"}, {"status", "PO-1"},
		{"status", "PO-1", "--tenant", "NOT A TENANT"}, {"status", "PO-1", "--tenant", "acme", "--api", "http://sign.example"},
		{"decide", "PO-1", "--tenant", "acme"}, {"decide", "PO-1", "--tenant", "acme", "--approve", "--reject"}, {"decide", "PO-1", "--tenant", "acme", "--approve"},
		{"decide", "PO-1", "--tenant", "acme", "--issuer", "http://127.0.0.1:1", "--machine-key", "k", "--approve"},
		{"audit", "verify", "x"}, {"audit", "records", "verify", "x"}, {"audit", "nonsense"}, {"serve", "--listen", "nowhere"}, {"serve", "--log", "loud"}, {"login"}, {"withdraw", "PO-1", "--tenant", "acme"},
		{"request", "--file", "x", "--purpose", "p", "--title", "t", "--tenant", "acme", "--deadline", "legal=tomorrow"},
	} {
		if exit, out, errout := run(t, "", args...); exit != exitUsage || errout == "" || out != "" {
			t.Errorf("%v: exit code %d, %q, %q", args, exit, out, errout)
		}
	}
}

// answering is an API that answers everything with one status and code.
func answering(t *testing.T, status int, code string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(client.Problem{Status: status, Code: code, Detail: "because"})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestExitCodesOfWhatTheAPIAnswers(t *testing.T) {
	clean(t)
	t.Setenv("COUNTERSIGN_TOKEN", "secret-token")
	for status, want := range map[int]int{400: exitRefused, 401: exitRefused, 403: exitRefused, 413: exitRefused, 422: exitRefused, 404: exitNotFound, 409: exitConflict, 500: exitFailed, 503: exitFailed} {
		exit, out, errout := run(t, "", "status", "PO-1", "--tenant", "acme", "--api", answering(t, status, "the-code"), "--json")
		var told struct {
			Error struct {
				Code string
				Exit int
			}
		}
		if err := json.Unmarshal([]byte(errout), &told); err != nil || told.Error.Code != "the-code" || told.Error.Exit != want {
			t.Errorf("%d: told %s: %v", status, errout, err)
		}
		if exit != want || out != "" || strings.Contains(errout, "secret-token") {
			t.Errorf("%d: exit code %d, %q, %q", status, exit, out, errout)
		}
	}
	if exit, _, _ := run(t, "", "status", "PO-1", "--tenant", "acme", "--api", "http://127.0.0.1:1"); exit != exitFailed {
		t.Errorf("an API that isn't there: exit code %d", exit)
	}
}

func TestEvidenceThatDoesNotHoldIsExitCode6(t *testing.T) {
	clean(t)
	bad := filepath.Join(t.TempDir(), "bad.asice")
	if err := os.WriteFile(bad, []byte("PK not a bundle"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(root), 0o600); err != nil {
		t.Fatal(err)
	}
	exit, out, _ := run(t, "", "audit", "verify", bad, "--tenant-ca", ca, "--tsa-ca", ca)
	if exit != exitUnproven || !slices.Equal(strings.Fields(out)[:2], []string{"fail", "container"}) {
		t.Errorf("verify: exit code %d, %s", exit, out)
	}
	exit, out, _ = run(t, "", "audit", "verify", bad, "--tenant-ca", ca, "--tsa-ca", ca, "--json")
	var report struct {
		Verified bool
		Findings []evidence.Finding
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || exit != exitUnproven || report.Verified || len(report.Findings) != len(evidence.NamedChecks()) {
		t.Errorf("verify --json: exit code %d, %s", exit, out)
	}
	if exit, _, _ := run(t, "", "audit", "replay", bad); exit != exitUnproven {
		t.Errorf("replay: exit code %d", exit)
	}
	if exit, _, errout := run(t, "", "audit", "verify", bad, "--tenant-ca", bad, "--tsa-ca", ca); exit != exitFailed || !strings.Contains(errout, "--tenant-ca") {
		t.Errorf("no root: exit code %d, %s", exit, errout)
	}
	if exit, _, _ := run(t, "", "audit", "replay", bad+".missing"); exit != exitFailed {
		t.Errorf("no file: exit code %d", exit)
	}
}

// draft is a signing at its first stage, and a decision in it.
func draft(t *testing.T, issuer string, now time.Time) (client.Draft, client.Status) {
	t.Helper()
	document := countersign.Document{Bucket: "documents", Key: "acme/documents/x.pdf", VersionID: "v", SHA256: countersign.SHA256([]byte("pdf"))}
	actor := countersign.Actor{Issuer: issuer, Subject: "alice"}
	status := client.Status{
		Tenant: "acme", Request: "PO-1", Title: "Agreement\x1b[2J", State: client.StateApproval, Stage: "legal", Open: []string{"legal"}, Document: &document, Context: countersign.SHA256(nil), Policy: countersign.SHA256(nil),
		Saga: evidence.Execution{Workflow: "saga/acme/PO-1", Run: "run"}, Plan: &countersign.Plan{Stages: []countersign.Stage{{Name: "legal", Quorum: 1, Deadline: now.Add(time.Hour).UTC(), Eligible: []countersign.Eligible{{Actor: actor, Name: "Alice", Organisation: "Acme"}}}}},
	}
	freeze(t, &status)
	d := countersign.Decision{V: 1, Tenant: "acme", Signing: "saga/acme/PO-1", Run: "run", Stage: "legal", Context: status.Context, Document: document, Verdict: countersign.Approve,
		Actor: actor, Grants: []string{}, Policy: status.Policy, IssuedAt: now.Unix(), ExpiresAt: now.Unix() + 600}
	digest, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return client.Draft{Decision: d, Digest: digest, Deadline: status.Plan.Stages[0].Deadline, Open: true}, status
}

// freeze gives a status the transaction that it shows, as intake does.
func freeze(t *testing.T, s *client.Status) {
	t.Helper()
	s.Requester = &countersign.Actor{Issuer: "http://127.0.0.1:1", Subject: "procurement"}
	s.Asked = &countersign.Request{V: 1, Tenant: s.Tenant, ID: s.Request, Purpose: s.Purpose, Title: s.Title, Document: *s.Document}
	s.Transaction = &countersign.Context{V: 1, Tenant: s.Tenant, Signing: s.Saga.Workflow, Run: s.Saga.Run, Requester: *s.Requester, Document: *s.Document, Policy: s.Policy}
	var err error
	if s.Transaction.Request, err = s.Asked.Fingerprint(); err != nil {
		t.Fatal(err)
	}
	if s.Transaction.Plan, err = s.Plan.Digest(); err != nil {
		t.Fatal(err)
	}
	if s.Context, err = s.Transaction.Digest(); err != nil {
		t.Fatal(err)
	}
}

func TestAStatusThatShowsAnotherTransactionIsNotDecidedOn(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*client.Status){
		"another title":     func(s *client.Status) { s.Title = "Holiday request" },
		"another purpose":   func(s *client.Status) { s.Purpose = "internal-policy" },
		"another document":  func(s *client.Status) { s.Document = &countersign.Document{SHA256: countersign.SHA256(nil)} },
		"a smaller quorum":  func(s *client.Status) { s.Plan.Stages[0].Quorum = 0 },
		"another requester": func(s *client.Status) { s.Requester = &countersign.Actor{Issuer: "http://127.0.0.1:1", Subject: "ceo"} },
		"another policy":    func(s *client.Status) { s.Policy = countersign.SHA256([]byte("lax")) },
		"another context":   func(s *client.Status) { s.Context = countersign.SHA256([]byte("x")) },
		"no transaction":    func(s *client.Status) { s.Transaction = nil },
	} {
		_, status := draft(t, "http://127.0.0.1:1", time.Now())
		if err := checkTransaction(status); err != nil {
			t.Fatalf("a good status is refused: %v", err)
		}
		change(&status)
		if checkTransaction(status) == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestADraftThatSaysSomethingElseIsNotProven(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := &cli{tenant: "acme", issuer: "http://127.0.0.1:1"}
	good, status := draft(t, c.issuer, now)
	if err := c.checkDraft(good, status, "PO-1", countersign.Approve, deciding{}, now); err != nil {
		t.Fatalf("a good draft is refused: %v", err)
	}
	for name, change := range map[string]func(*client.Draft){
		"other tenant":    func(d *client.Draft) { d.Decision.Tenant = "globex" },
		"other signing":   func(d *client.Draft) { d.Decision.Signing = "saga/acme/PO-2" },
		"other run":       func(d *client.Draft) { d.Decision.Run = "run-2" },
		"other verdict":   func(d *client.Draft) { d.Decision.Verdict = countersign.Reject },
		"other reason":    func(d *client.Draft) { d.Decision.Reason = "put into my mouth" },
		"other issuer":    func(d *client.Draft) { d.Decision.Actor.Issuer = "http://127.0.0.1:2" },
		"other document":  func(d *client.Draft) { d.Decision.Document.SHA256 = countersign.SHA256([]byte("other")) },
		"other version":   func(d *client.Draft) { d.Decision.Document.VersionID = "w" },
		"other context":   func(d *client.Draft) { d.Decision.Context = countersign.SHA256([]byte("x")) },
		"other policy":    func(d *client.Draft) { d.Decision.Policy = countersign.SHA256([]byte("x")) },
		"unknown stage":   func(d *client.Draft) { d.Decision.Stage = "finance" },
		"other deadline":  func(d *client.Draft) { d.Deadline = d.Deadline.Add(time.Hour) },
		"on behalf":       func(d *client.Draft) { d.Decision.OnBehalfOf = &countersign.Actor{Issuer: "x", Subject: "y"} },
		"expired":         func(d *client.Draft) { d.Decision.IssuedAt -= 3600; d.Decision.ExpiresAt -= 3600 },
		"from the future": func(d *client.Draft) { d.Decision.IssuedAt += 3600; d.Decision.ExpiresAt += 3600 },
		"kept for later":  func(d *client.Draft) { d.Decision.ExpiresAt += 86400 },
	} {
		bad, _ := draft(t, c.issuer, now)
		change(&bad)
		var err error
		if bad.Digest, err = bad.Decision.Digest(); err != nil {
			t.Fatal(err)
		}
		if c.checkDraft(bad, status, "PO-1", countersign.Approve, deciding{}, now) == nil {
			t.Errorf("%s: passes", name)
		}
	}
	bad := good
	bad.Digest = countersign.SHA256([]byte("another decision"))
	if c.checkDraft(bad, status, "PO-1", countersign.Approve, deciding{}, now) == nil {
		t.Error("another digest passes")
	}
}

// lyingAPI drafts a decision about one document, and shows another.
func TestNothingIsDecidedAboutADocumentThatWasNotShown(t *testing.T) {
	clean(t)
	t.Setenv("COUNTERSIGN_TOKEN", "x")
	d, status := draft(t, "http://127.0.0.1:1", time.Now())
	shown := "pdf"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet:
			t.Errorf("%s %s", r.Method, r.URL)
		case strings.HasSuffix(r.URL.Path, "/document"):
			_, _ = io.WriteString(w, shown)
		case strings.HasSuffix(r.URL.Path, "/decision"):
			_ = json.NewEncoder(w).Encode(d)
		default:
			_ = json.NewEncoder(w).Encode(status)
		}
	}))
	t.Cleanup(server.Close)
	args := []string{"decide", "PO-1", "--approve", "--tenant", "acme", "--api", server.URL, "--issuer", "http://127.0.0.1:1"}
	exit, _, errout := run(t, "no\n", args...)
	if exit != exitRefused || !strings.Contains(errout, "nothing was decided") || !strings.Contains(errout, "Alice (Acme)") || strings.Contains(errout, "\x1b") {
		t.Errorf("not confirmed: exit code %d, %q", exit, errout)
	}
	shown = "another pdf"
	if exit, _, errout := run(t, "approve\n", args...); exit != exitFailed || !strings.Contains(errout, "its SHA-256 is") {
		t.Errorf("another document: exit code %d, %q", exit, errout)
	}
}

// withdrawing is an API that takes a withdrawal, and then says this of the signing.
func withdrawing(t *testing.T, states ...client.Status) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusAccepted)
			_ = json.NewEncoder(w).Encode(client.Accepted{ID: "mine"})
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, s := range states {
			body, _ := json.Marshal(s)
			_, _ = fmt.Fprintf(w, "event: status\ndata: %s\n\n", body)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestM4_WithdrawEndsWithWhatBecameOfIt(t *testing.T) {
	clean(t)
	t.Setenv("COUNTERSIGN_TOKEN", "x")
	open := client.Status{State: client.StateApproval, Withdrawals: []countersign.WithdrawalRecord{{ID: "another", Refusal: countersign.Refuse("not-entitled", "no")}}}
	told := func(refusal *countersign.Refusal) client.Status {
		s := open
		s.Withdrawals = append([]countersign.WithdrawalRecord{}, s.Withdrawals...)
		s.Withdrawals = append(s.Withdrawals, countersign.WithdrawalRecord{ID: "mine", Reason: "the price\x1b[2J", Refusal: refusal})
		return s
	}
	done := client.Status{State: client.StateDone, Outcome: countersign.Completed}
	for name, c := range map[string]struct {
		states    []client.Status
		exit      int
		out, says string
	}{
		"counted":       {[]client.Status{open, told(nil)}, exitOK, ": counted", ""},
		"too late":      {[]client.Status{open, told(countersign.Refuse("too-late", "the key is being asked already"))}, exitRefused, "(too-late)", "does not count: the key is being asked"},
		"not checked":   {[]client.Status{told(countersign.Refuse("not-checked", "send it again"))}, exitRefused, "(not-checked)", "does not count: send it again"},
		"never told of": {[]client.Status{open, done}, exitRefused, "", "the signing ended before your withdrawal was checked: completed"},
	} {
		exit, out, errout := run(t, "", "withdraw", "PO-1", "--reason", "the price", "--tenant", "acme", "--api", withdrawing(t, c.states...))
		if exit != c.exit || !strings.Contains(out, c.out) || !strings.Contains(errout, c.says) || strings.Contains(out, "\x1b") {
			t.Errorf("%s: exit code %d, %q, %q", name, exit, out, errout)
		}
	}
}

func TestErrorsKeepTheirExitCodeWhenWrapped(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{
		exitFailed: errors.New("x"), exitUsage: fmt.Errorf("y: %w", usage("x")), exitRefused: fmt.Errorf("y: %w", refused("c", "x")), exitNotFound: fmt.Errorf("y: %w", &client.Problem{Status: 404}),
	} {
		if exit, _ := exitOf(err); exit != want {
			t.Errorf("%v: exit code %d, want %d", err, exit, want)
		}
	}
}

func TestServeTellsWhatIsWrongAndDoesNotStart(t *testing.T) {
	clean(t)
	empty := t.TempDir()
	if exit, _, errout := run(t, "", "serve", "--tenants", empty, "--listen", "127.0.0.1:0"); exit != exitFailed || !strings.Contains(errout, "no tenant's file") {
		t.Errorf("no tenant: exit code %d, %s", exit, errout)
	}
	if err := os.WriteFile(filepath.Join(empty, "acme.yaml"), []byte("tenant: acme\nunknown: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if exit, _, errout := run(t, "", "serve", "--tenants", empty, "--listen", "127.0.0.1:0"); exit != exitFailed || !strings.Contains(errout, "acme.yaml") {
		t.Errorf("a broken file: exit code %d, %s", exit, errout)
	}
}
