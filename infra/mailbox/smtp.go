package mailbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	maxRecipients = 50
	smtpTimeout   = 30 * time.Second
	// slowTries is how often a mail to "slow" is put off.
	slowTries = 2
)

func (m *Mailbox) newSMTP() *smtp.Server {
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{box: m}, nil }))
	server.Domain = "localhost"
	server.MaxRecipients = maxRecipients
	server.MaxMessageBytes = maxSize
	server.ReadTimeout, server.WriteTimeout = smtpTimeout, smtpTimeout
	server.EnableSMTPUTF8 = true
	server.ErrorLog = slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn)
	return server
}

// ServeSMTP serves SMTP (RFC 5321, without TLS and authentication) on listener
// until Close, and then returns nil. A mail is at most 1 MiB and has at most 50
// recipients.
func (m *Mailbox) ServeSMTP(listener net.Listener) error {
	return m.smtp.Serve(listener)
}

// session is one SMTP connection.
type session struct {
	box  *Mailbox
	from string
	to   []string
}

func (s *session) Reset()        { s.from, s.to = "", nil }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from, s.to = from, nil
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if localPart(to) == "full" {
		return &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 2, 2}, Message: "Mailbox full"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(s.to, func(to string) bool { return localPart(to) == "slow" }) && s.box.putOff(s.from, s.to, raw) {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "Try again later"}
	}
	if err := s.box.mails.add(mail{Received: s.box.now().UTC(), From: s.from, To: s.to, Raw: raw}); err != nil {
		slog.Error("couldn't keep a mail", "error", err)
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "The mailbox couldn't keep the mail"}
	}
	return nil
}

func localPart(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		at = len(address)
	}
	return strings.ToLower(address[:at])
}

// putOff counts the tries of a mail and reports whether this one is too early.
func (m *Mailbox) putOff(from string, to []string, raw []byte) bool {
	var id, subject string
	if message, err := netmail.ReadMessage(bytes.NewReader(raw)); err == nil {
		id, subject = message.Header.Get("Message-Id"), message.Header.Get("Subject")
	}
	if id == "" {
		sum := sha256.Sum256([]byte(strings.Join(append([]string{from, subject}, to...), "\x00")))
		id = hex.EncodeToString(sum[:])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.tries) >= maxKept {
		clear(m.tries)
	}
	m.tries[id]++
	return m.tries[id] <= slowTries
}

var _ smtp.Session = (*session)(nil)
