package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
)

// Verify checks a bundle completely, without a network: container, manifest, seal, time-stamp, document, history, and that
// every line of the statement follows from the history; then each decision, its proof and sender, the policy's answers, the
// quorum and the document's signature, from the beginning. It stops early only where nothing further could be read, and then says so: each
// of NamedChecks is in the report, once.
func Verify(raw []byte, roots Roots) *Report {
	return verify(raw, roots, sync.OnceValue(func() string { return countersign.SHA256(raw) }))
}

func verify(raw []byte, roots Roots, digest func() string) *Report {
	roots.chains = &chains{}
	v := &verifier{report: &Report{}, roots: roots, digest: digest}
	v.run(raw)
	v.report.complete()
	return v.report
}

type verifier struct {
	digest    func() string // of the whole file, SHA-256 in hex
	b         *Bundle
	report    *Report
	roots     Roots
	history   *historypb.History
	c         *Case
	statement Statement
	derived   []byte           // the statement as it was derived again
	signed    []readDecision   // of each decision that was looked at
	approved  func() hash.Hash // SHA-256 of the approved part of the signed PDF, not yet summed; nil where there is none
	proofs    proofs
	proven    []provenDecision
}

// run keeps to one order where it matters: nothing in a bundle is interpreted before its seal holds, and nothing is checked against a history that could not
// be read. What is left are checks that don't need one another.
func (v *verifier) run(raw []byte) {
	beside(readyHistory)
	if !v.open(raw) || !v.sealed() {
		return
	}
	quantum := beside(v.findPostQuantum)
	defer quantum() // whoever gave the bundle may unmap it afterwards
	if !v.read() {
		return
	}
	v.signed, v.approved = v.readDecisions(), sync.OnceValue(v.hashApproved)
	checks := []func(*verifier){func(w *verifier) { w.recorded(raw, quantum()) }}
	if v.c.Admission != nil && v.c.Admission.Refusal == nil {
		checks = append(checks, (*verifier).decided, (*verifier).documentSignature, (*verifier).answered, (*verifier).decisionTimes)
	}
	v.sideBySide(checks...)
}

// recorded makes the checks of what the history says of the signing, and of what lies around the bundle.
func (v *verifier) recorded(raw []byte, quantum postQuantumFinding) {
	r := v.report
	v.check("outcome", v.outcome, func() string { return string(v.statement.Predicate.Outcome) + ": " + v.statement.Predicate.Meaning })
	v.document()
	v.check("files", v.files, func() string { return "decisions, issuers and policy are those of the history" })
	v.postQuantum(quantum)
	if v.c.Admission == nil || v.c.Admission.Refusal != nil {
		for _, check := range []string{"context", checkIssuers, "decisions", checkDecisionTime, checkTokens, checkOwnKeys, checkGrants, "policy", "quorum", "document signature", "log"} {
			r.notRecorded(check, "the signing was not admitted, so there is none")
		}
	} else {
		v.check("context", v.context, func() string { return "one transaction from request to evidence: " + v.c.Admission.Digest })
		v.issuers()
		v.logged()
	}
	v.revoked()
	v.renewed(raw)
	r.ending(v.digest, v.roots.LogProof, v.roots.Log)
	v.locked()
}

// decided checks the decisions and their proofs, and then the quorum, which stands on them.
func (v *verifier) decided() {
	v.check("decisions", v.decisions, func() string {
		said := fmt.Sprintf("%d decide signals: each by the person whom it names, proven for exactly this decision, or refused with a reason", len(v.c.Decisions))
		if !slices.ContainsFunc(v.proven, func(p provenDecision) bool { return p.counted != nil }) {
			said += "; none counted, so nobody but the tenant vouches for who requested what, and under which plan and policy"
		}
		return said
	})
	v.proofs.report(v.report)
	v.enough()
}

func (v *verifier) answered() {
	v.check("policy", v.policy, func() string {
		return "every answer comes out the same under set " + v.c.Admission.Context.Policy + "; which roles people hold, and who is a machine, is the tenant's word"
	})
}

// read reads history and statement, and says whether both are what they have to be.
func (v *verifier) read() bool {
	history, statement := v.readRecord()
	if !v.report.note("history", history, "complete, from the start to its closing event") {
		return false
	}
	if !v.report.note("statement", statement, "every line of it follows from the history") {
		return false
	}
	v.report.Statement, v.report.History = &v.statement.Predicate, v.history
	return true
}

// readRecord reads the history, and derives the statement while its twin is compared: what was derived is worth nothing where that fails.
func (v *verifier) readRecord() (fault, statement error) {
	pb, err := v.file(historyFile)
	if err != nil {
		return err, nil
	}
	if v.history, err = ParseHistory(pb); err != nil {
		return err, nil
	}
	twin := beside(v.compareTwin)
	if v.c, err = ReadHistory(v.history); err == nil {
		statement = v.readStatement()
	}
	if fault := twin(); fault != nil {
		return fault, nil
	}
	return err, statement
}

func (v *verifier) compareTwin() error {
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
	return nil
}

// readyHistory has the protobuf library make what it needs to read a history, which it does when it reads the first one.
func readyHistory() error {
	return proto.Unmarshal(oneEvent, &historypb.History{})
}

// oneEvent is a history of one event without any field.
var oneEvent = []byte{1<<3 | 2, 0}

// readStatement derives the statement again for the ending that it states: where both are the same bytes, it says nothing else.
func (v *verifier) readStatement() error {
	raw, err := v.file(statementFile)
	if err != nil {
		return err
	}
	var stated struct {
		Predicate struct {
			Outcome countersign.Outcome `json:"outcome"`
			Detail  string              `json:"detail"`
		} `json:"predicate"`
	}
	if err := json.Unmarshal(raw, &stated); err != nil {
		return fmt.Errorf("couldn't read the statement: %w", err)
	}
	if v.statement, err = Derive(v.c, SealInput{Outcome: stated.Predicate.Outcome, Detail: stated.Predicate.Detail}); err != nil {
		return err
	}
	f, err := indented(statementFile, v.statement)
	if err != nil {
		return err
	}
	if v.derived = f.Bytes; !bytes.Equal(v.derived, raw) {
		return errors.New("the statement says something that the history doesn't")
	}
	return nil
}

// readDecision is a decision as it was sent, read once for all checks.
type readDecision struct {
	countersign.SignedDecision
	digest string
	err    error
}

func (v *verifier) readDecisions() []readDecision {
	out := make([]readDecision, len(v.c.Decisions))
	for i, d := range v.c.Decisions {
		r := &out[i]
		if r.SignedDecision, r.err = countersign.ParseSignedDecision(d.Input.Signed); r.err == nil {
			r.digest, r.err = r.Decision.Digest()
		}
	}
	return out
}
