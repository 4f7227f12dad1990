package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// The people of the demo: a person of the tenant, and those of partner organisations with identity providers of their own.
var (
	procurement = person{name: "Acme's procurement system", who: "acme/procurement", issuer: "acme"}
	alice       = person{name: "Alice Ahn, legal at Acme", who: "acme/alice", issuer: "acme"}
	carol       = person{name: "Carol Hart, outside counsel at Hart & Lowe", who: "hart/carol", issuer: "hart"}
	rhea        = person{name: "Rhea Rask, reseller at Nordwind", who: "nord/rhea", issuer: "nord"}
	remy        = person{name: "Remy Roth, her colleague", who: "nord/remy", issuer: "nord"}
	rona        = person{name: "Rona Ruud, another colleague", who: "nord/rona", issuer: "nord"}
)

// status is what the demo reads of a signing's status.
type status struct {
	State    string
	Context  string
	Outcome  string
	Released bool
	Evidence struct {
		Object struct{ Bucket, Key, VersionID, SHA256 string }
		Mode   string
		Until  time.Time `json:"retainUntil"`
	}
	Custodian string
	Saga      struct{ Workflow, Run string }
}

// ask requests the signing as a machine.
func (d *demo) ask(ctx context.Context) error {
	document, err := d.document()
	if err != nil {
		return err
	}
	d.request = "PO-" + d.began.UTC().Format("20060102-150405")
	d.say(procurement.name, "asks for %s to be signed, as request %s.", rel(document), d.request)
	if err := d.requested(ctx, d.request, "supplier-contract", "Supply agreement of Acme and Globex", document); err != nil {
		return err
	}
	d.control("it proves itself by its own key (RFC 7523); Temporal stamps it on the start; the document counts by version and digest")
	return nil
}

// requested has the procurement system ask for a signing.
func (d *demo) requested(ctx context.Context, request, purpose, title, document string) error {
	_, err := d.as(ctx, procurement, append([]string{"request", "--file", document, "--purpose", purpose, "--title", title, "--request", request}, d.machine()...)...)
	return err
}

// machine is how the procurement system proves itself to the command line.
func (d *demo) machine() []string {
	for _, m := range d.stack.Machines {
		if m.Issuer == "acme" && m.Client == "procurement" {
			return []string{"--machine-key", m.KeyFile, "--machine-client", m.Client}
		}
	}
	return nil
}

// decide lets both people approve.
func (d *demo) decide(ctx context.Context) error {
	for _, p := range []person{alice, carol} {
		record, err := d.approved(ctx, p, d.request)
		if err != nil {
			return err
		}
		d.say(p.name, "approves, in stage %s.", record.Stage)
		d.control("a fresh login at %s, for decision %s… alone", d.stack.Issuers[p.issuer].URL, record.Digest[:16])
	}
	return nil
}

// record is what became of a decision.
type record struct {
	ID, Stage, Verdict, Digest string
	Actor                      actor
	Refusal                    *struct{ Code, Message string }
}

// approved lets somebody approve by the command line. A decision that does not count is an error.
func (d *demo) approved(ctx context.Context, p person, request string, how ...string) (record, error) {
	var r record
	out, err := d.as(ctx, p, append([]string{"decide", request, "--approve", "--yes", "--json"}, how...)...)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("couldn't read what became of the decision: %w", err)
	}
	return r, nil
}

// watched waits until a signing's evidence is locked.
func (d *demo) watched(ctx context.Context, request string) (status, error) {
	var last status
	out, err := d.as(ctx, alice, "watch", request, "--json")
	if err != nil {
		return last, err
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		return last, fmt.Errorf("couldn't read the status: %w", err)
	}
	return last, nil
}

// release waits until the evidence is locked.
func (d *demo) release(ctx context.Context) error {
	last, err := d.watched(ctx, d.request)
	if err != nil {
		return err
	}
	if !last.Released {
		return fmt.Errorf("the signing ended as %s, and nothing was released", last.Outcome)
	}
	d.signing = last
	d.say("Acme's KMS key", "signs: the intent was locked first, the quorum checked again in that moment.")
	d.say("The evidence", "is sealed, time-stamped and locked as %s until %s.", last.Evidence.Mode, last.Evidence.Until.UTC().Format("2 January 2006, 15:04 UTC"))
	d.control("one transaction from request to evidence: %s…", last.Context[:16])
	mails, hooks, err := d.told(ctx)
	if err != nil {
		return err
	}
	d.say("Everybody", "is told: %d mails and %d webhooks.", mails, hooks)
	return nil
}

// told counts what reached the mailbox for this request.
func (d *demo) told(ctx context.Context) (mails, hooks int, err error) {
	count := func(path string) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.stack.Mail.Page+path, nil)
		if err != nil {
			return 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, fmt.Errorf("couldn't ask the mailbox: %w", err)
		}
		defer resp.Body.Close()
		var list []json.RawMessage
		if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&list); err != nil {
			return 0, fmt.Errorf("couldn't read the mailbox: %w", err)
		}
		n := 0
		for _, m := range list {
			if strings.Contains(string(m), d.request) {
				n++
			}
		}
		return n, nil
	}
	if mails, err = count("api/messages"); err == nil {
		hooks, err = count("api/webhooks")
	}
	return mails, hooks, err
}

// postQuantumKey is the public key that acme hands to whoever verifies its evidence.
const postQuantumKey = "acme-postquantum.pem"

// export writes what a stranger needs.
func (d *demo) export(ctx context.Context) error {
	bundle := filepath.Join(d.dir, "evidence.asice")
	if _, err := d.as(ctx, alice, "audit", "export", d.request, "-o", bundle); err != nil {
		return err
	}
	for name, from := range map[string]string{"tenant-ca.pem": d.stack.TenantCA, "tsa-ca.pem": d.stack.TSA.CA, postQuantumKey: d.stack.Tenants["acme"].PostQuantumPublicKey} {
		raw, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(d.dir, name), raw, 0o644)
		}
		if err != nil {
			return err
		}
	}
	history, err := fileOf(bundle, "history.json")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, "history.json"), history, 0o644)
}

// fileOf is one file of a bundle.
func fileOf(bundle, name string) ([]byte, error) {
	z, err := zip.OpenReader(bundle)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the bundle: %w", err)
	}
	defer z.Close()
	f, err := z.Open(name)
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s in the bundle: %w", name, err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 256<<20))
}

// check verifies the evidence without a network, replays the history, and tries to delete what is locked.
func (d *demo) check(ctx context.Context) error {
	bundle := filepath.Join(d.dir, "evidence.asice")
	findings, err := d.verified(ctx, bundle)
	if err != nil {
		return err
	}
	for _, line := range findings {
		d.detail("%s", line)
	}
	out, _, err := d.offline(ctx, "audit", "replay", bundle)
	if err != nil {
		return err
	}
	d.say("The workflow code", "is run again over the exported history:")
	d.detail("%s", strings.Split(strings.TrimSpace(string(out)), "\n")[0])
	return d.tamper(ctx)
}

// verified verifies a bundle as a stranger without a network does, and returns a line for each check. One that fails is an error.
func (d *demo) verified(ctx context.Context, bundle string) ([]string, error) {
	out, offline, err := d.offline(ctx, "audit", "verify", bundle, "--tenant-ca", filepath.Join(d.dir, "tenant-ca.pem"), "--tsa-ca", filepath.Join(d.dir, "tsa-ca.pem"),
		"--pq-key", filepath.Join(d.dir, postQuantumKey))
	if err != nil {
		return nil, err
	}
	if offline {
		d.say("A stranger", "verifies the evidence, in a process without any network:")
	} else {
		d.say("A stranger", "verifies the evidence (this system doesn't let us take the network away; the verifier opens no connection):")
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), nil
}

// tamper tries, as the root of the store, to delete the locked evidence.
func (d *demo) tamper(ctx context.Context) error {
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(d.stack.S3.Region),
		awsconfig.WithSharedCredentialsFiles([]string{d.stack.AWS.CredentialsFile}), awsconfig.WithSharedConfigProfile(d.stack.AWS.AdminProfile))
	if err != nil {
		return err
	}
	store := s3.NewFromConfig(cfg, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = aws.String(d.stack.S3.Endpoint), true })
	o := d.signing.Evidence.Object
	held, err := store.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID)})
	if err != nil {
		return fmt.Errorf("couldn't read the lock back: %w", err)
	}
	if held.Retention == nil || held.Retention.Mode != "COMPLIANCE" {
		return errors.New("the evidence is not locked")
	}
	_, err = store.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key), VersionId: aws.String(o.VersionID), BypassGovernanceRetention: aws.Bool(true)})
	var refused *smithyhttp.ResponseError
	if !errors.As(err, &refused) || refused.HTTPStatusCode() != http.StatusForbidden {
		return fmt.Errorf("deleting the locked evidence answered %v, and should have answered 403", err)
	}
	d.say("The store's root", "reads the lock back (%s) and tries to delete the evidence: 403.", held.Retention.Mode)
	return nil
}
