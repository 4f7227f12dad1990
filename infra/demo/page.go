package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gowebpki/jcs"
	"golang.org/x/oauth2"

	"github.com/countersign-dev/countersign/infra/idp/robot"
)

// page does for one person what a page in a browser would: it uses the HTTP API with an access token of theirs, computes each digest
// itself, and has their identity provider and their passkey sign it. It is written from the API's description alone.
type page struct {
	d       *demo
	person  person
	actor   actor
	token   string // access token
	passkey *passkey
}

// actor is somebody as the product names them.
type actor struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
}

// open logs somebody in to the API.
func (d *demo) open(ctx context.Context, p person) (*page, error) {
	access, _, err := d.login(ctx, p, d.stack.Issuers[p.issuer].Client, rand.Text())
	if err != nil {
		return nil, err
	}
	return &page{d: d, person: p, actor: d.actor(p), token: access, passkey: newPasskey()}, nil
}

func (d *demo) actor(p person) actor {
	for _, known := range d.stack.People {
		if known.Issuer+"/"+known.Login == p.who {
			return actor{Issuer: d.stack.Issuers[p.issuer].URL, Subject: known.Subject}
		}
	}
	return actor{}
}

// login lets the robot log somebody in at their identity provider, by authorization code with PKCE (RFC 7636) and a redirect to the
// loopback. The ID token's nonce is the given one.
func (d *demo) login(ctx context.Context, p person, clientID, nonce string) (access, idToken string, err error) {
	fail := func(err error) (string, string, error) {
		return "", "", fmt.Errorf("couldn't log in as %s: %w", p.who, err)
	}
	provider, err := oidc.NewProvider(ctx, d.stack.Issuers[p.issuer].URL)
	if err != nil {
		return fail(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail(err)
	}
	state, verifier, codes := rand.Text(), oauth2.GenerateVerifier(), make(chan string, 1)
	server := &http.Server{ReadTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if query := r.URL.Query(); query.Get("state") == state {
			select {
			case codes <- query.Get("code"):
			default:
			}
		}
	})}
	go func() { _ = server.Serve(listener) }() // it ends by Close
	defer server.Close()

	config := oauth2.Config{ClientID: clientID, Endpoint: provider.Endpoint(), Scopes: []string{oidc.ScopeOpenID}, RedirectURL: "http://" + listener.Addr().String() + "/callback"}
	target := config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("max_age", "0"), oauth2.SetAuthURLParam("prompt", "login"))
	for _, known := range d.stack.People {
		if known.Issuer+"/"+known.Login == p.who {
			if err := robot.Login(ctx, target, known.Login, known.Password); err != nil {
				return fail(err)
			}
		}
	}
	select {
	case code := <-codes:
		tokens, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
		if err != nil {
			return fail(err)
		}
		idToken, _ = tokens.Extra("id_token").(string)
		return tokens.AccessToken, idToken, nil
	default: // the robot returns when the answer has come back
		return fail(errors.New("no answer of the identity provider came back"))
	}
}

// prove binds a digest to the person: by an ID token that is good for nothing else, and by their passkey.
func (p *page) prove(ctx context.Context, digest string) (idToken string, key keyProof, err error) {
	if _, idToken, err = p.d.login(ctx, p.person, p.d.stack.Issuers[p.person.issuer].EvidenceClient, digest); err != nil {
		return "", key, err
	}
	key, err = p.passkey.sign(digest)
	return idToken, key, err
}

// enrol makes the passkey the person's at the tenant, and returns the key's id.
func (p *page) enrol(ctx context.Context) (string, error) {
	now := time.Now()
	enrolment := p.passkey.enrolment(p.actor, now)
	digest, err := digest("countersign enrolment v1", enrolment)
	if err != nil {
		return "", err
	}
	idToken, possession, err := p.prove(ctx, digest)
	if err != nil {
		return "", err
	}
	var kept struct{ ID, State string }
	if err := p.call(ctx, http.MethodPost, "/keys", map[string]any{"enrolment": enrolment, "proof": map[string]any{"idToken": idToken}, "possession": possession}, &kept); err != nil {
		return "", err
	}
	if kept.State != "active" {
		return "", fmt.Errorf("couldn't enrol the passkey of %s: it is %q", p.person.who, kept.State)
	}
	return kept.ID, nil
}

// signedDecision is what a person sends.
type signedDecision struct {
	ID       string          `json:"id"`
	Decision json.RawMessage `json:"decision"`
	Proof    struct {
		IDToken string   `json:"idToken"`
		Key     keyProof `json:"key"`
	} `json:"proof"`
	digest string
}

// approval is a proven approval under a grant, not sent yet.
func (p *page) approval(ctx context.Context, request, grant string) (signedDecision, error) {
	s := signedDecision{ID: rand.Text()}
	var draft struct {
		Decision json.RawMessage
		Digest   string
	}
	err := p.call(ctx, http.MethodGet, "/signings/"+request+"/decision?verdict=approve&grant="+grant, nil, &draft)
	if err != nil {
		return s, err
	}
	if s.Decision = draft.Decision; len(s.Decision) == 0 {
		return s, errors.New("couldn't read the drafted decision: there is none")
	}
	// What is signed is what this page computes, not what it is told.
	if s.digest, err = digest("countersign decision v1", s.Decision); err != nil {
		return s, err
	}
	if s.digest != draft.Digest {
		return s, errors.New("couldn't trust the drafted decision: its digest is another one")
	}
	s.Proof.IDToken, s.Proof.Key, err = p.prove(ctx, s.digest)
	return s, err
}

// became waits for what became of a decision, as somebody who may see the signing.
func (p *page) became(ctx context.Context, request, grant, id string) (record, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		var s struct{ Decisions []record }
		path := "/signings/" + request
		if grant != "" {
			path += "?grant=" + grant
		}
		if err := p.call(ctx, http.MethodGet, path, nil, &s); err != nil {
			return record{}, err
		}
		for _, r := range s.Decisions {
			if r.ID == id {
				return r, nil
			}
		}
		select {
		case <-tick.C:
		case <-limit:
			return record{}, fmt.Errorf("the decision in %s was not looked at within a minute", request)
		case <-ctx.Done():
			return record{}, ctx.Err()
		}
	}
}

// problem is how the API says no (RFC 9457).
type problem struct {
	Status       int
	Code, Detail string
}

func (p *problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Detail) }

// call asks the API for something of the tenant acme. An answer that isn't a success is a *problem.
func (p *page) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("couldn't write the request: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, p.d.api+"/v1/acme"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := patient.Do(request)
	if err != nil {
		return fmt.Errorf("couldn't reach the API: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("couldn't read the API's answer: %w", err)
	}
	if response.StatusCode/100 != 2 {
		told := &problem{Status: response.StatusCode}
		_ = json.Unmarshal(answer, told) // an answer that isn't a problem has its status alone
		return told
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("couldn't read the API's answer: %w", err)
	}
	return nil
}

// patient waits as long as the API itself does for what becomes of a key.
var patient = &http.Client{Timeout: 30 * time.Second}

// digest is SHA-256(domain ‖ 0 ‖ RFC 8785 JSON), in hex.
func digest(domain string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err == nil {
		plain, err = jcs.Transform(plain)
	}
	if err != nil {
		return "", fmt.Errorf("couldn't compute a digest: %w", err)
	}
	sum := sha256.Sum256(append([]byte(domain+"\x00"), plain...))
	return hex.EncodeToString(sum[:]), nil
}
