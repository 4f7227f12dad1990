package countersign_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

func goodDecision() countersign.Decision {
	return countersign.Decision{
		V: 1, Tenant: "acme", Signing: "saga/acme/PO-4711", Run: "0b5d7f0e-0000-4000-8000-000000000001", Stage: "legal",
		Context: strings.Repeat("ab", 32), Document: goodDocument(), Verdict: countersign.Approve, Reason: "as agreed",
		Actor: countersign.Actor{Issuer: "https://id.acme.example", Subject: "lena"}, Grants: []string{}, Policy: strings.Repeat("cd", 32),
		IssuedAt: 1_772_366_400, ExpiresAt: 1_772_366_700,
	}
}

func TestDecisionCheck(t *testing.T) {
	t.Parallel()
	if err := goodDecision().Check(); err != nil {
		t.Fatalf("a good decision: %v", err)
	}
	for _, c := range []struct {
		name, message string
		change        func(*countersign.Decision)
	}{
		{"no version", "v is 0", func(d *countersign.Decision) { d.V = 0 }},
		{"no verdict", "neither approve nor reject", func(d *countersign.Decision) { d.Verdict = "" }},
		{"verdict in capitals", "neither approve nor reject", func(d *countersign.Decision) { d.Verdict = "Approve" }},
		{"nobody", "actor needs iss and sub", func(d *countersign.Decision) { d.Actor = countersign.Actor{} }},
		{"no issuer", "actor needs iss and sub", func(d *countersign.Decision) { d.Actor.Issuer = "" }},
		{"no subject", "actor needs iss and sub", func(d *countersign.Decision) { d.Actor.Subject = "" }},
		{"on behalf without a grant", "onBehalfOf and grants belong together", func(d *countersign.Decision) { d.OnBehalfOf = &countersign.Actor{Issuer: "https://x", Subject: "y"} }},
		{"a grant on nobody's behalf", "onBehalfOf and grants belong together", func(d *countersign.Decision) { d.Grants = []string{strings.Repeat("00", 32)} }},
		{"exp is iat", "exp must be after iat", func(d *countersign.Decision) { d.ExpiresAt = d.IssuedAt }},
		{"exp before iat", "exp must be after iat", func(d *countersign.Decision) { d.ExpiresAt = d.IssuedAt - 1 }},
		{"one second too long", "at most 15m0s later", func(d *countersign.Decision) { d.ExpiresAt = d.IssuedAt + 901 }},
		{"a life that overflows", "exp", func(d *countersign.Decision) { d.IssuedAt, d.ExpiresAt = -10, math.MaxInt64 }},
		{"from before 1970", "iat", func(d *countersign.Decision) { d.IssuedAt, d.ExpiresAt = -10, 10 }},
		// RFC 8785 writes numbers as IEEE 754 doubles: above 2^53 two instants have one digest.
		{"instants that JSON can't tell apart", "iat", func(d *countersign.Decision) { d.IssuedAt, d.ExpiresAt = 1<<53+1, 1<<53+9 }},
		{"no context", "context must be", func(d *countersign.Decision) { d.Context = "" }},
		{"context in capitals", "context must be", func(d *countersign.Decision) { d.Context = strings.Repeat("AB", 32) }},
		{"long reason", "reason: has 2001 characters, at most 2000", func(d *countersign.Decision) { d.Reason = strings.Repeat("é", 2001) }},
		{"reason with a control character", "control character (U+001B)", func(d *countersign.Decision) { d.Reason = "\x1b[2J" }},
		{"reason of broken UTF-8", "not valid UTF-8", func(d *countersign.Decision) { d.Reason = "\xc3" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := goodDecision()
			c.change(&d)
			err := d.Check()
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.message) {
				t.Errorf("%q doesn't say %q", err, c.message)
			}
		})
	}
}

func TestDecisionMayLiveForFifteenMinutes(t *testing.T) {
	t.Parallel()
	d := goodDecision()
	d.ExpiresAt, d.Reason = d.IssuedAt+900, strings.Repeat("é", 2000)
	if err := d.Check(); err != nil {
		t.Error(err)
	}
}

func signedJSON(t testing.TB) string {
	t.Helper()
	raw, err := json.Marshal(countersign.SignedDecision{ID: "d-1", Decision: goodDecision(), Proof: countersign.Proof{IDToken: "a.b.c"}})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestParseSignedDecisionReadsWhatItWrote(t *testing.T) {
	t.Parallel()
	s, err := countersign.ParseSignedDecision([]byte(" " + signedJSON(t) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := goodDecision().Digest()
	if got, err := s.Decision.Digest(); err != nil || got != want || s.ID != "d-1" || s.Proof.IDToken != "a.b.c" {
		t.Errorf("read %+v, %v", s, err)
	}
}

func TestParseSignedDecisionIsStrict(t *testing.T) {
	t.Parallel()
	good := signedJSON(t)
	for name, raw := range map[string]string{
		"empty":                      "",
		"null":                       "null",
		"a string":                   `"approve"`,
		"a list":                     "[" + good + "]",
		"cut":                        good[:len(good)-1],
		"unknown field":              strings.Replace(good, `{"id"`, `{"extra":1,"id"`, 1),
		"unknown field in decision":  strings.Replace(good, `"verdict"`, `"extra":1,"verdict"`, 1),
		"unknown field in document":  strings.Replace(good, `"bucket"`, `"extra":1,"bucket"`, 1),
		"unknown field in proof":     strings.Replace(good, `"idToken"`, `"extra":1,"idToken"`, 1),
		"a second value":             good + good,
		"trailing word":              good + "true",
		"trailing garbage":           good + "x",
		"trailing brace":             good + "}",
		"trailing bracket":           good + "]",
		"trailing comma":             good + ",",
		"trailing zero byte":         good + "\x00",
		"no id":                      strings.Replace(good, `"id":"d-1"`, `"id":""`, 1),
		"bad id":                     strings.Replace(good, `"id":"d-1"`, `"id":"a/b"`, 1),
		"iat as a string":            strings.Replace(good, `"iat":1772366400`, `"iat":"1772366400"`, 1),
		"iat with a fraction":        strings.Replace(good, `"iat":1772366400`, `"iat":1772366400.5`, 1),
		"oversize by trailing space": good + strings.Repeat(" ", countersign.MaxSignedDecision),
		"oversize token":             strings.Replace(good, "a.b.c", strings.Repeat("x", countersign.MaxSignedDecision), 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := countersign.ParseSignedDecision([]byte(raw)); err == nil {
				t.Error("accepted")
			} else if !strings.HasPrefix(err.Error(), "couldn't read the decision: ") {
				t.Errorf("%q doesn't say what couldn't be read", err)
			}
		})
	}
}

func TestParseSignedDecisionReadsExactlyTheLimit(t *testing.T) {
	t.Parallel()
	good := signedJSON(t)
	full := good + strings.Repeat(" ", countersign.MaxSignedDecision-len(good))
	if _, err := countersign.ParseSignedDecision([]byte(full)); err != nil {
		t.Error(err)
	}
}

// Two readers of one JSON text must see one decision: a name that stands twice, or in another case, is read differently
// by different languages (RFC 8259, section 4).
func TestParseSignedDecisionRefusesAmbiguousNames(t *testing.T) {
	t.Parallel()
	good := signedJSON(t)
	for name, raw := range map[string]string{
		"verdict twice":           strings.Replace(good, `"verdict":"approve"`, `"verdict":"reject","verdict":"approve"`, 1),
		"verdict in another case": strings.Replace(good, `"verdict":"approve"`, `"Verdict":"approve"`, 1),
		"both":                    strings.Replace(good, `"verdict":"approve"`, `"verdict":"reject","VERDICT":"approve"`, 1),
		"decision twice":          strings.Replace(good, `"proof":`, `"decision":{},"proof":`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if s, err := countersign.ParseSignedDecision([]byte(raw)); err == nil {
				t.Errorf("accepted, with the verdict %q", s.Decision.Verdict)
			}
		})
	}
}

func FuzzParseSignedDecision(f *testing.F) {
	good := signedJSON(f)
	f.Add([]byte(good))
	f.Add([]byte(good + "}"))
	f.Add([]byte(strings.Replace(good, "approve", "reject", 1)))
	f.Add([]byte(`{"id":"x","decision":{"iat":-1,"exp":9223372036854775807}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := countersign.ParseSignedDecision(raw)
		if err != nil {
			return
		}
		if len(raw) > countersign.MaxSignedDecision || countersign.CheckRequestID(s.ID) != nil {
			t.Fatalf("accepted %d bytes with id %q", len(raw), s.ID)
		}
		if !json.Valid(raw) {
			t.Fatal("accepted what is not one JSON value")
		}
		d := s.Decision
		if d.Check() != nil {
			return
		}
		if life := d.ExpiresAt - d.IssuedAt; life <= 0 || life > 900 {
			t.Fatalf("accepted a life of %d seconds", life)
		}
		// What is read and written again is the same decision.
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back countersign.SignedDecision
		if err := json.Unmarshal(again, &back); err != nil {
			t.Fatal(err)
		}
		one, err1 := d.Digest()
		two, err2 := back.Decision.Digest()
		if one != two || err1 != nil || err2 != nil {
			t.Fatalf("%s (%v) became %s (%v)", one, err1, two, err2)
		}
	})
}
