package evidence

import (
	"encoding/json"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/policy"
)

// DecideWithdrawal says what becomes of a withdraw signal, whose sender and time are the server's: one function for the worker that decides it and for the
// verifier that decides it again. who describes the sender to the policy; it is asked at most once, and only where everything else is in order.
func DecideWithdrawal(in WithdrawInput, sender string, at time.Time, who func(countersign.Actor) policy.Principal) (Withdrawn, error) {
	w := Withdrawn{Sender: sender, At: at}
	refuse := func(code, message string) (Withdrawn, error) {
		w.Refusal = &countersign.Refusal{Code: code, Message: message}
		return w, nil
	}
	var given countersign.Withdrawal
	if err := json.Unmarshal(in.Withdrawal, &given); err != nil {
		return refuse("malformed", "the withdrawal is not JSON with id and reason")
	}
	w.ID = given.ID
	if err := given.Check(); err != nil {
		return refuse("malformed", err.Error())
	}
	w.Reason = given.Reason
	if in.TooLate {
		return refuse("too-late", "the key is being asked already; a signing can't be withdrawn any more")
	}
	actor, ok := countersign.ParseActor(sender)
	if !ok {
		return refuse("other-sender", "the server did not name a person who sent this")
	}
	engine, err := policy.NewEngine(in.PolicyText)
	if err != nil {
		return w, err
	}
	question := policy.Question{
		Action: policy.Withdraw, Principal: who(actor), Now: at,
		Resource: policy.Resource{Signing: in.Saga.Workflow, Tenant: in.Tenant, Requester: &in.Requester},
	}
	answer := engine.Ask(question)
	w.Question, w.Answer = &question, &answer
	if !answer.Allowed {
		return refuse(answer.Code(), answer.Refusal)
	}
	return w, nil
}
