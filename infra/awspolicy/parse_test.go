package awspolicy

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	awsfiles "github.com/countersign-dev/countersign/infra/aws"
)

var update = flag.Bool("update", false, "write the golden policies anew")

// The golden files are what Terraform applies: a reader of a change to a template sees what it makes.
func TestRenderedPoliciesAreTheGoldenOnes(t *testing.T) {
	t.Parallel()
	for name := range kinds {
		golden, got := filepath.Join("testdata", name), rendered(t, name)
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s isn't %s any more (%v); look at the difference, and run with -update", name, golden, err)
		}
	}
}

const (
	soundBucket = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "One",
      "Effect": "Deny",
      "Principal": "*",
      "Action": ["s3:PutObject"],
      "Resource": "arn:aws:s3:::bucket/${aws:PrincipalTag/tenant}/*",
      "Condition": {"StringNotEquals": {"s3:object-lock-mode": "COMPLIANCE"}}
    }
  ]
}`
)

// TestR10_APolicyThatIsNotUnderstoodIsRefused spoils one part of a sound policy at a time.
func TestR10_APolicyThatIsNotUnderstoodIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := Parse("sound.json", BucketPolicy, []byte(soundBucket)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, new, line, says string }{
		"an older version":               {`2012-10-17`, `2008-10-17`, "2", "the Version must be"},
		"no version":                     {`"Version": "2012-10-17",`, ``, "1", "Version and Statement are both needed"},
		"an element of the document":     {`"Version"`, `"Id": "x", "Version"`, "2", `the element "Id" isn't known`},
		"an element of a statement":      {`"Effect"`, `"NotAction": "s3:*", "Effect"`, "6", `the element "NotAction" isn't known`},
		"NotPrincipal":                   {`"Principal"`, `"NotPrincipal"`, "7", `the element "NotPrincipal" isn't known`},
		"another case":                   {`"Effect"`, `"effect"`, "6", `the element "effect" isn't known`},
		"an element twice":               {`"Effect"`, `"Effect": "Allow", "Effect"`, "6", `"Effect" is there twice`},
		"an effect":                      {`"Deny"`, `"Refuse"`, "6", "Allow or Deny"},
		"no effect":                      {`"Effect": "Deny",`, ``, "4", "needs Sid, Effect and Action"},
		"no sid":                         {`"Sid": "One",`, ``, "4", "needs Sid, Effect and Action"},
		"an action":                      {`s3:PutObject"`, `s3:PutObjects"`, "8", `the action "s3:PutObjects" isn't known`},
		"an action in another case":      {`s3:PutObject"`, `s3:putObject"`, "8", "isn't known"},
		"a pattern of actions":           {`s3:PutObject"`, `s3:Put*"`, "8", `the action "s3:Put*" isn't known`},
		"an action of another service":   {`s3:PutObject"`, `kms:Sign"`, "4", "doesn't belong into a bucket policy"},
		"an action twice":                {`"s3:PutObject"`, `"s3:PutObject", "s3:PutObject"`, "8", "there twice"},
		"no action":                      {`["s3:PutObject"]`, `[]`, "8", "a string or an array of strings"},
		"an action of another resource":  {`s3:PutObject"]`, `s3:PutObject", "s3:ListBucket"]`, "4", "s3:ListBucket doesn't know s3:object-lock-mode"},
		"a resource that it can't have":  {`bucket/${aws:PrincipalTag/tenant}/*`, `bucket`, "4", "none of its resources is one of s3:PutObject"},
		"a resource that is no ARN":      {`arn:aws:s3:::bucket/`, `bucket/`, "9", "isn't known"},
		"a resource of another kind":     {`arn:aws:s3:::bucket/`, `arn:aws:sqs:::bucket/`, "9", "isn't known"},
		"every resource":                 {`arn:aws:s3:::bucket/${aws:PrincipalTag/tenant}/*`, `*`, "9", "isn't known"},
		"a variable":                     {`aws:PrincipalTag/tenant`, `aws:username`, "9", "the variable in"},
		"a variable with a default":      {`aws:PrincipalTag/tenant`, `aws:PrincipalTag/tenant, 'acme'`, "9", "the variable in"},
		"an open variable":               {`tenant}/*`, `tenant/*`, "9", "the variable in"},
		"Resource and NotResource":       {`"Condition"`, `"NotResource": "arn:aws:s3:::bucket/x", "Condition"`, "10", "Resource or NotResource, once"},
		"a principal of a service":       {`"Principal": "*"`, `"Principal": {"Service": "ec2.amazonaws.com"}`, "7", "the Principal must be"},
		"a principal that is no ARN":     {`"Principal": "*"`, `"Principal": {"AWS": "*"}`, "7", "is no ARN of"},
		"everybody allowed":              {`"Deny"`, `"Allow"`, "4", "nothing is allowed to everybody"},
		"no principal":                   {`"Principal": "*",`, ``, "4", "has a Principal"},
		"an operator":                    {`StringNotEquals`, `StringEqualsIgnoreCase`, "10", `the operator "StringEqualsIgnoreCase" isn't known`},
		"an operator that may be absent": {`StringNotEquals`, `StringNotEqualsIfExists`, "10", "isn't known"},
		"an operator of another type":    {`StringNotEquals`, `Bool`, "10", "can't be compared by Bool"},
		"a condition key":                {`s3:object-lock-mode`, `s3:object-lock-legal-hold`, "10", `the condition key "s3:object-lock-legal-hold" isn't known`},
		"a condition key in another case": {`s3:object-lock-mode`, `s3:Object-Lock-Mode`, "10",
			`the condition key "s3:Object-Lock-Mode" isn't known`},
		"a key that the action lacks":     {`{"s3:object-lock-mode": "COMPLIANCE"}`, `{"s3:prefix": "acme/"}`, "4", "s3:PutObject doesn't know s3:prefix"},
		"a key that not every action has": {`["s3:PutObject"]`, `"s3:*"`, "4", "not every action knows s3:object-lock-mode"},
		"an empty condition":              {`{"StringNotEquals": {"s3:object-lock-mode": "COMPLIANCE"}}`, `{}`, "10", "a Condition is an object of operators"},
		"a number":                        {`"COMPLIANCE"`, `7`, "10", "is no string"},
		"null":                            {`"COMPLIANCE"`, `null`, "10", "is no string"},
		"what isn't JSON":                 {`"Effect": "Deny",`, `"Effect" "Deny",`, "6", "this isn't JSON"},
		"something afterwards":            {"\n  ]\n}", "\n  ]\n} {}", "13", "something follows"},
		"a comment":                       {`"Sid"`, `// x`, "5", "this isn't JSON"},
	} {
		if !strings.Contains(soundBucket, c.old) {
			t.Fatalf("%s: %q isn't in the sound policy", name, c.old)
		}
		_, err := Parse("spoiled.json", BucketPolicy, []byte(strings.Replace(soundBucket, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), "spoiled.json:"+c.line+": ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want line %s and %q", name, err, c.line, c.says)
		}
	}
}

func TestConditionsTakeValuesOfTheirType(t *testing.T) {
	t.Parallel()
	for condition, says := range map[string]string{
		`{"Bool":{"aws:SecureTransport":"no"}}`:                                             "must be",
		`{"Null":{"aws:PrincipalTag/tenant":"yes"}}`:                                        "must be",
		`{"Null":{"aws:PrincipalTag/tenant":["true","false"]}}`:                             "one value",
		`{"NotIpAddress":{"aws:SourceIp":"10.0.0.1"}}`:                                      "CIDR",
		`{"NotIpAddress":{"aws:SourceIp":"10.0.0.1/8"}}`:                                    "CIDR",
		`{"ArnLike":{"aws:PrincipalArn":"*"}}`:                                              "must be an ARN",
		`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::1:role/${aws:PrincipalTag/tenant}"}}`: "takes no variables",
		`{"StringEquals":{"aws:TagKeys":"tenant"}}`:                                         "can't be compared",
		`{"ForAllValues:StringEquals":{"aws:PrincipalTag/tenant":"a"}}`:                     "can't be compared",
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*","Condition":` + condition + `}]}`
		if _, err := Parse("a.json", BucketPolicy, []byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", condition, err, says)
		}
	}
}

func TestWhatAPolicyIsAttachedToDecidesItsElements(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		for _, other := range []Kind{RolePolicy, TrustPolicy, BucketPolicy, KeyPolicy} {
			if _, err := Parse(name, other, rendered(t, name)); (err == nil) != (other == kind) {
				t.Errorf("%s as a %s: %v", name, other, err)
			}
		}
	}
}

func TestTemplatesAreWhatTerraformReads(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{
		`a ${one} b`:       `a 1 b`,
		`$${aws:x} ${one}`: `${aws:x} 1`,
		`$ { } 100% {one}`: `$ { } 100% {one}`,
		`${two}`:           "a.json:1: no value is given for ${two}",
		"\n${ one }":       "a.json:2: ",
		`${upper(one)}`:    "no plain variable",
		`${aws:x}`:         "no plain variable",
		`%{ if one }`:      "directives",
		`${wild}`:          "the value of ${wild} must be",
		`${quote}`:         "the value of ${quote} must be",
	} {
		got, err := Render("a.json", []byte(template), map[string]string{"one": "1", "wild": "*", "quote": `a"`})
		if err != nil {
			got = []byte(err.Error())
		}
		if !strings.Contains(string(got), want) || err == nil && string(got) != want {
			t.Errorf("%q renders %q, want %q", template, got, want)
		}
	}
	if _, err := Render("a.json", bytes.Repeat([]byte(" "), maxPolicy+1), nil); err == nil {
		t.Error("a template may be as large as it likes")
	}
}

// FuzzParse: whatever is read, nothing panics, and what an unknown caller asks without any context is never allowed.
func FuzzParse(f *testing.F) {
	f.Add([]byte(soundBucket), 2)
	for name := range kinds {
		template, err := awsfiles.Files.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		text, err := Render(name, template, production)
		if err != nil {
			f.Fatal(err)
		}
		for i := range 4 {
			f.Add(text, i)
		}
	}
	f.Add([]byte(strings.Repeat("[", 100)), 0)
	f.Fuzz(func(t *testing.T, text []byte, which int) {
		kind := []Kind{RolePolicy, TrustPolicy, BucketPolicy, KeyPolicy}[which&3]
		p, err := Parse("fuzz.json", kind, text)
		if err != nil {
			if !strings.Contains(err.Error(), "fuzz.json:") {
				t.Errorf("the error doesn't say where: %v", err)
			}
			return
		}
		for _, s := range p.statements {
			for _, action := range s.actions {
				d := Decide(Request{Action: action, Resource: docs + "/x", Context: Context{}}, nil, p)
				if d.Allowed || d.By == "" {
					t.Errorf("nobody may %s: %+v", action, d)
				}
			}
		}
	})
}
