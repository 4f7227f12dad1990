package translog

import (
	"encoding/json"
	"testing"
)

// FuzzProof feeds a proof as a stranger's history brings it, to a log's key that signed nothing.
func FuzzProof(f *testing.F) {
	const key = "countersign/acme+4f6ba9d2+AVWoRDnPJW9lMmnpZ5CHKoCgPHSTqU1eMw4vFcyjQ0sY"
	f.Add([]byte(`{"entry":"{}","index":0,"hashes":[],"checkpoint":"countersign/acme\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— countersign/acme T2up0gAAAAA=\n"}`), key)
	f.Add([]byte(`{"index":-1}`), "countersign/acme+0+")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		tenant, err := TenantOf(text)
		if err != nil {
			return
		}
		v, err := ParseVerifier(text, tenant)
		if err != nil {
			return
		}
		var p Proof
		if json.Unmarshal(raw, &p) != nil {
			return
		}
		if _, _, err := p.Check(v); err == nil {
			t.Errorf("%s is proven under %s", raw, text)
		}
	})
}

// FuzzParseEntry: what is read as an entry is what was written.
func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"v":1,"tenant":"acme","kind":"intended"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e, err := ParseEntry(raw); err == nil && e.V != 1 {
			t.Errorf("%s is read as %+v", raw, e)
		}
	})
}
