package api

import (
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/zerolog"
)

// Route is one thing that the API can be asked.
type Route struct {
	ID     string // of the operation; empty for the API's description of itself
	Method string
	Path   string // with {parameters}
}

// Routes are all that the API answers, as they are registered: whoever lists what each of them may tell to whom finds one that is missing.
func Routes() []Route {
	s := newServer(nil, zerolog.Nop())
	defer s.Close()
	return slices.Clone(s.served)
}

// noting notes each operation that is registered, those that the description leaves out as well.
type noting struct {
	huma.Adapter
	server *Server
}

func (n *noting) Handle(op *huma.Operation, handler func(huma.Context)) {
	n.server.served = append(n.server.served, Route{ID: op.OperationID, Method: op.Method, Path: op.Path})
	n.Adapter.Handle(op, handler)
}
