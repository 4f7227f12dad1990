package evidence

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"filippo.io/mldsa"
	pqx509 "filippo.io/mldsa/x509"

	"github.com/countersign-dev/countersign"
)

// The post-quantum signature of a bundle: ML-DSA (FIPS 204) over a list of all its other files. The seal covers both files.
const (
	postQuantumListFile      = "postquantum/files.sha512"
	postQuantumSignatureFile = "postquantum/signature.json"

	// postQuantumDomain is the first line of what the key signs, so that it is not taken for anything else.
	postQuantumDomain = "countersign post-quantum signature v1"
)

// PostQuantumKey is the public half of an ML-DSA key. Whoever verifies must have it from its tenant, not from a bundle.
type PostQuantumKey struct {
	spki []byte
	key  *mldsa.PublicKey
}

// ParsePostQuantumKey reads a SubjectPublicKeyInfo (RFC 9881) of ML-DSA-44, -65 or -87, in DER.
func ParsePostQuantumKey(der []byte) (*PostQuantumKey, error) {
	public, err := pqx509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the public key: %w", err)
	}
	key, ok := public.(*mldsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the public key is a %T; want ML-DSA-44, ML-DSA-65 or ML-DSA-87", public)
	}
	return postQuantumKeyOf(key)
}

func postQuantumKeyOf(key *mldsa.PublicKey) (*PostQuantumKey, error) {
	spki, err := pqx509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("couldn't write the public key: %w", err)
	}
	return &PostQuantumKey{spki, key}, nil
}

// ParsePostQuantumPEM reads PUBLIC KEY blocks, as openssl writes them, and takes nothing else between them or after.
func ParsePostQuantumPEM(text []byte) (keys []*PostQuantumKey, err error) {
	for text = bytes.TrimSpace(text); len(text) > 0; text = bytes.TrimSpace(text) {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "PUBLIC KEY" || !bytes.HasPrefix(text, []byte("-----BEGIN")) {
			return nil, errors.New("want PUBLIC KEY blocks (PEM) and nothing else")
		}
		key, err := ParsePostQuantumKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		keys, text = append(keys, key), rest
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no PUBLIC KEY (PEM)")
	}
	return keys, nil
}

// Algorithm is the kind of key in KMS's words: ML_DSA_44, ML_DSA_65 or ML_DSA_87.
func (k *PostQuantumKey) Algorithm() string {
	return strings.ReplaceAll(k.key.Parameters().String(), "-", "_")
}

// SHA256 is the digest of the key's SubjectPublicKeyInfo: a short name for it.
func (k *PostQuantumKey) SHA256() string { return countersign.SHA256(k.spki) }

// Equal says whether both are the same key.
func (k *PostQuantumKey) Equal(other *PostQuantumKey) bool { return bytes.Equal(k.spki, other.spki) }

// verifies says whether the key signed the message, with an empty context as KMS signs.
func (k *PostQuantumKey) verifies(message, signature []byte) bool {
	return mldsa.Verify(k.key, message, signature, nil) == nil
}

// PostQuantumSigner signs whole messages of at most 4,096 bytes with an ML-DSA key that lies elsewhere.
type PostQuantumSigner interface {
	ARN() string
	Key() *PostQuantumKey
	// SignMessage makes one signature with an empty context. It also returns the key service's id of the request.
	SignMessage(ctx context.Context, message []byte) (signature []byte, request string, err error)
}

// PostQuantumRecord is what intake found in the tenant's file: with it in the history, the bundle must have a post-quantum signature.
type PostQuantumRecord struct {
	Key       string `json:"key"` // ARN
	Algorithm string `json:"algorithm"`
	SHA256    string `json:"sha256"` // of the public key
}

// postQuantumDocument is postquantum/signature.json.
type postQuantumDocument struct {
	V         int    `json:"v"`
	Key       string `json:"key"`
	Algorithm string `json:"algorithm"`
	PublicKey string `json:"publicKey"` // SubjectPublicKeyInfo, base64 DER
	Signature string `json:"signature"` // base64
	RequestID string `json:"requestId"` // of KMS
}

func (d postQuantumDocument) marshal() ([]byte, error) {
	body, err := json.MarshalIndent(d, "", "  ")
	return append(body, '\n'), err
}

// AddPostQuantum adds the post-quantum signature to the files of a bundle. The signer is asked once, and only after a rehearsal with throwaway keys: of
// this signature, and of the whole bundle sealed by a key like that of leaf. at is the claimed signing time.
func AddPostQuantum(ctx context.Context, files []File, signer PostQuantumSigner, leaf *x509.Certificate, at time.Time) ([]File, error) {
	throwaway, err := mldsa.GenerateKey(signer.Key().key.Parameters())
	if err != nil {
		return nil, fmt.Errorf("couldn't make a throwaway key: %w", err)
	}
	public, err := postQuantumKeyOf(throwaway.PublicKey())
	if err != nil {
		return nil, err
	}
	rehearsed, err := addPostQuantum(ctx, files, rehearsal{signer.ARN(), public, throwaway})
	if err == nil {
		var manifest []byte
		if manifest, err = Manifest(rehearsed); err == nil {
			err = rehearse(ctx, rehearsed, manifest, leaf, at)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't make a post-quantum signature with a throwaway key, so the signer was not asked: %w", err)
	}
	return addPostQuantum(ctx, files, signer)
}

// rehearsal signs with a key that nobody keeps.
type rehearsal struct {
	arn    string
	public *PostQuantumKey
	key    *mldsa.PrivateKey
}

func (r rehearsal) ARN() string { return r.arn }

func (r rehearsal) Key() *PostQuantumKey { return r.public }

func (r rehearsal) SignMessage(_ context.Context, message []byte) ([]byte, string, error) {
	signature, err := r.key.Sign(nil, message, nil)
	return signature, "rehearsal", err
}

func addPostQuantum(ctx context.Context, files []File, signer PostQuantumSigner) ([]File, error) {
	list := postQuantumList(files)
	signature, request, err := signer.SignMessage(ctx, postQuantumMessage(list))
	if err != nil {
		return nil, err
	}
	body, err := postQuantumDocument{
		countersign.Version, signer.ARN(), signer.Key().Algorithm(), base64.StdEncoding.EncodeToString(signer.Key().spki),
		base64.StdEncoding.EncodeToString(signature), request,
	}.marshal()
	if err != nil {
		return nil, fmt.Errorf("couldn't write %s: %w", postQuantumSignatureFile, err)
	}
	signed := append(slices.Clone(files), File{postQuantumListFile, list}, File{postQuantumSignatureFile, body})
	if _, err := checkPostQuantum(signed); err != nil {
		return nil, fmt.Errorf("couldn't use the post-quantum signature: %w", err)
	}
	return signed, nil
}

// postQuantumList names each file with its digest, in the order of the bundle, as sha512sum writes and checks it.
func postQuantumList(files []File) []byte {
	var list bytes.Buffer
	for _, f := range files {
		digest := sha512.Sum512(f.Bytes)
		fmt.Fprintf(&list, "%x  %s\n", digest, f.Name)
	}
	return list.Bytes()
}

// postQuantumMessage is what the key signs: KMS takes at most 4,096 bytes, and a list may be longer.
func postQuantumMessage(list []byte) []byte {
	digest := sha512.Sum512(list)
	return []byte(postQuantumDomain + "\n" + hex.EncodeToString(digest[:]) + "  " + postQuantumListFile + "\n")
}

func isPostQuantumFile(name string) bool {
	return name == postQuantumListFile || name == postQuantumSignatureFile
}

// errNoPostQuantum says that there is no such signature, which can be right.
var errNoPostQuantum = errors.New("the bundle has no post-quantum signature")

// checkPostQuantum checks the signature of a bundle's files and returns the key that made it. The key is only what the bundle says.
func checkPostQuantum(files []File) (*PostQuantumKey, error) {
	if !slices.ContainsFunc(files, func(f File) bool { return isPostQuantumFile(f.Name) }) {
		return nil, errNoPostQuantum
	}
	n := len(files) - 2
	if n < 0 || files[n].Name != postQuantumListFile || files[n+1].Name != postQuantumSignatureFile {
		return nil, fmt.Errorf("the last files must be %s and %s", postQuantumListFile, postQuantumSignatureFile)
	}
	if !bytes.Equal(files[n].Bytes, postQuantumList(files[:n])) {
		return nil, fmt.Errorf("%s doesn't have the digests of the other files", postQuantumListFile)
	}
	var d postQuantumDocument
	if err := countersign.ParseStrict(files[n+1].Bytes, &d); err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", postQuantumSignatureFile, err)
	}
	if again, err := d.marshal(); err != nil || !bytes.Equal(again, files[n+1].Bytes) {
		return nil, fmt.Errorf("%s is not in the form of its writer", postQuantumSignatureFile)
	}
	spki, err := base64.StdEncoding.Strict().DecodeString(d.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the public key: %w", err)
	}
	key, err := ParsePostQuantumKey(spki)
	if err != nil {
		return nil, err
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(d.Signature)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the signature: %w", err)
	}
	if d.V != countersign.Version || d.Algorithm != key.Algorithm() || d.Key == "" {
		return nil, fmt.Errorf("%s is of version %d, algorithm %q and key %q, which don't belong to the public key", postQuantumSignatureFile, d.V, d.Algorithm, d.Key)
	}
	if !key.verifies(postQuantumMessage(files[n].Bytes), signature) {
		return nil, fmt.Errorf("the signature is not of the key %s over the files", d.Key)
	}
	return key, nil
}

// postQuantumCheck is the name of the check.
const postQuantumCheck = "post-quantum signature"

// postQuantumFinding is the key that made the signature of a bundle's files, or why there is none.
type postQuantumFinding struct {
	key *PostQuantumKey
	err error
}

func (v *verifier) findPostQuantum() (f postQuantumFinding) {
	f.key, f.err = checkPostQuantum(v.b.files)
	return f
}

// postQuantum judges the post-quantum signature. What says that there has to be one: the history, by what intake found in the tenant's file, and the
// verifier, by giving a key. The latter holds also against whoever can make seals.
func (v *verifier) postQuantum(found postQuantumFinding) {
	key, err, given := found.key, found.err, v.roots.PostQuantum
	switch {
	case errors.Is(err, errNoPostQuantum) && v.c.Admission != nil && v.c.Admission.PostQuantum != nil:
		v.report.note(postQuantumCheck, fmt.Errorf("%w, and the tenant's file named a key for one at intake: it was taken away", err), "")
	case errors.Is(err, errNoPostQuantum) && len(given) > 0:
		v.report.note(postQuantumCheck, fmt.Errorf("%w, and a key for one was given", err), "")
	case errors.Is(err, errNoPostQuantum):
		v.report.notRecorded(postQuantumCheck, "the tenant's file named no key for one at intake")
	case err != nil:
		v.report.note(postQuantumCheck, err, "")
	case len(given) == 0:
		v.report.notRecorded(postQuantumCheck, fmt.Sprintf("signature holds, key not anchored: by an %s key with SHA-256 %s, which anybody could have made; give the tenant's public key", key.Algorithm(), key.SHA256()))
	case !slices.ContainsFunc(given, key.Equal):
		v.report.note(postQuantumCheck, fmt.Errorf("it is by an %s key with SHA-256 %s, which is none of those given", key.Algorithm(), key.SHA256()), "")
	default:
		v.report.note(postQuantumCheck, nil, fmt.Sprintf("every other file, signed by the given %s key with SHA-256 %s", key.Algorithm(), key.SHA256()))
	}
}
