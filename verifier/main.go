//go:build !js

// Verifier checks an evidence bundle completely, without a network: `countersign audit verify` without the rest of countersign. It links
// no client of anything, so whoever wants to review what they trust has less to read. Built for a browser, it is the page's.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/countersign-dev/countersign/evidence"
)

// The exit codes are those of countersign.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitUnproven = 6
)

const usage = `verifier FILE --tenant-ca PEM --tsa-ca PEM

Checks an evidence bundle completely, without a network. Each check is one line: pass, fail or not recorded.
Exit codes: 0 it holds, 1 a file can't be read, 2 called wrongly, 6 it does not hold.
`

// The process lives for milliseconds: it collects garbage only where a large bundle makes much of it.
const memory = 1 << 30

func main() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memory)
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

func execute(args []string, out, errs io.Writer) int {
	flags := pflag.NewFlagSet("verifier", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(errs)
	flags.Usage = func() { fmt.Fprint(errs, usage+"\n"+flags.FlagUsages()) }
	tenantCA := flags.String("tenant-ca", "", "root certificates (PEM) that the tenant's seal must lead to")
	tsaCA := flags.String("tsa-ca", "", "root certificates (PEM) that the time-stamp must lead to")
	logKey := flags.String("log-key", "", "public key of the tenant's log as text; without it, nothing is said about the log")
	lock := flags.String("lock", "", "what the store says of the locked object (JSON of aws s3api head-object --checksum-mode ENABLED)")
	postQuantum := flags.StringArray("pq-key", nil, "a file with an ML-DSA public key of the tenant (PEM), again for each; a bundle without a post-quantum signature by one of them fails")
	logProof := flags.String("log-proof", "", "proof that the ending is in the log (default: FILE.log.json, where it is there)")
	renewal := flags.String("renewal", "", "evidence record over the bundle (default: FILE.ers, else the last FILE.renewal-NNN.ers, where there is one)")
	asJSON := flags.Bool("json", false, "write JSON")
	switch err := flags.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintln(errs, "verifier:", err)
		return exitUsage
	case flags.NArg() != 1 || *tenantCA == "" || *tsaCA == "":
		flags.Usage()
		return exitUsage
	}
	verdict, err := judge(flags.Arg(0), *tenantCA, *tsaCA, *logKey, *lock, *logProof, *renewal, *postQuantum)
	if err == nil {
		err = write(verdict, *asJSON, out)
	}
	switch {
	case err != nil:
		fmt.Fprintln(errs, "verifier:", err)
		return exitFailed
	case !verdict.Verified:
		fmt.Fprintln(errs, "verifier: the evidence does not hold; see what failed")
		return exitUnproven
	}
	return exitOK
}

func judge(file, tenantCA, tsaCA, logKey, lock, logProof, renewal string, postQuantum []string) (v evidence.Verdict, err error) {
	a := evidence.Anchors{LogKey: logKey}
	if a.TenantCA, err = read(tenantCA, evidence.MaxRoots); err != nil {
		return v, fmt.Errorf("--tenant-ca: %w", err)
	}
	if a.TSACA, err = read(tsaCA, evidence.MaxRoots); err != nil {
		return v, fmt.Errorf("--tsa-ca: %w", err)
	}
	if lock != "" {
		if a.Lock, err = read(lock, evidence.MaxLockRecord); err != nil {
			return v, fmt.Errorf("--lock: %w", err)
		}
	}
	if a.LogProof, err = beside(file+".log.json", logProof, evidence.MaxLogProof); err != nil {
		return v, fmt.Errorf("--log-proof: %w", err)
	}
	if a.Renewal, err = beside(evidence.RenewalFile(file), renewal, evidence.MaxRenewalSize); err != nil {
		return v, fmt.Errorf("--renewal: %w", err)
	}
	for _, file := range postQuantum {
		key, err := read(file, evidence.MaxRoots)
		if err != nil {
			return v, fmt.Errorf("--pq-key: %w", err)
		}
		a.PostQuantum = append(append(a.PostQuantum, key...), '\n')
	}
	roots, err := a.Roots()
	if err != nil {
		return v, err
	}
	raw, err := read(file, evidence.MaxBundleSize)
	if err != nil {
		return v, err
	}
	return evidence.Judge(file, raw, roots), nil
}

// beside reads the named file, or the usual one beside the bundle if there is one.
func beside(usual, named string, limit int64) ([]byte, error) {
	if named != "" {
		return read(named, limit)
	}
	body, err := read(usual, limit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return body, err
}

// read reads a file whole, into memory of its size.
func read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("couldn't read the file: %w", err)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("couldn't read %s: it has more than %d bytes", name, limit)
	}
	// One byte more than it had finds out whether it grows meanwhile; what is no regular file, such as a pipe, says no size.
	raw := room(int(info.Size()) + 1)
	n, err := io.ReadFull(f, raw)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return raw[:n:n], nil
	case err != nil:
		return nil, fmt.Errorf("couldn't read the file: %w", err)
	}
	rest, err := io.ReadAll(io.LimitReader(f, limit+1-int64(n)))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the file: %w", err)
	}
	if int64(n)+int64(len(rest)) > limit {
		return nil, fmt.Errorf("couldn't read %s: it has more than %d bytes", name, limit)
	}
	return append(raw, rest...), nil
}

func write(v evidence.Verdict, asJSON bool, out io.Writer) error {
	if asJSON {
		return json.NewEncoder(out).Encode(v)
	}
	// A table writes each of its cells, and each gap, by itself.
	page := bufio.NewWriter(out)
	table := tabwriter.NewWriter(page, 0, 0, 2, ' ', 0)
	v.WriteText(table)
	return errors.Join(table.Flush(), page.Flush())
}
