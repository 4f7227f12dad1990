package countersign_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign-dev/countersign"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The vectors in testdata/canonical are for other languages as well: NAME.json is the input as a client may write it, NAME.rfc8785 its
// canonical bytes, NAME.digest the SHA-256 over the domain, a zero byte and those bytes, in hex.
func TestCanonicalVectors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, domain string
		into         func() any
	}{
		{"decision-approve", "countersign decision v1", func() any { return &countersign.Decision{} }},
		{"decision-reject-unicode", "countersign decision v1", func() any { return &countersign.Decision{} }},
		{"context", "countersign context v1", func() any { return &countersign.Context{} }},
		{"request", "countersign request v1", func() any { return &countersign.Request{} }},
		{"plan", "countersign plan v1", func() any { return &countersign.Plan{} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", "canonical", c.name)
			raw, err := os.ReadFile(path + ".json")
			if err != nil {
				t.Fatal(err)
			}
			v := c.into()
			dec := json.NewDecoder(bytes.NewReader(raw))
			dec.DisallowUnknownFields()
			if err := dec.Decode(v); err != nil {
				t.Fatal(err)
			}
			body, err := countersign.Canonical(v)
			if err != nil {
				t.Fatal(err)
			}
			digest, err := countersign.Digest(c.domain, v)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				for suffix, content := range map[string]string{".rfc8785": string(body), ".digest": digest + "\n"} {
					if err := os.WriteFile(path+suffix, []byte(content), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			wantBody, err := os.ReadFile(path + ".rfc8785")
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(body, wantBody) {
				t.Errorf("canonical bytes are\n%s\nwant\n%s", body, wantBody)
			}
			wantDigest, err := os.ReadFile(path + ".digest")
			if err != nil {
				t.Fatal(err)
			}
			if digest != strings.TrimSpace(string(wantDigest)) {
				t.Errorf("digest is %s, want %s", digest, wantDigest)
			}
			// The digest of the types' own methods is that of the same domain.
			var own string
			switch v := v.(type) {
			case *countersign.Decision:
				own, err = v.Digest()
			case *countersign.Context:
				own, err = v.Digest()
			case *countersign.Request:
				own, err = v.Fingerprint()
			case *countersign.Plan:
				own, err = v.Digest()
			}
			if err != nil || own != digest {
				t.Errorf("the method says %s, %v", own, err)
			}
			// The digest is the plain SHA-256 that any language can compute.
			if plain := countersign.SHA256(append(append([]byte(c.domain), 0), wantBody...)); plain != digest {
				t.Errorf("SHA-256 over domain, zero and bytes is %s", plain)
			}
		})
	}
}

// RFC 8785, section 3.2.2 and its appendices: strings, numbers and order of names.
func TestCanonicalFollowsRFC8785(t *testing.T) {
	t.Parallel()
	in := json.RawMessage(`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`)
	want := `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`
	if got, err := countersign.Canonical(in); err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	sorted := json.RawMessage(`{"\u20ac":1,"\r":2,"1":3,"\u0080":4,"\u00f6":5,"\ud83d\ude00":6,"\ufb33":7}`)
	if got, err := countersign.Canonical(sorted); err != nil || string(got) != "{\"\\r\":2,\"1\":3,\"\u0080\":4,\"ö\":5,\"€\":1,\"😀\":6,\"\ufb33\":7}" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestDigestOfOneKindIsNeverThatOfAnother(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, domain := range []string{"", "countersign", "countersign decision v1", "countersign context v1", "countersign plan v1", "countersign request v1"} {
		d, err := countersign.Digest(domain, struct{}{})
		if err != nil || seen[d] != "" {
			t.Errorf("%q and %q have the digest %s (%v)", domain, seen[d], d, err)
		}
		seen[d] = domain
	}
}

func TestDigestFailsOnWhatIsNoJSON(t *testing.T) {
	t.Parallel()
	if d, err := countersign.Digest("x", map[string]any{"f": func() {}}); err == nil || d != "" {
		t.Errorf("got %q, %v", d, err)
	}
}

// instants draws what Decision.Check can accept: whole seconds that every JSON reader keeps.
func anyDecision(t *rapid.T) countersign.Decision {
	text := rapid.StringN(0, 20, 60)
	d := countersign.Decision{
		V: 1, Tenant: text.Draw(t, "tenant"), Signing: text.Draw(t, "signing"), Run: text.Draw(t, "run"), Stage: text.Draw(t, "stage"),
		Context: text.Draw(t, "context"), Verdict: countersign.Verdict(text.Draw(t, "verdict")), Reason: text.Draw(t, "reason"),
		Document: countersign.Document{Bucket: text.Draw(t, "bucket"), Key: text.Draw(t, "key"), VersionID: text.Draw(t, "version"), SHA256: text.Draw(t, "sha256")},
		Actor:    countersign.Actor{Issuer: text.Draw(t, "iss"), Subject: text.Draw(t, "sub")}, Grants: []string{}, Policy: text.Draw(t, "policy"),
		IssuedAt: rapid.Int64Range(0, 1<<53-1).Draw(t, "iat"), ExpiresAt: rapid.Int64Range(0, 1<<53-1).Draw(t, "exp"),
	}
	if rapid.Bool().Draw(t, "on behalf") {
		d.OnBehalfOf = &countersign.Actor{Issuer: text.Draw(t, "other iss"), Subject: text.Draw(t, "other sub")}
	}
	return d
}

// alter changes one field, deep inside or not, to something else, and names it.
func alter(t *rapid.T, v reflect.Value, path string) string {
	switch v.Kind() {
	case reflect.Struct:
		i := rapid.IntRange(0, v.NumField()-1).Draw(t, "field")
		return alter(t, v.Field(i), path+"."+v.Type().Field(i).Name)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
			return path
		}
		copied := reflect.New(v.Type().Elem())
		copied.Elem().Set(v.Elem())
		v.Set(copied)
		return alter(t, copied.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		return path
	case reflect.String:
		was := v.String()
		v.SetString(rapid.StringN(0, 20, 60).Filter(func(s string) bool { return s != was }).Draw(t, "string"))
		return path
	case reflect.Bool:
		v.SetBool(!v.Bool())
		return path
	case reflect.Int, reflect.Int64:
		was := v.Int()
		v.SetInt(rapid.Int64Range(0, 1<<53-1).Filter(func(n int64) bool { return n != was }).Draw(t, "number"))
		return path
	}
	t.Fatalf("%s is a %s, which this test doesn't know", path, v.Kind())
	return path
}

func TestAnyChangedFieldChangesTheDigest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := anyDecision(t)
		before, err := d.Digest()
		if err != nil {
			t.Fatal(err)
		}
		changed := d
		path := alter(t, reflect.ValueOf(&changed).Elem(), "Decision")
		after, err := changed.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if before == after {
			t.Fatalf("another %s has the same digest %s", path, after)
		}
		if again, _ := d.Digest(); again != before {
			t.Fatal("the same decision has two digests")
		}
	})
}

func TestAnyChangedFieldChangesTheContext(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 20, 60)
		c := countersign.Context{V: 1, Tenant: text.Draw(t, "tenant"), Signing: text.Draw(t, "signing"), Request: text.Draw(t, "request"), Plan: text.Draw(t, "plan")}
		before, err := c.Digest()
		if err != nil {
			t.Fatal(err)
		}
		path := alter(t, reflect.ValueOf(&c).Elem(), "Context")
		if after, err := c.Digest(); err != nil || before == after {
			t.Fatalf("another %s has the same digest %s (%v)", path, after, err)
		}
	})
}

func TestPlanDigestIsOfTheInstantNotOfItsZone(t *testing.T) {
	t.Parallel()
	s := parsedSettings(t)
	request := countersign.Request{Purpose: "supplier-contract", Deadlines: map[string]time.Time{"legal": start.Add(time.Hour)}}
	one, _ := s.Plan(request, countersign.Actor{}, start)
	request.Deadlines["legal"] = start.Add(time.Hour).In(time.FixedZone("x", -7200))
	two, _ := s.Plan(request, countersign.Actor{}, start.In(time.FixedZone("y", 3600)))
	a, _ := one.Digest()
	if b, _ := two.Digest(); a != b {
		t.Errorf("%s and %s", a, b)
	}
}
