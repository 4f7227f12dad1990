package idp

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"errors"
	"html/template"
	"net/http"
)

//go:embed login.html
var loginHTML string

var loginPage = template.Must(template.New("login").Parse(loginHTML))

type loginView struct {
	Organisation, Nonce string
	// Evidence tells that the login confirms a decision.
	Evidence bool
	// ID is empty when there is nothing to log in to; then Error says why.
	ID, Login, Error, Action string
}

func (p *Provider) showLogin(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	request, err := p.storage.lookup(id)
	if err != nil || request.done {
		p.render(w, http.StatusBadRequest, loginView{Error: errNoRequest.Error()})
		return
	}
	hint := request.hint
	if len(hint) > 200 {
		hint = ""
	}
	p.render(w, http.StatusOK, loginView{ID: id, Login: hint, Evidence: request.client == clientEvidence})
}

func (p *Provider) submitLogin(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.render(w, http.StatusBadRequest, loginView{Error: "The form can't be read or is larger than 64 KiB."})
		return
	}
	id, login := r.PostForm.Get("id"), r.PostForm.Get("login")
	request, err := p.storage.lookup(id)
	if err != nil || request.done {
		p.render(w, http.StatusBadRequest, loginView{Error: errNoRequest.Error()})
		return
	}
	again := loginView{ID: id, Login: login, Evidence: request.client == clientEvidence}
	person, err := p.storage.authenticate(login, r.PostForm.Get("password"))
	if err != nil {
		again.Error = err.Error()
		status := http.StatusUnauthorized
		if errors.Is(err, errDisabled) {
			status = http.StatusForbidden
		}
		p.render(w, status, again)
		return
	}
	finished, err := p.storage.complete(id, person)
	if err != nil {
		p.render(w, http.StatusBadRequest, loginView{Error: err.Error()})
		return
	}
	http.Redirect(w, r, p.issuer.String()+"/authorize/callback?id="+finished, http.StatusSeeOther)
}

func (p *Provider) render(w http.ResponseWriter, status int, view loginView) {
	view.Organisation, view.Nonce, view.Action = p.organisation, rand.Text(), p.issuer.String()+"/login"
	var page bytes.Buffer
	if err := loginPage.Execute(&page, view); err != nil {
		http.Error(w, "couldn't make the login page", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	// Browsers hold form-action also against the redirects that follow the form:
	// the last one goes to the program's listener.
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+view.Nonce+"'; form-action 'self' http://127.0.0.1:*; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}
