package vectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// node is a JSON value whose members keep their order and whose scalars keep their text: a payload that is written again is the same bytes, but for what was
// changed in it.
type node struct {
	keys []string // of an object
	in   []*node  // of an object or a list
	kind byte     // '{', '[' or 0
	raw  string   // of a scalar
}

func parseNode(text []byte) (*node, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	n, err := readNode(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows: %v", err)
	}
	return n, nil
}

func readNode(d *json.Decoder) (*node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, ok := t.(json.Delim)
	if !ok {
		raw, err := json.Marshal(t)
		return &node{raw: string(raw)}, err
	}
	n := &node{kind: byte(open)}
	for d.More() {
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			n.keys = append(n.keys, key.(string))
		}
		inner, err := readNode(d)
		if err != nil {
			return nil, err
		}
		n.in = append(n.in, inner)
	}
	_, err = d.Token()
	return n, err
}

func (n *node) String() string {
	var b strings.Builder
	n.write(&b)
	return b.String()
}

func (n *node) write(b *strings.Builder) {
	if n.kind == 0 {
		b.WriteString(n.raw)
		return
	}
	b.WriteByte(n.kind)
	for i, inner := range n.in {
		if i > 0 {
			b.WriteByte(',')
		}
		if n.kind == '{' {
			b.WriteString(text(n.keys[i]) + ":")
		}
		inner.write(b)
	}
	b.WriteByte(n.kind + 2) // } and ] stand two places behind { and [
}

// with is a copy whose inner value at one place is another one.
func (n *node) with(i int, value *node) *node {
	c := &node{keys: n.keys, in: slices.Clone(n.in), kind: n.kind}
	c.in[i] = value
	return c
}

func (n *node) without(i int) *node {
	c := &node{in: slices.Delete(slices.Clone(n.in), i, i+1), kind: n.kind}
	if n.kind == '{' {
		c.keys = slices.Delete(slices.Clone(n.keys), i, i+1)
	}
	return c
}

func (n *node) plus(key string, value *node) *node {
	return &node{keys: append(slices.Clone(n.keys), key), in: append(slices.Clone(n.in), value), kind: n.kind}
}

// edit is one change of a payload: what stands at a place, and what shall.
type edit struct {
	path     string // with every place in a list written as []
	op       string
	key      string // the member that is changed; empty in lists, and for the whole
	from, to string // of the value; of the whole parent where a member comes or goes
	whole    string // the payload after it
}

// donors are values that stand at a place somewhere in all that is known, by the place's path.
type donors map[string][]*node

func (d donors) add(path string, n *node) {
	if len(d[path]) < 8 && !slices.ContainsFunc(d[path], func(o *node) bool { return o.String() == n.String() }) {
		d[path] = append(d[path], n)
	}
}

func (d donors) learn(path string, n *node) {
	d.add(path, n)
	for i, inner := range n.in {
		d.learn(inside(path, n, i), inner)
	}
}

func inside(path string, n *node, i int) string {
	if n.kind == '[' {
		return path + "[]"
	}
	return path + "." + n.keys[i]
}

// edits are all changes of a value that this harness knows. put makes the whole payload with another value in this place.
func (d donors) edits(path, key string, n *node, put func(*node) *node, each func(edit)) {
	change := func(op string, to *node) {
		if to.String() != n.String() {
			each(edit{path: path, op: op, key: key, from: n.String(), to: to.String(), whole: put(to).String()})
		}
	}
	other := 0
	for _, donor := range d[path] {
		if donor.String() != n.String() && other < 2 {
			other++
			change("another", donor)
		}
	}
	switch n.kind {
	case 0:
		for _, to := range altered(n.raw) {
			change("changed", &node{raw: to})
		}
		return
	case '{':
		for place := range d {
			member, ok := strings.CutPrefix(place, path+".")
			if ok && !strings.ContainsAny(member, ".[") && !slices.Contains(n.keys, member) {
				for i, donor := range d[place] {
					if i < 2 {
						to := n.plus(member, donor)
						each(edit{path: place, op: "added", key: key, from: n.String(), to: to.String(), whole: put(to).String()})
					}
				}
			}
		}
	case '[':
		if len(n.in) > 0 {
			change("doubled", &node{in: append(slices.Clone(n.in), n.in[0]), kind: '['})
			change("emptied", &node{kind: '['})
		}
		if len(n.in) > 1 {
			swapped := n.with(0, n.in[1])
			swapped.in[1] = n.in[0]
			change("swapped", swapped)
		}
	}
	for i, inner := range n.in {
		within := func(to *node) *node { return put(n.with(i, to)) }
		name := ""
		if n.kind == '{' {
			name = n.keys[i]
		}
		if shorter := n.without(i); shorter.String() != n.String() {
			each(edit{path: inside(path, n, i), op: "removed", key: key, from: n.String(), to: shorter.String(), whole: put(shorter).String()})
		}
		d.edits(inside(path, n, i), name, inner, within, each)
	}
}

// altered are other scalars of the same kind.
func altered(raw string) []string {
	var s string
	if json.Unmarshal([]byte(raw), &s) != nil || raw[0] != '"' {
		switch raw {
		case "true":
			return []string{"false"}
		case "false":
			return []string{"true"}
		case "null":
			return nil
		}
		var number json.Number
		if json.Unmarshal([]byte(raw), &number) != nil {
			return nil
		}
		if n, err := number.Int64(); err == nil {
			return []string{fmt.Sprint(n + 1), fmt.Sprint(max(0, n-1))}
		}
		return nil
	}
	if at, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return []string{text(at.Add(2 * time.Hour)), text(at.Add(-2 * time.Hour))}
	}
	if s == "" {
		return []string{`"x"`}
	}
	last := "0"
	if strings.HasSuffix(s, "0") {
		last = "1"
	}
	return []string{text(s[:len(s)-1] + last), `""`}
}

func TestR13_AValueIsWrittenAsItWasRead(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`{"b":1,"a":[true,null,"é\u003c"],"c":{},"d":[]}`, `"x"`, `[[],[{}]]`} {
		if n, err := parseNode([]byte(raw)); err != nil || n.String() != raw {
			t.Errorf("%s: %v, %v", raw, n, err)
		}
	}
}
