package mailbox

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMailsAreReadAsText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ raw, text string }{
		"plain":            {"Subject: a\n\nHello\n", "Hello\n"},
		"quoted-printable": {"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=\n=C3=9Fe", "Grüße"},
		"base64":           {"Content-Transfer-Encoding: base64\n\nR3LDvMOfZQ==\n", "Grüße"},
		"Latin-1":          {"Content-Type: text/plain; charset=iso-8859-1\n\nGr\xfc\xdfe", "Grüße"},
		"HTML alone":       {"Content-Type: text/html\n\n<style>p{}</style><p>Hello <b>Ben</b></p><p>1 &lt; 2</p>", "Hello\nBen\n1 < 2"},
		"text and HTML":    {"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nthe text\n--b\nContent-Type: text/html\n\n<p>the HTML</p>\n--b--\n", "the text"},
		"nested":           {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/related; boundary=c\n\n--c\nContent-Type: text/plain\n\ninside\n--c--\n--b--\n", "inside"},
		"broken multipart": {"Content-Type: multipart/mixed; boundary=b\n\nno parts", "Content-Type: multipart/mixed; boundary=b\n\nno parts"},
		"no mail at all":   {"hello", "hello"},
		"empty":            {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := (mail{Raw: []byte(c.raw)}).parse("1"); got.Text != c.text {
				t.Errorf("got %q, want %q", got.Text, c.text)
			}
		})
	}
}

func TestAttachmentsAreNamedNotShown(t *testing.T) {
	t.Parallel()
	raw := "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nsee the file\n--b\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=a.pdf\n\nJVBERg==\n--b\nContent-Type: text/plain\nContent-Disposition: attachment; filename=b.txt\n\nsecret\n--b--\n"
	got := mail{Raw: []byte(raw)}.parse("1")
	if got.Text != "see the file" || len(got.Attachments) != 2 || got.Attachments[0] != (Attachment{"a.pdf", "application/pdf", 4}) || got.Attachments[1].Name != "b.txt" {
		t.Errorf("got %+v", got)
	}
}

func TestDeepAndWideMailsEnd(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("Content-Type: multipart/mixed; boundary=b\n\n--b\n", 1000)
	wide := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Type: image/png\n\nx\n", 1000) + "--b--\n"
	if got := (mail{Raw: []byte(deep)}).parse("1"); !strings.HasPrefix(got.Text, "Content-Type") {
		t.Errorf("a deep mail is shown as %.80q", got.Text)
	}
	if got := (mail{Raw: []byte(wide)}).parse("1"); len(got.Attachments) != maxParts {
		t.Errorf("%d attachments", len(got.Attachments))
	}
}

func TestWebAddressesAreFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"see http://127.0.0.1:8080/d/1?a=b&c=d.": "see |[http://127.0.0.1:8080/d/1?a=b&c=d]|.",
		"(https://acme.example/x)":               "(|[https://acme.example/x]|)",
		"<https://acme.example>, then":           "<|[https://acme.example]|>, then",
		"https://a https://b":                    "[https://a]| |[https://b]",
		"javascript:alert(1) ftp://x":            "javascript:alert(1) ftp://x",
		"":                                       "",
	} {
		var parts []string
		for _, one := range segments(text) {
			if one.Link {
				one.Text = "[" + one.Text + "]"
			}
			parts = append(parts, one.Text)
		}
		if got := strings.Join(parts, "|"); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("Subject: =?utf-8?q?=C3=BC?=\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n!!\n--b--"))
	f.Add([]byte("Content-Type: text/html; charset=utf-16\n\n<p>\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := mail{Raw: raw}.parse("1")
		if !utf8.ValidString(got.Text) || !utf8.ValidString(got.HTML) || !utf8.ValidString(got.Subject) {
			t.Fatalf("text that isn't UTF-8 in %+v", got)
		}
		var whole strings.Builder
		for _, one := range segments(got.Text) {
			whole.WriteString(one.Text)
		}
		if whole.String() != got.Text {
			t.Fatalf("the segments %q aren't the text %q", whole.String(), got.Text)
		}
	})
}
