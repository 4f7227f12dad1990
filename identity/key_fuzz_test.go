package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
)

// Whatever is sent for either kind of key: no panic, and nothing counts that the key didn't sign over this digest.
func FuzzVerifyKeyProof(f *testing.F) {
	// The fuzzer's workers are processes of their own: with fresh keys in each, no seed would come near to being accepted.
	key := fixedKey(f)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	credential := virtualwebauthn.NewCredentialWithImportedKey(virtualwebauthn.KeyTypeEC2, der)
	credential.ID = []byte("fixed")
	passkey, device := passkeyOf(f, credential), deviceOf(f, jose.ES256, key)
	enrolled := map[bool]countersign.Enrolment{true: passkey.enrolment, false: device.enrolment}
	honest := map[bool]countersign.KeyProof{true: passkey.prove(passkey.assertion(keyDigest)), false: device.prove(keyDigest)}

	// Bare texts are encoded before they are sent, so that the fuzzer reaches what lies within base64url.
	seed := func(isPasskey bool, publicKey string, p countersign.KeyProof) {
		f.Add(isPasskey, false, publicKey, p.Key, p.Signature, p.AuthenticatorData, p.ClientData)
		bare := func(s string) string { raw, _ := decodeExact(s); return string(raw) }
		signature := bare(p.Signature)
		if parts := strings.Split(p.Signature, "."); len(parts) == 3 {
			signature = bare(parts[0]) + "." + bare(parts[1]) + "." + bare(parts[2])
		}
		f.Add(isPasskey, true, bare(publicKey), p.Key, signature, bare(p.AuthenticatorData), bare(p.ClientData))
	}
	for kind, p := range honest {
		seed(kind, enrolled[kind].PublicKey, p)
		seed(!kind, enrolled[!kind].PublicKey, p)
		seed(kind, enrolled[!kind].PublicKey, p)
	}
	for kind, p := range honest {
		if _, refusal := VerifyKeyProof(keyDigest, p, enrolled[kind]); refusal != nil {
			f.Fatal(refusal)
		}
	}
	seed(true, newEdPasskey(f).enrolment.PublicKey, honest[true])
	seed(true, newPasskey(f, virtualwebauthn.KeyTypeRSA).enrolment.PublicKey, honest[true])
	seed(false, newDevice(f, jose.EdDSA).enrolment.PublicKey, honest[false])
	extended := passkey.assertion(keyDigest)
	extended.auth[32] |= 0x80
	extended.auth = append(extended.auth, 0xa1, 0x61, 'x', 0xf5)
	extended.client["origin"] = "https://evil.example"
	seed(true, passkey.enrolment.PublicKey, passkey.prove(extended))
	seed(false, device.enrolment.PublicKey, device.proof(`{"alg":"none","crit":["b64"],"b64":false}`, keyDigest))

	f.Fuzz(func(t *testing.T, isPasskey, isBare bool, publicKey, key, signature, authenticatorData, clientData string) {
		if isBare {
			encode := func(s string) string { return segment([]byte(s)) }
			publicKey, authenticatorData, clientData = encode(publicKey), encode(authenticatorData), encode(clientData)
			parts := []string{signature}
			if !isPasskey {
				parts = strings.SplitN(signature, ".", 3)
			}
			for n, part := range parts {
				parts[n] = encode(part)
			}
			signature = strings.Join(parts, ".")
		}
		e, want := enrolled[isPasskey], honest[isPasskey]
		e.PublicKey = publicKey
		p := countersign.KeyProof{Key: key, Signature: signature, AuthenticatorData: authenticatorData, ClientData: clientData}
		use, refusal := VerifyKeyProof(keyDigest, p, e)
		if refusal != nil {
			if use != (KeyUse{}) || !strings.HasPrefix(refusal.Code, "key-") || refusal.Message == "" || len(refusal.Message) > 1000 {
				t.Fatalf("refused as %+v with %+v", refusal, use)
			}
			return
		}
		// ECDSA signs one message in many ways. What is signed is one.
		signed := p.AuthenticatorData == want.AuthenticatorData && p.ClientData == want.ClientData
		if !isPasskey {
			signed = signed && p.Signature[:strings.LastIndex(p.Signature, ".")] == want.Signature[:strings.LastIndex(want.Signature, ".")]
		}
		if !signed || publicKey != enrolled[isPasskey].PublicKey || key != want.Key {
			t.Fatalf("accepted what the key didn't sign: %+v", p)
		}
	})
}

// fixedKey is the same key in every process: one whose coordinates both need all their 32 bytes.
func fixedKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	scalar := sha256.Sum256([]byte("countersign fuzzing"))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	if err != nil {
		t.Fatal(err)
	}
	return key
}
