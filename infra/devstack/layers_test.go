package main

import (
	"errors"
	"strings"
	"testing"
)

// TestALayerIsSwitchedOffForTestsAloneAndLoudly starts nothing: without --for-tests the command ends at once, and with it the warning comes first.
func TestALayerIsSwitchedOffForTestsAloneAndLoudly(t *testing.T) {
	t.Parallel()
	for says, args := range map[string][]string{
		"it needs --for-tests":     {"--without", layerPrefixes},
		`there is no layer "wall"`: {"--for-tests", "--without", "wall"},
	} {
		if _, message, code := run(t, append(args, "--data", t.TempDir())...); code != 2 || !strings.Contains(message, says) {
			t.Errorf("%v: exit %d, want 2 and %q:\n%s", args, code, says, message)
		}
	}
	without := withoutFlag{}
	if without.warning() != "" || without.check(false) != nil {
		t.Error("a stack with every layer is warned of, or refused")
	}
	for name, what := range layers {
		if err := without.Set(name); err != nil {
			t.Error(err)
		}
		if w := without.warning(); !strings.Contains(w, "WARNING: THIS STACK DOES NOT KEEP TENANTS APART") || !strings.Contains(w, what) {
			t.Errorf("without %s the warning is %q", name, w)
		}
	}
	var usage usageError
	if err := without.check(false); !errors.As(err, &usage) {
		t.Errorf("got %v", err)
	}
	if err := without.check(true); err != nil {
		t.Error(err)
	}
}
