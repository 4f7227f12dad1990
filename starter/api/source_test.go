package api

import (
	"net/http/httptest"
	"testing"
)

// X-Forwarded-For is believed from its end, as far as proxies of ours wrote it, and not at all of others.
func TestR11_OnlyOurOwnProxiesSayFromWhereARequestCame(t *testing.T) {
	t.Parallel()
	proxies, err := ParseProxies("10.0.0.0/24, 2001:db8::1")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{proxies: proxies}
	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"no proxy":                       {"192.0.2.7:4711", nil, "192.0.2.7"},
		"a stranger who claims":          {"192.0.2.7:4711", []string{"198.51.100.1"}, "192.0.2.7"},
		"our proxy":                      {"10.0.0.7:4711", []string{"198.51.100.1"}, "198.51.100.1"},
		"our proxy, of one who claims":   {"10.0.0.7:4711", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		"two of our proxies":             {"[2001:db8::1]:4711", []string{"203.0.113.9, 198.51.100.1, 10.0.0.7"}, "198.51.100.1"},
		"two headers":                    {"10.0.0.7:4711", []string{"203.0.113.9", "198.51.100.1"}, "198.51.100.1"},
		"our proxy, with what is no IP":  {"10.0.0.7:4711", []string{"198.51.100.1, unknown"}, "10.0.0.7"},
		"our proxy, which says nothing":  {"10.0.0.7:4711", nil, "10.0.0.7"},
		"our proxy, of one of our hosts": {"10.0.0.7:4711", []string{"10.0.0.9"}, "10.0.0.9"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		for _, f := range c.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		if got := s.source(r).IP; got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if _, err := ParseProxies("10.0.0.0/24, proxy.example"); err == nil {
		t.Error("a name is taken for an address")
	}
}
