package evidence

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds on revocation lists.
const (
	maxList     = 1 << 20
	maxLists    = 8
	listTimeout = 10 * time.Second
)

// ErrRevoked is the error of a certificate that its authority has revoked.
var ErrRevoked = errors.New("the certificate is revoked")

// RevocationSigner is a Signer whose signatures keep the revocation lists of all their certificates: CAdES-B-LT instead of B-T.
type RevocationSigner interface {
	Signer
	// Revocation reads the lists. Nil means none are kept.
	Revocation() *Revocation
}

// Revocation reads revocation lists (RFC 5280, section 5) from the places that certificates name. It asks http and https alone, follows no redirect,
// takes at most 1 MiB and 10 seconds for each list, and believes none that doesn't verify. It is safe for concurrent use.
//
// OCSP is not asked: an answer is good for minutes or hours, and a list says as much about a seal that is kept for ten years.
type Revocation struct {
	roots Roots
	hc    *http.Client
}

// NewRevocation returns a reader of the lists of certificates that lead to roots. A nil hc means http.DefaultTransport.
func NewRevocation(roots Roots, hc *http.Client) *Revocation {
	c := http.Client{}
	if hc != nil {
		c = *hc
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Revocation{roots: roots, hc: &c}
}

// Signer returns the lists of a signer's chain. Its error is ErrRevoked where the signer, or an authority above it, is revoked at the instant at.
func (r *Revocation) Signer(ctx context.Context, chain []*x509.Certificate, at time.Time) ([][]byte, error) {
	if len(chain) == 0 {
		return nil, failed("certificate", "signer has no certificate")
	}
	whole, err := verifyChain(chain[0], chain, r.roots.Signers, x509.ExtKeyUsageAny, at)
	if err != nil {
		return nil, inCheck("certificate", err)
	}
	lists, err := r.lists(ctx, whole, at)
	return lists, inCheck("certificate", err)
}

// Token returns the lists of the authority that made a time-stamp token.
func (r *Revocation) Token(ctx context.Context, token []byte) ([][]byte, error) {
	chain, at, err := tokenChain(token, r.roots.TSAs)
	if err != nil {
		return nil, inCheck("timestamp", err)
	}
	lists, err := r.lists(ctx, chain, at)
	return lists, inCheck("timestamp", err)
}

// tokenChain is the chain of a token's authority, root included, and the token's time. The token itself is not verified.
func tokenChain(token []byte, roots *x509.CertPool) ([]*x509.Certificate, time.Time, error) {
	sd, err := parseSignedData(token)
	if err != nil {
		return nil, time.Time{}, err
	}
	info, err := parseTSTInfo(sd.content)
	if err != nil {
		return nil, time.Time{}, err
	}
	leaf, err := sd.signerCertificate()
	if err != nil {
		return nil, time.Time{}, err
	}
	chain, err := verifyChain(leaf, sd.certs, roots, x509.ExtKeyUsageTimeStamping, info.time)
	return chain, info.time, err
}

func (r *Revocation) lists(ctx context.Context, chain []*x509.Certificate, at time.Time) ([][]byte, error) {
	var lists [][]byte
	for i, c := range chain[:len(chain)-1] {
		urls := listURLs(c)
		if len(urls) == 0 {
			continue
		}
		var faults []error
		for _, from := range urls {
			der, err := r.fetch(ctx, from)
			if err == nil {
				err = checkList(der, c, chain[i+1], at)
			}
			if errors.Is(err, ErrRevoked) {
				return nil, err
			}
			if err == nil {
				lists, faults = addList(lists, der), nil
				break
			}
			faults = append(faults, fmt.Errorf("couldn't use the revocation list at %s: %w", from, err))
		}
		if len(faults) > 0 {
			return nil, errors.Join(faults...)
		}
	}
	return lists, nil
}

// addList adds a list unless it is there: certificates of one authority share one.
func addList(lists [][]byte, der []byte) [][]byte {
	for _, have := range lists {
		if bytes.Equal(have, der) {
			return lists
		}
	}
	return append(lists, der)
}

// listURLs are the places of http and https that a certificate names for its authority's list.
func listURLs(c *x509.Certificate) (urls []string) {
	for _, p := range c.CRLDistributionPoints {
		if u, err := url.Parse(p); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil {
			urls = append(urls, p)
		}
	}
	return urls
}

func (r *Revocation) fetch(ctx context.Context, from string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.hc.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxList {
		return nil, fmt.Errorf("its answer is over the limit of %d bytes", maxList)
	}
	return body, nil
}

// checkList says whether a list speaks about c, by its issuer, as of the instant at, and doesn't revoke it by then. A list that was made after the instant
// is as good, as long as it is from the certificate's lifetime: authorities drop what has expired.
func checkList(der []byte, c, issuer *x509.Certificate, at time.Time) error {
	list, err := readList(der)
	if err != nil {
		return err
	}
	switch {
	case !bytes.Equal(list.RawIssuer, c.RawIssuer):
		return fmt.Errorf("it is of another authority than %q", c.Issuer)
	case list.CheckSignatureFrom(issuer) != nil:
		return fmt.Errorf("its signature is not of %q: %w", issuer.Subject, list.CheckSignatureFrom(issuer))
	case list.ThisUpdate.After(c.NotAfter):
		return errors.New("it is from after the certificate's lifetime")
	case list.NextUpdate.IsZero() || at.After(list.NextUpdate):
		return fmt.Errorf("it was good until %s, and what matters is %s", instant(list.NextUpdate), instant(at))
	}
	if err := checkListScope(list, c); err != nil {
		return err
	}
	for _, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(c.SerialNumber) == 0 && !e.RevocationTime.After(at) {
			return fmt.Errorf("%q (serial number %x), since %s: %w", c.Subject, c.SerialNumber, instant(e.RevocationTime), ErrRevoked)
		}
	}
	return nil
}

// listAlgorithms leave SHA-1 out, which the standard library takes for lists.
var listAlgorithms = []x509.SignatureAlgorithm{
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
}

func readList(der []byte) (*x509.RevocationList, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the revocation list: %w", err)
	}
	if !slices.Contains(listAlgorithms, list.SignatureAlgorithm) {
		return nil, fmt.Errorf("its signature algorithm %s is not accepted", list.SignatureAlgorithm)
	}
	return list, nil
}

var oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}

// checkListScope refuses lists that speak of a part of the authority's certificates which c isn't in, and those that need another list to be read.
func checkListScope(list *x509.RevocationList, c *x509.Certificate) error {
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(oidIssuingDistributionPoint):
			if err := checkDistributionPoint(e.Value, c); err != nil {
				return err
			}
		case e.Critical:
			return fmt.Errorf("it has an unknown critical extension %s", e.Id)
		}
	}
	for _, e := range list.RevokedCertificateEntries {
		for _, x := range e.Extensions {
			if x.Critical {
				return fmt.Errorf("an entry has an unknown critical extension %s", x.Id)
			}
		}
	}
	return nil
}

// checkDistributionPoint reads IssuingDistributionPoint (RFC 5280, section 5.2.5): the place must be one that c names, and c be of the kind that it is for.
func checkDistributionPoint(der []byte, c *x509.Certificate) error {
	input := cryptobyte.String(der)
	var seq cryptobyte.String
	if !input.ReadASN1(&seq, cbasn1.SEQUENCE) || !input.Empty() {
		return fmt.Errorf("couldn't read its distribution point: %w", errDER)
	}
	for !seq.Empty() {
		var field cryptobyte.String
		var tag cbasn1.Tag
		if !seq.ReadAnyASN1(&field, &tag) {
			return fmt.Errorf("couldn't read its distribution point: %w", errDER)
		}
		switch tag {
		case cbasn1.Tag(0).ContextSpecific().Constructed():
			if !namesPlace(field, c.CRLDistributionPoints) {
				return errors.New("it is of another distribution point than the certificate names")
			}
		case cbasn1.Tag(1).ContextSpecific():
			if c.IsCA {
				return errors.New("it is not about authorities")
			}
		case cbasn1.Tag(2).ContextSpecific():
			if !c.IsCA {
				return errors.New("it is about authorities alone")
			}
		default:
			return errors.New("it is indirect, for some reasons alone, or not about certificates like this one")
		}
	}
	return nil
}

// namesPlace looks for one of the places among the full names of a DistributionPointName.
func namesPlace(name cryptobyte.String, places []string) bool {
	var full cryptobyte.String
	if !name.ReadASN1(&full, cbasn1.Tag(0).ContextSpecific().Constructed()) || !name.Empty() {
		return false
	}
	for !full.Empty() {
		var general cryptobyte.String
		var tag cbasn1.Tag
		if !full.ReadAnyASN1(&general, &tag) {
			return false
		}
		if tag == cbasn1.Tag(6).ContextSpecific() && slices.Contains(places, string(general)) {
			return true
		}
	}
	return false
}

// verifyLists checks the lists that a signature carries: either none, or one for each certificate that names a place for one, and no list that no certificate
// needs: nothing else covers them. It says for how many certificates there is a list, and how many name one.
func verifyLists(lists [][]byte, at time.Time, chains ...[]*x509.Certificate) (listed, named int, err error) {
	used := make([]bool, len(lists))
	for _, chain := range chains {
		for i, c := range chain[:len(chain)-1] {
			if len(listURLs(c)) == 0 {
				continue
			}
			named++
			if len(lists) == 0 {
				continue
			}
			n, err := findList(lists, c, chain[i+1], at)
			if err != nil {
				return 0, 0, err
			}
			used[n] = true
			listed++
		}
	}
	if slices.Contains(used, false) {
		return 0, 0, errors.New("a revocation list is carried that no certificate needs")
	}
	return listed, named, nil
}

func findList(lists [][]byte, c, issuer *x509.Certificate, at time.Time) (int, error) {
	err := fmt.Errorf("no revocation list is carried for %q, which names one", c.Subject)
	for i, der := range lists {
		switch fault := checkList(der, c, issuer, at); {
		case fault == nil:
			return i, nil
		case errors.Is(fault, ErrRevoked):
			return 0, fault
		default:
			err = errors.Join(err, fault)
		}
	}
	return 0, err
}

// lacksLists says that a signature must keep lists and doesn't.
func (v *verifier) lacksLists(f SignatureFacts) bool {
	required := v.c.Admission != nil && v.c.Admission.Refusal == nil && v.c.Admission.Context.Stamped
	return required && f.Named > 0 && f.Listed == 0
}

const checkRevocation = "revocation"

// revoked says what is known about revocation. Bundles whose context says that decisions are stamped are of builds that keep lists; there, a certificate that names one
// has to have it.
func (v *verifier) revoked() {
	f := v.report.Seal
	switch {
	case f.Named == 0:
		v.report.notRecorded(checkRevocation, "no certificate of the seal names a revocation list")
	case v.lacksLists(*f):
		v.report.note(checkRevocation, fmt.Errorf("%d certificates of the seal name a revocation list, and none is kept", f.Named), "")
	case f.Listed == 0:
		v.report.notRecorded(checkRevocation, fmt.Sprintf("%d certificates of the seal name a revocation list, and the build that sealed kept none", f.Named))
	default:
		v.report.note(checkRevocation, nil, fmt.Sprintf("none of the %d certificates that name a revocation list was revoked at %s", f.Listed, instant(f.StampTime)))
	}
}
