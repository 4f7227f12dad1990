package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/zerolog"
)

// Route is one thing that the API can be asked.
type Route struct {
	ID     string // of the operation; its path where it has none
	Method string // empty for any
	Path   string // with {parameters}
}

// Routes are all that the API answers, as they are registered: whoever lists what each of them may tell to whom finds one that is missing.
func Routes() []Route {
	s := newServer(nil, zerolog.Nop())
	defer s.Close()
	return slices.Clone(s.served)
}

// noting notes each operation that is registered, those that the API's description leaves out as well.
type noting struct {
	huma.Adapter
	server *Server
}

func (n *noting) Handle(op *huma.Operation, handler func(huma.Context)) {
	n.server.served = append(n.server.served, Route{ID: cmp.Or(op.OperationID, op.Path), Method: op.Method, Path: op.Path})
	n.Adapter.Handle(op, handler)
}

// routed is the mux behind the operations. It notes what is registered past them.
type routed struct {
	*http.ServeMux
	server *Server
}

func (m *routed) Handle(pattern string, handler http.Handler) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = "", pattern
	}
	if !slices.ContainsFunc(m.server.served, func(r Route) bool { return r.Method == method && r.Path == path }) {
		m.server.served = append(m.server.served, Route{ID: path, Method: method, Path: path})
	}
	m.ServeMux.Handle(pattern, handler)
}

func (m *routed) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.Handle(pattern, http.HandlerFunc(handler))
}
