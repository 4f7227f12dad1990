package countersign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"
)

// Settings are one tenant: one YAML file. Paths in it are relative to the file. It holds no secret, only where secrets lie.
type Settings struct {
	Tenant     string             `yaml:"tenant"`
	Name       string             `yaml:"name"`
	Brand      Brand              `yaml:"brand"`
	Owner      Contact            `yaml:"owner"`
	Escalation Contact            `yaml:"escalation"`
	Namespace  string             `yaml:"namespace"`
	Issuers    []Issuer           `yaml:"issuers"`
	People     []Person           `yaml:"people"`
	Machines   []Machine          `yaml:"machines"`
	Purposes   map[string]Purpose `yaml:"purposes"`
	AWS        AWS                `yaml:"aws"`
	KMS        Key                `yaml:"kms"`
	Log        Log                `yaml:"log"`
	Timestamp  Timestamp          `yaml:"timestamp"`
	Documents  Documents          `yaml:"documents"`
	Evidence   Evidence           `yaml:"evidence"`
	Mail       Mail               `yaml:"mail"`
	Webhooks   []Webhook          `yaml:"webhooks"`
	Passkeys   Passkeys           `yaml:"passkeys"`
	Policy     PolicyFiles        `yaml:"policy"`
	SignedPDF  SignedPDFSetting   `yaml:"signedPDF"`
	Watch      Watch              `yaml:"watch"`

	digest string
	file   string
	root   *yaml.Node
}

// Brand is what pages and mails of the tenant look like.
type Brand struct {
	Name  string `yaml:"name"`
	Color string `yaml:"color"`
}

// Contact is somebody to turn to.
type Contact struct {
	Name  string `yaml:"name"`
	Email string `yaml:"email"`
}

// Issuer is an identity provider that the tenant trusts: its own (home) or a partner organisation's.
type Issuer struct {
	ID               string `yaml:"id" json:"id"`
	URL              string `yaml:"url" json:"url"`
	Kind             string `yaml:"kind" json:"kind"`
	Organisation     string `yaml:"organisation" json:"organisation"`
	Audience         string `yaml:"audience" json:"audience"`                 // of tokens that log in
	EvidenceAudience string `yaml:"evidenceAudience" json:"evidenceAudience"` // of tokens that prove a decision and log nobody in
}

// Partner says that the issuer belongs to another organisation.
func (i Issuer) Partner() bool { return i.Kind == "partner" }

// Person is somebody whom the tenant gave roles, by issuer and subject, never by name alone.
type Person struct {
	Issuer  string   `yaml:"issuer"`
	Subject string   `yaml:"subject"`
	Name    string   `yaml:"name"`
	Email   string   `yaml:"email"`
	Roles   []string `yaml:"roles"`
}

// Machine is a system whom the tenant gave roles. It may request; it never decides.
type Machine struct {
	Issuer  string   `yaml:"issuer"`
	Subject string   `yaml:"subject"`
	Name    string   `yaml:"name"`
	Roles   []string `yaml:"roles"`
}

// PolicyFiles are the tenant's own policies on top of the default set, and the example cases that they must keep. Both may be left out.
type PolicyFiles struct {
	File  string `yaml:"file"`
	Cases string `yaml:"cases"`
}

// Passkeys says for which site people make their passkeys, and which pages may ask for them. Without it the tenant takes none.
type Passkeys struct {
	RelyingParty string   `yaml:"relyingParty"`
	Origins      []string `yaml:"origins"`
}

// AWS says where keys and buckets are and under which profiles of the shared credentials file each process reaches them.
type AWS struct {
	Region         string `yaml:"region"`
	WorkerProfile  string `yaml:"workerProfile"`
	StarterProfile string `yaml:"starterProfile"`
	S3             string `yaml:"s3"`  // endpoint; empty for AWS itself
	KMSEndpoint    string `yaml:"kms"` // endpoint; empty for AWS itself
}

// Key is the tenant's signing key in KMS, its certificate chain and the roots that the chain must lead to.
type Key struct {
	ARN         string `yaml:"key"`
	Certificate string `yaml:"certificate"`
	Roots       string `yaml:"roots"`
	// PostQuantum is nil where evidence gets no post-quantum signature.
	PostQuantum *PostQuantum `yaml:"postQuantum"`
}

// PostQuantum is the tenant's ML-DSA key (FIPS 204) in KMS, which signs evidence beside the seal, and the file with its public half (PEM): what is
// handed to whoever verifies.
type PostQuantum struct {
	ARN       string `yaml:"key"`
	PublicKey string `yaml:"publicKey"`
}

// Log is the key that signs the checkpoints of the tenant's log, and its public half as text: what is handed to whoever watches the log. Neither ever
// changes: a log goes on under the key under which it began.
type Log struct {
	ARN       string `yaml:"key"`
	PublicKey string `yaml:"publicKey"`
}

// Timestamp is the time-stamp authority (RFC 3161), and a second one that is asked when the first fails. The second may be left out.
type Timestamp struct {
	Authority `yaml:",inline"`
	Second    *Authority `yaml:"second"`
}

// Authority is one time-stamp authority and the roots that its certificate must lead to.
type Authority struct {
	URL   string `yaml:"url"`
	Roots string `yaml:"roots"`
}

// Authorities are those that the tenant's file names, in the order in which they are asked.
func (t Timestamp) Authorities() []Authority {
	if t.Second == nil {
		return []Authority{t.Authority}
	}
	return []Authority{t.Authority, *t.Second}
}

// Documents says where documents wait, and how large one may be, in bytes.
type Documents struct {
	Bucket   string `yaml:"bucket"`
	MaxBytes int64  `yaml:"maxBytes"`
}

// Evidence says where evidence is locked and for how long. Evidence that can't be locked within ReleaseWithin of the
// signature voids the signing.
type Evidence struct {
	Bucket        string   `yaml:"bucket"`
	Retention     Duration `yaml:"retention"`
	ReleaseWithin Duration `yaml:"releaseWithin"`
	// PersonalDataKey is the ARN of the KMS key under which each person's own key is kept, that conceals what locked evidence says of them. Without it
	// evidence is locked as it is, and nothing in it can be shredded.
	PersonalDataKey string `yaml:"personalDataKey"`
	// Source is "off" where evidence doesn't record from which address, and by which program, people sent what they sent; see RecordsSource.
	Source string `yaml:"source"`
}

// RecordsSource says whether it is recorded from where people sent what they sent: unless the tenant's file says off.
func (e Evidence) RecordsSource() bool { return e.Source != "off" }

// Mail is the way out for mails.
type Mail struct {
	SMTP string `yaml:"smtp"`
	From string `yaml:"from"`
}

// Webhook is a place that is told everything, by the Standard Webhooks specification.
type Webhook struct {
	URL        string `yaml:"url"`
	SecretFile string `yaml:"secretFile"`
}

// Duration is a period, written "72h", "90m" or "3650d".
type Duration time.Duration

// UnmarshalYAML reads a period; days are 24 hours.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	text := n.Value
	var days int
	if rest, ok := strings.CutSuffix(text, "d"); ok {
		if _, err := fmt.Sscanf(rest+" ", "%d ", &days); err == nil && fmt.Sprint(days) == rest {
			text = fmt.Sprintf("%dh", days*24)
		}
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("line %d: %q is not a period: write 90m, 72h or 30d", n.Line, n.Value)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the period as Go does: 1h0m0s.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// ParseSettings reads one tenant's file. Every fault is told at once, each with file, line and how to mend it.
func ParseSettings(file string, raw []byte) (*Settings, error) {
	if len(raw) > 1<<20 {
		return nil, fmt.Errorf("%s: has %d bytes; a tenant's file has at most 1 MiB", file, len(raw))
	}
	s := &Settings{Documents: Documents{MaxBytes: 50 << 20}}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(s); err != nil {
		return nil, decodeFaults(file, err)
	}
	if err := dec.Decode(new(yaml.Node)); err != io.EOF {
		return nil, fmt.Errorf("%s: has a second document; a tenant's file is one", file)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c := &settingsCheck{file: file, root: &root}
	c.all(s)
	if len(c.faults) > 0 {
		return nil, errors.Join(c.faults...)
	}
	s.digest, s.file, s.root = SHA256(raw), file, &root
	return s, nil
}

var yamlFault = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?s)^line (\d+): (?:field (\S+) not found in type \S+)?(.*)$`)
})

func decodeFaults(file string, err error) error {
	texts := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if typed := (*yaml.TypeError)(nil); errors.As(err, &typed) {
		texts = typed.Errors
	}
	var faults []error
	for _, text := range texts {
		switch m := yamlFault().FindStringSubmatch(text); {
		case m == nil:
			faults = append(faults, fmt.Errorf("%s: %s", file, text))
		case m[2] != "":
			faults = append(faults, fmt.Errorf("%s:%s: there is no setting %q here", file, m[1], m[2]))
		default:
			faults = append(faults, fmt.Errorf("%s:%s: %s", file, m[1], m[3]))
		}
	}
	return errors.Join(faults...)
}

// Digest is the SHA-256 of the file that the settings came from.
func (s *Settings) Digest() string { return s.digest }

// Place is where in the tenant's file a setting stands, as file:line. A missing one is placed at its parent. Keys are strings, places in a list
// are ints: Place("people", 0, "email").
func (s *Settings) Place(path ...any) string {
	if s.root == nil {
		return "the settings of " + s.Tenant
	}
	c := &settingsCheck{file: s.file, root: s.root}
	return fmt.Sprintf("%s:%d", c.file, c.line(path))
}

// Fault says of an error which setting to look at, and where it stands.
func (s *Settings) Fault(err error, path ...any) error {
	return fmt.Errorf("%s: %s: %w", s.Place(path...), dotted(path), err)
}

// Issuer finds a trusted issuer by its URL.
func (s *Settings) Issuer(url string) (Issuer, bool) {
	for _, i := range s.Issuers {
		if i.URL == url {
			return i, true
		}
	}
	return Issuer{}, false
}

func (s *Settings) issuerByID(id string) (Issuer, bool) {
	for _, i := range s.Issuers {
		if i.ID == id {
			return i, true
		}
	}
	return Issuer{}, false
}

// Member is what the tenant says of an actor: who it is and which roles it was given.
type Member struct {
	Actor        Actor    `json:"actor"`
	Name         string   `json:"name"`
	Organisation string   `json:"organisation"`
	Kind         string   `json:"kind"` // home, partner or machine
	Roles        []string `json:"roles"`
	Email        string   `json:"-"`
}

// Member finds an actor among the tenant's people and machines.
func (s *Settings) Member(a Actor) (Member, bool) {
	for _, m := range s.Members() {
		if m.Actor == a {
			return m, true
		}
	}
	return Member{}, false
}

// Members lists the tenant's people and machines, in the file's order.
func (s *Settings) Members() []Member {
	var out []Member
	for _, p := range s.People {
		if i, ok := s.issuerByID(p.Issuer); ok {
			out = append(out, Member{Actor{i.URL, p.Subject}, p.Name, i.Organisation, i.Kind, p.Roles, p.Email})
		}
	}
	for _, m := range s.Machines {
		if i, ok := s.issuerByID(m.Issuer); ok {
			out = append(out, Member{Actor{i.URL, m.Subject}, m.Name, i.Organisation, "machine", m.Roles, ""})
		}
	}
	return out
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

func isMail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}
