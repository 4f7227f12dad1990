package tests

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/certificate"
)

// TestR13_OurOwnServerCannotForge lets the operator of the server forge: with the tenant's real key it seals bundles whose history was
// changed, each consistently as far as it goes. What people proved themselves can't be made up, and the verifier finds each.
func TestR13_OurOwnServerCannotForge(t *testing.T) {
	t.Parallel()
	g := contract(t)
	decide(t, g, "acme/alice", "legal", countersign.Approve)
	decide(t, g, "hart/carol", "counsel", countersign.Approve)
	ending, report := ended(t, g, countersign.Completed)
	original, err := evidence.OpenBundle(bundle(t, "acme", ending))
	if err != nil {
		t.Fatal(err)
	}

	t.Run("unchanged", func(t *testing.T) {
		verified(t, reseal(t, original, report.History, countersign.Completed, nil), countersign.Completed)
	})
	for _, c := range []struct {
		name    string
		outcome countersign.Outcome
		history func(*testing.T, *historypb.History)
		files   func(*testing.T, map[string][]byte)
		check   string
	}{
		{name: "approved by somebody else", check: "context", history: everywhere(`"sub":"a-1001"`, `"sub":"a-1004"`)},
		{name: "a rejection made an approval, in words", check: "decisions", history: everywhere(`"reason":""`, `"reason":"gladly"`)},
		{name: "a member left out that the digest is of", check: "decisions", history: everywhere(`"reason":"","actor":`, `"actor":`)},
		{name: "a member left out in the payload alone", check: "decisions", history: onlySent(`"reason":"","actor":`, `"actor":`)},
		{name: "another document", check: "document", history: func(t *testing.T, h *historypb.History) {
			everywhere(g.Request.Document.SHA256, strings.Repeat("0", 64))(t, h)
		}},
		{name: "another tenant", check: "context", history: everywhere(`"tenant":"acme"`, `"tenant":"globex"`)},
		{name: "another sender", check: "decisions", history: func(_ *testing.T, h *historypb.History) {
			for _, e := range h.Events {
				if e.GetWorkflowExecutionSignaledEventAttributes() != nil {
					e.Principal.Name = local.Actor("acme/ben").String()
				}
			}
		}},
		{name: "another assurance", check: "decisions", history: everywhere(`"assurance":1`, `"assurance":2`)},
		{name: "a laxer policy", check: "policy", history: everywhere("one-person-one-vote", "one-person-two-vote")},
		{name: "a smaller quorum", check: "context", history: everywhere(`"quorum":1`, `"quorum":0`)},
		{name: "a later deadline", check: "context", history: everywhere(`"deadline":"20`, `"deadline":"21`)},
		{name: "another requester", check: "context", history: everywhere(`"sub":"procurement"`, `"sub":"casework"`)},
		{name: "a smaller quorum, with every digest made anew", check: "context", history: func(t *testing.T, h *historypb.History) {
			everywhere(`"quorum":1`, `"quorum":0`)(t, h)
			digestsAnew(t, h)
		}},
		{name: "a laxer policy, with every digest made anew", check: "decisions", history: func(t *testing.T, h *historypb.History) {
			everywhere("one-person-one-vote", "one-person-two-vote")(t, h)
			digestsAnew(t, h)
		}},
		{name: "an identity provider more", check: "issuers", history: anotherIssuer},
		{name: "an identity provider more, with every digest made anew", check: "decisions", history: func(t *testing.T, h *historypb.History) {
			anotherIssuer(t, h)
			digestsAnew(t, h)
		}},
		{name: "identity providers that the transaction no longer names, with every digest made anew", check: "decisions", history: func(t *testing.T, h *historypb.History) {
			everywhere(`,"issuers":"`+namedIssuers(t, h)+`"`, "")(t, h)
			everywhere(`"context":{"v":2`, `"context":{"v":1`)(t, h)
			anotherIssuer(t, h)
			digestsAnew(t, h)
		}},
		{name: "identity providers that a transaction of version 2 doesn't name, with every digest made anew", check: "issuers", history: func(t *testing.T, h *historypb.History) {
			everywhere(`,"issuers":"`+namedIssuers(t, h)+`"`, "")(t, h)
			digestsAnew(t, h)
		}},
		{name: "the key asked as if somebody else had requested", check: "context", history: onlyAsked(evidence.ActivitySign, `"sub":"procurement"`, `"sub":"casework"`)},
		{name: "a decision checked under another policy", check: "decisions", history: onlyAsked(evidence.ActivityCheckDecision, `"policyText":"`, `"policyText":" `)},
		{name: "a decision checked for another stage", check: "decisions", history: onlyAsked(evidence.ActivityCheckDecision, `"quorum":1`, `"quorum":0`)},
		{name: "no intent in the log", check: "outcome", history: func(_ *testing.T, h *historypb.History) { without(h, evidence.ActivityAppendLog) }},
		{name: "another outcome", outcome: countersign.Rejected, check: "outcome"},
		{name: "rejected by nobody", outcome: countersign.Rejected, check: "outcome", history: everywhere(`"outcome":"completed"`, `"outcome":"rejected"`)},
		{name: "withdrawn by nobody", outcome: countersign.Withdrawn, check: "outcome", history: everywhere(`"outcome":"completed"`, `"outcome":"withdrawn"`)},
		{name: "never admitted", check: "outcome", history: func(_ *testing.T, h *historypb.History) { without(h, "Admit") }},
		{name: "refused at intake, and signed", check: "outcome", history: func(t *testing.T, h *historypb.History) {
			everywhere(`"requester":{"actor"`, `"refusal":{"code":"x","message":"y"},"requester":{"actor"`)(t, h)
		}},
		{name: "no intent", check: "document signature", history: func(_ *testing.T, h *historypb.History) { without(h, "Intend") }},
		{name: "signed at another time than its time-stamp says", check: "outcome", history: func(t *testing.T, h *historypb.History) {
			everywhere(`"at":"`+report.Statement.Signature.At.Format(time.RFC3339Nano), `"at":"2026-01-01T00:00:00Z`)(t, h)
		}},
		{name: "signed before the approvals", check: "outcome", history: func(t *testing.T, h *historypb.History) {
			everywhere(`"at":"`+report.Statement.Intent.At.Format(time.RFC3339Nano), `"at":"2126-01-01T00:00:00Z`)(t, h)
		}},
		{name: "a detail that the saga did not give", check: "outcome", files: func(_ *testing.T, f map[string][]byte) {
			f["statement.json"] = bytes.Replace(f["statement.json"], []byte(`"tenant":`), []byte(`"detail": "the whole board agreed",
    "tenant":`), 1)
		}},
		{name: "voided though it was not", outcome: countersign.Voided, check: "document signature"},
		{name: "a cut history", check: "history", history: func(_ *testing.T, h *historypb.History) { h.Events = h.Events[:len(h.Events)-1] }},
		{name: "a gap in the history", check: "history", history: func(_ *testing.T, h *historypb.History) {
			h.Events = append(h.Events[:10:10], h.Events[11:]...)
		}},
		{name: "a kinder statement", check: "statement", files: func(_ *testing.T, f map[string][]byte) {
			f["statement.json"] = bytes.Replace(f["statement.json"], []byte("Alice Ahn"), []byte("Alice Bhn"), 1)
		}},
		{name: "another readable history", check: "history", files: func(_ *testing.T, f map[string][]byte) {
			f["history.json"] = bytes.Replace(f["history.json"], []byte("Signing"), []byte("Sighing"), 1)
		}},
		{name: "another policy file", check: "files", files: func(_ *testing.T, f map[string][]byte) {
			f["policy/policy.cedar"] = append(f["policy/policy.cedar"], '\n')
		}},
		{name: "another decision file", check: "files", files: func(_ *testing.T, f map[string][]byte) {
			f["identity/decision-001.json"] = f["identity/decision-002.json"]
		}},
		{name: "another document file", check: "document", files: func(_ *testing.T, f map[string][]byte) {
			f["document-signed.pdf"][100] ^= 1
		}},
		{name: "another key's ARN", check: "files", files: func(_ *testing.T, f map[string][]byte) {
			f["kms.json"] = bytes.Replace(f["kms.json"], []byte("arn:aws:kms:eu"), []byte("arn:aws:kms:us"), 1)
		}},
		{name: "another algorithm", check: "files", files: func(_ *testing.T, f map[string][]byte) {
			f["kms.json"] = bytes.Replace(f["kms.json"], []byte(`"algorithm": "ECDSA`), []byte(`"algorithm": "EDDSA`), 1)
		}},
		{name: "something extra", check: "files", files: func(_ *testing.T, f map[string][]byte) { f["extra.json"] = []byte("{}") }},
		{name: "no signature", check: "document", files: func(_ *testing.T, f map[string][]byte) { f["document-signed.pdf"] = approvedPart(report, original) }},
		{name: "no document", check: "document", files: func(_ *testing.T, f map[string][]byte) { delete(f, "document-signed.pdf") }},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			history := proto.Clone(report.History).(*historypb.History)
			if c.history != nil {
				c.history(t, history)
			}
			outcome := countersign.Completed
			if c.outcome != "" {
				outcome = c.outcome
			}
			roots, err := local.Roots()
			if err != nil {
				t.Fatal(err)
			}
			raw := reseal(t, original, history, outcome, c.files)
			report := evidence.Verify(raw, roots)
			if _, err := certificate.Of(raw, roots); err == nil {
				t.Error("a certificate is made of it")
			}
			if report.Err() == nil {
				t.Fatal("the forged bundle verifies")
			}
			for _, f := range report.Findings {
				if f.State == evidence.Fail {
					if f.Check != c.check {
						t.Errorf("found first by %q (%s), want %q", f.Check, f.Detail, c.check)
					}
					return
				}
			}
		})
	}
}

// everywhere changes a text in every payload of a history, which is as consistent as a forgery can be.
func everywhere(from, to string) func(*testing.T, *historypb.History) {
	return func(t *testing.T, h *historypb.History) {
		t.Helper()
		changed := 0
		for _, e := range h.Events {
			for _, p := range [...]*commonpb.Payloads{
				e.GetWorkflowExecutionStartedEventAttributes().GetInput(), e.GetWorkflowExecutionSignaledEventAttributes().GetInput(),
				e.GetActivityTaskScheduledEventAttributes().GetInput(), e.GetActivityTaskCompletedEventAttributes().GetResult(),
				e.GetWorkflowExecutionCompletedEventAttributes().GetResult(),
			} {
				for _, payload := range p.GetPayloads() {
					changed += bytes.Count(payload.Data, []byte(from))
					payload.Data = bytes.ReplaceAll(payload.Data, []byte(from), []byte(to))
				}
			}
			if e.Principal != nil {
				e.Principal.Name = strings.ReplaceAll(e.Principal.Name, strings.Trim(from, `"sub:`), strings.Trim(to, `"sub:`))
			}
		}
		if changed == 0 {
			t.Fatalf("the history has no %q", from)
		}
	}
}

// anotherIssuer has the evidence say that the tenant trusted one identity provider more, wherever it names them.
func anotherIssuer(t *testing.T, h *historypb.History) {
	t.Helper()
	everywhere(`"issuers":[{`, `"issuers":[{"id":"more","url":"https://id.more.example","kind":"partner","organisation":"More","audience":"more","evidenceAudience":"more"},{`)(t, h)
}

// namedIssuers is the digest by which the transaction names the identity providers.
func namedIssuers(t *testing.T, h *historypb.History) string {
	t.Helper()
	c, err := evidence.ReadHistory(h)
	if err != nil {
		t.Fatal(err)
	}
	return c.Admission.Context.Issuers
}

// onlySent changes a text in what people sent, and in what was checked of it, and nowhere else.
func onlySent(from, to string) func(*testing.T, *historypb.History) {
	return func(t *testing.T, h *historypb.History) {
		t.Helper()
		changed := 0
		for _, e := range h.Events {
			for _, payload := range e.GetWorkflowExecutionSignaledEventAttributes().GetInput().GetPayloads() {
				changed += bytes.Count(payload.Data, []byte(from))
				payload.Data = bytes.ReplaceAll(payload.Data, []byte(from), []byte(to))
			}
			if a := e.GetActivityTaskScheduledEventAttributes(); a.GetActivityType().GetName() == evidence.ActivityCheckDecision {
				for _, payload := range a.GetInput().GetPayloads() {
					payload.Data = bytes.ReplaceAll(payload.Data, []byte(from), []byte(to))
				}
			}
		}
		if changed == 0 {
			t.Fatalf("nobody sent %q", from)
		}
	}
}

// onlyAsked changes a text in the input of an activity, and nowhere else.
func onlyAsked(activity, from, to string) func(*testing.T, *historypb.History) {
	return func(t *testing.T, h *historypb.History) {
		t.Helper()
		changed := 0
		for _, e := range h.Events {
			if a := e.GetActivityTaskScheduledEventAttributes(); a.GetActivityType().GetName() == activity {
				for _, payload := range a.GetInput().GetPayloads() {
					changed += bytes.Count(payload.Data, []byte(from))
					payload.Data = bytes.ReplaceAll(payload.Data, []byte(from), []byte(to))
				}
			}
		}
		if changed == 0 {
			t.Fatalf("%s was not asked with %q", activity, from)
		}
	}
}

// without takes the result of an activity out of a history, as if it had never ended, and closes the gap.
func without(h *historypb.History, activity string) {
	var scheduled int64
	for _, e := range h.Events {
		if e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == activity {
			scheduled = e.EventId
		}
		if a := e.GetActivityTaskCompletedEventAttributes(); a != nil && a.ScheduledEventId == scheduled && scheduled != 0 {
			e.EventType, e.Attributes = enumspb.EVENT_TYPE_MARKER_RECORDED, &historypb.HistoryEvent_MarkerRecordedEventAttributes{MarkerRecordedEventAttributes: &historypb.MarkerRecordedEventAttributes{MarkerName: "x"}}
		}
	}
}

// digestsAnew puts digests that fit into a history that was changed, wherever the old ones stood.
func digestsAnew(t *testing.T, h *historypb.History) {
	t.Helper()
	c, err := evidence.ReadHistory(h)
	if err != nil {
		t.Fatal(err)
	}
	was := c.Admission
	now := was.Context
	now.Policy = countersign.SHA256([]byte(was.PolicyText))
	if now.Plan, err = was.Plan.Digest(); err != nil {
		t.Fatal(err)
	}
	if was.Context.Issuers != "" {
		if now.Issuers, err = countersign.IssuersDigest(was.Issuers); err != nil {
			t.Fatal(err)
		}
	}
	digest, err := now.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{was.Context.Policy: now.Policy, was.Context.Plan: now.Plan, was.Context.Issuers: now.Issuers, was.Digest: digest} {
		if from != to {
			everywhere(from, to)(t, h)
		}
	}
	// So is the intent, and what is locked of it.
	if c, err = evidence.ReadHistory(h); err != nil {
		t.Fatal(err)
	}
	if c.Intent != nil && c.Intent.Stored != nil {
		bare := *c.Intent
		bare.Stored = nil
		body, err := countersign.Canonical(bare)
		if err != nil {
			t.Fatal(err)
		}
		if fits := countersign.SHA256(body); fits != c.Intent.Stored.SHA256 {
			everywhere(c.Intent.Stored.SHA256, fits)(t, h)
		}
	}
	// A decision's recorded digest is easy to make anew as well. Its proof is not.
	if c, err = evidence.ReadHistory(h); err != nil {
		t.Fatal(err)
	}
	for _, d := range c.Decisions {
		signed, err := countersign.ParseSignedDecision(d.Input.Signed)
		if err != nil {
			t.Fatal(err)
		}
		fits, err := signed.Decision.Digest()
		if err != nil {
			t.Fatal(err)
		}
		everywhere(d.Check.Record.Digest, fits)(t, h)
	}
}

// reseal makes a bundle of a history as the product does, and seals it with the tenant's own key.
func reseal(t *testing.T, original *evidence.Bundle, h *historypb.History, outcome countersign.Outcome, change func(*testing.T, map[string][]byte)) []byte {
	t.Helper()
	c, err := evidence.ReadHistory(h)
	material := evidence.Material{History: h, Case: c, Seal: evidence.SealInput{Outcome: outcome}}
	if outcome == countersign.Voided {
		material.Seal.Detail = evidence.DetailVoided
	}
	if err != nil {
		// A history that can't be read is put into the original's other files.
		return resealFiles(t, withHistory(t, original, h), revocation(t))
	}
	material.Document, _ = original.File("document.pdf")
	material.Signed, _ = original.File("document-signed.pdf")
	var key struct{ Key, Algorithm string }
	raw, _ := original.File("kms.json")
	if err := json.Unmarshal(raw, &key); err != nil {
		t.Fatal(err)
	}
	material.Key = evidence.KeyFacts{ARN: key.Key, Algorithm: key.Algorithm, Certificate: sealChain(t)[0]}
	files, err := evidence.Assemble(material)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		byName := map[string][]byte{}
		for _, f := range files {
			byName[f.Name] = bytes.Clone(f.Bytes)
		}
		change(t, byName)
		// In a bundle's one order, so that something else than that is found.
		order := []string{"document.pdf", "document-signed.pdf", "document.p7s"}
		for _, f := range files {
			order = append(order, f.Name)
		}
		var changed []evidence.File
		for _, name := range order {
			if body, ok := byName[name]; ok {
				changed = append(changed, evidence.File{Name: name, Bytes: body})
				delete(byName, name)
			}
		}
		for name, body := range byName {
			changed = append(changed, evidence.File{Name: name, Bytes: body})
		}
		files = changed
	}
	return resealFiles(t, files, revocation(t))
}

// revocation reads the lists of the stack's authorities.
func revocation(t *testing.T) *evidence.Revocation {
	t.Helper()
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	return evidence.NewRevocation(roots, nil)
}

func withHistory(t *testing.T, original *evidence.Bundle, h *historypb.History) []evidence.File {
	t.Helper()
	readable, err := evidence.HistoryJSON(h)
	if err != nil {
		t.Fatal(err)
	}
	pb, err := proto.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	files := original.Files()
	for i := range files {
		switch files[i].Name {
		case "history.pb":
			files[i].Bytes = pb
		case "history.json":
			files[i].Bytes = readable
		}
	}
	return files
}

// resealFiles seals with the tenant's own key; with lists, the seal keeps them as the product's does.
func resealFiles(t *testing.T, files []evidence.File, lists *evidence.Revocation) []byte {
	t.Helper()
	return resealAsIs(t, withPostQuantum(t, files), lists)
}

// resealAsIs seals files with acme's key, whatever they are.
func resealAsIs(t *testing.T, files []evidence.File, lists *evidence.Revocation) []byte {
	t.Helper()
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := local.KMSClient(t.Context(), "acme-worker")
	if err != nil {
		t.Fatal(err)
	}
	signer := operator{keys, local.Tenants["acme"].KeyARN, sealChain(t), lists}
	bundle, err := evidence.SealFile(t.Context(), files, signer, evidence.NewTSAClient(local.TSA.URL, roots.TSAs, nil), time.Now(), roots)
	if err != nil {
		t.Fatal(err)
	}
	defer bundle.Close()
	raw, err := bundle.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(raw)
}

// operator signs whatever it wants with the tenant's key, as whoever runs the workers could.
type operator struct {
	keys  *kms.Client
	arn   string
	chain []*x509.Certificate
	lists *evidence.Revocation
}

func (o operator) Revocation() *evidence.Revocation { return o.lists }

func (o operator) Chain() []*x509.Certificate { return o.chain }

func (o operator) SignDigest(ctx context.Context, digest []byte, _ crypto.Hash) ([]byte, error) {
	out, err := o.keys.Sign(ctx, &kms.SignInput{KeyId: aws.String(o.arn), Message: digest, MessageType: kmstypes.MessageTypeDigest, SigningAlgorithm: kmstypes.SigningAlgorithmSpecEcdsaSha256})
	if err != nil {
		return nil, err
	}
	return out.Signature, nil
}

func sealChain(t *testing.T) []*x509.Certificate {
	t.Helper()
	return certificatesIn(t, filepath.Join(local.Data, "tenants", "acme-seal.pem"))
}

func certificatesIn(t *testing.T, file string) (chain []*x509.Certificate) {
	t.Helper()
	rest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return chain
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
}
