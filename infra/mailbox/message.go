package mailbox

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"
)

const (
	maxDepth = 5
	maxParts = 50
)

// mail is a mail as it is kept.
type mail struct {
	Received time.Time `json:"received"`
	From     string    `json:"from"`
	To       []string  `json:"to"`
	Raw      []byte    `json:"raw"`
}

// Message is a mail as the JSON shows it. From and To are those of the envelope.
type Message struct {
	ID        string    `json:"id"`
	Received  time.Time `json:"received"`
	From      string    `json:"from"`
	To        []string  `json:"to"`
	Subject   string    `json:"subject"`
	MessageID string    `json:"messageId"`
	// Headers are decoded (RFC 2047); names are in canonical form.
	Headers map[string][]string `json:"headers"`
	// Text is the plain text, or the text of the HTML if there is no other.
	Text        string       `json:"text"`
	HTML        string       `json:"html,omitempty"`
	Attachments []Attachment `json:"attachments,omitempty"`
}

// Attachment tells what else a mail carried; Size is in bytes.
type Attachment struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Size int    `json:"size"`
}

// parse never fails: what can't be read is shown as it came.
func (m mail) parse(id string) Message {
	result := Message{ID: id, Received: m.Received, From: m.From, To: m.To, Headers: map[string][]string{}}
	message, err := netmail.ReadMessage(bytes.NewReader(m.Raw))
	if err != nil {
		result.Text = valid(string(m.Raw))
		return result
	}
	decoder := mime.WordDecoder{CharsetReader: charset.NewReaderLabel}
	for name, values := range message.Header {
		for _, value := range values {
			if decoded, err := decoder.DecodeHeader(value); err == nil {
				value = decoded
			}
			result.Headers[name] = append(result.Headers[name], valid(value))
		}
	}
	result.Subject = first(result.Headers["Subject"])
	result.MessageID = first(result.Headers["Message-Id"])
	reader := partReader{message: &result}
	if err := reader.read(textproto.MIMEHeader(message.Header), message.Body, 0); err != nil && result.Text == "" && result.HTML == "" {
		result.Text = valid(string(m.Raw))
	}
	if result.Text == "" && result.HTML != "" {
		result.Text = plain(result.HTML)
	}
	return result
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// partReader gathers the parts of one mail.
type partReader struct {
	message *Message
	parts   int
}

func (p *partReader) read(header textproto.MIMEHeader, body io.Reader, depth int) error {
	kind, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		kind, parameters = "text/plain", nil // RFC 2045, section 5.2
	}
	if strings.HasPrefix(kind, "multipart/") {
		if depth >= maxDepth {
			return errors.New("the mail is nested too deep")
		}
		return p.readParts(multipart.NewReader(body, parameters["boundary"]), depth)
	}
	switch strings.ToLower(header.Get("Content-Transfer-Encoding")) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	raw, err := io.ReadAll(body)
	disposition, dispositionParameters, _ := mime.ParseMediaType(header.Get("Content-Disposition"))
	isText := disposition != "attachment" && (kind == "text/plain" && p.message.Text == "" || kind == "text/html" && p.message.HTML == "")
	switch {
	case !isText:
		name := dispositionParameters["filename"]
		if name == "" {
			name = parameters["name"]
		}
		p.message.Attachments = append(p.message.Attachments, Attachment{Name: valid(name), Type: valid(kind), Size: len(raw)})
	case kind == "text/plain":
		p.message.Text = toUTF8(raw, parameters["charset"])
	default:
		p.message.HTML = toUTF8(raw, parameters["charset"])
	}
	return err
}

func (p *partReader) readParts(parts *multipart.Reader, depth int) error {
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) && p.parts > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if p.parts++; p.parts > maxParts {
			return errors.New("the mail has too many parts")
		}
		if err := p.read(part.Header, part, depth+1); err != nil {
			return err
		}
	}
}

func toUTF8(raw []byte, label string) string {
	if label != "" && !utf8.Valid(raw) {
		if reader, err := charset.NewReaderLabel(label, bytes.NewReader(raw)); err == nil {
			if decoded, err := io.ReadAll(reader); err == nil {
				raw = decoded
			}
		}
	}
	return valid(strings.ReplaceAll(string(raw), "\r\n", "\n"))
}

// plain returns the text of an HTML page, a line for each run of text.
func plain(page string) string {
	tokens := html.NewTokenizer(strings.NewReader(page))
	var lines []string
	hidden := false
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return strings.Join(lines, "\n")
		case html.StartTagToken, html.EndTagToken:
			token := tokens.Token()
			if token.Data == "style" || token.Data == "script" || token.Data == "title" {
				hidden = token.Type == html.StartTagToken
			}
		case html.TextToken:
			if line := strings.Join(strings.Fields(string(tokens.Text())), " "); line != "" && !hidden {
				lines = append(lines, html.UnescapeString(line))
			}
		}
	}
}
