// Package stack lets tests use the local stack: it starts the devstack, workers and API as processes of their own, and
// speaks to them over the network as the people, systems and strangers of the tests do.
package stack

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Info is what the devstack prints when everything is ready.
type Info struct {
	Data      string                       `json:"data"`
	Temporal  struct{ Address, UI string } `json:"temporal"`
	S3        struct{ Endpoint, Store, Region, Documents, Evidence string }
	KMS       struct{ Endpoint, Region string }
	AWS       struct{ CredentialsFile, AdminProfile string }
	TSA       struct{ URL, CA string }
	SecondTSA struct{ URL, CA string }
	Mail      struct{ SMTP, Page string }
	TenantCA  string
	Tenants   map[string]struct{ File, Namespace, KeyARN, LogKeyARN, LogPublicKey, PostQuantumPublicKey string }
	Platform  string
	Issuers   map[string]struct{ URL, Client, EvidenceClient string }
	People    []Person
	Machines  []struct{ Issuer, Client, KeyFile string }
}

// Person is somebody whom an identity provider of the stack knows.
type Person struct {
	Issuer, Login, Subject, Name, Email, Password string
	Disabled                                      bool
}

// Stack is a running stack.
type Stack struct {
	Info
	Bin  string // directory of the built commands
	root string
	proc *Process

	mu     sync.Mutex
	tokens map[string]keptToken
}

// Process is a command that a test started.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	log  strings.Builder
}

// started are all processes that tests ran, so that what they logged can be looked through in the end.
var started struct {
	sync.Mutex
	all []*Process
}

// Leaked looks for secrets in what every process logged, those that have ended too, and tells which has one.
func Leaked() error {
	started.Lock()
	defer started.Unlock()
	var found []error
	for _, p := range started.all {
		for what, secret := range secrets {
			if at := secret.FindStringIndex(p.Log()); at != nil {
				found = append(found, fmt.Errorf("the log of %s has %s in it, after %q", strings.Join(p.cmd.Args, " "), what, p.Log()[max(0, at[0]-200):at[0]]))
			}
		}
	}
	return errors.Join(found...)
}

// secrets are what no log may have. A token, and a payload of JSON, is longer than the ids of requests, which have its first letters by chance.
var secrets = map[string]*regexp.Regexp{
	"a token or a payload": regexp.MustCompile(`eyJ[A-Za-z0-9+/_-]{24,}`), "a document": regexp.MustCompile("%PDF"), "a key": regexp.MustCompile("-----BEGIN|BEGIN [A-Z]+ KEY"),
}

// Root is the root of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Start builds the commands where they are not up to date, and starts the devstack on an empty directory, with further flags of its own.
func Start(ctx context.Context, data string, flags ...string) (*Stack, error) {
	s := &Stack{root: Root(), tokens: map[string]keptToken{}}
	s.Bin = filepath.Join(s.root, "var", "bin")
	if err := build(); err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(s.Bin, "devstack"), append([]string{"--data", data, "--json"}, flags...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.proc, err = run(cmd); err != nil {
		return nil, err
	}
	line := make(chan []byte, 1)
	go func() {
		raw, _ := bufio.NewReader(stdout).ReadBytes('\n')
		line <- raw
		_, _ = io.Copy(io.Discard, stdout)
	}()
	select {
	case raw := <-line:
		if err := json.Unmarshal(raw, &s.Info); err != nil {
			return nil, fmt.Errorf("couldn't start the stack: %w\n%s", err, s.proc.Log())
		}
	case <-time.After(time.Minute):
		s.proc.Kill()
		return nil, errors.New("couldn't start the stack within a minute\n" + s.proc.Log())
	}
	return s, nil
}

// build builds the commands, once for all stacks of a process.
var build = sync.OnceValue(func() error {
	if out, err := exec.Command("make", "--no-print-directory", "-C", Root(), "build").CombinedOutput(); err != nil {
		return fmt.Errorf("couldn't build the commands: %w\n%s", err, out)
	}
	return nil
})

// Stop ends the stack.
func (s *Stack) Stop() { s.proc.Stop() }

// Env is the environment of a process that uses the stack.
func (s *Stack) Env() []string {
	return append(os.Environ(), "AWS_SHARED_CREDENTIALS_FILE="+s.AWS.CredentialsFile, "AWS_EC2_METADATA_DISABLED=true")
}

// Workers starts the given workers command on a directory of tenants' files, and waits until it is ready.
func (s *Stack) Workers(bin, tenants string, env ...string) (*Process, error) {
	cmd := exec.Command(bin, "--temporal", s.Temporal.Address, "--tenants", tenants, "--platform", s.Platform, "--key-rate", "200")
	cmd.Env = append(s.Env(), env...)
	p, err := run(cmd)
	if err != nil {
		return nil, err
	}
	return p, p.Wait(`"message":"ready"`, time.Minute)
}

func run(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = p
	started.Lock()
	started.all = append(started.all, p)
	started.Unlock()
	// A test that dies takes its servers with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		// The death signal is bound to the thread that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("couldn't start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Write keeps what the process logs.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// Log is what the process logged so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Complaints are the last lines that the process logged as errors or warnings, at most n.
func (p *Process) Complaints(n int) string {
	var all []string
	for l := range strings.Lines(p.Log()) {
		if strings.Contains(l, `"level":"error"`) || strings.Contains(l, `"level":"warn"`) {
			all = append(all, l)
		}
	}
	return strings.Join(all[max(0, len(all)-n):], "")
}

// Wait waits until the process has logged the text, or has ended.
func (p *Process) Wait(text string, within time.Duration) error {
	deadline := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if strings.Contains(p.Log(), text) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready:\n%s", p.cmd.Path, p.Log())
		case <-deadline:
			return fmt.Errorf("%s was not ready within %s:\n%s", p.cmd.Path, within, p.Log())
		case <-tick.C:
		}
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop asks the process to end, and waits.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.Kill()
	}
}

// Kill ends the process as a power cut would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Serve starts the API on a free port, and returns its address.
func (s *Stack) Serve(tenants string) (*Process, string, error) {
	return s.ServeBy(filepath.Join(s.Bin, "countersign"), tenants)
}

// ServeBy is Serve by the given command.
func (s *Stack) ServeBy(bin, tenants string) (*Process, string, error) {
	cmd := exec.Command(bin, "serve", "--listen", "127.0.0.1:0", "--temporal", s.Temporal.Address, "--tenants", tenants, "--platform", s.Platform)
	cmd.Env = s.Env()
	p, err := run(cmd)
	if err != nil {
		return nil, "", err
	}
	if err := p.Wait(`"address":"`, time.Minute); err != nil {
		return nil, "", err
	}
	_, rest, _ := strings.Cut(p.Log(), `"address":"`)
	address, _, _ := strings.Cut(rest, `"`)
	return p, address, nil
}

// commandTime is how long one command may take on a busy machine. One that waits longer is asked where it is and ended, so that the test which ran it says what it was.
const commandTime = 5 * time.Minute

// CLI runs the command as somebody, in a home of its own, and returns what it wrote and its exit code.
func (s *Stack) CLI(ctx context.Context, api, home, who string, args ...string) (stdout, stderr string, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "countersign"), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	issuer, _, _ := strings.Cut(who, "/")
	cmd.Env = append(s.Env(), "COUNTERSIGN_API="+api, "COUNTERSIGN_TENANT=acme", "COUNTERSIGN_ISSUER="+s.Issuers[issuer].URL, "XDG_CACHE_HOME="+home,
		"BROWSER="+filepath.Join(s.Bin, "devstack")+" login --data "+s.Data+" --as "+who)
	var out, fault strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &fault
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return out.String(), fault.String(), cmd.ProcessState.ExitCode(), err
}
