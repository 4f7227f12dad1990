// Package objectstore runs an S3 gateway (versitygw on a directory) inside the
// process, with a versioned bucket for documents and an Object Lock bucket for
// evidence. It is for development and tests.
//
// One gateway may run per process. Starting it changes the process's working
// directory to the store's, because the gateway's file backend works with relative
// paths: the rest of the process must use absolute ones.
package objectstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// Roles of users; a tenant has one user of each.
const (
	RoleWorker  = "worker"
	RoleStarter = "starter"
)

// Where the gateway keeps metadata, locks among it. With sidecar files, version
// 1.8.0 keeps hiding a key that was deleted and put again; use new keys there.
const (
	MetadataXattr   = "extended attributes"
	MetadataSidecar = "sidecar files"
)

// Credential is a static access key.
type Credential struct{ AccessKeyID, SecretAccessKey string }

// User is a tenant's process with its key.
type User struct {
	Credential
	Tenant string
	Role   string
	// AnyPrefix lets it reach every tenant's objects. It is for tests of what else
	// keeps tenants apart, and for nothing else.
	AnyPrefix bool
}

// Config says how to run the store. All fields are required, Users may be empty.
type Config struct {
	Dir     string // absolute
	Address string // 127.0.0.1 with a port
	Region  string
	Root    Credential
	Users   []User

	// takesAttributes says whether the file system has extended attributes; nil asks it.
	takesAttributes func(dir string) bool
}

// Store is a running gateway.
type Store struct {
	// Endpoint is the S3 URL (path style).
	Endpoint string
	// Metadata is MetadataXattr, or MetadataSidecar where the file system has no
	// extended attributes. A directory keeps what it began with.
	Metadata string

	stop context.CancelFunc
	done chan error
}

// Start runs the gateway and returns when the buckets, their locks and policies are
// in place. Policies are written anew at each start.
func Start(ctx context.Context, c Config) (*Store, error) {
	if !filepath.IsAbs(c.Dir) {
		return nil, fmt.Errorf("couldn't start the object store: directory %q isn't absolute", c.Dir)
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil || host != "127.0.0.1" {
		return nil, fmt.Errorf("couldn't start the object store: address %q isn't 127.0.0.1 with a port", c.Address)
	}
	store, metadata, options, err := prepareMetadata(c)
	if err != nil {
		return nil, fmt.Errorf("couldn't prepare the object store: %w", err)
	}
	backend, err := posix.New(filepath.Join(c.Dir, "buckets"), store, options)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the object store's directory: %w", err)
	}
	running, stop := context.WithCancel(context.Background())
	s := &Store{Endpoint: "http://" + c.Address, Metadata: metadata, stop: stop, done: make(chan error, 1)}
	go func() {
		err := embedgw.RunVersityGW(running, holding{backend}, &embedgw.Config{
			RootUserAccess:    c.Root.AccessKeyID,
			RootUserSecret:    c.Root.SecretAccessKey,
			Region:            c.Region,
			Ports:             []string{c.Address},
			MaxConnections:    2048,
			MaxRequests:       1024,
			MultipartMaxParts: 10000,
			Quiet:             true,
			KeepAlive:         true,
			DisableACLs:       true,
			IAMService:        newAccounts(c.Root, c.Users),
		})
		backend.Shutdown()
		s.done <- err
	}()
	if err := s.prepareBuckets(ctx, c); err != nil {
		stopped := s.Stop()
		return nil, errors.Join(fmt.Errorf("couldn't prepare the buckets: %w", err), stopped)
	}
	return s, nil
}

// Stop ends the gateway after the requests in flight.
func (s *Store) Stop() error {
	s.stop()
	if err := <-s.done; err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("couldn't stop the object store: %w", err)
	}
	return nil
}

// prepareMetadata makes the directories and finds out whether the file system
// takes extended attributes.
func prepareMetadata(c Config) (meta.MetadataStorer, string, posix.PosixOpts, error) {
	dir, attributes := c.Dir, c.takesAttributes
	if attributes == nil {
		attributes = takesAttributes
	}
	options := posix.PosixOpts{
		VersioningDir: filepath.Join(dir, "versions"),
		NewDirPerm:    0o700,
		NewFilePerm:   0o600,
		Concurrency:   256,
		// The gateway's command sets this default; its library leaves it at zero.
		CopyObjectThreshold: 5 << 30,
	}
	for _, name := range []string{"buckets", "versions"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, "", options, err
		}
	}
	sidecar := filepath.Join(dir, "sidecar")
	if _, err := os.Stat(sidecar); errors.Is(err, os.ErrNotExist) && attributes(dir) {
		return meta.XattrMeta{}, MetadataXattr, options, nil
	}
	if err := os.MkdirAll(sidecar, 0o700); err != nil {
		return nil, "", options, err
	}
	options.SideCarDir = sidecar
	store, err := meta.NewSideCar(sidecar)
	return store, MetadataSidecar, options, err
}

func takesAttributes(dir string) bool {
	probe, err := os.MkdirTemp(dir, "probe-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(probe)
	return meta.XattrMeta{}.StoreAttribute(nil, probe, "", "probe", []byte("1")) == nil
}

func (s *Store) prepareBuckets(ctx context.Context, c Config) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := s.awaitListener(ctx, c.Address); err != nil {
		return err
	}
	client := Client(s.Endpoint, c.Region, c.Root)
	for _, bucket := range []string{Documents, Evidence} {
		_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket:                     aws.String(bucket),
			ObjectLockEnabledForBucket: aws.Bool(bucket == Evidence),
			CreateBucketConfiguration:  &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(c.Region)},
		})
		var owned *types.BucketAlreadyOwnedByYou
		if err != nil && !errors.As(err, &owned) {
			return err
		}
		if _, err := client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket:                  aws.String(bucket),
			VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
		}); err != nil {
			return err
		}
		if len(c.Users) == 0 {
			continue
		}
		policy, err := bucketPolicy(bucket, c.Users)
		if err != nil {
			return err
		}
		if _, err := client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: aws.String(policy)}); err != nil {
			return err
		}
	}
	lock, err := client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: aws.String(Evidence)})
	if err != nil {
		return err
	}
	if lock.ObjectLockConfiguration == nil || lock.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return errors.New("the evidence bucket has no Object Lock")
	}
	return nil
}

func (s *Store) awaitListener(ctx context.Context, address string) error {
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case err := <-s.done:
			s.done <- err
			return fmt.Errorf("the gateway ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("the gateway doesn't listen on %s: %w", address, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Client returns an S3 client for the store, path style.
func Client(endpoint, region string, credential Credential) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       region,
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(credential.AccessKeyID, credential.SecretAccessKey, ""),
	})
}
