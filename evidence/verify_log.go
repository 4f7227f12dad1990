package evidence

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// logged checks that the intent to sign was in the tenant's log before the key was asked. The entry for the ending can't be in the bundle: it names
// the bundle's own digest.
func (v *verifier) logged() {
	switch {
	case v.c.SignInput != nil && v.c.Logged == nil && v.c.Admission.Context.Stamped:
		v.report.note("log", errors.New("the key was asked, and the history has no proof that the intent is in the log"), "")
	case v.c.SignInput != nil && v.c.Logged != nil && max(v.c.Intended, v.c.LoggedAs) > v.c.SignAsked:
		v.report.note("log", errors.New("the key was asked before the intent was locked and in the log"), "")
	case v.c.Logged == nil && v.c.SignInput != nil:
		v.report.notRecorded("log", "the key was asked by a build that kept no log")
	case v.c.Logged == nil:
		v.report.notRecorded("log", "the key was not asked, so no intent is in the log")
	case v.roots.Log == nil:
		v.report.notRecorded("log", "the log's public key was not given, so the proof in the history was not checked")
	default:
		v.check("log", v.inLog, func() string {
			return fmt.Sprintf("the intent is entry %d of the log of %s, before the key was asked", v.c.Logged.Index, v.roots.Log.Name())
		})
	}
}

func (v *verifier) inLog() error {
	return VerifyIntended(*v.c.Logged, IntentEntry(v.c.Input.Request, v.c.Saga, v.c.Admission.Digest), v.roots.Log)
}

// VerifyIntended checks that a log whose key is given has an intent, as IntentEntry makes it. The signing step asks it before it asks the key, and a verifier of
// the evidence again.
func VerifyIntended(p translog.Proof, want translog.Entry, log note.Verifier) error {
	entry, _, err := p.Check(log)
	if err != nil {
		return err
	}
	if !entry.Same(want) {
		return errors.New("the entry in the log is about something else than this signing's intent")
	}
	return nil
}

// IntentEntry is what the log says of a signing whose key is about to be asked, but for the time.
func IntentEntry(r countersign.Request, saga Execution, context string) translog.Entry {
	return translog.Entry{V: countersign.Version, Tenant: r.Tenant, Kind: translog.Intended, Request: r.ID, Run: saga.Run, Context: context}
}

// EndingEntry is what the log says of a signing that has ended, but for the time.
func EndingEntry(r countersign.Request, saga Execution, context string, locked Locked) translog.Entry {
	e := IntentEntry(r, saga, context)
	e.Kind, e.Outcome, e.Bundle, e.Concealed = translog.Sealed, locked.Outcome, &locked.Object, locked.Concealed
	if locked.Outcome == countersign.Voided {
		e.Kind = translog.Voided
	}
	return e
}

// HoldEntry is what the log says of a legal hold on evidence that begins (translog.Held) or ends (translog.Unheld), but for the time. The id names the
// hold, of which a request may have several, one after another or at once: 1 to 64 small letters, digits and hyphens. By is the workflow that does it.
func HoldEntry(kind, tenant, request, id string, by Execution, bundle countersign.Object, proposed, approved countersign.Actor) translog.Entry {
	return translog.Entry{
		V: countersign.Version, Tenant: tenant, Kind: kind, Request: request, Run: by.Run, Bundle: &bundle, Hold: id, Proposed: &proposed, Approved: &approved,
	}
}
