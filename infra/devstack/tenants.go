package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"
)

// tenantFile is the product's tenant file as this stack writes it.
type tenantFile struct {
	Tenant     string             `yaml:"tenant"`
	Name       string             `yaml:"name"`
	Brand      brand              `yaml:"brand"`
	Owner      contact            `yaml:"owner"`
	Escalation contact            `yaml:"escalation"`
	Namespace  string             `yaml:"namespace"`
	Issuers    []issuerEntry      `yaml:"issuers"`
	People     []personEntry      `yaml:"people"`
	Machines   []machineEntry     `yaml:"machines"`
	Purposes   map[string]purpose `yaml:"purposes"`
	AWS        awsEntry           `yaml:"aws"`
	KMS        kmsEntry           `yaml:"kms"`
	Log        logEntry           `yaml:"log"`
	Timestamp  timestampEntry     `yaml:"timestamp"`
	Documents  documentsEntry     `yaml:"documents"`
	Evidence   evidenceEntry      `yaml:"evidence"`
	Mail       mailEntry          `yaml:"mail"`
	Webhooks   []webhookEntry     `yaml:"webhooks"`
	Passkeys   passkeysEntry      `yaml:"passkeys"`
	SignedPDF  *signedPDFEntry    `yaml:"signedPDF,omitempty"`
}

type (
	brand struct {
		Name  string `yaml:"name"`
		Color string `yaml:"color"`
	}
	contact struct {
		Name  string `yaml:"name"`
		Email string `yaml:"email"`
	}
	issuerEntry struct {
		ID               string `yaml:"id"`
		URL              string `yaml:"url"`
		Kind             string `yaml:"kind"`
		Organisation     string `yaml:"organisation"`
		Audience         string `yaml:"audience"`
		EvidenceAudience string `yaml:"evidenceAudience"`
	}
	personEntry struct {
		Issuer  string   `yaml:"issuer"`
		Subject string   `yaml:"subject"`
		Name    string   `yaml:"name"`
		Email   string   `yaml:"email"`
		Roles   []string `yaml:"roles,flow"`
	}
	machineEntry struct {
		Issuer  string   `yaml:"issuer"`
		Subject string   `yaml:"subject"`
		Name    string   `yaml:"name"`
		Roles   []string `yaml:"roles,flow"`
	}
	purpose struct {
		Title  string  `yaml:"title"`
		Kind   string  `yaml:"kind"`
		Stages []stage `yaml:"stages"`

		Owner      *personRef  `yaml:"owner,omitempty"`
		BreakGlass *breakGlass `yaml:"breakGlass,omitempty"`
	}
	personRef struct {
		Issuer  string `yaml:"issuer"`
		Subject string `yaml:"subject"`
	}
	breakGlass struct {
		Role   string `yaml:"role"`
		Quorum int    `yaml:"quorum"`
	}
	signedPDFEntry struct {
		VisibleSeal visibleSealEntry `yaml:"visibleSeal"`
	}
	visibleSealEntry struct {
		Logo string `yaml:"logo"`
	}
	passkeysEntry struct {
		RelyingParty string   `yaml:"relyingParty"`
		Origins      []string `yaml:"origins,flow"`
	}
	stage struct {
		Name     string    `yaml:"name"`
		Role     string    `yaml:"role"`
		Quorum   int       `yaml:"quorum"`
		Within   string    `yaml:"within"`
		Beside   bool      `yaml:"beside,omitempty"`
		AtLeast  []share   `yaml:"atLeast,omitempty"`
		Without  []string  `yaml:"without,flow,omitempty"`
		Remind   []string  `yaml:"remind,flow,omitempty"`
		Escalate *escalate `yaml:"escalate,omitempty"`
	}
	share struct {
		Count  int    `yaml:"count"`
		Role   string `yaml:"role,omitempty"`
		Issuer string `yaml:"issuer,omitempty"`
	}
	escalate struct {
		After string `yaml:"after"`
		Role  string `yaml:"role"`
	}
	awsEntry struct {
		Region         string `yaml:"region"`
		WorkerProfile  string `yaml:"workerProfile"`
		StarterProfile string `yaml:"starterProfile"`
		S3             string `yaml:"s3"`
		KMS            string `yaml:"kms"`
	}
	kmsEntry struct {
		Key         string `yaml:"key"`
		Certificate string `yaml:"certificate"`
		Roots       string `yaml:"roots"`

		PostQuantum *postQuantumEntry `yaml:"postQuantum,omitempty"`
	}
	postQuantumEntry struct {
		Key       string `yaml:"key"`
		PublicKey string `yaml:"publicKey"`
	}
	logEntry struct {
		Key       string `yaml:"key"`
		PublicKey string `yaml:"publicKey"`
	}
	timestampEntry struct {
		URL    string          `yaml:"url"`
		Roots  string          `yaml:"roots"`
		Second *timestampEntry `yaml:"second,omitempty"`
	}
	documentsEntry struct {
		Bucket   string `yaml:"bucket"`
		MaxBytes int64  `yaml:"maxBytes"`
	}
	evidenceEntry struct {
		Bucket        string `yaml:"bucket"`
		Retention     string `yaml:"retention"`
		ReleaseWithin string `yaml:"releaseWithin"`

		PersonalDataKey string `yaml:"personalDataKey,omitempty"`
	}
	mailEntry struct {
		SMTP string `yaml:"smtp"`
		From string `yaml:"from"`
	}
	webhookEntry struct {
		URL        string `yaml:"url"`
		SecretFile string `yaml:"secretFile"`
	}
)

const tenantHeader = "# Written by the devstack at each start. To change something, copy the file and edit the copy.\n"

func tenantFileName(dir, tenant string) string { return filepath.Join(dir, "tenants", tenant+".yaml") }

func sealFileName(dir, tenant string) string {
	return filepath.Join(dir, "tenants", tenant+"-seal.pem")
}

func issuerURL(p ports, id string) string { return p.url("idp-"+id) + "/" + id }

// add adds what is for larger tenants: boards and emergencies are acme's alone: globex stays small, so that tests can change it by a word.
func (f *tenantFile) add(t tenantCast, owner string) {
	if t.has("board") {
		// Two of the board, at least one of them counsel, and nobody of the reseller; finance beside it; owners may help out after two days.
		f.Purposes["board-resolution"] = purpose{Title: "Board resolution", Kind: "consent", Stages: []stage{
			{Name: "board", Role: "board", Quorum: 2, Within: "96h", AtLeast: []share{{Count: 1, Role: "counsel"}}, Without: []string{"nord"}, Remind: []string{"24h"}},
			{Name: "finance", Role: "finance", Quorum: 1, Within: "96h", Beside: true, Remind: []string{"24h"}, Escalate: &escalate{After: "48h", Role: "owner"}},
		}}
	}
	if t.has("duty-officer") {
		contract := f.Purposes["supplier-contract"]
		contract.Owner, contract.BreakGlass = &personRef{t.id, owner}, &breakGlass{Role: "duty-officer", Quorum: 1}
		f.Purposes["supplier-contract"] = contract
	}
}

// writeTenant writes a tenant's file. Paths in it are relative to it, so that the
// data directory can be moved. With anyIssuer the file trusts every identity provider.
func writeTenant(dir string, p ports, t tenantCast, key kmsEntry, log logEntry, personalDataKey string, anyIssuer, single bool) error {
	owner := findPerson(t.id, t.owner)
	file := tenantFile{
		Tenant:     t.id,
		Name:       t.name,
		Brand:      brand{Name: t.brand, Color: t.color},
		Owner:      contact{owner.Name, owner.Email},
		Escalation: contact{t.brand + " legal desk", "legal-desk@" + t.id + ".example"},
		Namespace:  t.id,
		Machines:   []machineEntry{{Issuer: t.id, Subject: "procurement", Name: t.brand + " procurement", Roles: []string{"requester"}}},
		Purposes: map[string]purpose{
			"supplier-contract": {Title: "Supplier contract", Kind: "consent", Stages: []stage{
				{Name: "legal", Role: "legal", Quorum: 1, Within: "72h"},
				{Name: "counsel", Role: "counsel", Quorum: 1, Within: "72h"},
			}},
			"resale-agreement": {Title: "Resale agreement", Kind: "procurement", Stages: []stage{
				{Name: "legal", Role: "legal", Quorum: 1, Within: "72h"},
				{Name: "reseller", Role: "reseller", Quorum: 1, Within: "72h"},
			}},
			"internal-policy": {Title: "Internal policy", Kind: "consent", Stages: []stage{
				{Name: "finance", Role: "finance", Quorum: 1, Within: "72h"},
			}},
		},
		AWS:       awsEntry{Region: region, WorkerProfile: t.id + "-worker", StarterProfile: t.id + "-starter", S3: p.url("s3"), KMS: p.url("kms")},
		KMS:       key,
		Log:       log,
		Timestamp: timestampEntry{URL: p.url("tsa") + "/", Roots: "../ca/tsa-ca.pem"},
		Documents: documentsEntry{Bucket: "documents", MaxBytes: 50 << 20},
		Evidence:  evidenceEntry{Bucket: "evidence", Retention: "24h", ReleaseWithin: "1h", PersonalDataKey: personalDataKey},
		Mail:      mailEntry{SMTP: p.address("smtp"), From: "signing@" + t.id + ".example"},
		Webhooks:  []webhookEntry{{URL: p.url("mail") + "/hooks/" + t.id, SecretFile: "../webhooks/" + t.id + ".secret"}},
		// Browsers take localhost as a site of its own (Web Authentication Level 3, section 5.1.3).
		Passkeys: passkeysEntry{RelyingParty: "localhost", Origins: []string{"http://localhost:8080"}},
	}
	if !single {
		file.Timestamp.Second = &timestampEntry{URL: p.url("tsa-second") + "/", Roots: "../ca/tsa-second-ca.pem"}
	}
	trusted := append([]string{t.id}, t.partners...)
	for _, o := range organisations {
		if anyIssuer && !slices.Contains(trusted, o.id) {
			trusted = append(trusted, o.id)
		}
	}
	file.add(t, owner.Subject)
	if t.logo {
		logo, err := writeLogo(dir, t)
		if err != nil {
			return fmt.Errorf("couldn't draw the logo of tenant %s: %w", t.id, err)
		}
		file.SignedPDF = &signedPDFEntry{visibleSealEntry{Logo: logo}}
	}
	for i, id := range trusted {
		kind := "home"
		if i > 0 {
			kind = "partner"
		}
		file.Issuers = append(file.Issuers, issuerEntry{
			ID: id, URL: issuerURL(p, id), Kind: kind, Organisation: findOrganisation(id).name,
			Audience: clientAPI, EvidenceAudience: clientEvidence,
		})
	}
	for _, role := range t.roles {
		person := findPerson(role.issuer, role.login)
		file.People = append(file.People, personEntry{
			Issuer: role.issuer, Subject: person.Subject, Name: person.Name, Email: person.Email, Roles: role.roles,
		})
	}
	text, err := yaml.Marshal(file)
	if err == nil {
		err = writePrivate(tenantFileName(dir, t.id), append([]byte(tenantHeader), text...))
	}
	if err != nil {
		return fmt.Errorf("couldn't write the file of tenant %s: %w", t.id, err)
	}
	return nil
}
