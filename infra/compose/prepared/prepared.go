// Package prepared makes the keys, passwords and settings of a shared installation,
// once and before its first start: each file for the service that needs it.
package prepared

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Files are all that Make writes, below its directory. secrets/ holds what only the
// one service may know that mounts it; config/ holds nothing secret.
var Files = []string{
	"secrets/postgres-password", "secrets/temporal-password",
	"secrets/s3-root", "secrets/s3-users.json",
	"secrets/aws-buckets", "secrets/aws-gate", "secrets/aws-kms", "secrets/aws-workers", "secrets/aws-starter",
	"secrets/kms-keys.json",
	"secrets/idp-acme.yaml", "secrets/idp-globex.yaml", "secrets/idp-hart.yaml", "secrets/idp-nord.yaml",
	"secrets/worker-acme.pem", "secrets/worker-globex.pem", "secrets/starter-acme.pem", "secrets/starter-globex.pem",
	"secrets/tsa-ca.key", "secrets/tsa-ca.pem", "secrets/tsa-tsa.key", "secrets/tsa-tsa.pem",
	"config/tenants/acme.yaml", "config/tenants/acme-seal.pem", "config/tenants/globex.yaml", "config/tenants/globex-seal.pem",
	"config/ca/tenant-ca.pem", "config/ca/tsa-ca.pem", "config/ca/acme-postquantum.pem",
	"config/buckets/documents.json", "config/buckets/evidence.json",
	"config/platform/worker-acme.pub.pem", "config/platform/worker-globex.pub.pem",
	"config/platform/starter-acme.pub.pem", "config/platform/starter-globex.pub.pem",
	"config/platform/operator-acme.pub.pem", "config/platform/operator-globex.pub.pem",
	"config/platform/compliance-acme.pub.pem", "config/platform/compliance-globex.pub.pem",
}

var tenants = []string{"acme", "globex"}

// Make lets the local stack start once with its well-known ports, so that keys,
// certificates and tenant files fit each other, and sorts what it made into Files.
// devstack is the stack's command. Dir/stack keeps the rest for whoever runs the
// installation: passwords, keys of operators and machines, the CA's key.
//
// A directory that holds an installation's secrets is refused: new keys would not
// fit the old volumes. After a failure Make can be repeated.
func Make(ctx context.Context, devstack, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for _, name := range []string{"secrets", "config"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s holds an installation already; remove it, and the volumes, to begin anew", dir)
		}
	}
	// The directory keeps others out. The files in it can be read by all, because a
	// container's user isn't the one who runs this.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("couldn't make %s: %w", dir, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("couldn't make %s private: %w", dir, err)
	}
	s := stack{dir: filepath.Join(dir, "stack")}
	if err := s.run(ctx, devstack); err != nil {
		return fmt.Errorf("couldn't let the local stack make keys and settings: %w", err)
	}
	fresh := filepath.Join(dir, "new")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := s.sort(fresh); err != nil {
		return fmt.Errorf("couldn't sort what the local stack made: %w", err)
	}
	for _, name := range []string{"config", "secrets"} {
		if err := os.Rename(filepath.Join(fresh, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return os.Remove(fresh)
}

// sort writes Files below dir.
func (s *stack) sort(dir string) error {
	made := map[string][]byte{}
	for _, name := range []string{"secrets/postgres-password", "secrets/temporal-password"} {
		made[name] = []byte(password())
	}
	copies := map[string]string{
		"config/ca/tenant-ca.pem": "ca/tenant-ca.pem", "config/ca/tsa-ca.pem": "ca/tsa-ca.pem", "config/ca/acme-postquantum.pem": "ca/acme-postquantum.pem",
		"secrets/tsa-ca.key": "tsa/ca.key", "secrets/tsa-ca.pem": "tsa/ca.pem", "secrets/tsa-tsa.key": "tsa/tsa.key", "secrets/tsa-tsa.pem": "tsa/tsa.pem",
	}
	for _, t := range tenants {
		copies["config/tenants/"+t+"-seal.pem"] = "tenants/" + t + "-seal.pem"
		for _, role := range []string{"worker", "starter"} {
			copies["secrets/"+role+"-"+t+".pem"] = "platform/" + role + "-" + t + ".pem"
		}
		for _, role := range []string{"worker", "starter", "operator", "compliance"} {
			copies["config/platform/"+role+"-"+t+".pub.pem"] = "platform/" + role + "-" + t + ".pub.pem"
		}
		text, err := s.tenantFile(t)
		if err != nil {
			return err
		}
		made["config/tenants/"+t+".yaml"] = text
	}
	for to, from := range copies {
		text, err := os.ReadFile(filepath.Join(s.dir, from))
		if err != nil {
			return err
		}
		made[to] = text
	}
	for bucket, policy := range s.policies {
		made["config/buckets/"+bucket+".json"] = []byte(policy)
	}
	for _, more := range []func(map[string][]byte) error{s.credentials, s.providers, s.keys} {
		if err := more(made); err != nil {
			return err
		}
	}
	return write(dir, made)
}

// write makes exactly Files.
func write(dir string, made map[string][]byte) error {
	for name := range made {
		if !slices.Contains(Files, name) {
			return fmt.Errorf("%s was made, and nobody asked for it", name)
		}
	}
	for _, name := range Files {
		if len(made[name]) == 0 {
			return fmt.Errorf("%s wasn't made", name)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(path, made[name], 0o444), os.Chmod(path, 0o444)); err != nil { // whatever the umask is
			return err
		}
		for above := filepath.Dir(path); above != dir; above = filepath.Dir(above) {
			if err := os.Chmod(above, 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

func password() string {
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // it never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(raw)
}

func encode(made map[string][]byte, name string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	made[name] = text
	return err
}
