// Command crashing is the workers command with a fault in it: it kills itself, as a power cut would, before or after a given
// activity of a given signing, once. CRASH_POINTS names a directory; each file in it is one crash point still to come, named
// "<before|after>.<activity>.<request>".
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"

	"github.com/countersign-dev/countersign/workers/pool"
)

func main() {
	o := pool.Options{Log: zerolog.New(os.Stderr), Interceptors: []interceptor.WorkerInterceptor{&crash{dir: os.Getenv("CRASH_POINTS")}}}
	flag.StringVar(&o.Temporal, "temporal", "", "")
	flag.StringVar(&o.Tenants, "tenants", "", "")
	flag.StringVar(&o.Platform, "platform", "", "")
	flag.Float64Var(&o.KeyRate, "key-rate", 0, "")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p, err := pool.Start(ctx, o)
	if err != nil {
		o.Log.Fatal().Err(err).Send()
	}
	o.Log.Info().Msg("ready")
	if err := p.Wait(ctx); err != nil {
		o.Log.Fatal().Err(err).Send()
	}
}

type crash struct {
	interceptor.WorkerInterceptorBase
	dir string
}

func (c *crash) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &crashing{interceptor.ActivityInboundInterceptorBase{Next: next}, c.dir}
}

type crashing struct {
	interceptor.ActivityInboundInterceptorBase
	dir string
}

func (c *crashing) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	info := activity.GetInfo(ctx)
	point := info.ActivityType.Name + "." + info.WorkflowExecution.ID[strings.LastIndex(info.WorkflowExecution.ID, "/")+1:]
	c.die("before." + point)
	result, err := c.Next.ExecuteActivity(ctx, in)
	c.die("after." + point)
	return result, err
}

// die takes the crash point away, so that it is met once, and kills the process.
func (c *crashing) die(point string) {
	if os.Remove(filepath.Join(c.dir, point)) != nil {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
