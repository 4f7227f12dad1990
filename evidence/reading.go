package evidence

import (
	"fmt"
	"time"

	"github.com/countersign-dev/countersign"
)

// Reading is one read of evidence through the API: who was given what, and when. It is locked before the first byte is sent, so a reading can be of
// something that never arrived, and nothing arrives without one.
type Reading struct {
	V       int       `json:"v"`
	ID      string    `json:"id"`
	Tenant  string    `json:"tenant"`
	At      time.Time `json:"at"`
	Reader  Named     `json:"reader"`
	What    string    `json:"what" enum:"bundle,signed,document,list,orders,checks,renewal"`
	Request string    `json:"request,omitempty"` // absent of a list
	Grant   string    `json:"grant,omitempty"`   // digest of the grant under which it was read
	// Object is what was read; absent of a list.
	Object  *countersign.Object `json:"object,omitempty"`
	Outcome countersign.Outcome `json:"outcome,omitempty"` // of the signing, once it is told
	Filter  string              `json:"filter,omitempty"`  // of a list, as a query
}

// What can be read.
const (
	ReadBundleFile = "bundle"
	ReadSigned     = "signed" // the signed PDF, out of the bundle that is named
	ReadDocument   = "document"
	ReadList       = "list"
	ReadOrders     = "orders"  // what was ordered about evidence, of one request or of all
	ReadChecks     = "checks"  // the report that is named, or those of the filter; "run=now" had a check made, "run=dry" asked what one would take
	ReadRenewal    = "renewal" // the evidence record that is named
)

// ParseReading reads a stored reading strictly. It must be of the tenant, and lie where its own instant and id say.
func ParseReading(tenant, key string, raw []byte) (Reading, error) {
	var r Reading
	if err := countersign.ParseStrict(raw, &r); err != nil {
		return r, fmt.Errorf("couldn't read the record of a read: %w", err)
	}
	if r.V != 1 || r.Tenant != tenant || key != countersign.ReadingKey(tenant, r.At, r.ID) {
		return r, fmt.Errorf("couldn't read the record of a read: it lies at %q, and is not of that place", key)
	}
	return r, nil
}
