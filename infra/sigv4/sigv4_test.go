package sigv4

import (
	"net/http"
	"strings"
	"testing"
)

const soundHeader = algorithm + " Credential=ACME/20250102/eu-central-1/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func FuzzParse(f *testing.F) {
	f.Add(soundHeader)
	f.Add(strings.ReplaceAll(soundHeader, ", ", ","))
	f.Add(strings.Replace(soundHeader, "host;x-amz-date", "x-amz-date;host", 1))
	f.Add(strings.Replace(soundHeader, "Signature=", "Credential=", 1))
	f.Add(algorithm + " ,,")
	f.Add("Bearer x")
	f.Fuzz(func(t *testing.T, header string) {
		a, err := Parse(header)
		if err != nil {
			return
		}
		// What is accepted has one meaning: written again, it reads the same.
		again := algorithm + " Credential=" + strings.Join([]string{a.AccessKeyID, a.Date, a.Region, a.Service, "aws4_request"}, "/") +
			", SignedHeaders=" + strings.Join(a.SignedHeaders, ";") + ", Signature=" + a.signature
		b, err := Parse(again)
		if err != nil || a.AccessKeyID != b.AccessKeyID || a.Date != b.Date || a.Region != b.Region || a.Service != b.Service ||
			a.signature != b.signature || strings.Join(a.SignedHeaders, ";") != strings.Join(b.SignedHeaders, ";") {
			t.Errorf("%q reads as %+v and again as %+v: %v", header, a, b, err)
		}
		if len(header) > maxAuthorization || len(a.SignedHeaders) == 0 || len(a.signature) != 64 {
			t.Errorf("%q is accepted", header)
		}
	})
}

func TestTheSignatureCoversHostAndHeadersOfAWS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		signed  string
		headers http.Header
		want    bool
	}{
		{"host;x-amz-date", http.Header{"X-Amz-Date": {"x"}, "Accept": {"x"}}, true},
		{"host;x-amz-date", http.Header{"X-Amz-Date": {"x"}, "X-Amz-Tagging": {"x"}}, false},
		{"x-amz-date", http.Header{"X-Amz-Date": {"x"}}, false},
	} {
		a := Authorization{SignedHeaders: strings.Split(c.signed, ";")}
		if got := a.AllSigned(&http.Request{Header: c.headers}); got != c.want {
			t.Errorf("%s of %v: %v", c.signed, c.headers, got)
		}
	}
}
