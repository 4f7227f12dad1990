package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// A passkey's signature is judged by the functions that are asked here. A device key's can't be reached so: what it signs is a JWS, and the
// vectors sign other texts.
func TestR15_WycheproofVectorsAgainstTheCheckOfPasskeys(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../tests/testdata/wycheproof/ecdsa_secp256r1_sha256_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Key   string `json:"publicKeyDer"`
			Tests []struct {
				ID        int      `json:"tcId"`
				Comment   string   `json:"comment"`
				Flags     []string `json:"flags"`
				Message   string   `json:"msg"`
				Signature string   `json:"sig"`
				Result    string   `json:"result"`
			} `json:"tests"`
		} `json:"testGroups"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		out, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	seen := 0
	for _, g := range file.Groups {
		parsed, err := x509.ParsePKIXPublicKey(unhex(g.Key))
		if err != nil {
			t.Fatal(err)
		}
		point, err := parsed.(*ecdsa.PublicKey).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		cose, err := webauthncbor.Marshal(webauthncose.EC2PublicKeyData{
			PublicKeyData: webauthncose.PublicKeyData{KeyType: int64(webauthncose.EllipticKey), Algorithm: int64(webauthncose.AlgES256)},
			Curve:         int64(webauthncose.P256), XCoord: point[1:33], YCoord: point[33:],
		})
		if err != nil {
			t.Fatal(err)
		}
		key, refusal := passkeyKey(b64.EncodeToString(cose))
		if refusal != nil {
			t.Fatal(refusal)
		}
		for _, v := range g.Tests {
			seen++
			good, err := webauthncose.VerifySignature(key, unhex(v.Message), unhex(v.Signature))
			if (err == nil && good) != (v.Result == "valid") {
				t.Errorf("test %d (%s, %v) is %s, but: %t, %v", v.ID, v.Comment, v.Flags, v.Result, good, err)
			}
		}
	}
	if seen != 484 {
		t.Errorf("the file has %d tests instead of 484", seen)
	}
}
