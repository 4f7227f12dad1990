package idp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// Person is somebody who can log in. Subject is the sub of every token and never
// changes. Email may be empty.
//
// Password and Disabled are what a new directory starts with. An empty password
// asks for a random one. Later a password that is given replaces the kept one,
// an empty one keeps it, and the kept Disabled wins, so that SetDisabled survives
// a restart.
type Person struct {
	Login, Subject, Name, Email, Password string
	Disabled                              bool
}

// Machine is a client without a person. Its tokens have sub = Client. PublicKey
// is *ecdsa.PublicKey on P-256 or *rsa.PublicKey of at least 2048 bits; the
// machine signs with ES256, RS256 or PS256.
type Machine struct {
	Client    string
	PublicKey crypto.PublicKey
}

// Config describes one organisation's provider.
type Config struct {
	// ID names the provider: lower-case letters, digits and "-", at most 63.
	ID string
	// URL is the issuer: http on a loopback address, ending in "/" + ID.
	URL string
	// Organisation is the name the login page shows.
	Organisation string
	// Dir keeps the provider's state. It belongs to one issuer and one process.
	Dir      string
	People   []Person
	Machines []Machine
}

var idPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (c Config) check() (*url.URL, error) {
	if !idPattern.MatchString(c.ID) {
		return nil, fmt.Errorf("the id %q must be of lower-case letters, digits and \"-\", at most 63", c.ID)
	}
	issuer, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("couldn't parse the issuer's URL: %w", err)
	}
	address, err := netip.ParseAddr(issuer.Hostname())
	if issuer.Scheme != "http" || err != nil || !address.IsLoopback() {
		return nil, fmt.Errorf("the issuer %q must be http on a loopback address: this provider is for the local stack alone", c.URL)
	}
	if issuer.User != nil || issuer.RawQuery != "" || issuer.Fragment != "" || issuer.Path != "/"+c.ID {
		return nil, fmt.Errorf("the issuer %q must have the path /%s and nothing after it", c.URL, c.ID)
	}
	if c.Organisation == "" || c.Dir == "" {
		return nil, errors.New("the organisation and the directory must be given")
	}
	taken := map[string]bool{clientAPI: true, clientEvidence: true}
	logins := map[string]bool{}
	for _, person := range c.People {
		switch {
		case person.Login == "" || person.Subject == "" || person.Name == "":
			return nil, fmt.Errorf("person %q needs a login, a subject and a name", person.Login)
		case len(person.Password) > 72:
			return nil, fmt.Errorf("the password of %q is longer than the 72 bytes bcrypt reads", person.Login)
		case logins[person.Login]:
			return nil, fmt.Errorf("the login %q is given twice", person.Login)
		case taken[person.Subject]:
			return nil, fmt.Errorf("the subject %q is given twice", person.Subject)
		}
		logins[person.Login], taken[person.Subject] = true, true
	}
	for _, machine := range c.Machines {
		// A machine whose name is a person's subject would be that person to everyone who reads sub.
		if machine.Client == "" || strings.ContainsAny(machine.Client, " \t\r\n") || taken[machine.Client] {
			return nil, fmt.Errorf("the machine's client id %q is empty, has spaces or is taken", machine.Client)
		}
		taken[machine.Client] = true
		switch key := machine.PublicKey.(type) {
		case *ecdsa.PublicKey:
			if key.Curve != elliptic.P256() {
				return nil, fmt.Errorf("the key of machine %q is on %s; use P-256", machine.Client, key.Params().Name)
			}
		case *rsa.PublicKey:
			if key.N.BitLen() < 2048 {
				return nil, fmt.Errorf("the RSA key of machine %q has %d bits; use at least 2048", machine.Client, key.N.BitLen())
			}
		default:
			return nil, fmt.Errorf("the key of machine %q is %T; use *ecdsa.PublicKey or *rsa.PublicKey", machine.Client, key)
		}
	}
	return issuer, nil
}
