package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"gopkg.in/yaml.v3"
)

// queue is the product's task queue of signings.
const queue = "signing"

// seenWithin is how old the last poll may be. A poll that finds nothing lasts a minute.
const seenWithin = 3 * time.Minute

// pollers asks, with the worker's own keys, whether every tenant's queue has a worker.
func pollers(ctx context.Context, address, tenants, platform string) error {
	files, err := filepath.Glob(filepath.Join(tenants, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("there is no tenant's file (*.yaml) in %s", tenants)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	api := workflowservice.NewWorkflowServiceClient(conn)
	for _, file := range files {
		var tenant struct{ Tenant, Namespace string }
		text, err := os.ReadFile(file)
		if err == nil {
			err = yaml.Unmarshal(text, &tenant)
		}
		if err != nil {
			return fmt.Errorf("couldn't read %s: %w", file, err)
		}
		token, err := workerToken(filepath.Join(platform, "worker-"+tenant.Tenant+".pem"), tenant.Tenant)
		if err != nil {
			return err
		}
		described, err := api.DescribeTaskQueue(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), &workflowservice.DescribeTaskQueueRequest{
			Namespace: tenant.Namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: queue}, TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
		})
		if err != nil {
			return fmt.Errorf("couldn't ask for the workers of namespace %s: %w", tenant.Namespace, err)
		}
		alive := false
		for _, poller := range described.Pollers {
			alive = alive || time.Since(poller.LastAccessTime.AsTime()) < seenWithin
		}
		if !alive {
			return fmt.Errorf("no worker asks for work in namespace %s", tenant.Namespace)
		}
	}
	return nil
}

// workerToken is a platform token, as the product's worker makes it, for one call.
// It is written here again so that this image doesn't contain a Temporal server.
func workerToken(file, tenant string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("couldn't read the worker's key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", errors.New("couldn't read the worker's key: it isn't PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("couldn't read the worker's key: %w", err)
	}
	key := jose.JSONWebKey{Key: parsed}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("couldn't use the worker's key: %w", err)
	}
	key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("couldn't use the worker's key: %w", err)
	}
	now := time.Now()
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: "countersign-platform", Subject: "worker/" + tenant, Audience: jwt.Audience{"temporal"},
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
}
