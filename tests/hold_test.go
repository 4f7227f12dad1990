package tests

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/starter/client"
)

// orderOf is an order about a signing's evidence, as somebody writes it.
func orderOf(ending evidence.Ending, act, who, request, matter string) countersign.Order {
	return countersign.Order{
		V: countersign.Version, Tenant: "acme", Request: request, Act: act, Matter: matter, Reason: "claim by the supplier",
		Bundle: ending.Evidence.Object, Actor: local.Actor(who), IssuedAt: time.Now().Unix(),
	}
}

// give gives an order as somebody, proven, and says how the API answers.
func give(t *testing.T, who string, o countersign.Order) (evidence.OrderStatus, int, string) {
	t.Helper()
	digest, err := o.Digest()
	if err != nil {
		t.Fatal(err)
	}
	signed := countersign.SignedOrder{Order: o}
	if signed.Proof.IDToken, err = local.ProveDigest(t.Context(), who, digest); err != nil {
		t.Fatal(err)
	}
	return posted[evidence.OrderStatus](t, who, "/v1/acme/orders/"+o.Request, signed)
}

// answer answers an order as somebody, proven.
func answer(t *testing.T, who string, o countersign.Order, verdict countersign.Verdict) (evidence.OrderStatus, int, string) {
	t.Helper()
	digest, err := o.Digest()
	if err != nil {
		t.Fatal(err)
	}
	a := countersign.SignedOrderAnswer{Answer: countersign.OrderAnswer{
		V: countersign.Version, Tenant: "acme", Order: digest, Verdict: verdict, Reason: "looked at it", Actor: local.Actor(who), IssuedAt: time.Now().Unix(),
	}}
	bound, err := a.Answer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if a.Proof.IDToken, err = local.ProveDigest(t.Context(), who, bound); err != nil {
		t.Fatal(err)
	}
	return posted[evidence.OrderStatus](t, who, "/v1/acme/orders/"+o.Request+"/answer", a)
}

// posted sends a body as somebody, and returns the answer, or its status and code.
func posted[T any](t *testing.T, who, path string, body any) (into T, status int, code string) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var got json.RawMessage
	status = call(t, who, http.MethodPost, path, nil, raw, &got)
	var p client.Problem
	if status == http.StatusOK {
		err = json.Unmarshal(got, &into)
	} else {
		err = json.Unmarshal(got, &p)
	}
	if err != nil {
		t.Fatalf("%s answers %d %s: %v", path, status, got, err)
	}
	return into, status, p.Code
}

// ordersAbout is what cora is told about a request's evidence.
func ordersAbout(t *testing.T, request string) (book client.OrderBook) {
	t.Helper()
	if status := call(t, "acme/cora", http.MethodGet, "/v1/acme/orders/"+request, nil, nil, &book); status != http.StatusOK {
		t.Fatalf("the orders answer %d", status)
	}
	return book
}

// admin is the bucket's owner at the store.
func admin(t *testing.T) *s3.Client {
	t.Helper()
	c, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// onHold asks the store itself.
func onHold(t *testing.T, key, version string) bool {
	t.Helper()
	out, err := admin(t).GetObjectLegalHold(t.Context(), &s3.GetObjectLegalHoldInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String(key), VersionId: aws.String(version)})
	if err != nil {
		return false
	}
	return out.LegalHold.Status == s3types.ObjectLockLegalHoldStatusOn
}

// removed tries to delete a version with the rights of the bucket's owner.
func removed(t *testing.T, key, version string) error {
	t.Helper()
	_, err := admin(t).DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String(key), VersionId: aws.String(version)})
	return err
}

// eventually waits until something that nobody tells is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	often, last := time.NewTicker(200*time.Millisecond), time.After(time.Minute)
	defer often.Stop()
	for !so() {
		select {
		case <-often.C:
		case <-last:
			t.Fatalf("within a minute it is not so that %s", what)
		}
	}
}

// brief stores a version that is locked for a second alone, past the policies.
func brief(t *testing.T, key string) string {
	t.Helper()
	out, err := admin(t).PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(local.S3.Evidence), Key: aws.String(key), Body: strings.NewReader("x"), ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256,
		ObjectLockMode: s3types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(2 * time.Second)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.VersionId)
}

// Two people of compliance hold evidence and lift the hold; while it is held, nobody deletes it, though its retention has run out.
func TestN11_EvidenceIsHeldByTwoPeopleAndKeptWhateverItsRetentionSays(t *testing.T) {
	t.Parallel()
	g, ending := done(t)
	request := g.Request.ID
	// The intent has a second version whose retention runs out at once, and so has that of a request that nobody holds.
	intent, free := countersign.IntentKey("acme", request), countersign.IntentKey("acme", requestID(t)+"-free")
	kept, control := brief(t, intent), brief(t, free)

	hold := orderOf(ending, countersign.OrderHold, "acme/cora", request, "LG Berlin 12 O 34/26")
	proposed, status, code := give(t, "acme/cora", hold)
	if status != http.StatusOK || proposed.State != evidence.OrderProposed || proposed.By.Name != "Cora Castle" {
		t.Fatalf("the proposal answers %d %s: %+v", status, code, proposed)
	}
	if onHold(t, ending.Evidence.Object.Key, ending.Evidence.Object.VersionID) {
		t.Fatal("one person alone holds the evidence")
	}
	held, status, code := answer(t, "acme/olivia", hold, countersign.Approve)
	if status != http.StatusOK || held.State != evidence.OrderHeld || held.Done == nil {
		t.Fatalf("the approval answers %d %s: %+v", status, code, held)
	}
	record := held.Done.Record
	if err := record.Verify(nil); err != nil {
		t.Errorf("the record does not hold: %v", err)
	}
	if record.By.Actor != local.Actor("acme/cora") || record.Second.Actor != local.Actor("acme/olivia") || !slices.Equal(record.Standing, []string{hold.Matter}) {
		t.Errorf("the record says %+v", record)
	}
	if record.Hold != record.Digest {
		t.Errorf("the record names the hold %q", record.Hold)
	}
	// Exactly the locked version of the bundle, each version of the intent, and the record itself are held.
	var named []string
	for _, o := range record.Objects {
		named = append(named, o.Key+"#"+o.VersionID)
		if !o.Held || !onHold(t, o.Key, o.VersionID) {
			t.Errorf("%s is not held", o.Key)
		}
	}
	for _, want := range []string{ending.Evidence.Object.Key + "#" + ending.Evidence.Object.VersionID, intent + "#" + kept} {
		if !slices.Contains(named, want) {
			t.Errorf("%s is not among what is held: %v", want, named)
		}
	}
	if o := held.Done.Object; !onHold(t, o.Key, o.VersionID) || held.Done.RetainAt.Before(time.Now().Add(20*time.Hour)) {
		t.Errorf("the record is not held and locked: %+v", held.Done)
	}

	// The retention of both has run out when the one that nobody holds can be deleted.
	eventually(t, "the retention runs out", func() bool { return removed(t, free, control) == nil })
	wantStatus(t, "deleting what is held as the bucket's owner", removed(t, intent, kept), http.StatusForbidden)
	wantStatus(t, "deleting the held bundle", removed(t, ending.Evidence.Object.Key, ending.Evidence.Object.VersionID), http.StatusForbidden)

	book := ordersAbout(t, request)
	if !book.Kept.Held || !slices.Equal(book.Matters, []string{hold.Matter}) || len(book.Orders) != 1 || book.Waiting != nil {
		t.Errorf("compliance is told %+v", book)
	}

	// A second matter holds it as well, and the first one's end doesn't end that.
	second := orderOf(ending, countersign.OrderHold, "acme/olivia", request, "tax audit 2027")
	give(t, "acme/olivia", second)
	if s, _, code := answer(t, "acme/colin", second, countersign.Approve); s.State != evidence.OrderHeld {
		t.Fatalf("the second hold ends as %q %s", s.State, code)
	}
	for i, matter := range []string{hold.Matter, second.Matter} {
		lift := orderOf(ending, countersign.OrderLift, "acme/colin", request, matter)
		if s, status, code := give(t, "acme/colin", lift); status != http.StatusOK || s.State != evidence.OrderProposed {
			t.Fatalf("proposing to lift answers %d %s %+v", status, code, s)
		}
		if !onHold(t, intent, kept) {
			t.Fatal("one person alone lifts a hold")
		}
		s, status, code := answer(t, "acme/cora", lift, countersign.Approve)
		if status != http.StatusOK || s.State != evidence.OrderLifted || s.Done.Record.Verify(nil) != nil {
			t.Fatalf("approving to lift answers %d %s %+v", status, code, s)
		}
		if got := onHold(t, intent, kept); got != (i == 0) {
			t.Errorf("after lifting %q it is held: %v", matter, got)
		}
	}
	if err := removed(t, intent, kept); err != nil {
		t.Errorf("what is not held any more, and not retained, can't be deleted: %v", err)
	}
	if book := ordersAbout(t, request); book.Kept.Held || len(book.Matters) != 0 || len(book.Orders) != 4 {
		t.Errorf("in the end compliance is told %+v", book)
	}
}

// Nobody holds evidence, or lets go of it, alone, in somebody else's name, without the role, or about a signing of their own.
func TestN11_WhoMayNotHoldAndLift(t *testing.T) {
	t.Parallel()
	g, ending := done(t)
	request := g.Request.ID
	hold := orderOf(ending, countersign.OrderHold, "acme/cora", request, "m-1")
	for _, c := range []struct {
		who, code string
		status    int
	}{
		{"acme/alice", "not-entitled", 403}, {"hart/carol", "not-entitled", 403}, {"machine:acme/procurement", "not-entitled", 403},
		{"globex/gina", "unauthenticated", 401}, {"", "unauthenticated", 401},
	} {
		if _, status, code := posted[evidence.OrderStatus](t, c.who, "/v1/acme/orders/"+request, countersign.SignedOrder{Order: hold, Proof: countersign.Proof{IDToken: "e30.e30.e30"}}); status != c.status || code != c.code {
			t.Errorf("%q proposes with %d %s, want %d %s", c.who, status, code, c.status, c.code)
		}
	}
	refusedOrder := func(what, who, code string, change func(*countersign.Order)) {
		t.Helper()
		o := orderOf(ending, countersign.OrderHold, who, request, "m-1")
		change(&o)
		if s, _, got := give(t, who, o); got != code {
			t.Errorf("%s: answered %q, want %q: %+v", what, got, code, s)
		}
	}
	refusedOrder("somebody else's order", "acme/colin", "other-sender", func(o *countersign.Order) { o.Actor = local.Actor("acme/cora") })
	refusedOrder("another version", "acme/cora", "no-such-bundle", func(o *countersign.Order) { o.Bundle.VersionID = "01JDDDDDDDDDDDDDDDDDDDDDDD" })
	refusedOrder("another digest", "acme/cora", "digest-mismatch", func(o *countersign.Order) { o.Bundle.SHA256 = strings.Repeat("0", 64) })
	refusedOrder("a lift of nothing", "acme/cora", "not-held", func(o *countersign.Order) { o.Act = countersign.OrderLift })
	refusedOrder("written long ago", "acme/cora", "order-stale", func(o *countersign.Order) { o.IssuedAt -= 3600 })
	unproven := countersign.SignedOrder{Order: hold}
	other := hold
	other.Matter = "m-2"
	digest, err := other.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if unproven.Proof.IDToken, err = local.ProveDigest(t.Context(), "acme/cora", digest); err != nil {
		t.Fatal(err)
	}
	if _, _, code := posted[evidence.OrderStatus](t, "acme/cora", "/v1/acme/orders/"+request, unproven); code != "token-other-decision" {
		t.Errorf("with a proof of another order it is answered %q", code)
	}

	if s, status, code := give(t, "acme/cora", hold); status != http.StatusOK || s.State != evidence.OrderProposed {
		t.Fatalf("proposing answers %d %s %+v", status, code, s)
	}
	if _, status, code := give(t, "acme/colin", orderOf(ending, countersign.OrderHold, "acme/colin", request, "m-3")); status != http.StatusConflict || code != "order-waits" {
		t.Errorf("a second proposal is answered %d %s", status, code)
	}
	for who, want := range map[string]string{"acme/cora": "same-person", "acme/alice": "not-entitled", "hart/carol": "not-entitled"} {
		if _, _, code := answer(t, who, hold, countersign.Approve); code != want {
			t.Errorf("%s approves with %q, want %q", who, code, want)
		}
	}
	// Straight at the server, past the API, it is no other: what counts is who the server says sent it, and what their own provider proved.
	for who, want := range map[string]string{"acme/ben": "not-compliance", "hart/carol": "not-compliance", "acme/cora": "same-person"} {
		d, _ := hold.Digest()
		a := countersign.SignedOrderAnswer{Answer: countersign.OrderAnswer{V: 1, Tenant: "acme", Order: d, Verdict: countersign.Approve, Actor: local.Actor(who), IssuedAt: time.Now().Unix()}}
		bound, _ := a.Answer.Digest()
		if a.Proof.IDToken, err = local.ProveDigest(t.Context(), who, bound); err != nil {
			t.Fatal(err)
		}
		if err := local.Tell(t.Context(), "acme", who, countersign.HoldID("acme", request), countersign.SignalAnswer, a); err != nil {
			t.Fatal(err)
		}
		var last evidence.OrderAnswered
		eventually(t, "the answer is checked", func() bool {
			for _, answered := range ordersAbout(t, request).Waiting.Answers {
				if answered.Sender == local.Actor(who).String() {
					last = answered
				}
			}
			return last.Refusal != nil
		})
		if last.Refusal.Code != want {
			t.Errorf("%s at the server: refused as %q, want %q", who, last.Refusal.Code, want)
		}
	}
	if onHold(t, ending.Evidence.Object.Key, ending.Evidence.Object.VersionID) {
		t.Error("it is held all the same")
	}
	rejected, _, code := answer(t, "acme/colin", hold, countersign.Reject)
	if rejected.State != evidence.OrderRejected || rejected.Done.Record.Verify(nil) != nil {
		t.Fatalf("a rejection ends as %+v %s", rejected, code)
	}
	if book := ordersAbout(t, request); book.Kept.Held || len(book.Orders) != 1 || book.Orders[0].Record.Outcome != evidence.OrderRejected {
		t.Errorf("compliance is told %+v", book)
	}
	// The rejected order is over: given again, it counts no more.
	if _, _, code := give(t, "acme/cora", hold); code != "order-used" {
		t.Errorf("given again it is answered %q", code)
	}
}

// Whoever runs the service can write a record, and no other person into it: who held evidence is proven by their own identity provider.
func TestN11_NobodyForgesTheRecordOfAHold(t *testing.T) {
	t.Parallel()
	g, ending := done(t)
	hold := orderOf(ending, countersign.OrderHold, "acme/cora", g.Request.ID, "m-1")
	give(t, "acme/cora", hold)
	held, _, code := answer(t, "acme/olivia", hold, countersign.Approve)
	if held.Done == nil {
		t.Fatalf("the hold ends as %q %s", held.State, code)
	}
	roots, err := local.Roots()
	if err != nil {
		t.Fatal(err)
	}
	report := evidence.Verify(bundle(t, "acme", ending), roots)
	issuers := report.Statement.Issuers
	genuine, err := json.Marshal(held.Done.Record)
	if err != nil {
		t.Fatal(err)
	}
	again := func(r *evidence.OrderRecord) { // what follows from the order, and from the answer's naming of it
		r.Digest, _ = r.Order.Order.Digest()
		r.Answer.Answer.Order = r.Digest
	}
	for what, c := range map[string]struct {
		forge func(*evidence.OrderRecord)
		fails string
	}{
		"nothing":                 {func(*evidence.OrderRecord) {}, ""},
		"another matter":          {func(r *evidence.OrderRecord) { r.Order.Order.Matter = "m-2" }, "another order than it holds"},
		"another matter all over": {func(r *evidence.OrderRecord) { r.Order.Order.Matter = "m-2"; again(r) }, "the order's proof"},
		"a lift of it": {func(r *evidence.OrderRecord) {
			r.Order.Order.Act, r.Outcome = countersign.OrderLift, evidence.OrderLifted
			again(r)
		}, "the order's proof"},
		"another outcome":         {func(r *evidence.OrderRecord) { r.Outcome = evidence.OrderLifted }, "what it holds makes it held"},
		"a rejection as approval": {func(r *evidence.OrderRecord) { r.Answer.Answer.Verdict = countersign.Reject }, "what it holds makes it rejected"},
		"without its second":      {func(r *evidence.OrderRecord) { r.Answer, r.Second, r.Taken = nil, nil, nil }, "what it holds makes it expired"},
		"somebody else's order": {func(r *evidence.OrderRecord) {
			r.Order.Order.Actor, r.By.Actor = local.Actor("acme/colin"), local.Actor("acme/colin")
			again(r)
		}, "the order's proof"},
		"somebody else's approval": {func(r *evidence.OrderRecord) {
			r.Answer.Answer.Actor, r.Second.Actor = local.Actor("acme/colin"), local.Actor("acme/colin")
		}, "the answer's proof"},
		"one person twice": {func(r *evidence.OrderRecord) {
			r.Answer.Answer.Actor, r.Second.Actor, r.Answer.Proof = r.By.Actor, r.By.Actor, r.Order.Proof
		}, "of one person"},
		"a partner's approval": {func(r *evidence.OrderRecord) {
			r.Answer.Answer.Actor, r.Second.Actor = local.Actor("hart/carol"), local.Actor("hart/carol")
		}, "not of the tenant's own organisation"},
		"another name":    {func(r *evidence.OrderRecord) { r.Second.Actor = local.Actor("acme/colin") }, "somebody else answered"},
		"another day":     {func(r *evidence.OrderRecord) { r.Given.At = r.Given.At.AddDate(0, 1, 0) }, "the order's proof"},
		"another version": {func(r *evidence.OrderRecord) { r.Order.Order.Bundle.VersionID = "x"; again(r) }, "the order's proof"},
		"a key of its own": {func(r *evidence.OrderRecord) {
			r.Given.Key = json.RawMessage(`{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`)
		}, "the order's proof"},
	} {
		var r evidence.OrderRecord
		if err := json.Unmarshal(genuine, &r); err != nil {
			t.Fatal(err)
		}
		c.forge(&r)
		err := r.Verify(issuers)
		if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%s: %v, want %q", what, err, c.fails)
		}
	}
	// The record's own word for who is of the tenant counts for nothing where the sealed bundle says otherwise.
	var r evidence.OrderRecord
	if err := json.Unmarshal(genuine, &r); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(issuers[1:]); err == nil {
		t.Error("the record is believed about its own issuer")
	}
}
