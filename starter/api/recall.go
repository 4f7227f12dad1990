package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/starter/client"
)

// recalled is a signing that ended, as the bucket knows it whatever Temporal has forgotten.
type recalled struct {
	entry  translog.Entry
	proof  []byte // of the log, that it ended so
	locked evidence.Locked
}

// maxRecalls is how many bundles of forgotten signings one tenant has in a process's memory at once, to tell their status.
const maxRecalls = 2

// recall finds a signing by the proof that is locked beside its bundle. The proof is believed for the log key's signature alone. A request of which there is
// no proof is errNotFound.
func (t *tenant) recall(ctx context.Context, request string) (recalled, error) {
	var r recalled
	if countersign.CheckRequestID(request) != nil {
		return r, errNotFound
	}
	var err error
	if r.proof, err = t.objects.LogProof(ctx, request); err != nil {
		return r, err
	}
	var proof translog.Proof
	if err = countersign.ParseStrict(r.proof, &proof); err == nil {
		r.entry, _, err = proof.Check(t.logKey)
	}
	e := r.entry
	if err == nil && (!e.Ended() || e.Tenant != t.settings.Tenant || e.Request != request || e.Bundle.Key != countersign.EvidenceKey(e.Tenant, request)) {
		err = errors.New("it is of something else")
	}
	if err != nil {
		return r, fmt.Errorf("couldn't use the log's proof beside the evidence of %s: %w", request, err)
	}
	kept, err := t.objects.Kept(ctx, *e.Bundle)
	if err != nil {
		return r, err
	}
	r.locked = evidence.Locked{Object: *e.Bundle, Concealed: e.Concealed, Outcome: e.Outcome, RetainUntil: kept.RetainUntil}
	if !kept.RetainUntil.IsZero() {
		r.locked.Mode = "COMPLIANCE"
	}
	return r, nil
}

// recallStatus is the status of a signing that Temporal has forgotten: what the log says of its ending, and what its bundle says of the rest. Where somebody's
// data in the bundle was shredded the rest is not told, and the tenant's compliance and its owner alone see it.
func (t *tenant) recallStatus(ctx context.Context, request string) (client.Status, error) {
	r, err := t.recall(ctx, request)
	if err != nil {
		return client.Status{}, err
	}
	select {
	case t.recalls <- struct{}{}:
		defer func() { <-t.recalls }()
	case <-ctx.Done():
		return client.Status{}, ctx.Err()
	}
	e := r.entry
	s := client.Status{
		Tenant: e.Tenant, Request: request, State: client.StateDone, Custodian: countersign.CustodianID(e.Tenant, request),
		Saga: evidence.Execution{Workflow: countersign.SagaID(e.Tenant, request), Run: e.Run}, Context: e.Context, Outcome: e.Outcome, Meaning: e.Outcome.Meaning(),
		Evidence: &r.locked, Released: e.Outcome == countersign.Completed, Decisions: []countersign.DecisionRecord{}, Decided: []countersign.Actor{}, Withdrawals: []countersign.WithdrawalRecord{},
	}
	revealed, err := t.objects.Locked(ctx, r.locked)
	if err != nil {
		return s, err
	}
	defer revealed.Close()
	raw, err := revealed.Whole()
	if errors.Is(err, activities.ErrShredded) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	c, err := evidence.ReadBundle(raw)
	if err != nil {
		return s, err
	}
	s.Title, s.Purpose = c.Input.Request.Title, c.Input.Request.Purpose
	if c.Result != nil && c.Result.Outcome == e.Outcome {
		s.Detail = c.Result.Detail
	}
	if a := c.Admission; a != nil {
		if !a.Requester.Actor.IsZero() {
			s.Requester = &a.Requester.Actor
		}
		if a.Refusal == nil {
			s.Transaction, s.Asked, s.Policy, s.Plan, s.Document = &a.Context, &c.Input.Request, a.Context.Policy, &a.Plan, &a.Context.Document
		}
	}
	for _, d := range c.Decisions {
		if d.Check == nil {
			continue
		}
		s.Decisions = append(s.Decisions, d.Check.Record)
		if d.Check.Record.Counted() {
			s.Decided = append(s.Decided, d.Check.People()...)
		}
	}
	return s, nil
}
