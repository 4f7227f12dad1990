package activities

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/converter"
)

func TestTheLogHoldsNoPayload(t *testing.T) {
	t.Parallel()
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(map[string]string{"token": "a proof of a decision"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := Logger(zerolog.New(&out))
	log.Error("Activity failed", "ActivityType", "Sign", "Result", payloads, "Payload", payloads.Payloads[0], "Error", errors.New("couldn't sign"))
	line := out.String()
	if !strings.Contains(line, `"activity":"Sign"`) || !strings.Contains(line, "couldn't sign") {
		t.Errorf("the log lacks the activity and its error: %s", line)
	}
	if strings.Contains(line, "Result") || strings.Contains(line, "Payload") || strings.Contains(line, "data") {
		t.Errorf("the log holds a payload: %s", line)
	}
}
