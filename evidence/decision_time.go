package evidence

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-dev/countersign/identity"
)

// StampTolerance is how far the clocks of a time-stamp authority and of the Temporal server may be apart.
const StampTolerance = identity.Leeway

// VerifyStamp checks the time-stamp token of a decision: that it is over the decision's digest, by an authority of roots, and that its time fits what
// the Temporal server says: not before the server took the decision, and not after its check ended, by more than StampTolerance.
//
// Between the two instants lies how long the check took, and a worker that was away makes that long. So a decision can't be dated later than it was
// taken at all, and no earlier than its own proof allows, which names an instant by the identity provider's clock.
func VerifyStamp(token []byte, digest string, taken, until time.Time, roots Roots) (TokenFacts, error) {
	imprint, err := hex.DecodeString(digest)
	if err != nil {
		return TokenFacts{}, fmt.Errorf("couldn't read the decision's digest: %w", err)
	}
	facts, err := verifyTokenUnder(token, imprint, nil, roots)
	switch {
	case err != nil:
		return facts, err
	case facts.Time.Before(taken.Add(-StampTolerance)):
		return facts, fmt.Errorf("time-stamped at %s, but the server says that it took the decision later, at %s", instant(facts.Time), instant(taken))
	case facts.Time.After(until.Add(StampTolerance)):
		return facts, fmt.Errorf("time-stamped at %s, but the server says that its check ended before, at %s", instant(facts.Time), instant(until))
	}
	return facts, nil
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// decisionTimes checks the time-stamp of each decision that was proven. The context that people approved says whether there have to be any: taking the
// tokens out, and the word for them, makes another context.
func (v *verifier) decisionTimes() {
	proven, stamped := 0, 0
	for _, d := range v.c.Decisions {
		if d.Check != nil && d.Check.Facts != nil {
			proven++
		}
		if d.Check != nil && len(d.Check.Stamp) > 0 {
			stamped++
		}
	}
	switch required := v.c.Admission.Context.Stamped; {
	case !required && stamped == 0:
		v.report.notRecorded(checkDecisionTime, "the signing was admitted by a build that had no decision time-stamped")
		return
	case proven == 0 && stamped == 0:
		v.report.notRecorded(checkDecisionTime, "no decision was proven, so none was time-stamped")
		return
	}
	var slowest time.Duration
	v.check(checkDecisionTime, func() (err error) {
		slowest, err = v.stamps(v.c.Admission.Context.Stamped)
		return err
	}, func() string {
		return fmt.Sprintf("%d decisions time-stamped over their digests, the latest %s after the server took it", stamped, slowest.Round(time.Second))
	})
}

const checkDecisionTime = "decision time"

func (v *verifier) stamps(required bool) (slowest time.Duration, err error) {
	for i, d := range v.c.Decisions {
		if d.Check == nil || len(d.Check.Stamp) == 0 && (d.Check.Facts == nil || !required) {
			continue
		}
		if len(d.Check.Stamp) == 0 {
			return 0, fmt.Errorf("%s: it was proven, and has no time-stamp", decisionFile(i))
		}
		facts, err := v.stamp(d, v.signed[i])
		if err != nil {
			return 0, fmt.Errorf("%s: %w", decisionFile(i), err)
		}
		slowest = max(slowest, facts.Time.Sub(d.At))
	}
	return slowest, nil
}

func (v *verifier) stamp(d DecisionCase, signed readDecision) (facts TokenFacts, err error) {
	if signed.err != nil {
		return facts, signed.err
	}
	if facts, err = VerifyStamp(d.Check.Stamp, signed.digest, d.At, d.Ended, v.roots); err != nil {
		return facts, err
	}
	if facts.Time.Before(d.Began.Add(-StampTolerance)) {
		return facts, errors.New("its time-stamp is older than the check that took it")
	}
	return facts, nil
}

// stampedAt is what a decision's token says of itself, unverified: for reading, not for believing.
func stampedAt(token []byte) (at time.Time, authority string, ok bool) {
	sd, err := parseSignedData(token)
	if err != nil {
		return at, "", false
	}
	info, err := parseTSTInfo(sd.content)
	if err != nil {
		return at, "", false
	}
	leaf, err := sd.signerCertificate()
	if err != nil {
		return at, "", false
	}
	return info.time, leaf.Subject.String(), true
}
