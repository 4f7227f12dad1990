package evidence

import (
	"compress/gzip"
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
			Context   string   `json:"ctx"` // of ML-DSA
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

// The post-quantum signature is checked by the functions that are asked here, the public key's reading included. KMS signs with an empty context, so what
// is valid under another one must be refused.
func TestR15_WycheproofVectorsAgainstTheCheckOfPostQuantumSignatures(t *testing.T) {
	t.Parallel()
	for algorithm, want := range map[string]int{"ML_DSA_44": 180, "ML_DSA_65": 210, "ML_DSA_87": 241} {
		f, err := os.Open("../tests/testdata/wycheproof/mldsa_" + algorithm[len("ML_DSA_"):] + "_verify_test.json.gz")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		var file wycheproof
		if err := json.NewDecoder(z).Decode(&file); err != nil {
			t.Fatal(err)
		}
		seen, valid, contexts := 0, 0, 0
		for _, g := range file.Groups {
			key, keyErr := ParsePostQuantumKey(unhex(t, g.Key))
			if keyErr == nil && key.Algorithm() != algorithm {
				t.Errorf("a key of %s is read as one of %s", algorithm, key.Algorithm())
			}
			for _, v := range g.Tests {
				seen++
				should := v.Result == "valid" && v.Context == ""
				if v.Context != "" {
					contexts++
				}
				holds := keyErr == nil && key.verifies(unhex(t, v.Message), unhex(t, v.Signature))
				if holds {
					valid++
				}
				if holds != should {
					t.Errorf("%s, test %d (%s, %v) is %s, but found %v (%v)", algorithm, v.ID, v.Comment, v.Flags, v.Result, holds, keyErr)
				}
			}
		}
		if seen != want || contexts != 7 || valid == 0 {
			t.Errorf("%s has %d tests instead of %d, %d of them with a context, and %d hold", algorithm, seen, want, contexts, valid)
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
