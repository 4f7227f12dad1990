package evidence

import (
	"errors"
	"fmt"

	"github.com/countersign-dev/countersign"
)

const checkIssuers = "issuers"

// issuers checks that the identity providers in the evidence are those that the context names. Everybody's proof is over the context's digest, so neither
// a provider more, nor a context without their digest, fits what people approved. Contexts of version 1 name none, and can't.
func (v *verifier) issuers() {
	c := v.c.Admission.Context
	if c.V == 1 && c.Issuers == "" {
		v.report.notRecorded(checkIssuers, "the signing was admitted by a build that did not name them in the transaction")
		return
	}
	v.check(checkIssuers, func() error {
		digest, err := countersign.IssuersDigest(v.c.Admission.Issuers)
		switch {
		case err != nil:
			return err
		case c.V != countersign.ContextVersion:
			return fmt.Errorf("the transaction is of version %d, and this build reads 1 and %d, of which %d names the identity providers", c.V, countersign.ContextVersion, countersign.ContextVersion)
		case c.Issuers == "":
			return errors.New("the transaction has to name the identity providers, and names none")
		case digest != c.Issuers:
			return errors.New("the identity providers are not those that people approved with the transaction")
		}
		return nil
	}, func() string {
		return fmt.Sprintf("the %d identity providers that people approved with the transaction", len(v.c.Admission.Issuers))
	})
}
