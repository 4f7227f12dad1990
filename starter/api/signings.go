package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
	"github.com/countersign-dev/countersign/starter/client"
)

type requestInput struct {
	Tenant string `path:"tenant"`
	Key    string `header:"Idempotency-Key" maxLength:"255" doc:"Names the request where the body gives no id: the same key is the same request."`
	Body   client.SigningRequest
}

type requestOutput struct {
	Status int
	Body   client.Started
}

// requestSigning starts a signing as the caller. The same request again has the same answer.
func (s *Server) requestSigning(ctx context.Context, in *requestInput) (*requestOutput, error) {
	c := callerOf(ctx)
	t := c.tenant
	r, err := completed(t.settings.Tenant, in)
	if err != nil {
		return nil, err
	}
	noteOf(ctx).about(r.Tenant, r.ID)
	if refusal := t.mayRequest(c.actor, countersign.SagaID(r.Tenant, r.ID), s.now()); refusal != nil {
		return nil, refused(http.StatusForbidden, refusal)
	}
	if err := r.Check(); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "bad-request", err.Error())
	}
	fingerprint, err := r.Fingerprint()
	if err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "bad-request", err.Error())
	}
	out := &requestOutput{Status: http.StatusOK, Body: client.Started{
		Request: r.ID, Custodian: countersign.CustodianID(r.Tenant, r.ID), Saga: countersign.SagaID(r.Tenant, r.ID), Status: statusPath(r.Tenant, r.ID),
	}}
	// A repeated request has its answer even where it would be refused by now: its deadline may have passed since.
	switch err := t.same(ctx, r.ID, fingerprint); {
	case err == nil:
		return out, nil
	case !errors.Is(err, errNotFound):
		return nil, fault(ctx, "look for the request", err)
	}
	if refusal := t.refusedAtIntake(r, c.actor, s.now()); refusal != nil {
		return nil, refused(http.StatusUnprocessableEntity, refusal)
	}
	err = t.pipeline.Start(ctx, r, fingerprint)
	if errors.Is(err, errExists) { // somebody was faster
		err = t.same(ctx, r.ID, fingerprint)
	} else if err == nil {
		out.Status = http.StatusCreated
	}
	if err != nil {
		return nil, fault(ctx, "start the signing", err)
	}
	return out, nil
}

// completed fills in what the path and the headers give.
func completed(tenant string, in *requestInput) (countersign.Request, error) {
	r := in.Body.Request()
	if r.Tenant == "" {
		r.Tenant = tenant
	}
	if r.Tenant != tenant {
		return r, newProblem(http.StatusUnprocessableEntity, "other-tenant", "the body names another tenant than the path")
	}
	switch {
	case r.ID == "" && in.Key == "":
		return r, newProblem(http.StatusBadRequest, "no-request-id", "give the request an id (request), or send an Idempotency-Key: it keeps a repeated call from being a second signing")
	case r.ID == "":
		sum := sha256.Sum256([]byte(tenant + "\x00" + in.Key))
		r.ID = "k-" + hex.EncodeToString(sum[:])[:32]
	}
	return r, nil
}

// same says whether the request exists already with the same content; another content is a conflict.
func (t *tenant) same(ctx context.Context, request, fingerprint string) error {
	there, _, err := t.pipeline.Beginning(ctx, request)
	if errors.Is(err, errUnreadable) {
		return newProblem(http.StatusConflict, codeNotASigning, "what was started under this id is no signing: its input is no request; give this one an id of its own")
	}
	if err != nil {
		return err
	}
	if was, err := there.Fingerprint(); err != nil || was != fingerprint {
		return newProblem(http.StatusConflict, "request-exists", "there is another request under this id; give this one an id of its own")
	}
	return nil
}

// refusedAtIntake says what intake would refuse, as far as that can be known without reading the document.
func (t *tenant) refusedAtIntake(r countersign.Request, requester countersign.Actor, now time.Time) *countersign.Refusal {
	if r.Document.Bucket != t.settings.Documents.Bucket {
		return countersign.Refuse("wrong-bucket", "documents of this tenant lie in the bucket %q", t.settings.Documents.Bucket)
	}
	_, refusal := t.settings.Plan(r, requester, now)
	return refusal
}

// mayRequest asks the policy whether somebody may request a signing here.
func (t *tenant) mayRequest(a countersign.Actor, saga string, now time.Time) *countersign.Refusal {
	answer := t.engine.Ask(policy.Question{
		Action: policy.Request, Principal: policy.PrincipalOf(t.settings, a), Now: now,
		Resource: policy.Resource{Signing: saga, Tenant: t.settings.Tenant, Requester: &a},
	})
	if answer.Allowed {
		return nil
	}
	return &countersign.Refusal{Code: answer.Code(), Message: "the request is not allowed: " + answer.Refusal}
}

type signingInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
	Grant   string `query:"grant" pattern:"^[0-9a-f]{64}$" doc:"The grant under which you may see it, where you have no role of your own."`
}

type statusOutput struct{ Body client.Status }

// getSigning shows a signing to its parties.
func (s *Server) getSigning(ctx context.Context, in *signingInput) (*statusOutput, error) {
	status, err := s.view(ctx, in.Request, in.Grant)
	if err != nil {
		return nil, err
	}
	return &statusOutput{status}, nil
}

func statusPath(tenant, request string) string { return "/v1/" + tenant + "/signings/" + request }
