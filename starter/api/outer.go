package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/countersign-dev/countersign"
)

// caller is who is being served, in which tenant.
type caller struct {
	tenant *tenant
	actor  countersign.Actor
}

type callerKey struct{}

func callerOf(ctx context.Context) caller { c, _ := ctx.Value(callerKey{}).(caller); return c }

// note is what the access log will say of a request, beside what the request itself shows.
type note struct {
	base                   zerolog.Logger
	tenant, signing, actor string
}

type noteKey struct{}

// logged writes an error under the request's id. Errors here hold no token and no body.
func logged(ctx context.Context, err error) {
	noteOf(ctx).log().Error().Err(err).Msg("a request failed")
}

// about keeps which tenant and signing a request is about, the signing as the workers name it. What is no id of a request is no signing.
func (n *note) about(tenant, request string) {
	n.tenant = tenant
	if countersign.CheckRequestID(request) == nil {
		n.signing = countersign.SagaID(tenant, request)
	}
}

// log is a logger whose lines say what the request is about, as far as that is known.
func (n *note) log() *zerolog.Logger {
	fields := n.base.With()
	for _, f := range [][2]string{{"tenant", n.tenant}, {"signing", n.signing}} {
		if f[1] != "" {
			fields = fields.Str(f[0], f[1])
		}
	}
	l := fields.Logger()
	return &l
}

// noteOf is the note of a request; outside of one, a note that nobody reads.
func noteOf(ctx context.Context) *note {
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		return n
	}
	return &note{base: zerolog.Nop()}
}

// outer gives every request an id, a line in the log and answers that no cache keeps, and keeps a panic to its request.
func (s *Server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := uuid.NewString()
		n := &note{base: s.log.With().Str("request", id).Logger()}
		began := time.Now()
		out := &recorder{ResponseWriter: w, hold: func() { s.hold(r.Context(), untilEven(time.Since(began))) }}
		for name, value := range map[string]string{"X-Request-Id": id, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
			out.Header().Set(name, value)
		}
		defer func() {
			if fault := recover(); fault != nil && fault != http.ErrAbortHandler {
				n.log().Error().Str("panic", fmt.Sprint(fault)).Bytes("stack", debug.Stack()).Msg("a request panicked")
				if out.status == 0 {
					writeProblem(out, newProblem(http.StatusInternalServerError, "internal", "something went wrong here; the service's log tells more under this request's id"))
				}
			}
			// The query is left out: it may hold a reason.
			n.log().Info().Str("method", r.Method).Str("path", r.URL.Path).Int("status", out.status).Int64("bytes", out.bytes).
				Dur("ms", time.Since(began)).Str("actor", n.actor).Msg("served")
		}()
		ctx := context.WithValue(r.Context(), noteKey{}, n)
		next.ServeHTTP(out, r.WithContext(context.WithValue(ctx, sourceKey{}, s.source(r))))
	})
}

// recorder notes status and size of an answer.
type recorder struct {
	http.ResponseWriter
	hold   func() // before it is said that something isn't there
	status int
	bytes  int64
}

// even is what the time of an answer that something isn't there is a multiple of. To find out that something is not the caller's takes longer than
// to find nothing; what exists must not be told from what doesn't by the clock.
const even = 250 * time.Millisecond

// untilEven is how long an answer has to wait that has taken so long.
func untilEven(took time.Duration) time.Duration { return (even - took%even) % even }

// wait waits, or until nobody wants the answer any more.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
		if status == http.StatusNotFound {
			r.hold()
		}
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets deadlines and flushing through.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func writeProblem(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p.Problem) // whoever asked is gone
}

// anonymous marks an operation that needs no token.
const anonymous = "anonymous"

// unauthenticated is one answer for every reason, and for a tenant that doesn't exist: who has no good token learns neither which tenants
// there are nor whom they trust. The reason is in the log.
const unauthenticated = "an access token is needed: current, of an identity provider that the tenant trusts, for this service; not an ID token and not the proof of a decision"

// authenticate lets an operation be reached by whoever its tenant's issuers name. It runs before anything of the request's body is read.
func (s *Server) authenticate(ctx huma.Context, next func(huma.Context)) {
	if open, _ := ctx.Operation().Metadata[anonymous].(bool); open {
		next(ctx)
		return
	}
	_, w := humago.Unwrap(ctx)
	n := noteOf(ctx.Context())
	refuse := func(reason string) {
		n.log().Warn().Str("reason", reason).Msg("not authenticated")
		challenge := `Bearer realm="countersign"`
		if reason != "no-token" {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		writeProblem(w, newProblem(http.StatusUnauthorized, "unauthenticated", unauthenticated))
	}
	var headers []string
	ctx.EachHeader(func(name, value string) {
		if strings.EqualFold(name, "Authorization") {
			headers = append(headers, value)
		}
	})
	if len(headers) != 1 {
		refuse("no-token")
		return
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	t, ok := s.tenants[ctx.Param("tenant")]
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		refuse("no-token")
		return
	case !ok:
		refuse("unknown-tenant")
		return
	}
	n.about(t.settings.Tenant, ctx.Param("request"))
	within, cancel := context.WithTimeout(ctx.Context(), 15*time.Second)
	defer cancel()
	actor, err := t.registry.VerifyBearer(within, token, s.now())
	if err != nil {
		refusal, ok := err.(*countersign.Refusal)
		if ok {
			refuse(refusal.Code)
			return
		}
		logged(ctx.Context(), err)
		w.Header().Set("Retry-After", "5")
		writeProblem(w, newProblem(http.StatusServiceUnavailable, "issuer-unavailable", "your identity provider did not answer, so your token could not be checked; try again later"))
		return
	}
	n.actor = actor.String()
	ctx = huma.WithValue(ctx, callerKey{}, caller{t, actor})
	next(huma.WithValue(ctx, authorizationKey{}, "Bearer "+token))
}

// bounded gives an operation its time: to work, and to write its answer.
func bounded(limit time.Duration) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		_, w := humago.Unwrap(ctx)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit + 5*time.Second)) // a writer without deadlines keeps the server's
		within, cancel := context.WithTimeout(ctx.Context(), limit)
		defer cancel()
		next(huma.WithContext(ctx, within))
	}
}
