// Package mailbox receives the mails and webhooks of the local stack and shows
// them on one page and as JSON.
//
// SMTP takes every mail for every address. For tests some addresses and hooks
// fail on purpose:
//
//   - a recipient whose local part is "full" gets 552 5.2.2;
//   - a mail to a local part "slow" gets 451 the first two times. A mail is known
//     again by its Message-ID, or without one by sender, recipients and subject;
//   - the webhook "broken" answers 500, "gone" 410. Both are recorded.
//
// HTTP:
//
//	GET    /                       the page
//	GET    /messages/<id>/raw      a mail as it came, as plain text
//	POST   /hooks/<name>           takes a webhook: 204
//	GET    /api/messages           JSON array of Message, newest last
//	GET    /api/webhooks           JSON array of Webhook, newest last
//	DELETE /api/messages, /api/webhooks    204
//
// There is no login. Requests must name a loopback host, and other web sites
// can't change anything.
package mailbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	// maxKept bounds the mails and the webhooks, each; the oldest leaves first.
	maxKept = 1000
	// maxSize bounds one mail and the body of one webhook.
	maxSize = 1 << 20
)

// Mailbox keeps mails and webhooks in a directory. It is safe for concurrent use.
type Mailbox struct {
	mails *shelf[mail]
	hooks *shelf[Webhook]
	smtp  *smtp.Server
	http  http.Handler
	now   func() time.Time

	mu    sync.Mutex
	tries map[string]int
}

// Open loads the mails and webhooks of dir, which is made if it's missing. One
// process at a time may use it; the caller sees to that.
func Open(dir string) (*Mailbox, error) {
	mails, err := openShelf[mail](filepath.Join(dir, "messages"), maxKept)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the mailbox in %s: %w", dir, err)
	}
	hooks, err := openShelf[Webhook](filepath.Join(dir, "webhooks"), maxKept)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the mailbox in %s: %w", dir, err)
	}
	m := &Mailbox{mails: mails, hooks: hooks, now: time.Now, tries: map[string]int{}}
	m.smtp = m.newSMTP()
	m.http = http.NewCrossOriginProtection().Handler(m.mux())
	return m, nil
}

// Close stops the SMTP server and its connections. What is kept stays on disk.
func (m *Mailbox) Close() error {
	if err := m.smtp.Close(); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
		return fmt.Errorf("couldn't close the mailbox: %w", err)
	}
	return nil
}

func (m *Mailbox) mux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", m.showPage)
	mux.HandleFunc("GET /messages/{id}/raw", m.showRaw)
	mux.HandleFunc("POST /hooks/{name}", m.receiveHook)
	mux.HandleFunc("GET /api/messages", m.listMessages)
	mux.HandleFunc("GET /api/webhooks", m.listHooks)
	mux.HandleFunc("DELETE /api/messages", func(w http.ResponseWriter, _ *http.Request) { answerCleared(w, m.mails.clear()) })
	mux.HandleFunc("DELETE /api/webhooks", func(w http.ResponseWriter, _ *http.Request) { answerCleared(w, m.hooks.clear()) })
	return mux
}

// ServeHTTP serves the page, the JSON and the webhooks.
func (m *Mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A page of another site that points its own name here (DNS rebinding) must not read mails.
	if !namesLoopback(r.Host) {
		http.Error(w, "this mailbox answers to a loopback address alone", http.StatusMisdirectedRequest)
		return
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	m.http.ServeHTTP(w, r)
}

func namesLoopback(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	address, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && address.IsLoopback()
}

func (m *Mailbox) listMessages(w http.ResponseWriter, _ *http.Request) {
	kept := m.mails.all()
	messages := make([]Message, 0, len(kept))
	for _, one := range kept {
		messages = append(messages, one.value.parse(one.id))
	}
	answerJSON(w, messages)
}

func (m *Mailbox) listHooks(w http.ResponseWriter, _ *http.Request) {
	kept := m.hooks.all()
	hooks := make([]Webhook, 0, len(kept))
	for _, one := range kept {
		one.value.ID = one.id
		hooks = append(hooks, one.value)
	}
	answerJSON(w, hooks)
}

func (m *Mailbox) showRaw(w http.ResponseWriter, r *http.Request) {
	for _, one := range m.mails.all() {
		if one.id == r.PathValue("id") {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
			_, _ = w.Write(one.value.Raw)
			return
		}
	}
	http.Error(w, "there is no such mail", http.StatusNotFound)
}

func answerJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

func answerCleared(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, "couldn't remove all files of the mailbox", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
