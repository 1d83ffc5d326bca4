package links

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	placementv1 "github.com/pandodb/pando/gen/go/pando/placement/v1"
	"github.com/pandodb/pando/services/internal/book"
	"github.com/pandodb/pando/services/internal/fault"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
)

const (
	// firstPause between two rounds grows to lastPause.
	firstPause, lastPause = 250 * time.Millisecond, time.Second
	// within bounds one exchange: who does not answer is asked again in a later round.
	within = time.Second
	// few is up to how many others everybody talks to everybody. Among more, a round and a piece of news that was heard go to
	// sample of them; what a process says of itself goes to all.
	few, sample = 16, 8
)

// ErrOtherCluster reports that a hint leads to another cluster than the one that this process belongs to, all by itself.
var ErrOtherCluster = errors.New("the address to join belongs to another cluster than this process's folder")

// Run gossips the book until ctx ends (nil), or until a hint turns out to lead to another cluster while no other process
// of the own one is known: then somebody meant to join. former are addresses at which a process of the cluster listened once;
// they are asked as hints are, and nothing is concluded if somebody else listens there now.
func (l *Links) Run(ctx context.Context, former []string) error {
	hints, err := l.dialHints(former)
	if err != nil {
		return err
	}
	defer func() {
		for _, h := range hints {
			_ = h.conn.Close() // only read from
		}
	}()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.rounds(ctx, hints) })
	group.Go(func() error { return l.spread(ctx) })
	return group.Wait()
}

// hint is a connection to an address of which it is not known who listens there.
type hint struct {
	addr    string
	conn    *grpc.ClientConn
	former  bool
	refused bool // said so already
}

func (l *Links) dialHints(former []string) ([]*hint, error) {
	var out []*hint
	for i, addr := range slices.Concat(l.cfg.Hints, former) {
		if slices.ContainsFunc(out, func(h *hint) bool { return h.addr == addr }) {
			continue
		}
		conn, err := rpc.Dial(addr, l.cfg.Dial)
		if err != nil {
			return nil, fmt.Errorf("hint %s: %w", addr, err)
		}
		out = append(out, &hint{addr: addr, conn: conn, former: i >= len(l.cfg.Hints)})
	}
	return out, nil
}

// rounds exchanges with everybody at the start, then ever less often, and with hints that the book does not cover.
func (l *Links) rounds(ctx context.Context, hints []*hint) error {
	pause, most := firstPause, int(^uint(0)>>1)
	for {
		group, round := errgroup.WithContext(ctx)
		for _, id := range l.others(most) {
			group.Go(func() error { l.exchange(round, id); return nil })
		}
		for _, h := range hints {
			if !l.covers(h.addr) {
				group.Go(func() error { return l.ask(round, h) })
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
		if pause == lastPause && len(l.others(most)) > few {
			most = sample
		}
	}
}

// covers tells whether the process at an address is in the book.
func (l *Links) covers(addr string) bool {
	for _, a := range l.Book().Entries() {
		if a.Addr == addr {
			return true
		}
	}
	return false
}

// exchange compares books with one process; both know the same afterwards.
func (l *Links) exchange(ctx context.Context, id string) {
	conn, err := l.To(id)
	if err == nil {
		err = l.compare(ctx, conn)
	}
	if err != nil && ctx.Err() == nil {
		l.cfg.Log.Debug("no exchange of addresses", "process", id, "error", err)
	}
}

// ask is exchange with a hint.
func (l *Links) ask(ctx context.Context, h *hint) error {
	err := l.compare(ctx, h.conn)
	switch fault.ReasonOf(err) {
	case fault.WrongCluster:
		if !h.former && len(l.others(1)) == 0 {
			return fmt.Errorf("%w: %s: %w", ErrOtherCluster, h.addr, err)
		}
	case fault.Unauthenticated:
	default:
		return nil // not there yet, or fine
	}
	if !h.refused {
		l.cfg.Log.Warn("the address to join is of no use", "address", h.addr, "error", err)
		h.refused = true
	}
	return nil
}

func (l *Links) compare(ctx context.Context, conn grpc.ClientConnInterface) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	client, mine := placementv1.NewBookClient(conn), l.Book()
	resp, err := client.Exchange(ctx, &placementv1.ExchangeRequest{From: l.cfg.Self, Digest: mine.Digest()})
	if err != nil || len(resp.GetEntries()) == 0 {
		return err
	}
	theirs, err := Entries(resp.GetEntries())
	if err != nil {
		return err
	}
	if err := l.Learn(theirs); err != nil {
		return err
	}
	mine = l.Book()
	if _, better := theirs.Merge(mine); len(better) > 0 {
		_, err = client.Exchange(ctx, &placementv1.ExchangeRequest{From: l.cfg.Self, Entries: messages(mine, better)})
	}
	return err
}

// spread passes changed entries on at once.
func (l *Links) spread(ctx context.Context) error {
	var group errgroup.Group
	defer func() { _ = group.Wait() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.news:
		}
		changed, own := l.takeFresh()
		to := l.others(int(^uint(0) >> 1))
		if !own && len(to) > few {
			to = l.others(sample)
		}
		req := &placementv1.ExchangeRequest{From: l.cfg.Self, Entries: messages(l.Book(), changed)}
		for _, id := range to {
			group.Go(func() error { l.pass(ctx, id, req); return nil })
		}
	}
}

func (l *Links) takeFresh() (changed []string, own bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.mu.fresh {
		changed = append(changed, id)
	}
	own = l.mu.fresh[l.cfg.Self]
	clear(l.mu.fresh)
	slices.Sort(changed)
	return changed, own
}

func (l *Links) pass(ctx context.Context, id string, req *placementv1.ExchangeRequest) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	conn, err := l.To(id)
	if err == nil {
		_, err = placementv1.NewBookClient(conn).Exchange(ctx, req)
	}
	if err != nil {
		l.cfg.Log.Log(ctx, slog.LevelDebug, "news of addresses not passed on", "process", id, "error", err)
	}
}

// Register offers Book.Exchange.
func (l *Links) Register(r grpc.ServiceRegistrar) {
	placementv1.RegisterBookServer(r, &bookServer{l: l})
}

type bookServer struct {
	placementv1.UnimplementedBookServer
	l *Links
}

// Exchange merges the caller's entries and, where its digest differs, answers the whole book.
func (s *bookServer) Exchange(_ context.Context, req *placementv1.ExchangeRequest) (*placementv1.ExchangeResponse, error) {
	theirs, err := Entries(req.GetEntries())
	if err != nil {
		return nil, err
	}
	if err := s.l.Learn(theirs); err != nil {
		return nil, err
	}
	mine, resp := s.l.Book(), &placementv1.ExchangeResponse{}
	if d := req.GetDigest(); d == 0 || d == mine.Digest() {
		return resp, nil
	}
	for id, a := range mine.Entries() {
		if known, ok := theirs.Lookup(id); !ok || known != a {
			resp.Entries = append(resp.Entries, message(id, a))
		}
	}
	return resp, nil
}

// maxGeneration leaves room to outbid: no clock gets there.
const maxGeneration = 1 << 63

// Entries reads what another process sent. VALIDATION for an entry that no process makes.
func Entries(in []*placementv1.BookEntry) (book.Book, error) {
	out := make(map[string]book.Address, len(in))
	for _, e := range in {
		if e.GetId() == "" || e.GetGeneration() == 0 || e.GetGeneration() >= maxGeneration || (e.GetAddress() == "") != e.GetRemoved() ||
			topology.PeerID(e.GetPeerId()) > topology.MaxPeerID {
			return book.Book{}, fault.BadInput("an address book entry %q at %q in generation %d, removed %v, cannot be", e.GetId(), e.GetAddress(),
				e.GetGeneration(), e.GetRemoved())
		}
		out[e.GetId()] = book.Address{Addr: e.GetAddress(), Generation: e.GetGeneration(), Peer: topology.PeerID(e.GetPeerId()),
			Member: e.GetMember(), Removed: e.GetRemoved()}
	}
	return book.New(out), nil
}

// Messages is the whole book as it is sent.
func Messages(b book.Book) []*placementv1.BookEntry {
	var all []string
	for id := range b.Entries() {
		all = append(all, id)
	}
	slices.Sort(all)
	return messages(b, all)
}

func messages(b book.Book, ids []string) []*placementv1.BookEntry {
	out := make([]*placementv1.BookEntry, 0, len(ids))
	for _, id := range ids {
		if a, ok := b.Lookup(id); ok {
			out = append(out, message(id, a))
		}
	}
	return out
}

func message(id string, a book.Address) *placementv1.BookEntry {
	return &placementv1.BookEntry{Id: id, Address: a.Addr, Generation: a.Generation, PeerId: uint64(a.Peer), Member: a.Member, Removed: a.Removed}
}
