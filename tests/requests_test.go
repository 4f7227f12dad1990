package tests

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign"
)

// tally counts the requests that pass to one part of the stack, by operation.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	paths  []string
}

// through puts a proxy before a part that counts what passes, and breaks nothing. Its URL stands for the part's.
func (a *tally) through(t *testing.T, target string, operation func(*http.Request) string) (url string) {
	t.Helper()
	f := fault(t, target)
	f.Break(func(r *http.Request) bool {
		op := operation(r)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.counts[op]++
		a.paths = append(a.paths, op+" "+r.URL.RequestURI())
		return false
	})
	return f.URL
}

// reset forgets what was counted so far, and returns it.
func (a *tally) reset() (map[string]int, []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	counts, paths := a.counts, a.paths
	a.counts, a.paths = map[string]int{}, nil
	return counts, paths
}

// s3Operation is Amazon's name of a request.
func s3Operation(r *http.Request) string {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	switch {
	case key == "" && r.Method == http.MethodGet && query.Has("versions"):
		return "s3:ListObjectVersions"
	case key != "" && r.Method == http.MethodGet && query.Has("retention"):
		return "s3:GetObjectRetention"
	case key != "" && len(query) == len(query["versionId"])+len(query["x-id"]):
		return "s3:" + r.Method[:1] + strings.ToLower(r.Method[1:]) + "Object"
	}
	return "s3:" + r.Method + " " + r.URL.RequestURI()
}

// requestsOfASigning bounds what one signing with two approvals asks for, from the request to the released signature: in a tenant with two time-stamp authorities and a key for personal data,
// by a process that has signed before. ARCHITECTURE.md says what each is for.
var requestsOfASigning = map[string]int{
	"s3:PutObject": 12, "s3:GetObject": 12, "s3:ListObjectVersions": 5, "s3:GetObjectRetention": 1, "s3:DeleteObject": 1,
	"kms:Sign": 4, "tsa:Stamp": 4,
}

// TestM4_ASigningAsksForNoMoreThanItsBound counts the requests at the store, the keys and the authorities. It has globex's workers alone, and doesn't look at the time.
func TestM4_ASigningAsksForNoMoreThanItsBound(t *testing.T) {
	a := &tally{counts: map[string]int{}}
	store := a.through(t, local.S3.Endpoint, s3Operation)
	keys := a.through(t, local.KMS.Endpoint, func(r *http.Request) string {
		return "kms:" + strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	})
	stamp := func(*http.Request) string { return "tsa:Stamp" }
	first, second := a.through(t, local.TSA.URL, stamp), a.through(t, local.SecondTSA.URL, stamp)
	faultyWorkers(t, "s3: "+local.S3.Endpoint, "s3: "+store, "kms: "+local.KMS.Endpoint, "kms: "+keys, "url: "+local.TSA.URL, "url: "+first+"/", "url: "+local.SecondTSA.URL, "url: "+second+"/")
	a.reset()
	var faults []string
	for n := range 4 {
		r := request(t, "globex", "supplier-contract")
		r.ID += fmt.Sprintf("-%d", n)
		g := begin(t, r)
		approved(t, g)
		if ending, err := g.End(t.Context()); err != nil || ending.Outcome != countersign.Completed {
			t.Fatalf("%+v, %v", ending, err)
		}
		counts, paths := a.reset()
		if n == 0 {
			continue // it reads the log's end, and makes keys for people's data
		}
		if faults = beyond(counts); len(faults) == 0 {
			return
		}
		// An activity that a slow machine ran twice asks twice, now and then. What asks more asks more each time.
		faults = append(faults, paths...)
	}
	t.Error(strings.Join(faults, "\n"))
}

// beyond says which counts are over their bounds, and which bounds are of what nobody asks for.
func beyond(counts map[string]int) (faults []string) {
	for _, op := range slices.Sorted(maps.Keys(counts)) {
		if counts[op] > requestsOfASigning[op] {
			faults = append(faults, fmt.Sprintf("%d of %s, want at most %d", counts[op], op, requestsOfASigning[op]))
		}
	}
	for _, op := range slices.Sorted(maps.Keys(requestsOfASigning)) {
		if counts[op] == 0 {
			faults = append(faults, fmt.Sprintf("none of %s: is it counted?", op))
		}
	}
	return faults
}
