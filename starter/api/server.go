// Package api is the HTTP API: what a procurement system and approvers reach. It decides nothing. It shows, uploads, and passes
// on, and what changes something is done with the caller's own token, so that Temporal's server stamps who did it.
package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/rs/zerolog"
)

// Server serves the API of every tenant.
type Server struct {
	tenants  map[string]*tenant
	log      zerolog.Logger
	now      func() time.Time
	hold     func(context.Context, time.Duration)
	proxies  []netip.Prefix
	handler  http.Handler
	served   []Route
	verifier *verifierPage // nil where the installation serves none

	streams chan struct{}   // bounds event streams
	closing context.Context // ends event streams at shutdown
	close   context.CancelFunc
}

const (
	// maxStreams is how many event streams one process serves at once.
	maxStreams = 1000
	// maxTransfers is how many documents and bundles one tenant has in a process's temporary files at once.
	maxTransfers = 4
	// requestTimeout bounds all that is no transfer and no stream.
	requestTimeout = 45 * time.Second
	// transferTimeout bounds the upload or download of one document or bundle.
	transferTimeout = 5 * time.Minute
)

func newServer(tenants map[string]*tenant, log zerolog.Logger) *Server {
	s := &Server{tenants: tenants, log: log, now: time.Now, hold: wait, streams: make(chan struct{}, maxStreams)}
	s.closing, s.close = context.WithCancel(context.Background())
	for _, t := range tenants {
		t.transfers, t.recalls = make(chan struct{}, maxTransfers), make(chan struct{}, maxRecalls)
	}
	mux := &routed{http.NewServeMux(), s}
	config := huma.DefaultConfig("Countersign", "1")
	config.Info.Description = "Signing of documents between organisations. Every error is application/problem+json (RFC 9457) with a stable code."
	// Its page loads scripts from elsewhere, and its hooks put links to schemas into every answer.
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		securityScheme: {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An access token of an identity provider that the tenant trusts, for its audience. An ID token, and a token that proves a decision, log nobody in."},
	}
	api := huma.NewAPI(config, &noting{Adapter: humago.NewAdapter(mux, ""), server: s})
	api.UseMiddleware(s.authenticate)
	s.routes(api)
	mux.HandleFunc("GET "+verifierPath, s.verify)
	mux.HandleFunc("/", s.nothing)
	s.handler = s.outer(mux)
	return s
}

// Handler is the API with its routes, logs and bounds.
func (s *Server) Handler() http.Handler { return s.handler }

// HTTP is a server with its time limits. On its Shutdown the event streams end.
func (s *Server) HTTP() *http.Server {
	server := &http.Server{
		Handler: s.handler, MaxHeaderBytes: 32 << 10,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
	}
	server.RegisterOnShutdown(s.close)
	return server
}

// Close lets go of every tenant.
func (s *Server) Close() {
	s.close()
	for _, t := range s.tenants {
		t.pipeline.Close()
	}
}

const securityScheme = "token"

// routes are all there are. Whatever needs no token says so.
func (s *Server) routes(api huma.API) {
	signing := "/v1/{tenant}/signings/{request}"
	small := func(id, method, path, summary string, status int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, DefaultStatus: status, MaxBodyBytes: 64<<10 + 1,
			Security: []map[string][]string{{securityScheme: {}}}, Middlewares: huma.Middlewares{bounded(requestTimeout)},
			Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable},
		}
	}
	transfer := func(id, method, path, summary string, status int) huma.Operation {
		op := small(id, method, path, summary, status)
		op.Middlewares = huma.Middlewares{bounded(transferTimeout), s.oneTransfer}
		return op
	}
	upload := transfer("put-document", http.MethodPut, "/v1/{tenant}/documents", "Upload a PDF; the same bytes are the same document", http.StatusCreated)
	upload.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{pdfType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}
	huma.Register(api, upload, s.putDocument)
	huma.Register(api, small("request-signing", http.MethodPost, "/v1/{tenant}/signings", "Ask for a document to be signed", http.StatusCreated), s.requestSigning)
	huma.Register(api, small("get-inbox", http.MethodGet, "/v1/{tenant}/inbox", "What waits for your decision", http.StatusOK), s.inbox)
	huma.Register(api, small("get-signing", http.MethodGet, signing, "Where a signing stands", http.StatusOK), s.getSigning)
	huma.Register(api, small("explain-signing", http.MethodGet, signing+"/explanation", "Who must approve and why, who could stand in, and what each refusal was for", http.StatusOK), s.explainSigning)
	huma.Register(api, small("explain-purpose", http.MethodGet, "/v1/{tenant}/purposes/{purpose}/explanation", "Who would have to approve a request of yours, if you made it now", http.StatusOK), s.explainPurpose)
	huma.Register(api, small("draft-decision", http.MethodGet, signing+"/decision", "A decision to check and prove; it decides nothing", http.StatusOK), s.draftDecision)
	decide := small("send-decision", http.MethodPost, signing+"/decisions", "Send a proven decision; whether it counts is in the status", http.StatusAccepted)
	decide.MaxBodyBytes = maxDecisionBody
	huma.Register(api, decide, s.sendDecision)
	huma.Register(api, small("withdraw", http.MethodPost, signing+"/withdraw", "Take your request back", http.StatusAccepted), s.withdraw)
	events := small("watch-signing", http.MethodGet, signing+"/events", "One event with the status at each change, until the signing is done", http.StatusOK)
	events.Middlewares = nil
	events.Responses = map[string]*huma.Response{"200": {Description: "Server-sent events: `status` with the status as JSON, at the end `end`", Content: map[string]*huma.MediaType{eventStream: {}}}}
	huma.Register(api, events, s.watchSigning)
	document := transfer("get-document", http.MethodGet, signing+"/document", "The document that is decided about", http.StatusOK)
	huma.Register(api, document, s.getDocument)
	huma.Register(api, transfer("get-evidence", http.MethodGet, signing+"/evidence", "The locked evidence bundle (ASiC-E)", http.StatusOK), s.getEvidence)
	huma.Register(api, small("get-evidence-log", http.MethodGet, signing+"/evidence/log", "The proof that the ending is in the tenant's log, with the digest of the bundle", http.StatusOK), s.getEvidenceLog)
	huma.Register(api, small("get-evidence-renewal", http.MethodGet, signing+"/evidence/renewal", "The newest evidence record (RFC 4998) over the locked bundle", http.StatusOK), s.getEvidenceRenewal)
	huma.Register(api, small("get-checkpoint", http.MethodGet, "/v1/{tenant}/log/checkpoint", "The newest checkpoint of the tenant's log (C2SP tlog-checkpoint)", http.StatusOK), s.getCheckpoint)
	huma.Register(api, small("get-tile", http.MethodGet, "/v1/{tenant}/log/tile/{tile...}", "A tile of the tenant's log, or an entry bundle (C2SP tlog-tiles); entries are for the tenant's compliance and owner", http.StatusOK), s.getTile)
	huma.Register(api, transfer("get-signed", http.MethodGet, signing+"/signed", "The signed PDF, once its evidence is locked", http.StatusOK), s.getSigned)

	grant, key := "/v1/{tenant}/grants", "/v1/{tenant}/keys"
	huma.Register(api, small("give-grant", http.MethodPost, grant, "Offer somebody a part of your authority", http.StatusAccepted), s.giveGrant)
	huma.Register(api, small("list-grants", http.MethodGet, grant, "The live grants that concern you", http.StatusOK), s.listGrants)
	huma.Register(api, small("get-grant", http.MethodGet, grant+"/{grant}", "Where a grant stands", http.StatusOK), s.getGrant)
	huma.Register(api, small("accept-grant", http.MethodPost, grant+"/{grant}/accept", "Take a grant that was offered to you", http.StatusAccepted), s.acceptGrant)
	huma.Register(api, small("revoke-grant", http.MethodPost, grant+"/{grant}/revoke", "Take a grant back; what was decided under it and is not signed yet will not be", http.StatusAccepted), s.revokeGrant)
	huma.Register(api, small("give-back-grant", http.MethodPost, grant+"/{grant}/give-back", "Give a grant up", http.StatusAccepted), s.giveBackGrant)
	huma.Register(api, small("enrol-key", http.MethodPost, key, "Enrol a key of yours", http.StatusAccepted), s.enrolKey)
	huma.Register(api, small("list-keys", http.MethodGet, key, "Your live keys", http.StatusOK), s.listKeys)
	huma.Register(api, small("get-key", http.MethodGet, key+"/{key}", "Where a key stands", http.StatusOK), s.getKey)
	huma.Register(api, small("retire-key", http.MethodPost, key+"/{key}/retire", "Take a key out of use", http.StatusAccepted), s.retireKey)
	review := "/v1/{tenant}/reviews"
	huma.Register(api, small("list-reviews", http.MethodGet, review, "The open reviews that concern you: of signings that did not wait for everybody", http.StatusOK), s.listReviews)
	huma.Register(api, small("get-review", http.MethodGet, review+"/{request}", "Where a review stands", http.StatusOK), s.getReview)
	huma.Register(api, small("close-review", http.MethodPost, review+"/{request}/close", "Say what a review found, and close it", http.StatusOK), s.closeReview)
	huma.Register(api, small("offboard", http.MethodPost, "/v1/{tenant}/offboard", "End what a person, or a whole partner, may do", http.StatusOK), s.offboard)

	huma.Register(api, small("list-evidence", http.MethodGet, "/v1/{tenant}/evidence", "Signings that ended, the last first, for the tenant's compliance and owner", http.StatusOK), s.listEvidence)
	shredding := "/v1/{tenant}/shreddings"
	huma.Register(api, small("list-shreddings", http.MethodGet, shredding, "Shreddings of personal data that wait for a second person, for the tenant's compliance and owner", http.StatusOK), s.listShreddings)
	huma.Register(api, small("propose-shredding", http.MethodPost, shredding, "Propose that a person's data in the evidence is shredded", http.StatusAccepted), s.proposeShredding)
	huma.Register(api, small("get-shredding", http.MethodGet, shredding+"/{shredding}", "Where a shredding stands", http.StatusOK), s.getShredding)
	huma.Register(api, small("answer-shredding", http.MethodPost, shredding+"/{shredding}/answer", "Approve or reject the shredding that another one of compliance proposed", http.StatusOK), s.answerShredding)
	huma.Register(api, small("renew-evidence", http.MethodPost, "/v1/{tenant}/renewals", "Have locked evidence time-stamped anew where it is due, for the tenant's compliance and owner", http.StatusAccepted), s.renewEvidence)
	huma.Register(api, small("get-renewal", http.MethodGet, "/v1/{tenant}/renewals/{renewal}", "How far a renewal is, for the tenant's compliance and owner", http.StatusOK), s.getRenewal)
	huma.Register(api, small("reindex-evidence", http.MethodPost, "/v1/{tenant}/reindexings", "Have the index of evidence compared with the log, and missing records made, for the tenant's compliance and owner", http.StatusAccepted), s.reindexEvidence)
	huma.Register(api, small("get-reindexing", http.MethodGet, "/v1/{tenant}/reindexings/{reindexing}", "How far a reindexing is, for the tenant's compliance and owner", http.StatusOK), s.getReindexing)
	checks := "/v1/{tenant}/checks"
	huma.Register(api, small("list-checks", http.MethodGet, checks, "Reports of the scheduled check of evidence, the last first, and whether one is missed, for the tenant's compliance and owner", http.StatusOK), s.listChecks)
	huma.Register(api, small("get-check", http.MethodGet, checks+"/{check}", "One report of a check of evidence, for the tenant's compliance and owner", http.StatusOK), s.getCheck)
	huma.Register(api, small("run-check", http.MethodPost, checks, "Have evidence checked now, for the tenant's compliance and owner", http.StatusAccepted), s.runCheck)
	huma.Register(api, small("get-check-run", http.MethodGet, checks+"/runs/{run}", "How far a check is that was asked for, for the tenant's compliance and owner", http.StatusOK), s.getCheckRun)
	huma.Register(api, small("list-reads", http.MethodGet, "/v1/{tenant}/reads", "Who read which evidence, the first first, for the tenant's compliance and owner", http.StatusOK), s.listReads)

	order := "/v1/{tenant}/orders"
	huma.Register(api, small("list-holds", http.MethodGet, order, "The evidence that is held, and the orders about evidence that wait, for the tenant's compliance and owner", http.StatusOK), s.listHolds)
	huma.Register(api, small("get-orders", http.MethodGet, order+"/{request}", "What was ordered about a request's evidence, and how it is kept", http.StatusOK), s.getOrders)
	huma.Register(api, small("give-order", http.MethodPost, order+"/{request}", "Order evidence to be held, a hold to be lifted, or a retention to be extended", http.StatusOK), s.giveOrder)
	huma.Register(api, small("answer-order", http.MethodPost, order+"/{request}/answer", "Approve or reject the order of another one of compliance", http.StatusOK), s.answerOrder)

	open := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Metadata: map[string]any{anonymous: true}, Security: []map[string][]string{}}
	}
	huma.Register(api, open("alive", "/healthz", "Whether the process answers"), s.alive)
	huma.Register(api, open("ready", "/readyz", "Whether every tenant's Temporal namespace and buckets answer"), s.ready)
}

type health struct {
	Body struct {
		Status string `json:"status"`
	}
}

func (s *Server) alive(context.Context, *struct{}) (*health, error) {
	h := &health{}
	h.Body.Status = "alive"
	return h, nil
}

// ready says nothing about which tenant a part doesn't answer for: that is in the log.
func (s *Server) ready(ctx context.Context, _ *struct{}) (*health, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for name, t := range s.tenants {
		for _, check := range []func(context.Context) error{t.pipeline.Check, t.objects.Check} {
			if err := check(ctx); err != nil {
				logged(ctx, fmt.Errorf("tenant %s is not ready: %w", name, err))
				return nil, retryLater(newProblem(http.StatusServiceUnavailable, "not-ready", "a part that the service needs does not answer"))
			}
		}
	}
	h := &health{}
	h.Body.Status = "ready"
	return h, nil
}
