package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/policy"
)

// Admit decides whether a request becomes a signing, and freezes everything that the signing stands on. What is wrong
// with the request is a refusal in the result; an error is a part that could not be asked, and is tried again.
func (t *Tenant) Admit(ctx context.Context, in evidence.AdmitInput) (evidence.Admission, error) {
	a := evidence.Admission{At: time.Now().UTC(), Issuers: t.settings.Issuers, PolicyText: t.engine.Text(), ReleaseWithin: t.settings.Evidence.ReleaseWithin, PostQuantum: t.postQuantumRecord()}
	refuse := func(r *countersign.Refusal) (evidence.Admission, error) {
		activity.GetLogger(ctx).Info("refused at intake", "code", r.Code)
		a.Refusal = r
		return a, nil
	}

	if in.Request.Tenant != t.settings.Tenant {
		return refuse(countersign.Refuse("unknown-tenant", "this is the namespace of tenant %q; the request names another one", t.settings.Tenant))
	}
	if err := in.Request.Check(); err != nil {
		return refuse(countersign.Refuse("bad-request", "%s", err))
	}
	if in.Saga.Workflow != countersign.SagaID(in.Request.Tenant, in.Request.ID) {
		return refuse(countersign.Refuse("bad-request", "the workflow id doesn't belong to the request: start it as %q", countersign.CustodianID(in.Request.Tenant, in.Request.ID)))
	}
	requester, source, refusal, err := t.requested(ctx, in)
	if err != nil {
		return a, err
	}
	if refusal != nil {
		return refuse(refusal)
	}
	if source != (evidence.Source{}) && t.settings.Evidence.RecordsSource() {
		a.Source = &source
	}
	principal := policy.PrincipalOf(t.settings, requester)
	a.Requester, _ = t.settings.Member(requester)
	a.Requester.Actor = requester
	question := policy.Question{
		Action: policy.Request, Principal: principal, Now: a.At,
		Resource: policy.Resource{Signing: in.Saga.Workflow, Tenant: t.settings.Tenant, Requester: &requester},
	}
	answer := t.engine.Ask(question)
	a.Question, a.Answer = &question, &answer
	if !answer.Allowed {
		return refuse(&countersign.Refusal{Code: answer.Code(), Message: "the request is not allowed: " + answer.Refusal})
	}
	if in.Request.Document.Bucket != t.settings.Documents.Bucket {
		return refuse(countersign.Refuse("wrong-bucket", "documents of this tenant lie in the bucket %q", t.settings.Documents.Bucket))
	}
	plan, refusal := t.settings.Plan(in.Request, requester, in.StartedAt)
	if refusal != nil {
		return refuse(refusal)
	}
	if plan.Salt, err = t.salt(); err != nil {
		return a, err
	}
	a.Plan = plan
	document, err := t.spool(ctx, in.Request.Document, t.settings.Documents.MaxBytes)
	if errors.As(err, &refusal) {
		return refuse(refusal)
	}
	if errors.Is(err, errGone) {
		return refuse(countersign.Refuse("no-document", "there is no such document: %s, version %s", in.Request.Document.Key, in.Request.Document.VersionID))
	}
	if err != nil {
		return a, err
	}
	defer document.Close()
	if a.Document, refusal = inspectPDF(document, document.Size(), t.visibleSeal); refusal != nil {
		return refuse(refusal)
	}
	if a.Context, err = t.context(in, requester, plan); err != nil {
		return a, err
	}
	if a.Document.NoSeal == "" {
		a.Context.VisibleSeal = t.visibleSeal
	}
	a.Digest, err = a.Context.Digest()
	return a, err
}

func (t *Tenant) context(in evidence.AdmitInput, requester countersign.Actor, plan countersign.Plan) (countersign.Context, error) {
	fingerprint, err := in.Request.Fingerprint()
	if err != nil {
		return countersign.Context{}, err
	}
	planDigest, err := plan.Digest()
	if err != nil {
		return countersign.Context{}, err
	}
	issuers, err := countersign.IssuersDigest(t.settings.Issuers)
	if err != nil {
		return countersign.Context{}, err
	}
	return countersign.Context{
		V: countersign.ContextVersion, Tenant: t.settings.Tenant, Signing: in.Saga.Workflow, Run: in.Saga.Run, Request: fingerprint,
		Requester: requester, Document: in.Request.Document, Plan: planDigest, Policy: t.engine.Hash(), Settings: t.settings.Digest(),
		SignedAs: countersign.SignedInPDF, Stamped: true, Issuers: issuers,
	}, nil
}

// requested is who started the custodian, as the server stamped it, from where, and that this is what they asked for: nothing of it is believed of
// the saga.
func (t *Tenant) requested(ctx context.Context, in evidence.AdmitInput) (countersign.Actor, evidence.Source, *countersign.Refusal, error) {
	var (
		nobody  countersign.Actor
		nowhere evidence.Source
	)
	if want := countersign.CustodianID(in.Request.Tenant, in.Request.ID); in.Custodian.Workflow != want {
		return nobody, nowhere, countersign.Refuse("bad-request", "the request is kept by another workflow than %q", want), nil
	}
	first, err := t.first(ctx, in.Custodian)
	if err != nil {
		return nobody, nowhere, nil, err
	}
	requester, ok := evidence.ActorOf(first.GetPrincipal())
	if !ok {
		return nobody, nowhere, nil, errNoPrincipal
	}
	var asked countersign.Request
	for _, p := range first.GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads() {
		if err := json.Unmarshal(p.GetData(), &asked); err != nil {
			return nobody, nowhere, countersign.Refuse("bad-request", "the request can't be read"), nil
		}
	}
	want, err := asked.Fingerprint()
	if err != nil {
		return nobody, nowhere, nil, err
	}
	got, err := in.Request.Fingerprint()
	if err != nil {
		return nobody, nowhere, nil, err
	}
	if got != want {
		return nobody, nowhere, countersign.Refuse("other-request", "%s requested something else", requester), nil
	}
	return requester, evidence.ReadSource(first.GetWorkflowExecutionStartedEventAttributes().GetHeader()), nil, nil
}

// first is the event with which a workflow began.
func (t *Tenant) first(ctx context.Context, e evidence.Execution) (*historypb.HistoryEvent, error) {
	events := t.temporal.GetWorkflowHistory(ctx, e.Workflow, e.Run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !events.HasNext() {
		return nil, fmt.Errorf("couldn't read the start of %s: its history is empty", e.Workflow)
	}
	first, err := events.Next()
	if err != nil {
		return nil, fmt.Errorf("couldn't read the start of %s: %w", e.Workflow, err)
	}
	return first, nil
}

var errNoPrincipal = errors.New("the Temporal server doesn't stamp who sent what: set frontend.enablePrincipalPropagation to true and use an authoriser that names people")
