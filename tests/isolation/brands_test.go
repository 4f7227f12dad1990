package isolation

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
)

// namesOf is what names each tenant wherever it is named: brand, name, addresses, prefix.
var namesOf = map[string][]string{"acme": {"acme", "Acme"}, "globex": {"globex", "Globex"}}

func names(text, tenant string) bool {
	for _, name := range namesOf[tenant] {
		if strings.Contains(text, name) {
			return true
		}
	}
	return false
}

// TestR01_OnePartnerOfTwoTenantsSeesEachUnderItsOwnBrand lets Chris of Hart & Lowe decide for both. Each mail, webhook, answer and bundle names the
// tenant that it is of and never the other one; and what one tenant tells goes to nobody of the other.
func TestR01_OnePartnerOfTwoTenantsSeesEachUnderItsOwnBrand(t *testing.T) {
	w := shared(t)
	other := map[string]string{"acme": "globex", "globex": "acme"}
	home := map[string]string{"acme": "acme/alice", "globex": "globex/gina"}
	ids := map[string]string{}
	bundles := map[string][]byte{}
	for tenant := range other {
		ids[tenant] = "brand-" + strings.ToUpper(tenant[:1]) + w.tag
		r, err := w.request(w.ctx, tenant, "supplier-contract", ids[tenant], "Supply agreement", "of one of two")
		if err != nil {
			t.Fatal(err)
		}
		g, err := w.Begin(w.ctx, "machine:"+tenant+"/procurement", r)
		if err == nil {
			_, err = g.Decide(w.ctx, home[tenant], "legal", countersign.Approve)
		}
		if err == nil {
			_, err = g.Decide(w.ctx, "hart/chris", "counsel", countersign.Approve)
		}
		if err != nil {
			t.Fatal(err)
		}
		ending, err := g.End(w.ctx)
		if err != nil || ending.Outcome != countersign.Completed {
			t.Fatalf("%s's signing ended as %+v (%v)", tenant, ending, err)
		}
		if bundles[tenant], err = w.Bundle(w.ctx, tenant, ending.Evidence); err != nil {
			t.Fatal(err)
		}
	}
	var mails []struct {
		From    string              `json:"from"`
		To      []string            `json:"to"`
		Headers map[string][]string `json:"headers"`
	}
	var hooks []struct{ Name, Body string }
	rawMails, rawHooks := w.mailbox(t, "api/messages", &mails), w.mailbox(t, "api/webhooks", &hooks)
	for tenant, id := range ids {
		toChris := 0
		for i, m := range mails {
			if !strings.Contains(rawMails[i], id) {
				continue
			}
			if m.From != "signing@"+tenant+".example" || !names(strings.Join(m.Headers["From"], ""), tenant) {
				t.Errorf("a mail of %s's is from %s, %v", tenant, m.From, m.Headers["From"])
			}
			if names(rawMails[i], other[tenant]) {
				t.Errorf("a mail of %s's, to %v, names %s: %s", tenant, m.To, other[tenant], rawMails[i])
			}
			if strings.Contains(strings.Join(m.To, " "), "chris@") {
				toChris++
			}
		}
		told := 0
		for i, h := range hooks {
			if !strings.Contains(h.Body, id) {
				continue
			}
			told++
			if h.Name != tenant || names(rawHooks[i], other[tenant]) {
				t.Errorf("the webhook %q has news of %s's: %s", h.Name, tenant, h.Body)
			}
		}
		if toChris == 0 || told == 0 {
			t.Errorf("of %s's signing, chris has %d mails and %d webhooks came", tenant, toChris, told)
		}
		if !names(string(bundles[tenant]), tenant) || names(string(bundles[tenant]), other[tenant]) {
			t.Errorf("the bundle of %s names %s, or not itself", tenant, other[tenant])
		}
		got, err := w.ask(actor{who: "hart/chris", tenant: tenant}, route(t, "get-signing"), asked{request: id})
		if err != nil || got.status != http.StatusOK || !names(got.body, tenant) || names(got.body, other[tenant]) {
			t.Errorf("chris sees %s's signing as %s (%v)", tenant, got, err)
		}
		got, err = w.ask(actor{who: "hart/chris", tenant: tenant}, route(t, "get-signing"), asked{request: ids[other[tenant]]})
		if err != nil || got.status != http.StatusNotFound {
			t.Errorf("chris sees %s's signing at %s: %s (%v)", other[tenant], tenant, got, err)
		}
	}
}

// mailbox reads what came, decoded and as it is.
func (w *world) mailbox(t *testing.T, path string, into any) (raw []string) {
	t.Helper()
	response, err := patient.Get(w.Mail.Page + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var each []json.RawMessage
	body, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(body, &each)
	}
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range each {
		raw = append(raw, string(e))
	}
	return raw
}
