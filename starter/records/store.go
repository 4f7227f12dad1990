// Package records hands the evidence of a period to a central records system: each bundle once, whole and verified, with a manifest by which the
// receiving system proves that it has all of it.
package records

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/countersign-dev/countersign"
)

// Held is an object that a store has.
type Held struct {
	SHA256 string
	Bytes  int64
}

// errTaken says that something has the name already.
var errTaken = errors.New("the name is taken")

// Store is where a records system takes things from. What it has under a name is whole, at any time, and stays as it is: nothing is ever written over.
type Store interface {
	// Look says what lies under a name; nil where nothing does.
	Look(ctx context.Context, name string) (*Held, error)
	// Add stores an object if nothing has its name, and else returns an error that is errTaken.
	Add(ctx context.Context, name string, body []byte) error
}

// Open opens a destination: s3://bucket/prefix, with the caller's own AWS settings, or a directory, which is made if it isn't there.
func Open(ctx context.Context, destination string) (Store, error) {
	rest, bucket := strings.CutPrefix(destination, "s3://")
	if !bucket {
		return openDirectory(destination)
	}
	name, prefix, _ := strings.Cut(rest, "/")
	if name == "" {
		return nil, errors.New("s3:// needs a bucket: s3://bucket/prefix")
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the AWS settings: %w", err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		// An endpoint of one's own seldom has a host name for each bucket.
		o.UsePathStyle = o.BaseEndpoint != nil || os.Getenv("AWS_ENDPOINT_URL") != "" || os.Getenv("AWS_ENDPOINT_URL_S3") != ""
	})
	return &bucketStore{client, name, strings.Trim(prefix, "/")}, nil
}

// directory keeps each object as a file. A file has its name only once it is whole and on the disk: what a killed process leaves is a .partial file.
type directory string

const partial = ".partial-"

func openDirectory(dir string) (Store, error) {
	if dir == "" {
		return nil, errors.New("a directory or s3://bucket/prefix is needed")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make the directory: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, partial+"*"))
	for _, file := range left {
		err = errors.Join(err, os.Remove(file))
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't remove what a killed export left: %w", err)
	}
	return directory(dir), nil
}

func (d directory) Look(_ context.Context, name string) (*Held, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't look at %s: %w", name, err)
	}
	defer f.Close()
	return heldOf(name, f)
}

func heldOf(name string, r io.Reader) (*Held, error) {
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", name, err)
	}
	return &Held{hex.EncodeToString(sum.Sum(nil)), n}, nil
}

func (d directory) Add(_ context.Context, name string, body []byte) error {
	file := filepath.Join(string(d), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("couldn't store %s: %w", name, err)
	}
	f, err := os.CreateTemp(string(d), partial+"*")
	if err != nil {
		return fmt.Errorf("couldn't store %s: %w", name, err)
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		// A link fails where the name is taken, also by somebody who was faster; a rename would write over it.
		if err = os.Link(f.Name(), file); errors.Is(err, fs.ErrExist) {
			err = errTaken
		}
	}
	if err = errors.Join(err, os.Remove(f.Name())); err == nil {
		err = syncDirectory(filepath.Dir(file))
	}
	if err != nil {
		return fmt.Errorf("couldn't store %s: %w", name, err)
	}
	return nil
}

// syncDirectory makes a new name outlive a loss of power, where the file system knows how.
func syncDirectory(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// bucketStore keeps each object in a bucket below a prefix. Its rights need be no more than s3:PutObject and s3:GetObject there, and s3:ListBucket, without
// which the store calls a missing object forbidden.
type bucketStore struct {
	s3             *s3.Client
	bucket, prefix string
}

func (b *bucketStore) key(name string) *string { return aws.String(path.Join(b.prefix, name)) }

func (b *bucketStore) Look(ctx context.Context, name string) (*Held, error) {
	head, err := b.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(b.bucket), Key: b.key(name), ChecksumMode: s3types.ChecksumModeEnabled})
	if code := codeOf(err); code == "NotFound" || code == "NoSuchKey" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't look at %s: %w", name, err)
	}
	// The store's own checksum is of the whole object where it was put in one piece, as here.
	if sum, err := base64.StdEncoding.DecodeString(aws.ToString(head.ChecksumSHA256)); err == nil && len(sum) == sha256.Size {
		return &Held{hex.EncodeToString(sum), aws.ToInt64(head.ContentLength)}, nil
	}
	out, err := b.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(b.bucket), Key: b.key(name)})
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", name, err)
	}
	defer out.Body.Close()
	return heldOf(name, out.Body)
}

func (b *bucketStore) Add(ctx context.Context, name string, body []byte) error {
	sum, err := hex.DecodeString(countersign.SHA256(body))
	if err != nil {
		return fmt.Errorf("couldn't store %s: %w", name, err)
	}
	_, err = b.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(b.bucket), Key: b.key(name), Body: bytes.NewReader(body), IfNoneMatch: aws.String("*"),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum)),
	})
	if code := codeOf(err); code == "PreconditionFailed" || code == "ConditionalRequestConflict" {
		err = errTaken
	}
	if err != nil {
		return fmt.Errorf("couldn't store %s: %w", name, err)
	}
	return nil
}

func codeOf(err error) string {
	var told smithy.APIError
	if errors.As(err, &told) {
		return told.ErrorCode()
	}
	return ""
}
