package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/starter/client"
)

// The exit codes are a contract with scripts.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitRefused  = 3
	exitNotFound = 4
	exitConflict = 5
	exitUnproven = 6
)

const exitCodes = `0  it worked
1  it failed: something did not answer, a file can't be read, or the like
2  the command was called wrongly
3  it was refused, by a rule, a policy or a person: a decision or a withdrawal that did not count, a request that ended without a signature
4  there is no such signing, or it is not yours to see
5  it conflicts with what is there: another request under this id, evidence that is not locked yet
6  evidence, a log or a policy set was checked and did not hold`

// coded is an error with the exit code that it ends the command with.
type coded struct {
	exit int
	code string // for machines
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

func usage(format string, args ...any) error {
	return &coded{exitUsage, "usage", fmt.Errorf(format, args...)}
}

func refused(code, format string, args ...any) error {
	return &coded{exitRefused, code, fmt.Errorf(format, args...)}
}

// exitOf is the exit code of an error, and its code for machines.
func exitOf(err error) (int, string) {
	var own *coded
	if errors.As(err, &own) {
		return own.exit, own.code
	}
	var p *client.Problem
	if !errors.As(err, &p) {
		return exitFailed, "failed"
	}
	switch {
	case p.Status == http.StatusNotFound:
		return exitNotFound, p.Code
	case p.Status == http.StatusConflict:
		return exitConflict, p.Code
	case p.Status >= 400 && p.Status < 500:
		return exitRefused, p.Code
	}
	return exitFailed, p.Code
}

// tell writes an error for whoever reads it.
func tell(w io.Writer, asJSON bool, err error) {
	exit, code := exitOf(err)
	if !asJSON {
		fmt.Fprintln(w, "countersign:", err)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": err.Error(), "exit": exit}}) // there is nobody else to tell
}

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: "What the exit codes mean.\n\n" + exitCodes}
}
