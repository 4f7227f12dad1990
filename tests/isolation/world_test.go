// Package isolation proves that tenants are apart: each actor is put before each operation, and each layer is switched off in turn.
package isolation

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	temporal "go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/tests/stack"
	"github.com/countersign-dev/countersign/workflows"
)

// world is a stack of its own with one process of each kind for both tenants, and acme's things in it that no stranger may learn of.
type world struct {
	*stack.Stack
	api  string
	conn *grpc.ClientConn
	off  []string // the layers that are switched off
	ctx  context.Context
	ends []func()

	tag      string // in whatever acme names itself
	document countersign.Document
	open     *stack.Signing // waits for its approvals, remy's among them
	status   workflows.Status
	done     *stack.Signing // completed without waiting for everybody, with its evidence and its review
	ending   evidence.Ending
	check    string // name of the report of a check of acme's evidence, and of its run
	checkRun string
	order    string // digest of cora's, to hold that evidence: it waits for its second person

	live, revoked, expired, offered string // grants of rhea's, the first and last to remy, the others to rona
	keys                            [2]string
	canaries                        []string
}

// newWorld starts a stack without some layers. It is to be closed also where it fails.
func newWorld(ctx context.Context, off ...string) (*world, error) {
	w := &world{off: off, ctx: ctx}
	data, err := os.MkdirTemp("", "countersign-isolation-")
	if err != nil {
		return w, err
	}
	w.ends = append(w.ends, func() { _ = os.RemoveAll(data) })
	var flags []string
	for _, layer := range off {
		flags = append(flags, "--for-tests", "--without", layer)
	}
	if w.Stack, err = stack.Start(ctx, data, flags...); err != nil {
		return w, err
	}
	w.ends = append(w.ends, w.Stop)
	tenants := filepath.Dir(w.Tenants["acme"].File)
	workers, err := w.Workers(filepath.Join(w.Bin, "workers"), tenants)
	if err != nil {
		return w, err
	}
	w.ends = append(w.ends, workers.Stop)
	server, api, err := w.Serve(tenants)
	if err != nil {
		return w, err
	}
	w.api, w.ends = api, append(w.ends, server.Stop)
	if w.conn, err = grpc.NewClient(w.Temporal.Address, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return w, err
	}
	w.ends = append(w.ends, func() { _ = w.conn.Close() })
	return w, w.fill(ctx)
}

func (w *world) close() {
	for _, end := range slices.Backward(w.ends) {
		end()
	}
}

// whole is the world with every layer on. Tests share it until one of them ends what is in it.
var (
	whole  *world
	broken error
)

func shared(t *testing.T) *world {
	t.Helper()
	if whole == nil {
		whole, broken = newWorld(context.Background())
	}
	if broken != nil {
		t.Fatal(broken)
	}
	return whole
}

// spend closes the shared world when the test is over: the next one gets another.
func spend(t *testing.T) {
	t.Cleanup(func() { whole.close(); whole = nil })
}

func TestMain(m *testing.M) {
	code := m.Run()
	if whole != nil {
		whole.close()
	}
	if err := stack.Leaked(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// together does things at once, and is what went wrong.
func together(all ...func() error) error {
	failed := make([]error, len(all))
	var wait sync.WaitGroup
	for i, do := range all {
		wait.Go(func() { failed[i] = do() })
	}
	wait.Wait()
	return errors.Join(failed...)
}

// contract is the document of the tests, with a mark in it, and without the names of its parties, who are the tenants: as long as before, because a PDF
// counts its bytes.
func contract(mark string) ([]byte, error) {
	body, err := os.ReadFile("../testdata/contract.pdf")
	body = bytes.ReplaceAll(bytes.ReplaceAll(body, []byte("Globex"), []byte("Vendor")), []byte("Acme"), []byte("Firm"))
	return append(body, []byte("% "+mark+"\n")...), err
}

// request is a request about a document that has a mark in it.
func (w *world) request(ctx context.Context, tenant, purpose, id, title, mark string) (countersign.Request, error) {
	body, err := contract(mark)
	if err != nil {
		return countersign.Request{}, err
	}
	document, err := w.Upload(ctx, tenant, body)
	return countersign.Request{V: 1, Tenant: tenant, ID: id, Purpose: purpose, Title: title, Document: document}, err
}

// ordered is an order about the evidence of the signing that is done.
func (w *world) ordered(act, who string) countersign.Order {
	o := countersign.Order{
		V: 1, Tenant: "acme", Request: w.done.Request.ID, Act: act, Matter: "matter " + w.tag, Reason: "claim " + w.tag, Bundle: w.ending.Evidence.Object,
		Actor: w.Actor(who), IssuedAt: time.Now().Unix(),
	}
	if act == countersign.OrderRetain {
		o.Until = time.Now().AddDate(0, 0, 60).Unix()
	}
	return o
}

// fill makes what acme has: a signing that waits, one that is done, grants in each state, keys.
func (w *world) fill(ctx context.Context) error {
	mark := make([]byte, 6)
	_, _ = rand.Read(mark)
	w.tag = "canary" + hex.EncodeToString(mark)
	err := together(
		func() (err error) {
			r, err := w.request(ctx, "acme", "resale-agreement", "open-"+w.tag, "Resale "+w.tag, w.tag+" open")
			if err == nil {
				w.document = r.Document
				w.open, err = w.Begin(ctx, "machine:acme/procurement", r)
			}
			if err == nil {
				w.status, err = w.open.Open(ctx, "legal")
			}
			return err
		},
		func() error {
			r, err := w.request(ctx, "acme", "supplier-contract", "done-"+w.tag, "Supply "+w.tag, w.tag+" done")
			if err == nil {
				w.done, err = w.Begin(ctx, "machine:acme/procurement", r)
			}
			if err == nil {
				_, err = w.done.Decide(ctx, "acme/alice", "legal", countersign.Approve)
			}
			if err == nil {
				err = w.breakGlass(ctx, w.done, "acme/ben", "counsel")
			}
			if err == nil {
				w.ending, err = w.done.End(ctx)
			}
			if err == nil && w.ending.Outcome != countersign.Completed {
				err = fmt.Errorf("the signing ended as %s: %s", w.ending.Outcome, w.ending.Detail)
			}
			if err == nil {
				w.order, err = w.Order(ctx, "acme/cora", w.ordered(countersign.OrderHold, "acme/cora"))
			}
			return err
		},
		func() (err error) {
			for i := range w.keys {
				if w.keys[i], err = w.Enrol(ctx, "acme", "acme/alice", stack.NewAuthenticator("localhost", "http://localhost:8080")); err != nil {
					return err
				}
				if _, err = w.Key(ctx, "acme", w.keys[i], func(k evidence.KeyStatus) bool { return k.State == evidence.KeyActive }); err != nil {
					return err
				}
			}
			return nil
		},
		func() (err error) {
			if len(w.off) == 0 { // that a grant ends is no matter of layers, and takes its time
				w.expired, err = w.grant(ctx, "nord/rona", "open-"+w.tag, 25, true)
			}
			return err
		},
		func() (err error) {
			if w.revoked, err = w.grant(ctx, "nord/rona", "open-"+w.tag, 3600, true); err == nil {
				err = w.Tell(ctx, "acme", "nord/rhea", countersign.AccessID("acme", w.revoked), countersign.SignalRevoke, countersign.GrantEnd{ID: "end-1", Reason: "over"})
			}
			return err
		},
		func() (err error) { w.live, err = w.grant(ctx, "nord/remy", "open-"+w.tag, 3600, true); return err },
		func() (err error) {
			w.offered, err = w.grant(ctx, "nord/remy", "later-"+w.tag, 3600, false)
			return err
		},
	)
	if err != nil {
		return fmt.Errorf("couldn't fill acme: %w", err)
	}
	if err := w.await(ctx, w.revoked, countersign.GrantRevoked); err != nil {
		return err
	}
	if err := w.watched(ctx); err != nil {
		return fmt.Errorf("couldn't have acme's evidence checked and renewed: %w", err)
	}
	if w.expired == "" {
		w.expired = w.revoked
	} else if err := w.await(ctx, w.expired, countersign.GrantExpired); err != nil {
		return err
	}
	w.canaries = append(w.canaries, w.tag, w.document.SHA256, w.document.VersionID, w.done.Request.Document.SHA256, w.ending.Evidence.Object.VersionID, w.ending.Evidence.Object.SHA256,
		w.status.Saga.Run, w.status.Context, w.open.Run.GetRunID(), w.live, w.revoked, w.expired, w.offered, w.keys[0], w.keys[1], w.Tenants["acme"].KeyARN, "Acme Corporation", "@acme.example")
	for _, p := range w.People {
		if p.Issuer == "acme" {
			w.canaries = append(w.canaries, p.Name, p.Subject)
		}
	}
	return nil
}

// breakGlass lets somebody not wait for a stage, so that the signing has a review.
func (w *world) breakGlass(ctx context.Context, g *stack.Signing, who, stage string) error {
	key := stack.NewAuthenticator("localhost", "http://localhost:8080")
	id, err := w.Enrol(ctx, "acme", who, key)
	if err == nil {
		_, err = w.Key(ctx, "acme", id, func(k evidence.KeyStatus) bool { return k.State == evidence.KeyActive })
	}
	var status workflows.Status
	if err == nil {
		status, err = g.Open(ctx, stage)
	}
	if err != nil {
		return err
	}
	d := g.Decision(status, who, stage, countersign.Skip)
	d.Reason = w.tag + " is urgent"
	_, err = g.PutWith(ctx, who, d, key)
	return err
}

// watched has acme's evidence time-stamped anew, and checked.
func (w *world) watched(ctx context.Context) error {
	id, err := w.renew(countersign.Duration(7300 * 24 * time.Hour))
	if err != nil {
		return err
	}
	operator, err := w.Dial(ctx, "acme", "platform:operator/acme")
	if err != nil {
		return err
	}
	defer operator.Close()
	if err := operator.GetWorkflow(ctx, countersign.RenewalID("acme", id), "").Get(ctx, nil); err != nil {
		return err
	}
	starter, err := w.Dial(ctx, "acme", "platform:starter/acme")
	if err != nil {
		return err
	}
	defer starter.Close()
	schedule := countersign.EvidenceCheckID("acme")
	if err := operator.ScheduleClient().GetHandle(ctx, schedule).Trigger(ctx, temporal.ScheduleTriggerOptions{}); err != nil {
		return err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		there, err := starter.ScheduleClient().GetHandle(ctx, schedule).Describe(ctx)
		if err != nil {
			return err
		}
		if ran := there.Info.RecentActions; len(ran) > 0 {
			workflow := ran[len(ran)-1].StartWorkflowResult.WorkflowID
			w.checkRun = strings.TrimPrefix(workflow, schedule+"-")
			var checked evidence.CheckedEvidence
			err := operator.GetWorkflow(ctx, workflow, "").Get(ctx, &checked)
			w.check, _, _ = countersign.ParseEvidenceCheckKey("acme", checked.Report.Key)
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// grant lends rhea's role for one request and some seconds, and has it accepted.
func (w *world) grant(ctx context.Context, to, request string, seconds int64, accepted bool) (string, error) {
	g := w.Draft("acme", "nord/rhea", to, "reseller", request)
	g.NotAfter = g.IssuedAt + seconds
	digest, err := w.Give(ctx, "nord/rhea", g)
	if err == nil {
		err = w.await(ctx, digest, countersign.GrantInvited)
	}
	if err == nil && accepted {
		if err = w.Accept(ctx, "acme", to, digest); err == nil {
			err = w.await(ctx, digest, countersign.GrantActive)
		}
	}
	return digest, err
}

func (w *world) await(ctx context.Context, grant, state string) error {
	_, err := w.Grant(ctx, "acme", grant, func(s evidence.GrantStatus) bool { return s.State == state })
	return err
}

// token is somebody's access token. "forged" is alice's with a changed signature, "garbage" is none, and nobody has none.
func (w *world) token(ctx context.Context, who string) (string, error) {
	switch who {
	case "", "garbage":
		return who, nil
	case "forged":
		good, err := w.Token(ctx, "acme/alice")
		if err != nil {
			return "", err
		}
		at := strings.LastIndexByte(good, '.') + 5
		changed := byte('A')
		if good[at] == 'A' {
			changed = 'B'
		}
		return good[:at] + string(changed) + good[at+1:], nil
	}
	return w.Token(ctx, who)
}

var encoded = regexp.MustCompile(`[A-Za-z0-9+/_-]{16,}={0,2}`)

// leak is the first thing of acme's that a text holds, in plain or encoded as page tokens and payloads are.
func (w *world) leak(text string) string {
	if found := w.plain(text); found != "" {
		return found
	}
	for _, word := range encoded.FindAllString(text, -1) {
		word = strings.TrimRight(word, "=")
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if raw, err := e.DecodeString(word); err == nil {
				if found := w.plain(string(raw)); found != "" {
					return found + " (encoded)"
				}
			}
		}
	}
	return ""
}

func (w *world) plain(text string) string {
	at := slices.IndexFunc(w.canaries, func(c string) bool { return strings.Contains(text, c) })
	if at < 0 {
		return ""
	}
	return w.canaries[at]
}

// patient is a client for one answer.
var patient = &http.Client{Timeout: 30 * time.Second}

// unchanged wants nothing of acme's to have moved.
func (w *world) unchanged(t *testing.T) {
	t.Helper()
	status, err := w.open.Status(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if status.State != "approval" || slices.ContainsFunc(status.Withdrawals, func(r countersign.WithdrawalRecord) bool { return r.Refusal == nil }) || slices.ContainsFunc(status.Decisions, countersign.DecisionRecord.Counted) {
		t.Errorf("the signing was changed by whoever may not: %+v", status)
	}
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	for grant, state := range map[string]string{w.live: countersign.GrantActive, w.offered: countersign.GrantInvited} {
		if err := w.await(ctx, grant, state); err != nil {
			t.Errorf("a grant was changed by whoever may not: %v", err)
		}
	}
	for _, key := range w.keys {
		if _, err := w.Key(ctx, "acme", key, func(k evidence.KeyStatus) bool { return k.State == evidence.KeyActive }); err != nil {
			t.Errorf("a key was changed by whoever may not: %v", err)
		}
	}
}
