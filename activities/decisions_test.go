package activities

import (
	"strings"
	"testing"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/identity"
)

func TestR11_AnIssuerThatChangedSinceIntakeProvesNothing(t *testing.T) {
	t.Parallel()
	hart := countersign.Issuer{ID: "hart", URL: "https://id.hart.example", Kind: "partner", Organisation: "Hart", Audience: "countersign", EvidenceAudience: "countersign-evidence"}
	renamed, moved := hart, hart
	renamed.Organisation, renamed.Audience = "Hart and Sons", "portal"
	moved.EvidenceAudience = "evidence-two"
	for name, c := range map[string]struct {
		frozen, now []countersign.Issuer
		refused     bool
	}{
		"the same":                 {[]countersign.Issuer{hart}, []countersign.Issuer{hart}, false},
		"renamed":                  {[]countersign.Issuer{hart}, []countersign.Issuer{renamed}, false},
		"another evidence client":  {[]countersign.Issuer{hart}, []countersign.Issuer{moved}, true},
		"removed":                  {[]countersign.Issuer{hart}, nil, true},
		"added":                    {[]countersign.Issuer{{URL: "https://id.acme.example"}}, []countersign.Issuer{hart}, true},
		"never known":              {[]countersign.Issuer{{URL: "https://id.acme.example"}}, nil, false},
		"an old saga tells nobody": {nil, []countersign.Issuer{moved}, false},
	} {
		r := issuerChanged(c.frozen, identity.NewRegistry(c.now), hart.URL)
		if (r != nil) != c.refused || r != nil && (r.Code != "issuer-changed" || !strings.Contains(r.Message, hart.URL) || !strings.Contains(r.Message, "requested again")) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
