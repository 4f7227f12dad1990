package tests

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign"
)

// wantDenied wants the server to refuse a call, and not to tell why.
func wantDenied(t *testing.T, what string, err error) {
	t.Helper()
	var denied *serviceerror.PermissionDenied
	if !errors.As(err, &denied) {
		t.Errorf("%s: got %v, want permission denied", what, err)
	}
}

func TestM2_EachDecisionSignalCarriesItsSendersPrincipal(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	_, report := ended(t, g, countersign.Completed)
	var senders []string
	for _, e := range report.History.Events {
		if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil && a.SignalName == countersign.SignalDecide {
			senders = append(senders, e.GetPrincipal().GetName())
		}
	}
	want := []string{local.Actor("acme/alice").String(), local.Actor("hart/carol").String()}
	if len(senders) != 2 || senders[0] != want[0] || senders[1] != want[1] {
		t.Errorf("the server stamped %q, want %q", senders, want)
	}
}

// The Temporal Web UI shows who sent what, as the server stamped it.
func TestM2_TheTemporalUIShowsEachSendersPrincipal(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Reject)
	ended(t, g, countersign.Rejected)
	resp, err := http.Get(local.Temporal.UI + "/api/v1/namespaces/acme/workflows/" + url.PathEscape(countersign.SagaID("acme", g.Request.ID)) + "/history")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct {
		History struct {
			Events []struct {
				Principal struct{ Type, Name string }
				Signal    *struct{ SignalName string } `json:"workflowExecutionSignaledEventAttributes"`
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the page's history answered %d: %v", resp.StatusCode, err)
	}
	var shown []string
	for _, e := range page.History.Events {
		if e.Signal != nil && e.Signal.SignalName == countersign.SignalDecide {
			shown = append(shown, e.Principal.Type+" "+e.Principal.Name)
		}
	}
	if want := []string{"person " + local.Actor("acme/alice").String(), "person " + local.Actor("hart/carol").String()}; !slices.Equal(shown, want) {
		t.Errorf("the UI shows the senders %q, want %q", shown, want)
	}
}

// TestM2_APartnerMayDecideAndNothingElse tries what a partner's token must not be good for, one by one.
func TestM2_APartnerMayDecideAndNothingElse(t *testing.T) {
	t.Parallel()
	g := contract(t)
	if _, err := g.Open(t.Context(), "legal"); err != nil {
		t.Fatal(err)
	}
	saga := countersign.SagaID("acme", g.Request.ID)
	execution := &commonpb.WorkflowExecution{WorkflowId: saga}
	run, err := local.RunOf(t.Context(), "acme", saga)
	if err != nil {
		t.Fatal(err)
	}
	as := func(namespace string) client.Client {
		c, err := local.Dial(t.Context(), namespace, "hart/carol")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	acme, globex := as("acme"), as("globex")

	for what, try := range map[string]func() error{
		"signalling in a namespace of another tenant": func() error {
			return globex.SignalWorkflow(t.Context(), "saga/globex/x", run, countersign.SignalDecide, "x")
		},
		"sending another signal": func() error { return acme.SignalWorkflow(t.Context(), saga, run, "withdrawn", "x") },
		"signalling the custodian": func() error {
			return acme.SignalWorkflow(t.Context(), countersign.CustodianID("acme", g.Request.ID), run, countersign.SignalDecide, "x")
		},
		"starting a signing": func() error {
			_, err := acme.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "signing/acme/p", TaskQueue: countersign.TaskQueueSigning}, countersign.WorkflowRequestSigning, "x")
			return err
		},
		"polling as a worker": func() error {
			_, err := acme.WorkflowService().PollWorkflowTaskQueue(t.Context(), &workflowservice.PollWorkflowTaskQueueRequest{
				Namespace: "acme", TaskQueue: &taskqueuepb.TaskQueue{Name: countersign.TaskQueueSigning}, Identity: "worker",
			})
			return err
		},
		"polling activities": func() error {
			_, err := acme.WorkflowService().PollActivityTaskQueue(t.Context(), &workflowservice.PollActivityTaskQueueRequest{
				Namespace: "acme", TaskQueue: &taskqueuepb.TaskQueue{Name: countersign.TaskQueueKeys}, Identity: "worker",
			})
			return err
		},
		"terminating": func() error { return acme.TerminateWorkflow(t.Context(), saga, "", "x") },
		"cancelling":  func() error { return acme.CancelWorkflow(t.Context(), saga, "") },
		"deleting": func() error {
			_, err := acme.WorkflowService().DeleteWorkflowExecution(t.Context(), &workflowservice.DeleteWorkflowExecutionRequest{Namespace: "acme", WorkflowExecution: execution})
			return err
		},
		"resetting": func() error {
			_, err := acme.WorkflowService().ResetWorkflowExecution(t.Context(), &workflowservice.ResetWorkflowExecutionRequest{Namespace: "acme", WorkflowExecution: execution, WorkflowTaskFinishEventId: 3})
			return err
		},
		"reading the history": func() error {
			_, err := acme.WorkflowService().GetWorkflowExecutionHistory(t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: "acme", Execution: execution})
			return err
		},
		"querying": func() error {
			_, err := acme.QueryWorkflow(t.Context(), saga, "", countersign.QueryStatus)
			return err
		},
		"listing": func() error {
			_, err := acme.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: "acme"})
			return err
		},
	} {
		wantDenied(t, what, try())
	}

	// After all this the signing is where it was, and the partner may still do what it is asked for.
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ended(t, g, countersign.Completed)
}

func TestM2_NobodyReachesTheServerWithoutACredential(t *testing.T) {
	t.Parallel()
	c, err := local.Dial(t.Context(), "acme", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantDenied(t, "an anonymous signal", c.SignalWorkflow(t.Context(), "saga/acme/x", "8c0c6a4e-3c51-4c7e-9d0e-1f8a8e5b7a11", countersign.SignalDecide, "x"))
}

func TestR09_AnEvidenceTokenLogsNobodyIn(t *testing.T) {
	t.Parallel()
	g := contract(t)
	status, err := g.Open(t.Context(), "legal")
	if err != nil {
		t.Fatal(err)
	}
	token, err := local.Prove(t.Context(), "acme/alice", g.Decision(status, "acme/alice", "legal", countersign.Approve))
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.DialToken("acme", token)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantDenied(t, "an evidence token as a credential", c.SignalWorkflow(t.Context(), status.Saga.Workflow, status.Saga.Run, countersign.SignalDecide, "x"))
}
