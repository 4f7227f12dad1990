package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/countersign-dev/countersign/infra/objectstore"
)

const adminProfile = "admin"

// profile is an entry of the AWS shared credentials file.
type profile struct {
	name, tenant, role string
	key                objectstore.Credential
}

func profileNames() []profile {
	profiles := []profile{{name: adminProfile}}
	for _, t := range tenants {
		for _, role := range []string{objectstore.RoleWorker, objectstore.RoleStarter} {
			profiles = append(profiles, profile{name: t.id + "-" + role, tenant: t.id, role: role})
		}
	}
	return profiles
}

func random(n int) []byte {
	bytes := make([]byte, n)
	_, _ = rand.Read(bytes) // it never fails (crypto/rand)
	return bytes
}

// loadProfiles reads the AWS shared credentials file, which it writes at the first
// start.
func loadProfiles(ctx context.Context, name string) ([]profile, error) {
	profiles := profileNames()
	if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
		var text strings.Builder
		for _, p := range profiles {
			id := "AKIA" + base32.StdEncoding.EncodeToString(random(10))
			fmt.Fprintf(&text, "[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n\n",
				p.name, id, base64.RawURLEncoding.EncodeToString(random(30)))
		}
		if err := writePrivate(name, []byte(text.String())); err != nil {
			return nil, fmt.Errorf("couldn't write the AWS credentials: %w", err)
		}
	}
	for i, p := range profiles {
		shared, err := awsconfig.LoadSharedConfigProfile(ctx, p.name, func(o *awsconfig.LoadSharedConfigOptions) {
			o.CredentialsFiles, o.ConfigFiles = []string{name}, []string{}
		})
		if err != nil {
			return nil, fmt.Errorf("couldn't read profile %s from %s: %w", p.name, name, err)
		}
		profiles[i].key = objectstore.Credential{AccessKeyID: shared.Credentials.AccessKeyID, SecretAccessKey: shared.Credentials.SecretAccessKey}
	}
	return profiles, nil
}

// ensureWebhookSecrets makes one Standard Webhooks secret per tenant.
func ensureWebhookSecrets(dir string) error {
	for _, t := range tenants {
		name := filepath.Join(dir, "webhooks", t.id+".secret")
		if _, err := os.Stat(name); err == nil {
			continue
		}
		secret := "whsec_" + base64.StdEncoding.EncodeToString(random(32))
		if err := writePrivate(name, []byte(secret+"\n")); err != nil {
			return fmt.Errorf("couldn't write a webhook secret: %w", err)
		}
	}
	return nil
}
