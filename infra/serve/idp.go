package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"os"

	"gopkg.in/yaml.v3"

	"github.com/countersign-dev/countersign/infra/compose/prepared"
	"github.com/countersign-dev/countersign/infra/idp"
)

func serveIDP(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("idp", flag.ContinueOnError)
	listen := set.String("listen", "127.0.0.1:9742", "`address`; the issuer's URL stays what the file says")
	data := set.String("data", "", "`directory` of the provider's state")
	file := set.String("config", "", "`file` with the issuer, its people and machines, as prepare writes it")
	if err := parse(set, args); err != nil {
		return err
	}
	config, err := readProvider(*file)
	if err != nil {
		return fmt.Errorf("couldn't read the provider's file %s: %w", *file, err)
	}
	config.Dir = *data
	provider, err := idp.Open(config)
	if err != nil {
		return err
	}
	return serve(ctx, *listen, provider, nil)
}

func readProvider(name string) (idp.Config, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return idp.Config{}, err
	}
	var p prepared.Provider
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&p); err != nil {
		return idp.Config{}, err
	}
	config := idp.Config{ID: p.ID, URL: p.URL, Organisation: p.Organisation}
	for _, person := range p.People {
		config.People = append(config.People, idp.Person{
			Login: person.Login, Subject: person.Subject, Name: person.Name, Email: person.Email, Password: person.Password, Disabled: person.Disabled,
		})
	}
	for _, machine := range p.Machines {
		block, _ := pem.Decode([]byte(machine.Key))
		if block == nil {
			return idp.Config{}, fmt.Errorf("the key of machine %q isn't PEM", machine.Client)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return idp.Config{}, fmt.Errorf("the key of machine %q: %w", machine.Client, err)
		}
		config.Machines = append(config.Machines, idp.Machine{Client: machine.Client, PublicKey: key})
	}
	return config, nil
}
