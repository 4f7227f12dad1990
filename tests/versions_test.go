package tests

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
)

// Somebody puts other bytes under the document's key while it is being approved. What was approved of the old version is no approval of the new one:
// not in the signing that is under way, which goes on about the old bytes and signs no others, and not in a new one about the new bytes.
func TestR11_AChangedDocumentVoidsTheApprovalsOfItsOldVersion(t *testing.T) {
	t.Parallel()
	first := pdf(t)
	second := append(bytes.Clone(first), "% and a clause more\n"...)
	was := begin(t, request(t, "acme", "supplier-contract"))
	approval := decide(t, was, "acme/alice", "legal", countersign.Approve)
	wantCounted(t, record(t, was, approval))

	changed := replaced(t, was.Request.Document, second)
	if changed.Key != was.Request.Document.Key || changed.VersionID == was.Request.Document.VersionID {
		t.Fatalf("%+v is no new version of %+v", changed, was.Request.Document)
	}
	wantOther := func(about countersign.Document) {
		t.Helper()
		status, err := was.Open(t.Context(), "counsel")
		if err != nil {
			t.Fatal(err)
		}
		d := was.Decision(status, "hart/carol", "counsel", countersign.Approve)
		d.Document = about
		signed, err := was.Put(t.Context(), "hart/carol", d)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, was, record(t, was, signed), "other-document", "another version of it")
	}
	wantOther(changed)
	// Nor is the new version taken under the old digest, or the new digest under the old version.
	wantOther(countersign.Document{Bucket: changed.Bucket, Key: changed.Key, VersionID: changed.VersionID, SHA256: was.Request.Document.SHA256})
	wantOther(countersign.Document{Bucket: changed.Bucket, Key: changed.Key, VersionID: was.Request.Document.VersionID, SHA256: changed.SHA256})

	again := was.Request
	again.ID, again.Document = was.Request.ID+"-again", changed
	now := begin(t, again)
	if _, err := now.Open(t.Context(), "legal"); err != nil {
		t.Fatal(err)
	}
	if err := now.Send(t.Context(), "acme/alice", approval); err != nil {
		t.Fatal(err)
	}
	refused(t, now, record(t, now, approval), "other-signing", "about another signing")
	if status, err := now.Status(t.Context()); err != nil || status.Stage != "legal" || len(status.Decided) != 0 {
		t.Errorf("the new signing is in stage %q, decided by %v (%v), want it to wait for alice", status.Stage, status.Decided, err)
	}

	decide(t, was, "hart/carol", "counsel", countersign.Approve)
	wantSigned(t, was, first, second)
	wantCounted(t, record(t, now, decide(t, now, "acme/alice", "legal", countersign.Approve)))
	decide(t, now, "hart/carol", "counsel", countersign.Approve)
	wantSigned(t, now, second, first)
}

// replaced stores other bytes as a new version of a document.
func replaced(t *testing.T, d countersign.Document, body []byte) countersign.Document {
	t.Helper()
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	out, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(d.Bucket), Key: aws.String(d.Key), Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	d.VersionID, d.SHA256 = aws.ToString(out.VersionId), countersign.SHA256(body)
	return d
}

// wantSigned wants a signing to be completed with a signature of exactly these bytes, and not of the others.
func wantSigned(t *testing.T, g *stack.Signing, these, others []byte) {
	t.Helper()
	ending, report := ended(t, g, countersign.Completed)
	if report.Statement.Intent.Document != g.Request.Document {
		t.Errorf("the intent was to sign %+v, want %+v", report.Statement.Intent.Document, g.Request.Document)
	}
	b, err := evidence.OpenBundle(bundle(t, "acme", ending))
	if err != nil {
		t.Fatal(err)
	}
	signed, _ := b.File("document-signed.pdf")
	if !bytes.HasPrefix(signed, these) {
		t.Error("the evidence has another document than was approved")
	}
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	of := func(document []byte) evidence.ApprovedPDF {
		return evidence.ApprovedPDF{Bytes: int64(len(document)), SHA256: countersign.SHA256(document), At: report.Statement.Intent.At, Seal: sealOf(report)}
	}
	if _, err := evidence.VerifyPDF(bytes.NewReader(signed), int64(len(signed)), of(these), roots); err != nil {
		t.Errorf("the signature is not of the bytes that were approved: %v", err)
	}
	if _, err := evidence.VerifyPDF(bytes.NewReader(signed), int64(len(signed)), of(others), roots); err == nil {
		t.Error("the signature is of the other version as well")
	}
}
