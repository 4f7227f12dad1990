package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"sync"
	"testing"

	"github.com/descope/virtualwebauthn"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/countersign-dev/countersign"
)

const (
	relyingID = "sign.acme.example"
	origin    = "https://sign.acme.example"
)

// keyDigest is what the keys of these tests prove.
var keyDigest = countersign.SHA256([]byte("a decision"))

// passkey is a passkey that can also be made to lie: it signs any client data and authenticator data.
type passkey struct {
	t         testing.TB
	enrolment countersign.Enrolment
	sign      func(hashed, message []byte) []byte
	virtual   *virtualwebauthn.Credential // nil where the library has no such key
}

func enrolmentOf(kind string, credential, publicKey []byte) countersign.Enrolment {
	e := countersign.Enrolment{
		V: 1, Tenant: "acme", Actor: countersign.Actor{Issuer: "https://id.acme.example", Subject: "lena"}, Kind: kind,
		Credential: segment(credential), PublicKey: segment(publicKey), IssuedAt: testNow.Unix(), ExpiresAt: testNow.Unix() + 300,
	}
	if kind == countersign.KeyPasskey {
		e.RelyingID, e.Origins = relyingID, []string{"https://other.acme.example", origin}
	}
	return e
}

// newPasskey makes a passkey of the software authenticator: KeyTypeEC2 for ES256, KeyTypeRSA for RS256.
func newPasskey(t testing.TB, kind virtualwebauthn.KeyType) *passkey {
	t.Helper()
	c := virtualwebauthn.NewCredential(kind)
	for kind == virtualwebauthn.KeyTypeEC2 && len(c.Key.AttestationData()) != 77 { // the library drops leading zeros of a coordinate
		c = virtualwebauthn.NewCredential(kind)
	}
	return passkeyOf(t, c)
}

func passkeyOf(t testing.TB, c virtualwebauthn.Credential) *passkey {
	var mu sync.Mutex // the library's key parses itself anew, in place, at each use
	return &passkey{t, enrolmentOf(countersign.KeyPasskey, c.ID, c.Key.AttestationData()), func(hashed, _ []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		signature, err := c.Key.Sign(hashed)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}, &c}
}

func newEdPasskey(t testing.TB) *passkey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := webauthncose.OKPPublicKeyData{PublicKeyData: coseKind(webauthncose.OctetKey, webauthncose.AlgEdDSA), Curve: int64(webauthncose.Ed25519), XCoord: public}
	return &passkey{t, enrolmentOf(countersign.KeyPasskey, []byte("ed"), cose(t, key)), func(_, message []byte) []byte { return ed25519.Sign(private, message) }, nil}
}

func coseKind(kind webauthncose.COSEKeyType, algorithm webauthncose.COSEAlgorithmIdentifier) webauthncose.PublicKeyData {
	return webauthncose.PublicKeyData{KeyType: int64(kind), Algorithm: int64(algorithm)}
}

func cose(t testing.TB, key any) []byte {
	t.Helper()
	raw, err := webauthncbor.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// assertion is what a passkey is about to sign.
type assertion struct {
	client map[string]any
	raw    []byte // instead of client, where it is no plain JSON
	auth   []byte
}

func (k *passkey) assertion(digest string) assertion {
	challenge, err := hex.DecodeString(digest)
	if err != nil {
		k.t.Fatal(err)
	}
	party := sha256.Sum256([]byte(relyingID))
	return assertion{
		client: map[string]any{"type": "webauthn.get", "challenge": segment(challenge), "origin": origin},
		auth:   append(party[:], 0x05, 0, 0, 0, 7),
	}
}

func (a assertion) with(name string, value any) assertion {
	a.client = maps.Clone(a.client)
	a.client[name] = value
	return a
}

func (k *passkey) prove(a assertion) countersign.KeyProof {
	if a.raw == nil {
		var err error
		if a.raw, err = json.Marshal(a.client); err != nil {
			k.t.Fatal(err)
		}
	}
	client := sha256.Sum256(a.raw)
	message := append(append([]byte{}, a.auth...), client[:]...)
	hashed := sha256.Sum256(message)
	id, err := k.enrolment.KeyID()
	if err != nil {
		k.t.Fatal(err)
	}
	return countersign.KeyProof{Key: id, Signature: segment(k.sign(hashed[:], message)), AuthenticatorData: segment(a.auth), ClientData: segment(a.raw)}
}

// device is a device key that can also be made to lie: it signs any header and payload.
type device struct {
	t         testing.TB
	enrolment countersign.Enrolment
	algorithm jose.SignatureAlgorithm
	key       crypto.Signer
}

func newDevice(t testing.TB, algorithm jose.SignatureAlgorithm) *device {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case jose.ES256:
		key = newECKey(t)
	case jose.ES384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.ES512:
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case jose.RS256:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return deviceOf(t, algorithm, key)
}

func deviceOf(t testing.TB, algorithm jose.SignatureAlgorithm, key crypto.Signer) *device {
	t.Helper()
	jwk := jose.JSONWebKey{Key: key.Public()}
	raw, err := jwk.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return &device{t, enrolmentOf(countersign.KeyDevice, thumbprint, raw), algorithm, key}
}

func (d *device) header() protected {
	return protected{"alg": string(d.algorithm), "typ": DeviceProofType, "kid": d.enrolment.Credential}
}

// prove signs as an honest device key does.
func (d *device) prove(digest string) countersign.KeyProof {
	header, err := json.Marshal(d.header())
	if err != nil {
		d.t.Fatal(err)
	}
	return d.proof(string(header), `{"digest":"`+digest+`"}`)
}

// proof signs any header and payload, with the algorithm of the key.
func (d *device) proof(header, payload string) countersign.KeyProof {
	d.t.Helper()
	input := segment([]byte(header)) + "." + segment([]byte(payload))
	hash := map[jose.SignatureAlgorithm]crypto.Hash{jose.ES256: crypto.SHA256, jose.ES384: crypto.SHA384, jose.ES512: crypto.SHA512, jose.RS256: crypto.SHA256}[d.algorithm]
	hashed := []byte(input)
	if hash != 0 {
		h := hash.New()
		h.Write(hashed)
		hashed = h.Sum(nil)
	}
	var signature []byte
	var err error
	if key, ok := d.key.(*ecdsa.PrivateKey); ok {
		r, s, fault := ecdsa.Sign(rand.Reader, key, hashed)
		if err = fault; err == nil {
			size := (key.Curve.Params().BitSize + 7) / 8
			signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	} else {
		signature, err = d.key.Sign(rand.Reader, hashed, hash)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	id, err := d.enrolment.KeyID()
	if err != nil {
		d.t.Fatal(err)
	}
	return countersign.KeyProof{Key: id, Signature: input + "." + segment(signature)}
}
