package temporal

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"
)

const (
	maxDiscovery = 1 << 20
	// keysFreshFor is how long keys are used without asking again, so that a key
	// that the issuer withdrew is dropped.
	keysFreshFor = 10 * time.Minute
	// keysUsableFor is how long keys are used while the issuer doesn't answer.
	keysUsableFor = time.Hour
)

var errUnknownKey = errors.New("the token's kid isn't among the issuer's keys")

// issuerKeys fetches and caches the signing keys of one issuer (OpenID Connect
// Discovery 1.0). Unknown kids cause a refetch, rate-limited, so that a stream of
// forged tokens can't make this server hammer the issuer.
type issuerKeys struct {
	issuer string
	client *http.Client
	limit  *rate.Limiter
	now    func() time.Time

	fetching sync.Mutex // held by the one caller that fetches
	mu       sync.RWMutex
	keys     map[string]jose.JSONWebKey
	fetched  time.Time
}

func newIssuerKeys(issuer string) *issuerKeys {
	return &issuerKeys{
		issuer: issuer,
		client: &http.Client{
			Timeout:       5 * time.Second,
			Transport:     &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		limit: rate.NewLimiter(rate.Every(5*time.Second), 5),
		now:   time.Now,
	}
}

// key returns the public key with that kid. It never returns a key older than
// keysUsableFor.
func (s *issuerKeys) key(kid string) (jose.JSONWebKey, error) {
	key, found, age := s.cached(kid)
	if found && age < keysFreshFor {
		return key, nil
	}
	s.fetching.Lock()
	defer s.fetching.Unlock()
	if key, found, age = s.cached(kid); found && age < keysFreshFor {
		return key, nil
	}
	var failed error
	if s.limit.AllowN(s.now(), 1) {
		failed = s.fetch()
		key, found, age = s.cached(kid)
	}
	if found && age < keysUsableFor {
		return key, nil
	}
	if failed != nil {
		return jose.JSONWebKey{}, failed
	}
	return jose.JSONWebKey{}, errUnknownKey
}

func (s *issuerKeys) cached(kid string) (jose.JSONWebKey, bool, time.Duration) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	key, found := s.keys[kid]
	return key, found, s.now().Sub(s.fetched)
}

func (s *issuerKeys) fetch() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var metadata struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := s.get(ctx, strings.TrimSuffix(s.issuer, "/")+"/.well-known/openid-configuration", &metadata); err != nil {
		return fmt.Errorf("couldn't read the metadata of issuer %s: %w", s.issuer, err)
	}
	if metadata.Issuer != s.issuer {
		return fmt.Errorf("issuer %s says in its metadata that it is another issuer", s.issuer)
	}
	own, _ := url.Parse(s.issuer)
	where, err := url.Parse(metadata.JWKS)
	if err != nil || (where.Scheme != "https" && (where.Scheme != own.Scheme || where.Host != own.Host)) {
		return fmt.Errorf("issuer %s has a jwks_uri that is neither https nor its own host", s.issuer)
	}
	var set jose.JSONWebKeySet
	if err := s.get(ctx, metadata.JWKS, &set); err != nil {
		return fmt.Errorf("couldn't read the keys of issuer %s: %w", s.issuer, err)
	}
	keys := map[string]jose.JSONWebKey{}
	for _, key := range set.Keys {
		if usableKey(key) {
			keys[key.KeyID] = key
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.fetched = keys, s.now()
	return nil
}

// usableKey takes public signature keys with a kid alone. RSA below 2048 bits is
// refused (RFC 7518, 3.3).
func usableKey(key jose.JSONWebKey) bool {
	if key.KeyID == "" || !key.Valid() || !key.IsPublic() || (key.Use != "" && key.Use != "sig") {
		return false
	}
	if k, ok := key.Key.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		return false
	}
	return true
}

func (s *issuerKeys) get(ctx context.Context, where string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", where, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDiscovery+1))
	if err != nil {
		return err
	}
	if len(body) > maxDiscovery {
		return fmt.Errorf("%s answers more than %d bytes", where, maxDiscovery)
	}
	return json.Unmarshal(body, into)
}
