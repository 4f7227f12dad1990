// Package revocation publishes a certification authority's revocation list (RFC 5280, section 5) on the local stack.
package revocation

import (
	"bufio"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"
	"time"
)

// Lifetime is how long a list is good: a fresh one is signed for each reader.
const Lifetime = 24 * time.Hour

// List is the revocation list of one authority. It is safe for concurrent use.
type List struct {
	ca   *x509.Certificate
	key  crypto.Signer
	file string
}

// New returns the list of the authority ca, signed by its key. file names the revoked certificates, one in each line: the serial number in
// hexadecimal, a blank, and since when (RFC 3339). It is read at each request, and may be missing: then nothing is revoked.
func New(ca *x509.Certificate, key crypto.Signer, file string) *List {
	return &List{ca: ca, key: key, file: file}
}

// ServeHTTP answers with the list in DER, signed now.
func (l *List) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "read the list with GET", http.StatusMethodNotAllowed)
		return
	}
	der, err := l.Sign(time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/pkix-crl")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(der)
}

// Sign returns the list as of now.
func (l *List) Sign(now time.Time) ([]byte, error) {
	entries, err := l.revoked()
	if err != nil {
		return nil, fmt.Errorf("couldn't read which certificates are revoked: %w", err)
	}
	now = now.UTC().Truncate(time.Second)
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(now.UnixMilli()), ThisUpdate: now, NextUpdate: now.Add(Lifetime), RevokedCertificateEntries: entries,
	}, l.ca, l.key)
	if err != nil {
		return nil, fmt.Errorf("couldn't sign the revocation list: %w", err)
	}
	return der, nil
}

func (l *List) revoked() (entries []x509.RevocationListEntry, err error) {
	file, err := os.Open(l.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		serial, since, ok := strings.Cut(lines.Text(), " ")
		number, good := new(big.Int).SetString(serial, 16)
		at, err := time.Parse(time.RFC3339, since)
		if !ok || !good || err != nil {
			return nil, fmt.Errorf("%s: %q is not a serial number in hexadecimal and a time", l.file, lines.Text())
		}
		entries = append(entries, x509.RevocationListEntry{SerialNumber: number, RevocationTime: at.UTC()})
	}
	return entries, lines.Err()
}
