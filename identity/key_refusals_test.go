package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/countersign-dev/countersign"
)

// keyCase is a proof that must be refused, with the exact reason.
type keyCase struct {
	name, code, message string
	make                func() (countersign.KeyProof, countersign.Enrolment)
}

func refusedKeys(t *testing.T, digest string, cases []keyCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, e := c.make()
			use, refusal := VerifyKeyProof(digest, p, e)
			if use != (KeyUse{}) || refusal == nil {
				t.Fatalf("accepted: %+v", use)
			}
			if refusal.Code != c.code || refusal.Message != c.message {
				t.Errorf("refused as %s: %s\nwant       %s: %s", refusal.Code, refusal.Message, c.code, c.message)
			}
		})
	}
}

func TestWrongProofsOfAPasskeyAreRefusedWithTheirReason(t *testing.T) {
	t.Parallel()
	k, stranger := newPasskey(t, virtualwebauthn.KeyTypeEC2), newPasskey(t, virtualwebauthn.KeyTypeEC2)
	signs := func(change func(*assertion)) func() (countersign.KeyProof, countersign.Enrolment) {
		return func() (countersign.KeyProof, countersign.Enrolment) {
			a := k.assertion(keyDigest)
			change(&a)
			return k.prove(a), k.enrolment
		}
	}
	says := func(name string, value any) func() (countersign.KeyProof, countersign.Enrolment) {
		return signs(func(a *assertion) { *a = a.with(name, value) })
	}
	flags := func(f byte) func() (countersign.KeyProof, countersign.Enrolment) {
		return signs(func(a *assertion) { a.auth[32] = f })
	}
	sends := func(change func(*countersign.KeyProof, *countersign.Enrolment)) func() (countersign.KeyProof, countersign.Enrolment) {
		return func() (countersign.KeyProof, countersign.Enrolment) {
			p, e := k.prove(k.assertion(keyDigest)), k.enrolment
			change(&p, &e)
			return p, e
		}
	}
	const (
		badClient  = "the passkey's clientDataJSON is not the JSON that a browser writes"
		noClient   = "the passkey's clientDataJSON is missing or not base64url without padding"
		badAuth    = "the passkey's authenticatorData can't be read"
		noAuth     = "the passkey's authenticatorData is missing or not base64url without padding"
		other      = "the passkey signed something else: its challenge must be the 32 bytes of this digest"
		page       = `the passkey was asked by a page of %s, which its owner did not enrol it for`
		frame      = "the passkey was asked by a page in another site's frame; open the page itself"
		unverified = `the authenticator didn't verify its owner: ask for userVerification "required", and unlock it with PIN, face or finger`
		foreign    = "the signature is not of the enrolled passkey over these data"
	)
	asked := func(by string) string { return strings.Replace(page, "%s", `"`+by+`"`, 1) }
	refusedKeys(t, keyDigest, []keyCase{
		{"no signature", "key-malformed", "key proof: there is no signature", sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.Signature = "" })},
		{"key that is no id", "key-malformed", "key proof: key must be the 64 hex digits of a key's id", sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.Key = "phone" })},
		{"oversized", "key-malformed", "key proof: a part has more than 4096 characters", sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.ClientData = strings.Repeat("A", 4097) })},
		{"of another key", "key-other", "the proof names another key than the enrolled one: sign with the key that was enrolled", sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.Key = strings.Repeat("0", 64) })},
		{"padded signature", "key-malformed", "the passkey's signature is not base64url without padding", sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.Signature += "==" })},
		{"signature with a line break", "key-malformed", "the passkey's signature is not base64url without padding", sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.Signature += "\n" })},
		{"no client data", "key-malformed", noClient, sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.ClientData = "" })},
		{"padded client data", "key-malformed", noClient, sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.ClientData += "=" })},
		{"no authenticator data", "key-malformed", noAuth, sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.AuthenticatorData = "" })},
		{"client data that is no JSON", "key-malformed", badClient, signs(func(a *assertion) { a.raw = []byte("webauthn.get") })},
		{"client data with a tail", "key-malformed", badClient, signs(func(a *assertion) {
			a.raw = []byte(`{"type":"webauthn.get"}{}`)
		})},
		{"client data with two origins", "key-malformed", badClient, signs(func(a *assertion) {
			a.raw = []byte(`{"type":"webauthn.get","challenge":"` + a.client["challenge"].(string) + `","origin":"https://evil.example","origin":"` + origin + `"}`)
		})},
		{"crossOrigin that is text", "key-malformed", badClient, says("crossOrigin", "false")},
		{"the making of a key", "key-malformed", `the passkey was asked for "webauthn.create"; ask it for "webauthn.get"`, says("type", "webauthn.create")},
		{"a payment", "key-malformed", `the passkey was asked for "payment.get"; ask it for "webauthn.get"`, says("type", "payment.get")},
		{"another decision", "key-other-decision", other, func() (countersign.KeyProof, countersign.Enrolment) {
			return k.prove(k.assertion(countersign.SHA256([]byte("another decision")))), k.enrolment
		}},
		{"the digest's hex as challenge", "key-other-decision", other, says("challenge", keyDigest)},
		{"the hex's base64url as challenge", "key-other-decision", other, says("challenge", segment([]byte(keyDigest)))},
		{"no challenge", "key-other-decision", other, says("challenge", "")},
		{"another origin", "key-origin", asked("https://evil.example"), says("origin", "https://evil.example")},
		{"no origin", "key-origin", asked(""), says("origin", "")},
		{"origin with a path", "key-origin", asked(origin + "/evil"), says("origin", origin+"/evil")},
		{"origin without TLS", "key-origin", asked("http://sign.acme.example"), says("origin", "http://sign.acme.example")},
		{"origin in capitals", "key-origin", asked("https://SIGN.acme.example"), says("origin", "https://SIGN.acme.example")},
		{"origin with a port", "key-origin", asked(origin + ":443"), says("origin", origin+":443")},
		{"in a frame", "key-origin", frame, says("crossOrigin", true)},
		{"under another page", "key-origin", frame, says("topOrigin", "https://evil.example")},
		{"cut authenticator data", "key-malformed", badAuth, signs(func(a *assertion) { a.auth = a.auth[:36] })},
		{"authenticator data with a tail", "key-malformed", badAuth, signs(func(a *assertion) { a.auth = append(a.auth, 0) })},
		{"an extension that isn't there", "key-malformed", badAuth, flags(0x85)},
		{"an extension with a tail", "key-malformed", badAuth, signs(func(a *assertion) { a.auth[32] |= 0x80; a.auth = append(a.auth, 0xa0, 0) })},
		{"a new key that isn't there", "key-malformed", badAuth, flags(0x45)},
		{"a new key", "key-malformed", "the passkey's authenticatorData makes a new key; an assertion must not carry attested credential data", signs(func(a *assertion) {
			a.auth[32] |= 0x40
			a.auth = slices.Concat(a.auth, make([]byte, 16), []byte{0, 1, 'x'}, mustDecode(t, k.enrolment.PublicKey))
		})},
		{"backed up and not to be backed up", "key-malformed", "the passkey's authenticatorData says that a key is backed up that can't be", flags(0x15)},
		{"another relying party", "key-relying-party", `the passkey signed for another relying party than "sign.acme.example"`, signs(func(a *assertion) { a.auth[0] ^= 1 })},
		{"not verified", "key-not-verified", unverified, flags(0x01)},
		{"not present", "key-not-verified", unverified, flags(0x04)},
		{"neither", "key-not-verified", unverified, flags(0x00)},
		{"signed by another passkey", "key-signature", foreign, sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) {
			p.Signature = stranger.prove(k.assertion(keyDigest)).Signature
		})},
		{"signature with a tail", "key-signature", foreign, sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) {
			p.Signature = segment(append(mustDecode(t, p.Signature), 0))
		})},
		{"a counter changed after signing", "key-signature", foreign, sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) {
			raw := mustDecode(t, p.AuthenticatorData)
			raw[36]++
			p.AuthenticatorData = segment(raw)
		})},
		{"an enrolment of no kind", "key-malformed", `the key can't be used: enrolment: kind "card" is neither passkey nor device; enrol it again`, sends(func(_ *countersign.KeyProof, e *countersign.Enrolment) { e.Kind = "card" })},
		{"an enrolment without origins", "key-malformed", "the key can't be used: enrolment: a passkey needs its relying party and the origins that may ask it; enrol it again", sends(func(_ *countersign.KeyProof, e *countersign.Enrolment) { e.Origins = nil })},
		{"a device key's proof", "key-malformed", "the passkey's signature is not base64url without padding", func() (countersign.KeyProof, countersign.Enrolment) {
			d := newDevice(t, jose.ES256)
			p := d.prove(keyDigest)
			p.Key = countersign.SHA256(mustDecode(t, k.enrolment.Credential))
			return p, k.enrolment
		}},
	})
}

func mustDecode(t *testing.T, s string) []byte {
	t.Helper()
	raw, ok := decodeExact(s)
	if !ok {
		t.Fatalf("%q is not base64url", s)
	}
	return raw
}

func TestPublicKeysOfPasskeysAreTakenOrRefused(t *testing.T) {
	t.Parallel()
	k := newPasskey(t, virtualwebauthn.KeyTypeEC2)
	good := mustDecode(t, k.enrolment.PublicKey)
	point := newECKey(t).PublicKey
	raw, err := point.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := raw[1:33], raw[33:]
	ec := func(algorithm webauthncose.COSEAlgorithmIdentifier, curve webauthncose.COSEEllipticCurve, x []byte) []byte {
		return cose(t, webauthncose.EC2PublicKeyData{PublicKeyData: coseKind(webauthncose.EllipticKey, algorithm), Curve: int64(curve), XCoord: x, YCoord: y})
	}
	okp := func(algorithm webauthncose.COSEAlgorithmIdentifier, curve webauthncose.COSEEllipticCurve) []byte {
		return cose(t, webauthncose.OKPPublicKeyData{PublicKeyData: coseKind(webauthncose.OctetKey, algorithm), Curve: int64(curve), XCoord: x})
	}
	weak := func(algorithm webauthncose.COSEAlgorithmIdentifier, bits int) []byte {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return cose(t, webauthncose.RSAPublicKeyData{PublicKeyData: coseKind(webauthncose.RSAKey, algorithm), Modulus: key.N.Bytes(), Exponent: []byte{1, 0, 1}})
	}
	const (
		fits     = "the passkey's algorithm doesn't fit its key; accepted are ES256 on P-256, EdDSA on Ed25519, and RS256 with at least 2048 bits"
		accepted = "; accepted are -7 (ES256), -8 (EdDSA) and -257 (RS256)"
		unusable = "the passkey's public key can't be used; enrol it again"
	)
	var cases []keyCase
	for _, c := range []struct {
		name, code, message string
		key                 []byte
	}{
		{"no CBOR", "key-malformed", "the passkey's public key is not one COSE_Key; enrol it again", []byte("key")},
		{"a tail", "key-malformed", "the passkey's public key is not one COSE_Key; enrol it again", append(slices.Clone(good), 0)},
		{"a list", "key-malformed", "the passkey's public key is not one COSE_Key; enrol it again", []byte{0x82, 2, 0x26}},
		{"ES384", "key-algorithm", "the passkey signs with COSE algorithm -35" + accepted, ec(webauthncose.AlgES384, webauthncose.P384, x)},
		{"ES256K", "key-algorithm", "the passkey signs with COSE algorithm -47" + accepted, ec(webauthncose.AlgES256K, webauthncose.Secp256k1, x)},
		{"PS256", "key-algorithm", "the passkey signs with COSE algorithm -37" + accepted, weak(webauthncose.AlgPS256, 2048)},
		{"RS1", "key-algorithm", "the passkey signs with COSE algorithm -65535" + accepted, weak(webauthncose.AlgRS1, 2048)},
		{"no algorithm", "key-algorithm", "the passkey signs with COSE algorithm 0" + accepted, []byte{0xa1, 1, 2}},
		{"RS256 with 1024 bits", "key-algorithm", fits, weak(webauthncose.AlgRS256, 1024)},
		{"ES256 on P-384", "key-malformed", unusable, ec(webauthncose.AlgES256, webauthncose.P384, x)},
		{"a short coordinate", "key-malformed", unusable, ec(webauthncose.AlgES256, webauthncose.P256, x[:31])},
		{"a point off the curve", "key-malformed", unusable, ec(webauthncose.AlgES256, webauthncose.P256, make([]byte, 32))},
		{"EdDSA on X25519", "key-malformed", unusable, okp(webauthncose.AlgEdDSA, webauthncose.X25519)},
		{"ES256 for an Ed25519 key", "key-malformed", unusable, okp(webauthncose.AlgES256, webauthncose.Ed25519)},
		{"EdDSA for a P-256 key", "key-malformed", unusable, ec(webauthncose.AlgEdDSA, webauthncose.P256, x)},
		{"a symmetric key", "key-malformed", unusable, []byte{0xa3, 1, 4, 3, 0x26, 0x20, 0x41, 'k'}},
		{"a private part", "key-malformed", "the passkey's public key has more in it than the key, or isn't in canonical form; enrol it as the authenticator gave it",
			slices.Concat([]byte{0xa6}, good[1:], []byte{0x23, 0x41, 'd'})},
		{"members in another order", "key-malformed", "the passkey's public key has more in it than the key, or isn't in canonical form; enrol it as the authenticator gave it",
			slices.Concat([]byte{0xa5}, good[3:5], good[1:3], good[5:])},
	} {
		cases = append(cases, keyCase{c.name, c.code, c.message, func() (countersign.KeyProof, countersign.Enrolment) {
			e := k.enrolment
			e.PublicKey = segment(c.key)
			return k.prove(k.assertion(keyDigest)), e
		}})
	}
	if !bytes.Equal(good[1:5], []byte{1, 2, 3, 0x26}) {
		t.Fatalf("the key begins with % x", good[:5])
	}
	refusedKeys(t, keyDigest, cases)
}

func TestWrongProofsOfADeviceKeyAreRefusedWithTheirReason(t *testing.T) {
	t.Parallel()
	d, stranger := newDevice(t, jose.ES256), newDevice(t, jose.ES256)
	payload := `{"digest":"` + keyDigest + `"}`
	head := `{"alg":"ES256","typ":"countersign-proof+jws","kid":"` + d.enrolment.Credential + `"`
	signs := func(header, payload string) func() (countersign.KeyProof, countersign.Enrolment) {
		return func() (countersign.KeyProof, countersign.Enrolment) { return d.proof(header, payload), d.enrolment }
	}
	sends := func(change func(*countersign.KeyProof, *countersign.Enrolment)) func() (countersign.KeyProof, countersign.Enrolment) {
		return func() (countersign.KeyProof, countersign.Enrolment) {
			p, e := d.prove(keyDigest), d.enrolment
			change(&p, &e)
			return p, e
		}
	}
	part := func(n int, f func(string) string) func() (countersign.KeyProof, countersign.Enrolment) {
		return sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) {
			parts := strings.Split(p.Signature, ".")
			parts[n] = f(parts[n])
			p.Signature = strings.Join(parts, ".")
		})
	}
	jwk := func(key any) func() (countersign.KeyProof, countersign.Enrolment) {
		return sends(func(_ *countersign.KeyProof, e *countersign.Enrolment) {
			if text, ok := key.(string); ok {
				e.PublicKey = segment([]byte(text))
				return
			}
			raw, err := (&jose.JSONWebKey{Key: key}).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			e.PublicKey = segment(raw)
		})
	}
	of := func(algorithm jose.SignatureAlgorithm) func() (countersign.KeyProof, countersign.Enrolment) {
		return func() (countersign.KeyProof, countersign.Enrolment) {
			d := newDevice(t, algorithm)
			return d.prove(keyDigest), d.enrolment
		}
	}
	public := string(mustDecode(t, d.enrolment.PublicKey))
	const (
		header  = "the JWS's header must be JSON with alg, typ and kid, each once and nothing else"
		body    = "the JWS's payload must be JSON with digest, once and nothing else"
		members = "the device key's JWK must have the members of a public key (kty, crv, x, y) and nothing else; enrol it again"
		foreign = "the signature is not of the enrolled device key over these data"
		other   = "the device key signed something else: the payload must have this digest"
		named   = "the JWS names another key (kid) than the enrolled one: sign with the key that was enrolled"
		three   = "the device key's proof is not a compact JWS (three parts with dots)"
	)
	cases := []keyCase{
		{"authenticator data", "key-malformed", "a device key's proof is a JWS alone; leave authenticatorData and clientDataJSON out", sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.AuthenticatorData = "AA" })},
		{"client data", "key-malformed", "a device key's proof is a JWS alone; leave authenticatorData and clientDataJSON out", sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.ClientData = "AA" })},
		{"of another key", "key-other", "the proof names another key than the enrolled one: sign with the key that was enrolled", sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.Key = strings.Repeat("0", 64) })},
		{"kid of another key", "key-other", named, signs(strings.Replace(head, d.enrolment.Credential, stranger.enrolment.Credential, 1)+"}", payload)},
		{"no kid", "key-other", named, signs(`{"alg":"ES256","typ":"countersign-proof+jws"}`, payload)},
		{"two parts", "key-malformed", three, sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) {
			p.Signature = p.Signature[:strings.LastIndex(p.Signature, ".")]
		})},
		{"four parts", "key-malformed", three, sends(func(p *countersign.KeyProof, _ *countersign.Enrolment) { p.Signature += ".AA" })},
		{"padded header", "key-malformed", "part 1 of the device key's JWS is not base64url without padding", part(0, func(s string) string { return s + "=" })},
		{"detached payload", "key-malformed", "part 2 of the device key's JWS is not base64url without padding", part(1, func(string) string { return "" })},
		{"no signature in it", "key-malformed", "part 3 of the device key's JWS is not base64url without padding", part(2, func(string) string { return "" })},
		{"signature with a line break", "key-malformed", "part 3 of the device key's JWS is not base64url without padding", part(2, func(s string) string { return s[:10] + "\n" + s[10:] })},
		{"another typ", "key-malformed", `the JWS has the typ "JWT"; a proof has "countersign-proof+jws"`, signs(strings.Replace(head, "countersign-proof+jws", "JWT", 1)+"}", payload)},
		{"typ as a media type", "key-malformed", `the JWS has the typ "application/countersign-proof+jws"; a proof has "countersign-proof+jws"`, signs(strings.Replace(head, "countersign-proof+jws", "application/countersign-proof+jws", 1)+"}", payload)},
		{"no typ", "key-malformed", `the JWS has the typ ""; a proof has "countersign-proof+jws"`, signs(`{"alg":"ES256","kid":"`+d.enrolment.Credential+`"}`, payload)},
		{"alg none", "key-algorithm", `the JWS is signed with "none"; the enrolled key signs with ES256`, signs(strings.Replace(head, "ES256", "none", 1)+"}", payload)},
		{"alg of another key", "key-algorithm", `the JWS is signed with "ES384"; the enrolled key signs with ES256`, signs(strings.Replace(head, "ES256", "ES384", 1)+"}", payload)},
		{"HS256", "key-algorithm", `the JWS is signed with "HS256"; the enrolled key signs with ES256`, signs(strings.Replace(head, "ES256", "HS256", 1)+"}", payload)},
		{"two algs", "key-malformed", header, signs(head+`,"alg":"ES256"}`, payload)},
		{"ALG", "key-malformed", header, signs(head+`,"ALG":"none"}`, payload)},
		{"another decision", "key-other-decision", other, func() (countersign.KeyProof, countersign.Enrolment) {
			return d.prove(countersign.SHA256([]byte("another decision"))), d.enrolment
		}},
		{"digest in capitals", "key-other-decision", other, signs(head+"}", `{"digest":"`+strings.ToUpper(keyDigest)+`"}`)},
		{"no digest", "key-other-decision", other, signs(head+"}", `{}`)},
		{"more than the digest", "key-malformed", body, signs(head+"}", `{"digest":"`+keyDigest+`","note":""}`)},
		{"two digests", "key-malformed", body, signs(head+"}", `{"digest":"","digest":"`+keyDigest+`"}`)},
		{"payload with a tail", "key-malformed", body, signs(head+"}", payload+"{}")},
		{"signed by another device key", "key-signature", foreign, func() (countersign.KeyProof, countersign.Enrolment) {
			p := stranger.proof(head+"}", payload)
			p.Key = countersign.SHA256(mustDecode(t, d.enrolment.Credential))
			return p, d.enrolment
		}},
		{"signature in DER", "key-signature", foreign, part(2, func(string) string { return segment([]byte{0x30, 6, 2, 1, 1, 2, 1, 1}) })},
		{"signature with a tail", "key-signature", foreign, part(2, func(s string) string { return segment(append(mustDecode(t, s), 0)) })},

		{"P-521", "key-algorithm", "the device key must be ECDSA on P-256 or P-384, or Ed25519", of(jose.ES512)},
		{"RSA", "key-algorithm", "the device key must be ECDSA on P-256 or P-384, or Ed25519", of(jose.RS256)},
		{"a private JWK", "key-malformed", members, jwk(d.key)},
		{"a symmetric JWK", "key-malformed", members, jwk([]byte("secret"))},
		{"a JWK that says who it is", "key-malformed", members, jwk(strings.TrimSuffix(public, "}") + `,"kid":"x"}`)},
		{"a JWK that is no JSON", "key-malformed", members, jwk("key")},
		{"a JWK of no key", "key-malformed", "the device key's JWK is no public key; enrol it again", jwk(`{"kty":"EC","crv":"P-256"}`)},
		{"a JWK written in two ways", "key-malformed", "the device key's JWK isn't written in the one way that RFC 7518, section 6, gives; enrol it again", jwk(strings.Replace(public, `"x":"`, `"n":"AA","x":"`, 1))},
		{"the JWK of another key", "key-malformed", "the credential is not the SHA-256 thumbprint (RFC 7638) of the device key; enrol it again", jwk(stranger.key.Public())},
		{"a public key that isn't base64url", "key-malformed", "the key can't be used: enrolment: publicKey: must be 1 to 2048 bytes in base64url without padding; enrol it again", sends(func(_ *countersign.KeyProof, e *countersign.Enrolment) { e.PublicKey = "{}" })},
		{"a public key with a line break", "key-malformed", "the device key's JWK is not base64url without padding; enrol it again", sends(func(_ *countersign.KeyProof, e *countersign.Enrolment) { e.PublicKey += "\n" })},
	}
	for _, name := range []string{"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "cty", "nonce"} {
		cases = append(cases, keyCase{"header with " + name, "key-malformed", header, signs(head+`,"`+name+`":[]}`, payload)})
	}
	refusedKeys(t, keyDigest, cases)
}

func TestOnlyADigestIsProven(t *testing.T) {
	t.Parallel()
	d := newDevice(t, jose.ES256)
	for _, digest := range []string{"", "yes", keyDigest[:62], strings.ToUpper(keyDigest), keyDigest + "00"} {
		if _, refusal := VerifyKeyProof(digest, d.prove(digest), d.enrolment); refusal == nil || refusal.Code != "key-malformed" {
			t.Errorf("%q: %+v", digest, refusal)
		}
	}
}
