package activities

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/shred"
)

// Subjects keeps the keys of the people of whom a tenant's evidence says something: one for each person, wrapped by the tenant's KMS key, in the documents
// bucket. A worker makes them; whoever may show evidence opens them. That a wrapped key is gone shreds what was concealed under it.
type Subjects struct {
	s3       *s3.Client
	kms      *kms.Client
	settings *countersign.Settings

	mu     sync.Mutex
	opened map[string]openedKey // by id
}

// openedKey is a key that KMS unwrapped, and the digest of what it was wrapped in.
type openedKey struct {
	wrapped [sha256.Size]byte
	key     shred.Key
}

const (
	// maxOpened bounds how many keys a process keeps unwrapped.
	maxOpened = 10_000
	// maxSubject bounds an object of the key store, in bytes.
	maxSubject = 16 << 10
	// subjectsAtOnce is how many keys are read at once.
	subjectsAtOnce = 8
)

// storedKey is a person's key as it is stored. Of the person it says nothing.
type storedKey struct {
	V       int    `json:"v"`
	Key     string `json:"key"`     // ARN of the KMS key that wrapped it
	Wrapped []byte `json:"wrapped"` // by KMS, in the encryption context {tenant, subject: id}
}

// storedPerson says which key is a person's.
type storedPerson struct {
	V  int    `json:"v"`
	ID string `json:"id"`
}

// NewSubjects makes the key store of a tenant from a process's own clients. It reaches nothing yet.
func NewSubjects(store *s3.Client, keys *kms.Client, s *countersign.Settings) *Subjects {
	return &Subjects{s3: store, kms: keys, settings: s, opened: map[string]openedKey{}}
}

// NewKMS makes a client of the key service; an endpoint of one's own is the tenant's.
func NewKMS(cfg aws.Config, s *countersign.Settings) *kms.Client {
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		if s.AWS.KMSEndpoint != "" {
			o.BaseEndpoint = aws.String(s.AWS.KMSEndpoint)
		}
		o.HTTPClient = readBodies{o.HTTPClient}
	})
}

func (s *Subjects) context(id string) map[string]string {
	return map[string]string{"tenant": s.settings.Tenant, "subject": id}
}

func (s *Subjects) object(key string) countersign.Object {
	return countersign.Object{Bucket: s.settings.Documents.Bucket, Key: key}
}

// read reads an object of the key store strictly, its newest version.
func (s *Subjects) read(ctx context.Context, key string, into any) error {
	body, err := ReadObject(ctx, s.s3, s.settings.Tenant, s.object(key), maxSubject)
	if err != nil {
		return err
	}
	if err := countersign.ParseStrict(body, into); err != nil {
		return fmt.Errorf("couldn't read %s: %w", key, err)
	}
	return nil
}

// key opens a key by its id; errGone says that it was shredded. The object is read each time, so that a key that is gone is gone at once: only what KMS
// said of the same wrapped key before is kept.
func (s *Subjects) key(ctx context.Context, id string) (shred.Key, error) {
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 {
		return shred.Key{}, errors.New("couldn't open a person's key: its id is not 32 hex digits")
	}
	var stored storedKey
	if err := s.read(ctx, countersign.SubjectKey(s.settings.Tenant, id), &stored); err != nil {
		s.forget(id)
		return shred.Key{}, err
	}
	wrapped := sha256.Sum256(stored.Wrapped)
	s.mu.Lock()
	known, ok := s.opened[id]
	s.mu.Unlock()
	if ok && known.wrapped == wrapped {
		return known.key, nil
	}
	out, err := s.kms.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String(stored.Key), CiphertextBlob: stored.Wrapped, EncryptionContext: s.context(id)})
	if err != nil {
		return shred.Key{}, fmt.Errorf("couldn't unwrap a person's key by %s: %w", stored.Key, err)
	}
	if len(out.Plaintext) != len(shred.Key{}) {
		return shred.Key{}, errors.New("couldn't unwrap a person's key: it has another length")
	}
	key := shred.Key(out.Plaintext)
	s.remember(id, openedKey{wrapped, key})
	return key, nil
}

func (s *Subjects) remember(id string, k openedKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.opened) >= maxOpened {
		clear(s.opened)
	}
	s.opened[id] = k
}

func (s *Subjects) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.opened, id)
}

// Revealed is a locked bundle as it goes out: whole, or with what is left of it.
type Revealed struct {
	Bundle []byte // the bundle, byte for byte; nil where some of it was shredded
	// Of a bundle some of which was shredded: what is stored, and the keys for it that are left.
	Stored *shred.Concealed
	Keys   shred.Keys
}

// ErrShredded says that personal data in a bundle was shredded, so that it isn't whole any more.
var ErrShredded = errors.New("personal data in the bundle was shredded")

// Whole is the bundle, or ErrShredded.
func (r Revealed) Whole() ([]byte, error) {
	if r.Bundle == nil {
		return nil, ErrShredded
	}
	return r.Bundle, nil
}

// SignedPDF is the signed PDF in the bundle, which shredding doesn't reach; nil where there is none.
func (r Revealed) SignedPDF() ([]byte, error) {
	if r.Bundle == nil {
		return evidence.SignedPDFOf(r.Stored, r.Keys)
	}
	return evidence.SignedPDF(r.Bundle)
}

// ReadLocked reads a locked bundle and reveals it: every reader of locked evidence goes through here. It compares the digests of what is stored and of
// what comes out.
func (s *Subjects) ReadLocked(ctx context.Context, locked evidence.Locked) (Revealed, error) {
	if locked.Concealed == "" {
		raw, err := ReadObject(ctx, s.s3, s.settings.Tenant, locked.Object, evidence.MaxBundleSize)
		return Revealed{Bundle: raw}, err
	}
	o := locked.Object
	o.SHA256 = locked.Concealed
	raw, err := ReadObject(ctx, s.s3, s.settings.Tenant, o, evidence.MaxBundleSize+shred.MaxOverhead)
	if err != nil {
		return Revealed{}, err
	}
	if !shred.Is(raw) {
		return Revealed{}, countersign.Refuse("digest-mismatch", "what is stored is no concealed bundle")
	}
	return s.revealStored(ctx, raw, locked.Object.SHA256)
}

// readBundle reads a locked bundle of which only the bundle's own digest is known, in whichever form it is stored.
func (s *Subjects) readBundle(ctx context.Context, o countersign.Object) (Revealed, error) {
	want := o.SHA256
	o.SHA256 = ""
	raw, err := ReadObject(ctx, s.s3, s.settings.Tenant, o, evidence.MaxBundleSize+shred.MaxOverhead)
	if err != nil {
		return Revealed{}, err
	}
	return s.revealStored(ctx, raw, want)
}

// revealStored reveals what is stored as a bundle, in whichever form, and compares it with the bundle's digest, where one is known.
func (s *Subjects) revealStored(ctx context.Context, raw []byte, want string) (Revealed, error) {
	if !shred.Is(raw) {
		if got := countersign.SHA256(raw); want != "" && got != want {
			return Revealed{}, countersign.Refuse("digest-mismatch", "the object's SHA-256 is %s, but %s was named", got, want)
		}
		return Revealed{Bundle: raw}, nil
	}
	c, err := shred.Read(raw)
	if err != nil {
		return Revealed{}, countersign.Refuse("digest-mismatch", "what is stored is no concealed bundle: %s", err)
	}
	if want != "" && c.Bundle() != want {
		return Revealed{}, countersign.Refuse("digest-mismatch", "what is stored conceals another bundle than the one that was named")
	}
	return s.reveal(ctx, c)
}

// Verify verifies the bundle, or what is left of it, as a stranger would.
func (r Revealed) Verify(roots evidence.Roots) *evidence.Report {
	if r.Bundle == nil {
		return evidence.VerifyConcealed(r.Stored, r.Keys, roots)
	}
	return evidence.Verify(r.Bundle, roots)
}

func (s *Subjects) reveal(ctx context.Context, c *shred.Concealed) (Revealed, error) {
	keys, err := s.left(ctx, c)
	if err != nil {
		return Revealed{}, err
	}
	bundle, lost, err := c.Reveal(keys)
	if err != nil {
		return Revealed{}, err
	}
	if len(lost) > 0 {
		return Revealed{Stored: c, Keys: keys}, nil
	}
	return Revealed{Bundle: bundle}, nil
}

// left are the keys for a bundle of those whose keys are still there.
func (s *Subjects) left(ctx context.Context, c *shred.Concealed) (shred.Keys, error) {
	ids := c.Subjects()
	found := make([]*shred.Key, len(ids))
	err := atOnce(len(ids), func(i int) error {
		key, err := s.key(ctx, ids[i])
		if errors.Is(err, errGone) {
			return nil
		}
		if err != nil {
			return err
		}
		derived, err := key.ForBundle(c.Bundle())
		found[i] = &derived
		return err
	})
	if err != nil {
		return nil, err
	}
	keys := shred.Keys{}
	for i, key := range found {
		if key != nil {
			keys[ids[i]] = *key
		}
	}
	return keys, nil
}

// atOnce calls a function for each of n, a few at once, and returns all that failed.
func atOnce(n int, each func(int) error) error {
	faults := make([]error, n)
	places := make(chan struct{}, subjectsAtOnce)
	var wait sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			faults[i] = each(i)
		})
	}
	wait.Wait()
	return errors.Join(faults...)
}

// conceal conceals a bundle under the keys of everybody whom it names, and returns these keys as well. People who have none yet get one.
func (s *Subjects) conceal(ctx context.Context, bundle []byte) ([]byte, map[countersign.Actor]heldKey, error) {
	people, err := evidence.PersonalData(bundle)
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't find the personal data in the evidence: %w", err)
	}
	windows, err := evidence.Windows(bundle)
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't find the personal data in the evidence: %w", err)
	}
	digest := countersign.SHA256(bundle)
	subjects, keys := make([]shred.Subject, len(people)), make([]heldKey, len(people))
	err = atOnce(len(people), func(i int) error {
		id, key, err := s.of(ctx, people[i].Actor)
		if err != nil {
			return err
		}
		derived, err := key.ForBundle(digest)
		subjects[i], keys[i] = shred.Subject{ID: id, Key: derived, Strings: people[i].Strings}, heldKey{id, key}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	held := map[countersign.Actor]heldKey{}
	for i, p := range people {
		held[p.Actor] = keys[i]
	}
	concealed, err := shred.Conceal(bundle, windows, subjects)
	return concealed, held, err
}

// errShredding says that a person's key is gone, and not yet forgotten that it was theirs: shredding is at work, or was interrupted.
var errShredding = errors.New("a person's key is being shredded; once that has ended, they get another one")

// of finds the key of a person, or makes one.
func (s *Subjects) of(ctx context.Context, who countersign.Actor) (id string, key shred.Key, err error) {
	id, err = s.idOf(ctx, who)
	if errors.Is(err, errGone) {
		id, err = s.make(ctx, who)
	}
	if err != nil {
		return "", shred.Key{}, err
	}
	key, err = s.key(ctx, id)
	if errors.Is(err, errGone) {
		return "", shred.Key{}, errShredding
	}
	return id, key, err
}

// idOf is the id of a person's key; errGone says that they have none.
func (s *Subjects) idOf(ctx context.Context, who countersign.Actor) (string, error) {
	var person storedPerson
	err := s.read(ctx, countersign.SubjectOfKey(s.settings.Tenant, who), &person)
	return person.ID, err
}

// make makes a key for a person. The key is stored before it is said to be theirs; of two that are made at once, the one that is said first counts, and the
// other one is a key of nobody.
func (s *Subjects) make(ctx context.Context, who countersign.Actor) (string, error) {
	arn := s.settings.Evidence.PersonalDataKey
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("couldn't name a person's key: %w", err)
	}
	id := hex.EncodeToString(raw)
	made, err := s.kms.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: aws.String(arn), KeySpec: kmstypes.DataKeySpecAes256, EncryptionContext: s.context(id)})
	if err != nil {
		return "", keyError("couldn't make a person's key", err)
	}
	if err := s.store(ctx, countersign.SubjectKey(s.settings.Tenant, id), storedKey{countersign.Version, arn, made.CiphertextBlob}); err != nil {
		return "", err
	}
	err = s.store(ctx, countersign.SubjectOfKey(s.settings.Tenant, who), storedPerson{countersign.Version, id})
	if !errors.Is(err, errExists) {
		return id, err
	}
	if err := destroy(ctx, s.s3, s.settings.Tenant, s.object(countersign.SubjectKey(s.settings.Tenant, id))); err != nil {
		return "", err
	}
	return s.idOf(ctx, who)
}

func (s *Subjects) store(ctx context.Context, key string, v any) error {
	body, err := countersign.Canonical(v)
	if err != nil {
		return err
	}
	_, err = storeFirst(ctx, s.s3, s.settings.Tenant, s.settings.Documents.Bucket, key, "application/json", bytes.NewReader(body), countersign.SHA256(body), nil)
	return err
}

// checkPersonalDataKey asks whether the key can wrap people's keys, and whether the worker may use it. It makes a key that is thrown away, because only
// with what is wrapped can be asked whether it could be opened again.
func (t *Tenant) checkPersonalDataKey(ctx context.Context) error {
	arn := t.settings.Evidence.PersonalDataKey
	if arn == "" {
		return nil
	}
	described, err := t.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(arn)})
	if err != nil {
		return fmt.Errorf("couldn't describe the key %s: %w", arn, err)
	}
	if m := described.KeyMetadata; m.KeyState != kmstypes.KeyStateEnabled || m.KeyUsage != kmstypes.KeyUsageTypeEncryptDecrypt || m.KeySpec != kmstypes.KeySpecSymmetricDefault {
		return fmt.Errorf("the key %s is %s, of the kind %s, for %s; it must be Enabled, of the kind SYMMETRIC_DEFAULT, for ENCRYPT_DECRYPT", arn, m.KeyState, m.KeySpec, m.KeyUsage)
	}
	made, err := t.kms.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: aws.String(arn), KeySpec: kmstypes.DataKeySpecAes256, EncryptionContext: t.subjects.context("boot check")})
	if err != nil {
		return fmt.Errorf("couldn't make a key under %s; does the profile %q have the permission kms:GenerateDataKey? %w", arn, t.settings.AWS.WorkerProfile, err)
	}
	_, err = t.kms.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String(arn), CiphertextBlob: made.CiphertextBlob, EncryptionContext: t.subjects.context("boot check"), DryRun: aws.Bool(true)})
	if success := (*kmstypes.DryRunOperationException)(nil); errors.As(err, &success) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("the key %s was asked for a dry run and opened a key: this key service can't be used", arn)
	}
	return fmt.Errorf("couldn't open a key under %s; does the profile %q have the permission kms:Decrypt? %w", arn, t.settings.AWS.WorkerProfile, err)
}

// CheckAccess asks whether a process that only shows evidence may open people's keys, where the tenant's file names a key for them. Without one of them at
// hand it can tell no more than that nobody forbids it: what it sends is no wrapped key.
func (s *Subjects) CheckAccess(ctx context.Context) error {
	arn := s.settings.Evidence.PersonalDataKey
	if arn == "" {
		return nil
	}
	_, err := s.kms.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String(arn), CiphertextBlob: []byte("countersign boot check"), EncryptionContext: s.context("boot check"), DryRun: aws.Bool(true)})
	if isCode(err, "InvalidCiphertextException", "DryRunOperationException", "IncorrectKeyException") {
		return nil
	}
	return fmt.Errorf("couldn't open people's keys with the key %s; does the profile %q have the permission kms:Decrypt? %w", arn, s.settings.AWS.StarterProfile, err)
}

// salt is random in each plan of a tenant whose evidence can be shredded.
func (t *Tenant) salt() (string, error) {
	if t.settings.Evidence.PersonalDataKey == "" {
		return "", nil
	}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("couldn't make the plan's salt: %w", err)
	}
	return hex.EncodeToString(raw), nil
}
