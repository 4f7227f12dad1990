package countersign

import (
	"regexp"
	"strings"
	"testing"
)

// The expressions are what the documentation says; each text is tried with every byte in every place that has a rule of its own.
func TestIdentifiersAreSpelledAsTheContractSays(t *testing.T) {
	t.Parallel()
	rules := []struct {
		expression string
		allows     func(string) bool
		longest    int
	}{
		{`^[a-z][a-z0-9-]{1,30}$`, func(s string) bool { return CheckTenantID(s) == nil }, 31},
		{`^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$`, func(s string) bool { return CheckRequestID(s) == nil }, 80},
		{`^[a-z][a-z0-9-]{0,39}$`, isShortName, 40},
		{`^[0-9a-f]{64}$`, isDigest, 64},
	}
	for _, r := range rules {
		want := regexp.MustCompile(r.expression)
		texts := []string{"", "a\n", "ä", "aä", "\xff", "a\xff"}
		for b := range 256 {
			c := string([]byte{byte(b)})
			texts = append(texts, c, "a"+c, c+"a", "a"+c+"a")
			for _, n := range []int{r.longest - 1, r.longest} {
				texts = append(texts, c+strings.Repeat("a", n-1), strings.Repeat("a", n-1)+c)
			}
		}
		for n := range r.longest + 3 {
			texts = append(texts, strings.Repeat("a", n), strings.Repeat("0", n))
		}
		matched := 0
		for _, s := range texts {
			if got := r.allows(s); got != want.MatchString(s) {
				t.Errorf("%s: %q: %v", r.expression, s, got)
			} else if got {
				matched++
			}
		}
		if matched < 20 {
			t.Errorf("%s: only %d texts match", r.expression, matched)
		}
	}
}
