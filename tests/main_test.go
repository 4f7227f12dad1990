// Package tests holds what needs the whole stack.
package tests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign/tests/stack"
)

// local is the stack that all tests share; each test uses requests of its own.
var local *stack.Stack

// workers and server are the processes of acme.
var workers, server *stack.Process

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
		workers, err = local.Workers(filepath.Join(local.Bin, "workers"), acme)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer workers.Stop()
		server, apiURL, err = local.Serve(acme)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer server.Stop()
		code := m.Run()
		server.Stop()
		workers.Stop()
		if code != 0 { // what went wrong behind an answer that says only "try again later"
			fmt.Fprintf(os.Stderr, "the API complained:\n%s\n", server.Complaints(40))
		}
		// Whatever the tests did, no token and no document may have reached the log of any process.
		if err := stack.Leaked(); err != nil {
			fmt.Fprintln(os.Stderr, "FAIL:", err)
			return 1
		}
		return code
	}())
}
