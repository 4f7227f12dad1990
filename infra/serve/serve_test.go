package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign/infra/compose/prepared"
	"github.com/countersign-dev/countersign/infra/objectstore"
)

func preparedKeys(t *testing.T, files map[string]string) string {
	t.Helper()
	text, err := json.Marshal(files)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPreparedKeysArePlantedOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kms")
	// What a crash left behind must not stay among the keys.
	if err := os.MkdirAll(dir+".new/keys", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+".new/keys/stray", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := plant(preparedKeys(t, map[string]string{"keys/a.json": "1"}), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "keys", "stray")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a half-written file was taken over: %v", err)
	}
	if err := plant(preparedKeys(t, map[string]string{"keys/a.json": "2"}), dir); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "keys", "a.json")
	if got, err := os.ReadFile(name); err != nil || string(got) != "1" {
		t.Errorf("the key is %q, %v; the second start must keep the first one's", got, err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the key: %v, %v", info.Mode(), err)
	}
}

func TestPreparedKeysStayInTheDirectory(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../escaped", "/escaped", ""} {
		dir := filepath.Join(t.TempDir(), "kms")
		if err := plant(preparedKeys(t, map[string]string{name: "x"}), dir); err == nil {
			t.Errorf("a file %q was written", name)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q left a directory that the next start would take for keys", name)
		}
	}
}

func TestHealthTellsStrangersNoReasons(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method string
		health func(context.Context) error
		want   int
	}{
		{http.MethodGet, nil, http.StatusOK},
		{http.MethodGet, func(context.Context) error { return nil }, http.StatusOK},
		{http.MethodGet, func(context.Context) error { return errors.New("inner secret") }, http.StatusServiceUnavailable},
		{http.MethodPost, nil, http.StatusMethodNotAllowed},
	} {
		recorder := httptest.NewRecorder()
		answerHealth(recorder, httptest.NewRequest(c.method, healthPath, nil), c.health)
		if recorder.Code != c.want {
			t.Errorf("%s answers %d, not %d", c.method, recorder.Code, c.want)
		}
		if recorder.Code == http.StatusServiceUnavailable && recorder.Body.String() != "unhealthy; the log says why\n" {
			t.Errorf("it says %q", recorder.Body)
		}
	}
}

func TestMissingFlagsAreTheCallersMistake(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"nothing"}, {"tsa"}, {"tsa", "--data", "x", "more"}, {"kms", "--data", "x"}, {"temporal", "--route", "x"}, {"prepare"}, {"gate", "--s3", "http://127.0.0.1:1", "--credentials", "x"}} {
		var usage usageError
		if err := command(t.Context(), args); !errors.As(err, &usage) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestAProvidersFileIsReadStrictly(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"id: acme\nunknown: 1\n", "machines: [{client: m, key: no pem}]\n", "", "machines: [{client: m, key: \"-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----\"}]\n"} {
		name := filepath.Join(t.TempDir(), "idp.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readProvider(name); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// The gate knows whose key it is by the profile's name, so a name that says nothing must not become somebody.
func TestTheGateKnowsTenantsProcessesAlone(t *testing.T) {
	t.Parallel()
	named := func(names ...string) (all []prepared.Profile) {
		for _, name := range names {
			all = append(all, prepared.Profile{Name: name, Credential: objectstore.Credential{AccessKeyID: "AK" + name, SecretAccessKey: "s"}})
		}
		return all
	}
	if _, err := openGate(named("acme-worker", "acme-starter", "globex-worker"), "eu-central-1", "10.0.0.0/8"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"admin", "worker", "-worker", "acme-operator"} {
		if _, err := openGate(named(name), "eu-central-1", "10.0.0.0/8"); err == nil {
			t.Errorf("the profile %q is somebody", name)
		}
	}
	if _, err := openGate(named("acme-worker"), "eu-central-1", "everywhere"); err == nil {
		t.Error("plain HTTP is taken from everywhere")
	}
}
