package main

import (
	"context"
	"flag"

	"github.com/countersign-dev/countersign/infra/tsa"
)

func serveTSA(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("tsa", flag.ContinueOnError)
	listen := set.String("listen", "127.0.0.1:9745", "`address`")
	data := set.String("data", "", "`directory` of the authority's keys and certificates")
	if err := parse(set, args); err != nil {
		return err
	}
	authority, err := tsa.Open(*data)
	if err != nil {
		return err
	}
	return serve(ctx, *listen, authority, nil)
}
