package evidence

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/digitorus/timestamp"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	tsaTimeout    = 10 * time.Second
	maxTSAAnswer  = 64 << 10
	maxTSASerial  = 160 // bits, RFC 3161
	tokenVersion  = 3   // CMS version of a SignedData with content other than id-data
	mimeTSAQuery  = "application/timestamp-query"
	mimeTSAReply  = "application/timestamp-reply"
	generalFormat = "20060102150405"
)

// Stamper asks a time-stamping authority (RFC 3161) to attest that a digest of SHA-256, SHA-384 or SHA-512 existed. Which one, its length says.
type Stamper interface {
	// Stamp returns a TimeStampToken, DER CMS, in the form of CanonicalToken. The caller verifies it again.
	Stamp(ctx context.Context, digest []byte) (token []byte, err error)
}

// TokenFacts is what a verified time-stamp token says.
type TokenFacts struct {
	Time        time.Time
	Accuracy    time.Duration // zero when the authority gives none
	Serial      *big.Int
	Policy      string // object identifier
	Nonce       *big.Int
	TSA         string // subject of Certificate
	Certificate *x509.Certificate
	chain       []*x509.Certificate // from Certificate to a root
}

// TSAClient is a Stamper over HTTP. It is safe for concurrent use.
type TSAClient struct {
	url   string
	roots *x509.CertPool
	hc    *http.Client
}

// NewTSAClient returns a client of the authority at url; roots are those that its certificate must chain to. A nil hc
// means http.DefaultTransport. Redirects are not followed, a request takes at most 10 seconds, an answer has at most
// 64 KiB.
func NewTSAClient(url string, roots *x509.CertPool, hc *http.Client) *TSAClient {
	c := http.Client{}
	if hc != nil {
		c = *hc
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &TSAClient{url: url, roots: roots, hc: &c}
}

// Stamp implements Stamper. It verifies the answer completely, with its nonce, before it returns the token.
func (c *TSAClient) Stamp(ctx context.Context, digest []byte) ([]byte, error) {
	hash := imprintHash(digest)
	if hash == 0 {
		return nil, failed("timestamp", "digest of %d bytes: want a SHA-256 digest, or one of SHA-384 or SHA-512", len(digest))
	}
	nonce, err := newNonce()
	if err != nil {
		return nil, err
	}
	query, err := (&timestamp.Request{HashAlgorithm: hash, HashedMessage: digest, Certificates: true, Nonce: nonce}).Marshal()
	if err != nil {
		return nil, failed("timestamp", "couldn't write the request: %w", err)
	}
	answer, err := c.post(ctx, query)
	if err != nil {
		return nil, failed("timestamp", "couldn't ask the time-stamping authority at %s: %w", c.url, err)
	}
	token, err := readTSAAnswer(answer)
	if err != nil {
		return nil, &BundleError{Check: "timestamp", Err: err}
	}
	if token, err = CanonicalToken(token, c.roots); err != nil {
		return nil, err
	}
	if _, err := VerifyToken(token, digest, nonce, c.roots); err != nil {
		return nil, err
	}
	return token, nil
}

// imprintHash is the algorithm that a digest of this length is of; zero for none that is accepted.
func imprintHash(digest []byte) crypto.Hash {
	for _, d := range digestAlgorithms {
		if d.hash.Size() == len(digest) {
			return d.hash
		}
	}
	return 0
}

// newNonce returns 64 random bits. More would be refused by some authorities.
func newNonce() (*big.Int, error) {
	buf := make([]byte, 8)
	if _, err := rand.Read(buf); err != nil {
		return nil, fmt.Errorf("couldn't make a nonce: %w", err)
	}
	return new(big.Int).SetBytes(buf), nil
}

func (c *TSAClient) post(ctx context.Context, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tsaTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", mimeTSAQuery)
	req.Header.Set("Accept", mimeTSAReply)
	resp, err := c.hc.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", resp.Status)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != mimeTSAReply {
		return nil, fmt.Errorf("it answered with the type %q: want %s", resp.Header.Get("Content-Type"), mimeTSAReply)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTSAAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxTSAAnswer {
		return nil, fmt.Errorf("its answer is over the limit of %d bytes", maxTSAAnswer)
	}
	return body, nil
}

// readTSAAnswer takes the token out of a TimeStampResp (RFC 3161, section 2.4.2).
func readTSAAnswer(der []byte) ([]byte, error) {
	input := cryptobyte.String(der)
	var resp, info, token cryptobyte.String
	var status int
	if !input.ReadASN1(&resp, cbasn1.SEQUENCE) || !input.Empty() || !resp.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1Integer(&status) {
		return nil, fmt.Errorf("couldn't read the authority's answer: %w", errDER)
	}
	// Status 1 grants with modifications; what was modified shows when the token is verified.
	if status != int(timestamp.Granted) && status != int(timestamp.GrantedWithMods) {
		return nil, fmt.Errorf("authority refuses to stamp: %s", timestamp.Status(status))
	}
	if !resp.ReadASN1Element(&token, cbasn1.SEQUENCE) || !resp.Empty() {
		return nil, errors.New("authority's answer holds no token")
	}
	return token, nil
}

// CanonicalToken returns token with its certificates in the order of DER and without those that its chain to roots
// does not need, and without revocation lists. Authorities often send a cross-certificate more; no signature covers the set of certificates, and
// VerifyToken refuses what nothing covers. All that the authority signed stays as it is.
func CanonicalToken(token []byte, roots *x509.CertPool) ([]byte, error) {
	sd, err := parseSignedData(token)
	if err != nil {
		return nil, inCheck("timestamp", err)
	}
	info, err := parseTSTInfo(sd.content)
	if err != nil {
		return nil, inCheck("timestamp", err)
	}
	leaf, err := sd.signerCertificate()
	if err != nil {
		return nil, inCheck("timestamp", err)
	}
	chains, err := chainsOf(leaf, sd.certs, roots, x509.ExtKeyUsageTimeStamping, info.time)
	if err != nil {
		return nil, inCheck("timestamp", err)
	}
	var used []*x509.Certificate
	for _, c := range chains[0] {
		for _, have := range sd.certs {
			if c.Equal(have) {
				used = append(used, c)
			}
		}
	}
	out, err := marshalSignedData(sd.version, sd.digestAlgs, sd.encap, used, sd.signer.raw)
	return out, inCheck("timestamp", err)
}

// VerifyToken checks an RFC 3161 time-stamp token over a digest of SHA-256, SHA-384 or SHA-512, as its length says: the authority's signature, its certificate
// chain to roots at the token's time, the sole critical extended key usage, ESSCertIDv2 (RFC 5816), the imprint and,
// unless nonce is nil, the nonce. The token must be in the form of CanonicalToken. Revocation is not looked up.
func VerifyToken(token, digest []byte, nonce *big.Int, roots *x509.CertPool) (TokenFacts, error) {
	return verifyTokenUnder(token, digest, nonce, Roots{TSAs: roots})
}

func verifyTokenUnder(token, digest []byte, nonce *big.Int, roots Roots) (TokenFacts, error) {
	sd, err := parseSignedData(token)
	if err != nil {
		return TokenFacts{}, inCheck("timestamp", err)
	}
	facts, err := verifyToken(sd, token, digest, nonce)
	if err != nil {
		return TokenFacts{}, inCheck("timestamp", err)
	}
	if facts.chain, err = roots.chains.verify(facts.Certificate, sd.certs, roots.TSAs, x509.ExtKeyUsageTimeStamping, facts.Time); err != nil {
		return TokenFacts{}, inCheck("timestamp", err)
	}
	return facts, nil
}

func verifyToken(sd *signedData, token, digest []byte, nonce *big.Int) (facts TokenFacts, err error) {
	if sd.version != tokenVersion || !sd.contentType.Equal(oidTSTInfo) || sd.content == nil {
		return facts, errors.New("CMS structure is not a time-stamp token")
	}
	if len(sd.lists) != 0 {
		return facts, errors.New("token carries revocation lists, which nothing covers")
	}
	if len(sd.signer.unsigned) != 0 {
		return facts, errors.New("token has unsigned attributes, which nothing covers")
	}
	canonical, err := marshalSignedData(sd.version, sd.digestAlgs, sd.encap, sd.certs, sd.signer.raw)
	if err != nil {
		return facts, err
	}
	if !bytes.Equal(canonical, token) {
		return facts, errors.New("token is not in canonical DER: its certificates are out of order")
	}
	leaf, err := sd.verify(digestOf(sd.content))
	if err != nil {
		return facts, err
	}
	if err := checkTSACertificate(leaf); err != nil {
		return facts, err
	}
	info, err := parseTSTInfo(sd.content)
	if err != nil {
		return facts, err
	}
	if hash := imprintHash(digest); hash == 0 || info.hash != hash || subtle.ConstantTimeCompare(info.imprint, digest) != 1 {
		return facts, errors.New("token is for another imprint: want the digest of what was stamped")
	}
	if nonce != nil && (info.nonce == nil || info.nonce.Cmp(nonce) != 0) {
		return facts, errors.New("token has another nonce: it answers another request")
	}
	if info.tsa != nil && !bytes.Equal(info.tsa, leaf.RawSubject) {
		return facts, fmt.Errorf("token names another authority than its certificate, %q", leaf.Subject)
	}
	return TokenFacts{
		Time: info.time, Accuracy: info.accuracy, Serial: info.serial, Policy: info.policy.String(),
		Nonce: info.nonce, TSA: leaf.Subject.String(), Certificate: leaf,
	}, nil
}

// tstInfo is TSTInfo of RFC 3161, section 2.4.2.
type tstInfo struct {
	policy   asn1.ObjectIdentifier
	hash     crypto.Hash
	imprint  []byte
	serial   *big.Int
	time     time.Time
	accuracy time.Duration
	nonce    *big.Int
	tsa      []byte // the name, when it is a directory name
}

func parseTSTInfo(der []byte) (*tstInfo, error) {
	input := cryptobyte.String(der)
	var seq, imprint, digest, when cryptobyte.String
	var version int
	t := &tstInfo{serial: new(big.Int)}
	if !input.ReadASN1(&seq, cbasn1.SEQUENCE) || !input.Empty() || !seq.ReadASN1Integer(&version) ||
		!seq.ReadASN1ObjectIdentifier(&t.policy) || !seq.ReadASN1(&imprint, cbasn1.SEQUENCE) {
		return nil, fmt.Errorf("couldn't read TSTInfo: %w", errDER)
	}
	if version != 1 {
		return nil, fmt.Errorf("TSTInfo has version %d: want 1", version)
	}
	oid, err := readAlgorithm(&imprint)
	if err != nil {
		return nil, err
	}
	if t.hash, err = hashOf(oid); err != nil {
		return nil, fmt.Errorf("couldn't use the imprint: %w", err)
	}
	if !imprint.ReadASN1(&digest, cbasn1.OCTET_STRING) || !imprint.Empty() || !seq.ReadASN1Integer(t.serial) ||
		!seq.ReadASN1(&when, cbasn1.GeneralizedTime) {
		return nil, fmt.Errorf("couldn't read TSTInfo: %w", errDER)
	}
	t.imprint = digest
	if t.serial.Sign() < 0 || t.serial.BitLen() > maxTSASerial {
		return nil, fmt.Errorf("token's serial number has %d bits: want at most %d and no sign", t.serial.BitLen(), maxTSASerial)
	}
	if t.time, err = parseGenTime(string(when)); err != nil {
		return nil, err
	}
	return t, t.readOptions(seq)
}

func (t *tstInfo) readOptions(seq cryptobyte.String) error {
	var accuracy, tsa, name, extensions cryptobyte.String
	var hasTSA, hasExtensions bool
	if seq.PeekASN1Tag(cbasn1.SEQUENCE) {
		if !seq.ReadASN1(&accuracy, cbasn1.SEQUENCE) {
			return fmt.Errorf("couldn't read the accuracy: %w", errDER)
		}
		if err := t.readAccuracy(accuracy); err != nil {
			return err
		}
	}
	if ordering := false; seq.PeekASN1Tag(cbasn1.BOOLEAN) && !seq.ReadASN1Boolean(&ordering) {
		return fmt.Errorf("couldn't read TSTInfo: %w", errDER)
	}
	if seq.PeekASN1Tag(cbasn1.INTEGER) {
		t.nonce = new(big.Int)
		if !seq.ReadASN1Integer(t.nonce) {
			return fmt.Errorf("couldn't read the nonce: %w", errDER)
		}
	}
	if !seq.ReadOptionalASN1(&tsa, &hasTSA, tagExplicit0) ||
		!seq.ReadOptionalASN1(&extensions, &hasExtensions, cbasn1.Tag(1).ContextSpecific().Constructed()) || !seq.Empty() {
		return fmt.Errorf("couldn't read TSTInfo: %w", errDER)
	}
	if directory := cbasn1.Tag(4).ContextSpecific().Constructed(); hasTSA && tsa.PeekASN1Tag(directory) {
		if !tsa.ReadASN1(&name, directory) || !tsa.Empty() {
			return fmt.Errorf("couldn't read the authority's name: %w", errDER)
		}
		t.tsa = name
	}
	for !extensions.Empty() {
		var extension cryptobyte.String
		var oid asn1.ObjectIdentifier
		critical := false
		if !extensions.ReadASN1(&extension, cbasn1.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&oid) {
			return fmt.Errorf("couldn't read an extension: %w", errDER)
		}
		if extension.PeekASN1Tag(cbasn1.BOOLEAN) && !extension.ReadASN1Boolean(&critical) {
			return fmt.Errorf("couldn't read an extension: %w", errDER)
		}
		if critical {
			return fmt.Errorf("token has an unknown critical extension %s", oid)
		}
	}
	return nil
}

func (t *tstInfo) readAccuracy(s cryptobyte.String) error {
	var seconds int64
	if s.PeekASN1Tag(cbasn1.INTEGER) && !s.ReadASN1Integer(&seconds) || seconds < 0 || seconds > 1<<31 {
		return fmt.Errorf("couldn't read the accuracy: %w", errDER)
	}
	t.accuracy = time.Duration(seconds) * time.Second
	for tag, unit := range []time.Duration{time.Millisecond, time.Microsecond} {
		context := cbasn1.Tag(tag).ContextSpecific() //nolint:gosec // 0 or 1
		if !s.PeekASN1Tag(context) {
			continue
		}
		var n int64
		if !s.ReadASN1Int64WithTag(&n, context) || n < 0 || n > 999 {
			return fmt.Errorf("couldn't read the accuracy: %w", errDER)
		}
		t.accuracy += time.Duration(n) * unit
	}
	if !s.Empty() {
		return fmt.Errorf("couldn't read the accuracy: %w", errDER)
	}
	return nil
}

// parseGenTime reads the form of RFC 3161: UTC, seconds, and an optional fraction without trailing zeros.
func parseGenTime(s string) (time.Time, error) {
	bare, zulu := strings.CutSuffix(s, "Z")
	whole, fraction, dotted := strings.Cut(bare, ".")
	digits := strings.Trim(fraction, "0123456789") == ""
	bad := !zulu || len(whole) != len(generalFormat) || !digits || len(fraction) > 9 || dotted && (fraction == "" || strings.HasSuffix(fraction, "0"))
	t, err := time.Parse(generalFormat, bare)
	if bad || err != nil {
		return time.Time{}, fmt.Errorf("couldn't read the token's time %q", s)
	}
	return t, nil
}
