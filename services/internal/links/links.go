// Package links is what a process knows of the others of its cluster and how it reaches them: the address book, kept on
// disk and gossiped among all processes without any quorum; one connection to each process, by its id, resolved through
// the book whenever it connects; and the way to the control plane, through the process's own member or another one.
//
// It decides nothing about who belongs: an entry comes from the process itself once it has joined, and its removal from
// the leader of the control plane.
package links

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pandodb/pando/services/internal/book"
	"github.com/pandodb/pando/services/internal/rpc"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
)

// Config of the links of a process.
type Config struct {
	// Self is the stable id of this process, Peer the data peer in it (0 = none), Addr host:port of its internal port.
	Self string
	Peer topology.PeerID
	Addr string
	// FS and File: where the book is kept.
	FS   vfs.FS
	File string
	// Hints are addresses at which some process of the cluster is said to listen.
	Hints []string
	// Dial is what every connection has; Cluster must be set.
	Dial rpc.DialOptions
	Log  *slog.Logger
	Now  func() time.Time // nil = time.Now
}

// Links is safe for concurrent use.
type Links struct {
	cfg      Config
	expelled chan struct{}
	news     chan struct{} // something was learned that others may not know
	mu       struct {
		sync.Mutex
		book    book.Book
		present bool // this process has announced itself and was not taken out
		out     bool // it was taken out
		member  bool // what it says of itself
		fresh   map[string]bool
		changed chan struct{}
		links   map[string]*rpc.Link
		failing map[string]Failure
		closed  bool
	}
}

// Failure is why a process cannot be reached.
type Failure struct {
	Addr  string
	Count uint64 // attempts in a row
	Err   error
	At    time.Time
}

// ErrDamaged reports a kept book whose bytes cannot be read.
var ErrDamaged = errors.New("the address book is damaged; without the file the process finds the others by --bootstrap")

// ErrNoAddress reports a process that the book does not have.
var ErrNoAddress = errors.New("no address of this process in the book")

// New reads the kept book; none is an empty one. It announces and starts nothing. The caller calls Close.
func New(cfg Config) (*Links, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Links{cfg: cfg, expelled: make(chan struct{}), news: make(chan struct{}, 1)}
	l.mu.fresh, l.mu.links, l.mu.failing = map[string]bool{}, map[string]*rpc.Link{}, map[string]Failure{}
	l.mu.changed = make(chan struct{})
	data, err := vfs.ReadFile(cfg.FS, cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		l.mu.book, err = parse(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.File, err)
	}
	return l, nil
}

// format of the file; one of another number is refused.
const format = 1

type kept struct {
	Format    int                     `json:"format"`
	Processes map[string]book.Address `json:"processes"`
}

func parse(data []byte) (book.Book, error) {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return book.Book{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if k.Format != format {
		return book.Book{}, fmt.Errorf("%w: format %d, this version reads %d", ErrDamaged, k.Format, format)
	}
	return book.New(k.Processes), nil
}

func encode(b book.Book) ([]byte, error) {
	data, err := json.MarshalIndent(kept{format, b.Entries()}, "", "  ")
	return append(data, '\n'), err
}

// Book is the present one.
func (l *Links) Book() book.Book {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.book
}

// Changed gives the present book and a channel that is closed when there is another one.
func (l *Links) Changed() (book.Book, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.book, l.mu.changed
}

// Expelled is closed when a rumour says that this process was taken out of the cluster.
func (l *Links) Expelled() <-chan struct{} { return l.expelled }

// Reset forgets every process, as one does that leaves its cluster for another one.
func (l *Links) Reset() error { return l.change(func(book.Book) book.Book { return book.Book{} }) }

// Announce makes this process known to the others as one that belongs, with what it says of itself. It outbids whatever
// is said of it elsewhere. Once it was taken out it has nothing more to say.
func (l *Links) Announce(member bool) error {
	return l.change(func(b book.Book) book.Book {
		if l.mu.out {
			return b
		}
		l.mu.present, l.mu.member = true, member
		return l.announced(b)
	})
}

// announced is b with the own entry. Lock held.
func (l *Links) announced(b book.Book) book.Book {
	return b.Announce(l.cfg.Self, book.Address{Addr: l.cfg.Addr, Peer: l.cfg.Peer, Member: l.mu.member}, uint64(l.cfg.Now().UnixMicro()))
}

// Learn merges what others say. Where somebody holds a newer entry of this very process, from an earlier life at another
// address, it is outbid; unless it says that the process was taken out.
func (l *Links) Learn(other book.Book) error {
	return l.change(func(b book.Book) book.Book {
		merged, changed := b.Merge(other)
		if !l.mu.present || !slices.Contains(changed, l.cfg.Self) {
			return merged
		}
		if self, _ := merged.Lookup(l.cfg.Self); self.Removed {
			l.mu.present, l.mu.out = false, true
			close(l.expelled)
			return merged
		}
		return l.announced(merged)
	})
}

// Expel marks another process as taken out, for all to know.
func (l *Links) Expel(process string) error {
	if process == l.cfg.Self {
		return errors.New("a process does not take itself out of the book")
	}
	return l.change(func(b book.Book) book.Book { return b.Remove(process) })
}

// change replaces the book: first on the disk, then here, then in the connections.
func (l *Links) change(next func(book.Book) book.Book) error {
	l.mu.Lock()
	was := l.mu.book.Entries()
	b := next(l.mu.book)
	if maps.Equal(was, b.Entries()) {
		l.mu.Unlock()
		return nil
	}
	err := l.persist(b)
	var moved, gone []*rpc.Link
	if err == nil {
		l.mu.book = b
		moved, gone = l.follow(was)
		close(l.mu.changed)
		l.mu.changed = make(chan struct{})
	}
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("persist the address book: %w", err)
	}
	// These ask for addresses and report attempts, so they must not be called under the lock.
	for _, link := range moved {
		link.Moved()
	}
	for _, link := range gone {
		_ = link.Close() // it has no more to say than that it is closed
	}
	select {
	case l.news <- struct{}{}:
	default:
	}
	return nil
}

// persist writes the book. On a full disk the rumours must do until there is room again.
func (l *Links) persist(b book.Book) error {
	data, err := encode(b)
	if err != nil {
		return err
	}
	err = vfs.WriteFileAtomic(l.cfg.FS, l.cfg.File, data)
	if vfs.IsNoSpace(err) {
		l.cfg.Log.Warn("the address book is not saved: the disk is full", "file", l.cfg.File)
		return nil
	}
	return err
}

// follow notes what differs from before, and answers the connections whose process has moved or is gone. Lock held.
func (l *Links) follow(was map[string]book.Address) (moved, gone []*rpc.Link) {
	now := l.mu.book.Entries()
	for id, a := range now {
		if was[id] == a {
			continue
		}
		l.mu.fresh[id] = true
		if id != l.cfg.Self {
			l.log(id, was[id], a)
		}
		if link, open := l.mu.links[id]; open && was[id].Addr != a.Addr {
			moved = append(moved, link)
		}
	}
	for id, link := range l.mu.links {
		if a, known := now[id]; !known || a.Removed {
			delete(l.mu.links, id)
			delete(l.mu.failing, id)
			gone = append(gone, link)
		}
	}
	return moved, gone
}

func (l *Links) log(id string, was, now book.Address) {
	switch {
	case now.Removed:
		l.cfg.Log.Info("process taken out of the cluster", "process", id)
	case was.Addr == "":
		l.cfg.Log.Info("process known", "process", id, "address", now.Addr)
	case was.Addr != now.Addr:
		l.cfg.Log.Info("process moved", "process", id, "address", now.Addr, "from", was.Addr)
	}
}

// Resolve answers where a process listens now.
func (l *Links) Resolve(process string) (string, error) {
	a, ok := l.Book().Lookup(process)
	if !ok || a.Removed || a.Addr == "" {
		return "", fmt.Errorf("process %s: %w", process, ErrNoAddress)
	}
	return a.Addr, nil
}

// ProcessOf names the process that hosts a data peer; in an all-in-one process the peer's id in decimal, also while the
// book does not have it.
func (l *Links) ProcessOf(peer topology.PeerID) string {
	id := strconv.FormatUint(uint64(peer), 10)
	b := l.Book()
	if a, ok := b.Lookup(id); ok && a.Peer == peer {
		return id
	}
	for _, p := range b.Processes() {
		if a, _ := b.Lookup(p); a.Peer == peer {
			return p
		}
	}
	return id
}

// errClosed is the answer after Close.
var errClosed = errors.New("the connections to other processes are closed")

// To is the connection to another process. It is made at the first call and lasts as long as the process belongs; calls
// fail with UNAVAILABLE while it cannot be reached.
func (l *Links) To(process string) (*rpc.Link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return nil, errClosed
	}
	if link, ok := l.mu.links[process]; ok {
		return link, nil
	}
	if a, _ := l.mu.book.Lookup(process); a.Removed {
		return nil, fmt.Errorf("process %s was taken out of the cluster: %w", process, ErrNoAddress)
	}
	options := l.cfg.Dial
	options.To = process
	link, err := rpc.NewLink(rpc.LinkOptions{
		DialOptions: options,
		Resolve:     func() (string, error) { return l.Resolve(process) },
		Dialled:     func(addr string, err error) { l.dialled(process, addr, err) },
	})
	if err != nil {
		return nil, fmt.Errorf("process %s: %w", process, err)
	}
	l.mu.links[process] = link
	return link, nil
}

func (l *Links) dialled(process, addr string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.mu.failing, process)
		return
	}
	if _, open := l.mu.links[process]; open {
		l.mu.failing[process] = Failure{Addr: addr, Count: l.mu.failing[process].Count + 1, Err: err, At: l.cfg.Now()}
	}
}

// Failing are the processes that could not be reached at the last attempt, and why.
func (l *Links) Failing() map[string]Failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.mu.failing)
}

// Close ends all connections.
func (l *Links) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.closed = true
	var errs []error
	for _, link := range l.mu.links {
		errs = append(errs, link.Close())
	}
	l.mu.links = map[string]*rpc.Link{}
	return errors.Join(errs...)
}

// others are the processes to talk to: all of them or, among many, so many at random.
func (l *Links) others(most int) []string {
	ids := slices.DeleteFunc(l.Book().Processes(), func(id string) bool { return id == l.cfg.Self })
	if len(ids) > most {
		rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		ids = ids[:most]
	}
	return ids
}
