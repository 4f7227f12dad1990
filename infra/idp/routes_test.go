package idp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestForeignRequestsAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	crossSite := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	for name, c := range map[string]struct {
		method, path string
		change       func(*http.Request)
		want         int
	}{
		"another host":            {http.MethodGet, "/keys", func(r *http.Request) { r.Host = "evil.example" }, http.StatusMisdirectedRequest},
		"another site":            {http.MethodPost, "/admin/rotate", crossSite, http.StatusForbidden},
		"another machine":         {http.MethodPost, "/admin/rotate", func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5" }, http.StatusForbidden},
		"login from another site": {http.MethodPost, "/login", crossSite, http.StatusForbidden},
		"unknown login":           {http.MethodPost, "/admin/disable?login=mallory&disabled=true", nil, http.StatusNotFound},
		"no value":                {http.MethodPost, "/admin/disable?login=alice", nil, http.StatusBadRequest},
		"admin by GET":            {http.MethodGet, "/admin/rotate", nil, http.StatusMethodNotAllowed},
		"outside of the path":     {http.MethodGet, "/../keys", nil, http.StatusNotFound},
		"introspection":           {http.MethodPost, "/oauth/introspect", nil, http.StatusNotFound},
		"device grant":            {http.MethodPost, "/device_authorization", nil, http.StatusNotFound},
		"long query":              {http.MethodGet, "/authorize?state=" + strings.Repeat("x", 9000), nil, http.StatusRequestURITooLong},
		"no such login":           {http.MethodGet, "/login?id=x", nil, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request := httptest.NewRequest(c.method, strings.Replace(s.config.URL+c.path, "/acme/..", "", 1), nil)
			request.RemoteAddr = "127.0.0.1:5"
			if c.change != nil {
				c.change(request)
			}
			recorder := httptest.NewRecorder()
			s.ServeHTTP(recorder, request)
			if recorder.Code != c.want {
				t.Errorf("status %d, want %d: %s", recorder.Code, c.want, recorder.Body)
			}
		})
	}
}

func TestDiscoveryPromisesOnlyWhatIsServed(t *testing.T) {
	t.Parallel()
	s := start(t)
	var config map[string]any
	if err := discover(t, s).Claims(&config); err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"introspection_endpoint", "device_authorization_endpoint", "end_session_endpoint"} {
		if value, there := config[absent]; there {
			t.Errorf("%s is %v", absent, value)
		}
	}
	if algorithms, _ := json.Marshal(config["id_token_signing_alg_values_supported"]); string(algorithms) != `["ES256"]` {
		t.Errorf("algorithms %s", algorithms)
	}
	if types, _ := json.Marshal(config["response_types_supported"]); string(types) != `["code"]` {
		t.Errorf("response types %s", types)
	}
}
