package shred

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// place is where a string of somebody stands in a bundle.
type place struct{ from, to, subject int }

// found looks for the strings of all people in all windows.
func found(bundle []byte, windows []Window, subjects []Subject) (places []place) {
	for _, w := range windows {
		text := bundle[w.Offset : w.Offset+w.Length]
		if w.Base64 {
			plain, err := base64.StdEncoding.AppendDecode(nil, text)
			if err != nil {
				continue
			}
			text = plain
		}
		for i, s := range subjects {
			for _, needle := range spellings(s.Strings) {
				for at := 0; ; {
					n := bytes.Index(text[at:], []byte(needle))
					if n < 0 {
						break
					}
					from, to := at+n, at+n+len(needle)
					at = to
					if w.Base64 {
						// Base64 writes three bytes as four characters; what shares a group with personal data goes with it.
						from, to = from/3*4, min((to+2)/3*4, w.Length)
					}
					places = append(places, place{w.Offset + from, w.Offset + to, i})
				}
			}
		}
	}
	return places
}

// spellings are the ways in which strings are written in the files of a bundle: as they are, and as JSON with and without the escapes for HTML.
func spellings(texts []string) (all []string) {
	for _, text := range texts {
		if len(text) < leastString {
			continue
		}
		all = append(all, text)
		escaped, err := json.Marshal(text)
		if err == nil {
			all = append(all, string(escaped[1:len(escaped)-1]))
		}
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if e.Encode(text) == nil {
			all = append(all, strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
