package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	sdk "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// askResale requests the second signing: a control point, which takes each person's own key.
func (d *demo) askResale(ctx context.Context) error {
	d.resale = strings.Replace(d.request, "PO-", "RA-", 1)
	document, err := d.sample()
	if err != nil {
		return err
	}
	d.say(procurement.name, "asks for a resale agreement with Nordwind to be signed, as request %s.", d.resale)
	if err := d.requested(ctx, d.resale, "resale-agreement", "Resale agreement of Acme and Nordwind", document); err != nil {
		return err
	}
	d.control("this purpose is a control point: each decision must be signed by the person's own enrolled key as well")
	return nil
}

// lend has Rhea give a part of her authority to Remy, who takes it.
func (d *demo) lend(ctx context.Context) error {
	grant, err := d.granted(ctx, remy, d.resale, "away at a fair")
	if err != nil {
		return err
	}
	d.grant = grant
	d.control("grant %s… is for one decision in this one request, for an hour; both proved it by a fresh login, for it alone", grant[:16])
	return nil
}

// granted has Rhea offer one decision in a request to a colleague, who accepts. It returns the grant's digest.
func (d *demo) granted(ctx context.Context, to person, request, reason string) (string, error) {
	a := d.actor(to)
	grant, err := d.kept(ctx, "invited", rhea, "grant", "offer", "--to", a.Issuer+"#"+a.Subject, "--role", "reseller", "--request", request, "--for", "1h", "--reason", reason)
	if err != nil {
		return "", err
	}
	d.say(rhea.name, "grants %s one decision in %s.", to.name, request)
	if _, err := d.kept(ctx, "active", to, "grant", "accept", grant); err != nil {
		return "", err
	}
	d.say(to.name, "accepts.")
	return grant, nil
}

// kept runs a command about a grant or a key as somebody, wants it to be in a state then, and returns its name.
func (d *demo) kept(ctx context.Context, state string, p person, args ...string) (string, error) {
	out, err := d.as(ctx, p, append(args, "--json")...)
	if err != nil {
		return "", err
	}
	var kept struct{ ID, State string }
	if err := json.Unmarshal(out, &kept); err != nil {
		return "", fmt.Errorf("couldn't read what became of it: %w", err)
	}
	if kept.State != state {
		return "", fmt.Errorf("%s: it is %q, and should be %q", strings.Join(args[:2], " "), kept.State, state)
	}
	return kept.ID, nil
}

// decideResale lets Alice approve by a key of her command line, and Remy by passkey in Rhea's place.
func (d *demo) decideResale(ctx context.Context) error {
	file := filepath.Join(d.dir, "home", "alice-key.pem")
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := d.kept(ctx, "active", alice, "key", "enrol", file)
	if err != nil {
		return err
	}
	made, err := d.approved(ctx, alice, d.resale, "--key", file)
	if err != nil {
		return err
	}
	d.say(alice.name, "enrols a device key and approves with it, in stage %s.", made.Stage)
	d.control("decision %s… is in a fresh ID token of hers, and signed by key %s…", made.Digest[:16], key[:16])

	page, err := d.open(ctx, remy)
	if err != nil {
		return err
	}
	if key, err = page.enrol(ctx); err != nil {
		return err
	}
	signed, err := page.approval(ctx, d.resale, d.grant)
	if err != nil {
		return err
	}
	if err := page.call(ctx, http.MethodPost, "/signings/"+d.resale+"/decisions", signed, new(struct{})); err != nil {
		return err
	}
	if made, err = page.became(ctx, d.resale, d.grant, signed.ID); err != nil {
		return err
	}
	if made.Refusal != nil {
		return fmt.Errorf("the decision of %s did not count: %s: %s", remy.who, made.Refusal.Code, made.Refusal.Message)
	}
	d.say(remy.name, "enrols a passkey and approves with it, in stage %s, in Rhea's place.", made.Stage)
	d.control("decision %s… is in a fresh ID token of Remy's, and signed by passkey %s… with its owner verified; Remy holds no role", made.Digest[:16], key[:16])
	return nil
}

// checkResale verifies the second signing's evidence, and reads in it who decided for whom.
func (d *demo) checkResale(ctx context.Context) error {
	last, err := d.watched(ctx, d.resale)
	if err != nil {
		return err
	}
	if !last.Released {
		return fmt.Errorf("the resale agreement ended as %s, and nothing was released", last.Outcome)
	}
	d.say("Acme's KMS key", "signs: the keys and the grant were checked again in that moment.")
	bundle := filepath.Join(d.dir, "resale.asice")
	if _, err := d.as(ctx, alice, "audit", "export", d.resale, "-o", bundle); err != nil {
		return err
	}
	findings, err := d.verified(ctx, bundle)
	if err != nil {
		return err
	}
	for _, line := range findings {
		for _, about := range []string{"outcome", "decisions", "policy", "quorum"} {
			if words := strings.Fields(line); len(words) > 1 && words[1] == about {
				d.detail("%s", line)
			}
		}
	}
	statement, err := fileOf(bundle, "statement.json")
	if err != nil {
		return err
	}
	var s struct {
		Predicate struct {
			Decisions []struct {
				Name, Stage, Key string
				OnBehalfOf       *struct{ Name string }
				Grants           []string
			}
		}
	}
	if err := json.Unmarshal(statement, &s); err != nil {
		return fmt.Errorf("couldn't read the statement: %w", err)
	}
	d.say("The evidence", "names everybody:")
	delegated := false
	for _, made := range s.Predicate.Decisions {
		who := made.Name
		if made.OnBehalfOf != nil {
			who += " on behalf of " + made.OnBehalfOf.Name + ", by grant " + made.Grants[0][:16] + "…"
			delegated = delegated || made.Name == "Remy Roth" && made.OnBehalfOf.Name == "Rhea Rask" && made.Grants[0] == d.grant
		}
		d.detail("%-9s %s, by key %s…", made.Stage, who, made.Key[:min(16, len(made.Key))])
	}
	if !delegated {
		return errors.New("the evidence doesn't name both Remy and Rhea")
	}
	return nil
}

// revoke has Rhea lend to Rona, and take it back before Rona decides. The decision is refused at each door.
func (d *demo) revoke(ctx context.Context) error {
	request := d.resale + "-2"
	document, err := d.sample()
	if err != nil {
		return err
	}
	if err := d.requested(ctx, request, "resale-agreement", "Second resale agreement of Acme and Nordwind", document); err != nil {
		return err
	}
	d.say(procurement.name, "asks for a second one, as request %s.", request)
	grant, err := d.granted(ctx, rona, request, "the same fair")
	if err != nil {
		return err
	}
	page, err := d.open(ctx, rona)
	if err != nil {
		return err
	}
	if _, err := page.enrol(ctx); err != nil {
		return err
	}
	signed, err := page.approval(ctx, request, grant)
	if err != nil {
		return err
	}
	if _, err := d.kept(ctx, "revoked", rhea, "grant", "revoke", grant, "--reason", "the deal is off"); err != nil {
		return err
	}
	d.say(rhea.name, "revokes the grant: the deal is off. Rona's approval is proven already, and not sent yet.")

	err = page.call(ctx, http.MethodPost, "/signings/"+request+"/decisions", signed, new(struct{}))
	var no *problem
	if !errors.As(err, &no) || no.Status != http.StatusNotFound {
		return fmt.Errorf("sending a decision under a revoked grant answered %v, and should have answered 404", err)
	}
	d.say(rona.name, "sends it all the same. The API: %d, %s.", no.Status, no.Detail)
	if err := d.signal(ctx, page.token, signed); err != nil {
		return err
	}
	// Rona sees nothing any more; Alice, whose turn it is, does.
	onlooker, err := d.open(ctx, alice)
	if err != nil {
		return err
	}
	made, err := onlooker.became(ctx, request, "", signed.ID)
	if err != nil {
		return err
	}
	if made.Refusal == nil || made.Actor != page.actor {
		return errors.New("a decision under a revoked grant counted")
	}
	d.say(rona.name, "sends it past the API, straight to Temporal. Refused (%s): %s.", made.Refusal.Code, strings.TrimSuffix(made.Refusal.Message, "."))
	d.control("authority is checked when a decision arrives, and again in the moment of signing; what was refused is in the evidence, with why")
	if _, err := d.as(ctx, procurement, append([]string{"withdraw", request, "--reason", "the deal is off"}, d.machine()...)...); err != nil {
		return err
	}
	last, err := d.watched(ctx, request)
	if err != nil {
		return err
	}
	d.say(procurement.name, "takes that request back. It ended as %s, and its evidence is locked too.", last.Outcome)
	return nil
}

// signal sends a decision to the Temporal server with somebody's own token, as any SDK can, to the run that it names.
func (d *demo) signal(ctx context.Context, token string, signed signedDecision) error {
	var to struct{ Signing, Run string }
	if err := json.Unmarshal(signed.Decision, &to); err != nil {
		return fmt.Errorf("couldn't read to where the decision goes: %w", err)
	}
	c, err := sdk.NewLazyClient(sdk.Options{
		HostPort: d.stack.Temporal.Address, Namespace: "acme", HeadersProvider: bearer(token), Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return fmt.Errorf("couldn't reach Temporal: %w", err)
	}
	defer c.Close()
	if err := c.SignalWorkflow(ctx, to.Signing, to.Run, "decide", signed); err != nil {
		return fmt.Errorf("couldn't send the decision: %w", err)
	}
	return nil
}

// bearer sends a token with each call.
type bearer string

func (b bearer) GetHeaders(context.Context) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}
