package tests

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/starter/client"
)

// oneRecord wants exactly one version of an ending's index record, which agrees with its entry in the log.
func oneRecord(t *testing.T, tenant string, ending evidence.Ending) evidence.IndexRecord {
	t.Helper()
	key := indexKey(t, tenant, ending)
	if there := versions(t, "evidence", key); len(there) != 1 {
		t.Fatalf("%s has the versions %q, want one", key, there)
	}
	r, err := evidence.ParseIndexRecord(tenant, key, installation{Stack: local}.stored(t, key))
	if err != nil {
		t.Fatal(err)
	}
	e, err := translog.ParseEntry([]byte(ending.Log.Entry))
	if err == nil {
		err = r.Agrees(e, ending.Log.Index)
	}
	if err != nil {
		t.Error(err)
	}
	return r
}

// The record costs a signing one request to the store, and is locked as long as the bundle.
func TestR24_AnEndingLeavesOneIndexRecordByOneRequest(t *testing.T) {
	store := fault(t, local.S3.Endpoint)
	faultyWorkers(t, "s3: "+local.S3.Endpoint, "s3: "+store.URL)
	g := begin(t, request(t, "globex", "supplier-contract"))
	var asked atomic.Int32
	store.Break(func(r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/globex/index/") || strings.Contains(r.URL.Query().Get("prefix"), "globex/index/") {
			asked.Add(1)
		}
		return false
	})
	approved(t, g)
	ending, _ := ended(t, g, countersign.Completed)
	r := oneRecord(t, "globex", ending)
	if n := asked.Load(); n != 1 {
		t.Errorf("the index took %d requests, want 1", n)
	}
	admin, err := local.S3Client(t.Context(), local.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := admin.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String(r.Key())})
	if err != nil || lock.Retention.Mode != "COMPLIANCE" || !lock.Retention.RetainUntilDate.Equal(ending.Evidence.RetainUntil) {
		t.Errorf("the record's lock is %+v, %v; the bundle's is until %s", lock, err, ending.Evidence.RetainUntil)
	}
	for _, profile := range []string{"globex-starter", "globex-worker", "acme-worker"} {
		c, err := local.S3Client(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(local.S3.Evidence), Key: aws.String(r.Key())})
		wantStatus(t, "hiding an index record as "+profile, err, http.StatusForbidden)
		if profile != "globex-worker" {
			_, err = c.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: aws.String(local.S3.Evidence), Key: aws.String(r.Key() + "x"), Body: strings.NewReader("{}"), Tagging: aws.String("tenant=globex"),
				ObjectLockMode: "COMPLIANCE", ObjectLockRetainUntilDate: lock.Retention.RetainUntilDate,
			})
			wantStatus(t, "writing an index record as "+profile, err, http.StatusForbidden)
		}
	}
}

func TestR25_AWorkerKilledBetweenLockAndIndexLeavesOneRecord(t *testing.T) {
	store := fault(t, local.S3.Endpoint)
	broken := faultyWorkers(t, "s3: "+local.S3.Endpoint, "s3: "+store.URL)
	store.Break(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/evidence/globex/index/")
	})
	g := begin(t, request(t, "globex", "supplier-contract"))
	approved(t, g)
	<-store.Hit()
	broken.Kill()
	if locked := versions(t, "evidence", countersign.EvidenceKey("globex", g.Request.ID)); len(locked) != 1 {
		t.Errorf("before the record, %d bundles are locked", len(locked))
	}
	faultyWorkers(t)
	ending, _ := ended(t, g, countersign.Completed)
	oneRecord(t, "globex", ending)
}

// Whoever owns the bucket can take a record away, hide it, write over it, and add others. The log says which there have to be.
func TestR24_TheIndexIsHeldToTheLogAndMadeWhole(t *testing.T) {
	t.Parallel()
	i := forgetful(t, "acme")
	olivia, home := i.as(t, "acme/olivia"), t.TempDir()
	var endings []evidence.Ending
	for _, id := range []string{"one", "two"} {
		g := i.begin(t, id)
		decide(t, g, "acme/alice", "legal", countersign.Reject)
		ending, err := g.End(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		endings = append(endings, ending)
		i.forget(t, id)
	}
	key := indexKey(t, "acme", endings[0])
	file := filepath.Join(i.Data, "s3", "buckets", i.S3.Evidence, key)
	original := i.stored(t, key)
	admin, err := i.S3Client(t.Context(), i.AWS.AdminProfile)
	if err != nil {
		t.Fatal(err)
	}
	bucket := aws.String(i.S3.Evidence)
	// told runs a command, and wants an exit code and findings of these kinds alone.
	told := func(what string, kinds []string, args ...string) {
		t.Helper()
		code := 0
		if slices.ContainsFunc(kinds, func(kind string) bool { return kind != evidence.IndexMade }) {
			code = 6
		}
		out, complaint, got, err := i.CLI(t.Context(), i.url, home, "acme/olivia", append(append([]string{"audit"}, args...), "--json")...)
		var status evidence.ReindexStatus
		if err == nil {
			err = json.NewDecoder(strings.NewReader(out)).Decode(&status)
		}
		if err != nil || got != code {
			t.Fatalf("%s: %s ends with %d, want %d (%v)\n%s%s", what, args, got, code, err, out, complaint)
		}
		var found []string
		for _, f := range status.Findings {
			found = append(found, f.What)
		}
		if slices.Sort(found); !slices.Equal(found, kinds) || status.Endings != 2 {
			t.Errorf("%s: %s finds %+v among %d endings, want %q", what, args, status.Findings, status.Endings, kinds)
		}
	}
	lists := func(what string, want ...string) {
		t.Helper()
		if got := foundBy(t, olivia, client.EvidenceFilter{}); !slices.Equal(got, want) {
			t.Errorf("%s: the list has %q, want %q", what, got, want)
		}
	}
	verify := []string{"list", "--verify"}
	told("untouched", nil, verify...)
	told("untouched", nil, "reindex", "--bundles")
	lists("untouched", "two", "one")
	if out, complaint, code, err := i.CLI(t.Context(), i.url, t.TempDir(), "acme/alice", "audit", "reindex"); err != nil || code == 0 || !strings.Contains(out+complaint, "not-entitled") && !strings.Contains(out+complaint, "compliance") {
		t.Errorf("a reindexing by an approver ends with %d, %v: %s%s", code, err, out, complaint)
	}

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	told("deleted", []string{evidence.IndexMissing}, verify...)
	lists("deleted", "two")
	told("deleted", []string{evidence.IndexMissing}, "reindex", "--dry-run")
	lists("only said", "two")
	told("deleted", []string{evidence.IndexMade}, "reindex")
	told("made whole", nil, verify...)
	lists("made whole", "two", "one")
	if made := i.stored(t, key); !bytes.Equal(made, original) {
		t.Errorf("it was made as\n%s\nand was\n%s", made, original)
	}

	hidden, err := admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	told("hidden", []string{evidence.IndexHidden}, verify...)
	lists("hidden", "two", "one")
	// take takes away a version that is not locked.
	take := func(key string, version *string) {
		t.Helper()
		if _, err := admin.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String(key), VersionId: version}); err != nil {
			t.Fatal(err)
		}
	}
	take(key, hidden.VersionId)

	put := func(key string, body []byte) *string {
		t.Helper()
		out, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String(key), Body: bytes.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		return out.VersionId
	}
	over := put(key, bytes.ReplaceAll(original, []byte("Supply agreement"), []byte("Nothing of note!")))
	told("written over", []string{evidence.IndexChanged}, verify...)
	if got := foundBy(t, olivia, client.EvidenceFilter{Text: "supply"}); len(got) != 2 {
		t.Errorf("written over, the words find %q", got)
	}
	take(key, over)

	var r evidence.IndexRecord
	if err := json.Unmarshal(original, &r); err != nil {
		t.Fatal(err)
	}
	r.Logged = r.Logged.Add(-time.Hour)
	extra, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	second := put(r.Key(), extra)
	stray := put("acme/index/2026/stray.json", []byte("{}"))
	told("others added", []string{evidence.IndexExtra, evidence.IndexExtra}, verify...)
	take(r.Key(), second)
	take("acme/index/2026/stray.json", stray)
	told("taken away", nil, verify...)

	// Another one in its place, of what the log says, and of what the bundle alone does. It is the first version there.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]struct {
		from, to string
		args     []string
	}{
		"another bundle": {endings[0].Evidence.Object.SHA256, strings.Repeat("0", 64), verify},
		"another title":  {"Supply agreement", "Nothing of note!", []string{"reindex", "--dry-run", "--bundles"}},
	} {
		if !bytes.Contains(original, []byte(change.from)) || len(change.from) != len(change.to) {
			t.Fatalf("%s: %q can't be put for %q", what, change.to, change.from)
		}
		forged := put(key, bytes.ReplaceAll(original, []byte(change.from), []byte(change.to)))
		told(what, []string{evidence.IndexDiffers}, change.args...)
		take(key, forged)
	}
	// The same bytes, and what is true by the log alone, under no lock, or one that ends soon: the store itself would let them be taken away.
	for _, body := range [][]byte{original, bytes.ReplaceAll(original, []byte("Supply agreement"), []byte("Nothing of note!"))} {
		free := put(key, body)
		told("without a lock", []string{evidence.IndexUnlocked}, verify...)
		told("without a lock", []string{evidence.IndexUnlocked}, "reindex")
		take(key, free)
	}
	_, err = admin.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: bucket, Key: aws.String(key), Body: bytes.NewReader(original), ObjectLockMode: s3types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(time.Hour)),
	})
	if err != nil {
		t.Fatal(err)
	}
	told("locked for an hour", []string{evidence.IndexUnlocked}, verify...)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	told("taken away", []string{evidence.IndexMade}, "reindex", "--bundles")
	// In the store itself, under the lock.
	overwrite(t, file, bytes.ReplaceAll(original, []byte("Supply"), []byte("Supple")))
	told("altered where it is stored", []string{evidence.IndexDiffers}, verify...)
	if _, unanswered := listedAll(t, olivia, client.EvidenceFilter{}); !slices.Equal(unanswered, []string{key}) {
		t.Errorf("altered where it is stored, the list could not look at %q", unanswered)
	}
	overwrite(t, file, original)
	told("put back", nil, "reindex", "--bundles")
}

// Where the tenant has a key for personal data, the index names nobody, finds whoever is looked for, and finds nobody any more whose key was shredded.
func TestR24_AShreddedPersonIsNotFoundInTheIndexAnyMore(t *testing.T) {
	as := globexAPI(t)
	g := begin(t, request(t, "globex", "supplier-contract"))
	approved(t, g)
	ending, _ := ended(t, g, countersign.Completed)
	record := oneRecord(t, "globex", ending)
	if len(record.People) > 0 || record.Requester != nil || len(record.Tags) == 0 || record.Cut {
		t.Errorf("the record is %+v", record)
	}
	raw := installation{Stack: local}.stored(t, record.Key())
	people, err := evidence.PersonalData(bundle(t, "globex", ending))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range people {
		for _, s := range p.Strings {
			if len(s) > 5 && spelled(raw, s) {
				t.Errorf("the record says %q of %s", s, p.Actor)
			}
		}
	}
	greta := as("globex/greta")
	finds := func(f client.EvidenceFilter) bool {
		f.From = record.Logged.Add(-time.Minute)
		return slices.Contains(foundBy(t, greta, f), g.Request.ID)
	}
	gina, system := local.Actor("globex/gina").String(), local.Actor("globex/procurement").String()
	for what, f := range map[string]client.EvidenceFilter{"who decided": {Person: gina}, "who requested": {Requester: system}, "both": {Person: gina, Requester: system}, "the partner": {Partner: local.Issuers["globex"].URL}} {
		if !finds(f) {
			t.Errorf("%s is not found", what)
		}
	}
	for what, f := range map[string]client.EvidenceFilter{"somebody else": {Person: local.Actor("acme/alice").String()}, "an approver as the requester": {Requester: gina}} {
		if finds(f) {
			t.Errorf("%s is found", what)
		}
	}
	proposed, err := greta.ProposeShredding(t.Context(), proposal(t, "globex/greta", "globex/gina", false))
	if err != nil {
		t.Fatal(err)
	}
	done, err := as("globex/georg").AnswerShredding(t.Context(), approval(t, "globex/georg", proposed))
	if err != nil || done.State != evidence.OrderShredded {
		t.Fatalf("the approved shredding is %+v, %v", done, err)
	}
	if finds(client.EvidenceFilter{Person: gina}) {
		t.Error("who was shredded is found")
	}
	if !finds(client.EvidenceFilter{}) || !finds(client.EvidenceFilter{Requester: system}) {
		t.Error("the others are not found any more")
	}
	if again := (installation{Stack: local}).stored(t, record.Key()); !bytes.Equal(again, raw) {
		t.Error("the record has changed")
	}
}
