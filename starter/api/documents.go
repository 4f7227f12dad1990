package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
	"github.com/countersign-dev/countersign/starter/client"
)

const pdfType = "application/pdf"

type uploadInput struct {
	Tenant string `path:"tenant"`
	Type   string `header:"Content-Type"`
	Digest string `header:"Content-Digest" doc:"Digest of the body (RFC 9530), sha-256; checked if given."`
}

type uploadOutput struct{ Body countersign.Document }

// putDocument stores a PDF that could be signed, for whoever may request.
func (s *Server) putDocument(ctx context.Context, in *uploadInput) (*uploadOutput, error) {
	c := callerOf(ctx)
	if refusal := c.tenant.mayRequest(c.actor, "documents", s.now()); refusal != nil {
		return nil, refused(http.StatusForbidden, refusal)
	}
	if kind, _, err := mime.ParseMediaType(in.Type); err != nil || kind != pdfType {
		return nil, newProblem(http.StatusUnsupportedMediaType, "media-type", "the body must be "+pdfType)
	}
	body, err := received(ctx, c.tenant.settings.Documents.MaxBytes)
	if err != nil {
		return nil, err
	}
	if in.Digest != "" {
		if err := checkDigest(in.Digest, body.SHA256); err != nil {
			return nil, err
		}
	}
	if _, refusal := activities.InspectPDF(body, body.Size()); refusal != nil {
		return nil, refused(http.StatusUnprocessableEntity, refusal)
	}
	d, err := c.tenant.objects.PutDocument(ctx, body.Body(), body.SHA256)
	if err != nil {
		return nil, fault(ctx, "store the document", err)
	}
	return &uploadOutput{d}, nil
}

// checkDigest compares the SHA-256 of a body with its Content-Digest (RFC 9530). Other algorithms than sha-256 are passed over, as the RFC asks, but
// a header without sha-256 checks nothing and is refused.
func checkDigest(header, digest string) error {
	for _, member := range strings.Split(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		if name != "sha-256" {
			continue
		}
		given, ok := strings.CutPrefix(value, ":")
		given, ok2 := strings.CutSuffix(given, ":")
		raw, err := base64.StdEncoding.DecodeString(given)
		if !ok || !ok2 || err != nil {
			break
		}
		if hex.EncodeToString(raw) != digest {
			return newProblem(http.StatusBadRequest, "digest-mismatch", "the body does not have the SHA-256 that Content-Digest names: it changed on its way")
		}
		return nil
	}
	return newProblem(http.StatusBadRequest, "bad-digest", "Content-Digest must hold sha-256=:BASE64: (RFC 9530)")
}

type fileOutput struct {
	Type        string `header:"Content-Type"`
	Digest      string `header:"Repr-Digest"`
	Disposition string `header:"Content-Disposition"`
	Policy      string `header:"Content-Security-Policy"`
	Body        []byte
}

func file(kind, name string, o countersign.Object, body []byte) *fileOutput {
	sum, _ := hex.DecodeString(o.SHA256) // it was compared with the body's
	return &fileOutput{
		Type: kind, Digest: "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":", Policy: "sandbox; default-src 'none'",
		Disposition: mime.FormatMediaType("attachment", map[string]string{"filename": name}), Body: body,
	}
}

// getDocument is the version of the document that is decided about, to those who may see the signing.
func (s *Server) getDocument(ctx context.Context, in *signingInput) (*fileOutput, error) {
	status, err := s.view(ctx, in.Request, in.Grant)
	if err != nil {
		return nil, err
	}
	if status.Document == nil {
		return nil, newProblem(http.StatusConflict, "not-admitted", "the document was not admitted, or not yet")
	}
	// What was admitted is read whatever the tenant's limit is by now.
	body, stored, err := callerOf(ctx).tenant.objects.Document(ctx, *status.Document, evidence.MaxBundleSize)
	if err != nil {
		return nil, unread(ctx, "read the document", err)
	}
	during(ctx, stored)
	if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadDocument, Request: in.Request, Grant: in.Grant, Object: status.Document, Outcome: status.Outcome}); err != nil {
		return nil, err
	}
	return file(pdfType, in.Request+".pdf", *status.Document, body), nil
}

// getEvidence is the locked bundle, to those who may see the signing, and only once it is locked. Where somebody's personal data in it was shredded, it is
// a shredded file: the concealed bundle as it is stored, with the keys for it that are left.
func (s *Server) getEvidence(ctx context.Context, in *signingInput) (*fileOutput, error) {
	revealed, o, err := s.released(ctx, in, evidence.ReadBundleFile)
	if err != nil {
		return nil, err
	}
	if body, err := revealed.Whole(); err == nil {
		return file(evidence.MediaType, in.Request+".asice", o, body), nil
	}
	left, err := revealed.ShreddedFile()
	if err != nil {
		return nil, fault(ctx, "write what is left of the evidence", err)
	}
	during(ctx, left)
	return file(shred.FileMediaType, in.Request+".asice"+shred.FileSuffix, countersign.Object{SHA256: left.SHA256}, left.Raw), nil
}

// getSigned is the signed PDF, out of the locked bundle: to the same people, and as late.
func (s *Server) getSigned(ctx context.Context, in *signingInput) (*fileOutput, error) {
	revealed, o, err := s.released(ctx, in, evidence.ReadSigned)
	if err != nil {
		return nil, err
	}
	pdf, err := revealed.SignedPDF()
	if err != nil {
		return nil, fault(ctx, "read the evidence", err)
	}
	if pdf == nil {
		return nil, newProblem(http.StatusConflict, "not-signed", "there is no signed PDF: the signing ended without a signature, or a version up to v0.1.0 signed beside the document")
	}
	o.SHA256 = countersign.SHA256(pdf)
	return file(pdfType, in.Request+"-signed.pdf", o, pdf), nil
}

// released reads the locked bundle, and notes that it, or a part of it, is read.
func (s *Server) released(ctx context.Context, in *signingInput, what string) (none activities.Revealed, _ countersign.Object, err error) {
	status, err := s.view(ctx, in.Request, in.Grant)
	if err != nil {
		return none, countersign.Object{}, err
	}
	if status.State != client.StateDone || status.Evidence == nil {
		return none, countersign.Object{}, newProblem(http.StatusConflict, "evidence-pending", "the evidence is not locked yet: the signing is at "+status.State)
	}
	o := status.Evidence.Object
	revealed, err := callerOf(ctx).tenant.objects.Locked(ctx, *status.Evidence)
	if err != nil {
		return none, countersign.Object{}, unread(ctx, "read the evidence", err)
	}
	during(ctx, revealed)
	if err := s.noteReading(ctx, evidence.Reading{What: what, Request: in.Request, Grant: in.Grant, Object: &o, Outcome: status.Outcome}); err != nil {
		return none, countersign.Object{}, err
	}
	return revealed, o, nil
}

// unread tells an object that is not what it should be from a store that doesn't answer.
func unread(ctx context.Context, doing string, err error) error {
	var refusal *countersign.Refusal
	if errors.As(err, &refusal) {
		logged(ctx, fmt.Errorf("couldn't %s: %w", doing, err))
		return newProblem(http.StatusBadGateway, refusal.Code, "couldn't "+doing+": what is stored is not what the signing names")
	}
	return fault(ctx, doing, err)
}
