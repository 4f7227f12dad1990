package tests

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
)

// pdf is a real document, made unlike any other by a comment at its end.
func pdf(t testing.TB) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/contract.pdf")
	if err != nil {
		t.Fatal(err)
	}
	return append(body, []byte(fmt.Sprintf("%% %s\n", t.Name()))...)
}

func requestID(t testing.TB) string {
	return strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())
}

// request uploads a document of a tenant, and is the request to sign it.
func request(t testing.TB, tenant, purpose string) countersign.Request {
	t.Helper()
	document, err := local.Upload(t.Context(), tenant, pdf(t))
	if err != nil {
		t.Fatal(err)
	}
	return countersign.Request{V: 1, Tenant: tenant, ID: requestID(t), Purpose: purpose, Title: "Supply agreement of Acme and Globex", Document: document}
}

// begin starts a signing as the procurement system of the tenant does.
func begin(t testing.TB, r countersign.Request) *stack.Signing {
	t.Helper()
	g, err := local.Begin(t.Context(), "machine:"+r.Tenant+"/procurement", r)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// contract starts a signing of acme that alice (legal) and then carol (counsel of a partner) have to approve.
func contract(t testing.TB) *stack.Signing {
	t.Helper()
	return begin(t, request(t, "acme", "supplier-contract"))
}

// decide lets somebody decide in the open stage.
func decide(t testing.TB, g *stack.Signing, who, stage string, verdict countersign.Verdict) countersign.SignedDecision {
	t.Helper()
	signed, err := g.Decide(t.Context(), who, stage, verdict)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// record waits for what became of a decision.
func record(t testing.TB, g *stack.Signing, signed countersign.SignedDecision) countersign.DecisionRecord {
	t.Helper()
	r, err := g.Record(t.Context(), signed.ID)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ended waits for the end, and verifies the evidence as a stranger would: with the roots alone.
func ended(t testing.TB, g *stack.Signing, want countersign.Outcome) (evidence.Ending, *evidence.Report) {
	t.Helper()
	ending, err := g.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ending.Outcome != want {
		t.Fatalf("ended as %s (%s), want %s", ending.Outcome, ending.Detail, want)
	}
	raw := bundle(t, g.Request.Tenant, ending)
	report := verified(t, raw, want)
	keep(t, report, raw, want)
	return ending, report
}

var updateHistories = flag.String("update-histories", "", "write the histories of this run as those of a released `version`, for tests/golden")

// keep writes the first history of each ending, and the first bundle of a completed signing with the roots to check it by, where the run was asked to.
func keep(t testing.TB, report *evidence.Report, raw []byte, ending countersign.Outcome) {
	t.Helper()
	if *updateHistories == "" {
		return
	}
	history, err := evidence.HistoryJSON(report.History)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{string(ending) + ".json": append(history, '\n')}
	if ending == countersign.Completed && report.Statement.Tenant == "acme" {
		files["completed.asice"] = raw
		for name, from := range map[string]string{"tenant-ca.pem": local.TenantCA, "tsa-ca.pem": local.TSA.CA} {
			if files[name], err = os.ReadFile(from); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := filepath.Join("golden", "histories", *updateHistories)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, body := range files {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil {
			_, err = f.Write(body)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func bundle(t testing.TB, tenant string, ending evidence.Ending) []byte {
	t.Helper()
	raw, err := local.Bundle(t.Context(), tenant, ending.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func verified(t testing.TB, raw []byte, want countersign.Outcome) *evidence.Report {
	t.Helper()
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	report := evidence.Verify(raw, roots)
	if err := report.Err(); err != nil {
		t.Fatalf("the evidence doesn't verify: %v", err)
	}
	if report.Statement.Outcome != want {
		t.Fatalf("the evidence says %s, want %s", report.Statement.Outcome, want)
	}
	return report
}

// wantStatus wants a refusal of the store or the key service with an HTTP status.
func wantStatus(t testing.TB, what string, err error, status int) {
	t.Helper()
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.HTTPStatusCode() != status {
		t.Errorf("%s answered %v, want status %d", what, err, status)
	}
}
