// Package session is how somebody who sits at the command proves who they are: a person by their own identity provider in a browser,
// for a session or for one decision, and a machine by its key.
package session

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/starter/client"
)

// Timeout is how long a person has to log in.
const Timeout = 5 * time.Minute

// Browser shows a person the page of their identity provider.
type Browser struct {
	Command string    // with arguments, separated by spaces; it gets the URL as its last one. Empty: the URL is printed
	Out     io.Writer // for the person
	Timeout time.Duration
}

// Session is what a login gave.
type Session struct {
	Access  string            `json:"access"`
	Expires time.Time         `json:"expires"`
	Actor   countersign.Actor `json:"actor"`
	Name    string            `json:"name,omitempty"`
	Email   string            `json:"email,omitempty"`
}

// Login logs a person in at their identity provider, by authorization code with PKCE (RFC 7636) and a redirect to the loopback
// (RFC 8252, section 7.3).
func (b Browser) Login(ctx context.Context, issuer, clientID string) (Session, error) {
	tokens, id, err := b.flow(ctx, issuer, clientID, rand.Text(), []string{oidc.ScopeOpenID, "profile", "email"})
	if err != nil {
		return Session{}, err
	}
	s := Session{Access: tokens.AccessToken, Expires: tokens.Expiry, Actor: countersign.Actor{Issuer: id.Issuer, Subject: id.Subject}}
	var claims struct {
		Name  string `json:"name"`
		Email string `json:"email"`
	}
	if err := id.Claims(&claims); err == nil {
		s.Name, s.Email = claims.Name, claims.Email
	}
	if s.Access == "" {
		return Session{}, fmt.Errorf("couldn't log in: %s gave no access token", issuer)
	}
	return s, nil
}

// Prove has a person log in afresh for one decision. The ID token that comes back is bound to it: its nonce is the decision's digest.
func (b Browser) Prove(ctx context.Context, issuer, clientID, digest string, who countersign.Actor) (countersign.Proof, error) {
	tokens, id, err := b.flow(ctx, issuer, clientID, digest, []string{oidc.ScopeOpenID},
		oauth2.SetAuthURLParam("max_age", "0"), oauth2.SetAuthURLParam("prompt", "login"))
	if err != nil {
		return countersign.Proof{}, err
	}
	if id.Issuer != who.Issuer || id.Subject != who.Subject {
		return countersign.Proof{}, fmt.Errorf("couldn't prove the decision: %s logged in, but the decision is of %s", id.Subject, who.Subject)
	}
	raw, _ := tokens.Extra("id_token").(string) // flow has verified it
	return countersign.Proof{IDToken: raw}, nil
}

// flow runs one login, and verifies the ID token and its nonce.
func (b Browser) flow(ctx context.Context, issuer, clientID, nonce string, scopes []string, more ...oauth2.AuthCodeOption) (*oauth2.Token, *oidc.IDToken, error) {
	if b.Timeout == 0 {
		b.Timeout = Timeout
	}
	ctx, cancel := context.WithTimeout(outbound(ctx), b.Timeout)
	defer cancel()
	provider, err := discover(ctx, issuer)
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't listen for the identity provider's answer: %w", err)
	}
	config := oauth2.Config{ClientID: clientID, Endpoint: provider.Endpoint(), Scopes: scopes, RedirectURL: "http://" + listener.Addr().String() + "/callback"}
	verifier := oauth2.GenerateVerifier()
	answers := &callback{state: rand.Text(), issuer: issuer, code: make(chan string, 1), refusal: make(chan error, 1)}
	server := &http.Server{Handler: answers, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 32 << 10}
	go func() { _ = server.Serve(listener) }() // it ends by Close, below
	defer server.Close()

	options := append([]oauth2.AuthCodeOption{oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)}, more...)
	opened, err := b.open(ctx, config.AuthCodeURL(answers.state, options...))
	if err != nil {
		return nil, nil, err
	}
	var code string
	for code == "" {
		select {
		case code = <-answers.code:
		case err := <-answers.refusal:
			return nil, nil, err
		case err := <-opened:
			if err != nil {
				return nil, nil, err
			}
			opened = nil // a browser may end before the person does
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, nil, fmt.Errorf("couldn't log in: no answer of %s came back within %s%s", issuer, b.Timeout, answers.strangers())
			}
			return nil, nil, ctx.Err()
		}
	}
	tokens, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't log in: %s did not give tokens: %w", issuer, plain(err))
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: clientID}).Verify(ctx, raw)
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't log in: the ID token of %s is not in order: %w", issuer, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return nil, nil, fmt.Errorf("couldn't log in: the ID token of %s is of another login (its nonce is not ours)", issuer)
	}
	// Let the browser have its page before the listener goes.
	grace, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	_ = server.Shutdown(grace) // the page is a courtesy
	return tokens, id, nil
}

// open shows the URL. The channel tells when the command failed, or that it ended.
func (b Browser) open(ctx context.Context, target string) (<-chan error, error) {
	words := strings.Fields(b.Command)
	if len(words) == 0 {
		_, err := fmt.Fprintf(b.Out, "Open this page to log in:\n\n  %s\n\n", target)
		return nil, err
	}
	var told strings.Builder
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], target)...)
	cmd.Stderr = &limited{to: &told, left: 4 << 10}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("couldn't open the browser (BROWSER): %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("couldn't log in: the browser (%s) failed: %w: %s", words[0], err, printable(strings.TrimSpace(told.String())))
		}
		ended <- err
	}()
	return ended, nil
}

// callback takes the one answer of the identity provider. Any page in any browser can reach it, so what doesn't carry the login's
// state is refused and changes nothing.
type callback struct {
	state   string
	issuer  string
	code    chan string
	refusal chan error
	foreign foreign
}

var page = template.Must(template.New("page").Parse(`<!doctype html><meta charset="utf-8"><title>Countersign</title><p>{{.}}</p>`))

func (c *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	show := func(status int, text string) {
		w.WriteHeader(status)
		_ = page.Execute(w, text) // whoever asked is gone
	}
	query := r.URL.Query()
	switch {
	case r.URL.Path != "/callback" || r.Method != http.MethodGet:
		show(http.StatusNotFound, "There is nothing here.")
		return
	case subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(c.state)) != 1:
		c.foreign.add()
		show(http.StatusBadRequest, "This answer belongs to another login. Nothing was done with it.")
		return
	case query.Has("iss") && query.Get("iss") != c.issuer: // RFC 9207
		c.foreign.add()
		show(http.StatusBadRequest, "This answer is of another identity provider. Nothing was done with it.")
		return
	}
	if query.Has("error") {
		text := printable(query.Get("error"))
		if detail := printable(query.Get("error_description")); detail != "" {
			text = detail + " (" + text + ")"
		}
		first(c.refusal, fmt.Errorf("couldn't log in: %s refused: %s", c.issuer, text))
		show(http.StatusOK, "The login was refused. You can close this window.")
		return
	}
	if query.Get("code") == "" {
		show(http.StatusBadRequest, "This answer holds no code.")
		return
	}
	first(c.code, query.Get("code"))
	show(http.StatusOK, "You are logged in. You can close this window.")
}

func (c *callback) strangers() string {
	if n := c.foreign.count(); n > 0 {
		return fmt.Sprintf(" (%d answers of other logins were refused)", n)
	}
	return ""
}

// first keeps the first answer; the others are repeats.
func first[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

func discover(ctx context.Context, issuer string) (*oidc.Provider, error) {
	if err := client.CheckURL(issuer); err != nil {
		return nil, fmt.Errorf("couldn't use the issuer: %w", err)
	}
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, fmt.Errorf("couldn't ask the identity provider %s about itself: %w", issuer, plain(err))
	}
	for _, endpoint := range []string{provider.Endpoint().AuthURL, provider.Endpoint().TokenURL} {
		u, err := url.Parse(endpoint)
		if err != nil {
			return nil, fmt.Errorf("couldn't use the identity provider %s: it names an endpoint that is no URL", issuer)
		}
		u.RawQuery = ""
		if err := client.CheckURL(u.String()); err != nil {
			return nil, fmt.Errorf("couldn't use the identity provider %s: its endpoint: %w", issuer, err)
		}
	}
	return provider, nil
}
