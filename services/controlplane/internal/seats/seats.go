// Package seats keeps the number of the control plane's voters odd by itself: it decides which processes run a member and
// which of those vote. What to do is a pure function of what the leader sees (decide.go); the loop around it looks, decides
// and does one step after the other while its process leads.
//
// Raft orders the steps, and each leaves a situation from which anybody goes on: a leader that is killed, or deposed
// without knowing it, in the middle of a sequence does no harm to its successor. A process starts, stops and empties its
// member by itself; this package only changes who is one.
package seats

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pandodb/pando/services/controlplane/internal/member"
)

// Members is what the loop changes; *member.Member is one.
type Members interface {
	// Position is the member in this process and the raft index that it has applied.
	Position() (id, applied uint64)
	List(ctx context.Context) ([]member.Info, error)
	AddLearner(ctx context.Context, process string) (id uint64, err error)
	Promote(ctx context.Context, id uint64) error
	Remove(ctx context.Context, id uint64) error
	MoveLeader(ctx context.Context, to uint64) error
}

// Report is what a process answers when the leader looks at it.
type Report struct {
	Member  uint64 // that it runs; 0 = none
	Applied uint64
	Ready   bool
	Vacant  bool // it has no data of any member
}

// Config of a loop.
type Config struct {
	Members Members
	// Leads answers whether this process leads, and a channel that is closed when that changes.
	Leads func() (bool, <-chan struct{})
	// Processes lists those that are known, as of a linearizable read for those that do not belong.
	Processes func(ctx context.Context) ([]Process, error)
	// Census is another number whenever a process or a session came or went; the channel is closed when it may be.
	Census func() (int64, <-chan struct{})
	// Look asks a process what it runs; it is told which member it should be.
	Look func(ctx context.Context, process string, member uint64) (Report, error)
	// Gone is told of each process that does not belong and has no member any more.
	Gone   func(process string) error
	Logger *slog.Logger
}

// Loop works while its process leads. Make it with New.
type Loop struct {
	cfg Config
	mu  struct {
		sync.Mutex
		leads bool
		even  string
		up    map[uint64]bool
	}
}

// New starts nothing.
func New(cfg Config) *Loop { return &Loop{cfg: cfg} }

const (
	// lookWithin bounds how long a process has to say what it runs.
	lookWithin = 500 * time.Millisecond
	// actWithin bounds a step.
	actWithin = 5 * time.Second
	// settled and unsettled are the pauses between two looks while nothing is left to do, and while something is awaited.
	settled, unsettled = time.Second, 200 * time.Millisecond
)

// Run works until ctx ends (nil).
func (l *Loop) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		leads, changed := l.cfg.Leads()
		if leads {
			l.office(ctx, changed)
		}
		l.note(Situation{}, "", false)
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	return nil
}

// office is one term; it ends when changed is closed and what is under way is done.
func (l *Loop) office(ctx context.Context, changed <-chan struct{}) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	var watch sync.WaitGroup
	defer watch.Wait()
	defer end()
	watch.Go(func() {
		select {
		case <-changed:
			end()
		case <-ctx.Done():
		}
	})
	failed := ""
	for ctx.Err() == nil {
		census, _ := l.cfg.Census()
		wait, err := l.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failed = ""
		case err.Error() != failed:
			failed = err.Error()
			l.cfg.Logger.Warn("the control plane's members cannot be changed now", "error", err)
		}
		l.pause(ctx, wait, census)
	}
}

// pause ends early when the census is another one than before the last look.
func (l *Loop) pause(ctx context.Context, wait time.Duration, before int64) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		census, changed := l.cfg.Census()
		if census != before {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			return
		case <-changed:
		}
	}
}

// turn looks once and does at most one step. It answers how long to wait before the next turn.
func (l *Loop) turn(ctx context.Context) (time.Duration, error) {
	s, err := l.look(ctx)
	if err != nil {
		return unsettled, err
	}
	step, even := Decide(s)
	l.note(s, even, true)
	if step.Act != Rest {
		if err := l.do(ctx, step); err != nil {
			if errors.Is(err, member.ErrNotReady) { // it has applied what we thought and not told etcd yet
				return unsettled, nil
			}
			return unsettled, err
		}
		return 0, nil
	}
	if err := l.dismiss(s); err != nil {
		return unsettled, err
	}
	if even != "" || unstarted(s) {
		return unsettled, nil
	}
	return settled, nil
}

// unstarted tells whether a learner has yet to catch up.
func unstarted(s Situation) bool {
	for _, m := range s.Members {
		if m.Learner && !m.Up {
			return true
		}
	}
	return false
}

func (l *Loop) look(ctx context.Context) (Situation, error) {
	ctx, cancel := context.WithTimeout(ctx, actWithin)
	defer cancel()
	infos, err := l.cfg.Members.List(ctx)
	if err != nil {
		return Situation{}, err
	}
	s := Situation{Members: make([]Member, len(infos))}
	s.Self, s.Applied = l.cfg.Members.Position()
	if s.Processes, err = l.cfg.Processes(ctx); err != nil {
		return Situation{}, err
	}
	var group errgroup.Group
	for i, info := range infos {
		m := &s.Members[i]
		*m = Member{ID: info.ID, Process: info.Process, Learner: info.Learner, Up: info.ID == s.Self, Applied: s.Applied}
		if m.Up {
			continue
		}
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, lookWithin)
			defer cancel()
			r, err := l.cfg.Look(ctx, info.Process, info.ID)
			m.Up, m.Applied = err == nil && r.Ready && r.Member == info.ID, r.Applied
			m.Lost = err == nil && r.Vacant && info.Started
			return nil
		})
	}
	return s, group.Wait()
}

func (l *Loop) do(ctx context.Context, step Step) error {
	act, cancel := context.WithTimeout(ctx, actWithin)
	defer cancel()
	text, added, err := "", uint64(0), error(nil)
	switch step.Act {
	case Add:
		text = "member added as learner"
		added, err = l.cfg.Members.AddLearner(act, step.Process)
	case Promote:
		text = "learner got its vote"
		err = l.cfg.Members.Promote(act, step.Member)
	case Remove:
		text = "member removed"
		err = l.cfg.Members.Remove(act, step.Member)
	case Hand:
		text = "leadership handed over"
		err = l.cfg.Members.MoveLeader(act, step.Member)
	}
	if err != nil {
		return err
	}
	l.cfg.Logger.Info(text, "process", step.Process, "why", step.Why)
	if step.Act == Add { // so that it asks for its seat at once; it would do so by itself later
		ctx, cancel := context.WithTimeout(ctx, lookWithin)
		defer cancel()
		if _, err := l.cfg.Look(ctx, step.Process, added); err != nil {
			l.cfg.Logger.Debug("the new learner does not answer", "process", step.Process, "error", err)
		}
	}
	return nil
}

// dismiss tells of the processes that do not belong and have no member.
func (l *Loop) dismiss(s Situation) error {
	seated := map[string]bool{}
	for _, m := range s.Members {
		seated[m.Process] = true
	}
	for _, p := range s.Processes {
		if !p.Belongs && !seated[p.ID] {
			if err := l.cfg.Gone(p.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Loop) note(s Situation, even string, leads bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if even != l.mu.even && leads {
		if even != "" {
			l.cfg.Logger.Info("the number of voters is even", "why", even)
		} else {
			l.cfg.Logger.Info("the number of voters is odd again", "members", len(s.Members))
		}
	}
	l.mu.leads, l.mu.even, l.mu.up = leads, even, map[uint64]bool{}
	for _, m := range s.Members {
		l.mu.up[m.ID] = m.Up
	}
}

// Seen answers what the loop saw last: which members answer, and why the number of voters is even. false while it does not
// lead.
func (l *Loop) Seen() (up map[uint64]bool, even string, leads bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.up, l.mu.even, l.mu.leads
}
