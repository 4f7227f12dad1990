package robot_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/infra/idp/robot"
)

// site serves a login page; a good password leads to target.
func site(t *testing.T, page, target string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "s"})
		http.Redirect(w, r, "/login", http.StatusFound)
	})
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, page)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		if err != nil || cookie.Value != "s" || r.PostFormValue("token") != "a&b" {
			http.Error(w, "the cookie or the hidden field is missing", http.StatusBadRequest)
			return
		}
		if r.PostFormValue("who") == "alice" && r.PostFormValue("pass") == "right" {
			http.Redirect(w, r, target, http.StatusSeeOther)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, strings.Replace(page, "<form", `<p role="alert">Login &amp; <b>password</b>  don't fit.</p><form`, 1))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

const form = `<form method="post" action="/login"><input type="hidden" name="token" value="a&amp;b"><input name="who"><input type="password" name="pass"></form>`

func program(t *testing.T) (string, *string) {
	t.Helper()
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.URL.Query().Get("code") }))
	t.Cleanup(server.Close)
	return server.URL + "/callback?code=c0de", &got
}

func TestLoginBringsTheCodeToTheProgram(t *testing.T) {
	t.Parallel()
	target, got := program(t)
	if err := robot.Login(t.Context(), site(t, form, target)+"/authorize", "alice", "right"); err != nil {
		t.Fatal(err)
	}
	if *got != "c0de" {
		t.Errorf("the program got %q", *got)
	}
}

func TestLoginSaysWhatThePageSays(t *testing.T) {
	t.Parallel()
	target, _ := program(t)
	err := robot.Login(t.Context(), site(t, form, target)+"/authorize", "alice", "wrong")
	if err == nil || err.Error() != "Login & password don't fit." {
		t.Errorf("got %v", err)
	}
}

func TestLoginGivesUp(t *testing.T) {
	t.Parallel()
	stolen := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the password went to another site: %s", r.Method)
	}))
	t.Cleanup(stolen.Close)
	loop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }))
	t.Cleanup(loop.Close)
	shut := httptest.NewServer(http.NotFoundHandler())
	shut.Close()
	for name, c := range map[string]struct{ target, want string }{
		"no form":            {site(t, "<p>Hello</p>", "/") + "/authorize", "shows no login form"},
		"form without login": {site(t, `<form><input type="password" name="p"></form>`, "/") + "/authorize", "shows no login form"},
		"foreign action":     {site(t, strings.Replace(form, "/login", stolen.URL, 1), "/") + "/authorize", "to another site"},
		"endless redirects":  {loop.URL, "more than 10 redirects"},
		"nobody listens":     {shut.URL, "couldn't log in at"},
		"program is gone":    {site(t, form, shut.URL+"/callback?code=c0de") + "/authorize", "couldn't log in at"},
		"stays at the site":  {site(t, form, "/login") + "/authorize", "didn't lead back"},
		"relative URL":       {"/authorize", "absolute"},
		"another scheme":     {"file:///etc/hosts", "absolute"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := robot.Login(t.Context(), c.target, "alice", "right")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "right") || strings.Contains(err.Error(), "c0de") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestLoginStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	if err := robot.Login(ctx, server.URL, "alice", "right"); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("got %v", err)
	}
}
