package vectors

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/shred"
)

// concealed is a concealed form with keys for it, and what they make of it.
type concealed struct {
	About    string     `json:"about"`
	Masters  shred.Keys `json:"masters"` // keys of people, by their ids, of which those for the bundle are derived
	Stored   string     `json:"stored"`  // the concealed form, base64
	Digest   string     `json:"digest"`  // SHA-256 of it; empty where it has to be refused
	Bundle   string     `json:"bundle"`  // SHA-256 of what was concealed
	Revealed string     `json:"revealed"`
	Lost     [][2]int   `json:"lost"` // offset and length of what stays encrypted
}

// madeConcealed makes vectors with keys that are the same each time. What is concealed is no container: that is judged by itself.
func madeConcealed() []concealed {
	text := []byte(strings.Repeat(".", 21) + `{"name":"Alice Ahn","sub":"a-1001"},{"name":"Dave Dunn","sub":"a-1004","salt":"00112233445566778899"}` +
		base64.StdEncoding.EncodeToString([]byte(`["Alice Ahn","Dave Dunn"]`)))
	at := strings.LastIndex(string(text), "}") + 1
	windows := []shred.Window{{Offset: 21, Length: at - 21}, {Offset: at, Length: len(text) - at, Base64: true}}
	masters := shred.Keys{"0a": {1, 2, 3}, "0d": {31: 9}}
	digest := countersign.SHA256(text)
	var subjects []shred.Subject
	for id, theirs := range map[string][]string{"0a": {"Alice Ahn", "a-1001", "00112233445566778899"}, "0d": {"Dave Dunn", "a-1004", "00112233445566778899"}} {
		subjects = append(subjects, shred.Subject{ID: id, Key: must(masters[id].ForBundle(digest)), Strings: theirs})
	}
	var stored bytes.Buffer
	if err := shred.ConcealTo(&stored, text, windows, subjects); err != nil {
		panic(err)
	}
	var all []concealed
	for _, v := range []concealed{
		{About: "all keys", Masters: masters}, {About: "one is shredded", Masters: shred.Keys{"0d": masters["0d"]}}, {About: "all are shredded", Masters: shred.Keys{}},
	} {
		v.Stored = base64.StdEncoding.EncodeToString(stored.Bytes())
		v.judge()
		all = append(all, v)
	}
	for _, change := range [][3]string{
		{"a run that is longer than the bundle", `"runs":[[`, `"runs":[[9`}, {"people out of order", `"0a","0d"`, `"0d","0a"`}, {"a header that is not canonical", `{"bundle"`, `{ "bundle"`},
		{"another version", `"v":1`, `"v":2`}, {"another beginning", "countersign", "Countersign"},
	} {
		broken := strings.Replace(stored.String(), change[1], change[2], 1)
		if n := len(change[2]) - len(change[1]); n != 0 { // the header's length says so
			size := []byte(broken)
			size[len(shred.Magic)+3] += byte(n)
			broken = string(size)
		}
		all = append(all, concealed{About: change[0], Masters: masters, Stored: base64.StdEncoding.EncodeToString([]byte(broken)), Lost: [][2]int{}})
	}
	return all
}

// judge fills in what this project makes of the vector.
func (v *concealed) judge() {
	v.Digest, v.Bundle, v.Revealed, v.Lost = "", "", "", [][2]int{}
	raw, err := base64.StdEncoding.DecodeString(v.Stored)
	if err != nil {
		return
	}
	c, err := shred.Read(raw)
	if err != nil {
		return
	}
	keys := shred.Keys{}
	for id, master := range v.Masters {
		keys[id] = must(master.ForBundle(c.Bundle()))
	}
	body, lost, err := c.Reveal(keys)
	if err != nil {
		return
	}
	v.Digest, v.Bundle, v.Revealed = c.Digest, c.Bundle(), base64.StdEncoding.EncodeToString(body)
	for _, l := range lost {
		v.Lost = append(v.Lost, [2]int{l.Offset, l.Length})
	}
}

func TestN13_ConcealedForms(t *testing.T) {
	t.Parallel()
	all := vectors(t, "concealed.json", madeConcealed)
	refused := 0
	for _, want := range all {
		got := want
		got.judge()
		if got.Digest != want.Digest || got.Bundle != want.Bundle || got.Revealed != want.Revealed || len(got.Lost) != len(want.Lost) {
			t.Errorf("%s: it is now %+v, and was %+v", want.About, got, want)
		}
		if want.Digest == "" {
			refused++
		}
	}
	if refused != 5 || len(all) != 8 {
		t.Errorf("%d of %d are refused", refused, len(all))
	}
}
