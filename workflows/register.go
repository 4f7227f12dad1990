package workflows

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"sort"
	"strings"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
)

//go:embed *.go
var sources embed.FS

// Register puts the workflows on a worker or a replayer, under the names that other SDKs start them by.
func Register(r worker.WorkflowRegistry) {
	r.RegisterWorkflowWithOptions(RequestSigning, workflow.RegisterOptions{Name: countersign.WorkflowRequestSigning})
	r.RegisterWorkflowWithOptions(Signing, workflow.RegisterOptions{Name: countersign.WorkflowSigning})
	r.RegisterWorkflowWithOptions(Access, workflow.RegisterOptions{Name: countersign.WorkflowAccess})
	r.RegisterWorkflowWithOptions(Review, workflow.RegisterOptions{Name: countersign.WorkflowReview})
	r.RegisterWorkflowWithOptions(Shredding, workflow.RegisterOptions{Name: countersign.WorkflowShredding})
	r.RegisterWorkflowWithOptions(Hold, workflow.RegisterOptions{Name: countersign.WorkflowHold})
	r.RegisterWorkflowWithOptions(Retain, workflow.RegisterOptions{Name: countersign.WorkflowRetain})
	r.RegisterWorkflowWithOptions(Renewal, workflow.RegisterOptions{Name: countersign.WorkflowRenewal})
	r.RegisterWorkflowWithOptions(Reindex, workflow.RegisterOptions{Name: countersign.WorkflowReindex})
	r.RegisterWorkflowWithOptions(Enrolment, workflow.RegisterOptions{Name: countersign.WorkflowEnrolment})
	r.RegisterWorkflowWithOptions(CustodySweep, workflow.RegisterOptions{Name: countersign.WorkflowSweep})
	r.RegisterWorkflowWithOptions(EvidenceCheck, workflow.RegisterOptions{Name: countersign.WorkflowEvidenceCheck})
	r.RegisterWorkflowWithOptions(Recovery, workflow.RegisterOptions{Name: countersign.WorkflowRecovery})
}

// CodeDigest is the SHA-256 over the workflow sources that were compiled in, without tests: it names the code that a history has to be replayed with.
func CodeDigest() string {
	entries, err := sources.ReadDir(".")
	if err != nil {
		return "not recorded"
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	h := sha256.New()
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		body, err := sources.ReadFile(e.Name())
		if err != nil {
			return "not recorded"
		}
		h.Write([]byte(e.Name()))
		h.Write([]byte{0})
		h.Write(body)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}
