package evidence

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
)

// The files of a bundle.
const (
	documentFile    = "document.pdf"
	signedFile      = "document-signed.pdf"
	signatureFile   = "document.p7s" // of builds up to v0.1.0
	statementFile   = "statement.json"
	policyFile      = "policy/policy.cedar"
	questionsFile   = "policy/questions.json"
	issuersFile     = "identity/issuers.json"
	historyFile     = "history.pb"
	historyJSONFile = "history.json"
	workerFile      = "worker.json"
	keyFile         = "kms.json"
)

// SignedPDF is the signed PDF in a bundle, or nil where there is none: nothing was signed, or a build up to v0.1.0 signed beside the document.
// It is what the bundle says: whether that is genuine is for Verify to find out.
func SignedPDF(bundle []byte) ([]byte, error) {
	b, err := OpenBundle(bundle)
	if err != nil {
		return nil, err
	}
	pdf, _ := b.File(signedFile)
	return pdf, nil
}

func decisionFile(i int) string { return fmt.Sprintf("identity/decision-%03d.json", i+1) }

// Material is what a bundle is made of.
type Material struct {
	Seal      SealInput
	History   *historypb.History
	Case      *Case
	Document  []byte // nil where intake did not get as far as trusting it, and where Signed begins with it
	Signed    []byte // the signed PDF; nil unless it is released
	Signature []byte // detached CAdES over Document, in place of Signed, where builds up to v0.1.0 admitted the transaction
	Worker    Worker
	Key       KeyFacts

	statement []byte    // as it was derived already; nil where it wasn't
	approved  hash.Hash // SHA-256 of the approved part of Signed, not yet summed; nil where it wasn't taken
}

// Worker says which build ran the saga.
type Worker struct {
	Build      string `json:"build"`      // Temporal build id
	Revision   string `json:"revision"`   // of the source; "not recorded" where the build did not know
	CodeDigest string `json:"codeDigest"` // SHA-256 over the workflow sources that were compiled in
	SDK        string `json:"sdk"`
	Go         string `json:"go"`
}

// KeyFacts name the key that seals: its ARN, never an alias, and its public half.
type KeyFacts struct {
	ARN         string
	Algorithm   string
	Certificate *x509.Certificate
}

// keyDocument is kms.json.
type keyDocument struct {
	Key         string `json:"key"`
	Algorithm   string `json:"algorithm"`
	PublicKey   string `json:"publicKey"` // SubjectPublicKeyInfo, base64 DER
	Certificate string `json:"certificate"`
	Document    string `json:"documentSignatureRequestId"` // KMS request id of the document's signature
}

// decisionDocument is identity/decision-NNN.json: the decision and its proof as the signal brought them, and what they were checked with.
type decisionDocument struct {
	// Salt is the plan's, so that once somebody is shredded a guess can't be compared with the file's digest.
	Salt   string          `json:"salt,omitempty"`
	Signed json.RawMessage `json:"signed"`
	Check  *Check          `json:"check,omitempty"`
}

// questionDocument is one line of policy/questions.json: what the policy was asked, and what it answered.
type questionDocument struct {
	Salt     string `json:"salt,omitempty"` // the plan's, in the first line
	About    string `json:"about"`
	Question any    `json:"question"`
	Answer   any    `json:"answer"`
}

// Assemble writes the payload files of a bundle, in their order.
func Assemble(m Material) ([]File, error) {
	files, err := derived(m)
	if err != nil {
		return nil, err
	}
	pb, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.History)
	if err != nil {
		return nil, fmt.Errorf("couldn't write the history: %w", err)
	}
	twin, err := HistoryJSON(m.History)
	if err != nil {
		return nil, err
	}
	worker, err := indented(workerFile, m.Worker)
	if err != nil {
		return nil, err
	}
	key, err := indented(keyFile, keyDocumentOf(m))
	if err != nil {
		return nil, err
	}
	return append(files, File{historyFile, pb}, File{historyJSONFile, twin}, worker, key), nil
}

// derived writes what comes before the history in a bundle, and follows from it but for the document and its signature: the verifier writes it again.
func derived(m Material) ([]File, error) {
	statement := File{statementFile, m.statement}
	if m.statement == nil {
		derived, err := Derive(m.Case, m.Seal)
		if err != nil {
			return nil, err
		}
		if statement, err = indented(statementFile, derived); err != nil {
			return nil, err
		}
	}
	var files []File
	add := func(name string, body []byte) { files = append(files, File{Name: name, Bytes: body}) }
	var fault error
	addJSON := func(name string, v any) {
		f, err := indented(name, v)
		fault = errors.Join(fault, err)
		files = append(files, f)
	}
	if m.Document != nil {
		add(documentFile, m.Document)
	}
	if m.Signed != nil {
		add(signedFile, m.Signed)
	}
	if m.Signature != nil {
		add(signatureFile, m.Signature)
	}
	files = append(files, statement)
	for i, d := range m.Case.Decisions {
		if d.Input.Ordinal == 0 {
			continue
		}
		// What a stranger sent is not indented: its depth is theirs to choose, and the size would be ours to bear.
		body, err := json.Marshal(decisionDocument{m.Case.salt(), d.Input.Signed, d.Check})
		fault = errors.Join(fault, err)
		add(decisionFile(i), append(body, '\n'))
	}
	if a := m.Case.Admission; a != nil {
		addJSON(issuersFile, a.Issuers)
		add(policyFile, []byte(a.PolicyText))
		addJSON(questionsFile, questions(m.Case))
	}
	return files, fault
}

func indented(name string, v any) (File, error) {
	body, err := json.MarshalIndent(v, "", "  ")
	return File{name, append(body, '\n')}, err
}

// VerifySignature checks the signature that is released, in the form that people approved: which one it is can't be chosen afterwards.
func (m Material) VerifySignature(roots Roots) (SignatureFacts, error) {
	if !m.Case.signedInside() {
		if m.Signed != nil {
			return SignatureFacts{}, errors.New("there is a signed PDF, and people approved a signature beside the document")
		}
		return VerifyDetached(m.Document, m.Signature, roots)
	}
	if m.Signature != nil || m.Document != nil {
		return SignatureFacts{}, fmt.Errorf("there is something beside the signed PDF, and people approved a signature inside (%s)", countersign.SignedInPDF)
	}
	if m.Case.Intent == nil {
		return SignatureFacts{}, errors.New("there is no intent for it")
	}
	return verifyPDF(bytes.NewReader(m.Signed), int64(len(m.Signed)), m.Case.approved(), m.approved, roots)
}

// signedInside says whether people approved a signature in the PDF itself.
func (c *Case) signedInside() bool {
	return c.Admission != nil && c.Admission.Refusal == nil && c.Admission.Context.SignedAs != ""
}

// approved is what the signed PDF must begin with and claim.
func (c *Case) approved() ApprovedPDF {
	return ApprovedPDF{
		Bytes: c.Admission.Document.Bytes, SHA256: c.Admission.Context.Document.SHA256, At: c.Intent.At,
		Seal: VisibleSealOf(c.Admission.Context, c.Admission.Digest, c.Input.Request.ID),
	}
}

func keyDocumentOf(m Material) keyDocument {
	k := keyDocument{
		Key: m.Key.ARN, Algorithm: m.Key.Algorithm, PublicKey: base64.StdEncoding.EncodeToString(m.Key.Certificate.RawSubjectPublicKeyInfo),
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Key.Certificate.Raw})), Document: "not recorded",
	}
	if s := m.Case.Signature; s != nil && s.RequestID != "" {
		k.Document = s.RequestID
	}
	return k
}

// salt is that of the plan; empty where the evidence can't be shredded, or was not admitted.
func (c *Case) salt() string {
	if c.Admission == nil {
		return ""
	}
	return c.Admission.Plan.Salt
}

func questions(c *Case) []questionDocument {
	list := []questionDocument{}
	if a := c.Admission; a.Question != nil && a.Answer != nil {
		list = append(list, questionDocument{About: "intake", Question: a.Question, Answer: a.Answer, Salt: c.salt()})
	}
	for i, d := range c.Decisions {
		if d.Check != nil && d.Check.Question != nil && d.Check.Answer != nil {
			list = append(list, questionDocument{About: decisionFile(i), Question: d.Check.Question, Answer: d.Check.Answer})
		}
	}
	for _, w := range c.Withdrawals {
		if w.Question != nil && w.Answer != nil {
			list = append(list, questionDocument{About: "withdrawal", Question: w.Question, Answer: w.Answer})
		}
	}
	return list
}

// HistoryJSON writes a history in the form that Temporal's own tools read: the readable twin.
func HistoryJSON(h *historypb.History) ([]byte, error) {
	raw, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("couldn't write the history as JSON: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", " "); err != nil {
		return nil, fmt.Errorf("couldn't write the history as JSON: %w", err)
	}
	return out.Bytes(), nil
}

// MediaType is the media type of a bundle (ETSI EN 319 162-1, ASiC-E).
const MediaType = "application/vnd.etsi.asic-e+zip"
