package awspolicy

import (
	"strings"
	"testing"
	"time"
)

func TestHowPoliciesAddUp(t *testing.T) {
	t.Parallel()
	role := func(effect string) *Policy {
		return parsed(t, "role", RolePolicy, []byte(`{"Version":"2012-10-17","Statement":[
			{"Sid":"S","Effect":"`+effect+`","Action":"s3:GetObject","Resource":"arn:aws:s3:::acme-documents/*"},
			{"Sid":"K","Effect":"`+effect+`","Action":"kms:Sign","Resource":"arn:aws:kms:eu-central-1:111122223333:key/*"}]}`))
	}
	of := func(kind Kind, effect, principal, action, resource string) *Policy {
		return parsed(t, "resource", kind, []byte(`{"Version":"2012-10-17","Statement":[{"Sid":"R","Effect":"`+effect+`","Principal":`+principal+`,"Action":"`+action+`","Resource":"`+resource+`"}]}`))
	}
	const account, itself, another = `{"AWS":"arn:aws:iam::111122223333:root"}`, `{"AWS":"` + worker + `"}`, `{"AWS":"arn:aws:iam::111122223333:role/x"}`
	bucket := func(effect, principal string) *Policy {
		return of(BucketPolicy, effect, principal, "s3:GetObject", docs+"/*")
	}
	key := func(effect, principal string) *Policy { return of(KeyPolicy, effect, principal, "kms:Sign", "*") }
	read := Request{Principal: worker, Action: "s3:GetObject", Resource: docs + "/x"}
	sign := Request{Principal: worker, Action: "kms:Sign", Resource: sealKey}
	for name, c := range map[string]struct {
		r        Request
		role     []*Policy
		resource *Policy
		allowed  bool
		by       string
	}{
		"bucket: nothing said":                 {read, nil, nil, false, "no statement allows it"},
		"bucket: the role's policy":            {read, []*Policy{role("Allow")}, nil, true, "role S"},
		"bucket: the bucket's, by role":        {read, nil, bucket("Allow", itself), true, "resource R"},
		"bucket: the bucket's, by account":     {read, nil, bucket("Allow", account), false, "no statement allows it"},
		"bucket: the bucket's, to another":     {read, nil, bucket("Allow", another), false, "no statement allows it"},
		"bucket: denied by the bucket":         {read, []*Policy{role("Allow")}, bucket("Deny", `"*"`), false, "resource R"},
		"bucket: denied by the account's name": {read, []*Policy{role("Allow")}, bucket("Deny", account), false, "resource R"},
		"bucket: denied to another":            {read, []*Policy{role("Allow")}, bucket("Deny", another), true, "role S"},
		"bucket: denied by the role":           {read, []*Policy{role("Deny")}, bucket("Allow", itself), false, "role S"},
		"bucket: two policies of a role":       {read, []*Policy{role("Allow"), role("Deny")}, nil, false, "role S"},
		"key: no policy":                       {sign, []*Policy{role("Allow")}, nil, false, "hands it to the account"},
		"key: the role's policy alone":         {sign, []*Policy{role("Allow")}, key("Allow", another), false, "hands it to the account"},
		"key: handed to the account":           {sign, nil, key("Allow", account), false, "no statement allows it"},
		"key: both":                            {sign, []*Policy{role("Allow")}, key("Allow", account), true, "role K"},
		"key: the key's, by role":              {sign, nil, key("Allow", itself), true, "resource R"},
		"key: denied by the key":               {sign, []*Policy{role("Allow")}, key("Deny", `"*"`), false, "resource R"},
		"nobody":                               {Request{Action: "kms:Sign", Resource: sealKey}, nil, key("Allow", account), false, "no statement allows it"},
		"an account that begins alike":         {Request{Principal: "arn:aws:iam::1111222233334:role/x", Action: "kms:Sign", Resource: sealKey}, []*Policy{role("Allow")}, key("Allow", account), false, "hands"},
		"an unknown action":                    {Request{Principal: worker, Action: "s3:Get", Resource: docs}, []*Policy{role("Allow")}, nil, false, "isn't known"},
		"an unknown condition key":             {Request{Principal: worker, Action: "s3:GetObject", Resource: docs + "/x", Context: Context{"aws:userid": {"x"}}}, []*Policy{role("Allow")}, nil, false, "isn't known"},
		"a condition key with two values":      {Request{Principal: worker, Action: "s3:GetObject", Resource: docs + "/x", Context: Context{keyPrefix: {"x", "y"}}}, []*Policy{role("Allow")}, nil, false, "has several values"},
	} {
		if d := Decide(c.r, c.role, c.resource); d.Allowed != c.allowed || !strings.Contains(d.By, c.by) {
			t.Errorf("%s: %+v, want %v by %q", name, d, c.allowed, c.by)
		}
	}
}

func TestOperators(t *testing.T) {
	t.Parallel()
	const tag, none = "aws:PrincipalTag/tenant", ""
	for _, c := range []struct {
		operator, key, value, given string
		holds                       bool
	}{
		{"StringEquals", tag, "a", "a", true}, {"StringEquals", tag, "a", "A", false}, {"StringEquals", tag, "a*", "ab", false}, {"StringEquals", tag, "a", none, false},
		{"StringNotEquals", tag, "a", "a", false}, {"StringNotEquals", tag, "a", "b", true}, {"StringNotEquals", tag, "a", none, true},
		{"StringLike", keyPrefix, "a/*", "a/", true}, {"StringLike", keyPrefix, "a/*", "a", false}, {"StringLike", keyPrefix, "a?c", "abc", true}, {"StringLike", keyPrefix, "a?c", "ac", false}, {"StringLike", keyPrefix, "*", none, false},
		{"StringNotLike", keyPrefix, "a/*", "a/b", false}, {"StringNotLike", keyPrefix, "a/*", "b/a/", true}, {"StringNotLike", keyPrefix, "a/*", none, true},
		{"ArnLike", "aws:PrincipalArn", "arn:aws:iam::1:role/a/*", "arn:aws:iam::1:role/a/b/c", true}, {"ArnLike", "aws:PrincipalArn", "arn:aws:iam::1:role/a/*", "arn:aws:iam::2:role/a/b", false},
		{"ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/a", "arn:aws:iam::1:role/a", true}, {"ArnLike", "aws:PrincipalArn", "arn:aws:*:role/a", "arn:aws:iam::1:role/a", false}, {"ArnLike", "aws:PrincipalArn", "arn:aws:iam::1:role/a", none, false},
		{"ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::1:role/a/*", "arn:aws:iam::1:role/a/b", false}, {"ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::1:role/a/*", "arn:aws:iam::2:role/a/b", true}, {"ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::1:role/a", none, true},
		{"Bool", "aws:SecureTransport", "false", "false", true}, {"Bool", "aws:SecureTransport", "false", "true", false}, {"Bool", "aws:SecureTransport", "false", none, false},
		{"Null", tag, "true", none, true}, {"Null", tag, "true", "a", false}, {"Null", tag, "false", "a", true}, {"Null", tag, "false", none, false},
		{"NumericLessThan", keyLockDays, "10", "9", true}, {"NumericLessThan", keyLockDays, "10", "10", false}, {"NumericLessThan", keyLockDays, "10", "-3", true}, {"NumericLessThan", keyLockDays, "10", none, false},
		{"NotIpAddress", "aws:SourceIp", "127.0.0.0/8", "127.0.0.1", false}, {"NotIpAddress", "aws:SourceIp", "127.0.0.0/8", "::ffff:127.0.0.1", false}, {"NotIpAddress", "aws:SourceIp", "127.0.0.0/8", "10.0.0.1", true}, {"NotIpAddress", "aws:SourceIp", "127.0.0.0/8", none, true},
		{"ForAllValues:StringEquals", "aws:TagKeys", "tenant", "tenant", true}, {"ForAllValues:StringEquals", "aws:TagKeys", "tenant", "tenant,other", false}, {"ForAllValues:StringEquals", "aws:TagKeys", "tenant", none, true},
	} {
		value, err := parsePattern(c.value, operators[c.operator].wild)
		if err != nil {
			t.Fatal(err)
		}
		request := Context{}
		if c.given != none {
			request[c.key] = strings.Split(c.given, ",")
		}
		got, err := condition{c.operator, c.key, []pattern{value}}.holds(request)
		if err != nil || got != c.holds {
			t.Errorf("%s %s: %q given %q: %v (%v)", c.operator, c.key, c.value, c.given, got, err)
		}
	}
}

// A pattern of many wildcards against a long text must not take exponential time.
func TestPatternsAreMatchedInBoundedTime(t *testing.T) {
	t.Parallel()
	p := plainPieces(strings.Repeat("*a", 500)+"b", true)
	began := time.Now()
	if p.matches(strings.Repeat("a", 2000)) {
		t.Error("it matches")
	}
	if spent := time.Since(began); spent > 2*time.Second {
		t.Errorf("it took %v", spent)
	}
}
