package countersign

import "fmt"

// Document names one version of one object, never its bytes: what is read is read by version, and its digest checked.
type Document struct {
	Bucket    string `json:"bucket" doc:"The bucket of the tenant's documents."`
	Key       string `json:"key" doc:"The object key; it starts with the tenant's prefix."`
	VersionID string `json:"versionId" doc:"The version of the object."`
	SHA256    string `json:"sha256" doc:"SHA-256 of the bytes, 64 lower-case hex digits."`
}

// Check says what is missing for the document to be found and recognised again.
func (d Document) Check() error {
	switch {
	case d.Bucket == "" || d.Key == "":
		return fmt.Errorf("document: bucket and key are both needed")
	case len(d.Key) > 1024 || len(d.Bucket) > 63:
		return fmt.Errorf("document: bucket or key is longer than S3 allows (63 and 1,024 bytes)")
	case d.VersionID == "" || len(d.VersionID) > 1024:
		return fmt.Errorf("document: versionId is needed: a key alone can change under us")
	case !isDigest(d.SHA256):
		return fmt.Errorf("document: sha256 must be 64 lower-case hex digits")
	}
	return nil
}

// Object is a stored object of ours: where it lies, which version, and what its bytes hash to.
type Object = Document
