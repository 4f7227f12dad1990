package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// signInside makes the signed PDF: the document as it was approved, and behind it the update with the signature. The time that the
// signature claims is that of the intent, which is locked: a repeated step claims the same, and a verifier finds it in the history.
func (t *Tenant) signInside(ctx context.Context, in evidence.SignInput, result evidence.Signature) (evidence.Signature, error) {
	intent, err := t.intended(ctx, in)
	if err != nil {
		return result, err
	}
	document, err := t.spool(ctx, in.Context.Document, maxAdmitted)
	if refusal := (*countersign.Refusal)(nil); errors.As(err, &refusal) {
		result.Refusal = refusal
		return result, nil
	}
	if err != nil {
		return result, err
	}
	defer document.Close()
	approved := evidence.ApprovedPDF{
		Bytes: document.Size(), SHA256: in.Context.Document.SHA256, At: intent.At, Seal: evidence.VisibleSealOf(in.Context, in.Digest, in.Request),
	}
	signer := t.signer()
	result.Algorithm = string(signer.algorithm)
	key := countersign.WithheldKey(in.Context.Tenant, in.Request, withheldPDF)
	if stored, err := t.newest(ctx, t.settings.Documents.Bucket, key); err == nil {
		return t.adoptPDF(ctx, result, stored, approved)
	} else if !errors.Is(err, errGone) {
		return result, err
	}
	if err := t.stampsAgain(ctx); err != nil {
		return result, err
	}
	update, err := evidence.SignPDF(ctx, document, approved, signer, t.stamper)
	if refusal := refusedPDF(err); refusal != nil {
		result.Refusal = refusal
		return result, nil
	}
	if err != nil {
		return result, keyError("couldn't sign the document", err)
	}
	if err := document.add(update); err != nil {
		return result, err
	}
	result.RequestID = signer.requestID
	stored, err := t.storeSpooled(ctx, t.settings.Documents.Bucket, key, "application/pdf", document, nil)
	if errors.Is(err, errExists) {
		result.RequestID = ""
		stored, err = t.newest(ctx, t.settings.Documents.Bucket, key)
	}
	if err != nil {
		return result, err
	}
	return t.adoptPDF(ctx, result, stored, approved)
}

// intended is the intent that was locked before the key is asked.
func (t *Tenant) intended(ctx context.Context, in evidence.SignInput) (intent evidence.Intent, err error) {
	_, body, err := t.current(ctx, t.settings.Evidence.Bucket, countersign.IntentKey(in.Context.Tenant, in.Request), maxSignature)
	if err != nil {
		return intent, fmt.Errorf("couldn't read the intent to sign: %w", err)
	}
	if err := json.Unmarshal(body, &intent); err != nil {
		return intent, fmt.Errorf("couldn't read the intent to sign: %w", err)
	}
	if intent.Context != in.Digest {
		return intent, temporal.NewNonRetryableApplicationError("couldn't sign: the intent that is locked is about another transaction", ErrorSetting, nil)
	}
	return intent, nil
}

// adoptPDF verifies a stored signed PDF before it is believed, whoever stored it.
func (t *Tenant) adoptPDF(ctx context.Context, result evidence.Signature, stored countersign.Object, approved evidence.ApprovedPDF) (evidence.Signature, error) {
	signed, err := t.spool(ctx, stored, maxAdmitted)
	if err != nil {
		return result, err
	}
	defer signed.Close()
	facts, err := evidence.VerifyPDF(signed, signed.Size(), approved, t.roots)
	if err != nil {
		return result, fmt.Errorf("couldn't use the stored signature: %w", err)
	}
	stored.SHA256 = signed.SHA256
	result.Object, result.At = stored, facts.StampTime.UTC()
	activity.GetLogger(ctx).Info("signed", "key", result.Key, "request", result.RequestID)
	return result, nil
}
