package workflows

import (
	"encoding/json"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// listen takes decisions and withdrawals as they come, one after another, until the saga is over. A decision for a stage that is not open
// yet is kept: it is checked now, while its proof is fresh, and counts when its stage opens.
func (s *signing) listen(ctx workflow.Context) {
	decide := workflow.GetSignalChannel(ctx, countersign.SignalDecide)
	withdraw := workflow.GetSignalChannel(ctx, countersign.SignalWithdraw)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for !s.over && ctx.Err() == nil {
			workflow.NewSelector(ctx).
				AddReceive(decide, func(c workflow.ReceiveChannel, _ bool) { s.hear(ctx, c, &s.heard.decide, s.decision) }).
				AddReceive(withdraw, func(c workflow.ReceiveChannel, _ bool) { s.hear(ctx, c, &s.heard.withdraw, s.withdrawal) }).
				AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {}).
				Select(ctx)
		}
	})
}

// hear reads one signal and has it checked.
func (s *signing) hear(ctx workflow.Context, c workflow.ReceiveChannel, count *int, check func(workflow.Context, json.RawMessage, int)) {
	var raw converter.RawValue
	if !c.ReceiveAsync(&raw) {
		return
	}
	*count++
	s.records.add("signal", raw.Payload().GetData())
	if s.over || *count > evidence.MaxSignals {
		s.ignored++
		return
	}
	body := json.RawMessage(raw.Payload().GetData())
	if evidence.Unreadable(body) {
		body = json.RawMessage(evidence.NoDecision)
	}
	s.checking = true
	check(ctx, body, *count)
	s.checking = false
}

// decision has one decide signal checked, and counts it or records its refusal.
func (s *signing) decision(ctx workflow.Context, body json.RawMessage, ordinal int) {
	signed, err := countersign.ParseSignedDecision(body)
	if err == nil && s.seen[evidence.Voice(signed)] {
		return // a duplicate of a decision that counted counts once
	}
	var check evidence.Check
	if err := s.do(ctx, prompt, evidence.ActivityCheckDecision, s.checkInput(ctx, body, ordinal), &check); err != nil {
		check.Record = countersign.DecisionRecord{ID: signed.ID, Stage: signed.Decision.Stage, Actor: signed.Decision.Actor, Verdict: signed.Decision.Verdict,
			Refusal: countersign.Refuse("not-checked", "the decision could not be checked in time; send it again")}
	}
	s.decisions = append(s.decisions, check.Record)
	if !check.Record.Counted() {
		return
	}
	s.seen[evidence.Voice(signed)] = true
	s.decided = append(s.decided, check.People()...)
	if check.Record.Verdict == countersign.Reject {
		s.rejected[check.Record.Stage] = &signed.Decision
		return
	}
	counted := check.Counted(signed)
	s.counted = append(s.counted, counted)
	s.approvals = append(s.approvals, counted.Approval())
	if check.Record.Verdict == countersign.Skip {
		s.broke = append(s.broke, evidence.Broke{Actor: check.Record.Actor, Reason: signed.Decision.Reason, At: check.At, Digest: check.Record.Digest})
	}
}

// withdrawal has one withdraw signal checked.
func (s *signing) withdrawal(ctx workflow.Context, body json.RawMessage, ordinal int) {
	var w evidence.Withdrawn
	input := evidence.WithdrawInput{
		Ordinal: ordinal, Withdrawal: body, Saga: s.self, Tenant: s.in.Request.Tenant,
		Requester: s.admission.Context.Requester, PolicyText: s.admission.PolicyText, TooLate: s.tooLate,
	}
	if err := s.do(ctx, prompt, evidence.ActivityCheckWithdrawal, input, &w); err != nil {
		s.withdrawals = append(s.withdrawals, uncheckedWithdrawal(body))
		return
	}
	s.withdrawals = append(s.withdrawals, countersign.WithdrawalRecord{ID: w.ID, Reason: w.Reason, Sender: w.Sender, At: w.At.UTC().Format(time.RFC3339Nano), Refusal: w.Refusal})
	if w.Refusal == nil {
		s.withdrawn = &w
	}
}

// uncheckedWithdrawal is the record of a withdrawal whose check did not end: its sender has to hear of it, and may send it again.
func uncheckedWithdrawal(body json.RawMessage) countersign.WithdrawalRecord {
	record := countersign.WithdrawalRecord{Refusal: countersign.Refuse("not-checked", "the withdrawal could not be checked in time; send it again")}
	var given countersign.Withdrawal
	if json.Unmarshal(body, &given) == nil && given.Check() == nil {
		record.ID, record.Reason = given.ID, given.Reason
	}
	return record
}

// drain hears what came too late to matter, so that the history ends with every signal taken.
func (s *signing) drain() {
	for _, name := range []string{countersign.SignalDecide, countersign.SignalWithdraw} {
		c := workflow.GetSignalChannel(s.ctx, name)
		for {
			var raw converter.RawValue
			if !c.ReceiveAsync(&raw) {
				break
			}
			s.records.add("signal", raw.Payload().GetData())
			s.ignored++
		}
	}
}

func (s *signing) checkInput(ctx workflow.Context, body json.RawMessage, ordinal int) evidence.CheckInput {
	a := s.admission
	in := evidence.CheckInput{
		Ordinal: ordinal, Signed: body, Saga: s.self, Tenant: s.in.Request.Tenant, Context: a.Digest, Document: a.Context.Document,
		Policy: a.Context.Policy, PolicyText: a.PolicyText, Requester: a.Context.Requester, Decided: append([]countersign.Actor{}, s.decided...),
	}
	if workflow.GetVersion(ctx, "check-with-frozen-issuers", workflow.DefaultVersion, 1) > workflow.DefaultVersion {
		in.Issuers = a.Issuers
	}
	if workflow.GetVersion(ctx, "check-with-purpose", workflow.DefaultVersion, 1) > workflow.DefaultVersion {
		in.Purpose = a.Plan.Purpose
	}
	in.BreakGlass = a.Plan.BreakGlass
	for _, stage := range a.Plan.Stages {
		if !s.closed[stage.Name] {
			in.Stages = append(in.Stages, stage)
		}
	}
	return in
}

func (s *signing) signInput() evidence.SignInput {
	return evidence.SignInput{Request: s.in.Request.ID, Context: s.admission.Context, Digest: s.admission.Digest, Plan: s.admission.Plan, Decisions: s.counted}
}
