package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/starter/client"
)

// theBundle is fetched once: a file that has its digest already is it. Of one in which somebody was shredded what is left is fetched each time, because more of it may
// have been shredded since.
func (g *gathering) theBundle(ctx context.Context, book client.OrderBook) error {
	file := g.request + ".asice"
	raw, err := readBounded(filepath.Join(g.dir, file), evidence.MaxBundleSize)
	shredded := false
	if err != nil || countersign.SHA256(raw) != book.Bundle.SHA256 {
		if raw, shredded, err = g.api.EvidenceFile(ctx, g.request, evidence.Locked{Object: *book.Bundle}); err != nil {
			return err
		}
	}
	if shredded {
		return g.whatIsLeft(ctx, file+shred.FileSuffix, raw)
	}
	g.files[file] = raw
	g.bundle = evidence.Verify(raw, g.roots)
	if err := g.bundle.Err(); err != nil {
		g.note("bundle", factFails, file, "%s", err)
		return nil // the rest is gathered all the same
	}
	s := g.bundle.Statement
	if s.Tenant != g.report.Tenant || s.Request.ID != g.request {
		g.note("bundle", factFails, file, "it is of another signing")
		return nil
	}
	g.report.Title, g.report.Outcome, g.report.Document = s.Request.Title, s.Outcome, s.Request.Document.SHA256
	g.note("bundle", factHolds, file, "seal, time-stamp, proofs, policies and quorum hold; it ended as %s", s.Outcome)
	exposure, err := evidence.ReadExposure(raw)
	if err != nil {
		return unreadable(file, err)
	}
	g.report.Exposure = &exposure
	t, err := evidence.ReadTimeline(raw)
	if err != nil {
		return unreadable(file, err)
	}
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	told(table, t, book.Bundle.SHA256, true)
	if err := table.Flush(); err != nil {
		return err
	}
	g.files["timeline.txt"] = text.Bytes()
	return g.keep("timeline.json", t)
}

// whatIsLeft is of a bundle in which somebody was shredded: seal, time-stamp and each whole file hold, and the log's entry tells that the rest is what was locked.
// Who decided, and so what else to look for, may not be in it any more.
func (g *gathering) whatIsLeft(ctx context.Context, file string, raw []byte) error {
	g.files[file] = raw
	proof, err := g.api.EvidenceProof(ctx, g.request)
	if err != nil && !gone(err) {
		return err
	}
	if err == nil {
		g.files[file+proofSuffix] = proof
		g.roots.LogProof = proof
	}
	verdict := evidence.Judge(file, raw, g.roots)
	g.bundle, g.shredded = verdict.Report, true
	if err := g.bundle.Err(); err != nil {
		g.note("bundle", factFails, file, "%s", err)
		return nil
	}
	for _, f := range g.bundle.Findings {
		switch f.Check {
		case "seal", "files":
			g.note("bundle", factHolds, file, "%s: %s", f.Check, f.Detail)
		case "shredded":
			g.note("shredded", factFound, file, "%s; of a copy that was handed out before, the bundle itself can be had", f.Detail)
		}
	}
	body, err := json.MarshalIndent(verdict, "", "  ")
	if err != nil {
		return err
	}
	g.files["verdict.json"] = append(body, '\n')
	pdf, err := signedPDF(raw)
	if err != nil {
		return unreadable(file, err)
	}
	if len(pdf) > 0 {
		g.files[g.request+".pdf"] = pdf
		g.note("document", factFound, g.request+".pdf", "the signed PDF is whole: shredding doesn't reach it")
	}
	g.note("timeline", factNot, "", lostWith)
	return nil
}

// lostWith says why something is not gathered.
const lostWith = "personal data in the bundle was shredded, and with it the history that would tell"

// theOrders are checked with the issuers of the bundle: they were sealed before anybody ordered anything. Where somebody in it was shredded, the records' own are all there are.
func (g *gathering) theOrders(_ context.Context, book client.OrderBook) error {
	var issuers []countersign.Issuer
	if g.bundle.Err() == nil && !g.shredded {
		issuers = g.bundle.Statement.Issuers
	}
	for _, o := range book.Orders {
		_, n, _ := countersign.ParseOrderKey(g.report.Tenant, o.Object.Key)
		file := fmt.Sprintf("order-%03d.json", n)
		body, err := json.Marshal(o.Record)
		if err != nil {
			return fmt.Errorf("couldn't write %s: %w", file, err)
		}
		g.files[file] = body
		r := o.Record
		err = r.Verify(issuers)
		if err == nil && countersign.SHA256(body) != o.Object.SHA256 {
			err = errors.New("it is not the record that is locked: its digest differs")
		}
		if err != nil {
			g.note("order", factFails, file, "%s: %s", o.Object.Key, err)
			continue
		}
		second := ""
		if r.Second != nil {
			second = fmt.Sprintf(", %s by %s", r.Answer.Answer.Verdict, namedOf(*r.Second))
		}
		g.note("order", factHolds, file, "%s %s: %s for %q by %s%s", r.Ended.Format(time.RFC3339), r.Outcome, r.Order.Order.Act, r.Order.Order.Matter, namedOf(r.By), second)
	}
	switch {
	case book.Waiting != nil:
		g.note("hold", factFound, "", "%s for %q: %s", book.Waiting.Order.Order.Act, book.Waiting.Order.Order.Matter, stateOf(book.Waiting.OrderProgress))
	case len(book.Matters) == 0:
		g.note("hold", factNone, "", "the evidence is not held")
	case !book.Kept.Held:
		g.note("hold", factFails, "", "the records say that it is held for %s, and the store says that it is not", strings.Join(book.Matters, "; "))
	default:
		g.note("hold", factHolds, "", "held for %s", strings.Join(book.Matters, "; "))
	}
	return nil
}

func (g *gathering) theReads(ctx context.Context, _ client.OrderBook) error {
	all := client.Reads{Reads: []evidence.Reading{}, Unreadable: []string{}}
	for cursor := ""; ; {
		page, err := g.api.ReadsPage(ctx, g.request, time.Time{}, time.Time{}, cursor)
		if err != nil {
			return err
		}
		all.Reads, all.Unreadable, all.Markers = append(all.Reads, page.Reads...), append(all.Unreadable, page.Unreadable...), all.Markers+page.Markers
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if len(all.Unreadable) > 0 || all.Markers > 0 {
		g.note("reads", factFails, "reads.json", "%d records; %d that are none or not readable, and %d markers that would hide one", len(all.Reads), len(all.Unreadable), all.Markers)
	} else {
		g.note("reads", factFound, "reads.json", "%d records of who read it", len(all.Reads))
	}
	return g.keep("reads.json", all)
}

func (g *gathering) theReview(ctx context.Context, _ client.OrderBook) error {
	if g.shredded {
		g.note("review", factNot, "", lostWith)
		return nil
	}
	if g.bundle.Statement == nil || g.bundle.Statement.BreakGlass == nil {
		g.note("review", factNone, "", "the glass was not broken")
		return nil
	}
	r, err := g.api.Review(ctx, g.request)
	if gone(err) {
		g.note("review", factNot, "", "the glass was broken, and Temporal no longer knows the review")
		return nil
	}
	if err != nil {
		return err
	}
	g.note("review", factFound, "review.json", "the glass was broken; the review is %s", r.State)
	return g.keep("review.json", r)
}

// theAuthority are the grants and keys that decisions were made with. How each was proven is in the bundle; here it stands as its keeper says now.
func (g *gathering) theAuthority(ctx context.Context, _ client.OrderBook) error {
	if g.shredded {
		g.note("grants and keys", factNot, "", lostWith)
		return nil
	}
	grants, keys := []evidence.GrantStatus{}, []evidence.KeyStatus{}
	seen, lost := map[string]bool{}, []string{}
	fetch := func(id string, ask func() error) error {
		if id == "" || seen[id] {
			return nil
		}
		seen[id] = true
		err := ask()
		if gone(err) {
			lost = append(lost, id)
			return nil
		}
		return err
	}
	if s := g.bundle.Statement; s != nil {
		for _, d := range s.Decisions {
			for _, digest := range d.Grants {
				if err := fetch(digest, func() error {
					status, err := g.api.Grant(ctx, digest)
					if err == nil {
						grants = append(grants, status)
					}
					return err
				}); err != nil {
					return err
				}
			}
			if err := fetch(d.Key, func() error {
				status, err := g.api.Key(ctx, d.Key)
				if err == nil {
					keys = append(keys, status)
				}
				return err
			}); err != nil {
				return err
			}
		}
	}
	state, file := factFound, "authority.json"
	switch {
	case len(lost) > 0:
		state = factNot
	case len(grants)+len(keys) == 0:
		state = factNone
	}
	g.note("grants and keys", state, file, "%d grants and %d keys; Temporal no longer knows %d: the bundle has their proofs", len(grants), len(keys), len(lost))
	return g.keep(file, map[string]any{"grants": grants, "keys": keys, "forgotten": lost})
}

// theRelated are signings of the same document. Versions of one document under other digests are told by their titles alone, which prove nothing.
// They are looked for in all of the index, however long ago they ended.
func (g *gathering) theRelated(ctx context.Context, _ client.OrderBook) error {
	if g.shredded {
		g.note("related", factNot, "", lostWith)
		return g.theProof(nil)
	}
	if g.report.Document == "" {
		g.note("related", factNot, "", "the bundle does not hold, so its document is not known")
		return nil
	}
	others, unanswered := []client.EndedSigning{}, []string{}
	for cursor := ""; ; {
		page, err := g.api.EvidencePage(ctx, client.EvidenceFilter{From: countersign.IndexBegins, Document: g.report.Document}, cursor)
		if err != nil {
			return err
		}
		unanswered = append(unanswered, page.Unanswered...)
		for _, e := range page.Evidence {
			if e.Request != g.request {
				others = append(others, e)
			}
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	state := factFound
	if len(others) == 0 {
		state = factNone
	}
	if len(unanswered) > 0 {
		state = factNot
	}
	g.note("related", state, "related.json", "%d other signings of the same document; %d could not be looked at", len(others), len(unanswered))
	if err := g.keep("related.json", map[string]any{"related": others, "unanswered": unanswered}); err != nil {
		return err
	}
	proof, err := g.api.EvidenceProof(ctx, g.request)
	if err != nil {
		return err
	}
	return g.theProof(proof)
}

// theProof is that the signing's end is in the tenant's log.
func (g *gathering) theProof(raw json.RawMessage) error {
	const file = "log-proof.json"
	if g.shredded {
		for _, f := range g.bundle.Findings {
			if f.Check == "log ending" {
				g.note("log", map[evidence.State]string{evidence.Pass: factHolds, evidence.Fail: factFails, evidence.NotRecorded: factNot}[f.State], "", "%s", f.Detail)
			}
		}
		return nil
	}
	switch {
	case len(raw) == 0:
		g.note("log", factNot, "", "it was ended by a build that kept no log")
		return nil
	case g.roots.Log == nil:
		g.note("log", factFound, file, "the proof is not checked: give --log-key")
	default:
		var proof translog.Proof
		var entry translog.Entry
		var checkpoint translog.Checkpoint
		err := json.Unmarshal(raw, &proof)
		if err == nil {
			entry, checkpoint, err = proof.Check(g.roots.Log)
		}
		if err == nil && (entry.Request != g.request || entry.Bundle == nil || *entry.Bundle != g.report.Bundle) {
			err = errors.New("it is of another bundle")
		}
		if err != nil {
			g.note("log", factFails, file, "%s", err)
		} else {
			g.note("log", factHolds, file, "entry %d of %d: %s", proof.Index, checkpoint.N, entry.Kind)
		}
	}
	return g.keep(file, raw)
}

// gone says that whatever was asked for is not there any more.
func gone(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}
