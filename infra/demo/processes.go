package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stack is what the local stack prints when it is ready.
type stack struct {
	Data     string `json:"data"`
	Temporal struct{ Address, UI string }
	S3       struct{ Endpoint, Region string }
	AWS      struct{ CredentialsFile, AdminProfile string }
	TSA      struct{ CA string }
	Mail     struct{ Page string }
	TenantCA string
	Tenants  map[string]struct{ PostQuantumPublicKey string }
	Platform string
	Issuers  map[string]struct{ URL, Client, EvidenceClient string }
	People   []struct{ Issuer, Login, Subject, Name, Password string }
	Machines []struct{ Issuer, Client, KeyFile string }
}

// process is a server of the demo.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

// serve starts a server in a process group of its own, so that Ctrl-C reaches it only through us and it stops in order.
func (d *demo) serve(name string, stdout io.Writer, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(d.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(d.bin, name), args...)
	cmd.Env = d.env()
	cmd.Stdout, cmd.Stderr = stdout, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("couldn't start %s: %w", name, err)
	}
	p := &process{name, cmd, log, make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.done) }()
	d.running = append(d.running, p)
	return p, nil
}

func (d *demo) env() []string {
	return append(os.Environ(), "AWS_SHARED_CREDENTIALS_FILE="+d.stack.AWS.CredentialsFile, "AWS_EC2_METADATA_DISABLED=true")
}

// stop ends the servers, last one first.
func (d *demo) stop() {
	for i := len(d.running) - 1; i >= 0; i-- {
		p := d.running[i]
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(15 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		_ = p.log.Close()
	}
}

// start brings up the stack, the workers and the API.
func (d *demo) start(ctx context.Context) error {
	d.say("Starting", "the local stack: Temporal, S3 with Object Lock, KMS, four identity providers, time-stamps, mailbox.")
	read, write := io.Pipe()
	p, err := d.serve("devstack", write, "--data", filepath.Join(d.dir, "stack"), "--json")
	if err != nil {
		return err
	}
	line := make(chan []byte, 1)
	go func() {
		raw, _ := bufio.NewReader(read).ReadBytes('\n')
		line <- raw
		_, _ = io.Copy(io.Discard, read)
	}()
	select {
	case raw := <-line:
		if err := json.Unmarshal(raw, &d.stack); err != nil {
			return fmt.Errorf("couldn't read what the stack says of itself: %w", err)
		}
	case <-p.done:
		return p.failed()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return errors.New("the stack was not ready within a minute; see " + rel(p.log.Name()))
	}
	common := []string{"--temporal", d.stack.Temporal.Address, "--tenants", filepath.Join(d.stack.Data, "tenants"), "--platform", d.stack.Platform}
	if p, err = d.serve("workers", nil, common...); err != nil {
		return err
	}
	if err := p.ready(ctx, `"message":"ready"`); err != nil {
		return err
	}
	if p, err = d.serve("countersign", nil, append([]string{"serve", "--listen", "127.0.0.1:0"}, common...)...); err != nil {
		return err
	}
	if err := p.ready(ctx, `"address":"`); err != nil {
		return err
	}
	log, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(log), `"address":"`)
	d.api, _, _ = strings.Cut(rest, `"`)
	d.detail("workers and API are up after %.1f s; key, certificate, buckets, locks, issuers and time-stamps were checked at boot", time.Since(d.began).Seconds())
	d.addresses()
	return nil
}

// ready waits until a server has logged the text.
func (p *process) ready(ctx context.Context, text string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		if log, err := os.ReadFile(p.log.Name()); err == nil && bytes.Contains(log, []byte(text)) {
			return nil
		}
		select {
		case <-p.done:
			return p.failed()
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return fmt.Errorf("%s was not ready within a minute; see %s", p.name, rel(p.log.Name()))
		case <-tick.C:
		}
	}
}

// failed tells the last lines of a server that ended too early.
func (p *process) failed() error {
	raw, _ := os.ReadFile(p.log.Name())
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return fmt.Errorf("%s ended before it was ready:\n%s", p.name, strings.Join(lines[max(0, len(lines)-8):], "\n"))
}

// person is how somebody of the demo uses the command line.
type person struct {
	name   string // to people
	who    string // issuer/login at the stack's identity providers
	issuer string
}

// as runs a command of the product as somebody, and returns what it printed.
func (d *demo) as(ctx context.Context, p person, args ...string) ([]byte, error) {
	cmd := d.command(ctx, args...)
	cache := filepath.Join(d.dir, "home", strings.ReplaceAll(p.who, "/", "-"))
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, err
	}
	cmd.Env = append(d.env(), "COUNTERSIGN_API="+d.api, "COUNTERSIGN_TENANT=acme", "COUNTERSIGN_ISSUER="+d.stack.Issuers[p.issuer].URL, "XDG_CACHE_HOME="+cache,
		fmt.Sprintf("BROWSER=%s login --data %s --as %s", filepath.Join(d.bin, "devstack"), d.stack.Data, p.who))
	return output(cmd)
}

// offline runs a command of the product where there is no network at all, and says whether the system let us.
func (d *demo) offline(ctx context.Context, args ...string) ([]byte, bool, error) {
	cmd := d.command(ctx, args...)
	cmd.Env = os.Environ()
	if withoutNetwork(cmd) {
		out, err := output(cmd)
		var exit *exec.ExitError
		if err == nil || errors.As(err, &exit) {
			return out, true, err
		}
		cmd = d.command(ctx, args...)
		cmd.Env = os.Environ()
	}
	out, err := output(cmd)
	return out, false, err
}

func (d *demo) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(d.bin, "countersign"), args...)
}

func output(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args[1:], " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

var client = &http.Client{Timeout: 10 * time.Second}
