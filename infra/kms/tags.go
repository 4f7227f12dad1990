package kms

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxTags     = 50  // for one key
	maxTagKey   = 128 // characters
	maxTagValue = 256 // characters
)

// Find is a key by id, ARN or alias, with its tags, whoever asks: it is for what stands before the service and judges who may ask. A key that is
// gone isn't found.
func (s *Service) Find(id string) (arn string, tags map[string]string, found bool) {
	c := &call{Service: s, caller: Credential{Admin: true}}
	k, err := c.key(id, true)
	if err != nil {
		return "", nil, false
	}
	return c.keyARN(k), maps.Clone(k.record.Tags), true
}

type tag struct{ TagKey, TagValue string }

// addTags is old with the tags of added, which replace those of the same name.
func addTags(old map[string]string, added []tag) (map[string]string, error) {
	all := maps.Clone(old)
	if all == nil {
		all = map[string]string{}
	}
	seen := map[string]bool{}
	for _, t := range added {
		if err := checkTagKey(t.TagKey); err != nil {
			return nil, err
		}
		if err := checkLength("tags.member.tagValue", utf8.RuneCountInString(t.TagValue), 0, maxTagValue); err != nil {
			return nil, err
		}
		if seen[t.TagKey] {
			return nil, fail("TagException", "Duplicate tag keys")
		}
		seen[t.TagKey] = true
		all[t.TagKey] = t.TagValue
	}
	if len(all) > maxTags {
		return nil, fail("LimitExceededException", "a key has at most %d tags", maxTags)
	}
	return all, nil
}

func checkTagKey(name string) error {
	if err := checkLength("tags.member.tagKey", utf8.RuneCountInString(name), 1, maxTagKey); err != nil {
		return err
	}
	if strings.HasPrefix(strings.ToLower(name), "aws:") {
		return fail("TagException", "Tags beginning with aws: are reserved")
	}
	return nil
}

func (c *call) tagResource(in *struct {
	KeyId string
	Tags  []tag
}) (any, error) {
	_, err := c.changeKey(in.KeyId, func(k *key) (*key, error) {
		if err := c.notPendingDeletion(k); err != nil {
			return nil, err
		}
		tags, err := addTags(k.record.Tags, in.Tags)
		return k.with(func(r *record) { r.Tags = tags }), err
	})
	return nil, err
}

func (c *call) untagResource(in *struct {
	KeyId   string
	TagKeys []string
}) (any, error) {
	for _, name := range in.TagKeys {
		if err := checkTagKey(name); err != nil {
			return nil, err
		}
	}
	_, err := c.changeKey(in.KeyId, func(k *key) (*key, error) {
		return k.with(func(r *record) {
			for _, name := range in.TagKeys {
				delete(r.Tags, name)
			}
		}), c.notPendingDeletion(k)
	})
	return nil, err
}

type listTagsOutput struct {
	Tags []tag
	page
}

func (c *call) listResourceTags(in *listInput) (any, error) {
	k, err := c.key(in.KeyId, false)
	if err != nil {
		return nil, err
	}
	names, p, err := paginate(slices.Sorted(maps.Keys(k.record.Tags)), in, 50, 50)
	if err != nil {
		return nil, err
	}
	out := listTagsOutput{Tags: []tag{}, page: p}
	for _, name := range names {
		out.Tags = append(out.Tags, tag{TagKey: name, TagValue: k.record.Tags[name]})
	}
	return out, nil
}
