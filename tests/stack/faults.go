package stack

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Fault is a loopback proxy before one part of the stack, for faults that the part itself can't be made to show. It passes
// everything on unchanged until it is told otherwise.
type Fault struct {
	URL string

	mu     sync.Mutex
	match  func(*http.Request) bool
	status int
	body   string
	hit    chan struct{}
	server *http.Server
}

// NewFault puts a proxy before a part.
func NewFault(target string) (*Fault, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &Fault{URL: "http://" + listener.Addr().String(), hit: make(chan struct{}, 1000)}
	// The Host header stays the caller's: request signatures cover it.
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
		r.Out.Host = r.In.Host
	}}
	f.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, body, broken := f.broken(r); broken {
			http.Error(w, body, status)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = f.server.Serve(listener) }()
	return f, nil
}

func (f *Fault) broken(r *http.Request) (status int, body string, broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.match == nil || !f.match(r) {
		return 0, "", false
	}
	select {
	case f.hit <- struct{}{}:
	default:
	}
	return f.status, f.body, true
}

// Break answers 503 to the requests that match, until Heal.
func (f *Fault) Break(requests func(*http.Request) bool) {
	f.Answer(requests, http.StatusServiceUnavailable, "out of order")
}

// Answer gives the requests that match an answer of its own, until Heal.
func (f *Fault) Answer(requests func(*http.Request) bool, status int, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.match, f.status, f.body = requests, status, body
}

// Heal lets everything pass again.
func (f *Fault) Heal() { f.Break(nil) }

// Hit tells each request that was answered with the fault.
func (f *Fault) Hit() <-chan struct{} { return f.hit }

// Close ends the proxy.
func (f *Fault) Close() { _ = f.server.Close() }

// Tenant writes a copy of a tenant's file into a directory of its own, with some lines replaced, and returns the directory.
// A text that the file doesn't have is an error: the test would go on to prove something else.
func (s *Stack) Tenant(dir, tenant string, replace ...string) (string, error) {
	raw, err := os.ReadFile(s.Tenants[tenant].File)
	if err != nil {
		return "", err
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(raw), replace[i]) {
			return "", fmt.Errorf("couldn't change the file of tenant %s: it has no %q (any more)", tenant, replace[i])
		}
	}
	from := filepath.Dir(s.Tenants[tenant].File)
	text := strings.NewReplacer(append(replace,
		"certificate: "+tenant, "certificate: "+filepath.Join(from, tenant),
		"../", filepath.Dir(from)+"/")...).Replace(string(raw))
	return dir, os.WriteFile(filepath.Join(dir, tenant+".yaml"), []byte(text), 0o600)
}
