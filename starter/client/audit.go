package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// EvidenceFilter says which signings that ended are wanted; what is empty keeps nothing out.
type EvidenceFilter struct {
	From, Until                                 time.Time
	Person, Partner, Document, Outcome, Purpose string
	Requester, Text                             string
}

// EndedSigning is one signing that ended, with where its evidence is locked.
type EndedSigning struct {
	Request   string               `json:"request"`
	Title     string               `json:"title"`
	Purpose   string               `json:"purpose"`
	Requester *countersign.Actor   `json:"requester,omitempty" doc:"As the Temporal server stamped the start. Absent where Temporal has forgotten the signing and the index names nobody, because the tenant has a key for personal data."`
	Document  countersign.Document `json:"document"`
	Outcome   countersign.Outcome  `json:"outcome"`
	Detail    string               `json:"detail,omitempty"`
	Started   time.Time            `json:"started"`
	Ended     time.Time            `json:"ended" doc:"The instant of the ending's entry in the tenant's log; of builds that kept none, when its custodian closed."`
	Evidence  evidence.Locked      `json:"evidence"`
	Log       *int64               `json:"log,omitempty" doc:"Where the ending stands in the tenant's log."`
	// Kept is how the store keeps the bundle now: its legal hold, and its retention, which may have been extended since it was locked.
	Kept *evidence.KeptObject `json:"kept,omitempty"`
	// Renewals is how often the bundle was time-stamped anew.
	Renewals int             `json:"renewals,omitempty" doc:"How often the bundle was time-stamped anew: number of its newest evidence record."`
	Proof    json.RawMessage `json:"proof,omitempty" doc:"Proof that its end is in the tenant's log."`
}

// EvidenceList is a page of signings that ended, the last to end first.
type EvidenceList struct {
	Evidence   []EndedSigning `json:"evidence" doc:"May be empty where a next page is not."`
	Unanswered []string       `json:"unanswered,omitempty" doc:"Requests, or keys of index records, of this page that could not be looked at; some of them may fit."`
	From       *time.Time     `json:"from,omitempty" doc:"Where the window begins that is listed."`
	Cursor     string         `json:"cursor,omitempty" doc:"Where the next page begins; absent on the last."`
}

// Reads is a page of the records of reads, the first first.
type Reads struct {
	Reads      []evidence.Reading `json:"reads" doc:"May be empty where a next page is not."`
	Unreadable []string           `json:"unreadable" doc:"Keys of records that are no records, or could not be read."`
	Markers    int                `json:"markers" doc:"Delete markers over records of this page: somebody tried to hide them. The records are listed all the same."`
	Cursor     string             `json:"cursor,omitempty" doc:"Where the next page begins; absent on the last."`
}

// EvidencePage lists a page of the signings that ended, after a cursor or from the first.
func (c *Client) EvidencePage(ctx context.Context, f EvidenceFilter, cursor string) (EvidenceList, error) {
	var l EvidenceList
	query := paged(f.From, f.Until, cursor, map[string]string{"person": f.Person, "partner": f.Partner, "document": f.Document, "outcome": f.Outcome, "purpose": f.Purpose, "requester": f.Requester, "text": f.Text})
	return l, c.do(ctx, http.MethodGet, "/evidence"+query, nil, nil, &l)
}

// ReadsPage lists a page of the records of reads, of one request or of all.
func (c *Client) ReadsPage(ctx context.Context, request string, from, until time.Time, cursor string) (Reads, error) {
	var r Reads
	return r, c.do(ctx, http.MethodGet, "/reads"+paged(from, until, cursor, map[string]string{"request": request}), nil, nil, &r)
}

func paged(from, until time.Time, cursor string, more map[string]string) string {
	query := url.Values{}
	for name, at := range map[string]time.Time{"from": from, "until": until} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	more["cursor"] = cursor
	for name, value := range more {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}
