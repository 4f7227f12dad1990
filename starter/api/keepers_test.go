package api

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// kept is the keeper of a grant or a key in memory: its status, and what was told to it.
type kept struct {
	workflow string
	status   any
	input    any
}

func (m *memoryPipeline) Keep(ctx context.Context, id, workflow string, input any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	if _, ok := m.kept[id]; ok {
		return errExists
	}
	m.kept[id] = kept{workflow: workflow, input: input}
	return nil
}

func (m *memoryPipeline) Tell(ctx context.Context, id, name string, payload any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	if _, ok := m.kept[id]; !ok {
		return errNotFound
	}
	m.signals = append(m.signals, signal{request: id, name: name, bearer: bearerOf(ctx), payload: payload})
	return nil
}

func (m *memoryPipeline) Ask(_ context.Context, id string, into any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.kept[id]
	if !ok {
		return errNotFound
	}
	raw, err := json.Marshal(k.status)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func (m *memoryPipeline) Trouble(context.Context, string) (string, error) { return "", nil }

func (m *memoryPipeline) Runs(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.kept[id]
	return ok, nil
}

func (m *memoryPipeline) Live(_ context.Context, kind string, limit int) ([]string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := slices.Sorted(maps.Keys(m.kept))
	ids = slices.DeleteFunc(ids, func(id string) bool { return m.kept[id].workflow != kind })
	if len(ids) > limit {
		return ids[:limit], true, nil
	}
	return ids, false, nil
}

func bearerOf(ctx context.Context) string {
	header, _ := ctx.Value(authorizationKey{}).(string)
	return strings.TrimPrefix(header, "Bearer ")
}
