package serve

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pandodb/pando/services/internal/rpc"
)

// The internal port carries two protocols. Both clients speak first, so four bytes decide:
//
//	"PRI "  HTTP/2 preface: gRPC
//	"PAND"  a hello (rpc.Cluster), then HTTP/1.1 of a member's etcd
//	other   dropped
const (
	prefaceLen  = 4
	grpcPreface = "PRI "

	// decideWithin is how long a new connection may stay silent.
	decideWithin = 10 * time.Second
	// peerWrite bounds one write to a member: raft's streams are long, its writes are not.
	peerWrite = 5 * time.Second
	// peerRead bounds one request of a member, snapshots included; it is etcd's own limit.
	peerRead = 5 * time.Minute
)

// splitter hands the connections of one listener to two servers.
type splitter struct {
	inner  net.Listener
	self   *rpc.Cluster
	log    *slog.Logger
	grpc   *pushListener
	peers  *pushListener
	web    *http.Server
	peer   atomic.Pointer[http.Handler]
	closed chan struct{}
	mu     struct {
		sync.Mutex
		ended     bool
		undecided map[net.Conn]struct{}
	}
	deciding sync.WaitGroup
}

func newSplitter(inner net.Listener, self *rpc.Cluster, log *slog.Logger) *splitter {
	s := &splitter{inner: inner, self: self, log: log, grpc: newPushListener(inner.Addr()),
		peers: newPushListener(inner.Addr()), closed: make(chan struct{})}
	s.mu.undecided = map[net.Conn]struct{}{}
	s.web = &http.Server{Handler: http.HandlerFunc(s.servePeer), ReadTimeout: peerRead,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	return s
}

func (s *splitter) mount(h http.Handler) {
	if h == nil {
		s.peer.Store(nil)
		return
	}
	s.peer.Store(&h)
}

func (s *splitter) servePeer(w http.ResponseWriter, r *http.Request) {
	if h := s.peer.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.Error(w, "no control-plane member runs here (yet)", http.StatusServiceUnavailable)
}

func (s *splitter) servePeers() error { return unlessClosed(s.web.Serve(s.peers)) }

// accept runs until close. Running out of descriptors is waited out, as net/http does.
func (s *splitter) accept() error {
	defer s.deciding.Wait()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		c, err := s.inner.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			s.log.Warn("accepting on the internal port failed", "error", err)
			pause.Reset(100 * time.Millisecond)
			select {
			case <-pause.C:
				continue
			case <-s.closed:
				return nil
			}
		}
		if !s.track(c) {
			_ = c.Close() // we are closing; nobody is told
			continue
		}
		s.deciding.Go(func() { s.decide(c) })
	}
}

func (s *splitter) track(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.ended {
		return false
	}
	s.mu.undecided[c] = struct{}{}
	return true
}

func (s *splitter) decide(c net.Conn) {
	to, out, err := s.sniff(c)
	s.mu.Lock()
	delete(s.mu.undecided, c)
	s.mu.Unlock()
	if err != nil {
		s.log.Debug("connection to the internal port dropped", "from", c.RemoteAddr().String(), "error", err)
		_ = c.Close() // dropped either way
		return
	}
	to.push(out)
}

// Both are shown in the debug log only; a stranger learns nothing.
var (
	errHello    = errors.New("a member's connection did not open with the cluster's identity, or was meant for another process")
	errProtocol = errors.New("neither gRPC nor a member's connection")
)

func (s *splitter) sniff(c net.Conn) (*pushListener, net.Conn, error) {
	if err := c.SetReadDeadline(time.Now().Add(decideWithin)); err != nil {
		return nil, nil, err
	}
	var first [prefaceLen]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return nil, nil, err
	}
	switch string(first[:]) {
	case grpcPreface:
		return s.grpc, &prefixConn{c, first[:]}, c.SetReadDeadline(time.Time{})
	case rpc.HelloPrefix[:prefaceLen]:
		got := make([]byte, rpc.HelloLen)
		if _, err := io.ReadFull(c, got[copy(got, first[:]):]); err != nil {
			return nil, nil, err
		}
		if s.self == nil || !s.self.Welcome(got) {
			return nil, nil, errHello
		}
		return s.peers, &peerConn{c}, c.SetReadDeadline(time.Time{})
	}
	return nil, nil, errProtocol
}

// close ends both listeners and the members' HTTP, with whatever it is doing.
func (s *splitter) close() {
	s.mu.Lock()
	if !s.mu.ended {
		s.mu.ended = true
		close(s.closed)
	}
	for c := range s.mu.undecided {
		_ = c.Close() // its goroutine sees the error and ends
	}
	s.mu.Unlock()
	for _, l := range []io.Closer{s.inner, s.grpc, s.peers, s.web} {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Warn("closing the internal port failed", "error", err)
		}
	}
}

// pushListener is a net.Listener whose connections were accepted by somebody else.
type pushListener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPushListener(addr net.Addr) *pushListener {
	return &pushListener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// push passes the connection on, or closes it when nobody will accept it any more.
func (l *pushListener) push(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		_ = c.Close() // nobody is left to serve it
	}
}

func (l *pushListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pushListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pushListener) Addr() net.Addr { return l.addr }

// prefixConn gives back the bytes that were read to decide.
type prefixConn struct {
	net.Conn
	prefix []byte
}

func (c *prefixConn) Read(p []byte) (int, error) {
	if len(c.prefix) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.prefix)
	c.prefix = c.prefix[n:]
	return n, nil
}

// peerConn bounds each write; etcd sets no deadline on these connections.
type peerConn struct{ net.Conn }

func (c *peerConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(peerWrite)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
