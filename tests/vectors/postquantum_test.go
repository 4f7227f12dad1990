package vectors

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"filippo.io/mldsa"
	pqx509 "filippo.io/mldsa/x509"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// quantumKey is an ML-DSA key, made for these bundles alone.
type quantumKey struct {
	private *mldsa.PrivateKey
	public  *evidence.PostQuantumKey
	spki    []byte
}

func newQuantumKey() quantumKey {
	private := must(mldsa.GenerateKey(mldsa.MLDSA65()))
	spki := must(pqx509.MarshalPKIXPublicKey(private.PublicKey()))
	return quantumKey{private, must(evidence.ParsePostQuantumKey(spki)), spki}
}

func (quantumKey) ARN() string {
	return "arn:aws:kms:eu-central-1:000000000000:key/vectors-postquantum"
}

func (k quantumKey) Key() *evidence.PostQuantumKey { return k.public }

func (k quantumKey) SignMessage(_ context.Context, message []byte) ([]byte, string, error) {
	signature, err := k.private.Sign(nil, message, nil)
	return signature, "vectors", err
}

// quantum writes bundles of a rejected signing whose tenant has a key for post-quantum signatures.
func (w *world) quantum(t *testing.T, rejected *historypb.History, add func(bundle)) {
	key := newQuantumKey()
	const file = "bundles/postquantum.pem"
	if err := os.WriteFile(filepath.FromSlash(file), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key.spki}), 0o644); err != nil {
		t.Fatal(err)
	}
	h := proto.Clone(rejected).(*historypb.History)
	record := must(json.Marshal(evidence.PostQuantumRecord{Key: key.ARN(), Algorithm: key.public.Algorithm(), SHA256: key.public.SHA256()}))
	everywhere(t, `"document":{"bytes":`, `"postQuantum":`+string(record)+`,"document":{"bytes":`)(h) // in the admission alone
	c := must(evidence.ReadHistory(h))
	material := evidence.Material{Case: c, History: h, Seal: evidence.SealInput{Outcome: countersign.Rejected, Detail: c.Result.Detail}, Key: w.facts, Worker: evidence.Worker{Build: "vectors", Revision: "not recorded"}}
	unsigned := must(evidence.Assemble(material))
	signedBy := func(k quantumKey) []evidence.File {
		return must(evidence.AddPostQuantum(t.Context(), unsigned, k, w.signer.Chain()[0], w.at))
	}
	write := func(about, name, given string, files []evidence.File) {
		b := w.seal(t, about, name, files, nil)
		b.Quantum = given
		add(b)
	}
	signed := signedBy(key)
	write("a post-quantum signature, by the given key", "quantum", file, signed)
	write("a post-quantum signature, and no key was given", "quantum", "", signed)
	write("the post-quantum signature was taken away", "quantum-gone", "", unsigned)
	write("the post-quantum signature is by another key than the given one", "quantum-stranger", file, signedBy(newQuantumKey()))
	worker := slices.IndexFunc(signed, func(f evidence.File) bool { return f.Name == "worker.json" })
	changed := slices.Clone(signed)
	changed[worker].Bytes = bytes.Replace(changed[worker].Bytes, []byte(`"build": "vectors"`), []byte(`"build": "vector"`), 1)
	write("another build than the post-quantum signature is of", "quantum-build", file, changed)
}
