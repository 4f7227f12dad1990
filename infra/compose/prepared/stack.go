package prepared

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/countersign-dev/countersign/infra/objectstore"
)

const startTimeout = 2 * time.Minute

// stack is a local stack that ran once.
type stack struct {
	dir      string
	policies map[string]string // of its buckets
	about    struct {
		S3     struct{ Endpoint, Region string }
		AWS    struct{ CredentialsFile, AdminProfile string }
		People []struct {
			Issuer, Login, Subject, Name, Email, Password string
			Disabled                                      bool
		}
		Issuers  map[string]struct{ URL string }
		Machines []struct{ Issuer, Client, KeyFile string }
	}
}

// run starts the stack, reads what it says of itself and its buckets' policies, and
// stops it.
func (s *stack) run(ctx context.Context, devstack string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, devstack, "--data", s.dir, "--fixed-ports", "--single-authority", "--json")
	command.Stderr = os.Stderr
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 20 * time.Second
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	line, readErr := bufio.NewReader(output).ReadBytes('\n')
	if readErr == nil {
		readErr = json.Unmarshal(line, &s.about)
	}
	if readErr == nil {
		readErr = s.readPolicies(ctx)
	}
	stopErr := command.Process.Signal(syscall.SIGTERM)
	if errors.Is(stopErr, os.ErrProcessDone) {
		stopErr = nil
	}
	return errors.Join(readErr, stopErr, command.Wait())
}

func (s *stack) readPolicies(ctx context.Context) error {
	profiles, err := ReadProfiles(s.about.AWS.CredentialsFile)
	if err != nil {
		return err
	}
	admin, ok := find(profiles, s.about.AWS.AdminProfile)
	if !ok {
		return fmt.Errorf("profile %q isn't in %s", s.about.AWS.AdminProfile, filepath.Base(s.about.AWS.CredentialsFile))
	}
	client := objectstore.Client(s.about.S3.Endpoint, s.about.S3.Region, admin.Credential)
	s.policies = map[string]string{}
	for _, bucket := range []string{objectstore.Documents, objectstore.Evidence} {
		policy, err := client.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: aws.String(bucket)})
		if err != nil {
			return fmt.Errorf("couldn't read the policy of bucket %s: %w", bucket, err)
		}
		s.policies[bucket] = aws.ToString(policy.Policy)
	}
	return nil
}
