package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

type renewalFileInput struct {
	Tenant  string `path:"tenant"`
	Request string `path:"request"`
	Grant   string `query:"grant" pattern:"^[0-9a-f]{64}$" doc:"The grant under which you may see it, where you have no role of your own."`
	Of      string `query:"of" enum:"bundle,stored" default:"bundle" doc:"Over the bundle, or over what is stored of it where its personal data is concealed: that is the one which still holds when somebody was shredded."`
}

type renewalFileOutput struct {
	Type        string `header:"Content-Type"`
	Number      int    `header:"Renewal-Number"`
	Disposition string `header:"Content-Disposition"`
	Policy      string `header:"Content-Security-Policy"`
	Body        []byte
}

// getEvidenceRenewal is the newest evidence record over the locked bundle, or over what is stored of it, to those who may see the signing: it holds all that were before it.
func (s *Server) getEvidenceRenewal(ctx context.Context, in *renewalFileInput) (*renewalFileOutput, error) {
	status, err := s.view(ctx, in.Request, in.Grant)
	if err != nil {
		return nil, err
	}
	if status.State != client.StateDone || status.Evidence == nil {
		return nil, newProblem(http.StatusConflict, "evidence-pending", "the evidence is not locked yet: the signing is at "+status.State)
	}
	objects := callerOf(ctx).tenant.objects
	key, name := countersign.RenewalKey, "%s.asice.renewal-%03d.ers"
	if in.Of == "stored" {
		key, name = countersign.StoredRenewalKey, "%s.asice.shredded.renewal-%03d.ers"
	}
	o, number, err := objects.Renewal(ctx, in.Request, key)
	if errors.Is(err, errNotFound) {
		return nil, newProblem(http.StatusConflict, "not-renewed", "the evidence was not time-stamped anew yet")
	}
	var body []byte
	if err == nil {
		body, err = objects.Read(ctx, o, evidence.MaxRenewalSize)
	}
	if err != nil {
		return nil, unread(ctx, "read the evidence record", err)
	}
	o.SHA256 = countersign.SHA256(body)
	if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadRenewal, Request: in.Request, Grant: in.Grant, Object: &o, Outcome: status.Outcome}); err != nil {
		return nil, err
	}
	f := file(evidence.RenewalMediaType, fmt.Sprintf(name, in.Request, number), o, body)
	return &renewalFileOutput{f.Type, number, f.Disposition, f.Policy, f.Body}, nil
}
