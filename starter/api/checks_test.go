package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

func (m *memoryPipeline) Schedule(context.Context) (s checkSchedule, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.skipped, s.created, s.paused = m.skipped, m.created, m.paused
	for _, c := range m.checks {
		s.ran = append(s.ran, c.Run)
		if c.State == client.CheckRunning {
			s.running = append(s.running, c.Run)
		}
	}
	return s, m.broken
}

func (m *memoryPipeline) Trigger(ctx context.Context) error {
	headers, err := (actorCredential{}).GetHeaders(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.late {
		m.skipped++
		return m.broken
	}
	m.signals = append(m.signals, signal{"", "trigger", headers["authorization"], nil})
	m.checks = append(m.checks, client.CheckRun{Run: time.Date(2026, 11, 26, 15, 4, len(m.checks), 0, time.UTC).Format(time.RFC3339), State: client.CheckRunning})
	return m.broken
}

func (m *memoryPipeline) Checking(_ context.Context, run string) (client.CheckRun, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.checks {
		if c.Run == run {
			return c, m.broken
		}
	}
	return client.CheckRun{}, errNotFound
}

// report puts a report among the locked ones.
func (s *service) report(at time.Time, id string, change func(*evidence.EvidenceReport)) string {
	s.t.Helper()
	at = at.UTC().Truncate(time.Second)
	r := evidence.EvidenceReport{V: 1, Tenant: "acme", ID: id, At: at, Seed: "seed", Log: evidence.Finding{Check: "log", State: evidence.Pass}, Bundles: []evidence.SampleReport{}, Canary: []evidence.Finding{}, Passed: true}
	if change != nil {
		change(&r)
	}
	body, err := json.Marshal(r)
	if err != nil {
		s.t.Fatal(err)
	}
	key := countersign.EvidenceCheckKey("acme", at, id)
	s.objects.mu.Lock()
	defer s.objects.mu.Unlock()
	s.objects.stored[key] = body
	name, _, _ := countersign.ParseEvidenceCheckKey("acme", key)
	return name
}

func (s *service) checks(query string) (l client.EvidenceChecks) {
	s.t.Helper()
	response, body := s.call(http.MethodGet, "/v1/acme/checks"+query, s.token("olivia"), nil, nil)
	if response.StatusCode != http.StatusOK {
		s.t.Fatalf("the list answers %d: %s", response.StatusCode, body)
	}
	if err := json.Unmarshal(body, &l); err != nil {
		s.t.Fatal(err)
	}
	return l
}

// readings are what was recorded, as what and of which object or filter.
func (s *service) readings() (all []string) {
	s.objects.mu.Lock()
	defer s.objects.mu.Unlock()
	for key, body := range s.objects.stored {
		if strings.HasPrefix(key, "acme/reads/") {
			r, err := evidence.ParseReading("acme", key, body)
			if err != nil {
				s.t.Fatal(err)
			}
			of := r.Filter
			if r.Object != nil {
				of = r.Object.Key
			}
			all = append(all, r.What+" "+of+" by "+r.Reader.Actor.Subject)
		}
	}
	slices.Sort(all)
	return all
}

func TestR24_ChecksAreListedTheLastFirstByPageAndPeriod(t *testing.T) {
	t.Parallel()
	s := newService(t)
	now := time.Now()
	var want []string
	for i := range checksOfAPage + 5 {
		want = append(want, s.report(now.Add(-time.Duration(i)*24*time.Hour), fmt.Sprintf("run-%d", i), nil))
	}
	s.objects.stored["acme/checks/stray.json"] = []byte("{}")
	first := s.checks("")
	if first.Schedule.Late || first.Schedule.Newest == nil || first.Schedule.Every != "24h0m0s" {
		t.Errorf("the schedule is %+v", first.Schedule)
	}
	second := s.checks("?cursor=" + url.QueryEscape(first.Cursor))
	var got []string
	for _, c := range append(first.Checks, second.Checks...) {
		got = append(got, c.Check)
	}
	if len(first.Checks) != checksOfAPage || second.Cursor != "" || !slices.Equal(got, want) || !slices.Equal(first.Unreadable, []string{"acme/checks/stray.json"}) {
		t.Errorf("listed is %v, want %v; unreadable %v", got, want, first.Unreadable)
	}
	s.objects.over = "acme/checks/" + want[1] + ".json"
	if l := s.checks(""); !slices.Equal(l.Overwritten, []string{s.objects.over}) || len(l.Checks) != checksOfAPage || l.Checks[1].Object.VersionID != "v1" {
		t.Errorf("of a report that was written over it tells %v, and %+v", l.Overwritten, l.Checks[1])
	}
	period := s.checks("?from=" + url.QueryEscape(now.Add(-5*24*time.Hour).UTC().Format(time.RFC3339Nano)) + "&until=" + url.QueryEscape(now.Add(-36*time.Hour).UTC().Format(time.RFC3339Nano)))
	if len(period.Checks) != 3 || period.Checks[0].Check != want[2] || period.Schedule.Late {
		t.Errorf("of the period are %+v, schedule %+v", period.Checks, period.Schedule)
	}
	// A period that begins after the newest report makes none missed.
	if later := s.checks("?from=" + url.QueryEscape(now.Add(time.Hour).UTC().Format(time.RFC3339Nano))); len(later.Checks) != 0 || later.Schedule.Late {
		t.Errorf("later are %+v, schedule %+v", later.Checks, later.Schedule)
	}
}

func TestR24_AMissedCheckIsTold(t *testing.T) {
	t.Parallel()
	s := newService(t)
	if l := s.checks(""); !l.Schedule.Late || l.Schedule.Newest != nil {
		t.Errorf("where no check ever ran the schedule is %+v", l.Schedule)
	}
	s.report(time.Now().Add(-31*time.Hour), "old", nil)
	if l := s.checks(""); !l.Schedule.Late || l.Schedule.Newest == nil {
		t.Errorf("31 hours after the last check, of one a day, the schedule is %+v", l.Schedule)
	}
	s.report(time.Now().Add(-29*time.Hour), "new", nil)
	if l := s.checks(""); l.Schedule.Late {
		t.Errorf("29 hours after the last check, of one a day, the schedule is %+v", l.Schedule)
	}
}

// A new installation has until its first check is due. Who makes the schedule anew, where there is older evidence or was a check, wins no time.
func TestR24_TheFirstCheckOfANewInstallationIsNotLateBeforeItIsDue(t *testing.T) {
	t.Parallel()
	const late = 30*time.Hour + 15*time.Minute
	now := time.Now()
	indexed := func(at time.Time) func(*service) {
		return func(s *service) { s.objects.stored[countersign.IndexKey("acme", at, "PO-1")] = []byte("{}") }
	}
	for what, d := range map[string]struct {
		age    time.Duration
		change func(*service)
		query  string
		due    bool
	}{
		"new":                             {age: time.Hour, due: true},
		"new, of a period":                {age: time.Hour, due: true, query: "?from=" + now.UTC().Format(time.DateOnly) + "T00:00:00Z"},
		"new, with an ending":             {age: time.Hour, due: true, change: indexed(now.Add(-time.Minute))},
		"due by now":                      {age: late + time.Minute},
		"almost due":                      {age: late - time.Minute, due: true},
		"paused":                          {age: time.Hour, change: func(s *service) { s.pipeline.paused = true }},
		"nobody says how old it is":       {age: time.Hour, change: func(s *service) { s.pipeline.created = time.Time{} }},
		"made anew, beside an old ending": {age: time.Hour, change: indexed(now.Add(-late - time.Minute))},
		"made anew, beside an old report": {age: time.Hour, change: func(s *service) { s.report(now.Add(-late-time.Minute), "old", nil) }},
		"the same, of a period after it":  {age: time.Hour, change: func(s *service) { s.report(now.Add(-10*late), "old", nil) }, query: "?from=" + now.UTC().Format(time.DateOnly) + "T00:00:00Z"},
		"what lies there is no report":    {age: time.Hour, change: func(s *service) { s.objects.stored["acme/checks/stray.json"] = []byte("{}") }},
	} {
		s := newService(t)
		s.pipeline.created = now.Add(-d.age)
		if d.change != nil {
			d.change(s)
		}
		got := s.checks(d.query).Schedule
		if got.Late == d.due || (got.FirstDue != nil) != d.due || d.due && !got.FirstDue.Equal(s.pipeline.created.Add(late)) {
			t.Errorf("%s: the schedule is %+v", what, got)
		}
	}
}

func TestR23_WhoReadsChecksAndWhoHasOneMadeIsRecorded(t *testing.T) {
	t.Parallel()
	s := newService(t)
	name := s.report(time.Now(), "one", func(r *evidence.EvidenceReport) {
		r.Passed, r.Log = false, evidence.Finding{Check: "log", State: evidence.Fail, Detail: "it was rolled back"}
	})
	if l := s.checks(""); len(l.Checks) != 1 || l.Checks[0].Passed || !slices.Equal(l.Checks[0].Problems, []string{"log: it was rolled back"}) {
		t.Errorf("listed is %+v", l.Checks)
	}
	response, body := s.call(http.MethodGet, "/v1/acme/checks/"+name, s.token("olivia"), nil, nil)
	if response.StatusCode != http.StatusOK || string(body) != string(s.objects.stored["acme/checks/"+name+".json"]) {
		t.Fatalf("the report is answered with %d: %s", response.StatusCode, body)
	}
	for _, ask := range []string{`{"dryRun":true}`, `{}`} {
		if response, body := s.call(http.MethodPost, "/v1/acme/checks", s.token("olivia"), jsonBody, []byte(ask)); response.StatusCode != http.StatusAccepted {
			t.Fatalf("%s is answered with %d: %s", ask, response.StatusCode, body)
		}
	}
	want := []string{"checks  by olivia", "checks acme/checks/" + name + ".json by olivia", "checks run=dry by olivia", "checks run=now by olivia"}
	if got := s.readings(); !slices.Equal(got, want) {
		t.Errorf("recorded is %q, want %q", got, want)
	}
	// Without a record nothing is told, and nothing done.
	s.objects.full = errNotFound
	for _, ask := range []struct{ method, path string }{{http.MethodGet, "/v1/acme/checks"}, {http.MethodGet, "/v1/acme/checks/" + name}} {
		if response, body := s.call(ask.method, ask.path, s.token("olivia"), nil, nil); response.StatusCode == http.StatusOK || strings.Contains(string(body), "rolled back") {
			t.Errorf("%s without a record is answered with %d: %s", ask.path, response.StatusCode, body)
		}
	}
	s.pipeline.checks[0].State = client.CheckDone
	if s.call(http.MethodPost, "/v1/acme/checks", s.token("olivia"), jsonBody, []byte("{}")); len(s.pipeline.checks) != 1 {
		t.Error("a check was made without a record of who asked")
	}
}

func TestR24_OneCheckRunsAtATimeAndAsWhoAsked(t *testing.T) {
	t.Parallel()
	s := newService(t)
	ask := func() (*http.Response, []byte) {
		return s.call(http.MethodPost, "/v1/acme/checks", s.token("olivia"), jsonBody, []byte("{}"))
	}
	response, body := ask()
	var run client.CheckRun
	if err := json.Unmarshal(body, &run); err != nil || response.StatusCode != http.StatusAccepted || run.State != client.CheckRunning || run.Run == "" {
		t.Fatalf("answered is %d: %v %s", response.StatusCode, err, body)
	}
	if len(s.pipeline.signals) != 1 || !strings.HasPrefix(s.pipeline.signals[0].bearer, "Bearer ") {
		t.Errorf("the schedule was triggered as %+v", s.pipeline.signals)
	}
	response, body = ask()
	s.refusal(response, body, http.StatusConflict, "check-running")
	s.pipeline.checks[0].State = client.CheckDone
	s.pipeline.late = true // somebody was faster
	response, body = ask()
	s.refusal(response, body, http.StatusConflict, "check-running")
}

// What lies in the place of a report and is none is not believed.
func TestR24_AReportIsReadStrictly(t *testing.T) {
	t.Parallel()
	s := newService(t)
	at := time.Now() // one for all: each report takes the place of the last
	for name, change := range map[string]func(*evidence.EvidenceReport){
		"another tenant's": func(r *evidence.EvidenceReport) { r.Tenant = "globex" },
		"another check's":  func(r *evidence.EvidenceReport) { r.ID = "two" },
		"another time's":   func(r *evidence.EvidenceReport) { r.At = r.At.Add(time.Hour) },
	} {
		check := s.report(at, "one", change)
		if response, body := s.call(http.MethodGet, "/v1/acme/checks/"+check, s.token("olivia"), nil, nil); response.StatusCode/100 != 5 {
			t.Errorf("%s is answered with %d: %s", name, response.StatusCode, body)
		}
		if l := s.checks(""); len(l.Checks) != 0 || len(l.Unreadable) != 1 {
			t.Errorf("%s is listed: %+v", name, l)
		}
	}
}
