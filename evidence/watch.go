package evidence

import (
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// Names of the activities of what watches over evidence by itself.
const (
	ActivityFindDead       = "FindDead"
	ActivityFindUnfinished = "FindUnfinished"
	ActivityAwaitSaga      = "AwaitSaga"
	ActivityCheckEvidence  = "CheckEvidence"
	ActivityFindEarlier    = "FindEarlier"
)

// Earlier is what an earlier signing left under a request id that is to be used: key of its evidence, or of its intent to sign. It is empty where the id is new.
type Earlier struct {
	Key string `json:"key,omitempty"`
}

// FindDeadInput asks for the custodians that died since an instant; the zero instant is the beginning.
type FindDeadInput struct {
	Since time.Time `json:"since"`
}

// FoundDead are the custodians that died, and until when they were looked for: the next sweep goes on from there.
type FoundDead struct {
	Dead  []DeadCustodian `json:"dead"`
	Until time.Time       `json:"until"`
}

// DeadCustodian is a custodian that ended without locked evidence: terminated, failed, cancelled or timed out. Its saga is in nobody's custody.
type DeadCustodian struct {
	Request   string    `json:"request"`
	Saga      Execution `json:"saga"`
	Custodian Execution `json:"custodian"`
	Closing   string    `json:"closing"` // how it ended: terminated, failed, canceled or timed out
	Closed    time.Time `json:"closed"`
}

// FindUnfinishedInput asks for the intents to sign that nothing followed for too long, from a position in the tenant's log on.
type FindUnfinishedInput struct {
	From translog.Position `json:"from"`
	Told []string          `json:"told,omitempty"` // runs of the sagas of which the owner was told already
}

// FoundUnfinished are the intents without an ending of which nobody was told yet, and those of them whose custodian died, however long ago. While Behind isn't zero,
// the log was not read to its end, and nothing is late yet.
type FoundUnfinished struct {
	Behind   int64             `json:"behind,omitempty"`
	Late     []LateIntent      `json:"late"`
	Known    []string          `json:"known,omitempty"` // of those that were told, the ones that are late still
	Dead     []DeadCustodian   `json:"dead,omitempty"`
	Position translog.Position `json:"position"`
}

// LateIntent is an intent to sign without an ending, with what the server still says of it.
type LateIntent struct {
	Request string    `json:"request"`
	Run     string    `json:"run"`
	Context string    `json:"context"`
	At      time.Time `json:"at"`
	Custody string    `json:"custody"` // of its custodian: running, completed, terminated, ... or unknown to the server
}

// Swept is the result of one sweep, and where the next one goes on.
type Swept struct {
	Until     time.Time         `json:"until"`
	Recovered []string          `json:"recovered,omitempty"` // requests that were given a new custody by this sweep
	Log       translog.Position `json:"log"`
	Alarmed   []string          `json:"alarmed,omitempty"` // runs of the sagas whose intent is late, and of which the owner was told
	Problem   string            `json:"problem,omitempty"` // the log could not be looked at, of which the owner was told
}

// EndedSaga is a saga whose custodian died, as its own history says it ended.
type EndedSaga struct {
	Request countersign.Request `json:"request"`
	Outcome countersign.Outcome `json:"outcome"`
	Detail  string              `json:"detail,omitempty"`
	Context string              `json:"context,omitempty"`
	Told    []countersign.Actor `json:"told,omitempty"`
	Silent  bool                `json:"silent,omitempty"` // it left no result, and told nobody
}

// EndOf is how a saga ended by its history. What a custodian would have been told in the end is not in it: only that nothing was released.
func EndOf(c *Case) EndedSaga {
	e := EndedSaga{Request: c.Input.Request, Told: c.TookPart()}
	if a := c.Admission; a != nil && a.Refusal == nil {
		e.Context = a.Digest
	}
	switch {
	case c.Result != nil:
		e.Outcome, e.Detail = c.Result.Outcome, c.Result.Detail
	case c.Closing == "terminated":
		e.Outcome, e.Detail, e.Silent = countersign.Terminated, DetailTerminated, true
	default:
		e.Outcome, e.Detail, e.Silent = countersign.Failed, DetailBroken, true
	}
	return e
}

// EvidenceCheckInput asks for one check of the locked evidence. What is taken at random follows from the seed, so that anybody can tell afterwards.
type EvidenceCheckInput struct {
	ID    string           `json:"id"` // of the run: a check that is tried again writes one report
	At    time.Time        `json:"at"`
	Seed  string           `json:"seed"`
	Since *CheckedEvidence `json:"since,omitempty"` // the check before, as its workflow kept it: whoever changes the store doesn't change that
}

// CheckedEvidence is what one check leaves for the next one, and for whoever is told.
type CheckedEvidence struct {
	Report     countersign.Object `json:"report"`
	Checkpoint string             `json:"checkpoint,omitempty"`
	Cursor     int64              `json:"cursor"` // entry of the log from which the next check goes on
	Sampled    int                `json:"sampled"`
	Problems   []string           `json:"problems,omitempty"` // the first ones; the report has all
}

// EvidenceReport is the report of one check: a locked JSON object.
type EvidenceReport struct {
	V          int            `json:"v"`
	Tenant     string         `json:"tenant"`
	ID         string         `json:"id"`
	At         time.Time      `json:"at"`
	Seed       string         `json:"seed"`
	Since      string         `json:"since,omitempty"` // checkpoint of the check before, which the log has to continue
	Checkpoint string         `json:"checkpoint,omitempty"`
	Entries    int64          `json:"entries"`
	Cursor     int64          `json:"cursor"`
	Log        Finding        `json:"log"`
	Bundles    []SampleReport `json:"bundles"`
	Canary     []Finding      `json:"canary"`
	Passed     bool           `json:"passed"`
}

// SampleReport is what became of one bundle of the sample.
type SampleReport struct {
	Entry       int64               `json:"entry"` // of the log
	Why         string              `json:"why"`   // newest, random or rotating
	Request     string              `json:"request"`
	Object      countersign.Object  `json:"object"`
	Outcome     countersign.Outcome `json:"outcome"`
	Mode        string              `json:"mode,omitempty"`
	RetainUntil *time.Time          `json:"retainUntil,omitempty"`
	Problems    []string            `json:"problems,omitempty"`
}

// Problems are all that did not hold, a line each.
func (r *EvidenceReport) Problems() (all []string) {
	if r.Log.State == Fail {
		all = append(all, "log: "+r.Log.Detail)
	}
	for _, b := range r.Bundles {
		for _, p := range b.Problems {
			all = append(all, b.Request+": "+p)
		}
	}
	for _, f := range r.Canary {
		if f.State != Pass {
			all = append(all, f.Check+": "+f.Detail)
		}
	}
	return all
}
