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

// needles are the spellings of all people's strings, each with the people whose it is. Each is looked for once, however many people it is of.
func needles(subjects []Subject, least int) map[string][]int {
	all := map[string][]int{}
	for i, s := range subjects {
		for _, needle := range spellings(s.Strings, least) {
			all[needle] = append(all[needle], i)
		}
	}
	return all
}

// found looks for the strings of all people in all windows. It stops at more places than a header can have.
func found(bundle []byte, windows []Window, all map[string][]int) (places []place) {
	for _, w := range windows {
		text := bundle[w.Offset : w.Offset+w.Length]
		if w.Base64 {
			plain, err := base64.StdEncoding.AppendDecode(nil, text)
			if err != nil {
				continue
			}
			text = plain
		}
		for needle, subjects := range all {
			for at := 0; len(places) <= maxPlaces; {
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
				for _, s := range subjects {
					places = append(places, place{w.Offset + from, w.Offset + to, s})
				}
			}
		}
	}
	return places
}

// spellings are the ways in which strings are written in the files of a bundle: as they are, and as JSON with and without the escapes for HTML.
func spellings(texts []string, least int) (all []string) {
	for _, text := range texts {
		if len(text) < least {
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
