package evidence

import (
	"context"
	"errors"
)

// InTurn returns a Stamper that asks each of the given ones until one gives a token: whoever refuses, takes too long or gives a bad token is
// passed over. When all fail, so does it, with every reason. There is no other clock to fall back to.
func InTurn(stampers ...Stamper) Stamper { return inTurn(stampers) }

type inTurn []Stamper

func (all inTurn) Stamp(ctx context.Context, digest []byte) ([]byte, error) {
	var faults []error
	for _, s := range all {
		token, err := s.Stamp(ctx, digest)
		if err == nil {
			return token, nil
		}
		faults = append(faults, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(faults) == 0 {
		return nil, failed("timestamp", "no time-stamp authority is named")
	}
	return nil, inCheck("timestamp", errors.Join(faults...))
}
