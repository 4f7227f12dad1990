package mailbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	netsmtp "net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// box is a mailbox that listens.
type box struct {
	*Mailbox
	smtp, page, dir string
}

func start(t *testing.T) *box {
	t.Helper()
	dir := t.TempDir()
	m, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- m.ServeSMTP(listener) }()
	server := httptest.NewServer(m)
	t.Cleanup(func() {
		server.Close()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Errorf("ServeSMTP: %v", err)
		}
		if err := m.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	})
	return &box{Mailbox: m, smtp: listener.Addr().String(), page: server.URL, dir: dir}
}

func (b *box) send(to []string, mail string) error {
	return netsmtp.SendMail(b.smtp, nil, "signing@acme.example", to, []byte(strings.ReplaceAll(mail, "\n", "\r\n")))
}

func (b *box) get(t *testing.T, path string) string {
	t.Helper()
	response, err := http.Get(b.page + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", path, response.StatusCode, err)
	}
	return string(body)
}

func (b *box) messages(t *testing.T) []Message {
	t.Helper()
	var messages []Message
	if err := json.Unmarshal([]byte(b.get(t, "/api/messages")), &messages); err != nil {
		t.Fatal(err)
	}
	return messages
}

func (b *box) hook(t *testing.T, name, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.page+"/hooks/"+name, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Webhook-Id", "msg_1")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func (b *box) webhooks(t *testing.T) []Webhook {
	t.Helper()
	var hooks []Webhook
	if err := json.Unmarshal([]byte(b.get(t, "/api/webhooks")), &hooks); err != nil {
		t.Fatal(err)
	}
	return hooks
}

const hello = "From: Acme <signing@acme.example>\nTo: alice@acme.example\nSubject: =?utf-8?q?Pr=C3=BCfen?=\nMessage-ID: <1@acme>\n\nPlease decide: http://127.0.0.1:8080/d/1?a=b&c=d.\n"

func TestMailIsShownAndListed(t *testing.T) {
	t.Parallel()
	b := start(t)
	if err := b.send([]string{"alice@acme.example", "ben@acme.example"}, hello); err != nil {
		t.Fatal(err)
	}
	messages := b.messages(t)
	if len(messages) != 1 {
		t.Fatalf("%d messages", len(messages))
	}
	got := messages[0]
	if got.From != "signing@acme.example" || len(got.To) != 2 || got.Subject != "Prüfen" || got.MessageID != "<1@acme>" || !strings.HasPrefix(got.Text, "Please decide") {
		t.Errorf("got %+v", got)
	}
	page := b.get(t, "/")
	for _, want := range []string{"Prüfen", "From Acme &lt;signing@acme.example&gt; to alice@acme.example, ben@acme.example", `<a href="http://127.0.0.1:8080/d/1?a=b&amp;c=d" rel="noreferrer">`, "</a>."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if raw := b.get(t, "/messages/"+got.ID+"/raw"); raw != strings.ReplaceAll(hello, "\n", "\r\n") {
		t.Errorf("raw %q", raw)
	}
}

func TestForeignTextIsEscaped(t *testing.T) {
	t.Parallel()
	b := start(t)
	const evil = `<script>alert(1)</script>`
	if err := b.send([]string{"alice@acme.example"}, "From: "+evil+"\nSubject: "+evil+"\n\n"+evil+" http://x/\"onclick=alert(1) javascript:alert(1)\n"); err != nil {
		t.Fatal(err)
	}
	b.hook(t, "acme", evil)
	page := b.get(t, "/")
	if strings.Contains(page, "<script") || strings.Count(page, "&lt;script&gt;") < 4 {
		t.Errorf("the page isn't escaped:\n%s", page)
	}
	if strings.Contains(page, `href="javascript`) || strings.Contains(page, `"onclick`) {
		t.Error("a link runs code")
	}
}

func TestFullMailboxIsRefusedAtTheRecipient(t *testing.T) {
	t.Parallel()
	b := start(t)
	err := b.send([]string{"Full@acme.example"}, hello)
	var refused *textproto.Error
	if !errors.As(err, &refused) || refused.Code != 552 || !strings.HasPrefix(refused.Msg, "5.2.2") {
		t.Errorf("got %v", err)
	}
	if len(b.messages(t)) != 0 {
		t.Error("the mail was kept")
	}
}

func TestSlowMailboxTakesTheThirdTryOfEachMail(t *testing.T) {
	t.Parallel()
	b := start(t)
	for _, mail := range []string{hello, strings.Replace(hello, "<1@acme>", "<2@acme>", 1), "Subject: no id\n\nx\n"} {
		for try := 1; try <= 3; try++ {
			err := b.send([]string{"slow@acme.example"}, mail)
			var refused *textproto.Error
			if late := errors.As(err, &refused) && refused.Code == 451; late != (try <= 2) || try == 3 && err != nil {
				t.Errorf("try %d: %v", try, err)
			}
		}
	}
	if kept := len(b.messages(t)); kept != 3 {
		t.Errorf("%d mails kept, want 3", kept)
	}
}

func TestLargeMailIsRefused(t *testing.T) {
	t.Parallel()
	b := start(t)
	line := strings.Repeat("x", 998) + "\n"
	var refused *textproto.Error
	if err := b.send([]string{"alice@acme.example"}, "Subject: big\n\n"+strings.Repeat(line, 1100)); !errors.As(err, &refused) || refused.Code != 552 {
		t.Errorf("got %v", err)
	}
	if err := b.send([]string{"alice@acme.example"}, "Subject: fits\n\n"+strings.Repeat(line, 1000)); err != nil {
		t.Error(err)
	}
	if messages := b.messages(t); len(messages) != 1 || messages[0].Subject != "fits" {
		t.Errorf("%d mails kept", len(messages))
	}
	if page := b.get(t, "/"); !strings.Contains(page, "The text is cut here") || len(page) > 100_000 {
		t.Errorf("the page has %d bytes", len(page))
	}
}

func TestWebhooksAreRecordedWithTheirAnswer(t *testing.T) {
	t.Parallel()
	b := start(t)
	for name, want := range map[string]int{"acme": 204, "broken": 500, "gone": 410} {
		if got := b.hook(t, name, `{"type":"signing.completed"}`); got != want {
			t.Errorf("%s: status %d, want %d", name, got, want)
		}
	}
	b.hook(t, "acme", "\xff\xfe")
	hooks := b.webhooks(t)
	if len(hooks) != 4 {
		t.Fatalf("%d webhooks", len(hooks))
	}
	for _, hook := range hooks[:3] {
		if hook.Body != `{"type":"signing.completed"}` || hook.Headers["Webhook-Id"][0] != "msg_1" || hook.ID == "" {
			t.Errorf("got %+v", hook)
		}
	}
	if last := hooks[3]; last.Body != "" || !bytes.Equal(last.Binary, []byte("\xff\xfe")) {
		t.Errorf("a body that isn't text: %+v", last)
	}
	page := b.get(t, "/")
	for _, want := range []string{"{\n  &#34;type&#34;: &#34;signing.completed&#34;\n}", "Webhook-Id", "410 on purpose", "2 bytes that aren&#39;t text"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if got := b.hook(t, "a%2fb", "{}"); got != http.StatusNotFound {
		t.Errorf("a name with a slash: %d", got)
	}
	if got := b.hook(t, "acme", strings.Repeat("x", maxSize+1)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", got)
	}
}

func TestDeleteEmptiesTheMailbox(t *testing.T) {
	t.Parallel()
	b := start(t)
	if err := b.send([]string{"alice@acme.example"}, hello); err != nil {
		t.Fatal(err)
	}
	b.hook(t, "acme", "{}")
	for _, path := range []string{"/api/messages", "/api/webhooks"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, b.page+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNoContent {
			t.Errorf("%s: status %d", path, response.StatusCode)
		}
		if got := b.get(t, path); got != "[]\n" {
			t.Errorf("%s is still %s", path, got)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(b.dir, "*", "*")); len(files) != 0 {
		t.Errorf("files left: %v", files)
	}
}

func TestRestartKeepsMailsAndOrder(t *testing.T) {
	t.Parallel()
	b := start(t)
	for i := range 12 {
		if err := b.send([]string{"alice@acme.example"}, fmt.Sprintf("Subject: %d\n\nx\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, one := range again.mails.all() {
		if got := one.value.parse(one.id); got.Subject != fmt.Sprint(i) {
			t.Errorf("mail %d is %q", i, got.Subject)
		}
	}
	if len(again.mails.all()) != 12 {
		t.Errorf("%d mails after a restart", len(again.mails.all()))
	}
	info, err := os.Stat(filepath.Join(b.dir, "messages", "000000000001.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func TestOldestLeavesFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := openShelf[int](dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := s.add(i); err != nil {
			t.Fatal(err)
		}
	}
	for name, shelf := range map[string]func() (*shelf[int], error){"at once": func() (*shelf[int], error) { return s, nil }, "again": func() (*shelf[int], error) { return openShelf[int](dir, 3) }} {
		s, err := shelf()
		if err != nil {
			t.Fatal(err)
		}
		if kept := s.all(); len(kept) != 3 || kept[0].value != 2 || kept[2].value != 4 {
			t.Errorf("%s: kept %v", name, kept)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(files) != 3 {
		t.Errorf("files %v", files)
	}
}

func TestForeignSitesAreRefused(t *testing.T) {
	t.Parallel()
	b := start(t)
	for name, c := range map[string]struct {
		method, path, host, site string
		want                     int
	}{
		"another name":       {http.MethodGet, "/api/messages", "evil.example", "", http.StatusMisdirectedRequest},
		"another address":    {http.MethodGet, "/api/messages", "192.0.2.1:80", "", http.StatusMisdirectedRequest},
		"delete from a site": {http.MethodDelete, "/api/messages", "127.0.0.1:80", "cross-site", http.StatusForbidden},
		"hook from a site":   {http.MethodPost, "/hooks/acme", "127.0.0.1:80", "cross-site", http.StatusForbidden},
		"localhost":          {http.MethodGet, "/", "localhost:80", "", http.StatusOK},
		"IPv6":               {http.MethodGet, "/", "[::1]:80", "", http.StatusOK},
		"no such mail":       {http.MethodGet, "/messages/1/raw", "127.0.0.1:80", "", http.StatusNotFound},
		"no such page":       {http.MethodGet, "/x", "127.0.0.1:80", "", http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request := httptest.NewRequest(c.method, c.path, nil)
			request.Host = c.host
			if c.site != "" {
				request.Header.Set("Sec-Fetch-Site", c.site)
			}
			recorder := httptest.NewRecorder()
			b.ServeHTTP(recorder, request)
			if recorder.Code != c.want {
				t.Errorf("status %d, want %d", recorder.Code, c.want)
			}
		})
	}
}
