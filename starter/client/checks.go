package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// EvidenceCheck is one report of the scheduled check of evidence, in short.
type EvidenceCheck struct {
	Check    string             `json:"check" doc:"Its name."`
	At       time.Time          `json:"at"`
	Passed   bool               `json:"passed"`
	Bundles  int                `json:"bundles" doc:"How many were verified."`
	Entries  int64              `json:"entries" doc:"Of the log."`
	Problems []string           `json:"problems,omitempty" doc:"The first 20."`
	Object   countersign.Object `json:"object" doc:"Where the report is locked."`
}

// CheckSchedule is when evidence is checked, and was.
type CheckSchedule struct {
	Every    string     `json:"every"`
	Newest   *time.Time `json:"newest,omitempty" doc:"When the newest check began that left a report; absent where there is none, or none that the list's from lets in."`
	Late     bool       `json:"late" doc:"No report is as young as the schedule has them: a check did not run, or could not be made."`
	FirstDue *time.Time `json:"firstDue,omitempty" doc:"No check has left a report yet, and none is late: the installation is so young that the first is due by then."`
	Running  *time.Time `json:"running,omitempty" doc:"When the check began that runs now."`
	Next     *time.Time `json:"next,omitempty"`
	Problem  string     `json:"problem,omitempty" doc:"The schedule is missing or paused: workers bring it back when they start."`
}

// EvidenceChecks is a page of the reports, the last first.
type EvidenceChecks struct {
	Checks      []EvidenceCheck `json:"checks"`
	Unreadable  []string        `json:"unreadable" doc:"Keys of what is no report, or could not be read."`
	Overwritten []string        `json:"overwritten" doc:"Keys that have a second version: somebody wrote over a report. The first is what is told."`
	Markers     int             `json:"markers" doc:"Delete markers among the reports: somebody tried to hide one. They are listed all the same."`
	Schedule    CheckSchedule   `json:"schedule"`
	Cursor      string          `json:"cursor,omitempty" doc:"Where the next page begins; absent on the last."`
}

// CheckBody asks for a check of evidence now.
type CheckBody struct {
	DryRun bool `json:"dryRun,omitempty" doc:"Tell what a check would take now, and make none."`
}

// CheckSample is one bundle that a check would take.
type CheckSample struct {
	Entry   int64  `json:"entry"`
	Why     string `json:"why"`
	Request string `json:"request"`
}

// The states of a check that was asked for.
const (
	CheckWould   = "dry-run"
	CheckRunning = "running"
	CheckDone    = "done"
	CheckFailed  = "failed" // it could not be made, which the owner was told
)

// CheckRun is a check that was asked for, or what one would take.
type CheckRun struct {
	Run     string        `json:"run,omitempty" doc:"Its name; absent of a dry run."`
	State   string        `json:"state"`
	Started *time.Time    `json:"started,omitempty"`
	Attempt int32         `json:"attempt,omitempty"`
	Problem string        `json:"problem,omitempty"`
	Check   string        `json:"check,omitempty" doc:"Name of its report, once it is done."`
	Sample  []CheckSample `json:"sample,omitempty" doc:"Of a dry run."`
	Random  int           `json:"random,omitempty" doc:"Of a dry run: so many more are taken at random, by a seed that is drawn when the check begins."`
	Entries int64         `json:"entries,omitempty" doc:"Of a dry run: how long the log is."`
}

// ChecksPage lists a page of the reports of evidence checks.
func (c *Client) ChecksPage(ctx context.Context, from, until time.Time, cursor string) (EvidenceChecks, error) {
	var l EvidenceChecks
	return l, c.do(ctx, http.MethodGet, "/checks"+paged(from, until, cursor, map[string]string{}), nil, nil, &l)
}

// MaxCheckReport bounds a report of a check, in bytes.
const MaxCheckReport = 4 << 20

// Check reads one report, as it is locked.
func (c *Client) Check(ctx context.Context, name string) ([]byte, error) {
	return c.download(ctx, "/checks/"+url.PathEscape(name), MaxCheckReport)
}

// RunCheck has the tenant's evidence checked now.
func (c *Client) RunCheck(ctx context.Context, b CheckBody) (CheckRun, error) {
	var r CheckRun
	return r, c.post(ctx, "/checks", b, &r)
}

// CheckRun is how far a check is that was asked for.
func (c *Client) CheckRun(ctx context.Context, run string) (CheckRun, error) {
	var r CheckRun
	return r, c.do(ctx, http.MethodGet, "/checks/runs/"+url.PathEscape(run), nil, nil, &r)
}

// renewalNumber is the header that says the how-manieth evidence record it is.
const renewalNumber = "Renewal-Number"

// EvidenceRenewal is the newest evidence record over a signing's bundle, with its number from 1. It is nil where the bundle was never time-stamped anew.
func (c *Client) EvidenceRenewal(ctx context.Context, request string) (record []byte, number int, err error) {
	return c.renewalOf(ctx, request, "bundle")
}

// StoredRenewal is the newest evidence record over what is stored of a bundle whose personal data is concealed: of one in which somebody was shredded, the one that still holds.
func (c *Client) StoredRenewal(ctx context.Context, request string) (record []byte, number int, err error) {
	return c.renewalOf(ctx, request, "stored")
}

func (c *Client) renewalOf(ctx context.Context, request, of string) (record []byte, number int, err error) {
	path := signing(request, "/evidence/renewal"+c.with(url.Values{"of": {of}}))
	record, header, err := c.downloaded(ctx, path, evidence.MaxRenewalSize)
	if told := (*Problem)(nil); errors.As(err, &told) && told.Code == "not-renewed" {
		return nil, 0, nil
	}
	if err == nil {
		number, err = strconv.Atoi(header.Get(renewalNumber))
	}
	return record, number, err
}
