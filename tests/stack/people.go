package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/countersign-dev/countersign"
)

// Who finds a person by "issuer/login".
func (s *Stack) Who(name string) Person {
	issuer, login, _ := strings.Cut(name, "/")
	for _, p := range s.People {
		if p.Issuer == issuer && p.Login == login {
			return p
		}
	}
	panic("the stack has no " + name)
}

// Actor is a person, or a machine, as the product names them.
func (s *Stack) Actor(name string) countersign.Actor {
	issuer, client, _ := strings.Cut(name, "/")
	for _, m := range s.Machines {
		if m.Issuer == issuer && m.Client == client {
			return countersign.Actor{Issuer: s.Issuers[issuer].URL, Subject: client}
		}
	}
	return countersign.Actor{Issuer: s.Issuers[issuer].URL, Subject: s.Who(name).Subject}
}

// Token is the bearer access token of "acme/alice" (a person), "machine:acme/procurement" or "platform:operator/acme".
//
// It is kept for a minute: tokens live for ten, and each costs a login.
func (s *Stack) Token(ctx context.Context, who string) (string, error) {
	s.mu.Lock()
	kept, ok := s.tokens[who]
	s.mu.Unlock()
	if ok && time.Since(kept.at) < time.Minute {
		return kept.token, nil
	}
	token, err := s.mint(ctx, who)
	if err == nil {
		s.mu.Lock()
		s.tokens[who] = keptToken{token, time.Now()}
		s.mu.Unlock()
	}
	return token, err
}

type keptToken struct {
	token string
	at    time.Time
}

func (s *Stack) mint(ctx context.Context, who string) (string, error) {
	kind, name, ok := strings.Cut(who, ":")
	args := []string{"token", "--data", s.Data}
	switch {
	case !ok:
		args = append(args, "--as", who)
	default:
		args = append(args, "--"+kind, name)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(s.Bin, "devstack"), args...).Output()
	if err != nil {
		var detail string
		if exit, ok := err.(*exec.ExitError); ok {
			detail = string(exit.Stderr)
		}
		return "", fmt.Errorf("couldn't get a token for %s: %w: %s", who, err, detail)
	}
	return strings.TrimSpace(string(out)), nil
}

// Prove lets a person log in for one decision: it returns an ID token whose nonce is the decision's digest.
func (s *Stack) Prove(ctx context.Context, who string, d countersign.Decision) (string, error) {
	digest, err := d.Digest()
	if err != nil {
		return "", err
	}
	return s.ProveDigest(ctx, who, digest)
}

// ProveDigest lets a person log in for whatever has that digest.
func (s *Stack) ProveDigest(ctx context.Context, who, digest string) (string, error) {
	issuer, _, _ := strings.Cut(who, "/")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	codes := make(chan string, 1)
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case codes <- r.URL.Query().Get("code"):
		default:
		}
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()

	i := s.Issuers[issuer]
	config := oauth2.Config{
		ClientID: i.EvidenceClient, Scopes: []string{"openid"}, RedirectURL: "http://" + listener.Addr().String() + "/callback",
		Endpoint: oauth2.Endpoint{AuthURL: i.URL + "/authorize", TokenURL: i.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	verifier := oauth2.GenerateVerifier()
	url := config.AuthCodeURL(random(), oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", digest),
		oauth2.SetAuthURLParam("max_age", "0"), oauth2.SetAuthURLParam("prompt", "login"))
	if out, err := exec.CommandContext(ctx, filepath.Join(s.Bin, "devstack"), "login", "--data", s.Data, "--as", who, url).CombinedOutput(); err != nil {
		return "", fmt.Errorf("couldn't log in as %s: %w: %s", who, err, out)
	}
	select {
	case code := <-codes:
		token, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
		if err != nil {
			return "", fmt.Errorf("couldn't get the ID token of %s: %w", who, err)
		}
		id, _ := token.Extra("id_token").(string)
		return id, nil
	case <-time.After(10 * time.Second):
		return "", fmt.Errorf("the login of %s ended without a code", who)
	}
}

func random() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
