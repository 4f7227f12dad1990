package temporal

import (
	"strconv"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// BenchmarkWorkflow measures one workflow from its start to its result, alone on the
// server: the delay that a test or a demonstration feels.
func BenchmarkWorkflow(b *testing.B) {
	w := newWorld(b)
	server, err := Start(Config{Dir: b.TempDir(), Address: freeAddress(b), Directory: w.directory})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop() })
	dial := func(who string) client.Client {
		c, err := client.Dial(client.Options{HostPort: server.Address, Namespace: "acme", HeadersProvider: bearer(w.token(b, who)), Logger: quiet{}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.Close)
		return c
	}
	process, requester := dial("platform:worker/acme"), dial("acme/procurement")
	work := worker.New(process, "signing", worker.Options{})
	work.RegisterWorkflowWithOptions(func(workflow.Context) error { return nil }, workflow.RegisterOptions{Name: "RequestSigning"})
	if err := work.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(work.Stop)
	for i := 0; b.Loop(); i++ {
		run, err := requester.ExecuteWorkflow(b.Context(), client.StartWorkflowOptions{
			ID: "signing/acme/" + strconv.Itoa(i), TaskQueue: "signing",
			WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		}, "RequestSigning")
		if err != nil {
			b.Fatal(err)
		}
		if err := process.GetWorkflow(b.Context(), run.GetID(), run.GetRunID()).Get(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
}
