package countersign_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
)

// goodSettings is a tenant's file without a fault; the tests break one thing of it at a time.
func goodSettings(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/settings/acme.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func parsedSettings(t testing.TB) *countersign.Settings {
	t.Helper()
	s, err := countersign.ParseSettings("acme.yaml", []byte(goodSettings(t)))
	if err != nil {
		t.Fatalf("the good file is refused: %v", err)
	}
	return s
}

func TestParseSettingsReadsAGoodFile(t *testing.T) {
	t.Parallel()
	s := parsedSettings(t)
	if want := countersign.SHA256([]byte(goodSettings(t))); s.Digest() != want {
		t.Errorf("digest is %s, want that of the file, %s", s.Digest(), want)
	}
	if got := time.Duration(s.Purposes["supplier-contract"].Stages[1].Within); got != 5*24*time.Hour {
		t.Errorf("5d was read as %s", got)
	}
	if got := time.Duration(s.Evidence.Retention); got != 3650*24*time.Hour {
		t.Errorf("3650d was read as %s", got)
	}
	m, ok := s.Member(countersign.Actor{Issuer: "https://id.counsel.example/realms/one", Subject: "carla"})
	if !ok || m.Kind != "partner" || m.Organisation != "Counsel LLP" || m.Email != "carla@counsel.example" {
		t.Errorf("carla is %+v, %v", m, ok)
	}
	m, ok = s.Member(countersign.Actor{Issuer: "https://id.acme.example", Subject: "procurement"})
	if !ok || m.Kind != "machine" {
		t.Errorf("procurement is %+v, %v", m, ok)
	}
	if _, ok := s.Member(countersign.Actor{Issuer: "https://id.acme.example", Subject: "carla"}); ok {
		t.Error("carla of another issuer is taken for carla")
	}
	if i, ok := s.Issuer("https://id.acme.example"); !ok || i.Partner() {
		t.Errorf("the home issuer is %+v, %v", i, ok)
	}
	if _, ok := s.Issuer("https://id.acme.example/"); ok {
		t.Error("an issuer with a slash is taken for the one without")
	}
}

func TestParseSettingsFillsInTheSizeOfADocument(t *testing.T) {
	t.Parallel()
	s, err := countersign.ParseSettings("acme.yaml", []byte(strings.Replace(goodSettings(t), "  maxBytes: 1048576\n", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if s.Documents.MaxBytes != 50<<20 {
		t.Errorf("maxBytes is %d, want 50 MiB", s.Documents.MaxBytes)
	}
}

// change is one fault: old is replaced by new, and the fault must be told at the line of at (new's first line, if at is empty).
type change struct{ name, old, new, at, message string }

func settingsFaults() []change {
	return []change{
		{"unknown key", "namespace: acme\n", "namespace: acme\nnamespaces: acme\n", "namespaces:", "namespaces"},
		{"unknown nested key", "    audience: countersign\n", "    audience: countersign\n    audiences: x\n", "    audiences:", "audiences"},
		{"key given twice", "namespace: acme\n", "namespace: acme\nname: Again\n", "name: Again", `"name" already defined`},
		{"wrong kind of value", "quorum: 2", "quorum: two", "", "two"},
		{"bad period", "within: 72h", "within: soon", "", `"soon" is not a period: write 90m, 72h or 30d`},
		{"period without unit", "within: 72h", "within: 72", "", `"72" is not a period`},
		{"period of mixed days", "within: 72h", "within: 1d12h", "", `"1d12h" is not a period`},
		{"period that overflows", "within: 72h", "within: 99999999999d", "", "is not a period"},

		{"tenant with a capital", "tenant: acme\n", "tenant: Acme\n", "", `tenant "Acme" is not a name`},
		{"tenant of one letter", "tenant: acme\n", "tenant: a\n", "", `tenant "a" is not a name`},
		{"tenant with a slash", "tenant: acme\n", "tenant: ac/me\n", "", "is not a name"},
		{"name missing", "name: Acme Corporation\nbrand:", "brand:", "tenant:", "name is missing"},
		{"name blank", "name: Acme Corporation\nbrand:", "name: \"  \"\nbrand:", "name: \"  \"", "name is missing"},
		{"namespace missing", "namespace: acme\n", "", "tenant:", "namespace is missing"},
		{"owner's name missing", "  name: Olga Owner\n", "", "owner:", "owner.name is missing"},
		{"owner's mail", "olga@acme.example", "olga", "  email: olga", `owner.email "olga" is not a mail address`},
		{"escalation with a display name", "desk@acme.example", "Desk <desk@acme.example>", "", "is not a mail address"},

		{"issuer url with slash", "url: https://id.acme.example\n", "url: https://id.acme.example/\n", "    url: https://id.acme", "without a slash at the end"},
		{"issuer url of another scheme", "url: https://id.acme.example\n", "url: ldap://id.acme.example\n", "    url: ldap", "must be an http(s) URL"},
		{"issuer url without host", "url: https://id.acme.example\n", "url: https:///x\n", "    url: https:///x", "must be an http(s) URL"},
		{"issuer url with a password", "url: https://id.acme.example\n", "url: https://me:you@id.acme.example\n", "    url: https://me", "must be an http(s) URL"},
		// OpenID Connect Discovery 1.0, section 4: an issuer has no query and no fragment. '#' also parts issuer and subject in Actor.String.
		{"issuer url with fragment", "url: https://id.acme.example\n", "url: https://id.acme.example#one\n", "    url: https://id.acme.example#one", "issuer url"},
		{"issuer url with query", "url: https://id.acme.example\n", "url: https://id.acme.example?realm=one\n", "    url: https://id.acme.example?", "issuer url"},
		{"issuer url used twice", "url: https://id.counsel.example/realms/one", "url: https://id.acme.example", "    url: https://id.acme.example\n    kind: partner", "used once"},
		{"issuer id used twice", "  - id: counsel\n", "  - id: acme\n", "  - id: acme\n    url: https://id.counsel", `issuer id "acme" must be a name, and used once`},
		{"issuer of unknown kind", "kind: partner", "kind: friend", "", `issuer kind "friend" is neither home nor partner`},
		{"issuer without organisation", "    organisation: Counsel LLP\n", "", "  - id: counsel", "issuers[1].organisation is missing"},
		{"issuer without audience", "    audience: countersign\n", "", "  - id: acme", "issuers[0].audience is missing"},
		{"same audiences", "evidenceAudience: countersign-evidence", "evidenceAudience: countersign", "    evidenceAudience: countersign\n", "audience and evidenceAudience must differ"},

		{"person of unknown issuer", "  - issuer: counsel\n", "  - issuer: nobody\n", "", `issuer "nobody" is not among the issuers of this file`},
		{"person listed twice", "subject: liam", "subject: lena", "    subject: lena\n    name: Liam", "lena at acme is listed twice"},
		{"person listed as a machine too", "subject: procurement", "subject: liam", "    subject: liam\n    name: Acme", "liam at acme is listed twice"},
		{"person without subject", "    subject: lena\n", "", "  - issuer: acme\n    name: Lena", "subject is missing"},
		{"person without name", "    name: Lena Legal\n", "", "  - issuer: acme\n    subject: lena", "people[0].name is missing"},
		{"person's mail", "lena@acme.example", "lena.acme.example", "", "is not a mail address"},
		{"machine of unknown issuer", "  - issuer: acme\n    subject: procurement", "  - issuer: robots\n    subject: procurement", "  - issuer: robots", `issuer "robots" is not among`},
		{"subject too long", "subject: lena", "subject: " + strings.Repeat("x", 256), "", "subject"},

		{"purpose without title", "    title: Supplier contract\n", "", "  supplier-contract:", "purposes.supplier-contract.title is missing"},
		{"purpose that is no name", "  supplier-contract:\n", "  Supplier Contract:\n", "  Supplier Contract:", "is not a name"},
		{"stage that is no name", "- name: counsel\n", "- name: Counsel!\n", "", "must be a name"},
		{"stage used twice", "- name: counsel\n", "- name: legal\n", "      - name: legal\n        role: counsel", "used once in its purpose"},
		{"quorum larger than its people", "quorum: 2", "quorum: 3", "", `stage "legal" needs 3 approvals, but only 2 people hold the role "legal"`},
		{"one person for two stages", "roles: [legal, compliance]\n  - issuer: counsel\n    subject: carla\n    name: Carla Counsel\n    email: carla@counsel.example\n    roles: [counsel]", "roles: [legal, counsel]", "        quorum: 1", `stages "legal" and "counsel" need 3 approvals together, but only 2 people hold their roles; nobody counts twice`},
		{"quorum of none", "quorum: 2", "quorum: 0", "", "quorum is 0; the least is 1"},
		{"quorum below none", "quorum: 2", "quorum: -1", "", "quorum is -1; the least is 1"},
		{"role of machines alone", "role: counsel", "role: requester", "        quorum: 1", `only 0 people hold the role "requester"`},
		{"period of nothing", "within: 72h", "within: 0h", "", "within must be more than 0"},
		{"period in the past", "within: 72h", "within: -3d", "", "within must be more than 0"},
		{"period of more than a year", "within: 72h", "within: 367d", "", "at most 366d"},

		{"first stage beside another", "- name: legal\n", "- name: legal\n        beside: true\n", "        beside: true", "the first stage can't open beside another"},
		{"named person without the role", "quorum: 2", "quorum: 1\n        people: [{issuer: counsel, subject: carla}]", "        people:", `carla of issuer "counsel" is nobody of this file who holds the role "legal"`},
		{"share of nobody", "quorum: 2", "quorum: 2\n        atLeast: [{count: 1, role: director}]", "        atLeast:", `needs at least 1 of the role "director" among its approvals, but only 0 of its people are that`},
		{"share of anybody", "quorum: 2", "quorum: 2\n        atLeast: [{count: 1}]", "        atLeast:", "a share of anybody is the quorum itself"},
		{"share of none", "quorum: 2", "quorum: 2\n        atLeast: [{count: 0, role: legal}]", "        atLeast:", "count is 0; the least is 1"},
		{"share of an unknown issuer", "quorum: 2", "quorum: 2\n        atLeast: [{count: 1, issuer: nowhere}]", "        atLeast:", `issuer "nowhere" is not among the issuers`},
		{"shares beyond the quorum", "quorum: 2", "quorum: 2\n        atLeast: [{count: 3, role: legal}]", "        atLeast:", "the shares need 3 approvals, but the quorum is 2"},
		{"shares that one person would fill twice", "quorum: 2", "quorum: 2\n        atLeast: [{count: 2, role: compliance}]", "        atLeast:", `needs at least 2 of the role "compliance" among its approvals, but only 1 of its people are that`},
		{"without an unknown issuer", "quorum: 2", "quorum: 2\n        without: [nowhere]", "        without:", `"nowhere" is not among the issuers of this file, and not "requester"`},
		{"without everybody", "quorum: 2", "quorum: 2\n        without: [acme]", "        quorum: 2", `only 0 people hold the role "legal"`},
		{"reminder after the deadline", "within: 72h", "within: 72h\n        remind: [73h]", "        remind:", "73h0m0s before the deadline must be more than 0 and less than the stage's 72h0m0s"},
		{"reminders without end", "within: 72h", "within: 72h\n        remind: [1h, 2h, 3h, 4h, 5h, 6h]", "        remind:", "give at most 5"},
		{"escalation after the deadline", "within: 72h", "within: 72h\n        escalate: {after: 72h, role: counsel}", "        escalate:", "after must be more than 0 and less than the stage's 72h0m0s"},
		{"escalation to the same people", "within: 72h", "within: 72h\n        escalate: {after: 24h, role: legal}", "        escalate:", "name one that adds people"},
		{"escalation to nobody", "within: 72h", "within: 72h\n        escalate: {after: 24h, role: board}", "        escalate:", `nobody who may have a part in this stage holds the role "board"`},

		{"region missing", "  region: eu-central-1\n", "", "aws:", "aws.region is missing"},
		{"alias instead of ARN", "111122223333:key/0d1e2f3a-0000-4000-8000-000000000001", "111122223333:alias/acme", "  key: arn", "an alias can be pointed at another key"},
		{"bare alias", "key: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000001", "key: alias/acme", "", `kms.key "alias/acme" must be a key's ARN`},
		{"the log's key is the seal's", "key: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000002", "key: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000001", "  key: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000001\n  publicKey:", "must be the ARN of a key of its own"},
		{"the log's key by an alias", "key: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000002", "key: arn:aws:kms:eu-central-1:111122223333:alias/log", "", "must be the ARN of a key of its own"},
		{"another tenant's log", "publicKey: countersign/acme+", "publicKey: countersign/globex+", "", "log.publicKey \"countersign/globex+"},
		{"the post-quantum key is the seal's", "key: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000003", "key: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000001", "    key: arn:", "kms.postQuantum.key"},
		{"the post-quantum key is the log's", "key: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000003", "key: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000002", "    key: arn:", "kms.postQuantum.key"},
		{"the post-quantum key by an alias", "111122223333:key/0d1e2f3a-0000-4000-8000-000000000003", "111122223333:alias/pq", "    key: arn:", "kms.postQuantum.key"},
		{"no public half of the post-quantum key", "    publicKey: acme-postquantum.pem\n", "", "  postQuantum:", "kms.postQuantum.publicKey is missing"},
		{"bare key id", "arn:aws:kms:eu-central-1:111122223333:key/", "", "  key: 0d1e", "must be a key's ARN"},
		{"certificate missing", "  certificate: acme-seal.pem\n", "", "kms:\n  key:", "kms.certificate is missing"},
		{"time-stamp url", "url: https://tsa.example/stamp", "url: tsa.example", "", `timestamp.url "tsa.example" is not an http(s) URL`},
		{"second time-stamp url", "  roots: tsa-roots.pem\n", "  roots: tsa-roots.pem\n  second: {url: tsa.example, roots: x.pem}\n", "  second: {url", `timestamp.second.url "tsa.example" is not an http(s) URL`},
		{"second time-stamp roots", "  roots: tsa-roots.pem\n", "  roots: tsa-roots.pem\n  second: {url: \"https://other.example/\"}\n", "  second: {url", "timestamp.second.roots is missing"},
		{"the same time-stamp authority twice", "  roots: tsa-roots.pem\n", "  roots: tsa-roots.pem\n  second: {url: \"https://tsa.example/stamp\", roots: x.pem}\n", "  second: {url", "timestamp.second.url is the first one's"},
		{"same bucket twice", "bucket: acme-evidence", "bucket: acme-documents", "  bucket: acme-documents\n  retention", "documents and evidence need two buckets"},
		{"documents of no size", "maxBytes: 1048576", "maxBytes: 0", "", "documents.maxBytes is 0"},
		{"documents too large", "maxBytes: 1048576", "maxBytes: 536870913", "", "documents.maxBytes is 536870913"},
		{"retention too short", "retention: 3650d", "retention: 59m", "", "evidence.retention must be at least 1h"},
		{"swept too often", "releaseWithin: 24h", "releaseWithin: 24h\nwatch:\n  sweepEvery: 1s", "  sweepEvery: 1s", "watch.sweepEvery is 1s; give 1m to 31d"},
		{"checked too seldom", "releaseWithin: 24h", "releaseWithin: 24h\nwatch:\n  checkEvery: 32d", "  checkEvery: 32d", "watch.checkEvery is 768h0m0s; give 1m to 31d"},
		{"a sample too large", "releaseWithin: 24h", "releaseWithin: 24h\nwatch:\n  sample: 201", "  sample: 201", "watch.sample is 201; give 1 to 200"},
		{"no time to finish", "releaseWithin: 24h", "releaseWithin: 24h\nwatch:\n  unfinishedAfter: -1h", "  unfinishedAfter: -1h", "watch.unfinishedAfter must be more than 0"},
		{"a source that is neither on nor off", "releaseWithin: 24h", "releaseWithin: 24h\n  source: \"no\"", "  source:", `evidence.source "no" must be on or off`},
		{"no time to release", "releaseWithin: 24h", "releaseWithin: 0s", "", "evidence.releaseWithin must be more than 0"},
		{"the key for personal data is the seal's", "releaseWithin: 24h", "releaseWithin: 24h\n  personalDataKey: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000001", "  personalDataKey:", "must be the ARN of a key of its own"},
		{"the key for personal data is the log's", "releaseWithin: 24h", "releaseWithin: 24h\n  personalDataKey: arn:aws:kms:eu-central-1:111122223333:key/0d1e2f3a-0000-4000-8000-000000000002", "  personalDataKey:", "must be the ARN of a key of its own"},
		{"the key for personal data by an alias", "releaseWithin: 24h", "releaseWithin: 24h\n  personalDataKey: arn:aws:kms:eu-central-1:111122223333:alias/personal", "  personalDataKey:", "must be the ARN of a key of its own"},
		{"the key for personal data by its id", "releaseWithin: 24h", "releaseWithin: 24h\n  personalDataKey: 0d1e2f3a-0000-4000-8000-000000000009", "  personalDataKey:", "must be the ARN of a key of its own"},
		{"smtp without port", "smtp: smtp.acme.example:587", "smtp: smtp.acme.example", "", "must be host:port"},
		{"sender of mails", "from: signing@acme.example", "from: nobody", "", `mail.from "nobody" is not a mail address`},
		{"webhook url", "url: https://procurement.acme.example/hooks", "url: ftp://procurement.acme.example", "", "webhook url"},
		{"webhook without secret", "    secretFile: hook.secret\n", "", "  - url: https://procurement", "webhooks[0].secretFile is missing"},
	}
}

func TestParseSettingsTellsEachFaultWithItsLine(t *testing.T) {
	t.Parallel()
	good := goodSettings(t)
	for _, c := range settingsFaults() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if strings.Count(good, c.old) == 0 {
				t.Fatalf("the good file has no %q", c.old)
			}
			text := strings.Replace(good, c.old, c.new, 1)
			at := c.at
			if at == "" {
				at = strings.SplitN(c.new, "\n", 2)[0]
			}
			place := strings.Index(text, at)
			if place < 0 {
				t.Fatalf("the broken file has no %q", at)
			}
			line := strings.Count(text[:place], "\n") + 1
			s, err := countersign.ParseSettings("acme.yaml", []byte(text))
			if err == nil || s != nil {
				t.Fatal("accepted")
			}
			want := fmt.Sprintf("acme.yaml:%d: ", line)
			for _, told := range strings.Split(err.Error(), "\n") {
				if strings.HasPrefix(told, want) && strings.Contains(told, c.message) {
					return
				}
			}
			t.Errorf("told\n%s\nwant a line that starts with %q and says %q", err, want, c.message)
		})
	}
}

func TestParseSettingsTellsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	text := goodSettings(t)
	for old, replacement := range map[string]string{"quorum: 2": "quorum: 9", "smtp: smtp.acme.example:587": "smtp: x", "kind: partner": "kind: foe"} {
		text = strings.Replace(text, old, replacement, 1)
	}
	_, err := countersign.ParseSettings("acme.yaml", []byte(text))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"needs 9 approvals", "must be host:port", "neither home nor partner"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told in\n%s", want, err)
		}
	}
}

func TestParseSettingsOfAnEmptyTenantNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := countersign.ParseSettings("acme.yaml", []byte("tenant: acme\n"))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"acme.yaml:1: name is missing", "issuers: name at least", "purposes: name at least one", "aws.region is missing",
		"kms.key", "timestamp.roots is missing", "documents.bucket is missing", "evidence.retention", "mail.smtp",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told in\n%s", want, err)
		}
	}
}

func TestParseSettingsRefusesWhatIsNoTenantsFile(t *testing.T) {
	t.Parallel()
	good := goodSettings(t)
	for name, text := range map[string]string{
		"empty":             "",
		"only a comment":    "# nothing\n",
		"a list":            "- tenant: acme\n",
		"no YAML":           "tenant: [acme\n",
		"a second document": good + "---\ntenant: other\n",
		"more than 1 MiB":   good + "#" + strings.Repeat("x", 1<<20),
		"many aliases":      "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := countersign.ParseSettings("acme.yaml", []byte(text))
			if err == nil || s != nil {
				t.Fatal("accepted")
			}
			if !strings.HasPrefix(err.Error(), "acme.yaml:") {
				t.Errorf("%q doesn't name the file", err)
			}
		})
	}
}

func TestR16_PlaceIsTheFileAndTheLineOfASetting(t *testing.T) {
	t.Parallel()
	s := parsedSettings(t)
	lines := strings.Split(goodSettings(t), "\n")
	for _, c := range []struct {
		path []any
		line string
	}{
		{[]any{"namespace"}, "namespace: acme"},
		{[]any{"issuers", 1}, "  - id: counsel"},
		{[]any{"kms", "certificate"}, "  certificate: acme-seal.pem"},
		{[]any{"webhooks", 0, "secretFile"}, "    secretFile: hook.secret"},
		{[]any{"aws", "nothing"}, "aws:"},
	} {
		var n int
		if _, err := fmt.Sscanf(s.Place(c.path...), "acme.yaml:%d", &n); err != nil || n < 1 || lines[n-1] != c.line {
			t.Errorf("%v is placed at %s, want the line %q", c.path, s.Place(c.path...), c.line)
		}
	}
	fault := s.Fault(errors.New("doesn't answer"), "issuers", 1)
	if want := s.Place("issuers", 1) + ": issuers[1]: doesn't answer"; fault.Error() != want {
		t.Errorf("the fault is told as %q, want %q", fault, want)
	}
	if got := (&countersign.Settings{Tenant: "acme"}).Place("kms"); !strings.Contains(got, "acme") {
		t.Errorf("settings without a file are placed at %q", got)
	}
}

func TestActorStringIsReadBackAsTheSameActor(t *testing.T) {
	t.Parallel()
	for _, a := range []countersign.Actor{
		{Issuer: "https://id.acme.example", Subject: "lena"},
		{Issuer: "https://id.acme.example/realms/one", Subject: "a#b"},
		{Issuer: "http://127.0.0.1:8080/acme", Subject: "https://id.acme.example#x"},
	} {
		got, ok := countersign.ParseActor(a.String())
		if !ok || got != a {
			t.Errorf("%q was read as %+v, %v", a.String(), got, ok)
		}
	}
	for _, s := range []string{"", "#", "lena", "https://id.acme.example", "https://id.acme.example#", "#lena", "worker/acme", "countersign-platform#worker/acme", "https://u:p@id.acme.example#lena"} {
		if a, ok := countersign.ParseActor(s); ok {
			t.Errorf("%q was read as the actor %+v", s, a)
		}
	}
}

func FuzzParseSettings(f *testing.F) {
	good := goodSettings(f)
	f.Add([]byte(good))
	for _, c := range settingsFaults() {
		f.Add([]byte(strings.Replace(good, c.old, c.new, 1)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := countersign.ParseSettings("fuzz.yaml", raw)
		if (s == nil) == (err == nil) {
			t.Fatalf("settings %v, error %v", s, err)
		}
		if err != nil {
			return
		}
		if err := countersign.CheckTenantID(s.Tenant); err != nil {
			t.Error(err)
		}
		for name, p := range s.Purposes {
			r := countersign.Request{Tenant: s.Tenant, Purpose: name}
			plan, refusal := s.Plan(r, countersign.Actor{}, time.Unix(1_700_000_000, 0))
			if refusal != nil {
				t.Errorf("accepted settings have a purpose without a plan: %v", refusal)
			} else if len(plan.Stages) != len(p.Stages) {
				t.Errorf("plan has %d stages of %d", len(plan.Stages), len(p.Stages))
			}
		}
	})
}
