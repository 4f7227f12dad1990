package evidence

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// LockRecord is what a store says of a locked object: the members that matter of S3's answer to HeadObject, as Amazon's command line writes it
// (aws s3api head-object --checksum-mode ENABLED). Nobody signed it, so it proves as much as whoever gave it is trusted for.
type LockRecord struct {
	Mode        string    `json:"ObjectLockMode"`
	RetainUntil time.Time `json:"ObjectLockRetainUntilDate"`
	SHA256      string    `json:"ChecksumSHA256"` // base64
	Version     string    `json:"VersionId"`
}

// MaxLockRecord is the largest record of a lock that is read, in bytes.
const MaxLockRecord = 64 << 10

// ParseLockRecord reads a store's answer. It has other members as well, which say nothing about the lock.
func ParseLockRecord(raw []byte) (*LockRecord, error) {
	if len(raw) > MaxLockRecord {
		return nil, fmt.Errorf("couldn't read the record of the lock: it has %d bytes, at most %d", len(raw), MaxLockRecord)
	}
	l := &LockRecord{}
	if err := json.Unmarshal(raw, l); err != nil {
		return nil, fmt.Errorf("couldn't read the record of the lock: it is not the JSON of aws s3api head-object: %w", err)
	}
	return l, nil
}

// locks checks that the record is of these bytes, and that they are locked beyond the instant at which they were sealed.
func (l *LockRecord) locks(digest string, sealed time.Time) error {
	sum, err := base64.StdEncoding.DecodeString(l.SHA256)
	switch {
	case err != nil || len(sum) != 32:
		return fmt.Errorf("the record has no SHA-256 of the whole object, so it could be of any: ask with --checksum-mode ENABLED")
	case hex.EncodeToString(sum) != digest:
		return fmt.Errorf("the record is of an object with another SHA-256; where the tenant's evidence is locked with personal data concealed, give the log's proof and key as well")
	case l.Mode != "COMPLIANCE":
		return fmt.Errorf("the store says %q, and only COMPLIANCE can't be lifted", l.Mode)
	case !l.RetainUntil.After(sealed):
		return fmt.Errorf("the lock ends at %s, before it was sealed", l.RetainUntil.UTC().Format(time.RFC3339))
	}
	return nil
}
