package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/wneessen/go-mail"
	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

type webhook struct {
	name   string // in the evidence: a URL's path is often a secret
	url    string
	secret *standardwebhooks.Webhook
}

func (t *Tenant) webhooks() ([]webhook, error) {
	var hooks []webhook
	for i, w := range t.settings.Webhooks {
		raw, err := os.ReadFile(t.path(w.SecretFile))
		if err != nil {
			return nil, t.settings.Fault(fmt.Errorf("couldn't read the secret: %w", err), "webhooks", i, "secretFile")
		}
		secret, err := standardwebhooks.NewWebhook(strings.TrimSpace(string(raw)))
		if err != nil {
			return nil, t.settings.Fault(fmt.Errorf("%s is not a Standard Webhooks secret (whsec_ and base64)", w.SecretFile), "webhooks", i, "secretFile")
		}
		at, err := url.Parse(w.URL)
		if err != nil {
			return nil, t.settings.Fault(fmt.Errorf("%q is not a URL", w.URL), "webhooks", i, "url")
		}
		hooks = append(hooks, webhook{fmt.Sprintf("webhook %d at %s", i+1, at.Host), w.URL, secret})
	}
	return hooks, nil
}

// Notify tells people by mail and systems by webhook. Delivered ones are remembered across attempts, so that nobody is told
// twice because somebody else could not be reached.
func (t *Tenant) Notify(ctx context.Context, in evidence.NotifyInput) ([]evidence.Delivery, error) {
	r := &round{ctx: ctx, event: in.Event.Type, attempt: int(activity.GetInfo(ctx).Attempt), done: map[string]evidence.Delivery{}}
	if activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &r.done) != nil {
		r.done = map[string]evidence.Delivery{}
	}
	defer beat(ctx, r.record)()
	for _, actor := range in.To {
		if m, ok := t.settings.Member(actor); ok && m.Email != "" {
			r.tell(actor.String(), func() error { return t.mail(ctx, m.Name, m.Email, in) })
		}
	}
	if in.Owner {
		r.tell("owner", func() error { return t.mail(ctx, t.settings.Owner.Name, t.settings.Owner.Email, in) })
	}
	if slices.Contains(escalating, in.Event.Type) {
		r.tell("escalation", func() error { return t.mail(ctx, t.settings.Escalation.Name, t.settings.Escalation.Email, in) })
	}
	for _, hook := range t.hooks {
		r.tell(hook.name, func() error { return t.post(ctx, hook, in) })
	}
	// Whoever covers is looked for while the others are told already.
	covering, err := t.coverers(ctx, in)
	if err != nil {
		r.missed = fmt.Errorf("couldn't find who covers: %w", err)
	}
	for _, c := range covering {
		r.tell(c.member.Actor.String(), func() error { return t.mail(ctx, c.member.Name, c.member.Email, c.inPlaceOf(in)) })
	}
	return r.end()
}

// escalating are the events of which the tenant's escalation contact is told.
var escalating = []string{evidence.EventApprovalEscalated, evidence.EventGlassBroken, evidence.EventReviewOverdue}

// maxTelling is how many recipients are told at once.
const maxTelling = 8

// round is one attempt to tell all recipients.
type round struct {
	ctx     context.Context
	event   string
	attempt int
	order   []string
	missed  error // why some recipients are not known
	wait    sync.WaitGroup
	places  [maxTelling]sync.Mutex

	mu   sync.Mutex
	done map[string]evidence.Delivery // by recipient; what an earlier attempt left, and what this one did
}

// tell tells one recipient, beside the others, unless an earlier attempt has, or has found that it never will.
func (r *round) tell(recipient string, send func() error) {
	if slices.Contains(r.order, recipient) {
		return // somebody may take part in several stages
	}
	place := &r.places[len(r.order)%maxTelling]
	r.order = append(r.order, recipient)
	r.mu.Lock()
	d, tried := r.done[recipient]
	r.mu.Unlock()
	if tried && (d.Delivered || permanent(d.Problem)) {
		return
	}
	r.wait.Go(func() {
		place.Lock()
		defer place.Unlock()
		err := send()
		d := evidence.Delivery{Recipient: recipient, Event: r.event, Attempts: r.attempt, At: time.Now().UTC(), Delivered: err == nil}
		if err != nil {
			d.Problem = err.Error()
		}
		r.mu.Lock()
		r.done[recipient] = d
		r.mu.Unlock()
		r.record()
	})
}

// record beats with a copy of what was done so far.
func (r *round) record() {
	r.mu.Lock()
	done := maps.Clone(r.done)
	r.mu.Unlock()
	activity.RecordHeartbeat(r.ctx, done)
}

// end waits for all, and says what became of each. Before the last attempt, what may still work is an error.
func (r *round) end() ([]evidence.Delivery, error) {
	r.wait.Wait()
	var out []evidence.Delivery
	var open []error
	if r.missed != nil {
		open = append(open, r.missed)
	}
	for _, recipient := range r.order {
		d := r.done[recipient]
		out = append(out, d)
		if !d.Delivered && !permanent(d.Problem) {
			open = append(open, fmt.Errorf("%s: %s", recipient, d.Problem))
		}
	}
	if len(open) > 0 && r.attempt < evidence.NotifyAttempts {
		return nil, fmt.Errorf("couldn't tell everybody: %w", errors.Join(open...))
	}
	return out, nil
}

const permanentMark = "for good: "

func permanent(problem string) bool { return strings.HasPrefix(problem, permanentMark) }

func (t *Tenant) mail(ctx context.Context, name, address string, in evidence.NotifyInput) error {
	m := mail.NewMsg()
	if err := m.FromFormat(t.settings.Brand.Name, t.settings.Mail.From); err != nil {
		return errors.New(permanentMark + "the tenant's sender address can't be used")
	}
	if err := m.AddToFormat(name, address); err != nil {
		return errors.New(permanentMark + "the recipient's address can't be used")
	}
	m.Subject(subject(in.Event))
	m.SetGenHeader("X-Countersign-Context", in.Event.Context)
	m.SetMessageIDWithValue(in.ID + "." + countersign.SHA256([]byte(address))[:16] + "@countersign")
	m.SetBodyString(mail.TypeTextPlain, text(t.settings, in.Event))
	host, portText, _ := net.SplitHostPort(t.settings.Mail.SMTP)
	port, _ := strconv.Atoi(portText)
	policy := mail.TLSMandatory
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		policy = mail.TLSOpportunistic
	}
	c, err := mail.NewClient(host, mail.WithPort(port), mail.WithTLSPolicy(policy), mail.WithTimeout(10*time.Second))
	if err != nil {
		return errors.New(permanentMark + "the tenant's mail settings can't be used")
	}
	if err := c.DialAndSendWithContext(ctx, m); err != nil {
		var send *mail.SendError
		if errors.As(err, &send) && !send.IsTemp() && send.Reason != mail.ErrConnCheck {
			return fmt.Errorf("%sthe mail server refused it (SMTP %d)", permanentMark, send.ErrorCode())
		}
		// What a server says can name its recipients, and this ends up in the history.
		if send != nil && send.ErrorCode() != 0 {
			return fmt.Errorf("the mail server didn't take it (SMTP %d)", send.ErrorCode())
		}
		return errors.New("the mail server didn't take it, or didn't answer")
	}
	return nil
}

func (t *Tenant) post(ctx context.Context, hook webhook, in evidence.NotifyInput) error {
	body, err := json.Marshal(struct {
		Type string         `json:"type"`
		At   time.Time      `json:"timestamp"`
		Data evidence.Event `json:"data"`
	}{in.Event.Type, activity.GetInfo(ctx).ScheduledTime.UTC(), in.Event})
	if err != nil {
		return err
	}
	now := time.Now()
	signature, err := hook.secret.Sign(in.ID, now, body)
	if err != nil {
		return errors.New(permanentMark + "the webhook's secret can't sign")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.url, bytes.NewReader(body))
	if err != nil {
		return errors.New(permanentMark + "the webhook's URL can't be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(standardwebhooks.HeaderWebhookID, in.ID)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	resp, err := t.http.Do(req)
	if err != nil {
		return errors.New("the webhook didn't answer")
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusGone:
		return errors.New(permanentMark + "the webhook is gone (410)")
	}
	return fmt.Errorf("the webhook answered %d", resp.StatusCode)
}

func subject(e evidence.Event) string {
	switch e.Type {
	case evidence.EventApprovalRequested:
		return "Your decision is asked: " + e.Title
	case evidence.EventApprovalReminder:
		return "Your decision is still asked: " + e.Title
	case evidence.EventApprovalEscalated:
		return "A decision is overdue: " + e.Title
	case evidence.EventGlassBroken:
		return "Not waited for: " + e.Title
	case evidence.EventReviewOpened:
		return "To be reviewed: " + e.Title
	case evidence.EventReviewOverdue:
		return "A review is overdue: " + e.Title
	case evidence.EventReviewClosed:
		return "Reviewed: " + e.Title
	case evidence.EventOrderProposed, evidence.EventOrderApproved, evidence.EventOrderRefused, evidence.EventOrderStuck, evidence.EventOrderEnded:
		return orderSubject(e)
	case evidence.EventReleased:
		return "Signed: " + e.Title
	case evidence.EventVoided:
		return "Void, not signed: " + e.Title
	case evidence.EventStuck:
		return "Nothing is released yet: " + e.Title
	case evidence.EventSigned:
		return "Signed, evidence pending: " + e.Title
	case evidence.EventGrantOffered:
		return "Authority is offered: " + e.Title
	case evidence.EventGrantAccepted:
		return "Authority was accepted: " + e.Title
	case evidence.EventGrantEnded:
		return "Authority has ended: " + e.Title
	case evidence.EventKeyEnrolled:
		return "A key of yours was enrolled: " + e.Title
	case evidence.EventKeyRetired:
		return "A key of yours was retired: " + e.Title
	case evidence.EventUnfinished:
		return "ALARM: a signing was begun and never ended: " + e.Title
	case evidence.EventEvidenceAlarm:
		return "ALARM: evidence: " + e.Title
	case evidence.EventEvidenceChecked:
		return "Evidence holds: " + e.Title
	}
	return "Ended (" + string(e.Outcome) + "): " + e.Title
}

func text(s *countersign.Settings, e evidence.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", e.Title)
	switch e.Type {
	case evidence.EventApprovalEscalated:
		fmt.Fprintf(&b, "Stage %q of this document still waits, so more people may decide now: those to whom it escalates. The quorum stays as it was.\n", e.Stage)
		fmt.Fprintf(&b, "Decide before %s.\n", e.Deadline.UTC().Format("2 January 2006, 15:04 UTC"))
	case evidence.EventGlassBroken:
		fmt.Fprintf(&b, "In an emergency this document is signed without waiting for everybody. You may have been among those who were not waited for; what was done is reviewed.\n")
	case evidence.EventReviewOpened:
		fmt.Fprintf(&b, "This document was signed without waiting for everybody. Whoever owns the review finds out whether that was justified, before %s: countersign review close %s\n",
			e.Deadline.UTC().Format("2 January 2006, 15:04 UTC"), e.Request)
	case evidence.EventReviewOverdue:
		fmt.Fprintf(&b, "Nobody has reviewed yet why this document was signed without waiting for everybody: countersign review close %s\n", e.Request)
	case evidence.EventReviewClosed:
		fmt.Fprintf(&b, "It was reviewed why this document was signed without waiting for everybody.\n")
	case evidence.EventOrderProposed, evidence.EventOrderApproved, evidence.EventOrderRefused, evidence.EventOrderStuck, evidence.EventOrderEnded:
		orderText(&b, e)
	case evidence.EventApprovalReminder:
		fmt.Fprintf(&b, "This document still waits for your decision, in stage %q.\n", e.Stage)
		fmt.Fprintf(&b, "Decide before %s.\n", e.Deadline.UTC().Format("2 January 2006, 15:04 UTC"))
	case evidence.EventApprovalRequested:
		fmt.Fprintf(&b, "You are asked to approve or reject this document, in stage %q.\n", e.Stage)
		if e.Deadline != nil {
			fmt.Fprintf(&b, "Decide before %s.\n", e.Deadline.UTC().Format("2 January 2006, 15:04 UTC"))
		}
	case evidence.EventSigned:
		fmt.Fprintf(&b, "Everybody who had to has approved, and the key has signed. The signature is released as soon as its evidence is locked.\n")
	case evidence.EventGrantOffered:
		fmt.Fprintf(&b, "One person offers another a part of their authority. It can be used once its grantee has accepted it: countersign grant accept %s\n", e.Context)
		fmt.Fprintf(&b, "It ends at %s.\n", e.Deadline.UTC().Format("2 January 2006, 15:04 UTC"))
	case evidence.EventGrantAccepted:
		fmt.Fprintf(&b, "The grant is accepted and can be used until %s.\n", e.Deadline.UTC().Format("2 January 2006, 15:04 UTC"))
	case evidence.EventGrantEnded:
		fmt.Fprintf(&b, "The grant counts no longer. What was decided under it and not yet signed will not be signed.\n")
	case evidence.EventKeyEnrolled:
		fmt.Fprintf(&b, "It signs your decisions from now on. If this was not you, retire it at once: countersign key retire %s\n", e.Context)
	case evidence.EventKeyRetired:
		fmt.Fprintf(&b, "It signs nothing any more.\n")
	case evidence.EventStuck:
		fmt.Fprintf(&b, "This signing can't be brought to its end, and nothing is released. It is tried again until it works; whoever runs the service has to mend what is named here.\n")
	case evidence.EventUnfinished:
		fmt.Fprintf(&b, "The key was about to be asked for this signature, and nothing in the log says how that ended. It may have signed what no evidence tells of.\n")
	case evidence.EventEvidenceAlarm:
		fmt.Fprintf(&b, "Something that should be locked and unchanged is not, or could not be looked at. Find out which before anybody relies on it.\n")
	case evidence.EventEvidenceChecked:
		fmt.Fprintf(&b, "Samples of the locked evidence were verified completely, and what nobody may delete could not be deleted.\n")
	default:
		fmt.Fprintf(&b, "%s\n", e.Outcome.Meaning())
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, "\n%s\n", e.Detail)
	}
	if e.Evidence != nil {
		fmt.Fprintf(&b, "\nEvidence: %s\nSHA-256: %s\n", e.Evidence.Key, e.Evidence.SHA256)
	}
	if e.Request != "" {
		fmt.Fprintf(&b, "\nRequest: %s", e.Request)
	}
	if e.Context != "" {
		fmt.Fprintf(&b, "\n%s: %s\n", contextName(e.Type), e.Context)
	}
	fmt.Fprintf(&b, "\n%s\n", s.Brand.Name)
	return b.String()
}

// contextName says what the digest is of that a message carries.
func contextName(kind string) string {
	switch kind {
	case evidence.EventGrantOffered, evidence.EventGrantAccepted, evidence.EventGrantEnded:
		return "Grant"
	case evidence.EventKeyEnrolled, evidence.EventKeyRetired:
		return "Key"
	case evidence.EventOrderProposed, evidence.EventOrderApproved, evidence.EventOrderRefused, evidence.EventOrderStuck, evidence.EventOrderEnded:
		return "Order"
	}
	return "Transaction"
}
