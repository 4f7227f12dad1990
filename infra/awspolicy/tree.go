package awspolicy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// node is a JSON value that knows its line. Only what a policy can be made of: objects, arrays and strings.
type node struct {
	line    int
	text    string   // of a string
	members []member // of an object, in order
	items   []*node  // of an array
	kind    byte     // '{', '[' or '"'
}

type member struct {
	name  string
	value *node
}

// maxDepth is that of a value within Condition, which lies deepest: document, Statement, statement, Condition, operator, key.
const maxDepth = 8

// reader reads JSON with its own eye on what encoding/json passes over in silence: a member that is there twice.
type reader struct {
	name    string
	text    []byte
	decoder *json.Decoder
}

func readTree(name string, text []byte) (*node, error) {
	if len(text) > maxPolicy {
		return nil, fmt.Errorf("%s: a policy has at most %d bytes", name, maxPolicy)
	}
	r := &reader{name: name, text: text, decoder: json.NewDecoder(bytes.NewReader(text))}
	root, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, r.fault("something follows the policy")
	}
	return root, nil
}

func (r *reader) line() int { return lineAt(r.text, int(r.decoder.InputOffset())) }

func (r *reader) fault(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", r.name, r.line(), fmt.Sprintf(format, args...))
}

func (r *reader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, r.fault("this is nested too deeply")
	}
	token, err := r.decoder.Token()
	if err != nil {
		return nil, r.fault("this isn't JSON: %v", err)
	}
	n := &node{line: r.line()}
	switch token {
	case json.Delim('{'):
		return r.object(n, depth)
	case json.Delim('['):
		n.kind = '['
		for r.decoder.More() {
			item, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
		_, err := r.decoder.Token()
		if err != nil {
			return nil, r.fault("this isn't JSON: %v", err)
		}
		return n, nil
	}
	text, ok := token.(string)
	if !ok {
		return nil, r.fault("%v is no string; numbers, booleans and null are written as strings here", token)
	}
	n.kind, n.text = '"', text
	return n, nil
}

func (r *reader) object(n *node, depth int) (*node, error) {
	n.kind = '{'
	seen := map[string]bool{}
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return nil, r.fault("this isn't JSON: %v", err)
		}
		name, _ := token.(string)
		if seen[name] {
			return nil, r.fault("%q is there twice", name)
		}
		seen[name] = true
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.members = append(n.members, member{name, value})
	}
	if _, err := r.decoder.Token(); err != nil {
		return nil, r.fault("this isn't JSON: %v", err)
	}
	return n, nil
}
