package evidence

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

var updateChecks = flag.Bool("update-checks", false, "write the table of checks in docs/verify.md anew")

// completedBundle is a real bundle of the first released version, with its roots.
func completedBundle(t testing.TB) ([]byte, Roots) {
	t.Helper()
	const golden = "../tests/golden/histories/v0.1.0/"
	read := func(name string) []byte {
		raw, err := os.ReadFile(golden + name)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	roots, err := Anchors{TenantCA: read("tenant-ca.pem"), TSACA: read("tsa-ca.pem")}.Roots()
	if err != nil {
		t.Fatal(err)
	}
	return read("completed.asice"), roots
}

func TestR15_EachCheckIsInEachReportOnceAndInOrder(t *testing.T) {
	t.Parallel()
	whole, roots := completedBundle(t)
	onlySealed, sealedRoots := goldenBundle(t)
	for name, r := range map[string]*Report{
		"whole": Verify(whole, roots), "no roots": Verify(whole, Roots{Signers: x509.NewCertPool(), TSAs: x509.NewCertPool()}),
		"cut": Verify(whole[:len(whole)-1], roots), "empty": Verify(nil, roots), "sealed, and no signing": Verify(onlySealed, sealedRoots),
	} {
		var got []string
		for _, f := range r.Findings {
			got = append(got, f.Check)
			if f.Detail == "" {
				t.Errorf("%s: %s is %s without a word", name, f.Check, f.State)
			}
		}
		var want []string
		for _, c := range NamedChecks() {
			want = append(want, c.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if (r.Err() == nil) != (name == "whole") {
			t.Errorf("%s: %v", name, r.Err())
		}
	}
}

// Auditors read the page, not the code: the two say the same, or the build fails.
func TestR15_ThePageOfChecksIsTheCodes(t *testing.T) {
	t.Parallel()
	const page, begin, end = "../docs/verify.md", "<!-- checks: written by go test ./evidence -run ThePageOfChecks -update-checks -->\n", "<!-- end of checks -->\n"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), begin)
	table, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", page)
	}
	var want strings.Builder
	want.WriteString("\n| check | where it passes | not recorded where |\n|---|---|---|\n")
	for _, c := range NamedChecks() {
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", c.Name, c.Proves, c.Else)
	}
	want.WriteString("\n")
	if *updateChecks {
		if err := os.WriteFile(page, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != want.String() {
		t.Error("the table in docs/verify.md is not that of the code: go test ./evidence -run ThePageOfChecks -update-checks")
	}
}

func TestR15_TheLockIsOfTheseBytesAndCantBeLifted(t *testing.T) {
	t.Parallel()
	raw, roots := completedBundle(t)
	sum, err := hex.DecodeString(countersign.SHA256(raw))
	if err != nil {
		t.Fatal(err)
	}
	digest := base64.StdEncoding.EncodeToString(sum)
	record := func(mode, until, digest string) string {
		return fmt.Sprintf(`{"AcceptRanges":"bytes","ObjectLockMode":%q,"ObjectLockRetainUntilDate":%q,"ChecksumSHA256":%q,"VersionId":"v1"}`, mode, until, digest)
	}
	for name, c := range map[string]struct {
		record string
		want   State
		says   string
	}{
		"none":            {"", NotRecorded, "asked at the store"},
		"locked":          {record("COMPLIANCE", "2036-11-24T00:00:00+00:00", digest), Pass, "until 2036-11-24"},
		"can be lifted":   {record("GOVERNANCE", "2036-11-24T00:00:00+00:00", digest), Fail, "COMPLIANCE"},
		"another object":  {record("COMPLIANCE", "2036-11-24T00:00:00+00:00", base64.StdEncoding.EncodeToString(make([]byte, 32))), Fail, "another SHA-256"},
		"any object":      {record("COMPLIANCE", "2036-11-24T00:00:00+00:00", ""), Fail, "checksum-mode"},
		"parts of it":     {record("COMPLIANCE", "2036-11-24T00:00:00+00:00", digest+"-2"), Fail, "checksum-mode"},
		"over before it":  {record("COMPLIANCE", "2020-01-01T00:00:00+00:00", digest), Fail, "before it was sealed"},
		"not locked":      {`{"ChecksumSHA256":"` + digest + `"}`, Fail, "COMPLIANCE"},
		"nothing in it":   {`{}`, Fail, "checksum-mode"},
		"without an ends": {`{"ObjectLockMode":"COMPLIANCE","ChecksumSHA256":"` + digest + `"}`, Fail, "before it was sealed"},
	} {
		mine := roots
		if c.record != "" {
			if mine.Lock, err = ParseLockRecord([]byte(c.record)); err != nil {
				t.Fatal(err)
			}
		}
		r := Verify(raw, mine)
		i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Check == "lock" })
		if f := r.Findings[i]; f.State != c.want || !strings.Contains(f.Detail, c.says) || (r.Err() == nil) != (c.want != Fail) {
			t.Errorf("%s: %s, %s", name, f.State, f.Detail)
		}
	}
	for _, bad := range []string{"", "no JSON", "[]", `{"ObjectLockRetainUntilDate":"tomorrow"}`, `"` + strings.Repeat("x", MaxLockRecord) + `"`} {
		if _, err := ParseLockRecord([]byte(bad)); err == nil {
			t.Errorf("%.20q is read as a record of a lock", bad)
		}
	}
}

func FuzzParseLockRecord(f *testing.F) {
	f.Add([]byte(`{"ObjectLockMode":"COMPLIANCE","ObjectLockRetainUntilDate":"2036-11-24T00:00:00+00:00","ChecksumSHA256":"","VersionId":"v1"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := ParseLockRecord(raw)
		if err != nil {
			return
		}
		if l.locks(strings.Repeat("ab", 32), sealedAt) == nil && (l.Mode != "COMPLIANCE" || !l.RetainUntil.After(sealedAt)) {
			t.Errorf("%s is a lock", raw)
		}
	})
}
