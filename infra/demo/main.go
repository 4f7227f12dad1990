// Command demo runs signings of two organisations on the local stack, from the request to evidence that is verified with the network off,
// and says at each step who did what under which control. The first is a supplier's contract, by the product's own commands. In the
// second a reseller's delegate approves under a grant, by passkey, and one whose grant was revoked is refused.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

//go:embed contract.pdf
var contract []byte

func main() {
	var d demo
	flag.BoolVar(&d.once, "once", false, "end after the run")
	flag.StringVar(&d.pdf, "pdf", "", "sign this PDF instead of the sample")
	flag.StringVar(&d.dir, "dir", filepath.Join("var", "demo"), "directory of what the demo leaves")
	flag.StringVar(&d.bin, "bin", filepath.Join("var", "bin"), "directory of the built commands")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := d.run(ctx)
	d.stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "\n✗", err)
		os.Exit(1)
	}
}

// demo is one run.
type demo struct {
	once     bool
	pdf      string
	dir, bin string

	began   time.Time
	stack   stack
	api     string
	request string // of the first signing
	signing status // how the first signing ended
	resale  string // request of the second
	grant   string // digest of the grant that Remy decides under
	running []*process
}

func (d *demo) run(ctx context.Context) error {
	d.began = time.Now()
	for _, p := range []*string{&d.dir, &d.bin} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{d.start, d.ask, d.decide, d.release, d.export, d.check, d.askResale, d.lend, d.decideResale, d.checkResale, d.revoke} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.say("Done", "in %.1f s. What a stranger needs to check it is in %s:", time.Since(d.began).Seconds(), rel(d.dir))
	for _, f := range []string{"evidence.asice", "tenant-ca.pem", "tsa-ca.pem", postQuantumKey, "history.json", "resale.asice"} {
		d.detail("%s", rel(filepath.Join(d.dir, f)))
	}
	if d.once {
		return nil
	}
	d.say("It stays up", "until you press Ctrl-C.")
	d.addresses()
	<-ctx.Done()
	return nil
}

// addresses tells where to look, while it is up.
func (d *demo) addresses() {
	d.detail("API          %s/openapi.json", d.api)
	d.detail("Temporal UI  %s/namespaces/acme/workflows", d.stack.Temporal.UI)
	d.detail("mailbox      %s", d.stack.Mail.Page)
}

// document is the file to sign.
func (d *demo) document() (string, error) {
	if d.pdf != "" {
		return filepath.Abs(d.pdf)
	}
	return d.sample()
}

// sample is the demo's own file.
func (d *demo) sample() (string, error) {
	path := filepath.Join(d.dir, "contract.pdf")
	return path, os.WriteFile(path, contract, 0o600)
}

// say prints one step.
func (d *demo) say(who, format string, args ...any) {
	fmt.Printf("\n%s %s\n", bold(who), fmt.Sprintf(format, args...))
}

// detail prints a line below a step.
func (d *demo) detail(format string, args ...any) {
	fmt.Printf("    %s\n", fmt.Sprintf(format, args...))
}

// control prints which control was at work.
func (d *demo) control(format string, args ...any) {
	fmt.Printf("    %s %s\n", dim("control:"), fmt.Sprintf(format, args...))
}

func bold(s string) string { return styled("1", s) }
func dim(s string) string  { return styled("2", s) }

// styled marks text for a terminal; a file gets it plain.
func styled(code, s string) string {
	if info, err := os.Stdout.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func rel(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if r, err := filepath.Rel(wd, path); err == nil {
			return r
		}
	}
	return path
}
