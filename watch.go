package countersign

import (
	"strings"
	"time"
)

// Watch says how often what watches over a tenant's evidence by itself runs, and how closely it looks. What is left out has a default.
type Watch struct {
	// SweepEvery is how often requests are looked for whose custodian died, and intents to sign that nothing followed.
	SweepEvery Duration `yaml:"sweepEvery"`
	// UnfinishedAfter is how old an intent to sign may be before an ending is missed.
	UnfinishedAfter Duration `yaml:"unfinishedAfter"`
	// CheckEvery is how often samples of the locked evidence are verified.
	CheckEvery Duration `yaml:"checkEvery"`
	// Sample is how many bundles one check takes of each kind: the newest, at random, and on from where the last check stopped.
	Sample int `yaml:"sample"`
}

const (
	sweepEvery    = time.Hour
	checkEvery    = 24 * time.Hour
	sampleSize    = 5
	maxSample     = 200
	shortestWatch = time.Minute
	longestWatch  = 31 * 24 * time.Hour
)

// defaults fills in what the tenant's file leaves out.
func (w *Watch) defaults(e Evidence) {
	if w.SweepEvery == 0 {
		w.SweepEvery = Duration(sweepEvery)
	}
	if w.UnfinishedAfter == 0 {
		w.UnfinishedAfter = e.ReleaseWithin + Duration(time.Hour)
	}
	if w.CheckEvery == 0 {
		w.CheckEvery = Duration(checkEvery)
	}
	if w.Sample == 0 {
		w.Sample = sampleSize
	}
}

func (c *settingsCheck) watch(s *Settings) {
	s.Watch.defaults(s.Evidence)
	w := s.Watch
	for name, every := range map[string]Duration{"sweepEvery": w.SweepEvery, "checkEvery": w.CheckEvery} {
		if d := time.Duration(every); d < shortestWatch || d > longestWatch {
			c.fault(at("watch", name), "watch.%s is %s; give 1m to 31d", name, d)
		}
	}
	if w.UnfinishedAfter <= 0 {
		c.fault(at("watch", "unfinishedAfter"), "watch.unfinishedAfter must be more than 0: how old an intent to sign may be before its ending is missed")
	}
	if w.Sample < 1 || w.Sample > maxSample {
		c.fault(at("watch", "sample"), "watch.sample is %d; give 1 to %d bundles", w.Sample, maxSample)
	}
}

// What watches runs on two schedules per tenant, whose runs are named after them.
const (
	WorkflowSweep         = "CustodySweep"  // finds requests whose custodian died
	WorkflowRecovery      = "Recovery"      // is the custodian of such a request from then on, a child of the sweep that outlives it
	WorkflowEvidenceCheck = "EvidenceCheck" // verifies samples of the locked evidence
)

// SweepID is the id of the schedule on which a tenant's custody is swept.
func SweepID(tenant string) string { return "sweep/" + tenant }

// EvidenceCheckID is the id of the schedule on which a tenant's evidence is checked.
func EvidenceCheckID(tenant string) string { return "evidence-check/" + tenant }

// RecoveryID is the workflow id of the recovery of a request whose custodian died.
func RecoveryID(tenant, request string) string { return "recovery/" + tenant + "/" + request }

// EvidenceCheckKey is where the locked report of one evidence check lies in the evidence bucket.
func EvidenceCheckKey(tenant string, at time.Time, id string) string {
	return EvidenceChecksPrefix(tenant) + at.UTC().Format(checkTime) + "-" + id + ".json"
}

// checkTime is the form of the time in the key of a report.
const checkTime = "2006-01-02T150405Z"

// ParseEvidenceCheckKey takes the key of a report apart: its name, which is the key without the tenant's prefix and .json, and when its check began.
func ParseEvidenceCheckKey(tenant, key string) (name string, at time.Time, ok bool) {
	name, json := strings.CutSuffix(strings.TrimPrefix(key, EvidenceChecksPrefix(tenant)), ".json")
	if !json || len(name) <= len(checkTime)+1 || strings.Contains(name, "/") {
		return "", time.Time{}, false
	}
	at, err := time.Parse(checkTime, name[:len(checkTime)])
	return name, at, err == nil && key == EvidenceCheckKey(tenant, at, name[len(checkTime)+1:])
}

// EvidenceChecksPrefix is what the keys of a tenant's reports of evidence checks begin with. They are in the order of their time.
func EvidenceChecksPrefix(tenant string) string { return tenant + "/checks/" }

// LateAfter is how old the newest report of a check may be before a check is missed: the interval, a quarter of it, and a quarter of an hour for the check itself.
func (w Watch) LateAfter() time.Duration { return time.Duration(w.CheckEvery)*5/4 + 15*time.Minute }

// CanaryKey is a locked object whose deletion each evidence check attempts, and CanaryMarkerKey what shows that it would have been allowed to.
func CanaryKey(tenant string) string { return tenant + "/canary/locked" }

// CanaryMarkerKey never holds an object: a delete marker is put there and taken away again.
func CanaryMarkerKey(tenant string) string { return tenant + "/canary/marker" }
