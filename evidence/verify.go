package evidence

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	historypb "go.temporal.io/api/history/v1"

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
func (v *verifier) locked() {
	l := v.roots.Lock
	if l == nil {
		v.report.notRecorded("lock", "whether the object is locked is asked at the store, not in the file")
		return
	}
	v.report.note("lock", l.locks(v.roots.storedAs(v.digest()), v.report.Seal.StampTime), fmt.Sprintf("the store says: COMPLIANCE until %s, version %s", l.RetainUntil.UTC().Format("2006-01-02 15:04:05 UTC"), l.Version))
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

// outcome checks that the history allows the stated ending.
func (v *verifier) outcome() error {
	stated, saga := v.statement.Predicate.Outcome, v.c.Result
	if !stated.Valid() {
		return fmt.Errorf("%q is no outcome", stated)
	}
	signed := v.c.Signature != nil && v.c.Signature.Refusal == nil
	for _, check := range []func() error{func() error { return v.allowed(stated) }, v.follows, v.times, v.told} {
		if err := check(); err != nil {
			return err
		}
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
		if len(c.withdraws) > 0 || slices.ContainsFunc(c.Decisions, func(d DecisionCase) bool { return d.Input.Ordinal > 0 }) {
			return errors.New("somebody was heard about what was never admitted")
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
	body, ok := v.b.File(documentFile)
	switch want := v.c.Input.Request.Document.SHA256; {
	case !ok && admitted && v.statement.Predicate.Outcome == countersign.Completed:
		v.report.note("document", errors.New("the bundle has no document.pdf"), "")
	case !ok && admitted:
		v.report.notRecorded("document", "it was gone from its store when the evidence was made")
	case !ok:
		v.report.notRecorded("document", "intake refused it, so its bytes were not kept")
	case v.b.digestOf(documentFile) != want:
		v.report.note("document", errors.New("document.pdf is not the document that was requested"), "")
	case admitted && v.c.Admission.Document.Bytes != int64(len(body)):
		v.report.note("document", errors.New("intake is said to have read another number of bytes than document.pdf has"), "")
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
	h := v.approved()
	if h == nil || v.c.Admission.Document.Bytes >= int64(len(body)) || hex.EncodeToString(h.Sum(nil)) != v.c.Input.Request.Document.SHA256 {
		return fmt.Errorf("%s doesn't begin with the document that was requested", signedFile)
	}
	return nil
}

// hashApproved begins the digest of the signed PDF with as much of it as was approved; it is nil where it isn't as long as that. A large document is read once for all
// that begin with it.
func (v *verifier) hashApproved() hash.Hash {
	body, ok := v.b.File(signedFile)
	if !ok || v.c.Admission == nil || v.c.Admission.Document.Bytes <= 0 || v.c.Admission.Document.Bytes > int64(len(body)) {
		return nil
	}
	return v.b.marks[signedFile].begun(body, v.c.Admission.Document.Bytes)
}

// files checks that the readable copies of what the history holds are true copies, and that nothing else is there.
func (v *verifier) files() error {
	want, err := derived(Material{Case: v.c, History: v.history, Seal: SealInput{Outcome: v.statement.Predicate.Outcome, Detail: v.statement.Predicate.Detail}, Key: KeyFacts{Certificate: v.report.Seal.Signer}, statement: v.derived})
	if err != nil {
		return err
	}
	for _, f := range want {
		got, err := v.file(f.Name)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, f.Bytes) {
			return fmt.Errorf("%s says something else than the history", f.Name)
		}
	}
	if err := v.places(want); err != nil {
		return err
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
	if hash := v.report.Seal.Hash; k.Algorithm != "ECDSA_SHA_"+strings.TrimPrefix(hash.String(), "SHA-") {
		return fmt.Errorf("%s names another algorithm than the seal's", keyFile)
	}
	// A signature that is void needs no seal by its own key: the tenant may have changed its key because of what happened to the old one.
	released := v.statement.Predicate.Outcome == countersign.Completed
	if s := v.c.Signature; released && s != nil && (s.Key != k.Key || s.Algorithm != k.Algorithm) {
		return fmt.Errorf("%s names another key than the signing step used, or another algorithm", keyFile)
	}
	return nil
}

func subjectOf(f SignatureFacts) string {
	if f.Signer == nil {
		return "nobody"
	}
	return f.Signer.Subject.String()
}
