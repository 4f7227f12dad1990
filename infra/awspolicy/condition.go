package awspolicy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Context holds what a request is judged by: condition keys with their values. A key that isn't there is absent, which operators tell from empty.
type Context map[string][]string

// condition is one key under one operator.
type condition struct {
	operator string
	key      string
	values   []pattern
}

// operator compares the request's value with those of the policy, of which one is enough.
type operator struct {
	takes []valueType // nil: any key
	many  bool        // for keys with several values
	wild  bool        // values have wildcards
	// check refuses a value when the policy is loaded.
	check func(string) error
	// absent is the answer for a key that isn't in the request.
	absent bool
	// negated turns the comparison round: true if no value fits.
	negated bool
	fits    func(given string, value pattern) bool
}

var operators = map[string]operator{
	"StringEquals":              {takes: []valueType{stringValue}, fits: equal},
	"StringNotEquals":           {takes: []valueType{stringValue}, fits: equal, absent: true, negated: true},
	"StringLike":                {takes: []valueType{stringValue}, fits: like, wild: true},
	"StringNotLike":             {takes: []valueType{stringValue}, fits: like, wild: true, absent: true, negated: true},
	"ForAllValues:StringEquals": {takes: []valueType{stringValue}, fits: equal, many: true, absent: true},
	"ArnLike":                   {takes: []valueType{arnValue}, fits: likeARN, wild: true, check: checkARN},
	"ArnNotLike":                {takes: []valueType{arnValue}, fits: likeARN, wild: true, check: checkARN, absent: true, negated: true},
	"Bool":                      {takes: []valueType{boolValue}, fits: equal, check: checkBool},
	"NumericLessThan":           {takes: []valueType{numberValue}, fits: less, check: checkNumber},
	"NotIpAddress":              {takes: []valueType{addressType}, fits: within, absent: true, negated: true, check: checkNetwork},
	// Null asks for absence itself, so it is judged apart.
	"Null": {check: checkBool},
}

func (p pattern) text() string {
	var b strings.Builder
	for _, part := range p {
		b.WriteString(part.literal)
		if part.wild != 0 {
			b.WriteByte(part.wild)
		}
	}
	return b.String()
}

func equal(given string, value pattern) bool { return given == value.text() }
func like(given string, value pattern) bool  { return value.matches(given) }

// likeARN compares the six parts of an ARN each for itself: a wildcard doesn't reach over a colon before the last part.
func likeARN(given string, value pattern) bool {
	a, b := strings.SplitN(given, ":", 6), strings.SplitN(value.text(), ":", 6)
	if len(a) != 6 || len(b) != 6 {
		return false
	}
	for i := range a {
		if !plainPieces(b[i], true).matches(a[i]) {
			return false
		}
	}
	return true
}

func less(given string, value pattern) bool {
	a, err := strconv.ParseFloat(given, 64)
	b, err2 := strconv.ParseFloat(value.text(), 64)
	return err == nil && err2 == nil && a < b
}

func within(given string, value pattern) bool {
	address, err := netip.ParseAddr(given)
	network, err2 := netip.ParsePrefix(value.text())
	return err == nil && err2 == nil && network.Contains(address.Unmap())
}

func checkBool(text string) error {
	if text != "true" && text != "false" {
		return fmt.Errorf(`%q must be "true" or "false"`, text)
	}
	return nil
}

func checkNumber(text string) error {
	if n, err := strconv.ParseUint(text, 10, 31); err != nil || strconv.FormatUint(n, 10) != text {
		return fmt.Errorf("%q must be a number", text)
	}
	return nil
}

func checkNetwork(text string) error {
	if p, err := netip.ParsePrefix(text); err != nil || p != p.Masked() {
		return fmt.Errorf("%q must be a network in CIDR notation", text)
	}
	return nil
}

func checkARN(text string) error {
	if parts := strings.SplitN(text, ":", 6); len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" || parts[5] == "" {
		return fmt.Errorf("%q must be an ARN", text)
	}
	return nil
}

// holds judges one condition. An unresolved variable is an error: AWS takes the whole statement as not said then.
func (c condition) holds(request Context) (bool, error) {
	given := request[c.key]
	if c.operator == "Null" {
		return (len(given) == 0) == (c.values[0].text() == "true"), nil
	}
	resolved := make([]pattern, len(c.values))
	for i, value := range c.values {
		var err error
		if resolved[i], err = value.resolve(request); err != nil {
			return false, err
		}
	}
	o := operators[c.operator]
	if len(given) == 0 {
		return o.absent, nil
	}
	for _, one := range given {
		if slices.ContainsFunc(resolved, func(value pattern) bool { return o.fits(one, value) }) == o.negated {
			return false, nil
		}
	}
	return true, nil
}
