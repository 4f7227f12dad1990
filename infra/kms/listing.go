package kms

import (
	"encoding/base64"
	"slices"
)

// page is the end of each listing's answer.
type page struct {
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

// paginate cuts the page that in asks for out of sorted names. A marker is
// the last name of the page before, so that a page is right even when names
// came or went in between.
func paginate(names []string, in *listInput, usual, most int) ([]string, page, error) {
	limit := usual
	if in.Limit != nil {
		limit = *in.Limit
	}
	if limit < 1 || limit > most {
		return nil, page{}, invalid("1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must have value between 1 and %d", most)
	}
	if in.Marker != "" {
		after, err := base64.RawURLEncoding.DecodeString(in.Marker)
		if err != nil || len(after) == 0 {
			return nil, page{}, fail("InvalidMarkerException", "the marker isn't one that a listing returned")
		}
		at, found := slices.BinarySearch(names, string(after))
		if found {
			at++
		}
		names = names[at:]
	}
	if len(names) <= limit {
		return names, page{}, nil
	}
	names = names[:limit]
	return names, page{NextMarker: base64.RawURLEncoding.EncodeToString([]byte(names[limit-1])), Truncated: true}, nil
}

type keyEntry struct{ KeyArn, KeyId string }

type listKeysOutput struct {
	Keys []keyEntry
	page
}

func (c *call) listKeys(in *struct {
	Limit  *int
	Marker string
}) (any, error) {
	out := listKeysOutput{Keys: []keyEntry{}}
	err := c.store.read(func() error {
		var ids []string
		for id, k := range c.store.keys {
			if !k.goneAt(c.now()) {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		ids, p, err := paginate(ids, &listInput{Limit: in.Limit, Marker: in.Marker}, 100, 1000)
		if err != nil {
			return err
		}
		out.page = p
		for _, id := range ids {
			out.Keys = append(out.Keys, keyEntry{KeyArn: c.arn("key/" + id), KeyId: id})
		}
		return nil
	})
	return out, err
}
