package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/rs/zerolog"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/identity"
	"github.com/countersign-dev/countersign/tests/stack"
	"github.com/countersign-dev/countersign/workers/pool"
	"github.com/countersign-dev/countersign/workflows"
)

// The orchestration is in somebody else's hands: the saga asks for a signature with whatever decisions it likes. The signing step, with the real
// key behind it, refuses each set that isn't the quorum, and says why, before the key is asked. Then it takes the honest one.
func TestN08_TheSigningStepRefusesWhatACompromisedOrchestrationAsks(t *testing.T) {
	o := compromise(t, "\npurposes:\n", "\npurposes:\n    pair: {title: Pair, kind: consent, stages: [{name: legal, role: legal, quorum: 2, within: 1h}]}\n",
		"roles: [finance, requester]", "roles: [finance, requester, legal]",
		"name: Chris Lowe\n      email: chris@hart.example\n      roles: [", "name: Chris Lowe\n      email: chris@hart.example\n      roles: [legal, ")
	r := request(t, "globex", "pair")
	g := o.begin(t, "globex/paul", r)
	r.ID += "-other"
	other := o.begin(t, "globex/paul", r)

	gina := o.sent(t, g, "globex/gina", countersign.Approve)
	chris := o.sent(t, g, "hart/chris", countersign.Approve)
	rejection := o.sent(t, g, "hart/chris", countersign.Reject)
	requester := o.sent(t, g, "globex/paul", countersign.Approve)
	elsewhere := o.sent(t, other, "hart/chris", countersign.Approve)
	changed := rejection
	changed.Signed.Decision.Verdict = countersign.Approve
	moved := elsewhere
	moved.Signed.Decision.Signing, moved.Signed.Decision.Run, moved.Signed.Decision.Context = gina.Signed.Decision.Signing, gina.Signed.Decision.Run, gina.Signed.Decision.Context

	honest := o.input(t, g)
	calls := keyCalls(t)
	// Nothing is signed on decisions that nobody had time-stamped, however good they are.
	undated := honest
	undated.Decisions = set(gina, chris)
	if signature := o.sign(t, g, "not dated", undated); signature.Refusal == nil || signature.Refusal.Code != "not-dated" {
		t.Errorf("unchecked decisions are answered with %+v", signature.Refusal)
	}
	for i, d := range set(gina, chris) {
		body, err := json.Marshal(d.Signed)
		if err != nil {
			t.Fatal(err)
		}
		if refusal := o.ask(t, g, asked{Name: fmt.Sprint("check ", i), Check: body, Ordinal: i + 1}).Refusal; refusal != nil {
			t.Fatalf("the decision is refused: %s", refusal)
		}
	}
	for _, row := range []struct {
		name      string
		decisions []evidence.CountedDecision
		change    func(*evidence.SignInput)
		code      string
	}{
		{name: "nobody's", code: "quorum-not-met"},
		{name: "one of two", decisions: set(gina), code: "quorum-not-met"},
		{name: "one person's, twice", decisions: set(gina, gina), code: "quorum-not-met"},
		{name: "a rejection", decisions: set(gina, rejection), code: "not-an-approval"},
		{name: "a rejection made an approval", decisions: set(gina, changed), code: "token-other-decision"},
		{name: "one of another signing", decisions: set(gina, elsewhere), code: "other-signing"},
		{name: "one of another signing, made one of this", decisions: set(gina, moved), code: "token-other-decision"},
		{name: "the requester's own", decisions: set(gina, requester), code: "requester-is-not-approver"},
		{name: "one that was proven and never sent", decisions: set(gina, o.unsent(t, g, "hart/chris")), code: "not-sent"},
		{name: "one by an identity provider's key made up", decisions: set(gina, o.madeUp(t, g, gina, "hart/chris")), code: "not-sent"},
		{name: "one that came too late, at an earlier time", decisions: set(gina, o.backdated(t, g, "hart/chris")), code: "not-sent"},
		{name: "one in the name of another request", decisions: set(gina, chris), change: func(in *evidence.SignInput) { in.Request = other.Request.ID }, code: "other-signing"},
		{name: "a smaller quorum, which its one approver agreed to", change: func(in *evidence.SignInput) {
			in.Plan.Stages[0].Quorum = 1
			anew(t, in)
			in.Decisions = set(o.agreed(t, g, "globex/gina", in.Digest))
		}, code: "context-changed"},
		{name: "a smaller quorum", decisions: set(gina), change: func(in *evidence.SignInput) { in.Plan.Stages[0].Quorum = 1 }, code: "plan-changed"},
		{name: "a smaller quorum, with every digest made anew", decisions: set(gina), change: func(in *evidence.SignInput) {
			in.Plan.Stages[0].Quorum = 1
			anew(t, in)
		}, code: "other-signing"},
		{name: "a plan without a stage, with every digest made anew", change: func(in *evidence.SignInput) {
			in.Plan.Stages = nil
			anew(t, in)
		}, code: "quorum-not-met"},
		{name: "another document", decisions: set(gina, chris), change: func(in *evidence.SignInput) { in.Context.Document.VersionID = "another" }, code: "context-changed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := honest
			in.Plan.Stages = append([]countersign.Stage{}, honest.Plan.Stages...)
			in.Decisions = row.decisions
			if row.change != nil {
				row.change(&in)
			}
			signature := o.sign(t, g, row.name, in)
			if signature.Refusal == nil || signature.Refusal.Code != row.code {
				t.Errorf("the signing step answered %+v, want it to refuse with %q", signature.Refusal, row.code)
			}
			if asked := keyCalls(t) - calls; asked != 0 {
				calls += asked
				t.Errorf("the key was asked %d times", asked)
			}
		})
	}
	if stored := versions(t, "documents", countersign.WithheldKey("globex", g.Request.ID, "")); len(stored) != 0 {
		t.Errorf("%d signatures are stored", len(stored))
	}

	in := honest
	in.Decisions = set(gina, chris)
	if signature := o.sign(t, other, "another's", in); signature.Refusal == nil || signature.Refusal.Code != "other-signing" {
		t.Errorf("another saga that asks for it is answered with %+v", signature.Refusal)
	}
	if signature := o.sign(t, g, "the quorum", in); signature.Refusal != nil || signature.Object.VersionID == "" {
		t.Errorf("two honest approvals are answered with %+v", signature)
	}
	if asked := keyCalls(t) - calls; asked != 1 {
		t.Errorf("for the quorum the key was asked %d times, want once", asked)
	}
}

// What is signed is what was requested, by whoever requested it: intake reads both where the server recorded them, and not where the saga says.
func TestN08_IntakeAdmitsNothingElseThanWasRequested(t *testing.T) {
	o := compromise(t)
	r := request(t, "globex", "supplier-contract")
	g := o.begin(t, "globex/paul", r)
	r.ID += "-machines"
	machines := o.begin(t, "machine:globex/procurement", r)
	self := o.approval(t, g).Saga
	custodian := evidence.Execution{Workflow: g.Run.GetID(), Run: g.Run.GetRunID()}
	for _, row := range []struct {
		name   string
		change func(*evidence.AdmitInput)
		code   string
	}{
		{"requested by somebody else", func(in *evidence.AdmitInput) {
			in.Custodian = evidence.Execution{Workflow: machines.Run.GetID(), Run: machines.Run.GetRunID()}
		}, "bad-request"},
		{"for another purpose", func(in *evidence.AdmitInput) { in.Request.Purpose = "internal-policy" }, "other-request"},
		{"about another document", func(in *evidence.AdmitInput) { in.Request.Document.VersionID = "another" }, "other-request"},
		{"with another title", func(in *evidence.AdmitInput) { in.Request.Title = "Nothing of weight" }, "other-request"},
		{"", func(*evidence.AdmitInput) {}, ""},
	} {
		in := evidence.AdmitInput{Request: g.Request, Saga: self, Custodian: custodian, StartedAt: time.Now().UTC()}
		row.change(&in)
		got := ""
		if refusal := o.ask(t, g, asked{Name: row.name, Admit: &in}).Refusal; refusal != nil {
			got = refusal.Code
		}
		if got != row.code {
			t.Errorf("%q: refused with %q, want %q", row.name, got, row.code)
		}
	}
}

func set(decisions ...evidence.CountedDecision) []evidence.CountedDecision { return decisions }

// anew gives an input digests that fit what it says.
func anew(t *testing.T, in *evidence.SignInput) {
	t.Helper()
	var err error
	if in.Context.Plan, err = in.Plan.Digest(); err != nil {
		t.Fatal(err)
	}
	if in.Digest, err = in.Context.Digest(); err != nil {
		t.Fatal(err)
	}
}

// orchestration is a worker of globex whose saga does what a test says, and whose activities are the real ones, with the real key.
type orchestration struct {
	client   client.Client // as the worker
	registry *identity.Registry
}

// compromise starts the worker in the test's own process.
func compromise(t *testing.T, replace ...string) *orchestration {
	t.Helper()
	dir, err := local.Tenant(t.TempDir(), "globex", replace...)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", local.AWS.CredentialsFile)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	file := filepath.Join(dir, "globex.yaml")
	s, err := activities.LoadSettings(file)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := identity.OpenPlatform("worker", "globex", filepath.Join(local.Platform, "worker-globex.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := activities.Dial(t.Context(), local.Temporal.Address, s, credential, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	tenant, err := activities.Open(t.Context(), file, c, pool.Build())
	if err != nil {
		t.Fatal(err)
	}
	saga := worker.New(c, countersign.TaskQueueSigning, worker.Options{})
	workflows.Register(compromised{saga})
	tenant.Register(saga)
	keys := worker.New(c, countersign.TaskQueueKeys, worker.Options{DisableWorkflowWorker: true})
	tenant.RegisterKeys(keys)
	attacker := worker.New(c, queueOfTheAttacker, worker.Options{DisableWorkflowWorker: true})
	attacker.RegisterActivityWithOptions(func(_ context.Context, p translog.Proof) (translog.Proof, error) { return p, nil }, activity.RegisterOptions{Name: evidence.ActivityAppendLog})
	for _, w := range []worker.Worker{saga, keys, attacker} {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
	}
	return &orchestration{c, identity.NewRegistry(s.Issuers)}
}

// compromised registers the real workflows, but for the saga and the shredding.
type compromised struct{ worker.WorkflowRegistry }

func (r compromised) RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions) {
	switch o.Name {
	case countersign.WorkflowSigning:
		w = sagaOfTheAttacker
	case countersign.WorkflowShredding:
		w = shreddingOfTheAttacker
	}
	r.WorkflowRegistry.RegisterWorkflowWithOptions(w, o)
}

// ask is the signal by which a test has the saga ask for a signature.
const ask = "ask"

type asked struct {
	Name  string
	Input evidence.SignInput
	Admit *evidence.AdmitInput // to be admitted as, instead
	// Check is a decision to be checked instead, which is the how-manieth signal.
	Check   json.RawMessage
	Ordinal int
	Later   time.Duration // by which the check is told that every deadline is later than the plan says
	Review  bool          // to open a review instead
	// Append is what to be put into the log instead, and Appended what the attacker's own activity is to give instead of the log.
	Append   *evidence.LogInput
	Appended *translog.Proof
}

// queueOfTheAttacker is where an activity of the log's name gives whatever it is told.
const queueOfTheAttacker = "attacker"

// sagaOfTheAttacker admits, locks the intent, and then asks for signatures as it is told. It checks a decision, and appends to the log, only when it is told to.
func sagaOfTheAttacker(ctx workflow.Context, in evidence.SagaInput) (evidence.SagaResult, error) {
	info := workflow.GetInfo(ctx).WorkflowExecution
	self := evidence.Execution{Workflow: info.ID, Run: info.RunID}
	var admission evidence.Admission
	answers := map[string]evidence.Signature{}
	state := "intake"
	err := workflow.SetQueryHandler(ctx, countersign.QueryStatus, func() (workflows.Status, error) {
		return workflows.Status{
			State: state, Saga: self, Context: admission.Digest, Transaction: admission.Context, Plan: admission.Plan,
			Document: admission.Context.Document, Policy: admission.Context.Policy,
		}, nil
	})
	if err == nil {
		err = workflow.SetQueryHandler(ctx, ask, func(name string) (*evidence.Signature, error) {
			if a, ok := answers[name]; ok {
				return &a, nil
			}
			return nil, nil
		})
	}
	if err != nil {
		return evidence.SagaResult{}, err
	}
	on := func(queue string) workflow.Context {
		return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{TaskQueue: queue, StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 3}})
	}
	admit := evidence.AdmitInput{Request: in.Request, Saga: self, Custodian: in.Custodian, StartedAt: workflow.Now(ctx).UTC()}
	if err := workflow.ExecuteActivity(on(countersign.TaskQueueSigning), evidence.ActivityAdmit, admit).Get(ctx, &admission); err != nil {
		return evidence.SagaResult{}, err
	}
	var intent evidence.Intent
	intend := evidence.SignInput{Request: in.Request.ID, Context: admission.Context, Digest: admission.Digest, Plan: admission.Plan}
	if err := workflow.ExecuteActivity(on(countersign.TaskQueueSigning), evidence.ActivityIntend, intend).Get(ctx, &intent); err != nil {
		return evidence.SagaResult{}, err
	}
	state = "approval"
	for {
		var a asked
		workflow.GetSignalChannel(ctx, ask).Receive(ctx, &a)
		var signature evidence.Signature
		if a.Admit != nil {
			var again evidence.Admission
			err := workflow.ExecuteActivity(on(countersign.TaskQueueSigning), evidence.ActivityAdmit, a.Admit).Get(ctx, &again)
			if signature.Refusal = again.Refusal; err != nil {
				signature.Refusal = countersign.Refuse("broken", "%s", err)
			}
			answers[a.Name] = signature
			continue
		}
		if a.Append != nil || a.Appended != nil {
			queue, input := countersign.TaskQueueSigning, any(a.Append)
			if a.Appended != nil {
				queue, input = queueOfTheAttacker, a.Appended
			}
			if err := workflow.ExecuteActivity(on(queue), evidence.ActivityAppendLog, input).Get(ctx, nil); err != nil {
				signature.Refusal = countersign.Refuse("broken", "%s", err)
			}
			answers[a.Name] = signature
			continue
		}
		if a.Review {
			if err := openReview(ctx, in.Request, self, admission); err != nil {
				signature.Refusal = countersign.Refuse("broken", "%s", err)
			}
			answers[a.Name] = signature
			continue
		}
		if a.Ordinal > 0 {
			var check evidence.Check
			stages := slices.Clone(admission.Plan.Stages)
			for i := range stages {
				stages[i].Deadline = stages[i].Deadline.Add(a.Later)
			}
			err := workflow.ExecuteActivity(on(countersign.TaskQueueSigning), evidence.ActivityCheckDecision, evidence.CheckInput{
				Ordinal: a.Ordinal, Signed: a.Check, Saga: self, Tenant: in.Request.Tenant, Context: admission.Digest, Document: admission.Context.Document,
				Policy: admission.Context.Policy, PolicyText: admission.PolicyText, Requester: admission.Context.Requester, Stages: stages,
				Decided: []countersign.Actor{}, Issuers: admission.Issuers, Purpose: admission.Plan.Purpose, BreakGlass: admission.Plan.BreakGlass,
			}).Get(ctx, &check)
			if signature.Refusal = check.Record.Refusal; err != nil {
				signature.Refusal = countersign.Refuse("broken", "%s", err)
			}
			answers[a.Name] = signature
			continue
		}
		if err := workflow.ExecuteActivity(on(countersign.TaskQueueKeys), evidence.ActivitySign, a.Input).Get(ctx, &signature); err != nil {
			signature.Refusal = countersign.Refuse("broken", "%s", err)
		}
		answers[a.Name] = signature
	}
}

// begin starts a signing, and puts its intent into the log. It is ended with the test: nobody seals it.
func (o *orchestration) begin(t *testing.T, who string, r countersign.Request) *stack.Signing {
	t.Helper()
	g := o.unlogged(t, who, r)
	o.append(t, g, "intent", o.intent(t, g))
	return g
}

// unlogged begins a signing whose intent is not in the log.
func (o *orchestration) unlogged(t *testing.T, who string, r countersign.Request) *stack.Signing {
	t.Helper()
	g, err := local.Begin(t.Context(), who, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context()) // which is over by now
		c, err := local.Dial(ctx, "globex", "platform:operator/globex")
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		// The custodian first, or it would seal what the saga leaves.
		for _, id := range []string{g.Run.GetID(), countersign.SagaID("globex", r.ID)} {
			if err := c.TerminateWorkflow(ctx, id, "", "drill"); err != nil {
				t.Error(err)
			}
		}
	})
	o.approval(t, g)
	return g
}

func (o *orchestration) approval(t *testing.T, g *stack.Signing) workflows.Status {
	t.Helper()
	status, err := g.Until(t.Context(), func(s workflows.Status) bool { return s.State == "approval" })
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// input is what an honest saga would ask with, without decisions.
func (o *orchestration) input(t *testing.T, g *stack.Signing) evidence.SignInput {
	t.Helper()
	s := o.approval(t, g)
	return evidence.SignInput{Request: g.Request.ID, Context: s.Transaction, Digest: s.Context, Plan: s.Plan}
}

// sent is a decision that somebody proved and sent, as an honest saga would count it.
func (o *orchestration) sent(t *testing.T, g *stack.Signing, who string, verdict countersign.Verdict) evidence.CountedDecision {
	t.Helper()
	signed, err := g.Put(t.Context(), who, g.Decision(o.approval(t, g), who, "legal", verdict))
	if err != nil {
		t.Fatal(err)
	}
	return o.counted(t, signed, o.taken(t, g))
}

// unsent is a decision that somebody proved, and thought better of.
func (o *orchestration) unsent(t *testing.T, g *stack.Signing, who string) evidence.CountedDecision {
	t.Helper()
	signed, err := local.ProveWith(t.Context(), who, g.Decision(o.approval(t, g), who, "legal", countersign.Approve), nil)
	if err != nil {
		t.Fatal(err)
	}
	return o.counted(t, signed, time.Now())
}

// agreed is a decision that somebody made and sent about another context than the one that was admitted: an accomplice's.
func (o *orchestration) agreed(t *testing.T, g *stack.Signing, who, about string) evidence.CountedDecision {
	t.Helper()
	d := g.Decision(o.approval(t, g), who, "legal", countersign.Approve)
	d.Context = about
	signed, err := g.Put(t.Context(), who, d)
	if err != nil {
		t.Fatal(err)
	}
	return o.counted(t, signed, o.taken(t, g))
}

// backdated is a decision that came after its time, and is told to have come before.
func (o *orchestration) backdated(t *testing.T, g *stack.Signing, who string) evidence.CountedDecision {
	t.Helper()
	d := g.Decision(o.approval(t, g), who, "legal", countersign.Approve)
	d.IssuedAt, d.ExpiresAt = d.IssuedAt-60, d.IssuedAt
	signed, err := g.Put(t.Context(), who, d)
	if err != nil {
		t.Fatal(err)
	}
	return o.counted(t, signed, time.Unix(d.ExpiresAt-1, 0))
}

// madeUp is a decision of somebody who never made it: the orchestration signs the login itself, from one that it saw, and calls its own key the
// identity provider's.
func (o *orchestration) madeUp(t *testing.T, g *stack.Signing, seen evidence.CountedDecision, who string) evidence.CountedDecision {
	t.Helper()
	d := g.Decision(o.approval(t, g), who, "legal", countersign.Approve)
	digest, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	key := ecKey(t)
	token := signedAgain(t, seen.Signed.Proof.IDToken, key, func(claims map[string]any) {
		claims["iss"], claims["sub"], claims["nonce"] = d.Actor.Issuer, d.Actor.Subject, digest
	})
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: parsed.Signatures[0].Header.KeyID, Algorithm: string(jose.ES256), Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	signed := countersign.SignedDecision{ID: "made-up", Decision: d, Proof: countersign.Proof{IDToken: token}}
	return evidence.CountedDecision{Signed: signed, Key: jwk, At: time.Now()}
}

// counted is a decision with its issuer's real key.
func (o *orchestration) counted(t *testing.T, signed countersign.SignedDecision, at time.Time) evidence.CountedDecision {
	t.Helper()
	facts, err := o.registry.VerifyProof(t.Context(), signed.Decision, signed.Proof, at)
	if err != nil {
		t.Fatal(err)
	}
	return evidence.CountedDecision{Signed: signed, Key: facts.Key, At: at}
}

// taken is when the server took the last decision of a signing.
func (o *orchestration) taken(t *testing.T, g *stack.Signing) (at time.Time) {
	t.Helper()
	o.history(t, g, func(e *historypb.HistoryEvent) {
		if e.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() == countersign.SignalDecide {
			at = e.GetEventTime().AsTime()
		}
	})
	if at.IsZero() {
		t.Fatal("the server took no decision")
	}
	return at
}

// sign has the saga ask for a signature, and waits for the answer.
func (o *orchestration) sign(t *testing.T, g *stack.Signing, name string, in evidence.SignInput) evidence.Signature {
	t.Helper()
	return o.ask(t, g, asked{Name: name, Input: in})
}

func (o *orchestration) ask(t *testing.T, g *stack.Signing, what asked) evidence.Signature {
	t.Helper()
	saga := countersign.SagaID("globex", g.Request.ID)
	if err := o.client.SignalWorkflow(t.Context(), saga, "", ask, what); err != nil {
		t.Fatal(err)
	}
	var answer *evidence.Signature
	_, err := g.Until(t.Context(), func(workflows.Status) bool {
		value, err := o.client.QueryWorkflow(t.Context(), saga, "", ask, what.Name)
		return err == nil && value.Get(&answer) == nil && answer != nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return *answer
}
