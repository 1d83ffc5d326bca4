package rpc

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
)

// goneAfter is how long a process of the cluster may leave bytes or pings unanswered before a connection to it is given up.
const goneAfter = 2 * time.Second

// LinkOptions of a connection between two processes of the cluster.
type LinkOptions struct {
	DialOptions
	// Resolve answers where the process To listens now; it is asked at every (re)connect.
	Resolve func() (addr string, err error)
	// Dialled is told how each attempt to connect ended; nil tells nobody.
	Dialled func(addr string, err error)
}

// Link is a connection to a process by its id, wherever it listens. A lost machine is noticed within about 2 s: gRPC
// itself would not ping more often than each 10 s, so the kernel does.
type Link struct {
	*grpc.ClientConn
	o  LinkOptions
	mu struct {
		sync.Mutex
		addr string   // of the newest connection
		conn net.Conn // may be closed already
	}
}

// NewLink prepares a connection to the process o.To. The caller closes it.
func NewLink(o LinkOptions) (*Link, error) {
	l := &Link{o: o}
	var err error
	l.ClientConn, err = dial(o.To, o.DialOptions, grpc.WithContextDialer(l.connect),
		// grpc sets TCP_USER_TIMEOUT to this timeout.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: goneAfter}))
	return l, err
}

func (l *Link) connect(ctx context.Context, _ string) (net.Conn, error) {
	addr, err := l.o.Resolve()
	var c net.Conn
	if err == nil {
		d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 2}}
		c, err = d.DialContext(ctx, "tcp", addr)
	}
	if l.o.Dialled != nil {
		l.o.Dialled(addr, err)
	}
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now, err := l.o.Resolve(); err != nil || now != addr { // it moved meanwhile, and Moved saw the old connection
		_ = c.Close()
		return nil, fmt.Errorf("process %s has left %s", l.o.To, addr)
	}
	l.mu.addr, l.mu.conn = addr, c
	return c, nil
}

// Moved gives up a connection to any other address than the present one, and lets the next attempt to connect begin at once.
func (l *Link) Moved() {
	addr, err := l.o.Resolve()
	l.mu.Lock()
	if l.mu.conn != nil && (err != nil || l.mu.addr != addr) {
		_ = l.mu.conn.Close() // grpc sees it and connects anew
		l.mu.conn = nil
	}
	l.mu.Unlock()
	// grpc reads its connections there without their lock: one that it makes meanwhile, as for the first call, would end the
	// process. While it waits before another attempt it makes none.
	if l.GetState() == connectivity.TransientFailure {
		l.ResetConnectBackoff()
	}
}
