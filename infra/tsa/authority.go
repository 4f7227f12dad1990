// Package tsa is a time-stamp authority for the local stack: RFC 3161 over HTTP
// with its own certificate authority on disk.
//
// It proves nothing against the one who runs it. Production uses an independent
// authority; this one exists so that the whole path runs on one machine.
package tsa

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/countersign-dev/countersign/infra/revocation"
)

// Policy is the policy under which every token is issued: an arc of the private
// enterprise space that is reserved for examples (RFC 5612, number 32473).
var Policy = []int{1, 3, 6, 1, 4, 1, 32473, 3161, 1}

// Accuracy is the accuracy that every token states. The time in a token is cut
// to full seconds.
const Accuracy = time.Second

// maxQuery bounds a request: a query with the longest digest and a large nonce
// has less than 300 bytes.
const maxQuery = 16 << 10

// Authority issues time-stamp tokens. It is safe for concurrent use.
type Authority struct {
	ca    *x509.Certificate
	caKey crypto.Signer
	cert  *x509.Certificate
	key   crypto.Signer
	now   func() time.Time
}

// Options say what a new authority's certificates name. They change nothing about one that is there.
type Options struct {
	Name          string // of the authority; its root is called the same, with "root" behind it
	RevocationURL string // where the root's revocation list is read; without it the certificate names none
}

// Open loads the authority from dir, or makes a new one if dir holds none. The
// directory gets mode 0700 and the keys 0600. A directory that holds only some
// of the four files is an error, because a new certificate would orphan every
// token that was issued before.
func Open(dir string) (*Authority, error) {
	return OpenWith(dir, Options{Name: "Countersign development TSA"})
}

// OpenWith is Open for an authority of another name, or one with a revocation list.
func OpenWith(dir string, o Options) (*Authority, error) {
	identity, err := loadOrCreate(dir, o)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the time-stamp authority in %s: %w", dir, err)
	}
	return &Authority{ca: identity.ca, caKey: identity.caKey, cert: identity.cert, key: identity.key, now: time.Now}, nil
}

// Revocation is the root's revocation list; file names what it revokes (see the package revocation).
func (a *Authority) Revocation(file string) *revocation.List {
	return revocation.New(a.ca, a.caKey, file)
}

// CAPEM returns the certificate of the authority's root as PEM: the trust anchor
// that verifiers of its tokens need.
func (a *Authority) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.ca.Raw})
}

// ServeHTTP answers an RFC 3161 query (section 3.4: POST of
// application/timestamp-query). What it can't grant is answered with status 200
// and a rejection that carries a failInfo; only faults of HTTP itself get an
// HTTP error. Bodies above 16 KiB are refused.
func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "send a time-stamp query with POST", http.StatusMethodNotAllowed)
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/timestamp-query" {
		http.Error(w, "the Content-Type must be application/timestamp-query", http.StatusUnsupportedMediaType)
		return
	}
	query, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuery))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		http.Error(w, "the query is larger than 16 KiB", http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, "couldn't read the query", http.StatusBadRequest)
		return
	}
	reply, err := a.respond(query)
	if err != nil {
		http.Error(w, "couldn't make a time-stamp reply", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(reply)
}

// respond returns a DER TimeStampResp: a token or a rejection.
func (a *Authority) respond(query []byte) ([]byte, error) {
	request, refused := parseQuery(query)
	if refused != nil {
		return refused.marshal()
	}
	token := timestamp.Timestamp{
		HashAlgorithm:     request.HashAlgorithm,
		HashedMessage:     request.HashedMessage,
		Time:              a.now().UTC().Truncate(time.Second),
		Accuracy:          Accuracy,
		Policy:            Policy,
		Nonce:             request.Nonce,
		AddTSACertificate: request.Certificates,
	}
	reply, err := token.CreateResponseWithOpts(a.cert, a.key, crypto.SHA256)
	if err != nil {
		return (&rejection{timestamp.SystemFailure, "the authority couldn't sign"}).marshal()
	}
	return reply, nil
}
