package main

import (
	"slices"

	"github.com/countersign-dev/countersign/infra/idp"
)

const (
	region         = "eu-central-1"
	clientAPI      = "countersign"
	clientEvidence = "countersign-evidence"
)

// organisation has an identity provider of its own.
type organisation struct {
	id, name string
	people   []idp.Person
	machine  string
}

var organisations = []organisation{
	{id: "acme", name: "Acme Corporation", machine: "procurement", people: []idp.Person{
		{Login: "alice", Subject: "a-1001", Name: "Alice Ahn", Email: "alice@acme.example"},
		{Login: "ben", Subject: "a-1002", Name: "Ben Brandt", Email: "ben@acme.example"},
		{Login: "olivia", Subject: "a-1003", Name: "Olivia Ortiz", Email: "olivia@acme.example"},
		{Login: "dave", Subject: "a-1004", Name: "Dave Dunn", Email: "dave@acme.example", Disabled: true},
		{Login: "cora", Subject: "a-1005", Name: "Cora Castle", Email: "cora@acme.example"},
		{Login: "colin", Subject: "a-1006", Name: "Colin Cole", Email: "colin@acme.example"},
	}},
	{id: "globex", name: "Globex GmbH", machine: "procurement", people: []idp.Person{
		{Login: "gina", Subject: "g-2001", Name: "Gina Gross", Email: "gina@globex.example"},
		{Login: "paul", Subject: "g-2002", Name: "Paul Petit", Email: "paul@globex.example"},
		{Login: "greta", Subject: "g-2003", Name: "Greta Graf", Email: "greta@globex.example"},
		{Login: "georg", Subject: "g-2004", Name: "Georg Gold", Email: "georg@globex.example"},
	}},
	{id: "hart", name: "Hart & Lowe LLP", machine: "casework", people: []idp.Person{
		{Login: "carol", Subject: "h-3001", Name: "Carol Hart", Email: "carol@hart.example"},
		{Login: "chris", Subject: "h-3002", Name: "Chris Lowe", Email: "chris@hart.example"},
		{Login: "hugo", Subject: "h-3003", Name: "Hugo Hale", Email: "hugo@hart.example"},
	}},
	{id: "nord", name: "Nordwind Resale", machine: "orders", people: []idp.Person{
		{Login: "rhea", Subject: "n-4001", Name: "Rhea Rask", Email: "rhea@nord.example"},
		{Login: "remy", Subject: "n-4002", Name: "Remy Roth", Email: "remy@nord.example"},
		{Login: "rona", Subject: "n-4003", Name: "Rona Ruud", Email: "rona@nord.example"},
	}},
}

// tenantCast says who has which role in a tenant. Chris of Hart & Lowe works for
// both tenants and Carol for Acme alone; their colleague Hugo and Hart's machine casework
// work for nobody.
// Rhea of Nordwind sells for both; her colleagues Remy and Rona are known to the tenants
// and may do nothing there, until somebody grants them a part of their authority.
type tenantCast struct {
	id, name, brand, color, owner string
	logo                          bool // its signatures show a seal with a logo
	partners                      []string
	roles                         []castRole
}

type castRole struct {
	issuer, login string
	roles         []string
}

var tenants = []tenantCast{
	{id: "acme", name: "Acme Corporation", brand: "Acme", color: "#0b6e4f", logo: true, owner: "olivia", partners: []string{"hart", "nord"}, roles: []castRole{
		{"acme", "alice", []string{"legal", "board"}},
		{"acme", "ben", []string{"finance", "requester", "board", "duty-officer"}},
		{"acme", "olivia", []string{"owner", "compliance", "board"}},
		{"acme", "dave", []string{"legal"}},
		{"acme", "cora", []string{"compliance"}},
		{"acme", "colin", []string{"compliance"}},
		{"hart", "carol", []string{"counsel", "board"}},
		{"hart", "chris", []string{"counsel", "board"}},
		{"nord", "rhea", []string{"reseller"}},
		{"nord", "remy", nil},
		{"nord", "rona", nil},
	}},
	{id: "globex", name: "Globex GmbH", brand: "Globex", color: "#1f4e8c", owner: "gina", partners: []string{"hart", "nord"}, roles: []castRole{
		{"globex", "gina", []string{"legal"}},
		{"globex", "paul", []string{"finance", "requester"}},
		{"globex", "greta", []string{"compliance"}},
		{"globex", "georg", []string{"compliance"}},
		{"hart", "chris", []string{"counsel"}},
		{"nord", "rhea", []string{"reseller"}},
		{"nord", "remy", nil},
	}},
}

// has says whether anybody holds a role in the tenant.
func (t tenantCast) has(role string) bool {
	return slices.ContainsFunc(t.roles, func(r castRole) bool { return slices.Contains(r.roles, role) })
}

func findOrganisation(id string) organisation {
	for _, o := range organisations {
		if o.id == id {
			return o
		}
	}
	return organisation{}
}

func findPerson(issuer, login string) idp.Person {
	for _, person := range findOrganisation(issuer).people {
		if person.Login == login {
			return person
		}
	}
	return idp.Person{}
}
