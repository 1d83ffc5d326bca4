package member

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// MaxLearners is how many members may follow without a vote.
const MaxLearners = 2

// Info is one member of the cluster.
type Info struct {
	ID      uint64
	Process string // stable id of the process that hosts it, or is to
	Learner bool
	Started bool // it has run: without its data it can never be this member again
}

// ErrNotReady reports a learner that has not caught up.
var ErrNotReady = errors.New("member: the learner has not caught up yet")

func urlOf(process string) string { return "unix://" + nameOf(process) }

// processFrom reads the process out of a member's URL, which is known before the member has published its name.
func processFrom(urls []string, name string) string {
	if len(urls) == 0 {
		return name
	}
	process, found := strings.CutSuffix(strings.TrimPrefix(urls[0], "unix://"), nameOf(""))
	if !found {
		return name
	}
	return process
}

// processesOf lists the processes of all members as this one has applied them.
func processesOf(e *embed.Etcd) []string {
	var out []string
	for _, m := range e.Server.Cluster().Members() {
		out = append(out, processFrom(m.PeerURLs, m.Name))
	}
	return out
}

// running is the client of a member that is ready.
func (m *Member) running() (*clientv3.Client, error) {
	if c := m.client.Load(); c != nil {
		return c, nil
	}
	return nil, ErrStopped
}

// List reads the members linearizably: what was added or removed before the call is seen.
func (m *Member) List(ctx context.Context) ([]Info, error) {
	c, err := m.running()
	if err != nil {
		return nil, err
	}
	resp, err := c.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("member: list: %w", err)
	}
	return infos(resp.Members), nil
}

func infos(members []*etcdserverpb.Member) []Info {
	out := make([]Info, 0, len(members))
	for _, o := range members {
		out = append(out, Info{ID: o.GetID(), Process: processFrom(o.GetPeerURLs(), o.GetName()), Learner: o.GetIsLearner(), Started: o.GetName() != ""})
	}
	return out
}

// AddLearner adds a process as a member without a vote. One that was a member less than a second ago is refused: etcd makes the
// ids of members from names and seconds, and takes no removed one back.
func (m *Member) AddLearner(ctx context.Context, process string) (id uint64, err error) {
	c, err := m.running()
	if err != nil {
		return 0, err
	}
	if err := m.meet([]string{process}); err != nil {
		return 0, err
	}
	resp, err := c.MemberAddAsLearner(ctx, []string{urlOf(process)})
	if err != nil {
		return 0, fmt.Errorf("member: add %s: %w", process, err)
	}
	return resp.Member.GetID(), nil
}

// Promote gives a learner its vote. ErrNotReady while it has not caught up.
func (m *Member) Promote(ctx context.Context, id uint64) error {
	c, err := m.running()
	if err != nil {
		return err
	}
	_, err = c.MemberPromote(ctx, id)
	if errors.Is(err, rpctypes.ErrMemberLearnerNotReady) || errors.Is(err, rpctypes.ErrGRPCLearnerNotReady) {
		return ErrNotReady
	}
	if err != nil {
		return fmt.Errorf("member: promote %x: %w", id, err)
	}
	return nil
}

// Remove takes a member out; one that is not there is no error.
func (m *Member) Remove(ctx context.Context, id uint64) error {
	c, err := m.running()
	if err != nil {
		return err
	}
	_, err = c.MemberRemove(ctx, id)
	if err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
		return fmt.Errorf("member: remove %x: %w", id, err)
	}
	return nil
}

// MoveLeader hands the leadership of this member to another voter. One that got its vote just now may not know that yet, and
// does not take it: try again.
func (m *Member) MoveLeader(ctx context.Context, to uint64) error {
	c, err := m.running()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*m.cfg.Election) // after one, raft has given it up
	defer cancel()
	if _, err := c.MoveLeader(ctx, to); err != nil {
		return fmt.Errorf("member: hand the leadership to %x: %w", to, err)
	}
	return nil
}

// HasData tells whether a member lives, or lived last, in the folder.
func HasData(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, "etcd", "member", "wal"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Empty forgets the member that lived in the folder, which must not run; the identity stays. A member that forgets must never
// come back under its old id: only one that was removed for good is emptied.
func Empty(dir string) error {
	data, gone := filepath.Join(dir, "etcd"), filepath.Join(dir, "etcd.gone")
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(data, gone); err != nil { // at once, so that no half of it is ever taken for a member
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return errors.Join(syncDir(dir), os.RemoveAll(gone))
}
