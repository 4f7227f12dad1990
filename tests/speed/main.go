// Speed compares how long it takes to check one bundle: our verifier, which makes every check, and openssl with sha256sum, which check signatures and
// digests alone. It takes the bundle apart first, and that is not counted: a person would need more time for it than any of these programs.
//
//	go run ./tests/speed [-rounds 50] BUNDLE TENANT_CA TSA_CA [more flags of the verifier]
//	go run ./tests/speed -pdf 50000000 large.pdf
package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// contender is one way to check the bundle: commands that run one after another. Each must succeed.
type contender struct {
	name     string
	commands [][]string
	wall     []time.Duration
	cpu      []time.Duration
}

func main() {
	rounds := flag.Int("rounds", 50, "how often each is run; they take turns, so that what else the machine does disturbs all alike")
	bin := flag.String("bin", "var/bin", "where verifier and countersign are built")
	size := flag.Int("pdf", 0, "write a PDF of about so many bytes to the file that is named, and end: something to sign")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "speed [flags] BUNDLE TENANT_CA TSA_CA [more flags of the verifier]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *size > 0 && flag.NArg() == 1 {
		if err := writePDF(flag.Arg(0), *size); err != nil {
			fmt.Fprintln(os.Stderr, "speed:", err)
			os.Exit(1)
		}
		return
	}
	if flag.NArg() < 3 || *rounds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := compare(*bin, *rounds, flag.Arg(0), flag.Arg(1), flag.Arg(2), flag.Args()[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		os.Exit(1)
	}
}

func compare(bin string, rounds int, bundle, tenantCA, tsaCA string, more []string) error {
	dir, err := os.MkdirTemp("", "speed-")
	if err != nil {
		return fmt.Errorf("couldn't make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	p, err := takeApart(bundle, tenantCA, tsaCA, dir)
	if err != nil {
		return fmt.Errorf("couldn't take the bundle apart: %w", err)
	}
	ours := append([]string{bundle, "--tenant-ca", tenantCA, "--tsa-ca", tsaCA}, more...)
	list := []*contender{
		{name: "verifier: every check", commands: [][]string{append([]string{bin + "/verifier"}, ours...)}},
		{name: "countersign audit verify: every check", commands: [][]string{append([]string{bin + "/countersign", "audit", "verify"}, ours...)}},
		{name: "openssl cms of the seal, sha256sum of each file", commands: p.least()},
		{name: fmt.Sprintf("openssl and sha256sum, the same %d signatures", len(p.signatures)), commands: p.all()},
	}
	for round := range rounds + 1 { // the first one warms the caches and is not counted
		for _, c := range list {
			if err := c.run(p.dir, round > 0); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%d bytes, medians of %d\twall ms\tCPU ms\tprocesses\n", p.size, rounds)
	for _, c := range list {
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%d\n", c.name, milliseconds(median(c.wall)), milliseconds(median(c.cpu)), len(c.commands))
	}
	return table.Flush()
}

func (c *contender) run(dir string, counted bool) error {
	var cpu time.Duration
	begun := time.Now()
	for _, args := range c.commands {
		var out bytes.Buffer
		cmd := exec.Command(args[0], args[1:]...) //nolint:gosec // the programs that are compared
		cmd.Stdout, cmd.Stderr = &out, &out
		if strings.HasSuffix(args[0], "sum") { // which can't be told where the files of its list are
			cmd.Dir = dir
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%v: %w\n%s", args, err, out.String())
		}
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if counted {
		c.wall, c.cpu = append(c.wall, time.Since(begun)), append(c.cpu, cpu)
	}
	return nil
}

func median[T cmp.Ordered](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
