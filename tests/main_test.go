// Package tests holds what needs the whole stack.
package tests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/tests/stack"
)

// local is the stack that all tests share; each test uses requests of its own.
var local *stack.Stack

// apiURL is where acme's API answers.
var apiURL string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		data, err := os.MkdirTemp("", "countersign-stack-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(data)
		if local, err = stack.Start(context.Background(), data); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer local.Stop()
		// Acme's workers serve all tests; tests that break a part use globex, with workers of their own.
		acme := filepath.Join(data, "acme-alone")
		err = os.Mkdir(acme, 0o700)
		if err == nil {
			_, err = local.Tenant(acme, "acme")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		workers, err := local.Workers(filepath.Join(local.Bin, "workers"), acme)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer workers.Stop()
		server, address, err := local.Serve(acme)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer server.Stop()
		apiURL = address
		code := m.Run()
		// Whatever the tests did, no token and no document may have reached the log.
		for _, secret := range []string{"eyJ", "%PDF", "BEGIN"} {
			if strings.Contains(workers.Log(), secret) || strings.Contains(server.Log(), secret) {
				fmt.Fprintf(os.Stderr, "FAIL: a process's log has %q in it\n", secret)
				return 1
			}
		}
		return code
	}())
}
