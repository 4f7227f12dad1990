package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
	"github.com/countersign-dev/countersign/starter/client"
	"github.com/countersign-dev/countersign/workflows"
)

type logOutput struct {
	Type string `header:"Content-Type"`
	Body []byte
}

// getEvidenceLog is the proof that a signing's ending is in the tenant's log, to those who may see the signing.
func (s *Server) getEvidenceLog(ctx context.Context, in *signingInput) (*logOutput, error) {
	status, err := s.view(ctx, in.Request, in.Grant)
	if err != nil {
		return nil, err
	}
	if status.State != client.StateDone || status.Evidence == nil {
		return nil, newProblem(http.StatusConflict, "evidence-pending", "the evidence is not locked yet: the signing is at "+status.State)
	}
	t := callerOf(ctx).tenant
	custody, err := t.pipeline.Custody(ctx, in.Request)
	if errors.Is(err, errNotFound) || err == nil && custody.State == workflows.StateNotASigning {
		r, err := t.recall(ctx, in.Request)
		if err != nil {
			return nil, fault(ctx, "read the log's proof", err)
		}
		return &logOutput{"application/json", r.proof}, nil
	}
	if err != nil {
		return nil, fault(ctx, "read the log's proof", err)
	}
	if custody.Log == nil {
		return nil, newProblem(http.StatusConflict, "not-logged", "the signing was ended by a build that kept no log")
	}
	body, err := json.Marshal(custody.Log)
	if err != nil {
		return nil, fault(ctx, "write the log's proof", err)
	}
	return &logOutput{"application/json", body}, nil
}

// watches lets people and machines of the tenant's file see what the log commits to: roots and hashes, which name nothing.
func (c caller) watches() error {
	if !c.listed() {
		return newProblem(http.StatusForbidden, "not-entitled", "this is for the people and machines that the tenant's file lists")
	}
	return nil
}

type checkpointInput struct {
	Tenant string `path:"tenant"`
}

// getCheckpoint is the newest checkpoint of the tenant's log.
func (s *Server) getCheckpoint(ctx context.Context, _ *checkpointInput) (*logOutput, error) {
	c := callerOf(ctx)
	if err := c.watches(); err != nil {
		return nil, err
	}
	head, err := c.tenant.head(ctx)
	if err != nil {
		return nil, err
	}
	return &logOutput{"text/plain; charset=utf-8", []byte(head.Text)}, nil
}

// head is the newest checkpoint, believed only with the log key's signature: another one is not passed on.
func (t *tenant) head(ctx context.Context) (translog.Checkpoint, error) {
	head, err := translog.Reader{Source: t.objects.Log(), Verifier: t.logKey}.Head(ctx)
	if errors.Is(err, translog.ErrGone) {
		return head, newProblem(http.StatusNotFound, "not-found", "the tenant's log has no entry yet")
	}
	if err != nil {
		return head, fault(ctx, "read the log's checkpoint", err)
	}
	return head, nil
}

type tileInput struct {
	Tenant string `path:"tenant"`
	Tile   string `path:"tile" maxLength:"64" doc:"Level and place of a tile, or entries and place, each with .p and a width where it is not full."`
}

// getTile is a tile that the newest checkpoint covers. The entries name requests of all parties, so they are for the tenant's offices alone.
func (s *Server) getTile(ctx context.Context, in *tileInput) (*logOutput, error) {
	c := callerOf(ctx)
	if err := c.watches(); err != nil {
		return nil, err
	}
	name := "tile/" + in.Tile
	entries, end, ok := translog.Covers(name)
	if !ok {
		return nil, notThere()
	}
	if entries {
		if err := c.entitled(); err != nil {
			return nil, err
		}
	}
	head, err := c.tenant.head(ctx)
	if err != nil {
		return nil, err
	}
	if end > head.N {
		return nil, notThere()
	}
	body, err := c.tenant.objects.Log().Get(ctx, name, translog.MaxFile)
	if err != nil {
		return nil, fault(ctx, "read the log", fmt.Errorf("%s, which the checkpoint covers: %w", name, err))
	}
	if entries {
		if err := s.noteReading(ctx, evidence.Reading{What: evidence.ReadList, Filter: "log=" + name}); err != nil {
			return nil, err
		}
	}
	return &logOutput{"application/octet-stream", body}, nil
}
