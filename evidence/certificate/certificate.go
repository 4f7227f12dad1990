// Package certificate tells one signing in plain English, for people who won't read a bundle: as a tagged PDF/A-3a, and as JSON with the same facts.
// A certificate is a reading aid and proves nothing: the bundle is the evidence, and is verified before a word of it is told.
package certificate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// Certificate is what a certificate tells: the JSON twin. What the bundle doesn't hold is null, empty, or "not recorded".
type Certificate struct {
	V         int                 `json:"v"`
	Notice    string              `json:"notice"`
	Bundle    Bundle              `json:"bundle"`
	Findings  []evidence.Finding  `json:"findings"` // of the verification that it was made after
	Tenant    string              `json:"tenant"`
	Request   string              `json:"request"`
	Purpose   string              `json:"purpose"`
	Title     string              `json:"title"`
	Outcome   countersign.Outcome `json:"outcome"`
	Meaning   string              `json:"meaning"`
	Detail    string              `json:"detail,omitempty"`
	Document  Document            `json:"document"`
	Requester *Person             `json:"requester"`
	Started   string              `json:"started"`
	Ended     string              `json:"ended"`
	Closing   string              `json:"closing"`
	Decisions []Decision          `json:"decisions"`
	Grants    []Grant             `json:"grants"`
	Plan      *Plan               `json:"plan"`
	Policy    string              `json:"policy"`  // hash of the frozen policy set
	Context   string              `json:"context"` // digest of the transaction
	Controls  []evidence.Control  `json:"controls"`
	Times     []Stamp             `json:"timeStamps"`
	Key       Key                 `json:"key"`
	Log       *Log                `json:"log"`
	Missed    []evidence.Delivery `json:"missed"` // messages that reached nobody
	Check     []string            `json:"howToCheck"`
}

// Bundle is the evidence that the certificate was made from.
type Bundle struct {
	SHA256 string `json:"sha256"`
	Bytes  int    `json:"bytes"`
}

// Document is what was to be signed.
type Document struct {
	countersign.Document
	Bytes int64 `json:"bytes"`
	Pages int   `json:"pages"`
}

// Person is somebody as the tenant named them when the plan was frozen or the grant given.
type Person struct {
	Actor        string `json:"actor"` // issuer and subject, or a process as the Temporal server stamped it
	Name         string `json:"name,omitempty"`
	Organisation string `json:"organisation,omitempty"`
	Partner      bool   `json:"partner,omitempty"`
}

// Decision is one decision that was sent, counted or not.
type Decision struct {
	Event      int64                `json:"event"` // of the history
	At         string               `json:"at"`
	By         Person               `json:"by"`
	Role       string               `json:"role,omitempty"`
	Stage      string               `json:"stage,omitempty"`
	Verdict    countersign.Verdict  `json:"verdict,omitempty"`
	Reason     string               `json:"reason,omitempty"`
	OnBehalfOf *Person              `json:"onBehalfOf"`
	Grants     []string             `json:"grants"` // digests, of those in Certificate.Grants
	Proof      *Proof               `json:"proof"`
	Policies   []string             `json:"policies"`
	Set        string               `json:"set,omitempty"` // hash of the set that answered
	Digest     string               `json:"digest,omitempty"`
	Counted    bool                 `json:"counted"`
	Refusal    *countersign.Refusal `json:"refusal,omitempty"`
}

// Proof is what proves that the person decided exactly this.
type Proof struct {
	Kind      string `json:"kind"`
	Assurance int    `json:"assurance"`
	Issuer    string `json:"issuer"`
	Key       string `json:"key,omitempty"` // id of the person's own enrolled key
	LoggedIn  string `json:"loggedIn"`
}

// Grant is an authority that a decision stood on.
type Grant struct {
	Digest    string   `json:"digest"`
	From      Person   `json:"from"`
	To        Person   `json:"to"`
	Role      string   `json:"role"`
	Actions   []string `json:"actions"`
	For       string   `json:"for"`
	NotBefore string   `json:"notBefore"`
	NotAfter  string   `json:"notAfter"` // at this second it is over
	Uses      int      `json:"uses"`
	Reason    string   `json:"reason"`
}

// Plan is who had to approve.
type Plan struct {
	Digest string  `json:"digest"`
	Stages []Stage `json:"stages"`
	Broken bool    `json:"glassBroken"`      // waiting was skipped
	Review string  `json:"review,omitempty"` // workflow id of the review of that
}

// Stage is one stage of the plan.
type Stage struct {
	Name      string   `json:"name"`
	Role      string   `json:"role"`
	Quorum    int      `json:"quorum"`
	Shares    []string `json:"shares"`
	Without   []string `json:"without"`
	Eligible  int      `json:"eligible"` // how many people, without those whom escalation adds
	Escalated string   `json:"escalationFrom,omitempty"`
	Deadline  string   `json:"deadline"`
	Assurance int      `json:"assurance"`
	Approvals int      `json:"approvals"`
	Met       bool     `json:"met"`
}

// Stamp is a time-stamp of an authority (RFC 3161).
type Stamp struct {
	Of     string `json:"of"`
	At     string `json:"at"`
	TSA    string `json:"authority"`
	Serial string `json:"serial"`
	Policy string `json:"policy"`
}

// Key is the key that sealed, with its certificate.
type Key struct {
	ARN       string `json:"key"`
	Algorithm string `json:"algorithm"`
	Subject   string `json:"subject"`
	Issuer    string `json:"issuer"`
	Serial    string `json:"serial"`
	NotBefore string `json:"notBefore"`
	NotAfter  string `json:"notAfter"`
	SHA256    string `json:"certificateSHA256"`
}

// Log is where the intent to sign stands in the tenant's log. Where the ending stands is not in the bundle: that entry names the bundle's own digest.
type Log struct {
	Origin     string `json:"origin"`
	Index      int64  `json:"index"`
	Size       int64  `json:"size"`
	Checkpoint string `json:"checkpoint"`
	Checked    bool   `json:"checked"` // under the log's public key
}

// notice is on every certificate.
const notice = "This page is a reading aid. It is not signed and proves nothing by itself. The evidence is the bundle with the SHA-256 below: whoever must be sure checks that."

const notRecorded = string(evidence.NotRecorded)

// millis is RFC 3339 in UTC, always with milliseconds.
const millis = "2006-01-02T15:04:05.000Z07:00"

func instant(at time.Time) string {
	if at.IsZero() {
		return notRecorded
	}
	return at.UTC().Format(millis)
}

// Of makes the certificate of a bundle after verifying it, without a network. A bundle that doesn't hold has none. The same bundle under the same roots
// has the same certificate.
func Of(raw []byte, roots evidence.Roots) (*Certificate, error) {
	report := evidence.Verify(raw, roots)
	if err := report.Err(); err != nil {
		return nil, fmt.Errorf("the evidence does not hold, so nothing of it is told: %w", err)
	}
	bundle, err := evidence.OpenBundle(raw)
	if err != nil {
		return nil, err
	}
	c, err := evidence.ReadHistory(report.History)
	if err != nil {
		return nil, err
	}
	w := &writer{report: report, bundle: bundle, c: c, p: report.Statement}
	w.begin(raw)
	for i := range w.p.Decisions {
		w.decision(i)
	}
	w.plan()
	w.log()
	if err := errors.Join(w.key(), w.times(roots)); err != nil {
		return nil, err
	}
	return &w.out, nil
}

// Twin is the certificate as JSON.
func (c *Certificate) Twin() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // it holds commands that people copy
	e.SetIndent("", "  ")
	err := e.Encode(c)
	return out.Bytes(), err
}

type writer struct {
	report *evidence.Report
	bundle *evidence.Bundle
	c      *evidence.Case
	p      *evidence.Predicate
	out    Certificate
}

func (w *writer) begin(raw []byte) {
	p, r := w.p, w.p.Request
	digest := countersign.SHA256(raw)
	w.out = Certificate{
		V: 1, Notice: notice, Bundle: Bundle{digest, len(raw)}, Findings: w.report.Findings,
		Tenant: p.Tenant, Request: r.ID, Purpose: r.Purpose, Title: r.Title, Outcome: p.Outcome, Meaning: p.Meaning, Detail: p.Detail,
		Document: Document{Document: r.Document}, Started: instant(p.Started), Ended: instant(p.Closed), Closing: p.Closing,
		Decisions: []Decision{}, Grants: []Grant{}, Controls: p.Controls, Times: []Stamp{}, Missed: []evidence.Delivery{}, Context: p.ContextDigest,
		Check: []string{
			"sha256sum BUNDLE.asice    # must print " + digest,
			"countersign audit verify BUNDLE.asice --tenant-ca TENANT-CA.pem --tsa-ca TSA-CA.pem",
			"countersign audit replay BUNDLE.asice",
			"unzip BUNDLE.asice -d bundle && openssl cms -verify -binary -cades -inform DER -in bundle/META-INF/signature001.p7s -content bundle/META-INF/ASiCManifest001.xml -CAfile TENANT-CA.pem -purpose any -attime " + strconv.FormatInt(w.report.Seal.StampTime.Unix(), 10) + " -out /dev/null",
		},
	}
	if p.Context != nil {
		w.out.Policy = p.Context.Policy
	}
	if p.Intake != nil {
		w.out.Document.Bytes, w.out.Document.Pages = p.Intake.Document.Bytes, p.Intake.Document.Pages
	}
	if p.Requester != nil && !p.Requester.Actor.IsZero() {
		w.out.Requester = &Person{Actor: p.Requester.Actor.String(), Name: p.Requester.Name, Organisation: p.Requester.Organisation, Partner: p.Requester.Kind == "partner"}
	}
	for _, d := range p.Deliveries {
		if !d.Delivered {
			w.out.Missed = append(w.out.Missed, d)
		}
	}
}

func named(n evidence.Named) Person {
	return Person{Actor: n.Actor.String(), Name: n.Name, Organisation: n.Organisation}
}

func (w *writer) decision(i int) {
	s, told := w.p.Decisions[i], w.c.Decisions[i]
	d := Decision{
		Event: s.Event, At: instant(s.At), Stage: s.Stage, Verdict: s.Verdict, Reason: s.Reason, Grants: s.Grants, Policies: s.Policies, Digest: s.Digest, Counted: s.Counted, Refusal: s.Refusal,
		// Whom a refused decision names is what it claimed: it is told as of its sender.
		By: Person{Actor: s.Sender},
	}
	if !s.Actor.IsZero() && s.Actor.String() == s.Sender {
		d.By = Person{s.Sender, s.Name, s.Organisation, s.Partner}
	}
	if s.OnBehalfOf != nil {
		holder := named(*s.OnBehalfOf)
		d.OnBehalfOf = &holder
	}
	if w.p.Plan != nil {
		if stage, ok := w.p.Plan.Stage(s.Stage); ok {
			holder := s.Actor
			if s.OnBehalfOf != nil {
				holder = s.OnBehalfOf.Actor
			}
			d.Role = stage.RoleOf(holder)
		}
		if b := w.p.Plan.BreakGlass; b != nil && s.Verdict == countersign.Skip {
			d.Role = b.Role
		}
	}
	if told.Check != nil {
		if a := told.Check.Answer; a != nil {
			d.Set = a.Set
		}
		if f := told.Check.Facts; f != nil {
			d.Proof = &Proof{Kind: "ID token of the person's own identity provider, made for this decision alone", Assurance: f.Assurance, Issuer: f.Actor.Issuer, LoggedIn: instant(f.AuthTime)}
			if f.EnrolledKey != nil {
				d.Proof.Kind, d.Proof.Key = d.Proof.Kind+", and a signature of the person's own enrolled key", f.EnrolledKey.Key
			}
		}
		if a := told.Check.Authority; a != nil {
			for i, g := range a.Grants {
				w.grant(s.Grants[i], g, a)
			}
		}
	}
	if d.Grants == nil {
		d.Grants = []string{}
	}
	if d.Policies == nil {
		d.Policies = []string{}
	}
	w.out.Decisions = append(w.out.Decisions, d)
}

func (w *writer) grant(digest string, g evidence.GrantRecord, a *evidence.Authority) {
	for _, known := range w.out.Grants {
		if known.Digest == digest {
			return
		}
	}
	find := func(who countersign.Actor) Person {
		for _, p := range a.People {
			if p.Actor == who {
				return named(p)
			}
		}
		return Person{Actor: who.String()}
	}
	grant := g.Grant.Grant
	scope := "request " + grant.Request
	switch {
	case len(grant.Purposes) > 0:
		scope = "purposes " + strings.Join(grant.Purposes, ", ")
	case len(grant.Documents) > 0:
		scope = "documents " + strings.Join(grant.Documents, ", ")
	}
	w.out.Grants = append(w.out.Grants, Grant{
		Digest: digest, From: find(grant.Delegator), To: find(grant.Grantee), Role: grant.Role, Actions: grant.Actions, For: scope,
		NotBefore: instant(time.Unix(grant.NotBefore, 0)), NotAfter: instant(time.Unix(grant.NotAfter, 0)), Uses: grant.Uses, Reason: grant.Reason,
	})
}

func (w *writer) plan() {
	p := w.p.Plan
	if p == nil {
		return
	}
	plan := &Plan{Digest: w.p.Context.Plan, Stages: []Stage{}}
	if g := w.p.BreakGlass; g != nil {
		plan.Broken, plan.Review = true, g.Review
	}
	approvals := w.c.Approvals()
	for _, s := range p.Stages {
		stage := Stage{
			Name: s.Name, Role: s.Role, Quorum: s.Quorum, Shares: []string{}, Without: append([]string{}, s.Without...), Eligible: len(s.Eligible), Deadline: instant(s.Deadline),
			Assurance: max(1, s.Assurance), Met: s.Met(approvals),
		}
		for _, share := range s.AtLeast {
			stage.Shares = append(stage.Shares, share.String())
		}
		if s.Escalation != nil {
			stage.Escalated = instant(s.Escalation.At)
		}
		for _, d := range w.out.Decisions {
			if d.Counted && d.Stage == s.Name && d.Verdict == countersign.Approve {
				stage.Approvals++
			}
		}
		plan.Stages = append(plan.Stages, stage)
	}
	w.out.Plan = plan
}

func (w *writer) key() error {
	raw, _ := w.bundle.File("kms.json")
	var k struct{ Key, Algorithm string }
	if err := json.Unmarshal(raw, &k); err != nil {
		return fmt.Errorf("couldn't read kms.json: %w", err)
	}
	c := w.report.Seal.Signer
	w.out.Key = Key{
		ARN: k.Key, Algorithm: k.Algorithm, Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: c.SerialNumber.Text(16),
		NotBefore: instant(c.NotBefore), NotAfter: instant(c.NotAfter), SHA256: countersign.SHA256(c.Raw),
	}
	return nil
}

func (w *writer) times(roots evidence.Roots) error {
	add := func(of string, f *evidence.SignatureFacts) {
		w.out.Times = append(w.out.Times, Stamp{of, instant(f.StampTime), f.TSA, f.StampSerial.Text(16), cmp.Or(f.StampPolicy, notRecorded)})
	}
	if signature, ok := w.bundle.File("document.p7s"); ok {
		document, _ := w.bundle.File("document.pdf")
		facts, err := evidence.VerifyDetached(document, signature, roots)
		if err != nil {
			return err
		}
		add("signature of the document", &facts)
	}
	add("seal of the bundle", w.report.Seal)
	return nil
}

func (w *writer) log() {
	proof := w.c.Logged
	if proof == nil {
		return
	}
	l := &Log{Index: proof.Index, Checkpoint: proof.Checkpoint}
	// A checkpoint is text: the log's name, its size, its root (C2SP tlog-checkpoint).
	lines := strings.SplitN(proof.Checkpoint, "\n", 3)
	if len(lines) == 3 {
		l.Origin = lines[0]
		l.Size, _ = strconv.ParseInt(lines[1], 10, 64) // 0 where it is none; Checked says whether to believe it
	}
	for _, f := range w.report.Findings {
		l.Checked = l.Checked || f.Check == "log" && f.State == evidence.Pass
	}
	w.out.Log = l
}
