package countersign

import (
	"strings"
	"testing"
	"time"
)

func anOrder() Order {
	return Order{
		V: 1, Tenant: "acme", Request: "PO-1", Act: OrderHold, Matter: "12 O 34/26", Reason: "claim", Actor: Actor{"https://id.acme.example", "cora"}, IssuedAt: 1_800_000_000,
		Bundle: Object{Bucket: "evidence", Key: "acme/evidence/PO-1.asice", VersionID: "v", SHA256: strings.Repeat("a", 64)},
	}
}

func TestN11_WrongOrdersAreRefusedWithTheirReason(t *testing.T) {
	t.Parallel()
	if err := anOrder().Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Order){
		"v is 2":                 func(o *Order) { o.V = 2 },
		"act \"keep\"":           func(o *Order) { o.Act = "keep" },
		"a matter is missing":    func(o *Order) { o.Matter = " " },
		"a reason is missing":    func(o *Order) { o.Reason = "\n" },
		"a matter is one line":   func(o *Order) { o.Matter = "a\nb" },
		"at most 200":            func(o *Order) { o.Matter = strings.Repeat("a", 201) },
		"at most 2000":           func(o *Order) { o.Reason = strings.Repeat("a", 2001) },
		"control character":      func(o *Order) { o.Matter = "a\u202eb" },
		"actor needs":            func(o *Order) { o.Actor.Subject = "" },
		"bundle must name":       func(o *Order) { o.Bundle.Key = "acme/evidence/PO-2.asice" },
		"the SHA-256 of":         func(o *Order) { o.Bundle.SHA256 = "" },
		"the version and":        func(o *Order) { o.Bundle.VersionID = "" },
		"until belongs":          func(o *Order) { o.Until = o.IssuedAt + 1 },
		"iat must be":            func(o *Order) { o.IssuedAt = -1 },
		"request":                func(o *Order) { o.Request = "../x" },
		"tenant":                 func(o *Order) { o.Tenant = "Acme/" },
		"belongs to retain":      func(o *Order) { o.Act = OrderRetain },
		"at most 100 years":      func(o *Order) { o.Act, o.Until = OrderRetain, o.IssuedAt+int64(MaxRetention/time.Second)+1 },
		"until must be after":    func(o *Order) { o.Act, o.Until = OrderRetain, o.IssuedAt },
		"nobody can take a rete": func(o *Order) { o.Act, o.Until = OrderRetain, o.IssuedAt-1 },
	} {
		o := anOrder()
		change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestN11_AnAnswerNamesItsOrderAndARejectionItsReason(t *testing.T) {
	t.Parallel()
	good := OrderAnswer{V: 1, Tenant: "acme", Order: strings.Repeat("a", 64), Verdict: Approve, Actor: Actor{"https://id.acme.example", "olivia"}, IssuedAt: 1_800_000_000}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*OrderAnswer){
		"64 hex digits":      func(a *OrderAnswer) { a.Order = "a" },
		"neither approve":    func(a *OrderAnswer) { a.Verdict = Skip },
		"needs a reason":     func(a *OrderAnswer) { a.Verdict = Reject },
		"actor needs":        func(a *OrderAnswer) { a.Actor.Issuer = "" },
		"at most 2000":       func(a *OrderAnswer) { a.Reason = strings.Repeat("a", 2001) },
		"v is 0":             func(a *OrderAnswer) { a.V = 0 },
		"seconds since 1970": func(a *OrderAnswer) { a.IssuedAt = -1 },
		"tenant":             func(a *OrderAnswer) { a.Tenant = "" },
	} {
		a := good
		change(&a)
		if err := a.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestN11_ARecordLiesWhereItsRequestAndNumberSay(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 12, 1234} {
		if request, got, ok := ParseOrderKey("acme", OrderKey("acme", "PO-1.2", n)); !ok || request != "PO-1.2" || got != n {
			t.Errorf("%q %d %v", request, got, ok)
		}
	}
	for _, key := range []string{"acme/orders/PO-1/1.json", "acme/orders/PO-1/000.json", "acme/orders/PO-1/-01.json", "acme/orders/PO-1/001.json.x", "globex/orders/PO-1/001.json", "acme/evidence/PO-1/001.json", "acme/orders/001.json"} {
		if request, n, ok := ParseOrderKey("acme", key); ok {
			t.Errorf("%s is taken as %q %d", key, request, n)
		}
	}
}
