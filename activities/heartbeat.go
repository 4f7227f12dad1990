package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"

	"github.com/countersign-dev/countersign/evidence"
)

// Heartbeats beats for every running activity, so that the server notices a dead worker within the heartbeat timeout and not
// only when the step's whole time is up. Notify beats by itself, because its beats carry who was told already.
type Heartbeats struct {
	interceptor.WorkerInterceptorBase
}

// InterceptActivity makes the interceptor of one activity.
func (Heartbeats) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &heartbeat{interceptor.ActivityInboundInterceptorBase{Next: next}}
}

type heartbeat struct {
	interceptor.ActivityInboundInterceptorBase
}

func (h *heartbeat) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	if activity.GetInfo(ctx).ActivityType.Name != evidence.ActivityNotify {
		defer beat(ctx, func() { activity.RecordHeartbeat(ctx) })()
	}
	return h.Next.ExecuteActivity(ctx, in)
}

// beat records heartbeats until the returned function is called.
func beat(ctx context.Context, record func()) (stop func()) {
	every := activity.GetInfo(ctx).HeartbeatTimeout / 4
	if every <= 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				record()
			case <-done:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}
