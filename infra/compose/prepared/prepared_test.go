package prepared

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProfiles(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"[a]\naws_access_key_id = I\naws_secret_access_key = S=\n\n# note\n[b]\naws_secret_access_key=T\naws_access_key_id=J\n": 2,
		"[a]\naws_access_key_id = I\n": -1,
		"aws_access_key_id = I\n":      0,
	} {
		name := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadProfiles(name)
		if (err != nil) != (want < 0) || want >= 0 && len(got) != want {
			t.Errorf("%q: %d profiles, %v", text, len(got), err)
		}
		if want == 2 && (got[0].SecretAccessKey != "S=" || got[1].AccessKeyID != "J") {
			t.Errorf("the keys are mixed up: %+v", got)
		}
	}
}

func TestExactlyTheFilesAreWritten(t *testing.T) {
	t.Parallel()
	made := map[string][]byte{}
	for _, name := range Files {
		made[name] = []byte("x")
	}
	dir := t.TempDir()
	if err := write(dir, made); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, Files[0]))
	if err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("%v, %v: a container's user must be able to read, and nobody to write", info, err)
	}
	made["secrets/more"] = []byte("x")
	if err := write(t.TempDir(), made); err == nil {
		t.Error("a file that nobody mounts was written")
	}
	delete(made, "secrets/more")
	delete(made, Files[3])
	if err := write(t.TempDir(), made); err == nil {
		t.Errorf("%s is missing, and nobody says so", Files[3])
	}
}

func TestNoProcessGetsAnothersKeys(t *testing.T) {
	t.Parallel()
	var s stack
	s.about.AWS.AdminProfile = "admin"
	s.about.AWS.CredentialsFile = filepath.Join(t.TempDir(), "credentials")
	var text strings.Builder
	for _, name := range []string{"admin", "acme-worker", "acme-starter"} {
		text.WriteString("[" + name + "]\naws_access_key_id = id-" + name + "\naws_secret_access_key = secret-" + name + "\n")
	}
	if err := os.WriteFile(s.about.AWS.CredentialsFile, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	made := map[string][]byte{}
	if err := s.credentials(made); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"secrets/aws-buckets": "admin", "secrets/s3-root": "admin", "secrets/aws-workers": "acme-worker", "secrets/aws-starter": "acme-starter",
		"secrets/aws-kms": "acme-worker acme-starter", "secrets/s3-users.json": "acme-worker acme-starter",
	} {
		for _, profile := range []string{"admin", "acme-worker", "acme-starter"} {
			if has := strings.Contains(string(made[name]), "secret-"+profile); has != strings.Contains(want, profile) {
				t.Errorf("%s holds the key of %s: %v", name, profile, has)
			}
		}
	}
}

func TestAnInstallationIsNeverMadeTwice(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"secrets", "config"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := Make(t.Context(), "/nonexistent", dir); err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("with %s there: %v", name, err)
		}
	}
}

func TestTenantsHaveNoWebhooks(t *testing.T) {
	t.Parallel()
	s := stack{dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(s.dir, "tenants"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "# written\ntenant: acme\nwebhooks:\n  - {url: \"http://127.0.0.1:1/hooks/acme\", secretFile: x}\nmail: {smtp: \"127.0.0.1:9746\"}\n"
	if err := os.WriteFile(filepath.Join(s.dir, "tenants", "acme.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := s.tenantFile("acme")
	if want := "tenant: acme\nmail: {smtp: \"127.0.0.1:9746\"}\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, not %q", got, err, want)
	}
}
