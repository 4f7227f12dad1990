package countersign

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// settingsCheck collects what is wrong with a tenant's file, each fault with its line.
type settingsCheck struct {
	file   string
	root   *yaml.Node
	faults []error
}

// fault notes one fault at a path of keys and indexes into the file.
func (c *settingsCheck) fault(path []any, format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("%s:%d: %s", c.file, c.line(path), fmt.Sprintf(format, args...)))
}

// line is where the path leads, or where it stops: a missing key is reported at its parent.
func (c *settingsCheck) line(path []any) int {
	n := c.root
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	line := n.Line
	for _, step := range path {
		var next *yaml.Node
		switch at := step.(type) {
		case int:
			if n.Kind == yaml.SequenceNode && at < len(n.Content) {
				next = n.Content[at]
			}
		case string:
			for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == at {
					line, next = n.Content[i].Line, n.Content[i+1]
				}
			}
		}
		if next == nil {
			return line
		}
		n = next
		if _, item := step.(int); (item || n.Kind == yaml.ScalarNode) && n.Line > 0 {
			line = n.Line
		}
	}
	return line
}

func at(path ...any) []any { return path }

func (c *settingsCheck) all(s *Settings) {
	if err := CheckTenantID(s.Tenant); err != nil {
		c.fault(at("tenant"), "%v", err)
	}
	c.needed(at("name"), s.Name)
	c.needed(at("namespace"), s.Namespace)
	c.contact(at("owner"), s.Owner)
	c.contact(at("escalation"), s.Escalation)
	c.issuers(s)
	c.members(s)
	c.purposes(s)
	c.parts(s)
	c.watch(s)
	c.visibleSeal(s)
}

func (c *settingsCheck) needed(path []any, value string) {
	if strings.TrimSpace(value) == "" {
		c.fault(path, "%s is missing", dotted(path))
	}
}

func (c *settingsCheck) contact(path []any, who Contact) {
	c.needed(append(path, "name"), who.Name)
	if !isMail(who.Email) {
		c.fault(append(path, "email"), "%s.email %q is not a mail address", dotted(path), who.Email)
	}
}

func (c *settingsCheck) issuers(s *Settings) {
	if len(s.Issuers) == 0 {
		c.fault(at("issuers"), "issuers: name at least the organisation's own identity provider (kind: home)")
	}
	ids, urls := map[string]bool{}, map[string]bool{}
	for i, iss := range s.Issuers {
		if !isShortName(iss.ID) || ids[iss.ID] || iss.ID == theRequesters {
			c.fault(at("issuers", i, "id"), "issuer id %q must be a name, and used once; %q means another thing in without", iss.ID, theRequesters)
		}
		if !isURL(iss.URL) || strings.HasSuffix(iss.URL, "/") || strings.ContainsAny(iss.URL, "?#") || urls[iss.URL] {
			c.fault(at("issuers", i, "url"), "issuer url %q must be an http(s) URL as the provider writes it in iss, without a slash at the end, and used once", iss.URL)
		}
		ids[iss.ID], urls[iss.URL] = true, true
		if iss.Kind != "home" && iss.Kind != "partner" {
			c.fault(at("issuers", i, "kind"), "issuer kind %q is neither home nor partner", iss.Kind)
		}
		c.needed(at("issuers", i, "organisation"), iss.Organisation)
		c.needed(at("issuers", i, "audience"), iss.Audience)
		c.needed(at("issuers", i, "evidenceAudience"), iss.EvidenceAudience)
		if iss.Audience == iss.EvidenceAudience {
			c.fault(at("issuers", i, "evidenceAudience"), "audience and evidenceAudience must differ: an archived proof must not log anybody in")
		}
	}
}

func (c *settingsCheck) members(s *Settings) {
	seen := map[string]bool{}
	check := func(list string, i int, issuer, subject, name string) {
		if _, ok := s.issuerByID(issuer); !ok {
			c.fault(at(list, i, "issuer"), "issuer %q is not among the issuers of this file", issuer)
		}
		if subject == "" || len(subject) > 255 {
			c.fault(at(list, i, "subject"), "subject is missing: people and machines are known by issuer and subject, never by name alone")
		}
		if seen[issuer+"#"+subject] {
			c.fault(at(list, i, "subject"), "%s at %s is listed twice", subject, issuer)
		}
		seen[issuer+"#"+subject] = true
		c.needed(at(list, i, "name"), name)
	}
	for i, p := range s.People {
		check("people", i, p.Issuer, p.Subject, p.Name)
		if !isMail(p.Email) {
			c.fault(at("people", i, "email"), "email %q is not a mail address", p.Email)
		}
	}
	for i, m := range s.Machines {
		check("machines", i, m.Issuer, m.Subject, m.Name)
	}
}

func (c *settingsCheck) purposes(s *Settings) {
	if len(s.Purposes) == 0 {
		c.fault(at("purposes"), "purposes: name at least one, with its stages")
	}
	for _, name := range s.purposeNames() {
		p := s.Purposes[name]
		if !isShortName(name) {
			c.fault(at("purposes", name), "purpose %q is not a name: use lower-case letters, digits and dashes", name)
		}
		c.needed(at("purposes", name, "title"), p.Title)
		if leastAssurance[p.Kind] == 0 {
			c.fault(at("purposes", name, "kind"), "purpose %q: kind %q is none of consent, legal-approval, procurement, attestation; it says how strongly decisions must be proven", name, p.Kind)
		} else if p.Assurance != 0 && (p.Assurance < leastAssurance[p.Kind] || p.Assurance > 2) {
			c.fault(at("purposes", name, "assurance"), "purpose %q: assurance is %d; a purpose of kind %s takes %d to 2", name, p.Assurance, p.Kind, leastAssurance[p.Kind])
		}
		if len(p.Stages) == 0 || len(p.Stages) > 20 {
			c.fault(at("purposes", name, "stages"), "purpose %q has %d stages; give 1 to 20", name, len(p.Stages))
		}
		stages := map[string]bool{}
		for i, st := range p.Stages {
			path := at("purposes", name, "stages", i)
			if !isShortName(st.Name) || stages[st.Name] {
				c.fault(append(path, "name"), "stage name %q must be a name, and used once in its purpose", st.Name)
			}
			stages[st.Name] = true
			if st.Quorum < 1 {
				c.fault(append(path, "quorum"), "quorum is %d; the least is 1", st.Quorum)
			}
			c.stage(s, path, i == 0, st)
			if st.Within <= 0 || time.Duration(st.Within) > maxDeadline {
				c.fault(append(path, "within"), "within must be more than 0 and at most 366d")
			}
		}
		c.quorums(s, name)
		c.emergency(s, at("purposes", name), p)
	}
}

// emergency checks who owns a purpose, and who may break its glass. Whoever reviews is nobody who could have done it.
func (c *settingsCheck) emergency(s *Settings, path []any, p Purpose) {
	at := func(more ...any) []any { return append(append([]any{}, path...), more...) }
	var owner Person
	if p.Owner != nil {
		var ok bool
		if owner, ok = s.person(*p.Owner); !ok {
			c.fault(at("owner"), "owner: %s of issuer %q is nobody of this file", p.Owner.Subject, p.Owner.Issuer)
		}
	}
	b := p.BreakGlass
	if b == nil {
		return
	}
	holders := 0
	for _, who := range s.People {
		if slices.Contains(who.Roles, b.Role) {
			holders++
		}
	}
	switch {
	case p.Owner == nil:
		c.fault(at("breakGlass"), "breakGlass: name the purpose's owner as well: who breaks the glass is reviewed, and a review has an owner")
	case slices.Contains(owner.Roles, b.Role):
		c.fault(at("owner"), "owner: %s holds the role %q, which breaks the glass; nobody reviews what they could have done", owner.Name, b.Role)
	}
	c.needed(at("breakGlass", "role"), b.Role)
	if b.Quorum < 1 {
		c.fault(at("breakGlass", "quorum"), "quorum is %d; the least is 1", b.Quorum)
	} else if b.Quorum > holders {
		c.fault(at("breakGlass", "quorum"), "quorum is %d, but only %d people hold the role %q", b.Quorum, holders, b.Role)
	}
}

// stage checks what a stage says beside its quorum.
func (c *settingsCheck) stage(s *Settings, path []any, first bool, st StageSetting) {
	at := func(more ...any) []any { return append(append([]any{}, path...), more...) }
	if st.Beside && first {
		c.fault(at("beside"), "the first stage can't open beside another; say so of the second")
	}
	for i, ref := range st.People {
		m, ok := s.person(ref)
		if !ok || !slices.Contains(m.Roles, st.Role) {
			c.fault(at("people", i), "%s of issuer %q is nobody of this file who holds the role %q", ref.Subject, ref.Issuer, st.Role)
		}
	}
	places := 0
	for i, share := range st.AtLeast {
		places += max(share.Count, 0)
		if share.Count < 1 {
			c.fault(at("atLeast", i, "count"), "count is %d; the least is 1", share.Count)
		}
		if share.Role == "" && share.Issuer == "" {
			c.fault(at("atLeast", i), "atLeast: say of which role or issuer; a share of anybody is the quorum itself")
		}
		if _, ok := s.issuerByID(share.Issuer); !ok && share.Issuer != "" {
			c.fault(at("atLeast", i, "issuer"), "issuer %q is not among the issuers of this file", share.Issuer)
		}
	}
	if places > st.Quorum {
		c.fault(at("atLeast"), "atLeast: the shares need %d approvals, but the quorum is %d; each approval fills one place", places, st.Quorum)
	}
	for i, id := range st.Without {
		if _, ok := s.issuerByID(id); !ok && id != theRequesters {
			c.fault(at("without", i), "without: %q is not among the issuers of this file, and not %q", id, theRequesters)
		}
	}
	if len(st.Remind) > maxReminders {
		c.fault(at("remind"), "remind has %d periods; give at most %d", len(st.Remind), maxReminders)
	}
	for i, before := range st.Remind {
		if before <= 0 || before >= st.Within {
			c.fault(at("remind", i), "remind: %s before the deadline must be more than 0 and less than the stage's %s", time.Duration(before), time.Duration(st.Within))
		}
	}
	if e := st.Escalation; e != nil {
		c.needed(at("escalate", "role"), e.Role)
		if e.After <= 0 || e.After >= st.Within {
			c.fault(at("escalate", "after"), "escalate: after must be more than 0 and less than the stage's %s", time.Duration(st.Within))
		}
		if e.Role == st.Role {
			c.fault(at("escalate", "role"), "escalate: the role %q decides in this stage anyway; name one that adds people", e.Role)
		} else if e.Role != "" && len(s.stage(st, Actor{}).Escalation.Eligible) == 0 {
			c.fault(at("escalate", "role"), "escalate: nobody who may have a part in this stage holds the role %q", e.Role)
		}
	}
}

// maxReminders is how often one stage reminds: each is a timer and a message in the history.
const maxReminders = 5

// person finds a person of the file.
func (s *Settings) person(ref PersonRef) (Person, bool) {
	for _, p := range s.People {
		if p.Issuer == ref.Issuer && p.Subject == ref.Subject {
			return p, true
		}
	}
	return Person{}, false
}

// quorums wants different people for all quorums of a purpose. Who will request is not known yet; Plan asks again when it is.
func (c *settingsCheck) quorums(s *Settings, purpose string) {
	for _, p := range s.People {
		if _, ok := s.issuerByID(p.Issuer); !ok {
			return // told already, and nobody's quorum can be counted
		}
	}
	var stages []Stage
	alone := false
	for i, st := range s.Purposes[purpose].Stages {
		stage := s.stage(st, Actor{})
		stages = append(stages, stage)
		if short := shortOf([]Stage{stage}, Actor{}); short != nil {
			alone = true
			setting := "quorum"
			if short.share != nil {
				setting = "atLeast"
			}
			c.fault(at("purposes", purpose, "stages", i, setting), "%s", short.refusal([]Stage{stage}).Message)
		}
	}
	if short := shortOf(stages, Actor{}); short != nil && !alone {
		c.fault(at("purposes", purpose, "stages", short.stages[len(short.stages)-1], "quorum"), "%s", short.refusal(stages).Message)
	}
}

func (c *settingsCheck) parts(s *Settings) {
	for _, need := range []struct {
		path  []any
		value string
	}{
		{at("aws", "region"), s.AWS.Region}, {at("aws", "workerProfile"), s.AWS.WorkerProfile}, {at("aws", "starterProfile"), s.AWS.StarterProfile},
		{at("kms", "certificate"), s.KMS.Certificate}, {at("kms", "roots"), s.KMS.Roots},
		{at("documents", "bucket"), s.Documents.Bucket}, {at("evidence", "bucket"), s.Evidence.Bucket},
	} {
		c.needed(need.path, need.value)
	}
	if !strings.HasPrefix(s.KMS.ARN, "arn:") || strings.Contains(s.KMS.ARN, ":alias/") {
		c.fault(at("kms", "key"), "kms.key %q must be a key's ARN: an alias can be pointed at another key", s.KMS.ARN)
	}
	if !strings.HasPrefix(s.Log.ARN, "arn:") || strings.Contains(s.Log.ARN, ":alias/") || s.Log.ARN == s.KMS.ARN {
		c.fault(at("log", "key"), "log.key %q must be the ARN of a key of its own: it signs the log, and nothing else", s.Log.ARN)
	}
	if p := s.KMS.PostQuantum; p != nil {
		if !strings.HasPrefix(p.ARN, "arn:") || strings.Contains(p.ARN, ":alias/") || p.ARN == s.KMS.ARN || p.ARN == s.Log.ARN {
			c.fault(at("kms", "postQuantum", "key"), "kms.postQuantum.key %q must be the ARN of a key of its own, of the kind ML_DSA_44, ML_DSA_65 or ML_DSA_87", p.ARN)
		}
		c.needed(at("kms", "postQuantum", "publicKey"), p.PublicKey)
	}
	if p := s.Evidence.PersonalDataKey; p != "" && (!strings.HasPrefix(p, "arn:") || strings.Contains(p, ":alias/") || p == s.KMS.ARN || p == s.Log.ARN) {
		c.fault(at("evidence", "personalDataKey"), "evidence.personalDataKey %q must be the ARN of a key of its own, symmetric and for ENCRYPT_DECRYPT", p)
	}
	if !strings.HasPrefix(s.Log.PublicKey, "countersign/"+s.Tenant+"+") {
		c.fault(at("log", "publicKey"), "log.publicKey %q must be the log's public key as text: countersign/%s+HASH+KEY", s.Log.PublicKey, s.Tenant)
	}
	c.authorities(s.Timestamp)
	if s.Documents.MaxBytes < 1 || s.Documents.MaxBytes > 256<<20 {
		c.fault(at("documents", "maxBytes"), "documents.maxBytes is %d; give 1 to 268435456 (256 MiB): a bundle holds it beside its history", s.Documents.MaxBytes)
	}
	if s.Documents.Bucket == s.Evidence.Bucket && s.Evidence.Bucket != "" {
		c.fault(at("evidence", "bucket"), "documents and evidence need two buckets: one is locked, the other must not be")
	}
	if time.Duration(s.Evidence.Retention) < time.Hour {
		c.fault(at("evidence", "retention"), "evidence.retention must be at least 1h; records usually ask for years (3650d)")
	}
	if s.Evidence.ReleaseWithin <= 0 {
		c.fault(at("evidence", "releaseWithin"), "evidence.releaseWithin must be more than 0: how long a signature may wait for its lock before it is voided")
	}
	if v := s.Evidence.Source; v != "" && v != "on" && v != "off" {
		c.fault(at("evidence", "source"), "evidence.source %q must be on or off: whether evidence records the address and the program that something was sent from", v)
	}
	if _, _, err := net.SplitHostPort(s.Mail.SMTP); err != nil {
		c.fault(at("mail", "smtp"), "mail.smtp %q must be host:port", s.Mail.SMTP)
	}
	if !isMail(s.Mail.From) {
		c.fault(at("mail", "from"), "mail.from %q is not a mail address", s.Mail.From)
	}
	if s.Policy.Cases != "" && s.Policy.File == "" {
		c.fault(at("policy", "cases"), "policy: cases are kept by a file of policies; name it as policy.file")
	}
	if p := s.Passkeys; (p.RelyingParty == "") != (len(p.Origins) == 0) {
		c.fault(at("passkeys"), "passkeys: relyingParty and origins belong together")
	}
	for i, origin := range s.Passkeys.Origins {
		if u, err := url.Parse(origin); err != nil || !isURL(origin) || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			c.fault(at("passkeys", "origins", i), "passkeys: origin %q must be a scheme, a host and perhaps a port: https://sign.acme.example", origin)
		} else if host := u.Hostname(); host != s.Passkeys.RelyingParty && !strings.HasSuffix(host, "."+s.Passkeys.RelyingParty) {
			c.fault(at("passkeys", "origins", i), "passkeys: origin %q does not belong to the relying party %q", origin, s.Passkeys.RelyingParty)
		}
	}
	for i, w := range s.Webhooks {
		if !isURL(w.URL) {
			c.fault(at("webhooks", i, "url"), "webhook url %q is not an http(s) URL", w.URL)
		}
		c.needed(at("webhooks", i, "secretFile"), w.SecretFile)
	}
}

// authorities checks the time-stamp authorities. Two that are one would fail together.
func (c *settingsCheck) authorities(t Timestamp) {
	path := at("timestamp")
	for i, a := range t.Authorities() {
		if i > 0 {
			path = at("timestamp", "second")
		}
		if !isURL(a.URL) {
			c.fault(append(path, "url"), "%s.url %q is not an http(s) URL", dotted(path), a.URL)
		}
		c.needed(append(path, "roots"), a.Roots)
		if i > 0 && a.URL == t.URL {
			c.fault(append(path, "url"), "timestamp.second.url is the first one's; name another authority, or leave second out")
		}
	}
}

func dotted(path []any) string {
	var parts []string
	for _, p := range path {
		switch v := p.(type) {
		case int:
			parts = append(parts, fmt.Sprintf("[%d]", v))
		case string:
			parts = append(parts, v)
		}
	}
	return strings.ReplaceAll(strings.Join(parts, "."), ".[", "[")
}
