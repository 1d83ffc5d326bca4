package links

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
)

const (
	// patience is how long a call waits for a control plane that has no leader; an election takes about one second.
	patience = 3 * time.Second
	// avoided is how long a member that failed is asked last.
	avoided = time.Second
	// connectWithin is how long a member is given to be connected to before the next one is tried.
	connectWithin = 500 * time.Millisecond
	// repeatWithin bounds one attempt of a call that may be repeated elsewhere.
	repeatWithin = time.Second
	// again is the pause before all members are tried once more.
	again = 50 * time.Millisecond
)

// Control is a connection to the control plane: to the member in this process while it is usable, otherwise to that of
// another process, and to the next one when that fails. A call that says NO_LEADER has done nothing and is made again
// elsewhere; one whose connection broke is made again only if that is harmless, otherwise its outcome is unknown.
type Control struct {
	links *Links
	local grpc.ClientConnInterface
	mu    struct {
		sync.Mutex
		usable  bool
		changed chan struct{}
		failed  map[string]time.Time // by process
	}
}

// NewControl makes the connection. local leads to this process's own services.
func NewControl(links *Links, local grpc.ClientConnInterface) *Control {
	c := &Control{links: links, local: local}
	c.mu.changed, c.mu.failed = make(chan struct{}), map[string]time.Time{}
	return c
}

// Usable says whether the member in this process runs, has caught up and knows a leader; at first it does not.
func (c *Control) Usable(usable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.usable != usable {
		c.mu.usable = usable
		close(c.mu.changed)
		c.mu.changed = make(chan struct{})
	}
}

// harmless are the methods that may be repeated after an outcome that is not known.
func harmless(method string) bool {
	switch method {
	case placementv1.Session_Register_FullMethodName, placementv1.Catalog_Status_FullMethodName, placementv1.Decisions_Report_FullMethodName,
		placementv1.Members_Join_FullMethodName, placementv1.Members_Seat_FullMethodName, placementv1.Catalog_FindCollection_FullMethodName:
		return true
	}
	return false
}

// Invoke implements grpc.ClientConnInterface.
func (c *Control) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	var last error
	for try := range c.tries(ctx, method) {
		err := c.attempt(ctx, try, method, args, reply, opts)
		if err == nil {
			return nil
		}
		switch verdict := judge(ctx, method, err); {
		case verdict == final:
			return err
		case verdict == unknown:
			return fault.Wrap(fault.WriteOutcomeUnknown, err, "the member of the control plane was lost during the change: it may or may not have happened").GRPCStatus().Err()
		}
		last = err
		c.avoid(try.process)
	}
	return c.nobody(ctx, last)
}

func (c *Control) attempt(ctx context.Context, try try, method string, args, reply any, opts []grpc.CallOption) error {
	if try.process != "" && method != placementv1.Members_Join_FullMethodName && harmless(method) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, repeatWithin)
		defer cancel()
	}
	return try.conn.Invoke(ctx, method, args, reply, opts...)
}

// What to do about a failed attempt.
const (
	final     = iota // it is the answer
	elsewhere        // nothing was done: ask another member
	unknown          // it may have been done
)

func judge(ctx context.Context, method string, err error) int {
	switch fault.ReasonOf(err) {
	case fault.NoLeader, fault.ShuttingDown, fault.WrongProcess:
		return elsewhere
	case fault.Unspecified:
	default:
		return final
	}
	switch code := status.Code(err); {
	case ctx.Err() != nil:
		return final
	case code != codes.Unavailable && code != codes.DeadlineExceeded && code != codes.Canceled:
		return final
	case harmless(method):
		return elsewhere
	}
	return unknown
}

// NewStream implements grpc.ClientConnInterface. A stream that ends, for whatever reason, lets the next call go to
// another member if there is one: the caller would not open it anew if it had been well.
func (c *Control) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	var last error
	for try := range c.tries(ctx, method) {
		st, err := try.conn.NewStream(ctx, desc, method, opts...)
		if err == nil && try.process != "" {
			st = &watchedStream{ClientStream: st, ended: func() { c.avoid(try.process) }}
		}
		if err == nil {
			return st, nil
		}
		if judge(ctx, method, err) == final {
			return nil, err
		}
		last = err
		c.avoid(try.process)
	}
	return nil, c.nobody(ctx, last)
}

type watchedStream struct {
	grpc.ClientStream
	once  sync.Once
	ended func()
}

func (s *watchedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil {
		s.once.Do(s.ended)
	}
	return err
}

func (c *Control) nobody(ctx context.Context, last error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	if last == nil {
		return fault.New(fault.NoLeader, "no member of the control plane can be reached").GRPCStatus().Err()
	}
	return fault.Wrap(fault.NoLeader, last, "no member of the control plane has a leader: %v", fault.From(last).Msg).GRPCStatus().Err()
}

// try is one member to ask; process is empty for the own one.
type try struct {
	process string
	conn    grpc.ClientConnInterface
}

// tries gives one member after the other, and begins anew when there is reason to, until patience is over. Status is the
// exception: whoever asks wants to know also that there is no leader.
func (c *Control) tries(ctx context.Context, method string) func(yield func(try) bool) {
	return func(yield func(try) bool) {
		over := time.NewTimer(patience)
		defer over.Stop()
		for ctx.Err() == nil {
			usable, changed := c.usable()
			_, moved := c.links.Changed()
			if usable && !yield(try{conn: c.local}) {
				return
			}
			for _, id := range c.members() {
				if link := c.connected(ctx, id); link != nil && !yield(try{id, link}) {
					return
				}
			}
			if method == placementv1.Catalog_Status_FullMethodName {
				yield(try{conn: c.local})
				return
			}
			wait := time.NewTimer(again)
			select {
			case <-changed:
			case <-moved:
			case <-wait.C:
			case <-ctx.Done():
			case <-over.C:
				wait.Stop()
				return
			}
			wait.Stop()
		}
	}
}

func (c *Control) usable() (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.usable, c.mu.changed
}

// members are the other processes with a member: those that failed lately last, those with a connection first, and else in
// an order that differs between processes, so that not all ask the same one.
func (c *Control) members() []string {
	type candidate struct {
		id        string
		failed    bool
		connected bool
		rank      uint64
	}
	var all []candidate
	b, now := c.links.Book(), c.links.cfg.Now()
	for _, id := range b.Processes() {
		if a, _ := b.Lookup(id); !a.Member || id == c.links.cfg.Self {
			continue
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(c.links.cfg.Self + "\x00" + id)) // a hash takes everything
		link, err := c.links.To(id)
		all = append(all, candidate{id, now.Before(c.until(id)), err == nil && link.GetState() == connectivity.Ready, h.Sum64()})
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(truth(a.failed)-truth(b.failed), truth(b.connected)-truth(a.connected), cmp.Compare(a.rank, b.rank))
	})
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = a.id
	}
	return out
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// connected is the link to a process once it is connected, or nil if it does not get there soon.
func (c *Control) connected(ctx context.Context, id string) *rpc.Link {
	link, err := c.links.To(id)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	for {
		switch st := link.GetState(); st {
		case connectivity.Ready:
			return link
		case connectivity.TransientFailure, connectivity.Shutdown:
			c.avoid(id)
			return nil
		default:
			link.Connect()
			if !link.WaitForStateChange(ctx, st) {
				c.avoid(id)
				return nil
			}
		}
	}
}

func (c *Control) avoid(process string) {
	if process == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.failed[process] = c.links.cfg.Now().Add(avoided)
}

func (c *Control) until(process string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.failed[process]
}
