package evidence

import (
	"crypto/sha256"
	"hash"
)

// landmarks are the digests of a file's beginnings, one for each landmarkEvery bytes, not yet summed: so that the digest of any part that the file begins with
// takes no second reading of a large file. Where the hash can't be cloned there are none, and it is read again.
type landmarks []hash.Cloner

const landmarkEvery = 1 << 20

// sumMarked is the SHA-256 of a file, with its landmarks.
func sumMarked(body []byte) (sum [sha256.Size]byte, marks landmarks) {
	h := sha256.New()
	rest := body
	for len(rest) > landmarkEvery {
		h.Write(rest[:landmarkEvery])
		rest = rest[landmarkEvery:]
		if c, ok := h.(hash.Cloner); ok {
			if mark, err := c.Clone(); err == nil && len(marks) == (len(body)-len(rest))/landmarkEvery-1 {
				marks = append(marks, mark)
			}
		}
	}
	h.Write(rest)
	return [sha256.Size]byte(h.Sum(nil)), marks
}

// begun is the SHA-256 of the first n bytes of the body that the landmarks are of, not yet summed.
func (m landmarks) begun(body []byte, n int64) hash.Hash {
	var h hash.Hash = sha256.New()
	from := int64(0)
	if i := min(n/landmarkEvery, int64(len(m))); i > 0 {
		if mark, err := m[i-1].Clone(); err == nil {
			h, from = mark, i*landmarkEvery
		}
	}
	h.Write(body[from:n])
	return h
}
