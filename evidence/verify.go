package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
)

// State is the result of one check. What was not recorded is neither passed nor failed, and is said.
type State string

// The three results.
const (
	Pass        State = "pass"
	Fail        State = "fail"
	NotRecorded State = "not recorded"
)

// Finding is one named check with its result.
type Finding struct {
	Check  string `json:"check"`
	State  State  `json:"state"`
	Detail string `json:"detail"`
}

// Report is the result of verifying a bundle. It is honest about what it did not see: a check that is not in it was not made.
type Report struct {
	Findings  []Finding          `json:"findings"`
	Statement *Predicate         `json:"statement,omitempty"`
	Seal      *SignatureFacts    `json:"-"`
	History   *historypb.History `json:"-"`
}

// Err is nil where every check passed or was not recorded, and else tells the failed ones.
func (r *Report) Err() error {
	var faults []error
	for _, f := range r.Findings {
		if f.State == Fail {
			faults = append(faults, fmt.Errorf("%s: %s", f.Check, f.Detail))
		}
	}
	return errors.Join(faults...)
}

func (r *Report) note(check string, err error, passed string) bool {
	if err != nil {
		r.Findings = append(r.Findings, Finding{check, Fail, err.Error()})
		return false
	}
	r.Findings = append(r.Findings, Finding{check, Pass, passed})
	return true
}

func (r *Report) notRecorded(check, why string) {
	r.Findings = append(r.Findings, Finding{check, NotRecorded, why})
}

// Verify checks a bundle completely, without a network: container, manifest, seal, time-stamp, document, history, and that
// every line of the statement follows from the history; then each decision, its proof and sender, the policy's answers, the
// quorum and the document's signature, from the beginning. It stops early only where nothing further could be read, and then says so: each
// of NamedChecks is in the report, once.
func Verify(raw []byte, roots Roots) *Report {
	r := &Report{}
	v := &verifier{report: r, roots: roots}
	v.run(raw)
	r.complete()
	return r
}

func (v *verifier) run(raw []byte) {
	r := v.report
	if !v.open(raw) || !v.sealed() {
		return
	}
	if !r.note("history", v.readHistory(), "complete, from the start to its closing event") {
		return
	}
	if !r.note("statement", v.readStatement(), "every line of it follows from the history") {
		return
	}
	r.Statement = &v.statement.Predicate
	r.History = v.history
	v.check("outcome", v.outcome, func() string { return string(v.statement.Predicate.Outcome) + ": " + v.statement.Predicate.Meaning })
	v.document()
	v.check("files", v.files, func() string { return "decisions, issuers and policy are those of the history" })
	v.postQuantum()
	if v.c.Admission == nil || v.c.Admission.Refusal != nil {
		for _, check := range []string{"context", checkIssuers, "decisions", checkDecisionTime, checkTokens, checkOwnKeys, checkGrants, "policy", "quorum", "document signature", "log"} {
			r.notRecorded(check, "the signing was not admitted, so there is none")
		}
	} else {
		v.check("context", v.context, func() string { return "one transaction from request to evidence: " + v.c.Admission.Digest })
		v.issuers()
		v.check("decisions", v.decisions, func() string {
			return fmt.Sprintf("%d decide signals: each by the person whom it names, proven for exactly this decision, or refused with a reason", len(v.c.Decisions))
		})
		v.decisionTimes()
		v.proofs.report(r)
		v.check("policy", v.policy, func() string { return "every answer comes out the same under set " + v.c.Admission.Context.Policy })
		v.signature()
		v.logged()
	}
	v.revoked()
	v.renewed(raw)
	r.ending(raw, v.roots.LogProof, v.roots.Log)
	v.locked(raw)
}

// open reads the container. A manifest that doesn't fit its files is told apart from a file that is no container.
func (v *verifier) open(raw []byte) bool {
	const whole = "an ASiC-E container in its one form, with nothing beside its files"
	b, err := OpenBundle(raw)
	if fault, ok := errors.AsType[*BundleError](err); ok && fault.Check != "container" {
		v.report.note("container", nil, whole)
		return v.report.note("manifest", err, "")
	}
	if !v.report.note("container", err, whole) {
		return false
	}
	v.b = b
	return v.report.note("manifest", nil, fmt.Sprintf("%d files, each listed with its digest, and none beside them", len(b.files)))
}

// sealed checks the seal and its time-stamp. Without a time that is proven nobody can say whether the seal's certificate was valid, so
// both fail then.
func (v *verifier) sealed() bool {
	facts, err := v.b.VerifySeal(v.roots)
	if fault, ok := errors.AsType[*BundleError](err); ok && fault.Check == "timestamp" {
		v.report.note(checkSeal, errors.New("without a time-stamp that holds, nobody can say whether its certificate was valid"), "")
		return v.report.note(checkTime, err, "")
	}
	if !v.report.note(checkSeal, err, "sealed by "+subjectOf(facts)) {
		return false
	}
	v.report.Seal = &facts
	return v.report.note(checkTime, nil, fmt.Sprintf("sealed before %s, as stamped by %s", facts.StampTime.UTC().Format("2006-01-02 15:04:05 UTC"), facts.TSA))
}

// locked asks the store's answer, where it was given.
func (v *verifier) locked(raw []byte) {
	l := v.roots.Lock
	if l == nil {
		v.report.notRecorded("lock", "whether the object is locked is asked at the store, not in the file")
		return
	}
	v.report.note("lock", l.locks(v.roots.storedAs(countersign.SHA256(raw)), v.report.Seal.StampTime), fmt.Sprintf("the store says: COMPLIANCE until %s, version %s", l.RetainUntil.UTC().Format("2006-01-02 15:04:05 UTC"), l.Version))
}

// storedAs is the digest of what is stored in a bundle's place: the bundle's own, unless the log's proof says that its personal data is concealed there.
func (r Roots) storedAs(bundle string) string {
	if r.Log == nil || len(r.LogProof) == 0 {
		return bundle
	}
	p, err := ParseLogProof(r.LogProof)
	if err != nil {
		return bundle
	}
	if entry, _, err := p.Check(r.Log); err == nil && entry.Ended() && entry.Bundle.SHA256 == bundle && entry.Concealed != "" {
		return entry.Concealed
	}
	return bundle
}

type verifier struct {
	b         *Bundle
	report    *Report
	roots     Roots
	history   *historypb.History
	c         *Case
	statement Statement
	proofs    proofs
}

func (v *verifier) check(name string, f func() error, passed func() string) {
	if err := f(); err != nil {
		v.report.note(name, err, "")
		return
	}
	v.report.note(name, nil, passed())
}

func (v *verifier) file(name string) ([]byte, error) {
	body, ok := v.b.File(name)
	if !ok {
		return nil, fmt.Errorf("the bundle has no %s", name)
	}
	return body, nil
}

func (v *verifier) readHistory() error {
	pb, err := v.file(historyFile)
	if err != nil {
		return err
	}
	if v.history, err = ParseHistory(pb); err != nil {
		return err
	}
	twin, err := v.file(historyJSONFile)
	if err != nil {
		return err
	}
	same, err := ParseHistoryJSON(twin)
	if err != nil {
		return err
	}
	if !proto.Equal(v.history, same) {
		return errors.New("history.json says something else than history.pb")
	}
	v.c, err = ReadHistory(v.history)
	return err
}

func (v *verifier) readStatement() error {
	raw, err := v.file(statementFile)
	if err != nil {
		return err
	}
	if err := countersign.ParseStrict(raw, &v.statement); err != nil {
		return fmt.Errorf("couldn't read the statement: %w", err)
	}
	derived, err := Derive(v.c, SealInput{Outcome: v.statement.Predicate.Outcome, Detail: v.statement.Predicate.Detail})
	if err != nil {
		return err
	}
	want, err := json.MarshalIndent(derived, "", "  ")
	if err != nil {
		return err
	}
	if !bytes.Equal(append(want, '\n'), raw) {
		return errors.New("the statement says something that the history doesn't")
	}
	return nil
}

// outcome checks that the history allows the stated ending.
func (v *verifier) outcome() error {
	stated, saga := v.statement.Predicate.Outcome, v.c.Result
	if !stated.Valid() {
		return fmt.Errorf("%q is no outcome", stated)
	}
	signed := v.c.Signature != nil && v.c.Signature.Refusal == nil
	if err := v.allowed(stated); err != nil {
		return err
	}
	switch {
	case saga == nil && v.c.Closing == "terminated":
		if stated != countersign.Terminated {
			return fmt.Errorf("an operator ended the saga, but the statement says %s", stated)
		}
	case saga == nil:
		if stated != countersign.Failed {
			return fmt.Errorf("the saga ended %s, but the statement says %s", v.c.Closing, stated)
		}
	case stated == countersign.Voided:
		if saga.Outcome != countersign.Completed || !signed {
			return errors.New("only what was signed can be voided, and nothing was")
		}
	case stated != saga.Outcome:
		return fmt.Errorf("the saga ended as %s, but the statement says %s", saga.Outcome, stated)
	case stated == countersign.Completed && !signed:
		return errors.New("it claims to be completed without a signature in the history")
	}
	return nil
}

// allowed checks what an ending needs, and must not have, in the history itself.
func (v *verifier) allowed(stated countersign.Outcome) error {
	c, detail := v.c, v.statement.Predicate.Detail
	admitted := c.Admission != nil && c.Admission.Refusal == nil
	if !admitted {
		_, beside := v.b.File(signatureFile)
		_, inside := v.b.File(signedFile)
		if beside || inside || c.SignInput != nil || c.Signature != nil || c.Intent != nil {
			return errors.New("something was signed that was never admitted")
		}
		if stated != countersign.Refused && stated != countersign.Failed && stated != countersign.Terminated {
			return fmt.Errorf("what was not admitted can't end as %s", stated)
		}
	}
	if c.Result != nil && (stated == countersign.Refused) != (c.Admission != nil && c.Admission.Refusal != nil) {
		return errors.New("intake and outcome don't agree on whether it was refused")
	}
	rejected, withdrawn := false, false
	for _, d := range c.Decisions {
		rejected = rejected || d.Check != nil && d.Check.Record.Counted() && d.Check.Record.Verdict == countersign.Reject
	}
	for _, w := range c.Withdrawals {
		withdrawn = withdrawn || w.Refusal == nil && admitted && w.Sender == c.Admission.Context.Requester.String()
	}
	want := ""
	switch {
	case stated == countersign.Rejected && !rejected:
		return errors.New("nobody rejected it")
	case stated == countersign.Withdrawn && !withdrawn:
		return errors.New("its requester did not withdraw it")
	case (stated == countersign.Completed || stated == countersign.Voided) && (rejected || withdrawn):
		return errors.New("it was signed against a rejection or a withdrawal")
	case stated == countersign.Voided:
		want = DetailVoided
	case c.Result != nil:
		want = c.Result.Detail
	case stated == countersign.Terminated:
		want = DetailTerminated
	default:
		want = DetailBroken
	}
	if detail != want {
		return fmt.Errorf("it says %q, where the history allows %q", detail, want)
	}
	return nil
}

func (v *verifier) document() {
	admitted := v.c.Admission != nil && v.c.Admission.Refusal == nil
	if v.releasedInside() {
		v.check("document", v.approvedPart, func() string {
			return fmt.Sprintf("the first %d bytes of %s, SHA-256 %s", v.c.Admission.Document.Bytes, signedFile, v.c.Input.Request.Document.SHA256)
		})
		return
	}
	_, ok := v.b.File(documentFile)
	switch want := v.c.Input.Request.Document.SHA256; {
	case !ok && admitted && v.statement.Predicate.Outcome == countersign.Completed:
		v.report.note("document", errors.New("the bundle has no document.pdf"), "")
	case !ok && admitted:
		v.report.notRecorded("document", "it was gone from its store when the evidence was made")
	case !ok:
		v.report.notRecorded("document", "intake refused it, so its bytes were not kept")
	case v.b.digestOf(documentFile) != want:
		v.report.note("document", errors.New("document.pdf is not the document that was requested"), "")
	default:
		v.report.note("document", nil, "the requested bytes, SHA-256 "+want)
	}
}

// releasedInside says whether the bundle must hold a signed PDF, and neither the document nor a signature beside it.
func (v *verifier) releasedInside() bool {
	return v.statement.Predicate.Outcome == countersign.Completed && v.c.signedInside()
}

// approvedPart checks that the signed PDF begins with the document that was requested.
func (v *verifier) approvedPart() error {
	body, err := v.file(signedFile)
	if err != nil {
		return err
	}
	n := v.c.Admission.Document.Bytes
	if n <= 0 || n >= int64(len(body)) || countersign.SHA256(body[:n]) != v.c.Input.Request.Document.SHA256 {
		return fmt.Errorf("%s doesn't begin with the document that was requested", signedFile)
	}
	return nil
}

// files checks that the readable copies of what the history holds are true copies, and that nothing else is there.
func (v *verifier) files() error {
	want, err := derived(Material{Case: v.c, History: v.history, Seal: SealInput{Outcome: v.statement.Predicate.Outcome, Detail: v.statement.Predicate.Detail}, Key: KeyFacts{Certificate: v.report.Seal.Signer}})
	if err != nil {
		return err
	}
	inside := v.releasedInside()
	known := map[string]bool{documentFile: !inside, signatureFile: !v.c.signedInside(), signedFile: v.c.signedInside(), workerFile: true, keyFile: true, historyFile: true, historyJSONFile: true, postQuantumListFile: true, postQuantumSignatureFile: true}
	for _, f := range want {
		known[f.Name] = true
		got, err := v.file(f.Name)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, f.Bytes) {
			return fmt.Errorf("%s says something else than the history", f.Name)
		}
	}
	for _, f := range v.b.Files() {
		if !known[f.Name] {
			return fmt.Errorf("%s doesn't belong into this bundle", f.Name)
		}
	}
	return v.key()
}

func (v *verifier) key() error {
	raw, err := v.file(keyFile)
	if err != nil {
		return err
	}
	var k keyDocument
	if err := countersign.ParseStrict(raw, &k); err != nil {
		return fmt.Errorf("couldn't read %s: %w", keyFile, err)
	}
	want := keyDocumentOf(Material{Case: v.c, Key: KeyFacts{ARN: k.Key, Algorithm: k.Algorithm, Certificate: v.report.Seal.Signer}})
	if k != want {
		return fmt.Errorf("%s names another key than the one that sealed", keyFile)
	}
	// A signature that is void needs no seal by its own key: the tenant may have changed its key because of what happened to the old one.
	released := v.statement.Predicate.Outcome == countersign.Completed
	if s := v.c.Signature; released && s != nil && s.Key != k.Key {
		return fmt.Errorf("%s names another key than the signing step used", keyFile)
	}
	return nil
}

func subjectOf(f SignatureFacts) string {
	if f.Signer == nil {
		return "nobody"
	}
	return f.Signer.Subject.String()
}
