package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// maxRunning bounds how many signings that run are looked through. With more of them nothing is shredded: one could name the person.
const maxRunning = 5_000

// runningWith are the requests whose signing isn't over and names a person, so that its evidence will: in what was asked, planned, decided or sent so far. The
// server's list has those that run, and no others are looked at; a signing that began a moment ago may not be in it yet.
func (t *Tenant) runningWith(ctx context.Context, person countersign.Actor) ([]string, error) {
	requests, err := t.running(ctx)
	if err != nil {
		return nil, fmt.Errorf("couldn't look for signings that run: %w", err)
	}
	named := make([]bool, len(requests))
	err = atOnce(len(requests), func(i int) error {
		for _, id := range []string{countersign.SagaID(t.settings.Tenant, requests[i]), countersign.CustodianID(t.settings.Tenant, requests[i])} {
			history, err := t.soFar(ctx, id)
			if err != nil {
				return fmt.Errorf("couldn't look whom the signing of %s names: %w", requests[i], err)
			}
			if evidence.Names(history, person) {
				named[i] = true
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var with []string
	for i, request := range requests {
		if named[i] {
			with = append(with, request)
		}
	}
	return with, nil
}

// running are the requests whose saga runs, or whose custodian or recovery does: until these end, their evidence may not be locked yet.
func (t *Tenant) running(ctx context.Context) (requests []string, err error) {
	kinds := strings.Join([]string{countersign.WorkflowRequestSigning, countersign.WorkflowSigning, countersign.WorkflowRecovery}, "', '")
	for page := []byte(nil); ; {
		answer, err := t.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: t.settings.Namespace, PageSize: 500, NextPageToken: page, Query: "WorkflowType IN ('" + kinds + "') AND ExecutionStatus = 'Running'",
		})
		if err != nil {
			return nil, err
		}
		for _, e := range answer.GetExecutions() {
			request, ok := t.keptRequest(e.GetExecution().GetWorkflowId())
			if tenant, of, saga := countersign.ParseSagaID(e.GetExecution().GetWorkflowId()); saga && tenant == t.settings.Tenant {
				request, ok = of, true
			}
			if ok {
				requests = append(requests, request)
			}
		}
		slices.Sort(requests)
		requests = slices.Compact(requests)
		if len(requests) > maxRunning {
			return nil, fmt.Errorf("there are more than %d of them", maxRunning)
		}
		if page = answer.GetNextPageToken(); len(page) == 0 {
			return requests, nil
		}
	}
}

// soFar is the history of a workflow's last run, as far as it goes; empty where the server has none.
func (t *Tenant) soFar(ctx context.Context, workflow string) (*historypb.History, error) {
	history := &historypb.History{}
	events := t.temporal.GetWorkflowHistory(ctx, workflow, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if missing := (*serviceerror.NotFound)(nil); errors.As(err, &missing) {
			return history, nil
		}
		if err != nil {
			return nil, err
		}
		history.Events = append(history.Events, event)
	}
	return history, nil
}
