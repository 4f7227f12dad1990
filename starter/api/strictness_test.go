package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryRouteIsDescribedAndNeedsAToken(t *testing.T) {
	t.Parallel()
	s := newService(t)
	response, body := s.call(http.MethodGet, "/openapi.json", "", nil, nil)
	var spec struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(body, &spec); err != nil || response.StatusCode != http.StatusOK || !strings.HasPrefix(spec.OpenAPI, "3.1") {
		t.Fatalf("the description is not OpenAPI 3.1: %d %v %q", response.StatusCode, err, spec.OpenAPI)
	}
	want := map[string]string{
		"/v1/{tenant}/grants": "get post", "/v1/{tenant}/grants/{grant}": "get", "/v1/{tenant}/grants/{grant}/accept": "post",
		"/v1/{tenant}/grants/{grant}/revoke": "post", "/v1/{tenant}/grants/{grant}/give-back": "post",
		"/v1/{tenant}/keys": "get post", "/v1/{tenant}/keys/{key}": "get", "/v1/{tenant}/keys/{key}/retire": "post", "/v1/{tenant}/offboard": "post",
		"/v1/{tenant}/reviews": "get", "/v1/{tenant}/reviews/{request}": "get", "/v1/{tenant}/reviews/{request}/close": "post",
		"/v1/{tenant}/documents": "put", "/v1/{tenant}/signings": "post", "/v1/{tenant}/inbox": "get", "/v1/{tenant}/signings/{request}": "get",
		"/v1/{tenant}/signings/{request}/explanation": "get", "/v1/{tenant}/purposes/{purpose}/explanation": "get",
		"/v1/{tenant}/signings/{request}/decision": "get", "/v1/{tenant}/signings/{request}/decisions": "post", "/v1/{tenant}/signings/{request}/withdraw": "post",
		"/v1/{tenant}/signings/{request}/events": "get", "/v1/{tenant}/signings/{request}/document": "get", "/v1/{tenant}/signings/{request}/evidence": "get",
		"/v1/{tenant}/shreddings": "get post", "/v1/{tenant}/shreddings/{shredding}": "get", "/v1/{tenant}/shreddings/{shredding}/answer": "post",
		"/v1/{tenant}/signings/{request}/signed":       "get",
		"/v1/{tenant}/signings/{request}/evidence/log": "get", "/v1/{tenant}/log/checkpoint": "get", "/v1/{tenant}/log/tile/{tile...}": "get",
		"/v1/{tenant}/evidence": "get", "/v1/{tenant}/reads": "get",
		"/v1/{tenant}/signings/{request}/evidence/renewal": "get",
		"/v1/{tenant}/checks":                              "get post", "/v1/{tenant}/checks/{check}": "get", "/v1/{tenant}/checks/runs/{run}": "get",
		"/v1/{tenant}/orders": "get", "/v1/{tenant}/orders/{request}": "get post", "/v1/{tenant}/orders/{request}/answer": "post",
		"/v1/{tenant}/renewals": "post", "/v1/{tenant}/renewals/{renewal}": "get", "/v1/{tenant}/reindexings": "post", "/v1/{tenant}/reindexings/{reindexing}": "get",
		"/healthz": "get", "/readyz": "get",
	}
	for path, methods := range want {
		for method := range strings.FieldsSeq(methods) {
			if _, ok := spec.Paths[path][method]; !ok {
				t.Errorf("%s %s is not described", method, path)
			}
		}
	}
	// What is described and not named above would be a route that nobody thought about.
	for path, methods := range spec.Paths {
		for method := range methods {
			if !slices.Contains(strings.Fields(want[path]), method) {
				t.Errorf("%s %s is on no list", method, path)
			}
			if strings.HasPrefix(path, "/v1/") {
				real := strings.NewReplacer("{tenant}", "acme", "{request}", "PO-1").Replace(path)
				response, body := s.call(strings.ToUpper(method), real, "", jsonBody, []byte("{}"))
				s.refusal(response, body, http.StatusUnauthorized, "unauthenticated")
				if response.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s doesn't challenge", method, path)
				}
			}
		}
	}
}

func TestWhoIsNotLetInLearnsNothing(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	stranger := newIssuer(t)
	good := s.token("alice")
	for name, c := range map[string]struct{ path, token string }{
		"no token":              {"/v1/acme/inbox", ""},
		"unknown tenant":        {"/v1/globex/inbox", good},
		"foreign issuer":        {"/v1/acme/inbox", stranger.token(t, "alice", nil)},
		"foreign key":           {"/v1/acme/inbox", stranger.token(t, "alice", func(c map[string]any) { c["iss"] = s.acme.url })},
		"expired":               {"/v1/acme/inbox", s.acme.token(t, "alice", func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() })},
		"other audience":        {"/v1/acme/inbox", s.acme.token(t, "alice", func(c map[string]any) { c["aud"] = "other" })},
		"evidence audience":     {"/v1/acme/inbox", s.acme.token(t, "alice", func(c map[string]any) { c["aud"] = "countersign-evidence"; c["nonce"] = "x" })},
		"evidence beside login": {"/v1/acme/inbox", s.acme.token(t, "alice", func(c map[string]any) { c["aud"] = []string{"countersign", "countersign-evidence"} })},
		"ID token":              {"/v1/acme/inbox", s.acme.token(t, "alice", func(c map[string]any) { c["nonce"] = "x" })},
		"not a token":           {"/v1/acme/inbox", "hello"},
		"too large":             {"/v1/acme/inbox", strings.Repeat("a", 17<<10)},
	} {
		response, body := s.call(http.MethodGet, c.path, c.token, nil, nil)
		if p := s.refusal(response, body, http.StatusUnauthorized, "unauthenticated"); p.Detail != unauthenticated {
			t.Errorf("%s: learns %q", name, p.Detail)
		}
		if c.token != "" && len(c.token) > 10 && strings.Contains(s.log.String(), c.token) {
			t.Errorf("%s: the log holds the token", name)
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/acme/inbox", nil)
	r.Header["Authorization"] = []string{"Bearer " + good, "Bearer " + good}
	if response, err := http.DefaultClient.Do(r); err != nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("two credentials at once: %v %v", response.StatusCode, err)
	}
	response, _ := s.call(http.MethodGet, "/v1/acme/inbox", good, http.Header{"X-Large": {strings.Repeat("a", 40<<10)}}, nil)
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 40 KiB is answered with %d", response.StatusCode)
	}
}

func TestBodiesAreReadStrictly(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.open("PO-1")
	good := `{"v":1,"request":"PO-9","purpose":"contract","title":"T","document":{"bucket":"documents","key":"acme/documents/x.pdf","versionId":"v","sha256":"` + strings.Repeat("a", 64) + `"}`
	post, pdf := http.MethodPost, http.Header{"Content-Type": {"application/pdf"}}
	for name, c := range map[string]struct {
		method, path, who string
		header            http.Header
		body              string
		status            int
		code              string
	}{
		"unknown field":              {post, "/v1/acme/signings", "ben", jsonBody, good + `,"key":"arn"}`, 422, "invalid"},
		"trailing bytes":             {post, "/v1/acme/signings", "ben", jsonBody, good + `} {}`, 400, "bad-request"},
		"no JSON":                    {post, "/v1/acme/signings", "ben", jsonBody, `hello`, 400, "bad-request"},
		"form":                       {post, "/v1/acme/signings", "ben", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, `v=1`, 415, "media-type"},
		"oversize":                   {post, "/v1/acme/signings", "ben", jsonBody, good + `,"x":"` + strings.Repeat("a", 70<<10) + `"}`, 413, "too-large"},
		"no id":                      {post, "/v1/acme/signings", "ben", jsonBody, strings.Replace(good, `"request":"PO-9",`, "", 1) + `}`, 400, "no-request-id"},
		"bad id":                     {post, "/v1/acme/signings", "ben", jsonBody, strings.Replace(good, `PO-9`, "../x", 1) + `}`, 422, "bad-request"},
		"other tenant":               {post, "/v1/acme/signings", "ben", jsonBody, good + `,"tenant":"globex"}`, 422, "other-tenant"},
		"other tenant's key":         {post, "/v1/acme/signings", "ben", jsonBody, strings.Replace(good, "acme/documents", "globex/documents", 1) + `}`, 422, "bad-request"},
		"other bucket":               {post, "/v1/acme/signings", "ben", jsonBody, strings.Replace(good, `"documents"`, `"evidence"`, 1) + `}`, 422, "wrong-bucket"},
		"unknown purpose":            {post, "/v1/acme/signings", "ben", jsonBody, strings.Replace(good, `"contract"`, `"gift"`, 1) + `}`, 422, "unknown-purpose"},
		"past deadline":              {post, "/v1/acme/signings", "ben", jsonBody, good + `,"deadlines":{"legal":"2020-01-01T00:00:00Z"}}`, 422, "past-deadline"},
		"unknown stage":              {post, "/v1/acme/signings", "ben", jsonBody, good + `,"deadlines":{"finance":"2999-01-01T00:00:00Z"}}`, 422, "unknown-stage"},
		"approver requests":          {post, "/v1/acme/signings", "alice", jsonBody, good + `}`, 403, "not-entitled"},
		"decision unknown":           {post, "/v1/acme/signings/PO-1/decisions", "alice", jsonBody, `{"id":"1","decision":{},"proof":{"idToken":"x"},"more":1}`, 422, "invalid"},
		"decision oversize":          {post, "/v1/acme/signings/PO-1/decisions", "alice", jsonBody, `{"id":"` + strings.Repeat("a", 33<<10) + `"}`, 413, "too-large"},
		"upload as JSON":             {http.MethodPut, "/v1/acme/documents", "ben", jsonBody, `{}`, 415, "media-type"},
		"upload no PDF":              {http.MethodPut, "/v1/acme/documents", "ben", pdf, `hello`, 422, "not-a-pdf"},
		"upload oversize":            {http.MethodPut, "/v1/acme/documents", "ben", pdf, strings.Repeat("a", 41_000), 413, "too-large"},
		"upload by approver":         {http.MethodPut, "/v1/acme/documents", "alice", pdf, `%PDF-`, 403, "not-entitled"},
		"upload digest":              {http.MethodPut, "/v1/acme/documents", "ben", http.Header{"Content-Type": {"application/pdf"}, "Content-Digest": {"sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"}}, `%PDF-`, 400, "digest-mismatch"},
		"upload digest form":         {http.MethodPut, "/v1/acme/documents", "ben", http.Header{"Content-Type": {"application/pdf"}, "Content-Digest": {"md5=:AAAA:"}}, `%PDF-`, 400, "bad-digest"},
		"unknown query":              {http.MethodGet, "/v1/acme/inbox?all=1", "alice", nil, "", 422, "invalid"},
		"no verdict":                 {http.MethodGet, "/v1/acme/signings/PO-1/decision", "alice", nil, "", 422, "invalid"},
		"other verdict":              {http.MethodGet, "/v1/acme/signings/PO-1/decision?verdict=maybe", "alice", nil, "", 422, "invalid"},
		"no such route":              {http.MethodGet, "/v2/acme", "alice", nil, "", 404, "not-found"},
		"forged cursor":              {http.MethodGet, "/v1/acme/evidence?cursor=e30.AAAA", "olivia", nil, "", 422, "bad-cursor"},
		"forged reads cursor":        {http.MethodGet, "/v1/acme/reads?cursor=e30.AAAA", "olivia", nil, "", 422, "bad-cursor"},
		"other outcome":              {http.MethodGet, "/v1/acme/evidence?outcome=lost", "olivia", nil, "", 422, "invalid"},
		"no digest":                  {http.MethodGet, "/v1/acme/evidence?document=abc", "olivia", nil, "", 422, "invalid"},
		"no instant":                 {http.MethodGet, "/v1/acme/reads?from=yesterday", "olivia", nil, "", 422, "invalid"},
		"all by an approver":         {http.MethodGet, "/v1/acme/evidence", "alice", nil, "", 403, "not-entitled"},
		"all by a partner":           {http.MethodGet, "/v1/acme/evidence", "hart/carol", nil, "", 403, "not-entitled"},
		"reads by one of few":        {http.MethodGet, "/v1/acme/reads", "ben", nil, "", 403, "not-entitled"},
		"renewed by an approver":     {post, "/v1/acme/renewals", "alice", jsonBody, `{"withinDays":1}`, 403, "not-entitled"},
		"a renewal by one of few":    {http.MethodGet, "/v1/acme/renewals/019ab000-0000-7000-8000-000000000000", "ben", nil, "", 403, "not-entitled"},
		"forged checks cursor":       {http.MethodGet, "/v1/acme/checks?cursor=e30.AAAA", "olivia", nil, "", 422, "bad-cursor"},
		"checks by an approver":      {http.MethodGet, "/v1/acme/checks", "alice", nil, "", 403, "not-entitled"},
		"checks by a partner":        {http.MethodGet, "/v1/acme/checks", "hart/carol", nil, "", 403, "not-entitled"},
		"a check by one of few":      {http.MethodGet, "/v1/acme/checks/2026-11-26T150405Z-1", "ben", nil, "", 403, "not-entitled"},
		"no name of a check":         {http.MethodGet, "/v1/acme/checks/..%2Fevidence%2F1", "olivia", nil, "", 422, "invalid"},
		"no such check":              {http.MethodGet, "/v1/acme/checks/2026-11-26T150405Z-1", "olivia", nil, "", 404, "not-found"},
		"checked by an approver":     {post, "/v1/acme/checks", "alice", jsonBody, `{}`, 403, "not-entitled"},
		"checked, sampled":           {post, "/v1/acme/checks", "olivia", jsonBody, `{"sample":9}`, 422, "invalid"},
		"a run by one of few":        {http.MethodGet, "/v1/acme/checks/runs/2026-11-26T15:04:05Z", "ben", nil, "", 403, "not-entitled"},
		"no name of a run":           {http.MethodGet, "/v1/acme/checks/runs/now", "olivia", nil, "", 422, "invalid"},
		"no such run":                {http.MethodGet, "/v1/acme/checks/runs/2026-11-26T15:04:05Z", "olivia", nil, "", 404, "not-found"},
		"reindexed by an approver":   {post, "/v1/acme/reindexings", "alice", jsonBody, `{"dryRun":true}`, 403, "not-entitled"},
		"a reindexing by one of few": {http.MethodGet, "/v1/acme/reindexings/019ab000-0000-7000-8000-000000000000", "ben", nil, "", 403, "not-entitled"},
		"reindexed backwards":        {post, "/v1/acme/reindexings", "olivia", jsonBody, `{"from":"2026-12-01T00:00:00Z","until":"2026-11-01T00:00:00Z"}`, 422, "malformed"},
		"renewed under nothing":      {post, "/v1/acme/renewals", "olivia", jsonBody, `{"withinDays":1,"ending":["sha384","sha512"]}`, 422, "malformed"},
		"renewed for an unknown":     {post, "/v1/acme/renewals", "olivia", jsonBody, `{"withinDays":1,"ending":["md5"]}`, 422, "malformed"},
		"renewed for ages":           {post, "/v1/acme/renewals", "olivia", jsonBody, `{"withinDays":7301}`, 422, "invalid"},
		"withdrawn by others":        {post, "/v1/acme/signings/PO-1/withdraw", "alice", jsonBody, `{"reason":"no"}`, 403, "not-entitled"},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := s.call(c.method, c.path, s.token(c.who), c.header, []byte(c.body))
			s.refusal(response, body, c.status, c.code)
		})
	}
	if len(s.pipeline.signals) > 0 || len(s.pipeline.started) > 1 || len(s.objects.stored) > 1 {
		t.Errorf("something was done: %+v %+v", s.pipeline.signals, s.pipeline.started)
	}
}
