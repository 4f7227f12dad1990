package awsgate

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/infra/awspolicy"
)

// operation is one action that a request asks for; all of a request's must be allowed.
type operation struct {
	action  string
	key     string // of the object; empty for the bucket
	context awspolicy.Context
}

func (o operation) resource(bucket string) string {
	if o.key == "" {
		return "arn:aws:s3:::" + bucket
	}
	return "arn:aws:s3:::" + bucket + "/" + o.key
}

// asking is a request of S3, understood.
type asking struct {
	bucket     string
	operations []operation
	reads      bool // an object, which may not be there
}

// maxXML bounds the body of a request that says in XML what it asks: 1,000 keys of 1,024 bytes, with what XML makes of them.
const maxXML = 2 << 20

// subresources are the query parameters that make a request another one.
var subresources = []string{
	"acl", "delete", "encryption", "legal-hold", "lifecycle", "object-lock", "ownershipControls", "policy", "publicAccessBlock", "replication",
	"retention", "tagging", "versioning", "versions",
}

// parameters are those that change nothing about what is asked, by the subresource that has them.
var parameters = map[string][]string{
	"":           {"versionId", "list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after", "fetch-owner", "encoding-type", "marker"},
	"versions":   {"prefix", "delimiter", "max-keys", "key-marker", "version-id-marker", "encoding-type"},
	"legal-hold": {"versionId"},
	"retention":  {"versionId"},
}

// bucketActions are by method and subresource. A HEAD of a bucket is a listing to IAM.
var bucketActions = map[string]string{
	"GET ":                  "s3:ListBucket",
	"HEAD ":                 "s3:ListBucket",
	"PUT ":                  "s3:CreateBucket",
	"DELETE ":               "s3:DeleteBucket",
	"GET object-lock":       "s3:GetBucketObjectLockConfiguration",
	"GET policy":            "s3:GetBucketPolicy",
	"GET versioning":        "s3:GetBucketVersioning",
	"GET versions":          "s3:ListBucketVersions",
	"DELETE lifecycle":      "s3:PutLifecycleConfiguration",
	"DELETE policy":         "s3:DeleteBucketPolicy",
	"PUT acl":               "s3:PutBucketAcl",
	"PUT encryption":        "s3:PutEncryptionConfiguration",
	"PUT lifecycle":         "s3:PutLifecycleConfiguration",
	"PUT object-lock":       "s3:PutBucketObjectLockConfiguration",
	"PUT ownershipControls": "s3:PutBucketOwnershipControls",
	"PUT policy":            "s3:PutBucketPolicy",
	"PUT publicAccessBlock": "s3:PutBucketPublicAccessBlock",
	"PUT replication":       "s3:PutReplicationConfiguration",
	"PUT tagging":           "s3:PutBucketTagging",
	"PUT versioning":        "s3:PutBucketVersioning",
}

// harmless are the x-amz-* headers that ask for nothing; those that readS3 looks at are the only others that pass.
var harmless = []string{"x-amz-checksum-", "x-amz-content-sha256", "x-amz-date", "x-amz-decoded-content-length", "x-amz-meta-", "x-amz-sdk-checksum-algorithm", "x-amz-trailer", "x-amz-user-agent"}

const (
	headerMode   = "X-Amz-Object-Lock-Mode"
	headerUntil  = "X-Amz-Object-Lock-Retain-Until-Date"
	headerTags   = "X-Amz-Tagging"
	headerBypass = "X-Amz-Bypass-Governance-Retention"
)

// readS3 finds out what a request asks. It may read the body, and puts it back.
func readS3(r *http.Request, now time.Time) (asking, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	a := asking{bucket: bucket}
	if bucket == "" || !plainKey(key) {
		return a, errUnknown
	}
	// Headers that Connection names end here: the store would not see what is judged.
	if strings.Contains(strings.ToLower(strings.Join(r.Header.Values("Connection"), ",")), "x-amz-") {
		return a, errUnknown
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return a, errUnknown
	}
	sub, err := subresource(query)
	if err != nil {
		return a, err
	}
	used := map[string]bool{}
	header := func(name string) string { used[name] = true; return r.Header.Get(name) }
	version := query.Get("versionId") != ""
	add := func(action string, context awspolicy.Context) {
		a.operations = append(a.operations, operation{action, key, context})
	}
	switch level := r.Method + " " + sub; {
	case key == "" && level == "POST delete":
		if err := a.batch(r); err != nil {
			return a, err
		}
		a.bypass(header(headerBypass))
	case key == "":
		action, known := bucketActions[level]
		if !known || version {
			return a, errUnknown
		}
		var c awspolicy.Context
		if query.Has("prefix") {
			c = awspolicy.Context{"s3:prefix": {query.Get("prefix")}}
		}
		add(action, c)
	case level == "GET " || level == "HEAD ":
		a.reads = true
		add(map[bool]string{true: "s3:GetObjectVersion", false: "s3:GetObject"}[version], nil)
	case level == "GET retention":
		add("s3:GetObjectRetention", nil)
	case level == "GET legal-hold":
		add("s3:GetObjectLegalHold", nil)
	case level == "PUT legal-hold":
		add("s3:PutObjectLegalHold", nil)
	case level == "PUT " && !version:
		if err := a.put(key, header, now); err != nil {
			return a, err
		}
	case level == "PUT retention":
		if err := a.retain(r, key, now); err != nil {
			return a, err
		}
		a.bypass(header(headerBypass))
	case level == "DELETE ":
		add(map[bool]string{true: "s3:DeleteObjectVersion", false: "s3:DeleteObject"}[version], nil)
		a.bypass(header(headerBypass))
	default:
		return a, errUnknown
	}
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, "x-amz-") || used[name] && len(values) == 1 {
			continue
		}
		if !slices.ContainsFunc(harmless, func(prefix string) bool { return strings.HasPrefix(lower, prefix) }) {
			return a, errUnknown
		}
	}
	return a, nil
}

// plainKey refuses what S3 takes as it is and a store on a file system could walk or decode.
func plainKey(key string) bool {
	if key == "" {
		return true
	}
	for _, part := range strings.Split(key, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return len(key) <= 1024 && !strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c == 0x7f || c == '%' || c == '\\' })
}

func subresource(query url.Values) (string, error) {
	sub := ""
	for name := range query {
		if slices.Contains(subresources, name) {
			if sub != "" {
				return "", errUnknown
			}
			sub = name
		}
	}
	for name, values := range query {
		// x-id is a note of the SDK to itself.
		if name != sub && name != "x-id" && !slices.Contains(parameters[sub], name) || len(values) != 1 {
			return "", errUnknown
		}
	}
	return sub, nil
}

// put is PutObject with all that its headers ask besides.
func (a *asking) put(key string, header func(string) string, now time.Time) error {
	c := awspolicy.Context{}
	tags, err := url.ParseQuery(header(headerTags))
	if err != nil {
		return errUnknown
	}
	if values := tags["tenant"]; len(values) == 1 {
		c["s3:RequestObjectTag/tenant"] = values
	}
	mode, until := header(headerMode), header(headerUntil)
	if err := lock(c, mode, until, now); err != nil {
		return err
	}
	for _, part := range []struct {
		asked  bool
		action string
	}{{true, "s3:PutObject"}, {len(tags) > 0, "s3:PutObjectTagging"}, {mode != "" || until != "", "s3:PutObjectRetention"}} {
		if part.asked {
			a.operations = append(a.operations, operation{part.action, key, c})
		}
	}
	return nil
}

// lock says what a lock is judged by. A day that has begun counts whole: AWS doesn't say how it rounds.
func lock(c awspolicy.Context, mode, until string, now time.Time) error {
	if mode != "" {
		c["s3:object-lock-mode"] = []string{mode}
	}
	if until != "" {
		at, err := time.Parse(time.RFC3339, until)
		if err != nil {
			return errUnknown
		}
		days := math.Ceil(at.Sub(now).Hours() / 24)
		c["s3:object-lock-remaining-retention-days"] = []string{strconv.FormatFloat(days, 'f', 0, 64)}
	}
	return nil
}

func (a *asking) retain(r *http.Request, key string, now time.Time) error {
	var in struct {
		XMLName         xml.Name `xml:"Retention"`
		Mode            string
		RetainUntilDate string
	}
	if err := readXML(r, &in); err != nil {
		return err
	}
	c := awspolicy.Context{}
	if err := lock(c, in.Mode, in.RetainUntilDate, now); err != nil {
		return err
	}
	a.operations = append(a.operations, operation{"s3:PutObjectRetention", key, c})
	return nil
}

// batch is DeleteObjects: one that may not be deleted keeps all of them.
func (a *asking) batch(r *http.Request) error {
	var in struct {
		XMLName xml.Name                          `xml:"Delete"`
		Objects []struct{ Key, VersionId string } `xml:"Object"`
	}
	if err := readXML(r, &in); err != nil {
		return err
	}
	if len(in.Objects) == 0 || len(in.Objects) > 1000 {
		return errUnknown
	}
	for _, o := range in.Objects {
		if o.Key == "" || !plainKey(o.Key) {
			return errUnknown
		}
		action := "s3:DeleteObject"
		if o.VersionId != "" {
			action = "s3:DeleteObjectVersion"
		}
		a.operations = append(a.operations, operation{action: action, key: o.Key})
	}
	return nil
}

// bypass adds the permission that the header needs, for each object.
func (a *asking) bypass(header string) {
	if header == "" || strings.EqualFold(header, "false") {
		return
	}
	for _, o := range slices.Clone(a.operations) {
		a.operations = append(a.operations, operation{action: "s3:BypassGovernanceRetention", key: o.key})
	}
}

// readXML reads a body that says what is asked. A body in signed chunks isn't read.
func readXML(r *http.Request, in any) error {
	if r.Header.Get("Content-Encoding") != "" || strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return errUnknown
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxXML+1))
	if err != nil || len(body) > maxXML {
		return errors.Join(errUnknown, err)
	}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(in); err != nil {
		return errUnknown
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}
