package evidence

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

func TestLandmarksGiveTheDigestOfEveryBeginning(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, landmarkEvery - 1, landmarkEvery, landmarkEvery + 1, 3 * landmarkEvery, 3*landmarkEvery + 17} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(i * 7 / 3)
		}
		sum, marks := sumMarked(body)
		if sum != sha256.Sum256(body) {
			t.Errorf("%d bytes: another digest", size)
		}
		if want := max(0, (size-1)/landmarkEvery); len(marks) != want {
			t.Errorf("%d bytes: %d landmarks, want %d", size, len(marks), want)
		}
		for _, n := range []int{0, 1, landmarkEvery - 1, landmarkEvery, landmarkEvery + 1, 2 * landmarkEvery, size - 1, size} {
			if n < 0 || n > size {
				continue
			}
			want := sha256.Sum256(body[:n])
			for range 2 { // a landmark that is asked twice is still what it was
				if got := marks.begun(body, int64(n)).Sum(nil); !bytes.Equal(got, want[:]) {
					t.Errorf("the first %d of %d bytes: another digest", n, size)
				}
			}
		}
	}
}
