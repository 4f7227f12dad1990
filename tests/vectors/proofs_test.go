package vectors

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
)

var b64 = base64.RawURLEncoding

// keyed is a signature of an enrolled key over a digest, and whether it holds. Code is the refusal's.
type keyed struct {
	About     string                `json:"about"`
	Digest    string                `json:"digest"`
	Enrolment countersign.Enrolment `json:"enrolment"`
	Proof     countersign.KeyProof  `json:"proof"`
	Holds     bool                  `json:"holds"`
	Code      string                `json:"code,omitempty"`
}

func (k keyed) check() (bool, string) {
	if _, refusal := identity.VerifyKeyProof(k.Digest, k.Proof, k.Enrolment); refusal != nil {
		return false, refusal.Code
	}
	return true, ""
}

func TestR15_VectorsOfKeys(t *testing.T) {
	t.Parallel()
	held := 0
	for _, v := range vectors(t, "keys.json", keys) {
		if holds, code := v.check(); holds != v.Holds || code != v.Code {
			t.Errorf("%s: holds %t, %s", v.About, holds, code)
		}
		if v.Holds {
			held++
		}
	}
	if held != 2 {
		t.Errorf("%d hold, and not one of each kind", held)
	}
}

func keys() (list []keyed) {
	add := func(v keyed) {
		v.Holds, v.Code = v.check()
		list = append(list, v)
	}
	digest := must(decision(alice, "legal", countersign.Approve, "").Digest())
	other := must(decision(alice, "legal", countersign.Reject, "").Digest())

	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	point := must(key.PublicKey.Bytes())
	cose := must(webauthncbor.Marshal(webauthncose.EC2PublicKeyData{
		PublicKeyData: webauthncose.PublicKeyData{KeyType: int64(webauthncose.EllipticKey), Algorithm: int64(webauthncose.AlgES256)},
		Curve:         int64(webauthncose.P256), XCoord: point[1:33], YCoord: point[33:],
	}))
	passkey := countersign.Enrolment{
		V: 1, Tenant: "acme", Actor: alice, Kind: countersign.KeyPasskey, Credential: b64.EncodeToString([]byte("a credential")), PublicKey: b64.EncodeToString(cose),
		RelyingID: "sign.acme.example", Origins: []string{"https://sign.acme.example"}, IssuedAt: noon.Unix(), ExpiresAt: noon.Unix() + 300,
	}
	// assert signs what a browser and an authenticator would: a client data JSON, and flags.
	assert := func(digest, ceremony, origin, party string, flags byte) countersign.KeyProof {
		client := must(json.Marshal(map[string]string{"type": ceremony, "challenge": b64.EncodeToString(must(hex.DecodeString(digest))), "origin": origin}))
		relying, hashed := sha256.Sum256([]byte(party)), sha256.Sum256(client)
		auth := append(relying[:], flags, 0, 0, 0, 7)
		signed := sha256.Sum256(append(bytes.Clone(auth), hashed[:]...))
		return countersign.KeyProof{
			Key: must(passkey.KeyID()), Signature: b64.EncodeToString(must(ecdsa.SignASN1(rand.Reader, key, signed[:]))), AuthenticatorData: b64.EncodeToString(auth), ClientData: b64.EncodeToString(client),
		}
	}
	const get, origin, party, present, verified = "webauthn.get", "https://sign.acme.example", "sign.acme.example", 1, 5
	good := assert(digest, get, origin, party, verified)
	add(keyed{About: "a passkey", Digest: digest, Enrolment: passkey, Proof: good})
	add(keyed{About: "a passkey, of another decision", Digest: other, Enrolment: passkey, Proof: good})
	add(keyed{About: "a passkey that didn't verify its user", Digest: digest, Enrolment: passkey, Proof: assert(digest, get, origin, party, present)})
	add(keyed{About: "a passkey, asked by another origin", Digest: digest, Enrolment: passkey, Proof: assert(digest, get, "https://evil.example", party, verified)})
	add(keyed{About: "a passkey, for another relying party", Digest: digest, Enrolment: passkey, Proof: assert(digest, get, origin, "evil.example", verified)})
	add(keyed{About: "a passkey that was asked to enrol", Digest: digest, Enrolment: passkey, Proof: assert(digest, "webauthn.create", origin, party, verified)})
	stolen := good
	stolen.Signature = assert(other, get, origin, party, verified).Signature
	add(keyed{About: "a passkey, with a signature over something else", Digest: digest, Enrolment: passkey, Proof: stolen})
	second := passkey
	second.Credential = b64.EncodeToString([]byte("another credential"))
	add(keyed{About: "a passkey that was not enrolled", Digest: digest, Enrolment: second, Proof: good})

	deviceKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	jwk := jose.JSONWebKey{Key: deviceKey.Public()}
	device := countersign.Enrolment{
		V: 1, Tenant: "acme", Actor: alice, Kind: countersign.KeyDevice, Credential: b64.EncodeToString(must(jwk.Thumbprint(crypto.SHA256))),
		PublicKey: b64.EncodeToString(must(jwk.MarshalJSON())), IssuedAt: noon.Unix(), ExpiresAt: noon.Unix() + 300,
	}
	jws := func(digest, kind, kid string) countersign.KeyProof {
		signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: deviceKey}, (&jose.SignerOptions{}).WithType(jose.ContentType(kind)).WithHeader("kid", kid)))
		return countersign.KeyProof{Key: must(device.KeyID()), Signature: must(must(signer.Sign(must(json.Marshal(identity.DevicePayload{Digest: digest})))).CompactSerialize())}
	}
	signed := jws(digest, identity.DeviceProofType, device.Credential)
	add(keyed{About: "a device key", Digest: digest, Enrolment: device, Proof: signed})
	add(keyed{About: "a device key, of another decision", Digest: other, Enrolment: device, Proof: signed})
	add(keyed{About: "a device key, with a JWS of another type", Digest: digest, Enrolment: device, Proof: jws(digest, "JWT", device.Credential)})
	add(keyed{About: "a device key, with another key's id", Digest: digest, Enrolment: device, Proof: jws(digest, identity.DeviceProofType, second.Credential)})
	spliced := signed
	at, of := bytes.LastIndexByte([]byte(signed.Signature), '.'), jws(other, identity.DeviceProofType, device.Credential).Signature
	spliced.Signature = signed.Signature[:at] + of[bytes.LastIndexByte([]byte(of), '.'):]
	add(keyed{About: "a device key, with a signature over something else", Digest: digest, Enrolment: device, Proof: spliced})
	return list
}

// login is an ID token that was fetched for one decision, and whether it proves it. At is when the server took the decision.
type login struct {
	About    string               `json:"about"`
	Decision countersign.Decision `json:"decision"`
	IDToken  string               `json:"idToken"`
	Issuer   countersign.Issuer   `json:"issuer"`
	Key      json.RawMessage      `json:"key"`
	At       time.Time            `json:"at"`
	Holds    bool                 `json:"holds"`
	Code     string               `json:"code,omitempty"`
}

func (l login) check() (bool, string) {
	digest, err := l.Decision.Digest()
	if err == nil {
		_, err = identity.VerifyArchivedBound(identity.DecisionBound(l.Decision, digest), l.IDToken, l.Issuer, l.Key, l.At)
	}
	var refusal *countersign.Refusal
	if errors.As(err, &refusal) {
		return false, refusal.Code
	}
	return err == nil, ""
}

func TestR15_VectorsOfLogins(t *testing.T) {
	t.Parallel()
	held := 0
	for _, v := range vectors(t, "logins.json", logins) {
		if holds, code := v.check(); holds != v.Holds || code != v.Code {
			t.Errorf("%s: holds %t, %s", v.About, holds, code)
		}
		if v.Holds {
			held++
		}
	}
	if held != 1 {
		t.Errorf("%d hold", held)
	}
}

func logins() (list []login) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	jwk := jose.JSONWebKey{Key: key.Public(), KeyID: "key-1", Algorithm: "ES256", Use: "sig"}
	issuer := countersign.Issuer{ID: "acme", URL: alice.Issuer, Kind: "home", Organisation: "Acme", Audience: "countersign", EvidenceAudience: "countersign-evidence"}
	d := decision(alice, "legal", countersign.Approve, "")
	add := func(about string, change map[string]any) {
		claims := map[string]any{
			"iss": alice.Issuer, "sub": alice.Subject, "aud": issuer.EvidenceAudience, "azp": issuer.EvidenceAudience, "nonce": must(d.Digest()),
			"iat": noon.Unix() + 20, "exp": noon.Unix() + 320, "auth_time": noon.Unix() + 20,
		}
		for name, value := range change {
			claims[name] = value
		}
		signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "key-1")))
		token := must(must(signer.Sign(must(json.Marshal(claims)))).CompactSerialize())
		v := login{About: about, Decision: d, IDToken: token, Issuer: issuer, Key: must(jwk.MarshalJSON()), At: noon.Add(30 * time.Second)}
		v.Holds, v.Code = v.check()
		list = append(list, v)
	}
	rejected := decision(alice, "legal", countersign.Reject, "")
	add("an ID token for this decision", nil)
	add("for another decision", map[string]any{"nonce": must(rejected.Digest())})
	add("of another person", map[string]any{"sub": "a-1004"})
	add("of another issuer", map[string]any{"iss": carol.Issuer})
	add("for logging in", map[string]any{"aud": issuer.Audience})
	add("for evidence and something else", map[string]any{"aud": []string{issuer.EvidenceAudience, "other"}})
	add("expired", map[string]any{"exp": noon.Unix() + 30})
	add("from the future", map[string]any{"iat": noon.Unix() + 91, "exp": noon.Unix() + 400})
	add("after a login of earlier", map[string]any{"auth_time": noon.Unix() - 61})
	add("without the time of the login", map[string]any{"auth_time": nil})
	forged := list[0]
	forged.About, forged.Key = "signed by another key", must((&jose.JSONWebKey{Key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public(), KeyID: "key-1", Algorithm: "ES256", Use: "sig"}).MarshalJSON())
	forged.Holds, forged.Code = forged.check()
	return append(list, forged)
}
