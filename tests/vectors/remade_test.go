package vectors

import (
	"bytes"
	"flag"
	"fmt"
	"hash/crc32"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// signing is a signing whose evidence is made anew, once as it was and then with each change of its history.
type signing struct {
	name    string
	history *historypb.History
	outcome countersign.Outcome
	pdf     []byte // the approved document; nil where nothing is released
	w       *world
	asIs    bool // the keys that the history names stay as they are

	mu     sync.Mutex
	signed map[string][]byte // by what was approved
}

// base reads a bundle, or a history as JSON, and leaves the post-quantum signature out: whoever makes a seal anew can leave that out as well, and only who has
// the tenant's key for it finds that.
func base(t testing.TB, w *world, name, file string, outcome countersign.Outcome) *signing {
	t.Helper()
	s := &signing{name: name, outcome: outcome, w: w, signed: map[string][]byte{}}
	raw := read(t, file)
	if strings.HasSuffix(file, ".json") {
		s.history = must(evidence.ParseHistoryJSON(raw))
	} else {
		b := must(evidence.OpenBundle(raw))
		pb, _ := b.File("history.pb")
		s.history = must(evidence.ParseHistory(pb))
		s.pdf, _ = b.File("document.pdf")
		if whole, ok := b.File("document-signed.pdf"); ok {
			s.pdf = whole[:must(evidence.ReadHistory(s.history)).Admission.Document.Bytes]
		}
	}
	for _, at := range s.places() {
		if n, err := parseNode(at.payload.Data); err == nil && at.name == "Admit.result" {
			for i, key := range n.keys {
				if key == "postQuantum" {
					at.payload.Data = []byte(n.without(i).String())
				}
			}
		}
	}
	return s
}

// place is a payload that evidence is read from, by the name of what it belongs to.
type place struct {
	name    string
	payload *commonpb.Payload
}

func (s *signing) places() []place { return placesOf(s.history) }

func placesOf(h *historypb.History) (list []place) {
	scheduled := map[int64]string{}
	add := func(name string, p *commonpb.Payloads) {
		for _, payload := range p.GetPayloads() {
			list = append(list, place{name, payload})
		}
	}
	for _, e := range h.Events {
		add("start", e.GetWorkflowExecutionStartedEventAttributes().GetInput())
		if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
			add(a.SignalName, a.Input)
		}
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			scheduled[e.EventId] = a.GetActivityType().GetName()
			add(scheduled[e.EventId]+".input", a.Input)
		}
		if a := e.GetActivityTaskCompletedEventAttributes(); a != nil {
			add(scheduled[a.ScheduledEventId]+".result", a.Result)
		}
		add("end", e.GetWorkflowExecutionCompletedEventAttributes().GetResult())
	}
	return list
}

// remake makes the evidence of a changed history, as whoever has the tenant's keys can, seals and time-stamps it in good order, and verifies it. It returns nil where no
// such evidence can be made.
func (s *signing) remake(t testing.TB, h *historypb.History) (report *evidence.Report) {
	t.Helper()
	defer func() {
		if fault := recover(); fault != nil {
			t.Errorf("it panics: %v\n%s", fault, debug.Stack())
			report = nil
		}
	}()
	files := s.files(t, h)
	if files == nil {
		return nil
	}
	bundle, err := evidence.SealFile(t.Context(), files, s.w.signer, s.w.stamps, s.w.at, s.w.roots)
	if err != nil {
		return nil
	}
	defer bundle.Close()
	raw, err := bundle.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return evidence.Verify(bytes.Clone(raw), s.w.roots) // the report outlives the bundle
}

// files are those of such evidence: the document is signed anew where it has to be, and everything that follows from the history is derived from it.
func (s *signing) files(t testing.TB, h *historypb.History) []evidence.File {
	t.Helper()
	c, err := evidence.ReadHistory(h)
	if err != nil {
		return nil
	}
	m := evidence.Material{History: h, Key: s.w.facts, Worker: evidence.Worker{Build: "vectors", Revision: "not recorded"}, Seal: evidence.SealInput{Outcome: s.outcome}}
	if c.Result != nil {
		m.Seal.Detail = c.Result.Detail
		if s.outcome != countersign.Voided && c.Result.Outcome.Valid() {
			m.Seal.Outcome = c.Result.Outcome
		}
	} else {
		m.Seal.Outcome, m.Seal.Detail = countersign.Failed, evidence.DetailBroken
		if c.Closing == "terminated" {
			m.Seal.Outcome, m.Seal.Detail = countersign.Terminated, evidence.DetailTerminated
		}
	}
	if m.Seal.Outcome == countersign.Voided {
		m.Seal.Detail = evidence.DetailVoided
	}
	if !s.asIs {
		keyAnew(h, c, s.w.facts.ARN)
	}
	if c, err = evidence.ReadHistory(h); err != nil {
		return nil
	}
	released := m.Seal.Outcome == countersign.Completed && c.Admission != nil && c.Intent != nil && c.Signature != nil && s.pdf != nil
	if released {
		if c, err = s.sign(t, h, c, &m); err != nil {
			return nil
		}
	} else if c.Admission != nil && c.Admission.Context.Document.SHA256 == countersign.SHA256(s.pdf) {
		m.Document = s.pdf
	}
	m.Case = c
	files, err := evidence.Assemble(m)
	if err != nil {
		return nil
	}
	return files
}

// sign signs the document by the forger's key and has the history say so.
func (s *signing) sign(t testing.TB, h *historypb.History, c *evidence.Case, m *evidence.Material) (*evidence.Case, error) {
	a := c.Admission
	stamps := s.w.stamps
	stamps.at = c.Signature.At.Truncate(time.Second)
	inside := a.Context.SignedAs != ""
	approved := evidence.ApprovedPDF{
		Bytes: a.Document.Bytes, SHA256: a.Context.Document.SHA256, At: c.Intent.At, Seal: evidence.VisibleSealOf(a.Context, a.Digest, c.Input.Request.ID),
	}
	key := text([]any{inside, approved.Bytes, approved.SHA256, approved.At, approved.Seal, stamps.at})
	s.mu.Lock()
	defer s.mu.Unlock()
	signature, ok := s.signed[key]
	if !ok {
		var err error
		if inside {
			signature, err = evidence.SignPDF(t.Context(), bytes.NewReader(s.pdf), approved, s.w.signer, stamps)
		} else {
			signature, err = evidence.SignDetached(t.Context(), s.pdf, s.w.signer, stamps, stamps.at)
		}
		if err != nil {
			return nil, err
		}
		s.signed[key] = signature
	}
	if inside {
		m.Signed = append(bytes.Clone(s.pdf), signature...)
		signature = m.Signed
	} else {
		m.Document, m.Signature = s.pdf, signature
	}
	was := text(c.Signature)
	now := *c.Signature
	now.Object.SHA256, now.At, now.Key, now.Algorithm = countersign.SHA256(signature), stamps.at, s.w.facts.ARN, s.w.facts.Algorithm
	for _, p := range placesOf(h) {
		if p.name == "Sign.result" || p.name == "end" {
			p.payload.Data = bytes.ReplaceAll(p.payload.Data, []byte(was), []byte(text(now)))
		}
	}
	return evidence.ReadHistory(h)
}

// keyAnew has the intent and the signature name the forger's key, where they named the tenant's own.
func keyAnew(h *historypb.History, c *evidence.Case, key string) {
	if c.Intent == nil {
		return
	}
	was, now := *c.Intent, *c.Intent
	now.Key = key
	if was.Stored != nil {
		stored := *was.Stored
		now.Stored = nil
		stored.SHA256 = countersign.SHA256(must(countersign.Canonical(now)))
		now.Stored = &stored
	}
	for _, p := range placesOf(h) {
		if p.name == "Intend.result" {
			p.payload.Data = []byte(text(now))
		}
	}
	for _, p := range placesOf(h) {
		if c.Signature != nil && (p.name == "Sign.result" || p.name == "end") {
			p.payload.Data = bytes.ReplaceAll(p.payload.Data, []byte(`"key":`+text(was.Key)), []byte(`"key":`+text(key)))
		}
	}
}

// digestsAnew puts digests that fit into a changed history, wherever the old ones stood, as whoever makes the evidence anew can.
func digestsAnew(h *historypb.History) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("no digests: %v", r)
		}
	}()
	swap := func(from, to string) {
		if from == to || len(from) != 64 {
			return
		}
		for _, p := range placesOf(h) {
			p.payload.Data = bytes.ReplaceAll(p.payload.Data, []byte(from), []byte(to))
		}
	}
	read := func() *evidence.Case { return must(evidence.ReadHistory(h)) }
	if a := read().Admission; a == nil || a.Refusal != nil {
		return nil
	}
	swap(read().Admission.Context.Policy, countersign.SHA256([]byte(read().Admission.PolicyText)))
	swap(read().Admission.Context.Plan, must(read().Admission.Plan.Digest()))
	swap(read().Admission.Context.Request, must(read().Input.Request.Fingerprint()))
	if read().Admission.Context.Issuers != "" {
		swap(read().Admission.Context.Issuers, must(countersign.IssuersDigest(read().Admission.Issuers)))
	}
	swap(read().Admission.Digest, must(read().Admission.Context.Digest()))
	for i := range read().Decisions {
		d := read().Decisions[i]
		signed, err := countersign.ParseSignedDecision(d.Input.Signed)
		if err != nil || d.Check == nil {
			continue
		}
		swap(d.Check.Record.Digest, must(signed.Decision.Digest()))
	}
	return nil
}

// The ways in which a change is made: at its place alone, or as consistently as can be, wherever the same stands.
var ways = []string{"alone", "everywhere"}

// changed is a copy of the history with an edit made at one place in one way; nil where that is no other history than the way before makes.
func (s *signing) changed(at int, e edit, way string) *historypb.History {
	h := proto.Clone(s.history).(*historypb.History)
	all := placesOf(h)
	from, to := e.from, e.to
	byValue := e.op != "removed" && e.op != "added" && len(from) > 10 && from[0] == '"'
	switch {
	case way == "alone":
		all[at].payload.Data = []byte(e.whole)
		return h
	case e.key != "" && !byValue:
		from, to = text(e.key)+":"+from, text(e.key)+":"+to
	}
	touched := 0
	for i, p := range all {
		if n := bytes.Count(p.payload.Data, []byte(from)); n > 0 {
			touched += n
			p.payload.Data = bytes.ReplaceAll(p.payload.Data, []byte(from), []byte(to))
		} else if i == at {
			return nil
		}
	}
	if byValue {
		for _, ev := range h.Events {
			if ev.Principal != nil && strings.Contains(ev.Principal.Name, strings.Trim(from, `"`)) {
				ev.Principal.Name = strings.ReplaceAll(ev.Principal.Name, strings.Trim(from, `"`), strings.Trim(to, `"`))
				touched++
			}
		}
	}
	if err := digestsAnew(h); err != nil || proto.Equal(h, s.history) {
		return nil
	}
	return h
}

// trial is one change, made in one way.
type trial struct {
	name string // of what is changed, and how
	how  string // for people
	make func() *historypb.History
}

// trials are all changes of a signing that this harness knows. Of those that differ in values alone, the first few.
func (s *signing) trials(known donors) (list []trial) {
	seen := map[string]int{}
	for at, p := range s.places() {
		n, err := parseNode(p.payload.Data)
		if err != nil {
			continue
		}
		known.edits(p.name, "", n, func(n *node) *node { return n }, func(e edit) {
			name := e.path + " " + e.op
			if seen[name+e.to] > 0 || seen[name] >= 2 {
				return
			}
			seen[name+e.to]++
			seen[name]++
			for _, way := range ways {
				list = append(list, trial{name + ", " + way, fmt.Sprintf("%.200s -> %.200s", e.from, e.to), func() *historypb.History { return s.changed(at, e, way) }})
			}
		})
	}
	for _, c := range eventChanges(s.history) {
		list = append(list, trial{c.name, "", func() *historypb.History {
			h := proto.Clone(s.history).(*historypb.History)
			c.make(h)
			if proto.Equal(h, s.history) {
				return nil
			}
			return h
		}})
	}
	return list
}

// survivors are the changes of a signing after which its evidence still verifies, by their names, of those that are wanted.
func (s *signing) survivors(t testing.TB, known donors, wanted func(name string) bool) (found map[string]string, tried int) {
	t.Helper()
	found = map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan trial)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for c := range next {
				h := c.make()
				if h == nil {
					continue
				}
				r := s.remake(t, h)
				mu.Lock()
				tried++
				if r != nil && r.Err() == nil && found[c.name] == "" {
					found[c.name] = c.how
				}
				mu.Unlock()
			}
		})
	}
	for _, c := range s.trials(known) {
		if wanted(c.name) {
			next <- c
		}
	}
	close(next)
	wg.Wait()
	return found, tried
}

// allowed is what may be changed without any check finding it, and why that is no forgery. docs/evidence-format.md has the same reasons in its table of what is not proven.
var allowed = []struct{ pattern, why string }{
	{`^(Admit\.input|start)\.custodian\.run`, "the tenant's word: which run kept the saga"},
	{`^Admit\.(input\.startedAt|result\.at|result\.question\.now) `, "clocks may be a minute apart"},
	{`^Admit\.result\.document`, "the tenant's word: how many pages were counted, and bytes where the document is not in the bundle"},
	{`releaseWithin`, "the tenant's word: its own limit"},
	{`^Admit\.result\.requester\.(name|kind|roles)|principal\.(roles|kind)|holderRoles`, "the tenant's word: names, roles and machines"},
	{`\.authority\.people`, "the tenant's word: the names of those in a chain"},
	{`^AppendLog\.(input\.at|result)`, "the log's key finds it, where it is given"},
	{`issuers|^CheckDecision\.input\.purpose`, "contexts of version 1 name no identity providers, and checks of then no purpose"},
	{`^CheckDecision\.input\.(stages|decided)`, "which other stages were open; nobody is not another nobody"},
	{`^decide\.id |signed\.id |record\.id `, "the sender's own id of a message, which the proof is not about"},
	{`key\.(alg|kid|use) `, "notes beside an archived key, which change no signature"},
	{`\.(given|taken|proven)(\.at)? another`, "the instant of a check, within the token's lifetime"},
	{`\.(used|counter) `, "how often a grant or key was used: its own workflow's word"},
	{`^Intend\.result\.(stored\.(bucket|versionId|sha256)|key)|^(Sign\.result|end\.signature)`, "where it was stored, and KMS's name of the call; or made anew by this test"},
	{`^Notify\.|^Notify ended|^end\.told`, "the tenant's word: who was told, and whether it arrived"},
	{`^end\.records`, "replay finds it"},
	{`(assurance|depth|parent|reason|refusal|delegators|kind|userVerified|acr|amr) (removed|emptied)`, "an empty member means the same as none"},
	{` by (nobody|somebody else)$`, "nobody's principal is read but that of signals, and the closing event's is the tenant's word"},
	{`^(workflowtask|timer|markerrecorded|upsert|workflowexecutioncompleted)`, "not read; the end is bounded by the stamp on the seal"},
	{` after `, "the order of what doesn't depend on one another"},
	{`^signal decide doubled$`, "what repeats a decision that counted is shown as not looked at"},
	{`^all two hours later$`, "bounded by the stamp on the seal and those of the decisions"},
}

var everyChange = flag.Bool("every-change", false, "try each change of a signing's history, in place of a sample; takes minutes")

// TestR13_WhoeverHasTheTenantsKeysCanChangeNothingThatEvidenceProves makes the evidence of a signing anew, with each of its history's records changed: the seal, the document's signature
// and every digest fit, as whoever runs the tenant's systems could have it. Without -every-change it tries a sample, always the same.
func TestR13_WhoeverHasTheTenantsKeysCanChangeNothingThatEvidenceProves(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for _, f := range []string{signed + "tsa-ca.pem", "remade/tsa-ca.pem"} {
		w.roots.TSAs.AppendCertsFromPEM(read(t, f))
	}
	all := []*signing{
		base(t, w, "signed under a grant, by passkeys", "remade/lent.asice.gz", countersign.Completed),
		base(t, w, "expired", signed+"expired.json", countersign.Expired),
	}
	known := donors{}
	for _, s := range all {
		for _, p := range s.places() {
			if n, err := parseNode(p.payload.Data); err == nil {
				known.learn(p.name, n)
			}
		}
	}
	var why []*regexp.Regexp
	for _, a := range allowed {
		why = append(why, regexp.MustCompile(a.pattern))
	}
	for _, s := range all {
		if r := s.remake(t, proto.Clone(s.history).(*historypb.History)); r == nil {
			t.Fatalf("%s: it can't be made anew as it was", s.name)
		} else if err := r.Err(); err != nil {
			t.Fatalf("%s: made anew as it was it doesn't hold: %v", s.name, err)
		}
		found, tried := s.survivors(t, known, func(name string) bool {
			return *everyChange || crc32.ChecksumIEEE([]byte(name))%64 == 0
		})
		for name, how := range found {
			if !slices.ContainsFunc(why, func(r *regexp.Regexp) bool { return r.MatchString(name) }) {
				t.Errorf("%s: nobody finds %s: %s", s.name, name, how)
			}
		}
		t.Logf("%s: %d changes were tried, %d change nothing that is proven", s.name, tried, len(found))
		if tried < 20 || tried == len(found) {
			t.Errorf("%s: %d changes were tried, and %d survive", s.name, tried, len(found))
		}
	}
}
