package workflows

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// renewal runs one renewal over activities that are functions.
func renewal(t *testing.T, admit evidence.RenewalAdmission, page func(evidence.RenewPageInput) (evidence.RenewalPage, error)) (evidence.RenewalStatus, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: countersign.RenewalID("acme", "1")})
	env.RegisterActivityWithOptions(func(context.Context, evidence.AdmitRenewalInput) (evidence.RenewalAdmission, error) {
		return admit, nil
	},
		activity.RegisterOptions{Name: evidence.ActivityAdmitRenewal})
	env.RegisterActivityWithOptions(func(_ context.Context, in evidence.RenewPageInput) (evidence.RenewalPage, error) { return page(in) },
		activity.RegisterOptions{Name: evidence.ActivityRenewPage})
	env.ExecuteWorkflow(Renewal, evidence.RenewalRequest{Tenant: "acme"})
	if !env.IsWorkflowCompleted() {
		t.Fatal("it did not end")
	}
	if err := env.GetWorkflowError(); err != nil {
		return evidence.RenewalStatus{}, err
	}
	var status evidence.RenewalStatus
	return status, env.GetWorkflowResult(&status)
}

func TestRenewalGoesOnPageByPageAndKeepsTheFirstOfMany(t *testing.T) {
	t.Parallel()
	began := time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC)
	pages := 0
	status, err := renewal(t, evidence.RenewalAdmission{At: began}, func(in evidence.RenewPageInput) (evidence.RenewalPage, error) {
		if want := fmt.Sprint("after ", pages); pages > 0 && in.After != want || !in.Now.Equal(began) {
			t.Errorf("page %d begins after %q, as of %s", pages, in.After, in.Now)
		}
		pages++
		p := evidence.RenewalPage{Looked: 500, Problems: []evidence.RenewalProblem{{Request: "PO-x", Problem: "broken"}}}
		for i := range 400 {
			p.Renewed = append(p.Renewed, evidence.RenewedBundle{Request: fmt.Sprint("PO-", pages, "-", i)})
		}
		if pages < 4 {
			p.Next = fmt.Sprint("after ", pages)
		}
		return p, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages != 4 || status.Looked != 2000 || status.Due != 1600 || len(status.Renewed) != keptOfARenewal || status.Failed != 4 || status.State != evidence.RenewalDone {
		t.Errorf("after %d pages: looked at %d, due %d, named %d, failed %d, %s", pages, status.Looked, status.Due, len(status.Renewed), status.Failed, status.State)
	}
}

func TestRenewalOfWhoMayNotLooksAtNothing(t *testing.T) {
	t.Parallel()
	_, err := renewal(t, evidence.RenewalAdmission{Refusal: countersign.Refuse("not-entitled", "no")}, func(evidence.RenewPageInput) (evidence.RenewalPage, error) {
		t.Error("a page was renewed")
		return evidence.RenewalPage{}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "not-entitled: no") {
		t.Errorf("it ended with %v", err)
	}
}
