package evidence

import (
	"fmt"
	"time"

	"github.com/countersign-dev/countersign"
)

// ReindexRequest asks for a tenant's index to be compared with its log, and for the records that are missing to be made anew, from the locked bundles.
type ReindexRequest struct {
	Tenant string    `json:"tenant"`
	From   time.Time `json:"from,omitzero"`  // endings that were logged from this instant on
	Until  time.Time `json:"until,omitzero"` // and before this one
	// Bundles reads each bundle as well, and compares the whole record with it, not only with the log.
	Bundles bool `json:"bundles,omitempty"`
	DryRun  bool `json:"dryRun,omitempty"` // compare, and make nothing
}

// Check says whether the window is one.
func (r ReindexRequest) Check() error {
	if !r.From.IsZero() && !r.Until.IsZero() && !r.From.Before(r.Until) {
		return fmt.Errorf("from must be before until")
	}
	return nil
}

// Has says whether an instant is in the window.
func (r ReindexRequest) Has(at time.Time) bool {
	return !at.Before(r.From) && (r.Until.IsZero() || at.Before(r.Until))
}

// AdmitReindexInput asks whether somebody may have an index compared and made.
type AdmitReindexInput struct {
	Reindex ReindexRequest `json:"reindex"`
	Keeper  Execution      `json:"keeper"`
}

// ReindexAdmission says who asked, as the server stamped it.
type ReindexAdmission struct {
	Refusal *countersign.Refusal `json:"refusal,omitempty"`
	By      countersign.Actor    `json:"by"`
	At      time.Time            `json:"at"`
}

// ReindexPosition is how far a reindexing is: at a place in the log and, once that was read, behind a key of the index.
type ReindexPosition struct {
	Next  int64  `json:"next"`
	Index bool   `json:"index,omitempty"`
	After string `json:"after,omitempty"`
}

// ReindexPageInput asks for one page. At is when the reindexing began: what was logged later is for the next one.
type ReindexPageInput struct {
	Reindex  ReindexRequest  `json:"reindex"`
	Position ReindexPosition `json:"position"`
	At       time.Time       `json:"at"`
}

// ReindexPage is what a page found.
type ReindexPage struct {
	Looked   int              `json:"looked"` // endings in the log, or records
	Findings []IndexFinding   `json:"findings,omitempty"`
	Next     *ReindexPosition `json:"next,omitempty"` // nil at the end
}

// What can be found about a record of the index.
const (
	IndexMissing  = "missing"  // an ending in the log has no record
	IndexMade     = "made"     // it had none, and has one now
	IndexDiffers  = "differs"  // the record says something else than the log, or than the bundle
	IndexHidden   = "hidden"   // somebody put a delete marker over the record, which lists pass by
	IndexChanged  = "changed"  // somebody wrote over the record; its first version counts
	IndexUnlocked = "unlocked" // the store's lock on the record is gone, or ends before the record says
	IndexExtra    = "extra"    // no ending in the log has this record
)

// IndexFinding is one thing that is, or was, not as it has to be.
type IndexFinding struct {
	What    string `json:"what" enum:"missing,made,differs,hidden,changed,unlocked,extra"`
	Request string `json:"request,omitempty"`
	Key     string `json:"key"`
	Detail  string `json:"detail,omitempty"`
}

// The states of a reindexing.
const (
	ReindexRunning = "running"
	ReindexDone    = "done"
	ReindexFailed  = "failed" // a page could not be looked at for a day
)

// ReindexStatus is how far a reindexing is. Findings has the first thousand; the counts have all.
type ReindexStatus struct {
	ReindexRequest
	State    string               `json:"state"`
	Problem  string               `json:"problem,omitempty"`
	Refusal  *countersign.Refusal `json:"refusal,omitempty"`
	By       countersign.Actor    `json:"by"`
	At       time.Time            `json:"at"`
	Endings  int                  `json:"endings"` // looked at, in the log
	Records  int                  `json:"records"` // looked at, in the index
	Made     int                  `json:"made"`
	Wrong    int                  `json:"wrong"` // findings that are still so
	Findings []IndexFinding       `json:"findings"`
}

// The activities of a reindexing.
const (
	ActivityAdmitReindex = "AdmitReindex"
	ActivityReindexPage  = "ReindexPage"
)
