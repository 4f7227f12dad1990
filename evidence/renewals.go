package evidence

import (
	"crypto"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign-dev/countersign"
)

// RenewalRequest asks for the tenant's locked bundles to be time-stamped anew, those that are due.
type RenewalRequest struct {
	Tenant string               `json:"tenant"`
	Within countersign.Duration `json:"within"`           // before certificates end
	Ending []string             `json:"ending,omitempty"` // algorithms that are not to be relied on any longer: sha256, sha384, sha512
	DryRun bool                 `json:"dryRun,omitempty"` // tell what is due, and stamp nothing
}

// maxRenewalWithin bounds how long before the end bundles are renewed.
const maxRenewalWithin = 20 * 366 * 24 * time.Hour

var renewalHashes = map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}

// Rules reads the request. The hash is the one to renew under: the strongest that isn't listed as ending.
func (r RenewalRequest) Rules(now time.Time) (rules RenewalRules, hash crypto.Hash, err error) {
	if r.Within < 0 || time.Duration(r.Within) > maxRenewalWithin {
		return rules, 0, fmt.Errorf("within is %s; give 0 to %s", time.Duration(r.Within), maxRenewalWithin)
	}
	rules.Now, rules.Within = now, time.Duration(r.Within)
	for _, name := range r.Ending {
		h, ok := renewalHashes[name]
		if !ok {
			return rules, 0, fmt.Errorf("%q is no algorithm; name sha256, sha384 or sha512", name)
		}
		rules.Ending = append(rules.Ending, h)
	}
	for _, h := range []crypto.Hash{crypto.SHA512, crypto.SHA384} {
		if !rules.ending(h) {
			return rules, h, nil
		}
	}
	return rules, 0, fmt.Errorf("no algorithm is left to renew under: sha384 or sha512 must not be ending")
}

// AdmitRenewalInput asks whether somebody may have bundles renewed.
type AdmitRenewalInput struct {
	Renewal RenewalRequest `json:"renewal"`
	Keeper  Execution      `json:"keeper"`
}

// RenewalAdmission says who asked, as the server stamped it.
type RenewalAdmission struct {
	Refusal *countersign.Refusal `json:"refusal,omitempty"`
	By      countersign.Actor    `json:"by"`
	At      time.Time            `json:"at"`
}

// RenewPageInput asks for one page of bundles, by their keys, from the one after a key on. Now is when the renewal began: all pages are judged as of it.
type RenewPageInput struct {
	Renewal RenewalRequest `json:"renewal"`
	After   string         `json:"after,omitempty"`
	Now     time.Time      `json:"now"`
}

// RenewalPage is what became of a page.
type RenewalPage struct {
	Looked   int              `json:"looked"`
	Renewed  []RenewedBundle  `json:"renewed"` // in a dry run, those that are due
	Problems []RenewalProblem `json:"problems,omitempty"`
	Next     string           `json:"next,omitempty"` // the last key that was looked at; empty at the end
}

// RenewedBundle is a bundle that was due, and where its evidence records are locked.
type RenewedBundle struct {
	Request string              `json:"request"`
	Why     string              `json:"why"`
	Record  *countersign.Object `json:"record,omitempty"` // over the bundle; absent in a dry run, and where somebody in it was shredded
	Stored  *countersign.Object `json:"stored,omitempty"` // over what is stored, of a bundle whose personal data is concealed; absent in a dry run
}

// RenewalProblem is a bundle that could not be renewed. The others are.
type RenewalProblem struct {
	Request string `json:"request"`
	Problem string `json:"problem"`
}

// The states of a renewal.
const (
	RenewalRunning = "running"
	RenewalDone    = "done"
	RenewalFailed  = "failed" // a page could not be renewed for a day, or a record of it can't be put together; what was renewed before stays
)

// RenewalStatus is how far a renewal is. The API says in Problem of one that runs what its page failed with, which is tried again for a day. Renewed and Problems keep the first thousand; the counts have all.
type RenewalStatus struct {
	RenewalRequest
	State    string               `json:"state"`
	Problem  string               `json:"problem,omitempty"`
	Refusal  *countersign.Refusal `json:"refusal,omitempty"`
	By       countersign.Actor    `json:"by"`
	At       time.Time            `json:"at"`
	Looked   int                  `json:"looked"`
	Due      int                  `json:"due"`
	Failed   int                  `json:"failed"`
	Renewed  []RenewedBundle      `json:"renewed"`
	Problems []RenewalProblem     `json:"problems"`
}

// RenewalFile is the file with the newest evidence record beside a bundle: FILE.ers, or of FILE.renewal-001.ers and its followers the last, as an export of a period stores
// them. It is empty where there is none.
func RenewalFile(bundle string) string {
	if _, err := os.Stat(bundle + RenewalSuffix); err == nil {
		return bundle + RenewalSuffix
	}
	entries, err := os.ReadDir(filepath.Dir(bundle))
	if err != nil {
		return ""
	}
	newest := ""
	for _, e := range entries {
		rest, beside := strings.CutPrefix(e.Name(), filepath.Base(bundle)+".")
		if is, err := path.Match("renewal-[0-9][0-9][0-9]"+RenewalSuffix, rest); beside && is && err == nil {
			newest = max(newest, e.Name())
		}
	}
	if newest == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(bundle), newest)
}

// RenewalSuffix is what the names of evidence records end with.
const RenewalSuffix = ".ers"

// The activities of a renewal.
const (
	ActivityAdmitRenewal = "AdmitRenewal"
	ActivityRenewPage    = "RenewPage"
)
