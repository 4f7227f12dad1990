// Package stranger checks who decided what, from one evidence file, as somebody does who has nothing of ours: it imports the standard library
// alone, and asks each person's own identity provider for its public keys. Only tests use it.
package stranger

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"sort"
	"strings"
	"time"
)

// The tags of what people put their names to, which keep a digest of one kind from being shown as one of another.
const (
	DecisionTag  = "countersign decision v1\x00"
	EnrolmentTag = "countersign enrolment v1\x00"
)

// Decision is one identity/decision-NNN.json. What people proved is kept as the bytes that they sent; of what our server found about it, only the
// enrolment is read, which is proven by the person as well.
type Decision struct {
	Signed struct {
		Decision json.RawMessage `json:"decision"`
		Proof    struct {
			IDToken string    `json:"idToken"`
			Key     *KeyProof `json:"key"`
		} `json:"proof"`
	} `json:"signed"`
	Check struct {
		Key *struct {
			Enrolment struct {
				Enrolment json.RawMessage `json:"enrolment"`
				Proof     struct {
					IDToken string `json:"idToken"`
				} `json:"proof"`
			} `json:"enrolment"`
		} `json:"key"`
	} `json:"check"`
}

// KeyProof is a signature of a person's own key.
type KeyProof struct {
	Signature         string `json:"signature"`
	AuthenticatorData string `json:"authenticatorData"`
	ClientData        string `json:"clientDataJSON"`
}

// Person is whom an identity provider vouches for.
type Person struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
}

// Decisions reads the decisions out of a bundle, which is a ZIP file.
func Decisions(bundle []byte) ([]Decision, error) {
	z, err := zip.NewReader(bytes.NewReader(bundle), int64(len(bundle)))
	if err != nil {
		return nil, err
	}
	var all []Decision
	for _, f := range z.File {
		if !strings.HasPrefix(f.Name, "identity/decision-") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		var d Decision
		err = json.NewDecoder(io.LimitReader(r, 1<<20)).Decode(&d)
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// Digest is SHA-256 over a tag and the RFC 8785 form of a JSON text.
func Digest(tag string, text []byte) ([]byte, error) {
	canonical, err := Canonical(text)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte(tag), canonical...))
	return sum[:], nil
}

// ProvenByLogin checks that the person's own identity provider issued an ID token for exactly this text, and nothing else: its nonce is the digest.
// It says who that person is.
func ProvenByLogin(tag string, text []byte, idToken string) (Person, error) {
	var who Person
	h, err := Digest(tag, text)
	if err != nil {
		return who, err
	}
	claims, err := claimsOf(idToken)
	if err != nil {
		return who, err
	}
	if claims.Nonce != hex.EncodeToString(h) {
		return who, errors.New("the login was for something else: its nonce is not the digest")
	}
	return claims.Person, nil
}

// ProvenByKey checks that the key which the person enrolled signed exactly this decision, and that the enrolment is the person's own.
func ProvenByKey(d Decision, text []byte) error {
	if d.Check.Key == nil || d.Signed.Proof.Key == nil {
		return errors.New("there is no signature of a key")
	}
	h, err := Digest(DecisionTag, text)
	if err != nil {
		return err
	}
	var decided struct{ Actor Person }
	var enrolled struct {
		Actor     Person
		Kind      string
		PublicKey string
	}
	offer := d.Check.Key.Enrolment
	if err := errors.Join(json.Unmarshal(text, &decided), json.Unmarshal(offer.Enrolment, &enrolled)); err != nil {
		return err
	}
	who, err := ProvenByLogin(EnrolmentTag, offer.Enrolment, offer.Proof.IDToken)
	if err != nil {
		return fmt.Errorf("the enrolment: %w", err)
	}
	if who != enrolled.Actor || who != decided.Actor {
		return fmt.Errorf("the key is of %v, and the decision of %v", who, decided.Actor)
	}
	public, err := base64.RawURLEncoding.DecodeString(enrolled.PublicKey)
	if err != nil {
		return err
	}
	switch enrolled.Kind {
	case "passkey":
		return passkeySigned(public, *d.Signed.Proof.Key, h)
	case "device":
		return deviceSigned(public, *d.Signed.Proof.Key, h)
	}
	return fmt.Errorf("a key of the kind %q is not known here", enrolled.Kind)
}

// coseP256 is how CTAP2 writes every ES256 key on P-256, in its one canonical form: a map of five, {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256),
// -2: x, -3: y}. Only the coordinates differ, so the rest is compared and no CBOR is read.
const (
	coseP256  = "\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20" // then x, 32 bytes
	coseThenY = "\x22\x58\x20"                             // then y, 32 bytes
)

// passkeySigned checks a WebAuthn assertion: the key signed authenticatorData ‖ SHA-256(clientDataJSON), where clientDataJSON has h as its
// challenge, and the authenticator says that it verified its user.
func passkeySigned(cose []byte, p KeyProof, h []byte) error {
	if len(cose) != 77 || string(cose[:10]) != coseP256 || string(cose[42:45]) != coseThenY {
		return errors.New("the passkey is no ES256 key on P-256 in canonical form")
	}
	signature, err1 := base64.RawURLEncoding.DecodeString(p.Signature)
	said, err2 := base64.RawURLEncoding.DecodeString(p.AuthenticatorData)
	client, err3 := base64.RawURLEncoding.DecodeString(p.ClientData)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	var asked struct{ Type, Challenge string }
	if err := json.Unmarshal(client, &asked); err != nil {
		return err
	}
	const flags, present, verified = 32, 1 << 0, 1 << 2 // behind the hash of the relying party's id
	hash := sha256.Sum256(client)
	message := sha256.Sum256(append(bytes.Clone(said), hash[:]...))
	switch {
	case asked.Type != "webauthn.get" || asked.Challenge != base64.RawURLEncoding.EncodeToString(h):
		return errors.New("the passkey signed something else: its challenge is not the digest")
	case len(said) < 37 || said[flags]&present == 0 || said[flags]&verified == 0:
		return errors.New("the authenticator didn't verify its user")
	case !ecdsa.VerifyASN1(p256(cose[10:42], cose[45:]), message[:], signature):
		return errors.New("the signature is not of the enrolled passkey")
	}
	return nil
}

// deviceSigned checks a JWS (RFC 7515) by ES256 whose payload is {"digest": h in hex}; the key is a JWK (RFC 7517).
func deviceSigned(jwk []byte, p KeyProof, h []byte) error {
	key, err := keyOf(jwk)
	if err != nil {
		return err
	}
	payload, err := verifiedJWS(p.Signature, func(string) (*ecdsa.PublicKey, error) { return key, nil })
	if err != nil {
		return err
	}
	var signed struct{ Digest string }
	if err := json.Unmarshal(payload, &signed); err != nil {
		return err
	}
	if signed.Digest != hex.EncodeToString(h) {
		return errors.New("the device key signed something else: its payload is not the digest")
	}
	return nil
}

type claims struct {
	Person
	Nonce string `json:"nonce"`
}

// claimsOf verifies an ID token with the keys that its issuer publishes, and reads it.
func claimsOf(idToken string) (c claims, err error) {
	parts := strings.Split(idToken, ".")
	if len(parts) != 3 {
		return c, errors.New("the ID token is no compact JWS")
	}
	unverified, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(unverified, &c)
	}
	if err != nil {
		return c, err
	}
	issuer := c.Issuer
	payload, err := verifiedJWS(idToken, func(kid string) (*ecdsa.PublicKey, error) { return publishedKey(issuer, kid) })
	if err != nil {
		return claims{}, fmt.Errorf("the ID token: %w", err)
	}
	c = claims{}
	return c, json.Unmarshal(payload, &c)
}

// publishedKey asks an issuer for its key of that id (OpenID Connect Discovery 1.0).
func publishedKey(issuer, kid string) (*ecdsa.PublicKey, error) {
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := get(issuer+"/.well-known/openid-configuration", &about); err != nil {
		return nil, err
	}
	if about.Issuer != issuer {
		return nil, fmt.Errorf("%s says that it is %s", issuer, about.Issuer)
	}
	var set struct{ Keys []json.RawMessage }
	if err := get(about.Keys, &set); err != nil {
		return nil, err
	}
	for _, raw := range set.Keys {
		var named struct {
			ID string `json:"kid"`
		}
		if err := json.Unmarshal(raw, &named); err == nil && named.ID == kid {
			return keyOf(raw)
		}
	}
	return nil, fmt.Errorf("%s publishes no key %q", issuer, kid)
}

func get(url string, into any) error {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into)
}

// verifiedJWS checks a compact JWS by ES256, and returns its payload.
func verifiedJWS(jws string, key func(kid string) (*ecdsa.PublicKey, error)) ([]byte, error) {
	parts := strings.Split(jws, ".")
	if len(parts) != 3 {
		return nil, errors.New("it is no compact JWS")
	}
	head, err1 := base64.RawURLEncoding.DecodeString(parts[0])
	payload, err2 := base64.RawURLEncoding.DecodeString(parts[1])
	signature, err3 := base64.RawURLEncoding.DecodeString(parts[2])
	var header struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(head, &header); err != nil {
		return nil, err
	}
	if header.Algorithm != "ES256" || len(signature) != 64 {
		return nil, fmt.Errorf("it is signed with %q, and only ES256 is read here", header.Algorithm)
	}
	public, err := key(header.KeyID)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(public, hash[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return nil, errors.New("its signature is not of that key")
	}
	return payload, nil
}

func keyOf(jwk []byte) (*ecdsa.PublicKey, error) {
	var k struct{ Kty, Crv, X, Y string }
	if err := json.Unmarshal(jwk, &k); err != nil {
		return nil, err
	}
	x, err1 := base64.RawURLEncoding.DecodeString(k.X)
	y, err2 := base64.RawURLEncoding.DecodeString(k.Y)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if k.Kty != "EC" || k.Crv != "P-256" {
		return nil, fmt.Errorf("the key is %s on %s, and only EC on P-256 is read here", k.Kty, k.Crv)
	}
	return p256(x, y), nil
}

func p256(x, y []byte) *ecdsa.PublicKey {
	return &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(y)}
}

// Canonical writes a JSON text as RFC 8785 does: no blanks, members sorted, and each string in the one way that it may be written. It reads what
// people put their names to, so it takes ASCII names and whole numbers alone, which is what there is: the sorting of others and the writing of
// fractions are the long parts of the RFC.
func Canonical(text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err := write(&out, v)
	return out.Bytes(), err
}

func write(out *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case nil:
		out.WriteString("null")
	case bool:
		fmt.Fprint(out, v)
	case json.Number:
		whole, err := v.Int64()
		if err != nil {
			return fmt.Errorf("%s is no whole number", v)
		}
		fmt.Fprint(out, whole)
	case string:
		quote(out, v)
	case []any:
		out.WriteByte('[')
		for i, one := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := write(out, one); err != nil {
				return err
			}
		}
		out.WriteByte(']')
	case map[string]any:
		var names []string
		for name := range v {
			if strings.IndexFunc(name, func(r rune) bool { return r > 0x7e }) >= 0 {
				return fmt.Errorf("the name %q is not ASCII", name)
			}
			names = append(names, name)
		}
		sort.Strings(names)
		out.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				out.WriteByte(',')
			}
			quote(out, name)
			out.WriteByte(':')
			if err := write(out, v[name]); err != nil {
				return err
			}
		}
		out.WriteByte('}')
	}
	return nil
}

// quote writes a string as section 3.2.2.2 of RFC 8785 says: everything as it is, but for the quote, the backslash and control characters.
func quote(out *bytes.Buffer, s string) {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\t': `\t`, '\n': `\n`, '\f': `\f`, '\r': `\r`}
	out.WriteByte('"')
	for _, r := range s {
		if written, ok := short[r]; ok {
			out.WriteString(written)
		} else if r < 0x20 {
			fmt.Fprintf(out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
}
