package evidence

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// wycheproof is a file of test vectors; see tests/testdata/wycheproof.
type wycheproof struct {
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

// Seals and time-stamps are checked by the function that is asked here. Each vector is a signature that some implementation judged wrongly: zero
// and overlong numbers, other encodings, edge cases of the arithmetic.
func TestR15_WycheproofVectorsAgainstTheCheckOfSeals(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]struct {
		hash crypto.Hash
		oid  asn1.ObjectIdentifier
		want int
	}{
		"ecdsa_secp256r1_sha256_test.json": {crypto.SHA256, oidECDSASHA256, 484},
		"ecdsa_secp384r1_sha384_test.json": {crypto.SHA384, oidECDSASHA384, 504},
	} {
		raw, err := os.ReadFile("../tests/testdata/wycheproof/" + name)
		if err != nil {
			t.Fatal(err)
		}
		var file wycheproof
		if err := json.Unmarshal(raw, &file); err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, g := range file.Groups {
			key, err := x509.ParsePKIXPublicKey(unhex(t, g.Key))
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range g.Tests {
				seen++
				err := checkSignature(&x509.Certificate{PublicKey: key}, with.oid, with.hash, unhex(t, v.Message), unhex(t, v.Signature))
				if (err == nil) != (v.Result == "valid") {
					t.Errorf("%s, test %d (%s, %v) is %s, but: %v", name, v.ID, v.Comment, v.Flags, v.Result, err)
				}
			}
		}
		if seen != with.want {
			t.Errorf("%s has %d tests instead of %d", name, seen, with.want)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	out, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
