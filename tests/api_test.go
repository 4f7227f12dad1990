package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	temporal "go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
)

// call asks the API as somebody, and decodes the answer.
func call(t *testing.T, who, method, path string, header http.Header, body []byte, into any) int {
	t.Helper()
	return callAt(t, apiURL, who, method, path, header, body, into)
}

// callAt is call at another API than acme's.
func callAt(t *testing.T, address, who, method, path string, header http.Header, body []byte, into any) int {
	t.Helper()
	return callAgain(t, address, who, method, path, header, body, into, 4)
}

func callAgain(t *testing.T, address, who, method, path string, header http.Header, body []byte, into any, tries int) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if who != "" {
		token, err := local.Token(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if req.Header.Get("Content-Type") == "" && len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	// Who only reads asks again where the workers of a busy machine didn't answer in time, as the answer says. The time-out of that answer is long enough to wait.
	if resp.StatusCode == http.StatusServiceUnavailable && method == http.MethodGet && tries > 1 {
		return callAgain(t, address, who, method, path, header, body, into, tries-1)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s %s answered %d: %s", method, path, resp.StatusCode, raw)
		}
	}
	return resp.StatusCode
}

// wantProblem wants a call to be refused with a status, a code and a message.
func wantProblem(t *testing.T, who, method, path string, body []byte, header http.Header, status int, code, says string) {
	t.Helper()
	var p client.Problem
	got := call(t, who, method, path, header, body, &p)
	if got != status || p.Code != code || !strings.Contains(p.Detail, says) {
		t.Errorf("%s %s as %q answered %d %q: %q\nwant %d %q with %q", method, path, who, got, p.Code, p.Detail, status, code, says)
	}
}

func TestM1_TheSameRequestHasTheSameAnswerAndAnotherBodyIsAConflict(t *testing.T) {
	t.Parallel()
	r := request(t, "acme", "supplier-contract")
	body, _ := json.Marshal(r)
	path := "/v1/acme/signings"
	var first, again client.Started
	if status := call(t, "machine:acme/procurement", "POST", path, nil, body, &first); status != http.StatusCreated {
		t.Fatalf("the first answer is %d", status)
	}
	if status := call(t, "machine:acme/procurement", "POST", path, nil, body, &again); status != http.StatusOK || again != first {
		t.Errorf("the second answer is %d %+v, want 200 %+v", status, again, first)
	}
	r.Title = "Something else"
	body, _ = json.Marshal(r)
	wantProblem(t, "machine:acme/procurement", "POST", path, body, nil, http.StatusConflict, "request-exists", "give this one an id of its own")
}

func TestM1_AnIdempotencyKeyNamesTheRequest(t *testing.T) {
	t.Parallel()
	r := request(t, "acme", "supplier-contract")
	r.ID = ""
	body, _ := json.Marshal(r)
	key := http.Header{"Idempotency-Key": {t.Name()}}
	var first, again client.Started
	if status := call(t, "machine:acme/procurement", "POST", "/v1/acme/signings", key, body, &first); status != http.StatusCreated {
		t.Fatalf("the first answer is %d", status)
	}
	if status := call(t, "machine:acme/procurement", "POST", "/v1/acme/signings", key, body, &again); status != http.StatusOK || again != first {
		t.Errorf("the second answer is %d %+v, want 200 %+v", status, again, first)
	}
	wantProblem(t, "machine:acme/procurement", "POST", "/v1/acme/signings", body, nil, http.StatusBadRequest, "no-request-id", "Idempotency-Key")
}

func TestM1_BadRequestsAreRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	procurement := "machine:acme/procurement"
	good := request(t, "acme", "supplier-contract")
	changed := func(change func(*countersign.Request)) []byte {
		r := good
		change(&r)
		body, _ := json.Marshal(r)
		return body
	}
	fine := changed(func(*countersign.Request) {})
	pdfType := http.Header{"Content-Type": {"application/pdf"}}
	for _, c := range []struct {
		name, who, method, path string
		body                    []byte
		header                  http.Header
		status                  int
		code, says              string
	}{
		{"anonymous", "", "POST", "/v1/acme/signings", fine, nil, 401, "unauthenticated", ""},
		{"unknown tenant", procurement, "POST", "/v1/nobody/signings", fine, nil, 401, "unauthenticated", ""},
		{"another tenant", "machine:globex/procurement", "POST", "/v1/acme/signings", fine, nil, 401, "unauthenticated", ""},
		{"no requester", "acme/alice", "POST", "/v1/acme/signings", fine, nil, 403, "not-entitled", "the request is not allowed"},
		{"a partner", "hart/carol", "POST", "/v1/acme/signings", fine, nil, 403, "not-entitled", "the request is not allowed"},
		{"unknown purpose", procurement, "POST", "/v1/acme/signings", changed(func(r *countersign.Request) { r.Purpose = "war" }), nil, 422, "unknown-purpose", "it has board-resolution, internal-policy"},
		{"no title", procurement, "POST", "/v1/acme/signings", changed(func(r *countersign.Request) { r.Title = "" }), nil, 422, "bad-request", "title: is empty"},
		{"not a PDF", procurement, "PUT", "/v1/acme/documents", []byte("hello"), pdfType, 422, "not-a-pdf", "%PDF-"},
		{"empty", procurement, "PUT", "/v1/acme/documents", []byte{}, pdfType, 422, "document-empty", "the document is empty"},
		{"too large", procurement, "PUT", "/v1/acme/documents", make([]byte, 50<<20+1), pdfType, 413, "too-large", "more than the allowed 52428800 bytes"},
		{"changed on its way", procurement, "PUT", "/v1/acme/documents", pdf(t), http.Header{"Content-Type": {"application/pdf"}, "Content-Digest": {"sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"}}, 400, "digest-mismatch", "changed on its way"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			wantProblem(t, c.who, c.method, c.path, c.body, c.header, c.status, c.code, c.says)
		})
	}
}

// A start straight at the server that can't become a signing fails at once, and the API tells its starter what is wrong.
func TestM4_AWrongStartByAnSDKIsToldClearly(t *testing.T) {
	t.Parallel()
	const procurement = "machine:acme/procurement"
	c, err := local.Dial(t.Context(), "acme", procurement)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for id, wrong := range map[string]struct {
		input any
		says  string
	}{
		"wrong-no-request": {"please sign", "the input is not a request"},
		"wrong-id":         {countersign.Request{V: 1, Tenant: "acme", ID: "wrong-other"}, `the workflow id must be "signing/acme/wrong-other"`},
	} {
		_, err := c.ExecuteWorkflow(t.Context(), temporal.StartWorkflowOptions{
			ID: countersign.CustodianID("acme", id), TaskQueue: countersign.TaskQueueSigning,
			WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		}, countersign.WorkflowRequestSigning, wrong.input)
		if err != nil {
			t.Fatal(err)
		}
		path := "/v1/acme/signings/" + id
		wantProblem(t, procurement, "GET", path, nil, nil, http.StatusConflict, "not-a-signing", wrong.says)
		wantProblem(t, procurement, "GET", path+"/events", nil, nil, http.StatusConflict, "not-a-signing", wrong.says)
		wantProblem(t, "hart/carol", "GET", path, nil, nil, http.StatusNotFound, "not-found", "")
	}
	r := request(t, "acme", "supplier-contract")
	r.ID = "wrong-no-request"
	body, _ := json.Marshal(r)
	wantProblem(t, procurement, "POST", "/v1/acme/signings", body, nil, http.StatusConflict, "not-a-signing", "an id of its own")
}

// A partner who is not asked can't tell a signing that exists from one that doesn't.
func TestR20_WhoIsNotAskedSeesNothing(t *testing.T) {
	t.Parallel()
	r := request(t, "acme", "internal-policy") // finance decides; counsel is not asked
	g := begin(t, r)
	if _, err := g.Open(t.Context(), "finance"); err != nil {
		t.Fatal(err)
	}
	var there, missing client.Problem
	for path, into := range map[string]*client.Problem{r.ID: &there, "no-such-request": &missing} {
		if status := call(t, "hart/carol", "GET", "/v1/acme/signings/"+path, nil, nil, into); status != http.StatusNotFound {
			t.Errorf("%s answers %d to a partner who is not asked", path, status)
		}
	}
	if there.Detail != missing.Detail || there.Code != missing.Code || there.Title != missing.Title {
		t.Errorf("the answers differ:\n%+v\n%+v", there, missing)
	}
	var inbox client.Inbox
	if status := call(t, "hart/carol", "GET", "/v1/acme/inbox", nil, nil, &inbox); status != http.StatusOK {
		t.Fatalf("the inbox answers %d", status)
	}
	for _, w := range inbox.Waiting {
		if w.Request == r.ID {
			t.Error("it is in her inbox")
		}
	}
}

// The whole of it by the command line, as people and systems use it.
func TestM1_ByTheCommandLineFromRequestToVerifiedEvidence(t *testing.T) {
	t.Parallel()
	homes, dir := t.TempDir(), t.TempDir()
	run := func(who string, code int, args ...string) string {
		t.Helper()
		out, fault, got, err := local.CLI(t.Context(), apiURL, filepath.Join(homes, who), who, args...)
		if err != nil || got != code {
			t.Fatalf("countersign %s, as %s: exit code %d, want %d: %v\n%s%s", strings.Join(args, " "), who, got, code, err, out, fault)
		}
		return out + fault
	}
	id := requestID(t)
	machine := []string{"--machine-client", "procurement", "--machine-key", machineKey(t)}
	run("acme/ben", 0, append([]string{"request", "--file", "testdata/contract.pdf", "--purpose", "supplier-contract", "--title", "By hand", "--request", id}, machine...)...)
	if out := run("acme/alice", 0, "inbox"); !strings.Contains(out, id) {
		t.Errorf("it is not in alice's inbox:\n%s", out)
	}
	run("acme/alice", 0, "decide", id, "--approve", "--yes")
	if out := run("acme/alice", 3, "decide", id, "--approve", "--yes"); !strings.Contains(out, "you have already decided in this signing") {
		t.Errorf("her second decision is refused with\n%s", out)
	}
	run("hart/carol", 0, "decide", id, "--approve", "--yes", "--reason", "reads well")
	run("hart/carol", 0, "watch", id)
	if out := run("nord/rhea", 4, "status", id); !strings.Contains(out, "no such signing") {
		t.Errorf("rhea, who has no part in it, is told\n%s", out)
	}
	run("acme/olivia", 0, "status", id) // compliance
	run("acme/alice", 0, "audit", "export", id, "-o", dir+"/e.asice")
	if out := run("acme/alice", 0, "audit", "verify", dir+"/e.asice", "--tenant-ca", local.TenantCA, "--tsa-ca", local.TSA.CA); strings.Contains(out, "fail") {
		t.Errorf("verify writes\n%s", out)
	}
	run("acme/alice", 0, "audit", "replay", dir+"/e.asice")
	if out := run("acme/alice", 6, "audit", "verify", dir+"/e.asice", "--tenant-ca", local.TSA.CA, "--tsa-ca", local.TSA.CA); !strings.Contains(out, "fail") {
		t.Errorf("verify with foreign roots writes\n%s", out)
	}
	run("acme/alice", 5, "audit", "export", fmt.Sprint(pending(t)), "-o", dir+"/p.asice")
}

// Whoever withdraws by the command line hears whether it counted.
func TestM4_WithdrawnByTheCommandLine(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	run := func(code int, args ...string) string {
		t.Helper()
		out, fault, got, err := local.CLI(t.Context(), apiURL, home, "acme/ben", args...)
		if err != nil || got != code {
			t.Fatalf("countersign %s: exit code %d, want %d: %v\n%s%s", strings.Join(args, " "), got, code, err, out, fault)
		}
		return out + fault
	}
	id := requestID(t)
	run(0, "request", "--file", "testdata/contract.pdf", "--purpose", "supplier-contract", "--title", "By hand", "--request", id)
	if out := run(0, "withdraw", id, "--reason", "the price changed"); !strings.Contains(out, "the price changed: counted") {
		t.Errorf("it writes\n%s", out)
	}
	run(0, "watch", id)
	if out := run(0, "status", id); !strings.Contains(out, "withdrawn: ") || !strings.Contains(out, "the price changed: counted") {
		t.Errorf("the status is\n%s", out)
	}
	run(5, "withdraw", id, "--reason", "once more")
}

// pending is a signing of acme whose evidence is not there yet.
func pending(t *testing.T) string {
	t.Helper()
	r := request(t, "acme", "supplier-contract")
	r.ID += "-pending"
	g := begin(t, r)
	if _, err := g.Open(t.Context(), "legal"); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func machineKey(t *testing.T) string {
	t.Helper()
	for _, m := range local.Machines {
		if m.Issuer == "acme" && m.Client == "procurement" {
			return m.KeyFile
		}
	}
	t.Fatal("the stack has no key of acme's procurement")
	return ""
}
