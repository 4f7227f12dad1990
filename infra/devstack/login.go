package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/infra/idp/robot"
)

// loginCommand logs a person in without a browser: it is what BROWSER is set to
// for the product's command in tests and demonstrations.
func loginCommand(ctx context.Context, args []string) error {
	set, data := flags("devstack login")
	as := set.String("as", "", "`issuer/login` of the person")
	if err := parse(set, args, 1); err != nil {
		return err
	}
	dir, err := dataDirectory(*data)
	if err != nil {
		return err
	}
	s, err := readStack(dir)
	if err != nil {
		return err
	}
	person, err := s.person(*as)
	if err != nil {
		return usageError{err}
	}
	// The password must go to this stack's own provider and nowhere else.
	where, err := url.Parse(set.Arg(0))
	own, _ := url.Parse(s.Issuers[person.Issuer].URL)
	if err != nil || where.Scheme != own.Scheme || where.Host != own.Host {
		return usageError{fmt.Errorf("the URL isn't one of issuer %s", own)}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := robot.Login(ctx, set.Arg(0), person.Login, person.Password); err != nil {
		return fmt.Errorf("couldn't log in as %s: %w", *as, err)
	}
	fmt.Fprintf(os.Stderr, "logged in as %s\n", person.Name)
	return nil
}

func (s *stack) person(as string) (personInfo, error) {
	issuer, login, ok := strings.Cut(as, "/")
	if !ok {
		return personInfo{}, errors.New("--as must be issuer/login, such as acme/alice")
	}
	for _, person := range s.People {
		if person.Issuer == issuer && person.Login == login {
			return person, nil
		}
	}
	return personInfo{}, fmt.Errorf("there is nobody with the login %q at issuer %q", login, issuer)
}
