package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/mod/sumdb/note"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

// AppendLog puts one entry into the tenant's log and returns the proof that it is there, under a checkpoint that the log's key signed. The same entry
// is in the log once, however often it is asked. Its time is when it was first tried. The proof of an ending is locked beside the bundle as well, and then its index
// record; if we crash before that, the next attempt finds the entry, locks a proof under a newer checkpoint, and the same record under the same key.
func (t *Tenant) AppendLog(ctx context.Context, in evidence.LogInput) (translog.Proof, error) {
	e := in.Entry
	if e.Tenant != t.settings.Tenant {
		return translog.Proof{}, temporal.NewNonRetryableApplicationError("couldn't log an entry of another tenant", ErrorSetting, nil)
	}
	e.At = time.Now().UTC()
	proof, err := t.log.Append(ctx, e)
	if errors.Is(err, translog.ErrContradicts) {
		return proof, temporal.NewNonRetryableApplicationError("couldn't log the entry: "+err.Error(), ErrorSetting, err)
	}
	if err != nil {
		return proof, keyError("couldn't log the entry", err)
	}
	if e.Ended() {
		if err = t.keepProof(ctx, e, proof); err == nil {
			err = t.keepIndex(ctx, in, proof)
		}
	}
	return proof, err
}

// keepProof locks the proof of an ending beside the bundle. The first one counts: any is as good.
func (t *Tenant) keepProof(ctx context.Context, e translog.Entry, proof translog.Proof) error {
	body, err := json.Marshal(proof)
	if err != nil {
		return err
	}
	key := countersign.EvidenceLogKey(e.Tenant, e.Request)
	_, err = t.storeFirst(ctx, t.settings.Evidence.Bucket, key, "application/json", body, t.lock(time.Now()))
	if err != nil && !errors.Is(err, errExists) {
		return fmt.Errorf("couldn't keep the log's proof beside the bundle: %w", err)
	}
	return nil
}

// logKey signs checkpoints by the log's key in KMS.
type logKey struct {
	note.Verifier
	t *Tenant
}

// Sign asks KMS for one Ed25519 signature over the text itself.
func (k logKey) Sign(ctx context.Context, text []byte) ([]byte, error) {
	out, err := k.t.kms.Sign(ctx, &kms.SignInput{
		KeyId: aws.String(k.t.settings.Log.ARN), Message: text, MessageType: kmstypes.MessageTypeRaw, SigningAlgorithm: kmstypes.SigningAlgorithmSpecEd25519Sha512,
	})
	if err != nil {
		return nil, err
	}
	return out.Signature, nil
}

// logSource reads a log where it lies, by whatever credentials its client has.
type logSource struct {
	s3             *s3.Client
	tenant, bucket string
}

// LogSource is a tenant's log as it lies in its bucket of evidence.
func LogSource(c *s3.Client, s *countersign.Settings) translog.Source {
	return logSource{c, s.Tenant, s.Evidence.Bucket}
}

// Get reads the newest version of an object.
func (s logSource) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	o := countersign.Object{Bucket: s.bucket, Key: countersign.LogKey(s.tenant, name)}
	body, err := ReadObject(ctx, s.s3, s.tenant, o, limit)
	if errors.Is(err, errGone) {
		return nil, fmt.Errorf("%s: %w", name, translog.ErrGone)
	}
	return body, err
}

// logStore keeps a log in the bucket of evidence, under the same lock as evidence. Every checkpoint is a version of its own.
type logStore struct {
	translog.Source
	t *Tenant
}

// Current reads the newest version of an object, with its entity tag.
func (s logStore) Current(ctx context.Context, name string, limit int64) ([]byte, string, error) {
	o := countersign.Object{Bucket: s.t.settings.Evidence.Bucket, Key: countersign.LogKey(s.t.settings.Tenant, name)}
	out, err := s.t.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key)})
	if err != nil {
		if isStatus(err, 404) || isStatus(err, 403) && absent(ctx, s.t.s3, o) {
			return nil, "", fmt.Errorf("%s: %w", name, translog.ErrGone)
		}
		return nil, "", fmt.Errorf("couldn't read %s/%s: %w", o.Bucket, o.Key, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(io.LimitReader(out.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	if err != nil {
		return nil, "", fmt.Errorf("couldn't read %s/%s: %w", o.Bucket, o.Key, err)
	}
	return body, aws.ToString(out.ETag), nil
}

// Add stores an object once.
func (s logStore) Add(ctx context.Context, name string, body []byte) error {
	_, err := s.put(ctx, name, body, func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") })
	return err
}

// Swap stores the next version of an object whose newest one has the tag.
func (s logStore) Swap(ctx context.Context, name string, body []byte, tag string) (string, error) {
	return s.put(ctx, name, body, func(in *s3.PutObjectInput) {
		if tag == "" {
			in.IfNoneMatch = aws.String("*")
		} else {
			in.IfMatch = aws.String(tag)
		}
	})
}

func (s logStore) put(ctx context.Context, name string, body []byte, condition func(*s3.PutObjectInput)) (tag string, err error) {
	key := countersign.LogKey(s.t.settings.Tenant, name)
	if err := checkOwn(s.t.settings.Tenant, key); err != nil {
		return "", err
	}
	in := &s3.PutObjectInput{
		Bucket: aws.String(s.t.settings.Evidence.Bucket), Key: aws.String(key), Body: bytes.NewReader(body), ContentType: aws.String("application/octet-stream"),
		ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256, Tagging: aws.String("tenant=" + s.t.settings.Tenant),
	}
	s.t.lock(time.Now())(in)
	condition(in)
	out, err := s.t.s3.PutObject(ctx, in)
	// A conflict is another writer at this moment: what it stored, or did not, is found by looking again.
	if isStatus(err, 412) || isCode(err, "PreconditionFailed") {
		return "", translog.ErrExists
	}
	if err != nil {
		return "", fmt.Errorf("couldn't store %s: %w", key, err)
	}
	return aws.ToString(out.ETag), nil
}

// checkLog asks the log's key for a signature without making one, and whether its public half is the one of the tenant's file.
func (t *Tenant) checkLog(ctx context.Context) error {
	arn := aws.String(t.settings.Log.ARN)
	public, err := t.kms.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: arn})
	if err != nil {
		return fmt.Errorf("couldn't read the public half of the key %s: %w", *arn, err)
	}
	text, err := translog.KeyText(t.settings.Tenant, public.PublicKey)
	if err != nil {
		return fmt.Errorf("the key %s can't sign a log: %w", *arn, err)
	}
	if text != t.settings.Log.PublicKey {
		return fmt.Errorf("the key %s has the public half %s, and log.publicKey says another", *arn, text)
	}
	_, err = t.kms.Sign(ctx, &kms.SignInput{
		KeyId: arn, Message: []byte("countersign boot check"), MessageType: kmstypes.MessageTypeRaw, SigningAlgorithm: kmstypes.SigningAlgorithmSpecEd25519Sha512, DryRun: aws.Bool(true),
	})
	if success := (*kmstypes.DryRunOperationException)(nil); errors.As(err, &success) {
		return nil
	}
	return errors.Join(fmt.Errorf("couldn't sign with the key %s; does the profile %q have the permission kms:Sign with ED25519_SHA_512?", *arn, t.settings.AWS.WorkerProfile), err)
}

// Unfinished says which intents from before an instant have no ending in the tenant's log, from a position on: see translog.Reader.Unfinished.
func (t *Tenant) Unfinished(ctx context.Context, from translog.Position, before time.Time) (*translog.Unfinished, error) {
	return translog.Reader{Source: translog.Stored(LogSource(t.s3, t.settings)), Verifier: t.roots.Log}.Unfinished(ctx, from, before)
}
