package activities

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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

// conceal conceals a bundle under the keys of everybody whom it names, and returns these keys as well. People who have none yet get one.
func (s *Subjects) conceal(ctx context.Context, bundle []byte) (*Spooled, map[countersign.Actor]heldKey, error) {
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
	concealed, err := Spool(func(w io.Writer) error { return shred.ConcealTo(w, bundle, windows, subjects) })
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
