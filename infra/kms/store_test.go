package kms

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
)

func TestKeysAndAliasesSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openStand(t, dir)
	ctx := t.Context()
	signatures := map[types.KeySpec]*kms.SignOutput{}
	for _, spec := range []types.KeySpec{types.KeySpecEccNistP256, types.KeySpecEccNistP384, types.KeySpecEccNistEdwards25519, types.KeySpecRsa2048} {
		k := s.key(t, spec, "acme")
		out, err := s.acme.Sign(ctx, &kms.SignInput{KeyId: k.KeyId, Message: []byte("evidence"), SigningAlgorithm: k.SigningAlgorithms[0]})
		if err != nil {
			t.Fatal(err)
		}
		signatures[spec] = out
	}
	secret := s.key(t, types.KeySpecSymmetricDefault, "acme")
	sealed, err := s.acme.Encrypt(ctx, &kms.EncryptInput{KeyId: secret.KeyId, Plaintext: []byte("plain")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/acme"), TargetKeyId: secret.KeyId}); err != nil {
		t.Fatal(err)
	}
	dying := s.key(t, types.KeySpecEccNistP256, "acme")
	if _, err := s.admin.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: dying.KeyId}); err != nil {
		t.Fatal(err)
	}
	s.close()

	s = openStand(t, dir)
	for spec, out := range signatures {
		if _, err := s.acme.Verify(ctx, &kms.VerifyInput{KeyId: out.KeyId, Message: []byte("evidence"), Signature: out.Signature, SigningAlgorithm: out.SigningAlgorithm}); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
	opened, err := s.acme.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String("alias/acme"), CiphertextBlob: sealed.CiphertextBlob})
	if err != nil || string(opened.Plaintext) != "plain" {
		t.Errorf("Decrypt: %v %v", opened, err)
	}
	if err := s.admin.state(ctx, dying, types.KeyStatePendingDeletion); err != nil {
		t.Error(err)
	}
}

func TestDeletedKeyIsGoneAfterItsWindow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openStand(t, dir)
	ctx := t.Context()
	k := s.key(t, types.KeySpecEccNistP256, "acme")
	if _, err := s.admin.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: freshAlias(k), TargetKeyId: k.KeyId}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(7)}); err != nil {
		t.Fatal(err)
	}
	s.close()
	for _, later := range []struct {
		days int
		want error
	}{{6, nil}, {8, fs.ErrNotExist}} {
		st, err := openStore(dir, time.Now().Add(time.Duration(later.days)*24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if gone := later.want != nil; gone != (len(st.alias) == 0) {
			t.Errorf("after %d days the aliases are %v", later.days, st.alias)
		}
		if err := st.close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(st.keyFile(*k.KeyId)); !errors.Is(err, later.want) {
			t.Errorf("after %d days: %v, want %v", later.days, err, later.want)
		}
	}
}

func TestDueDeletionHappens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	st, err := openStore(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.close() })
	now := time.Now()
	material, err := newMaterial(types.KeySpecSymmetricDefault)
	if err != nil {
		t.Fatal(err)
	}
	k := &key{record: record{ID: absent, Spec: types.KeySpecSymmetricDefault, State: types.KeyStatePendingDeletion, Deletion: unixSeconds(now), Material: material}}
	if err := st.change(now.Add(-time.Hour), func() error {
		if err := st.putKey(k); err != nil {
			return err
		}
		return st.putAliases(map[string]alias{"alias/a": {Target: absent}, "alias/b": {Target: "other"}})
	}); err != nil {
		t.Fatal(err)
	}
	c := &call{Service: &Service{region: testRegion, store: st, now: func() time.Time { return now }}, caller: Credential{Admin: true}}
	if _, err := c.key(absent, true); code(asAPI(err), "NotFoundException") != nil {
		t.Errorf("a key after its deletion date: %v", err)
	}
	if err := st.change(now, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(st.keyFile(absent)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its file: %v", err)
	}
	if len(st.alias) != 1 || len(st.keys) != 0 {
		t.Errorf("left: %v %v", st.alias, st.keys)
	}
}

// asAPI lets code read a failure that didn't go over HTTP.
func asAPI(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return &smithy.GenericAPIError{Code: f.Type, Message: f.Message}
	}
	return err
}

func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kms")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := openStand(t, dir)
	k := s.key(t, types.KeySpecEccNistP256, "acme")
	if _, err := s.admin.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: freshAlias(k), TargetKeyId: k.KeyId}); err != nil {
		t.Fatal(err)
	}
	files := 0
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %#o, want %#o", path, info.Mode().Perm(), want)
		}
		return nil
	}); err != nil || files != 3 {
		t.Errorf("%d files, want lock, aliases and a key: %v", files, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	good := []Credential{{AccessKeyID: "A", SecretAccessKey: "s"}}
	open := func(dir, region string, c []Credential) error {
		s, err := Open(dir, region, c)
		if err == nil {
			_ = s.Close()
		}
		return err
	}
	keyFile := func(mode fs.FileMode, body string) string {
		dir := t.TempDir()
		path := filepath.Join(dir, "keys", absent+".json")
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(body), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	busy := t.TempDir()
	s := openStand(t, busy)
	for name, err := range map[string]error{
		"no region":             open(t.TempDir(), "", good),
		"no secret":             open(t.TempDir(), testRegion, []Credential{{AccessKeyID: "A"}}),
		"no access key id":      open(t.TempDir(), testRegion, []Credential{{SecretAccessKey: "s"}}),
		"the same id twice":     open(t.TempDir(), testRegion, append(good, good...)),
		"a directory in use":    open(busy, testRegion, good),
		"a key others may read": open(keyFile(0o644, `{}`), testRegion, good),
		"a damaged key":         open(keyFile(0o600, `{"id":`), testRegion, good),
		"another key's record":  open(keyFile(0o600, `{"id":"x"}`), testRegion, good),
		"a short secret":        open(keyFile(0o600, `{"id":"`+absent+`","spec":"SYMMETRIC_DEFAULT","material":"AA=="}`), testRegion, good),
		"a damaged private key": open(keyFile(0o600, `{"id":"`+absent+`","spec":"ECC_NIST_P256","material":"AA=="}`), testRegion, good),
	} {
		if err == nil {
			t.Errorf("Open takes %s", name)
		}
	}
	s.close()
	if err := open(busy, testRegion, good); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestHalfWrittenFilesAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openStand(t, dir).close()
	left := []string{filepath.Join(dir, temporaryPrefix+"1"), filepath.Join(dir, "keys", temporaryPrefix+"2")}
	for _, path := range left {
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openStand(t, dir)
	for _, path := range left {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", path)
		}
	}
}

// A change that can't be made durable must not be visible either.
func TestFailedWriteChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openStand(t, dir)
	k := s.key(t, types.KeySpecEccNistP256, "acme")
	if err := os.RemoveAll(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	_, err := s.admin.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: k.KeyId})
	if err := code(err, "KMSInternalException"); err != nil {
		t.Error(err)
	}
	if strings.Contains(err.Error(), dir) {
		t.Errorf("the answer tells about the disk: %v", err)
	}
	if err := s.admin.state(t.Context(), k, types.KeyStateEnabled); err != nil {
		t.Error(err)
	}
}
