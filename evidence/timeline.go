package evidence

import (
	"cmp"
	"fmt"

	historypb "go.temporal.io/api/history/v1"

	"github.com/countersign-dev/countersign"
)

// Timeline is one signing, line by line, as its history tells it. Whether the history is genuine is for Verify to find out.
type Timeline struct {
	V        int                 `json:"v"`
	Tenant   string              `json:"tenant"`
	Request  string              `json:"request"`
	Purpose  string              `json:"purpose"`
	Title    string              `json:"title"`
	Saga     Execution           `json:"saga"`
	Document countersign.Object  `json:"document"`
	Context  string              `json:"context,omitempty"`
	Policy   string              `json:"policy,omitempty"`  // hash of the frozen policy set
	Outcome  countersign.Outcome `json:"outcome,omitempty"` // as the bundle's statement has it: a signing can be voided after its saga ended
	Meaning  string              `json:"meaning,omitempty"`
	Lines    []TimelineLine      `json:"lines"`
	// Head is the digest of the last line, as Previous is of each line before: without it a cut end would not show.
	Head string `json:"head"`
	// Exposure is who could have decided, beside who did; nil where the signing was not admitted.
	Exposure *Exposure `json:"exposure,omitempty"`
}

// TimelineLine is one thing that happened. Several lines can be of one event of the history.
type TimelineLine struct {
	ID       string `json:"id"`       // of the line: the event's, and which of its lines this is (41.1)
	Sequence int64  `json:"sequence"` // id of the event in the history
	At       string `json:"at"`       // RFC 3339, UTC, with milliseconds: when the Temporal server recorded it
	Kind     string `json:"kind"`
	// Actor is an issuer and a subject (iss#sub), a process as the Temporal server stamped it, or "not recorded".
	Actor        string `json:"actor"`
	Name         string `json:"name,omitempty"`
	Organisation string `json:"organisation,omitempty"`
	OnBehalfOf   *Named `json:"onBehalfOf,omitempty"`
	// Authentication is how the actor was: a proof made for exactly this, a login that the Temporal server checked and stamped, or "not recorded".
	Authentication string              `json:"authentication"`
	Proof          *TimelineProof      `json:"proof,omitempty"`
	To             []string            `json:"to,omitempty"` // who was to be told
	Stage          string              `json:"stage,omitempty"`
	Verdict        countersign.Verdict `json:"verdict,omitempty"`
	Reason         string              `json:"reason,omitempty"`
	Document       string              `json:"document"`           // its SHA-256
	Policies       []string            `json:"policies,omitempty"` // ids of the determining policies
	Set            string              `json:"set,omitempty"`      // hash of the set that answered
	Code           string              `json:"code,omitempty"`     // of a refusal or a failure
	Attempt        int32               `json:"attempt,omitempty"`  // of a step that was tried again: how often it was tried
	Detail         string              `json:"detail,omitempty"`
	IP             string              `json:"ip"`
	UserAgent      string              `json:"userAgent"`
	// Previous is the SHA-256 of the line before it as canonical JSON (RFC 8785), its own Previous in it; of the first, it is the digest of the saga's name.
	Previous string `json:"previous"`
}

// TimelineProof is how somebody was authenticated for exactly this.
type TimelineProof struct {
	Assurance int    `json:"assurance"`
	Issuer    string `json:"issuer"`
	IssuerKey string `json:"issuerKey"`     // id of the issuer's key, or "not recorded"
	Key       string `json:"key,omitempty"` // id of the person's own enrolled key, where it signed as well
	AuthTime  string `json:"authTime"`
	Stamped   string `json:"stamped,omitempty"` // the time-stamp authority's time of the decision
	Authority string `json:"authority,omitempty"`
}

// The kinds of lines.
const (
	KindRequested          = "requested"
	KindAdmitted           = "admitted"
	KindRefusedAtIntake    = "refused at intake"
	KindAsked              = "asked"
	KindReminded           = "reminded"
	KindEscalated          = "escalated"
	KindTelling            = "telling" // any other message on its way
	KindTold               = "told"
	KindBounced            = "bounced"
	KindDecisionReceived   = "decision received"
	KindDecisionCounted    = "decision counted"
	KindDecisionRefused    = "decision refused"
	KindGlassBroken        = "glass broken"
	KindReviewOpened       = "review opened"
	KindWithdrawalReceived = "withdrawal received"
	KindWithdrawn          = "withdrawn"
	KindWithdrawalRefused  = "withdrawal refused"
	KindIntentLocked       = "intent locked"
	KindSigned             = "signed"
	KindSigningRefused     = "signing refused"
	KindDestroyed          = "signature destroyed"
	KindStepFailed         = "step failed"
	KindStepRetried        = "step tried again" // and not for the first time: what the time before failed with
	KindCancelled          = "cancellation asked"
	KindEnded              = "ended"
)

// How an actor of a line was authenticated.
const (
	ByDecision = "an ID token of their own identity provider, made for this decision alone"
	ByKey      = ByDecision + ", and a signature of their own enrolled key"
	ByServer   = "a login that the Temporal server checked, and stamped on the event"
	ByStart    = "a login that the Temporal server checked, and stamped on the start of the request"
)

// notRecorded stands where the history says nothing: nothing is ever made up.
const notRecorded = string(NotRecorded)

// millis is RFC 3339 in UTC, always with milliseconds.
const millis = "2006-01-02T15:04:05.000Z07:00"

// ReadTimeline reads the timeline of the history in a container, and believes it: whether the container is genuine is for Verify to find out.
func ReadTimeline(raw []byte) (*Timeline, error) {
	h, c, outcome, err := readTold(raw)
	if err != nil {
		return nil, err
	}
	return timeline(h, c, outcome)
}

// readTold reads what a container tells: its history, and the outcome that its statement names.
func readTold(raw []byte) (*historypb.History, *Case, countersign.Outcome, error) {
	b, err := OpenBundle(raw)
	if err != nil {
		return nil, nil, "", err
	}
	pb, ok := b.File(historyFile)
	if !ok {
		return nil, nil, "", fmt.Errorf("it has no %s", historyFile)
	}
	h, err := ParseHistory(pb)
	if err != nil {
		return nil, nil, "", err
	}
	c, err := ReadHistory(h)
	if err != nil {
		return nil, nil, "", err
	}
	body, ok := b.File(statementFile)
	if !ok {
		return nil, nil, "", fmt.Errorf("it has no %s", statementFile)
	}
	var s Statement
	if err := countersign.ParseStrict(body, &s); err != nil {
		return nil, nil, "", fmt.Errorf("couldn't read the statement: %w", err)
	}
	return h, c, s.Predicate.Outcome, nil
}

func timeline(h *historypb.History, c *Case, outcome countersign.Outcome) (*Timeline, error) {
	r := c.Input.Request
	t := &Timeline{V: 2, Tenant: r.Tenant, Request: r.ID, Purpose: r.Purpose, Title: r.Title, Saga: c.Saga, Document: r.Document, Outcome: outcome, Meaning: outcome.Meaning(), Lines: []TimelineLine{}}
	if a := c.Admission; a != nil && a.Refusal == nil {
		t.Context, t.Policy = a.Digest, a.Context.Policy
		e := exposure(c, outcome)
		t.Exposure = &e
	}
	w := &timelineWriter{t: t, c: c, scheduled: map[int64]*historypb.ActivityTaskScheduledEventAttributes{}}
	for _, e := range h.GetEvents() {
		before := len(t.Lines)
		if err := w.event(e); err != nil {
			return nil, fmt.Errorf("couldn't tell event %d (%s): %w", e.GetEventId(), e.GetEventType(), err)
		}
		for i := before; i < len(t.Lines); i++ {
			l := &t.Lines[i]
			l.Sequence, l.At = e.GetEventId(), e.GetEventTime().AsTime().UTC().Format(millis)
			source := c.source(e)
			l.IP, l.UserAgent = cmp.Or(source.IP, notRecorded), cmp.Or(source.UserAgent, notRecorded)
			l.Document = r.Document.SHA256
			l.ID = fmt.Sprintf("%d.%d", e.GetEventId(), i-before+1)
			if l.Actor == "" {
				l.Actor = cmp.Or(e.GetPrincipal().GetName(), notRecorded)
			}
			l.Authentication = authentication(l, e)
			who := c.named(l.Actor)
			l.Name, l.Organisation = who.Name, who.Organisation
		}
	}
	return t, t.chain()
}

// authentication says how the actor of a line was authenticated, as far as the history shows it.
func authentication(l *TimelineLine, e *historypb.HistoryEvent) string {
	// A refused decision can hold the proof of somebody else than its sender.
	proven := l.Proof != nil && l.Kind != KindDecisionRefused
	switch {
	case proven && l.Proof.Key != "":
		return ByKey
	case proven:
		return ByDecision
	case l.Actor == notRecorded:
		return notRecorded
	case l.Kind == KindRequested || l.Kind == KindAdmitted || l.Kind == KindRefusedAtIntake:
		return ByStart
	case l.Actor == e.GetPrincipal().GetName() || l.Kind == KindWithdrawn || l.Kind == KindWithdrawalRefused || l.Kind == KindDecisionRefused:
		return ByServer // a check names the sender of its signal, whose own event has the stamp
	}
	return notRecorded
}

// chain links each line to the one before, so that a cut, a changed or a moved line shows.
func (t *Timeline) chain() (err error) {
	if t.Head, err = countersign.Digest("countersign timeline v2", t.Saga); err != nil {
		return err
	}
	for i := range t.Lines {
		t.Lines[i].Previous = t.Head
		body, err := countersign.Canonical(t.Lines[i])
		if err != nil {
			return fmt.Errorf("couldn't link line %d: %w", i+1, err)
		}
		t.Head = countersign.SHA256(body)
	}
	return nil
}

// named is what the frozen plan, intake or a grant called a person; no more than the actor where none of them did.
func (c *Case) named(actor string) Named {
	who, ok := countersign.ParseActor(actor)
	if !ok {
		return Named{}
	}
	named := Named{Actor: who}
	a := c.Admission
	if a == nil {
		return named
	}
	if a.Requester.Actor == who {
		return Named{who, a.Requester.Name, a.Requester.Organisation}
	}
	for _, e := range inPlan(a.Plan) {
		if e.Actor == who {
			return Named{who, e.Name, e.Organisation}
		}
	}
	for _, d := range c.Decisions {
		if d.Check != nil && d.Check.Authority != nil {
			if n := d.Check.Authority.named(who); n.Name != "" {
				return n
			}
		}
	}
	return named
}
