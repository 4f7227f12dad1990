package countersign

import (
	"fmt"
	"strings"
	"time"
)

// The index has one small object for each signing that ended, so that a range of time is listed by the names of objects alone. Its instant is that of the
// ending's entry in the tenant's log: it never changes, and everybody who has the log finds the name.

// WorkflowReindex compares a tenant's index with its log, and makes the records that are missing.
const WorkflowReindex = "Reindex"

// ReindexID is the workflow id of a reindexing.
func ReindexID(tenant, id string) string { return "reindex/" + tenant + "/" + id }

// IndexBegins is before every record of every index: lists go no further back.
var IndexBegins = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// IndexPrefix is what the keys of a tenant's index begin with, in the evidence bucket.
func IndexPrefix(tenant string) string { return tenant + "/index/" }

// indexStamp is an instant in the key of an index record: year, month and day are steps of the key, so that each can be listed alone.
const indexStamp = "2006/01/02/150405.000"

// IndexStamp is an instant as the keys of index records have it, to the millisecond: keys are in the order of their instants.
func IndexStamp(at time.Time) string {
	return strings.Replace(at.UTC().Truncate(time.Millisecond).Format(indexStamp), ".", "", 1)
}

// IndexKey is where the index record of a request lies that ended at an instant.
func IndexKey(tenant string, at time.Time, request string) string {
	return IndexPrefix(tenant) + IndexStamp(at) + "-" + IndexDigest(request) + ".json"
}

// IndexDigest stands for a request in the key of its index record: 16 hex digits.
func IndexDigest(request string) string { return SHA256([]byte(request))[:16] }

// ParseIndexKey takes the key of an index record apart.
func ParseIndexKey(tenant, key string) (at time.Time, digest string, err error) {
	fault := fmt.Errorf("%q is no key of an index record of tenant %s", key, tenant)
	rest, own := strings.CutPrefix(key, IndexPrefix(tenant))
	stamp, name, ok := strings.Cut(rest, "-")
	digest, json := strings.CutSuffix(name, ".json")
	if !own || !ok || !json || len(stamp) != len("2006/01/02/150405000") || len(digest) != 16 || strings.Trim(digest, "0123456789abcdef") != "" {
		return at, "", fault
	}
	if at, err = time.Parse(indexStamp, stamp[:len(stamp)-3]+"."+stamp[len(stamp)-3:]); err != nil || IndexStamp(at) != stamp {
		return at, "", fault
	}
	return at, digest, nil
}
