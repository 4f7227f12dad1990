package evidence

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// renewals is an authority that renews, with certificates of ten years, and some files.
type renewals struct {
	*world
	files [][]byte
}

func newRenewals(t testing.TB, files int) *renewals {
	t.Helper()
	w := &renewals{world: newWorld(t, elliptic.P256())}
	w.tsaRoot = lasting(t, caTemplate("TSA root"), nil)
	w.tsaCA = lasting(t, caTemplate("TSA CA"), w.tsaRoot)
	w.roots.TSAs = poolOf(w.tsaRoot)
	w.tsa.tsa = lasting(t, tsaTemplate(t), w.tsaCA)
	w.tsa.parents, w.tsa.roots = []*x509.Certificate{w.tsaCA.cert}, w.roots.TSAs
	for i := range files {
		w.files = append(w.files, fmt.Appendf(nil, "file %d", i))
	}
	return w
}

func lasting(t testing.TB, template x509.Certificate, issuer *certified) *certified {
	t.Helper()
	template.NotBefore, template.NotAfter = sealedAt.AddDate(-1, 0, 0), sealedAt.AddDate(10, 0, 0)
	return issue(t, template, newKey(t, elliptic.P256()), issuer)
}

// renew stamps all files anew at an instant.
func (w *renewals) renew(t testing.TB, records [][]byte, hash crypto.Hash, at time.Time) [][]byte {
	t.Helper()
	w.tsa.at = at
	items := make([]RenewalItem, len(w.files))
	for i, f := range w.files {
		items[i].Digest = sum(hash, f)
		if records != nil {
			items[i].Record = records[i]
		}
	}
	out, err := Renew(t.Context(), items, hash, w.tsa)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Any number of files share one token. A record is about its own file and, as the standard has it, the neighbour whose digest stands in the same first list.
func TestRenewalOfABatch(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 5, 8, 13} {
		w := newRenewals(t, n)
		records := w.renew(t, nil, crypto.SHA512, sealedAt)
		if w.tsa.calls != 1 {
			t.Errorf("%d files asked for %d tokens", n, w.tsa.calls)
		}
		for i, record := range records {
			for j, file := range w.files {
				stamps, err := VerifyRenewal(record, file, w.roots)
				if i != j && i^1 == j {
					continue
				}
				if i != j {
					wantFailure(t, err, "renewal", "the hash tree is not about this")
				} else if err != nil || len(stamps) != 1 || stamps[0].Hash != crypto.SHA512 || !stamps[0].Time.Equal(sealedAt) {
					t.Errorf("%d files: record %d: %+v, %v", n, i, stamps, err)
				}
			}
		}
	}
}

// A renewal of a renewal goes into the same chain where the digest stays, and begins another chain where it changes.
func TestR11_RenewalOfARenewal(t *testing.T) {
	t.Parallel()
	// What was renewed together has one token, and so one leaf for all of it in the next time-stamp of the same chain.
	for _, files := range []int{2, 3, 4, 5, 6, 7, 8, 13} {
		renewRenewals(t, files)
	}
}

func renewRenewals(t *testing.T, files int) {
	t.Helper()
	w := newRenewals(t, files)
	first := w.renew(t, nil, crypto.SHA256, sealedAt)
	second := w.renew(t, first, crypto.SHA256, sealedAt.AddDate(1, 0, 0))
	third := w.renew(t, second, crypto.SHA512, sealedAt.AddDate(2, 0, 0))
	fourth := w.renew(t, third, crypto.SHA512, sealedAt.AddDate(3, 0, 0))
	for i, record := range fourth {
		stamps, err := VerifyRenewal(record, w.files[i], w.roots)
		if err != nil {
			t.Fatal(err)
		}
		var hashes []crypto.Hash
		for _, s := range stamps {
			hashes = append(hashes, s.Hash)
		}
		if !slices.Equal(hashes, []crypto.Hash{crypto.SHA256, crypto.SHA256, crypto.SHA512, crypto.SHA512}) {
			t.Errorf("record %d has %v", i, hashes)
		}
		if r, err := parseRecord(record); err != nil || len(r.chains) != 2 {
			t.Errorf("record %d: %v", i, err)
		}
		_, err = VerifyRenewal(record, []byte("another file"), w.roots)
		wantFailure(t, err, "renewal", "the hash tree is not about this")
	}
}

// Files of several batches, and new ones, are renewed together: each record leads from its own file to the one token.
func TestR11_RecordsOfSeveralBatchesAreRenewedTogether(t *testing.T) {
	t.Parallel()
	w := newRenewals(t, 12)
	all := w.files
	var records [][]byte
	for batch := range 3 { // of 4, 3 and 2 files; three more have no record
		w.files = all[len(records):][:4-batch]
		records = append(records, w.renew(t, nil, crypto.SHA256, sealedAt.AddDate(0, batch, 0))...)
	}
	w.files, records = all, append(records, make([][]byte, 3)...)
	for i, record := range w.renew(t, records, crypto.SHA256, sealedAt.AddDate(1, 0, 0)) {
		stamps, err := VerifyRenewal(record, w.files[i], w.roots)
		if want := min(2, 1+len(records[i])); err != nil || len(stamps) != want {
			t.Errorf("record %d has %d time-stamps, want %d: %v", i, len(stamps), want, err)
		}
		other := (i + 5) % len(w.files) // of another batch, or new
		_, err = VerifyRenewal(record, w.files[other], w.roots)
		wantFailure(t, err, "renewal", "the hash tree is not about this")
	}
}

// Others write a tree for one file, too: a list with its digest alone. It stands for that digest.
func TestAListOfOneMemberIsThatMember(t *testing.T) {
	t.Parallel()
	w := newRenewals(t, 1)
	leaf := sum(crypto.SHA512, w.files[0])
	record := func(stamped []byte) []byte {
		w.tsa.at = sealedAt
		token, err := w.tsa.Stamp(t.Context(), stamped)
		if err != nil {
			t.Fatal(err)
		}
		return mustMarshal(t, &evidenceRecord{chains: [][]archiveStamp{{{hash: crypto.SHA512, tree: [][][]byte{{leaf}}, token: token}}}})
	}
	if _, err := VerifyRenewal(record(leaf), w.files[0], w.roots); err != nil {
		t.Error(err)
	}
	_, err := VerifyRenewal(record(sum(crypto.SHA512, leaf)), w.files[0], w.roots)
	wantFailure(t, err, "timestamp", "token is for another imprint")
}

// TestRenewalsThatAreRefused forges records with an authority that stamps whatever it is asked to.
func TestRenewalsThatAreRefused(t *testing.T) {
	t.Parallel()
	year := func(n int) time.Time { return sealedAt.AddDate(n, 0, 0) }
	for name, c := range map[string]struct {
		forge func(t *testing.T, w *renewals) []byte
		text  string
	}{
		"renewed before it was stamped": {func(t *testing.T, w *renewals) []byte {
			return w.renew(t, w.renew(t, nil, crypto.SHA512, year(2)), crypto.SHA512, year(1))[0]
		}, "before the one that it renews"},
		"renewed too late": {func(t *testing.T, w *renewals) []byte {
			w.tsa.tsa = issue(t, tsaTemplate(t), newKey(t, elliptic.P256()), w.tsaCA) // it ends a year after sealedAt
			short := w.renew(t, nil, crypto.SHA512, sealedAt)
			w.tsa.tsa = lasting(t, tsaTemplate(t), w.tsaCA)
			return w.renew(t, short, crypto.SHA512, year(2))[0]
		}, "when the certificates of the one that it renews had ended"},
		"by an authority of theirs": {func(t *testing.T, w *renewals) []byte {
			other := newRenewals(t, 2)
			return other.renew(t, nil, crypto.SHA512, sealedAt)[0]
		}, "unknown authority"},
		"a time-stamp left out": {func(t *testing.T, w *renewals) []byte {
			r := mustParse(t, w.renew(t, w.renew(t, nil, crypto.SHA512, year(0)), crypto.SHA512, year(1))[0])
			r.chains[0] = r.chains[0][1:]
			return mustMarshal(t, r)
		}, "token is for another imprint"},
		"a chain left out": {func(t *testing.T, w *renewals) []byte {
			r := mustParse(t, w.renew(t, w.renew(t, nil, crypto.SHA256, year(0)), crypto.SHA512, year(1))[0])
			r.chains = r.chains[1:]
			return mustMarshal(t, r)
		}, "the hash tree is not about this"},
		"another record's first chain": {func(t *testing.T, w *renewals) []byte {
			records := w.renew(t, w.renew(t, nil, crypto.SHA256, year(0)), crypto.SHA512, year(1))
			again := mustParse(t, w.renew(t, nil, crypto.SHA256, year(0))[0])
			r := mustParse(t, records[0])
			r.chains[0] = again.chains[0]
			return mustMarshal(t, r)
		}, "the hash tree is not about this"},
		"two digests in a chain": {func(t *testing.T, w *renewals) []byte {
			r := mustParse(t, w.renew(t, nil, crypto.SHA512, year(0))[0])
			other := mustParse(t, w.renew(t, nil, crypto.SHA256, year(1))[0])
			r.chains[0] = append(r.chains[0], other.chains[0][0])
			return mustMarshal(t, r)
		}, "two digest algorithms"},
		"another token": {func(t *testing.T, w *renewals) []byte {
			r := mustParse(t, w.renew(t, nil, crypto.SHA512, year(0))[0])
			token, err := w.tsa.Stamp(t.Context(), sum(crypto.SHA512, []byte("something else")))
			if err != nil {
				t.Fatal(err)
			}
			r.chains[0][0].token = token
			return mustMarshal(t, r)
		}, "another imprint"},
		"a neighbour in its own place": {func(t *testing.T, w *renewals) []byte {
			r := mustParse(t, w.renew(t, nil, crypto.SHA512, year(0))[0])
			r.chains[0][0].tree[0] = [][]byte{sum(crypto.SHA512, w.files[0])}
			return mustMarshal(t, r)
		}, "another imprint"},
		"no chain":        {func(*testing.T, *renewals) []byte { return []byte{0x30, 7, 2, 1, 1, 0x30, 0, 0x30, 0} }, "has no time-stamp"},
		"garbage":         {func(*testing.T, *renewals) []byte { return []byte("hello") }, "couldn't read the evidence record"},
		"a trailing byte": {func(t *testing.T, w *renewals) []byte { return append(w.renew(t, nil, crypto.SHA512, year(0))[0], 0) }, "couldn't read the evidence record"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			w := newRenewals(t, 2)
			_, err := VerifyRenewal(c.forge(t, w), w.files[0], w.roots)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("refused for %q, want %q", err, c.text)
			}
		})
	}
}

// TestR11_EachForgedByteOfARenewalIsRefused leaves no byte of an evidence record free.
func TestR11_EachForgedByteOfARenewalIsRefused(t *testing.T) {
	t.Parallel()
	w := newRenewals(t, 3)
	record := w.renew(t, w.renew(t, w.renew(t, nil, crypto.SHA256, sealedAt), crypto.SHA256, sealedAt.AddDate(1, 0, 0)), crypto.SHA512, sealedAt.AddDate(2, 0, 0))[1]
	for i := range record {
		for _, mask := range []byte{0xff, 1 << (i % 8), 1 << ((i + 3) % 8)} {
			record[i] ^= mask
			if _, err := VerifyRenewal(record, w.files[1], w.roots); err == nil {
				t.Errorf("byte %d of %d flipped by %#02x is accepted", i, len(record), mask)
			}
			record[i] ^= mask
		}
	}
	if _, err := VerifyRenewal(record, w.files[1], w.roots); err != nil {
		t.Errorf("the test has harmed its record: %v", err)
	}
}

// A bundle's renewal must have begun while the bundle's own time-stamp held.
func TestRenewalOfABundle(t *testing.T) {
	t.Parallel()
	w := newRenewals(t, 0)
	raw := mustSeal(t, w.world)
	w.files = [][]byte{raw}
	facts, err := mustOpen(t, raw).VerifySeal(w.roots)
	if err != nil {
		t.Fatal(err)
	}
	if want := w.tsa.tsa.cert.NotAfter; !facts.StampUntil.Equal(want) {
		t.Errorf("the seal's time-stamp holds until %s, want %s", facts.StampUntil, want)
	}
	say := func(until time.Time, at time.Time) Finding {
		r := &Report{Seal: &SignatureFacts{StampTime: facts.StampTime, StampUntil: until}}
		r.Renewed(w.renew(t, nil, crypto.SHA512, at)[0], raw, w.roots)
		return r.Findings[0]
	}
	if f := say(facts.StampUntil, sealedAt.AddDate(1, 0, 0)); f.State != Pass || !strings.Contains(f.Detail, "SHA-512") {
		t.Errorf("%+v", f)
	}
	if f := say(sealedAt.AddDate(0, 6, 0), sealedAt.AddDate(1, 0, 0)); f.State != Fail || !strings.Contains(f.Detail, "had ended") {
		t.Errorf("renewed after its time-stamp had ended: %+v", f)
	}
	if f := say(facts.StampUntil, sealedAt.AddDate(0, -1, 0)); f.State != Fail || !strings.Contains(f.Detail, "before the one that it renews") {
		t.Errorf("renewed before it was sealed: %+v", f)
	}
}

func TestWhatIsDueForRenewal(t *testing.T) {
	t.Parallel()
	ends := sealedAt.AddDate(1, 0, 0)
	seal := SignatureFacts{StampUntil: ends, Hash: crypto.SHA256}
	renewed := []RenewalStamp{{Hash: crypto.SHA256, Until: ends}, {Hash: crypto.SHA512, Until: ends.AddDate(5, 0, 0)}}
	rules := func(now time.Time, ending ...crypto.Hash) RenewalRules {
		return RenewalRules{Now: now, Within: 90 * 24 * time.Hour, Ending: ending}
	}
	for name, c := range map[string]struct {
		rules  RenewalRules
		stamps []RenewalStamp
		want   string
	}{
		"long before":                  {rules(sealedAt), nil, ""},
		"its certificate ends":         {rules(ends.AddDate(0, -1, 0)), nil, "the certificates of the seal's time-stamp end on 2028-03-02"},
		"its certificate ended":        {rules(ends.AddDate(0, 1, 0)), nil, "the certificates of the seal's time-stamp end on 2028-03-02"},
		"its digest ends":              {rules(sealedAt, crypto.SHA256), nil, "the seal's time-stamp stands on SHA-256, which is listed as ending"},
		"renewed":                      {rules(ends.AddDate(0, -1, 0), crypto.SHA256), renewed, ""},
		"the renewal's digest ends":    {rules(sealedAt, crypto.SHA512), renewed, "the last renewal stands on SHA-512, which is listed as ending"},
		"the renewal's authority ends": {rules(ends.AddDate(5, -1, 0)), renewed, "the certificates of the last renewal end on 2033-03-02"},
	} {
		if got := c.rules.Due(seal, c.stamps); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestRenewRefusesWhatItCannotStamp(t *testing.T) {
	t.Parallel()
	w := newRenewals(t, 1)
	for text, items := range map[string][]RenewalItem{
		"a batch of 0 files":                {},
		"a batch of 1001 files":             make([]RenewalItem, MaxRenewalBatch+1),
		"file 1 has a digest of 32 bytes":   {{Digest: make([]byte, 32)}},
		"couldn't read the evidence record": {{Digest: make([]byte, 64), Record: []byte("hello")}},
	} {
		_, err := Renew(t.Context(), items, crypto.SHA512, w.tsa)
		wantFailure(t, err, "renewal", text)
	}
	if w.tsa.calls != 0 {
		t.Error("the authority was asked")
	}
}

func FuzzVerifyRenewal(f *testing.F) {
	w := newRenewals(f, 2)
	record := w.renew(f, w.renew(f, nil, crypto.SHA256, sealedAt), crypto.SHA512, sealedAt.AddDate(1, 0, 0))[0]
	f.Add(record)
	f.Fuzz(func(t *testing.T, forged []byte) {
		if _, err := VerifyRenewal(forged, w.files[0], w.roots); err == nil && !bytes.Equal(forged, record) {
			t.Fatal("accepted a forgery")
		}
	})
}

func mustParse(t *testing.T, der []byte) *evidenceRecord {
	t.Helper()
	r, err := parseRecord(der)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustMarshal(t *testing.T, r *evidenceRecord) []byte {
	t.Helper()
	der, err := r.marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}
