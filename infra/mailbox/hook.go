package mailbox

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"time"
	"unicode/utf8"
)

// Webhook is a received webhook.
type Webhook struct {
	ID       string    `json:"id,omitempty"`
	Received time.Time `json:"received"`
	Name     string    `json:"name"`
	// Status is what the mailbox answered.
	Status  int                 `json:"status"`
	Headers map[string][]string `json:"headers"`
	Body    string              `json:"body"`
	// Binary holds the body (base64 in JSON) when it isn't UTF-8; Body is then empty.
	Binary []byte `json:"binary,omitempty"`
}

var hookName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// hookFaults are the webhooks that fail on purpose.
var hookFaults = map[string]int{"broken": http.StatusInternalServerError, "gone": http.StatusGone}

func (m *Mailbox) receiveHook(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !hookName.MatchString(name) {
		http.Error(w, "a hook's name has 1 to 64 letters, digits, \".\", \"_\" or \"-\"", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSize))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		http.Error(w, "the body is larger than 1 MiB", http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, "couldn't read the body", http.StatusBadRequest)
		return
	}
	status, fails := hookFaults[name]
	if !fails {
		status = http.StatusNoContent
	}
	hook := Webhook{Received: m.now().UTC(), Name: name, Status: status, Headers: r.Header}
	if utf8.Valid(body) {
		hook.Body = string(body)
	} else {
		hook.Binary = body
	}
	if err := m.hooks.add(hook); err != nil {
		slog.Error("couldn't keep a webhook", "error", err)
		http.Error(w, "the mailbox couldn't keep the webhook", http.StatusServiceUnavailable)
		return
	}
	if fails {
		http.Error(w, "this hook fails on purpose", status)
		return
	}
	w.WriteHeader(status)
}
