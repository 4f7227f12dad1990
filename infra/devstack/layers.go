package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The layers between tenants that tests switch off one at a time, to see that another one holds.
const (
	layerNamespaces = "namespaces"
	layerIssuers    = "issuers"
	layerPrefixes   = "prefixes"
	layerKeys       = "keys"
)

// layers says what goes unchecked without each.
var layers = map[string]string{
	layerNamespaces: "the Temporal server lets whoever has a role in one tenant use it in every tenant's namespace",
	layerIssuers:    "every tenant's file trusts every identity provider",
	layerPrefixes:   "S3 lets every tenant's processes read and write every tenant's objects",
	layerKeys:       "KMS lets every tenant's worker use every tenant's key",
}

// withoutFlag collects --without LAYER.
type withoutFlag map[string]bool

func (w withoutFlag) String() string { return "" }

func (w withoutFlag) Set(name string) error {
	if _, known := layers[name]; !known {
		return fmt.Errorf("there is no layer %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(layers)), ", "))
	}
	w[name] = true
	return nil
}

// check refuses a stack without a layer that wasn't asked for as one for tests: nobody gets one by a slip.
func (w withoutFlag) check(forTests bool) error {
	if len(w) > 0 && !forTests {
		return usageError{errors.New("--without takes a wall between tenants away; it needs --for-tests")}
	}
	return nil
}

// warning is what whoever started such a stack can't overlook; empty where every layer is on.
func (w withoutFlag) warning() string {
	if len(w) == 0 {
		return ""
	}
	lines := []string{"WARNING: THIS STACK DOES NOT KEEP TENANTS APART. It is for tests of the other layers and for nothing else."}
	for _, name := range slices.Sorted(maps.Keys(w)) {
		lines = append(lines, "WARNING: without "+name+": "+layers[name])
	}
	return strings.Join(lines, "\n") + "\n"
}
