package activities

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign"
)

// Credential gives each call to Temporal the headers that say who makes it: a process's own token, or the actor's.
type Credential interface {
	GetHeaders(ctx context.Context) (map[string]string, error)
}

// Dial reaches a tenant's Temporal namespace with the given credential. What it sends has the given headers.
func Dial(ctx context.Context, address string, s *countersign.Settings, credential Credential, logger zerolog.Logger, headers ...workflow.ContextPropagator) (client.Client, error) {
	c, err := client.DialContext(ctx, client.Options{
		HostPort: address, Namespace: s.Namespace, HeadersProvider: credential, ContextPropagators: headers,
		Logger: Logger(logger.With().Str("tenant", s.Tenant).Logger()),
	})
	if err != nil {
		return nil, s.Fault(fmt.Errorf("couldn't reach namespace %q of the Temporal server at %s: %w", s.Namespace, address, err), "namespace")
	}
	return c, nil
}

// Logger lets Temporal's SDK write through zerolog, in our words.
func Logger(l zerolog.Logger) log.Logger { return sdkLogger{l} }

type sdkLogger struct{ l zerolog.Logger }

var words = map[string]string{
	"WorkflowID": "signing", "RunID": "run", "ActivityType": "activity", "Attempt": "attempt", "TaskQueue": "queue", "WorkflowType": "workflow", "Error": "error",
}

func (s sdkLogger) event(e *zerolog.Event, msg string, kv []any) {
	for i := 0; i+1 < len(kv); i += 2 {
		key, ok := kv[i].(string)
		if !ok {
			continue
		}
		switch key {
		case "Namespace", "WorkerID", "ActivityID":
			continue
		}
		if word, ok := words[key]; ok {
			key = word
		}
		switch value := kv[i+1].(type) {
		case proto.Message:
			// The SDK logs an activity's result beside its error: decisions with their proofs are in it, and they belong in no log.
		case error:
			e = e.Str(key, value.Error())
		default:
			e = e.Interface(key, value)
		}
	}
	e.Msg(msg)
}

func (s sdkLogger) Debug(msg string, kv ...any) { s.event(s.l.Debug(), msg, kv) }
func (s sdkLogger) Info(msg string, kv ...any)  { s.event(s.l.Info(), msg, kv) }
func (s sdkLogger) Warn(msg string, kv ...any)  { s.event(s.l.Warn(), msg, kv) }
func (s sdkLogger) Error(msg string, kv ...any) { s.event(s.l.Error(), msg, kv) }

func (s sdkLogger) With(kv ...any) log.Logger { return &boundLogger{s, kv} }

// boundLogger carries fields from one line to the next.
type boundLogger struct {
	sdkLogger
	fields []any
}

func (b *boundLogger) all(kv []any) []any { return append(append([]any{}, b.fields...), kv...) }

func (b *boundLogger) Debug(msg string, kv ...any) { b.sdkLogger.Debug(msg, b.all(kv)...) }
func (b *boundLogger) Info(msg string, kv ...any)  { b.sdkLogger.Info(msg, b.all(kv)...) }
func (b *boundLogger) Warn(msg string, kv ...any)  { b.sdkLogger.Warn(msg, b.all(kv)...) }
func (b *boundLogger) Error(msg string, kv ...any) { b.sdkLogger.Error(msg, b.all(kv)...) }
func (b *boundLogger) With(kv ...any) log.Logger   { return &boundLogger{b.sdkLogger, b.all(kv)} }
