package evidence

import "testing"

// Of a bundle whose signing was completed.
func BenchmarkVerify(b *testing.B) {
	raw, roots := completedBundle(b)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if err := Verify(raw, roots).Err(); err != nil {
			b.Fatal(err)
		}
	}
}
