package tests

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/activities"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

const (
	millionEntries = 1_000_000
	millionBundle  = 256 // entries of a bundle, and hashes of a tile (C2SP tlog-tiles)
)

// BenchmarkMillionLog measures globex's log at a million entries where it lies: in the stack's S3, under its lock, signed by its KMS. What is there before is not appended one by one but made
// here, by the published format alone, so that it takes minutes; needs a log that nothing was appended to.
func BenchmarkMillionLog(b *testing.B) {
	b.Setenv("AWS_SHARED_CREDENTIALS_FILE", local.AWS.CredentialsFile)
	settings, err := activities.LoadSettings(local.Tenants["globex"].File)
	if err != nil {
		b.Fatal(err)
	}
	store, err := local.S3Client(b.Context(), "globex-worker")
	if err != nil {
		b.Fatal(err)
	}
	took := func(name, unit string, f func()) {
		began := time.Now()
		f()
		seconds := time.Since(began).Seconds()
		b.Run(name, func(b *testing.B) {
			b.ReportMetric(seconds, unit)
			b.ReportMetric(0, "ns/op")
		})
	}
	took("make the log's objects", "s", func() { storeMillion(b, settings, store) })
	verifier, err := translog.ParseVerifier(settings.Log.PublicKey, "globex")
	if err != nil {
		b.Fatal(err)
	}
	reader := translog.Reader{Source: translog.Stored(activities.LogSource(store, settings)), Verifier: verifier}

	tenant, err := activities.Open(b.Context(), local.Tenants["globex"].File, nil, evidence.Worker{})
	if err != nil {
		b.Fatal(err)
	}
	took("first append of a process", "s", func() { // it reads the log's end
		appended, err := tenant.AppendLog(b.Context(), evidence.LogInput{Entry: millionth("first")})
		if err != nil || appended.Index != millionEntries {
			b.Fatalf("it is entry %d, %v: what was made is not what is appended to", appended.Index, err)
		}
	})
	for _, width := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("append, %d at once", width), func(b *testing.B) {
			calls, began := keyCalls(b), time.Now()
			each(b, width, b.N, func(i int) error {
				_, err := tenant.AppendLog(context.Background(), evidence.LogInput{Entry: millionth(fmt.Sprintf("%d-%d", began.UnixNano(), i))})
				return err
			})
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "appends/s")
			b.ReportMetric(float64(keyCalls(b)-calls)/float64(b.N), "kms-calls/op")
		})
	}
	var proof translog.Proof
	took("find and prove a request", "s", func() { // it reads every entry: nothing says where a request is
		proofs, err := reader.Prove(b.Context(), fmt.Sprintf("PO-%d", millionEntries/3))
		if err != nil || len(proofs) != 1 {
			b.Fatalf("%d proofs, %v", len(proofs), err)
		}
		proof = proofs[0]
	})
	b.Run("verify a proof", func(b *testing.B) {
		for range b.N {
			entry, _, err := proof.Check(verifier)
			if err != nil || entry.Request != fmt.Sprintf("PO-%d", millionEntries/3) {
				b.Fatalf("%+v, %v", entry, err)
			}
		}
		b.ReportMetric(float64(len(proof.Hashes)*tlog.HashSize), "proof-bytes")
	})
	took("verify all of it", "s", func() {
		a, err := reader.Audit(b.Context())
		if err != nil || a.Checkpoint.N <= millionEntries {
			b.Fatalf("%+v, %v", a, err)
		}
	})
}

func millionth(request string) translog.Entry {
	return translog.Entry{V: 1, Tenant: "globex", Kind: translog.Intended, Request: "million-" + request, Run: "run", Context: strings.Repeat("c", 64)}
}

// storeMillion stores the objects of a log of a million entries, signed by globex's log key.
func storeMillion(b *testing.B, settings *countersign.Settings, store *s3.Client) {
	b.Helper()
	put := func(name string, body []byte) error {
		_, err := store.PutObject(b.Context(), &s3.PutObjectInput{
			Bucket: aws.String(settings.Evidence.Bucket), Key: aws.String(countersign.LogKey("globex", name)), Body: bytes.NewReader(body),
			ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256, Tagging: aws.String("tenant=globex"), IfNoneMatch: aws.String("*"),
			ObjectLockMode: s3types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().AddDate(0, 0, 2)),
		})
		if err != nil {
			return fmt.Errorf("couldn't store %s (was something appended to globex's log before?): %w", name, err)
		}
		return nil
	}
	pattern := millionth("")
	pattern.At, pattern.Request = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), "PO-0"
	canonical, err := countersign.Canonical(pattern)
	if err != nil {
		b.Fatal(err)
	}
	before, after, _ := strings.Cut(string(canonical), "PO-0")
	hashes := make([]tlog.Hash, 0, tlog.StoredHashCount(millionEntries))
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for n, i := range indexes {
			out[n] = hashes[i]
		}
		return out, nil
	})
	bundles := make([][]byte, (millionEntries+millionBundle-1)/millionBundle)
	for i := range int64(millionEntries) {
		entry := []byte(before + fmt.Sprintf("PO-%d", i) + after)
		added, err := tlog.StoredHashes(i, entry, read)
		if err != nil {
			b.Fatal(err)
		}
		hashes = append(hashes, added...)
		body := &bundles[i/millionBundle]
		*body = append(binary.BigEndian.AppendUint16(*body, uint16(len(entry))), entry...)
	}
	const full = millionEntries / millionBundle
	tiles := tlog.NewTiles(8, 0, full*millionBundle)
	each(b, 16, len(tiles), func(i int) error {
		body, err := tlog.ReadTileData(tiles[i], read)
		if err != nil {
			return err
		}
		return put("tile/"+strings.TrimPrefix(tiles[i].Path(), "tile/8/"), body)
	})
	each(b, 16, full, func(i int) error {
		path := tlog.Tile{H: 8, L: -1, N: int64(i), W: millionBundle}.Path()
		return put("tile/entries/"+strings.TrimPrefix(path, "tile/8/data/"), bundles[i])
	})
	if err := put(fmt.Sprintf("batch/%d", full*millionBundle), bundles[full]); err != nil {
		b.Fatal(err)
	}
	root, err := tlog.TreeHash(millionEntries, read)
	if err != nil {
		b.Fatal(err)
	}
	verifier, err := translog.ParseVerifier(settings.Log.PublicKey, "globex")
	if err != nil {
		b.Fatal(err)
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", translog.Origin("globex"), millionEntries, base64.StdEncoding.EncodeToString(root[:]))
	signed, err := note.Sign(&note.Note{Text: text}, kmsSigner{b, verifier, settings.Log.ARN})
	if err != nil {
		b.Fatal(err)
	}
	if err := put("checkpoint", signed); err != nil {
		b.Fatal(err)
	}
}

// kmsSigner signs a checkpoint by a key of the stack's KMS.
type kmsSigner struct {
	b *testing.B
	note.Verifier
	arn string
}

func (s kmsSigner) Sign(text []byte) ([]byte, error) {
	keys, err := local.KMSClient(s.b.Context(), "globex-worker")
	if err != nil {
		return nil, err
	}
	out, err := keys.Sign(s.b.Context(), &kms.SignInput{
		KeyId: aws.String(s.arn), Message: text, MessageType: kmstypes.MessageTypeRaw, SigningAlgorithm: kmstypes.SigningAlgorithmSpecEd25519Sha512,
	})
	if err != nil {
		return nil, err
	}
	return out.Signature, nil
}
