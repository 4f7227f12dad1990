package main

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// parts is a bundle as files in a directory, and the commands that check each signature in it, the seal's first.
type parts struct {
	size       int
	list       string // of digests, for sha256sum
	signatures [][]string

	dir, tenantCA, tsaCA, at string
	files                    int
}

func (p *parts) least() [][]string { return [][]string{p.signatures[0], p.digests()} }

func (p *parts) all() [][]string {
	commands := append([][]string{p.digests()}, p.signatures...)
	if _, err := os.Stat(filepath.Join(p.dir, quantumList)); err == nil {
		commands = append(commands, []string{"sha512sum", "--check", "--strict", "--quiet", quantumList})
	}
	return commands
}

// quantumList is what a post-quantum signature is over. The signature itself is beyond openssl before 3.5, and not checked here.
const quantumList = "postquantum/files.sha512"

func (p *parts) digests() []string {
	return []string{"sha256sum", "--check", "--strict", "--quiet", p.list}
}

// takeApart unpacks a bundle of a completed signing and writes what openssl has to be given for each signature: seal, document, their time-stamps, those of the
// decisions, and ID tokens. Keys of people's own, revocation lists and the post-quantum signature are left out, in favour of openssl.
func takeApart(bundle, tenantCA, tsaCA, dir string) (*parts, error) {
	raw, err := os.ReadFile(bundle)
	if err != nil {
		return nil, err
	}
	b, err := evidence.OpenBundle(raw)
	if err != nil {
		return nil, err
	}
	c, err := evidence.ReadBundle(raw)
	if err != nil {
		return nil, err
	}
	p := &parts{size: len(raw), dir: dir, tenantCA: tenantCA, tsaCA: tsaCA, at: strconv.FormatInt(c.Closed.Unix(), 10)}
	var list strings.Builder
	for _, f := range b.Files() {
		fmt.Fprintf(&list, "%s  %s\n", countersign.SHA256(f.Bytes), f.Name)
		if err := write(filepath.Join(dir, f.Name), f.Bytes); err != nil {
			return nil, err
		}
	}
	if p.list, err = p.keep([]byte(list.String())); err != nil {
		return nil, err
	}
	if err := p.signed(b.SignatureBytes(), b.ManifestBytes()); err != nil {
		return nil, fmt.Errorf("the seal: %w", err)
	}
	if err := p.document(b); err != nil {
		return nil, fmt.Errorf("the document: %w", err)
	}
	for _, d := range c.Decisions {
		if d.Check == nil || !d.Check.Record.Counted() {
			continue
		}
		if err := p.decision(d); err != nil {
			return nil, fmt.Errorf("a decision: %w", err)
		}
	}
	return p, nil
}

// keep writes what openssl is given into a file of its own.
func (p *parts) keep(body []byte) (string, error) {
	p.files++
	name := filepath.Join(p.dir, "parts", strconv.Itoa(p.files))
	return name, write(name, body)
}

func write(name string, body []byte) error {
	return errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, body, 0o600))
}

// add notes a command; where an argument is bytes, it becomes the name of a file that has them.
func (p *parts) add(args ...any) error {
	var command []string
	for _, a := range args {
		switch a := a.(type) {
		case string:
			command = append(command, a)
		case []byte:
			name, err := p.keep(a)
			if err != nil {
				return err
			}
			command = append(command, name)
		}
	}
	p.signatures = append(p.signatures, command)
	return nil
}

// signed is a CMS signature over content, and its time-stamp.
func (p *parts) signed(cms, content []byte) error {
	value, token, err := stamped(cms)
	if err != nil {
		return err
	}
	return errors.Join(
		p.add("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", cms, "-content", content, "-CAfile", p.tenantCA, "-purpose", "any", "-attime", p.at, "-out", os.DevNull),
		p.add("openssl", "ts", "-verify", "-token_in", "-in", token, "-data", value, "-CAfile", p.tsaCA, "-attime", p.at),
	)
}

var byteRange = regexp.MustCompile(`/ByteRange \[ 0 (\d+) (\d+) (\d+) `)

func (p *parts) document(b *evidence.Bundle) error {
	if cms, beside := b.File("document.p7s"); beside {
		pdf, _ := b.File("document.pdf")
		return p.signed(cms, pdf)
	}
	pdf, ok := b.File("document-signed.pdf")
	if !ok {
		return errors.New("nothing was released: give the bundle of a completed signing")
	}
	found := byteRange.FindAllSubmatch(pdf, -1)
	if len(found) == 0 {
		return errors.New("it has no signature")
	}
	from, errFrom := strconv.Atoi(string(found[len(found)-1][1]))
	to, errTo := strconv.Atoi(string(found[len(found)-1][2]))
	if errFrom != nil || errTo != nil || from >= to || to > len(pdf) {
		return errors.New("its signature covers bytes that it doesn't have")
	}
	cms, err := hex.DecodeString(string(pdf[from+1 : to-1]))
	if err != nil {
		return err
	}
	var one asn1.RawValue
	if _, err := asn1.Unmarshal(cms, &one); err != nil { // zeros follow
		return err
	}
	return p.signed(one.FullBytes, append(pdf[:from:from], pdf[to:]...))
}

// decision is its ID token, and its time-stamp where it has one.
func (p *parts) decision(d evidence.DecisionCase) error {
	sent, err := countersign.ParseSignedDecision(d.Input.Signed)
	if err != nil {
		return err
	}
	token := strings.Split(sent.Proof.IDToken, ".")
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(d.Check.Facts.Key); err != nil || len(token) != 3 {
		return errors.Join(errors.New("couldn't read the ID token"), err)
	}
	header, err := base64.RawURLEncoding.DecodeString(token[0])
	if err != nil {
		return err
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[2])
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Key)
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	switch {
	case strings.Contains(string(header), `"RS256"`):
	case strings.Contains(string(header), `"ES256"`) && len(signature) == 64:
		if signature, err = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])}); err != nil {
			return err
		}
	default:
		return fmt.Errorf("the ID token's header is %s: this reads RS256 and ES256", header)
	}
	if err := p.add("openssl", "dgst", "-sha256", "-verify", public, "-signature", signature, []byte(token[0]+"."+token[1])); err != nil || len(d.Check.Stamp) == 0 {
		return err
	}
	return p.add("openssl", "ts", "-verify", "-token_in", "-in", d.Check.Stamp, "-digest", d.Check.Record.Digest, "-CAfile", p.tsaCA, "-attime", p.at)
}

// stamped takes the signature value and the time-stamp token out of a CAdES signature.
func stamped(cms []byte) (value, token []byte, err error) {
	var info struct {
		Type    asn1.ObjectIdentifier
		Content struct {
			Version      int
			Digests      asn1.RawValue
			Content      asn1.RawValue
			Certificates asn1.RawValue `asn1:"optional,tag:0"`
			Lists        asn1.RawValue `asn1:"optional,tag:1"`
			Signers      []struct {
				Version   int
				Issuer    asn1.RawValue
				Digest    asn1.RawValue
				Signed    asn1.RawValue `asn1:"tag:0"`
				Algorithm asn1.RawValue
				Value     []byte
				Unsigned  []struct {
					Type   asn1.ObjectIdentifier
					Values asn1.RawValue
				} `asn1:"set,tag:1"`
			} `asn1:"set"`
		} `asn1:"explicit,tag:0"`
	}
	if _, err := asn1.Unmarshal(cms, &info); err != nil {
		return nil, nil, err
	}
	if len(info.Content.Signers) != 1 || len(info.Content.Signers[0].Unsigned) != 1 {
		return nil, nil, errors.New("it is not by one signer, with one time-stamp")
	}
	s := info.Content.Signers[0]
	return s.Value, s.Unsigned[0].Values.Bytes, nil
}
