package tsa

import (
	"crypto"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/digitorus/timestamp"
)

// imprints are the digests the authority stamps. SHA-1 is left out: RFC 3161
// lets an authority refuse what it holds to be weak.
var imprints = map[string]crypto.Hash{
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// parseQuery reads a TimeStampReq (RFC 3161, section 2.4.1). It returns either
// the request or the reason to reject it.
func parseQuery(der []byte) (*timestamp.Request, *rejection) {
	// The library reports a version it ignores and a digest it doesn't know in
	// the same way as broken DER; the failInfo must tell them apart.
	var head struct {
		Version int
		Imprint struct {
			Hash   pkix.AlgorithmIdentifier
			Digest []byte
		}
	}
	if rest, err := asn1.Unmarshal(der, &head); err != nil || len(rest) > 0 {
		return nil, &rejection{timestamp.BadDataFormat, "the query isn't a DER TimeStampReq"}
	}
	if head.Version != 1 {
		return nil, &rejection{timestamp.BadRequest, fmt.Sprintf("version %d is not supported; use version 1", head.Version)}
	}
	hash, known := imprints[head.Imprint.Hash.Algorithm.String()]
	if !known {
		return nil, &rejection{timestamp.BadAlgorithm, "the digest must be SHA-256, SHA-384 or SHA-512"}
	}
	if len(head.Imprint.Digest) != hash.Size() {
		return nil, &rejection{timestamp.BadDataFormat, fmt.Sprintf("a %s imprint has %d bytes, this one has %d", hash, hash.Size(), len(head.Imprint.Digest))}
	}
	request, err := timestamp.ParseRequest(der)
	if err != nil {
		return nil, &rejection{timestamp.BadDataFormat, "the query isn't a DER TimeStampReq"}
	}
	if request.TSAPolicyOID != nil && !request.TSAPolicyOID.Equal(Policy) {
		return nil, &rejection{timestamp.UnacceptedPolicy, "the only policy is " + asn1.ObjectIdentifier(Policy).String()}
	}
	// Section 2.4.1: an extension that isn't recognised is refused, critical or not.
	if len(request.Extensions) > 0 {
		return nil, &rejection{timestamp.UnacceptedExtension, "no extension is supported"}
	}
	return request, nil
}

// rejection is a TimeStampResp without a token (RFC 3161, section 2.4.2). The
// library's own can't carry a text and encodes unacceptedPolicy with a byte too
// many.
type rejection struct {
	info timestamp.FailureInfo
	text string
}

func (r *rejection) marshal() ([]byte, error) {
	bits := make([]byte, int(r.info)/8+1)
	bits[len(bits)-1] = 0x80 >> (uint(r.info) % 8)
	return asn1.Marshal(struct{ Status statusInfo }{statusInfo{
		Status: int(timestamp.Rejection),
		// PKIFreeText is UTF8String alone; encoding/asn1 would pick PrintableString.
		Text: []asn1.RawValue{{Class: asn1.ClassUniversal, Tag: asn1.TagUTF8String, Bytes: []byte(r.text)}},
		Fail: asn1.BitString{Bytes: bits, BitLength: int(r.info) + 1},
	}})
}

type statusInfo struct {
	Status int
	Text   []asn1.RawValue
	Fail   asn1.BitString
}
