package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pandodb/pando/services/internal/boot"
	"github.com/pandodb/pando/services/internal/rpc"
)

// connection is how admin commands reach a peer.
type connection struct {
	addr, key string
	timeout   time.Duration
}

func connectionFlags(c *cobra.Command, w IO) *connection {
	o := &connection{}
	c.Flags().StringVar(&o.addr, "addr", "127.0.0.1:6334", "gRPC address of any peer")
	c.Flags().StringVar(&o.key, "api-key", "", "API key (or PANDO_API_KEY)")
	c.Flags().DurationVar(&o.timeout, "timeout", 10*time.Second, "how long to wait for an answer")
	for _, e := range w.Env {
		if v, ok := strings.CutPrefix(e, "PANDO_API_KEY="); ok {
			o.key = v
		}
	}
	return o
}

func (o *connection) dial() (*grpc.ClientConn, error) {
	addr := o.addr
	if u, err := url.Parse(addr); err == nil && u.Host != "" { // http://host:6334 is meant kindly
		addr = u.Host
	}
	if !strings.Contains(addr, ":") {
		addr += ":6334"
	}
	return rpc.Dial(addr, rpc.DialOptions{APIKey: o.key})
}

// call runs one request with the time limit, and turns failures into what to do about them.
func (o *connection) call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return o.explain(do(ctx))
}

// explain says what to do about a failed request.
func (o *connection) explain(err error) error {
	switch st := status.Convert(err); st.Code() {
	case codes.OK:
		return nil
	case codes.Unavailable:
		return fmt.Errorf("no peer answers at %s: %s (is it running? --addr names another one)", o.addr, st.Message())
	case codes.Unauthenticated:
		return boot.Exit(boot.ExitUsage, fmt.Errorf("%s: pass --api-key or set PANDO_API_KEY", st.Message()))
	case codes.DeadlineExceeded:
		return fmt.Errorf("%s did not answer within %v (--timeout): %s", o.addr, o.timeout, st.Message())
	default:
		return fmt.Errorf("%s: %s (%s)", o.addr, st.Message(), st.Code())
	}
}
