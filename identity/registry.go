// Package identity answers who reached us and how that is proven: the registry of trusted issuers, the tokens by which
// people and machines reach the service, the ID tokens that bind one decision, grant or enrolment to one person, and the person's own enrolled
// keys.
//
// The same check runs when a decision arrives, in the moment of signing and years later without a network: only where
// the keys come from and which instant counts as now differ.
package identity

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

// Bounds on what an identity provider may answer.
const (
	maxMetadata  = 256 << 10
	maxKeys      = 100
	fetchTimeout = 10 * time.Second
	keepKeys     = time.Hour
	refetchAfter = 5 * time.Second // an unknown kid may ask for new keys this often, no oftener
)

// ErrUnavailable marks an identity provider that could not be asked; asking again later may help.
var ErrUnavailable = errors.New("the identity provider did not answer")

// Registry holds the issuers that one tenant trusts, and their keys as last fetched. It is safe for concurrent use.
type Registry struct {
	issuers []countersign.Issuer
	client  *http.Client

	mu   sync.Mutex
	keys map[string]*keySet
}

type keySet struct {
	fetched time.Time
	jwks    jose.JSONWebKeySet
	meta    Metadata
}

// Metadata is what we keep of an issuer's discovery document.
type Metadata struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

// NewRegistry makes a registry of the given issuers; nobody else is ever believed.
func NewRegistry(issuers []countersign.Issuer) *Registry {
	return &Registry{
		issuers: issuers,
		keys:    map[string]*keySet{},
		client: &http.Client{
			Timeout:   fetchTimeout,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, Proxy: http.ProxyFromEnvironment},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return errors.New("an identity provider's documents must not redirect")
			},
		},
	}
}

// Issuer finds a trusted issuer by its exact URL.
func (r *Registry) Issuer(url string) (countersign.Issuer, bool) {
	for _, i := range r.issuers {
		if i.URL == url {
			return i, true
		}
	}
	return countersign.Issuer{}, false
}

// Check asks every issuer for its metadata and keys: what a process does at boot. It answers for each, in the order of NewRegistry.
func (r *Registry) Check(ctx context.Context) []error {
	faults := make([]error, len(r.issuers))
	for n, i := range r.issuers {
		if _, err := r.fetch(ctx, i.URL); err != nil {
			faults[n] = fmt.Errorf("issuer %s (%s): %w", i.ID, i.URL, err)
		}
	}
	return faults
}

// key finds the issuer's public key of that id, asking the issuer again if the key is new to us.
func (r *Registry) key(ctx context.Context, issuer, kid string) (jose.JSONWebKey, error) {
	r.mu.Lock()
	set := r.keys[issuer]
	r.mu.Unlock()
	if set != nil && time.Since(set.fetched) < keepKeys {
		if found := set.jwks.Key(kid); len(found) == 1 {
			return found[0], nil
		}
		if time.Since(set.fetched) < refetchAfter {
			return jose.JSONWebKey{}, &unknownKey{countersign.Refuse("token-foreign-key", "the token is signed with a key (%q) that %s doesn't publish", clip(kid), issuer)}
		}
	}
	set, err := r.fetch(ctx, issuer)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	if found := set.jwks.Key(kid); len(found) == 1 {
		return found[0], nil
	}
	return jose.JSONWebKey{}, countersign.Refuse("token-foreign-key", "the token is signed with a key (%q) that %s doesn't publish", clip(kid), issuer)
}

// unknownKey is a key that was not among those fetched a moment ago. Somebody who logs in is refused; a decision is checked once more when the
// issuer may be asked again, because it may have been signed by a key that is newer than a moment.
type unknownKey struct{ refusal *countersign.Refusal }

func (u *unknownKey) Error() string { return u.refusal.Error() }

func (r *Registry) fetch(ctx context.Context, issuer string) (*keySet, error) {
	set := &keySet{fetched: time.Now()}
	if err := r.get(ctx, issuer+"/.well-known/openid-configuration", &set.meta); err != nil {
		return nil, err
	}
	if set.meta.Issuer != issuer {
		return nil, fmt.Errorf("couldn't use %s: its metadata names the issuer %q", issuer, clip(set.meta.Issuer))
	}
	if !strings.HasPrefix(set.meta.JWKSURI, "https://") && !strings.HasPrefix(set.meta.JWKSURI, "http://") {
		return nil, fmt.Errorf("couldn't use %s: its metadata has no usable jwks_uri", issuer)
	}
	if strings.HasPrefix(issuer, "https://") && !strings.HasPrefix(set.meta.JWKSURI, "https://") {
		return nil, fmt.Errorf("couldn't use %s: its keys are to be fetched without TLS (%s)", issuer, clip(set.meta.JWKSURI))
	}
	var published struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := r.get(ctx, set.meta.JWKSURI, &published); err != nil {
		return nil, err
	}
	for _, raw := range published.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil {
			set.jwks.Keys = append(set.jwks.Keys, key)
		}
	}
	if n := len(published.Keys); n == 0 || n > maxKeys {
		return nil, fmt.Errorf("couldn't use %s: it publishes %d keys", issuer, n)
	}
	r.mu.Lock()
	r.keys[issuer] = set
	r.mu.Unlock()
	return set, nil
}

func (r *Registry) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("couldn't ask %s: %w", url, err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("couldn't ask %s: %w: %w", url, ErrUnavailable, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMetadata+1))
	switch {
	case err != nil:
		return fmt.Errorf("couldn't read %s: %w: %w", url, ErrUnavailable, err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("couldn't ask %s: %w: status %d", url, ErrUnavailable, resp.StatusCode)
	case len(body) > maxMetadata:
		return fmt.Errorf("couldn't read %s: more than %d bytes", url, maxMetadata)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("couldn't read %s: %w", url, err)
	}
	return nil
}

func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}
