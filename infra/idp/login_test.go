package idp_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/countersign-dev/countersign/infra/idp/robot"
)

func TestEvidenceTokenProvesAFreshLogin(t *testing.T) {
	t.Parallel()
	s := start(t)
	before := time.Now().Truncate(time.Second)
	token, err := login(t, s, "countersign-evidence", []string{"profile", "email"}, oidc.Nonce("digest-of-the-decision"), oauth2.SetAuthURLParam("max_age", "0"), oauth2.SetAuthURLParam("prompt", "login"))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	proof, err := verify(t, s, "countersign-evidence", raw)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		AuthTime int64    `json:"auth_time"`
		ACR      string   `json:"acr"`
		AMR      []string `json:"amr"`
		Name     string   `json:"name"`
		Email    string   `json:"email"`
	}
	if err := proof.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if proof.Subject != "a-1001" || proof.Nonce != "digest-of-the-decision" || len(proof.Audience) != 1 {
		t.Errorf("sub %q, nonce %q, aud %v", proof.Subject, proof.Nonce, proof.Audience)
	}
	if at := time.Unix(claims.AuthTime, 0); at.Before(before) || at.After(time.Now()) {
		t.Errorf("auth_time %v, want the moment of the login", at)
	}
	if claims.ACR != "urn:countersign:acr:password" || len(claims.AMR) != 1 || claims.AMR[0] != "pwd" {
		t.Errorf("acr %q, amr %v", claims.ACR, claims.AMR)
	}
	if claims.Name != "Alice Ahn" || claims.Email != "alice@acme.example" {
		t.Errorf("name %q, email %q", claims.Name, claims.Email)
	}
	if life := proof.Expiry.Sub(proof.IssuedAt).Round(time.Second); life != 5*time.Minute {
		t.Errorf("the ID token lives for %v", life)
	}
	if _, err := verify(t, s, "countersign", token.AccessToken); err == nil {
		t.Error("the access token of the evidence client passes as a credential")
	}
	if token.RefreshToken != "" {
		t.Error("the evidence client got a refresh token")
	}
}

func TestAccessTokenIsACredential(t *testing.T) {
	t.Parallel()
	s := start(t)
	token, err := login(t, s, "countersign", nil)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := verify(t, s, "countersign", token.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if credential.Subject != "a-1001" || credential.Issuer != s.config.URL {
		t.Errorf("iss %q, sub %q", credential.Issuer, credential.Subject)
	}
	if life := credential.Expiry.Sub(credential.IssuedAt).Round(time.Second); life != 10*time.Minute {
		t.Errorf("the access token lives for %v", life)
	}
	info, err := discover(t, s).UserInfo(t.Context(), oauth2.StaticTokenSource(token))
	if err != nil || info.Subject != "a-1001" || info.Email != "alice@acme.example" {
		t.Errorf("userinfo %+v, %v", info, err)
	}
	if token.RefreshToken != "" {
		t.Error("a refresh token came without offline_access")
	}
}

func TestRefusedLoginsSayWhy(t *testing.T) {
	t.Parallel()
	s := start(t)
	const wrong = "The login or the password is wrong."
	for name, c := range map[string]struct{ login, password, want string }{
		"wrong password":              {"alice", "wrong", wrong},
		"unknown login":               {"mallory", "correct horse", wrong},
		"empty password":              {"alice", "", wrong},
		"other's password":            {"alice", "battery staple", wrong},
		"disabled":                    {"dave", "battery staple", "This account is disabled. Ask your organisation's administrator to enable it."},
		"disabled and wrong password": {"dave", "wrong", wrong},
		"longer than bcrypt reads":    {"alice", strings.Repeat("x", 100), wrong},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redirect, answers := listener(t)
			config := oauth2.Config{ClientID: "countersign", Endpoint: discover(t, s).Endpoint(), RedirectURL: redirect, Scopes: []string{"openid"}}
			err := robot.Login(t.Context(), config.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())), c.login, c.password)
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
			select {
			case answer := <-answers:
				t.Errorf("the listener got %v", answer)
			default:
			}
		})
	}
}

func TestCodeIsGoodOnceAndNeedsItsVerifier(t *testing.T) {
	t.Parallel()
	s := start(t)
	redirect, answers := listener(t)
	config := oauth2.Config{ClientID: "countersign", Endpoint: discover(t, s).Endpoint(), RedirectURL: redirect, Scopes: []string{"openid"}}
	verifier := oauth2.GenerateVerifier()
	code := func() string {
		if err := robot.Login(t.Context(), config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), "alice", "correct horse"); err != nil {
			t.Fatal(err)
		}
		return (<-answers).Get("code")
	}
	first := code()
	if _, err := config.Exchange(t.Context(), first, oauth2.VerifierOption(verifier)); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Exchange(t.Context(), first, oauth2.VerifierOption(verifier)); err == nil {
		t.Error("a code was good twice")
	}
	second := code()
	if _, err := config.Exchange(t.Context(), second, oauth2.VerifierOption(oauth2.GenerateVerifier())); err == nil {
		t.Error("a code was good with another verifier")
	}
	if _, err := config.Exchange(t.Context(), second, oauth2.VerifierOption(verifier)); err == nil {
		t.Error("a failed use didn't spend the code")
	}
	if _, err := config.Exchange(t.Context(), code()); err == nil {
		t.Error("a code was good without a verifier")
	}
	last := code()
	if err := s.SetDisabled("alice", true); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Exchange(t.Context(), last, oauth2.VerifierOption(verifier)); err == nil {
		t.Error("a person disabled after the login redeemed the code")
	}
}

func TestWhoKnowsTheLoginLinkCantFetchTheCode(t *testing.T) {
	t.Parallel()
	s := start(t)
	redirect, answers := listener(t)
	config := oauth2.Config{ClientID: "countersign", Endpoint: discover(t, s).Endpoint(), RedirectURL: redirect, Scopes: []string{"openid"}}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := browser.Get(config.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	link, err := response.Location()
	if err != nil {
		t.Fatal(err)
	}
	if err := robot.Login(t.Context(), link.String(), "alice", "correct horse"); err != nil {
		t.Fatal(err)
	}
	<-answers
	response, err = browser.Get(s.config.URL + "/authorize/callback?id=" + link.Query().Get("id"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, location %q", response.StatusCode, response.Header.Get("Location"))
	}
}
