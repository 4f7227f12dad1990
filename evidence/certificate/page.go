package certificate

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/certificate/pdf"
)

// TwinName is the name of the JSON twin in the PDF.
const TwinName = "certificate.json"

// PDF is the certificate as a tagged PDF/A-3a and PDF/UA-1, with its twin attached. It is dated by the seal's time-stamp, so that it is the same bytes
// whenever it is made.
func (c *Certificate) PDF() ([]byte, error) {
	twin, err := c.Twin()
	if err != nil {
		return nil, err
	}
	sealed, err := time.Parse(millis, c.Times[len(c.Times)-1].At)
	if err != nil {
		return nil, fmt.Errorf("couldn't read when the bundle was sealed: %w", err)
	}
	d := pdf.Document{
		Title: c.heading() + ": " + c.Title, Subject: "Reading aid for the evidence of request " + c.Request + " of " + c.Tenant, Language: "en",
		Footer: "Reading aid for the bundle " + c.Bundle.SHA256, Created: sealed,
		Attached: &pdf.Attachment{Name: TwinName, MediaType: "application/json", Description: "The same facts for machines", Body: twin},
	}
	d.Blocks = c.blocks()
	raw, missing, err := pdf.Write(d)
	if err == nil && len(missing) > 0 {
		d.Blocks = append(d.Blocks, unshown(missing)...)
		raw, _, err = pdf.Write(d)
	}
	return raw, err
}

// pages collects the blocks of a document.
type pages struct{ list []pdf.Block }

func (p *pages) heading(level int, text string) {
	p.list = append(p.list, pdf.Heading{Level: level, Text: text})
}

func (p *pages) say(format string, args ...any) {
	p.list = append(p.list, pdf.Paragraph{Text: fmt.Sprintf(format, args...)})
}

// facts is a table of names and values; what has no value is left out.
func (p *pages) facts(pairs ...string) {
	t := pdf.Table{Widths: []float64{0.24, 0.76}}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			t.Rows = append(t.Rows, []string{pairs[i], oneLine(pairs[i+1])})
		}
	}
	if len(t.Rows) > 0 {
		p.list = append(p.list, t)
	}
}

// table is a table with named columns; nothing where it has no rows.
func (p *pages) table(widths []float64, rows [][]string, head ...string) {
	if len(rows) > 0 {
		p.list = append(p.list, pdf.Table{Head: head, Rows: rows, Widths: widths})
	}
}

// oneLine keeps what strangers wrote from looking like lines of ours.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (p Person) name() string {
	if p.Name == "" {
		return p.Actor
	}
	return p.Name
}

func (p Person) full() string {
	if p.Name == "" {
		return p.Actor
	}
	text := p.Name + " (" + p.Organisation
	if p.Partner {
		text += ", a partner"
	}
	return text + "), " + p.Actor
}

// readable is an instant for people, still exact.
func readable(at string) string {
	t, err := time.Parse(millis, at)
	if err != nil {
		return at
	}
	return t.UTC().Format("2 January 2006, 15:04:05.000 UTC")
}

// heading doesn't call completed what ended otherwise.
func (c *Certificate) heading() string {
	if c.Outcome == countersign.Completed {
		return "Certificate of completion"
	}
	return "Certificate of an ending: " + string(c.Outcome)
}

func (c *Certificate) blocks() []pdf.Block {
	p := &pages{}
	p.heading(1, c.heading())
	p.say("%s", c.Notice)
	p.facts("Bundle, SHA-256", c.Bundle.SHA256, "Size", strconv.Itoa(c.Bundle.Bytes)+" bytes", "Verified", verified(c))

	p.heading(2, "Outcome")
	p.say("%s: %s %s", strings.ToUpper(string(c.Outcome[:1]))+string(c.Outcome[1:]), c.Meaning, oneLine(c.Detail))
	p.facts("Request", c.Request, "Tenant", c.Tenant, "Purpose", c.Purpose, "Requested by", requester(c), "Begun", readable(c.Started), "Ended", readable(c.Ended))

	p.heading(2, "Document")
	size := notRecorded
	if c.Document.Bytes > 0 {
		size = fmt.Sprintf("%d bytes, pages: %d", c.Document.Bytes, c.Document.Pages)
	}
	p.facts("Title", c.Title, "SHA-256", c.Document.SHA256, "Version", c.Document.VersionID, "Stored at", c.Document.Bucket+", "+c.Document.Key, "Size", size)

	c.decided(p)
	c.authority(p)
	c.planned(p)

	p.heading(2, "Controls that were active")
	var controls [][]string
	for _, one := range c.Controls {
		controls = append(controls, []string{one.ID, one.Control, oneLine(one.State)})
	}
	p.table([]float64{0.32, 0.14, 0.54}, controls, "Control", "Catalogue", "What shows it")

	c.sealed(p)

	p.heading(2, "Messages that reached nobody")
	if len(c.Missed) == 0 {
		p.say("None.")
	}
	var missed [][]string
	for _, d := range c.Missed {
		missed = append(missed, []string{d.Recipient, d.Event, strconv.Itoa(d.Attempts), oneLine(d.Problem)})
	}
	p.table([]float64{0.36, 0.2, 0.12, 0.32}, missed, "To", "Event", "Attempts", "Problem")

	p.heading(2, "What was verified")
	p.say("Before this page was made, without a network:")
	var findings [][]string
	for _, f := range c.Findings {
		findings = append(findings, []string{f.Check, string(f.State), oneLine(f.Detail)})
	}
	p.table([]float64{0.2, 0.16, 0.64}, findings, "Check", "Result", "Detail")

	p.heading(2, "How to check it")
	p.say("With the bundle, and the root certificates of the tenant and of the time-stamping authority, which you must have from somebody whom you trust:")
	for _, command := range c.Check {
		p.say("%s", command)
	}
	p.say("The same facts for machines are attached to this file as %s.", TwinName)
	return p.list
}

func verified(c *Certificate) string {
	passed := 0
	for _, f := range c.Findings {
		if f.State == "pass" {
			passed++
		}
	}
	return fmt.Sprintf("yes: %d checks passed, %d were not recorded, none failed", passed, len(c.Findings)-passed)
}

func requester(c *Certificate) string {
	if c.Requester == nil {
		return notRecorded
	}
	return c.Requester.full()
}

// decided tells who decided: an overview of those that counted, then each decision by itself.
func (c *Certificate) decided(p *pages) {
	p.heading(2, "Who decided")
	var overview [][]string
	refused := 0
	for _, d := range c.Decisions {
		if !d.Counted {
			refused++
			continue
		}
		overview = append(overview, []string{d.By.name(), cmp.Or(d.By.Organisation, notRecorded), cmp.Or(d.Role, notRecorded), string(d.Verdict), readable(d.At)})
	}
	if len(overview) == 0 {
		p.say("Nobody: no decision counted.")
	}
	p.table([]float64{0.22, 0.22, 0.16, 0.12, 0.28}, overview, "Name", "Organisation", "Role", "Verdict", "Time")
	if refused > 0 {
		p.say("%d more were sent and did not count; they stand below, too.", refused)
	}
	for i, d := range c.Decisions {
		if d.Counted {
			p.heading(3, fmt.Sprintf("Decision %d: %s, %s", i+1, d.By.name(), d.Verdict))
		} else {
			p.heading(3, fmt.Sprintf("Decision %d: did not count", i+1))
		}
		behalf, proof, refusal := "", notRecorded, ""
		if d.OnBehalfOf != nil {
			behalf = d.OnBehalfOf.full()
		}
		if f := d.Proof; f != nil {
			proof = fmt.Sprintf("Assurance %d: %s. Identity provider %s, logged in %s.", f.Assurance, f.Kind, f.Issuer, readable(f.LoggedIn))
			if f.Key != "" {
				proof += " Own key " + f.Key + "."
			}
		}
		if d.Refusal != nil {
			refusal = d.Refusal.Code + ": " + d.Refusal.Message
		}
		p.facts("By", d.By.full(), "On behalf of", behalf, "Role and stage", strings.Trim(d.Role+", stage "+d.Stage, ", "), "Verdict", string(d.Verdict), "Why it did not count", refusal, "Reason given", d.Reason,
			"Time", readable(d.At), "Proof", proof, "Under grants", strings.Join(d.Grants, ", "), "Policies", cmp.Or(strings.Join(d.Policies, ", "), notRecorded), "Policy set", d.Set,
			"Digest of the decision", d.Digest, "Event in the history", strconv.FormatInt(d.Event, 10))
	}
}

func (c *Certificate) authority(p *pages) {
	p.heading(2, "Under which authority")
	if len(c.Grants) == 0 {
		p.say("Each decision that counted was made by a person who held the role. No grant was used.")
	}
	for i, g := range c.Grants {
		p.heading(3, fmt.Sprintf("Grant %d: from %s to %s", i+1, g.From.name(), g.To.name()))
		p.facts("From", g.From.full(), "To", g.To.full(), "Role", g.Role, "For", g.For, "Allows", strings.Join(g.Actions, ", "), "In force", "from "+readable(g.NotBefore)+" until "+readable(g.NotAfter),
			"Decisions", "at most "+strconv.Itoa(g.Uses), "Reason given", g.Reason, "Digest", g.Digest)
	}
}

func (c *Certificate) planned(p *pages) {
	p.heading(2, "Quorum and plan")
	if c.Plan == nil {
		p.say("The request was not admitted, so there is no plan.")
		return
	}
	var stages [][]string
	for _, s := range c.Plan.Stages {
		need := fmt.Sprintf("%d of %d people", s.Quorum, s.Eligible)
		for _, share := range s.Shares {
			need += ", at least " + share
		}
		for _, issuer := range s.Without {
			need += ", none of " + issuer
		}
		if s.Assurance > 1 {
			need += ", each with their own key"
		}
		state := "not met"
		if s.Met {
			state = "met"
		}
		stages = append(stages, []string{s.Name, s.Role, need, fmt.Sprintf("%d, %s", s.Approvals, state), readable(s.Deadline)})
	}
	p.table([]float64{0.15, 0.15, 0.3, 0.16, 0.24}, stages, "Stage", "Role", "Needs", "Approvals", "Deadline")
	broken := ""
	if c.Plan.Broken {
		broken = "yes: waiting was skipped; reviewed as " + c.Plan.Review
	}
	p.facts("Plan", c.Plan.Digest, "Policy set", c.Policy, "Transaction", c.Context, "Glass broken", broken)
}

func (c *Certificate) sealed(p *pages) {
	p.heading(2, "Time-stamps, key and log")
	var stamps [][]string
	for _, t := range c.Times {
		stamps = append(stamps, []string{t.Of, readable(t.At), t.TSA, t.Serial})
	}
	p.table([]float64{0.2, 0.26, 0.3, 0.24}, stamps, "Time-stamp of", "Time", "Authority", "Serial number")
	k := c.Key
	p.facts("Key", k.ARN, "Algorithm", k.Algorithm, "Certificate", k.Subject, "Issued by", k.Issuer, "Serial number", k.Serial, "Valid", "from "+readable(k.NotBefore)+" until "+readable(k.NotAfter), "Certificate, SHA-256", k.SHA256)
	if c.Log == nil {
		p.say("No entry of the tenant's log is in the bundle.")
		return
	}
	checked := "no: the log's public key was not given"
	if c.Log.Checked {
		checked = "yes, under the log's public key"
	}
	p.facts("Log", c.Log.Origin, "Entry of the intent to sign", strconv.FormatInt(c.Log.Index, 10), "Size at the checkpoint", strconv.FormatInt(c.Log.Size, 10), "Proof checked", checked, "Checkpoint", c.Log.Checkpoint)
	p.say("The entry of the ending names the bundle's own digest, so it stands in the log and not in the bundle.")
}

// unshown says which characters stand in the text by their numbers alone.
func unshown(missing []rune) []pdf.Block {
	p := &pages{}
	p.heading(2, "Characters that could not be shown")
	codes := make([]string, len(missing))
	for i, r := range missing {
		codes[i] = fmt.Sprintf("U+%04X", r)
	}
	p.say("The fonts of this page have no shape for %d of the characters, or their script needs letters joined or written from right to left, which this page can't do without changing a name. "+
		"They stand above as their Unicode numbers in square brackets, and as they are in %s: %s.", len(missing), TwinName, strings.Join(codes, ", "))
	return p.list
}
