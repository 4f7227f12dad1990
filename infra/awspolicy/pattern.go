package awspolicy

import (
	"errors"
	"fmt"
	"strings"
)

// pattern is a text with policy variables, and where that is meant, wildcards. A variable's value is taken as it is: a wildcard in it is a character.
type pattern []piece

type piece struct {
	literal  string
	variable string
	wild     byte // '*' or '?'
}

var errUnresolved = errors.New("a variable has no value in this request")

// parsePattern reads a text. Without wild, * and ? are characters like others.
func parsePattern(text string, wild bool) (pattern, error) {
	var p pattern
	rest := text
	for rest != "" {
		stop := "${"
		at := strings.Index(rest, stop)
		plain := rest
		if at >= 0 {
			plain = rest[:at]
		}
		p = append(p, plainPieces(plain, wild)...)
		rest = rest[len(plain):]
		if at < 0 {
			break
		}
		name, after, closed := strings.Cut(rest[len(stop):], "}")
		if !closed || !policyVariables[name] {
			return nil, fmt.Errorf("the variable in %q isn't known", text)
		}
		p = append(p, piece{variable: name})
		rest = after
	}
	return p, nil
}

func plainPieces(text string, wild bool) (p pattern) {
	if !wild {
		if text != "" {
			p = append(p, piece{literal: text})
		}
		return p
	}
	for text != "" {
		at := strings.IndexAny(text, "*?")
		if at < 0 {
			return append(p, piece{literal: text})
		}
		if at > 0 {
			p = append(p, piece{literal: text[:at]})
		}
		p = append(p, piece{wild: text[at]})
		text = text[at+1:]
	}
	return p
}

// resolve puts the request's values in the place of variables.
func (p pattern) resolve(c Context) (pattern, error) {
	resolved := make(pattern, len(p))
	for i, part := range p {
		if part.variable != "" {
			values := c[part.variable]
			if len(values) != 1 || values[0] == "" {
				return nil, errUnresolved
			}
			part = piece{literal: values[0]}
		}
		resolved[i] = part
	}
	return resolved, nil
}

// matches compares a resolved pattern with a whole text, in time that is at most the product of their lengths.
func (p pattern) matches(text string) bool {
	type token struct {
		char byte
		wild byte
	}
	var tokens []token
	for _, part := range p {
		if part.wild != 0 {
			tokens = append(tokens, token{wild: part.wild})
			continue
		}
		for i := range len(part.literal) {
			tokens = append(tokens, token{char: part.literal[i]})
		}
	}
	at, star, back := 0, -1, 0
	for i := 0; i < len(text); {
		switch {
		case at < len(tokens) && tokens[at].wild == '*':
			star, back = at, i
			at++
		case at < len(tokens) && (tokens[at].wild == '?' || tokens[at].wild == 0 && tokens[at].char == text[i]):
			at++
			i++
		case star >= 0:
			back++
			at, i = star+1, back
		default:
			return false
		}
	}
	for at < len(tokens) && tokens[at].wild == '*' {
		at++
	}
	return at == len(tokens)
}
