package evidence

import (
	"fmt"
	"sort"
	"time"

	"github.com/countersign-dev/countersign"
)

// Names of what a statement is (in-toto attestation framework, Statement v1).
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://countersign.dev/signing/v1"
)

// Statement says what happened, in one page of JSON. Every line of it is derived from the history in the same bundle, and
// derived again by whoever verifies: it can't say more, or anything else, than the history does.
type Statement struct {
	Type          string    `json:"_type"`
	Subject       []Subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Predicate `json:"predicate"`
}

// Subject is what the statement is about: the document, by name and digest.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
	// Annotations say of the approved document how many bytes of the signed PDF it is: the first ones.
	Annotations *SubjectAnnotations `json:"annotations,omitempty"`
}

// SubjectAnnotations are what the statement adds to a subject.
type SubjectAnnotations struct {
	Bytes int64 `json:"bytes"`
}

// Predicate is what the statement says about the document.
type Predicate struct {
	Outcome       countersign.Outcome  `json:"outcome"`
	Meaning       string               `json:"meaning"`
	Detail        string               `json:"detail,omitempty"`
	Tenant        string               `json:"tenant"`
	Request       countersign.Request  `json:"request"`
	Requester     *countersign.Member  `json:"requester,omitempty"`
	Saga          Execution            `json:"saga"`
	Custodian     Execution            `json:"custodian"`
	Context       *countersign.Context `json:"context,omitempty"`
	ContextDigest string               `json:"contextDigest,omitempty"`
	Plan          *countersign.Plan    `json:"plan,omitempty"`
	Issuers       []countersign.Issuer `json:"issuers,omitempty"`
	Decisions     []DecisionStatement  `json:"decisions"`
	BreakGlass    *GlassStatement      `json:"breakGlass,omitempty"`
	Withdrawals   []Withdrawn          `json:"withdrawals,omitempty"`
	Intake        *IntakeStatement     `json:"intake,omitempty"`
	Signature     *Signature           `json:"signature,omitempty"`
	Intent        *Intent              `json:"intent,omitempty"`
	Deliveries    []Delivery           `json:"deliveries"`
	Controls      []Control            `json:"controls"`
	Started       time.Time            `json:"started"`
	Closed        time.Time            `json:"closed"`
	Closing       string               `json:"closing"`
	ClosedBy      string               `json:"closedBy,omitempty"`
}

// DecisionStatement is one decision as a reader wants it: who, what, under which authority, and what became of it.
type DecisionStatement struct {
	File         string            `json:"file,omitempty"` // of the bundle, with the decision itself and its proof
	Event        int64             `json:"event"`
	At           time.Time         `json:"at"`
	Sender       string            `json:"sender"`
	Actor        countersign.Actor `json:"actor"`
	Name         string            `json:"name,omitempty"`
	Organisation string            `json:"organisation,omitempty"`
	Partner      bool              `json:"partner,omitempty"`
	// OnBehalfOf is whose role it is, and Grants are the digests of those that lead from there to the actor.
	OnBehalfOf *Named               `json:"onBehalfOf,omitempty"`
	Grants     []string             `json:"grants,omitempty"`
	Key        string               `json:"key,omitempty"` // id of the enrolled key that signed it
	Stage      string               `json:"stage"`
	Verdict    countersign.Verdict  `json:"verdict"`
	Reason     string               `json:"reason,omitempty"`
	Digest     string               `json:"digest"`
	Assurance  int                  `json:"assurance,omitempty"`
	Policies   []string             `json:"policies,omitempty"` // ids of the determining policies
	Counted    bool                 `json:"counted"`
	Refusal    *countersign.Refusal `json:"refusal,omitempty"`
}

// GlassStatement says that a signing did not wait: who decided so, why, who was skipped, and who owns the review.
type GlassStatement struct {
	By      []GlassBy              `json:"by"`
	Skipped []countersign.Eligible `json:"skipped"`
	Owner   countersign.Eligible   `json:"owner"`
	Review  string                 `json:"review"` // workflow id of the review
}

// GlassBy is one person who did not wait.
type GlassBy struct {
	Named
	Reason string `json:"reason"`
}

// IntakeStatement is what was decided at intake.
type IntakeStatement struct {
	Refusal  *countersign.Refusal `json:"refusal,omitempty"`
	Policies []string             `json:"policies,omitempty"`
	Document DocumentFacts        `json:"document"`
	At       time.Time            `json:"at"`
}

// Control is one control that was active, with where its working can be seen.
type Control struct {
	ID      string `json:"id"`
	Control string `json:"control"` // NIST CSF 2.0 or OWASP NHI id
	State   string `json:"state"`
}

// Derive writes the statement of a case. The outcome and its detail come from the custodian, because only it knows whether the evidence
// could be locked; Verify checks that the history allows them.
func Derive(c *Case, in SealInput) (Statement, error) {
	p := Predicate{
		Outcome: in.Outcome, Meaning: in.Outcome.Meaning(), Detail: in.Detail, Tenant: c.Input.Request.Tenant, Request: c.Input.Request,
		Saga: c.Saga, Custodian: c.Input.Custodian, Withdrawals: c.Withdrawals, Deliveries: c.Deliveries, Decisions: []DecisionStatement{},
		Started: c.Started, Closed: c.Closed, Closing: c.Closing, ClosedBy: c.ClosedBy, Intent: c.Intent,
	}
	if p.Deliveries == nil {
		p.Deliveries = []Delivery{}
	}
	if a := c.Admission; a != nil {
		p.Requester, p.Issuers = &a.Requester, a.Issuers
		p.Intake = &IntakeStatement{Refusal: a.Refusal, Document: a.Document, At: a.At}
		if a.Answer != nil {
			p.Intake.Policies = a.Answer.Policies
		}
		if a.Refusal == nil {
			p.Context, p.ContextDigest, p.Plan = &a.Context, a.Digest, &a.Plan
		}
	}
	if c.Signature != nil && c.Signature.Refusal == nil {
		p.Signature = c.Signature
	}
	for i, d := range c.Decisions {
		p.Decisions = append(p.Decisions, decisionStatement(i, d, p.Plan))
	}
	p.BreakGlass = glassStatement(c, p.Decisions)
	p.Controls = controls(c)
	return Statement{
		Type: StatementType, PredicateType: PredicateType, Predicate: p,
		Subject: subjects(c, in.Outcome),
	}, nil
}

// subjects are the document and, where it is released, the signed PDF that begins with it.
func subjects(c *Case, outcome countersign.Outcome) []Subject {
	approved := Subject{Name: documentFile, Digest: map[string]string{"sha256": c.Input.Request.Document.SHA256}}
	if outcome != countersign.Completed || !c.signedInside() || c.Signature == nil || c.Signature.Refusal != nil {
		return []Subject{approved}
	}
	approved.Annotations = &SubjectAnnotations{Bytes: c.Admission.Document.Bytes}
	return []Subject{approved, {Name: signedFile, Digest: map[string]string{"sha256": c.Signature.Object.SHA256}}}
}

// glassStatement is nil where everybody was waited for.
func glassStatement(c *Case, decisions []DecisionStatement) *GlassStatement {
	if c.Admission == nil || c.Admission.Refusal != nil {
		return nil
	}
	plan := c.Admission.Plan
	approvals := c.Approvals()
	if !plan.Broken(approvals) || plan.Owner == nil {
		return nil
	}
	g := &GlassStatement{Owner: *plan.Owner, Skipped: plan.Skipped(approvals), Review: countersign.ReviewID(c.Input.Request.Tenant, c.Input.Request.ID)}
	if g.Skipped == nil {
		g.Skipped = []countersign.Eligible{}
	}
	for _, d := range decisions {
		if d.Counted && d.Verdict == countersign.Skip {
			who := Named{Actor: d.Actor}
			if e, ok := plan.BreakGlass.Find(d.Actor); ok {
				who = Named{Actor: d.Actor, Name: e.Name, Organisation: e.Organisation}
			}
			g.By = append(g.By, GlassBy{who, d.Reason})
		}
	}
	return g
}

// Approvals are the decisions that counted, but for rejections, reduced to what quorum arithmetic needs.
func (c *Case) Approvals() (list []countersign.Approval) {
	for _, d := range c.Decisions {
		// What counted without a proof is for the verifier to refuse: it reads this before it looks at any proof.
		if d.Check == nil || d.Check.Facts == nil || !d.Check.Record.Counted() || d.Check.Record.Verdict == countersign.Reject {
			continue
		}
		if signed, err := countersign.ParseSignedDecision(d.Input.Signed); err == nil {
			list = append(list, d.Check.Counted(signed).Approval())
		}
	}
	return list
}

func decisionStatement(i int, d DecisionCase, plan *countersign.Plan) DecisionStatement {
	s := DecisionStatement{Event: d.Event, At: d.At, Sender: d.Sender}
	if d.Input.Ordinal == 0 {
		s.Refusal = countersign.Refuse("not-looked-at", "it repeated a decision that counted, came after the end, or beyond what one saga looks at")
		return s
	}
	s.File = decisionFile(i)
	if d.Check == nil {
		s.Refusal = countersign.Refuse("not-checked", "the saga ended before this decision was checked")
		return s
	}
	r := d.Check.Record
	s.Actor, s.Stage, s.Verdict, s.Digest, s.Counted, s.Refusal = r.Actor, r.Stage, r.Verdict, r.Digest, r.Counted(), r.Refusal
	if signed, err := countersign.ParseSignedDecision(d.Input.Signed); err == nil {
		s.Reason = signed.Decision.Reason
	}
	if d.Check.Facts != nil {
		s.Assurance = d.Check.Facts.Assurance
	}
	if d.Check.Answer != nil {
		s.Policies = d.Check.Answer.Policies
	}
	if d.Check.Authority != nil && len(d.Check.Authority.Grants) > 0 {
		holder, actor := d.Check.Authority.named(d.Check.Authority.Delegators()[0]), d.Check.Authority.named(r.Actor)
		s.OnBehalfOf, s.Name, s.Organisation = &holder, actor.Name, actor.Organisation
		for _, g := range d.Check.Authority.Grants {
			digest, _ := g.Grant.Grant.Digest() // it was computed when the grant was given
			s.Grants = append(s.Grants, digest)
		}
	}
	if d.Check.Facts != nil && d.Check.Facts.EnrolledKey != nil {
		s.Key = d.Check.Facts.EnrolledKey.Key
	}
	if plan == nil {
		return s
	}
	if stage, ok := plan.Stage(r.Stage); ok {
		if e, ok := stage.Find(r.Actor); ok {
			s.Name, s.Organisation, s.Partner = e.Name, e.Organisation, e.Partner
		}
	}
	return s
}

// controls lists what was active in this signing, each with what in the bundle shows it.
func controls(c *Case) []Control {
	list := []Control{
		{"sender-stamped-by-server", "PR.AA-04", fmt.Sprintf("%d decide signals carry the sender's own principal", len(c.Decisions))},
	}
	if a := c.Admission; a != nil {
		list = append(list,
			Control{"policy-set-frozen", "PR.AA-05", "Cedar set " + a.Context.Policy},
			Control{"plan-frozen", "PR.AA-05", "plan " + a.Context.Plan},
			Control{"settings-frozen", "GOVERN 1.4", "settings " + a.Context.Settings},
			Control{"document-by-version-and-digest", "PR.DS-01", c.Input.Request.Document.VersionID + " " + c.Input.Request.Document.SHA256},
			Control{"own-identity-provider", "PR.AA-03", fmt.Sprintf("%d registered issuers", len(a.Issuers))},
		)
	}
	proven, keyed, lent := 0, 0, 0
	for _, d := range c.Decisions {
		if d.Check != nil && d.Check.Facts != nil {
			proven++
		}
		if d.Check != nil && d.Check.Key != nil {
			keyed++
		}
		if d.Check != nil && d.Check.Authority != nil {
			lent++
		}
	}
	if keyed > 0 {
		list = append(list, Control{"decision-signed-by-own-key", "PR.AA-03", fmt.Sprintf("%d decisions signed by an enrolled key of the person", keyed)})
	}
	if lent > 0 {
		list = append(list, Control{"authority-by-grant", "NHI5", fmt.Sprintf("%d decisions under grants, each proven by who gave and who took it", lent)})
	}
	list = append(list, Control{"decision-bound-to-person", "RS.AN-07", fmt.Sprintf("%d decisions proven by an ID token whose nonce is the decision", proven)})
	if a := c.Admission; a != nil && a.PostQuantum != nil {
		list = append(list, Control{"post-quantum-signature", "PR.DS-01", fmt.Sprintf("by the %s key %s, SHA-256 %s", a.PostQuantum.Algorithm, a.PostQuantum.Key, a.PostQuantum.SHA256)})
	}
	if c.Intent != nil {
		list = append(list, Control{"intent-locked-before-signing", "PR.PS-04", c.Intent.At.UTC().Format(time.RFC3339Nano)})
	}
	if a := c.Admission; a != nil && a.Plan.Broken(c.Approvals()) {
		list = append(list, Control{"break-glass-reviewed", "GOVERN 1.5", "review " + countersign.ReviewID(c.Input.Request.Tenant, c.Input.Request.ID)})
	}
	if c.SignInput != nil {
		list = append(list, Control{"quorum-checked-again-at-signing", "PR.AA-05", fmt.Sprintf("%d decisions given to the signing step", len(c.SignInput.Decisions))})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list
}
