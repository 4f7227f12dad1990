package kms

import (
	"maps"
	"slices"
	"strings"
)

const (
	maxAliasName = 256
	// reservedAlias is the name space of AWS's own keys.
	reservedAlias = "alias/aws/"
)

type aliasInput struct{ AliasName, TargetKeyId string }

func checkAliasName(name string) error {
	if err := checkLength("aliasName", len(name), 1, maxAliasName); err != nil {
		return err
	}
	if !strings.HasPrefix(name, "alias/") {
		return invalid("Invalid identifier")
	}
	if !aliasPattern.MatchString(name) {
		return invalid(`1 validation error detected: Value at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$`)
	}
	return nil
}

// changeAliases checks the name and lets change alter a copy of all aliases,
// which is then stored.
func (c *call) changeAliases(name string, change func(map[string]alias) error) (any, error) {
	if err := checkAliasName(name); err != nil {
		return nil, err
	}
	if strings.HasPrefix(name, reservedAlias) {
		return nil, fail("NotAuthorizedException", "%s is reserved for AWS", reservedAlias)
	}
	return nil, c.store.change(c.now(), func() error {
		all := maps.Clone(c.store.alias)
		if err := change(all); err != nil {
			return err
		}
		return c.store.putAliases(all)
	})
}

func (c *call) createAlias(in *aliasInput) (any, error) {
	if strings.HasPrefix(in.TargetKeyId, "alias/") {
		return nil, invalid("Aliases must refer to keys. Not aliases")
	}
	return c.changeAliases(in.AliasName, func(all map[string]alias) error {
		if _, exists := all[in.AliasName]; exists {
			return fail("AlreadyExistsException", "An alias with the name %s already exists", c.arn(in.AliasName))
		}
		k, err := c.lookUp(in.TargetKeyId, false)
		if err != nil {
			return err
		}
		if err := c.notPendingDeletion(k); err != nil {
			return err
		}
		now := unixSeconds(c.now())
		all[in.AliasName] = alias{Target: k.record.ID, Created: now, Updated: now}
		return nil
	})
}

func (c *call) updateAlias(in *aliasInput) (any, error) {
	return c.changeAliases(in.AliasName, func(all map[string]alias) error {
		a, exists := all[in.AliasName]
		if !exists {
			return c.missing("Alias %s is not found.", c.arn(in.AliasName))
		}
		k, err := c.lookUp(in.TargetKeyId, false)
		if err != nil {
			return err
		}
		if err := c.notPendingDeletion(k); err != nil {
			return err
		}
		if old := c.store.keys[a.Target]; old != nil && old.usage() != k.usage() {
			return invalid("Alias %s can't change from a key for %s to a key for %s.", in.AliasName, old.usage(), k.usage())
		}
		a.Target, a.Updated = k.record.ID, unixSeconds(c.now())
		all[in.AliasName] = a
		return nil
	})
}

func (c *call) deleteAlias(in *struct{ AliasName string }) (any, error) {
	return c.changeAliases(in.AliasName, func(all map[string]alias) error {
		if _, exists := all[in.AliasName]; !exists {
			return c.missing("Alias %s is not found.", c.arn(in.AliasName))
		}
		delete(all, in.AliasName)
		return nil
	})
}

type listInput struct {
	KeyId  string
	Limit  *int
	Marker string
}

type aliasEntry struct {
	AliasArn, AliasName, TargetKeyId string
	CreationDate, LastUpdatedDate    float64
}

type listAliasesOutput struct {
	Aliases []aliasEntry
	page
}

// listAliases shows an Admin all aliases, anyone else those of the keys that
// he may use.
func (c *call) listAliases(in *listInput) (any, error) {
	out := listAliasesOutput{Aliases: []aliasEntry{}}
	err := c.store.read(func() error {
		target := ""
		if in.KeyId != "" {
			k, err := c.lookUp(in.KeyId, false)
			if err != nil {
				return err
			}
			target = k.record.ID
		}
		var names []string
		for name, a := range c.store.alias {
			k, exists := c.store.keys[a.Target]
			if exists && c.allowed(k) && !k.goneAt(c.now()) && (target == "" || target == a.Target) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		names, p, err := paginate(names, in, 50, 100)
		if err != nil {
			return err
		}
		out.page = p
		for _, name := range names {
			a := c.store.alias[name]
			out.Aliases = append(out.Aliases, aliasEntry{AliasArn: c.arn(name), AliasName: name, TargetKeyId: a.Target, CreationDate: a.Created, LastUpdatedDate: a.Updated})
		}
		return nil
	})
	return out, err
}
