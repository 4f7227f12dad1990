package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign-dev/countersign/infra/compose/prepared"
	"github.com/countersign-dev/countersign/infra/kms"
)

func serveKMS(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("kms", flag.ContinueOnError)
	listen := set.String("listen", "127.0.0.1:9741", "`address`")
	data := set.String("data", "", "`directory` of the keys")
	region := set.String("region", "eu-central-1", "AWS region")
	credentials := set.String("credentials", "", "AWS shared credentials `file`: TENANT-worker may use its tenant's keys, TENANT-starter may decrypt with them, others are known and may nothing")
	keys := set.String("keys", "none", "`file` with the keys of a new directory, as prepare writes it")
	if err := parse(set, args); err != nil {
		return err
	}
	profiles, err := prepared.ReadProfiles(*credentials)
	if err != nil {
		return err
	}
	var known []kms.Credential
	for _, p := range profiles {
		c := kms.Credential{AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey}
		if tenant, ok := strings.CutSuffix(p.Name, "-worker"); ok {
			c.Tenant = tenant
		}
		if tenant, ok := strings.CutSuffix(p.Name, "-starter"); ok {
			c.Tenant, c.OpensAlone = tenant, true
		}
		known = append(known, c)
	}
	if *keys != "none" {
		if err := plant(*keys, *data); err != nil {
			return err
		}
	}
	service, err := kms.Open(*data, *region, known)
	if err != nil {
		return err
	}
	gate, err := openGate(profiles, *region, "127.0.0.0/8") // no policy of a key asks how requests come
	if err != nil {
		return errors.Join(err, service.Close())
	}
	return errors.Join(serve(ctx, *listen, gate.KMS(service, service), nil), service.Close())
}

// plant writes the prepared keys where there are none yet. They are written beside
// dir and renamed, so that a crash leaves no half of them.
func plant(file, dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("couldn't read the prepared keys: %w", err)
	}
	var files map[string]string
	if err := json.Unmarshal(text, &files); err != nil {
		return errors.New("couldn't read the prepared keys: the file isn't what prepare writes")
	}
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("couldn't write the prepared keys: %w", err)
	}
	for name, content := range files {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("couldn't write the prepared keys: %q leads out of the directory", name)
		}
		path := filepath.Join(fresh, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("couldn't write the prepared keys: %w", err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return fmt.Errorf("couldn't write the prepared keys: %w", err)
		}
	}
	return os.Rename(fresh, dir)
}
