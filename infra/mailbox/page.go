package mailbox

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The page shows the newest ones, cut to a readable length; the JSON has all.
const (
	maxShown     = 100
	maxShownText = 32 << 10
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

type pageView struct {
	Nonce              string
	Mails              []mailView
	Hooks              []hookView
	AllMails, AllHooks int
}

type moment struct{ Machine, Human string }

type mailView struct {
	Message
	Time               moment
	Sender, Recipients string
	Body               []segment
	Cut                bool
}

type hookView struct {
	Webhook
	Time moment
	OK   bool
	Text string
	Cut  bool
	List []headerView
}

type headerView struct{ Name, Value string }

// segment is a piece of text; with Link it is a web address.
type segment struct {
	Text string
	Link bool
}

func (m *Mailbox) showPage(w http.ResponseWriter, _ *http.Request) {
	mails, hooks := m.mails.all(), m.hooks.all()
	view := pageView{Nonce: rand.Text(), AllMails: len(mails), AllHooks: len(hooks)}
	for _, one := range slices.Backward(mails[max(0, len(mails)-maxShown):]) {
		view.Mails = append(view.Mails, viewMail(one.value.parse(one.id)))
	}
	for _, one := range slices.Backward(hooks[max(0, len(hooks)-maxShown):]) {
		view.Hooks = append(view.Hooks, viewHook(one.value))
	}
	var out bytes.Buffer
	if err := page.Execute(&out, view); err != nil {
		http.Error(w, "couldn't make the page", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+view.Nonce+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(out.Bytes())
}

func viewMail(message Message) mailView {
	view := mailView{Message: message, Time: at(message.Received), Sender: message.From, Recipients: strings.Join(message.To, ", ")}
	if from := first(message.Headers["From"]); from != "" {
		view.Sender = from
	}
	text, cut := shorten(message.Text)
	view.Body, view.Cut = segments(text), cut
	return view
}

func viewHook(hook Webhook) hookView {
	view := hookView{Webhook: hook, Time: at(hook.Received), OK: hook.Status < http.StatusBadRequest}
	body := hook.Body
	var indented bytes.Buffer
	if json.Indent(&indented, []byte(body), "", "  ") == nil {
		body = indented.String()
	}
	if len(hook.Binary) > 0 {
		body = fmt.Sprintf("%d bytes that aren't text", len(hook.Binary))
	}
	view.Text, view.Cut = shorten(body)
	for name, values := range hook.Headers {
		view.List = append(view.List, headerView{name, strings.Join(values, ", ")})
	}
	slices.SortFunc(view.List, func(a, b headerView) int { return strings.Compare(a.Name, b.Name) })
	return view
}

func at(t time.Time) moment {
	return moment{t.Format(time.RFC3339), t.Format("2 Jan 2006, 15:04:05 MST")}
}

func shorten(text string) (string, bool) {
	if len(text) <= maxShownText {
		return text, false
	}
	return strings.ToValidUTF8(text[:maxShownText], ""), true
}

// webAddress leaves out the punctuation that ends a sentence.
var webAddress = regexp.MustCompile(`https?://[^\s<>"]*[^\s<>".,;:!?)\]}']`)

// segments finds the web addresses of a text.
func segments(text string) []segment {
	var result []segment
	rest := 0
	for _, found := range webAddress.FindAllStringIndex(text, -1) {
		if found[0] > rest {
			result = append(result, segment{Text: text[rest:found[0]]})
		}
		result = append(result, segment{Text: text[found[0]:found[1]], Link: true})
		rest = found[1]
	}
	if rest < len(text) {
		result = append(result, segment{Text: text[rest:]})
	}
	return result
}
