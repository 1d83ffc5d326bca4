package node

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/op"
	"github.com/pandodb/pando/services/dataplane/internal/replica"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/vfs"
	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// glass shows nothing, and remembers what it was given to show.
type glass struct{ laid []op.ID }

func (g *glass) Lay(es []op.Entry) error {
	for _, e := range es {
		g.laid = append(g.laid, e.ID)
	}
	return nil
}

func (g *glass) Lift(ids []op.ID) error {
	g.laid = slices.DeleteFunc(g.laid, func(id op.ID) bool { return slices.Contains(ids, id) })
	return nil
}

func provisionalEntry(n topology.Seq, part uint32) op.Entry {
	return op.Entry{Term: topology.Term{Epoch: 1, Run: 1}, Seq: n, HLC: op.MakeHLC(uint64(n), 0), Origin: 2, ID: op.ID{Request: [16]byte{byte(n)}, Part: part}, Body: []byte{byte(n), 2, 3}}
}

// TestProvisionalOutlivesPowerCuts: what Keep said is kept is there after a power cut at
// any later moment, until it is released, and never comes back after that.
func TestProvisionalOutlivesPowerCuts(t *testing.T) {
	id := topology.Shard{Collection: 5, ID: 1}
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 9))
		mem := memfs.New()
		must(t, errors.Join(mem.MkdirAll("/r", 0o750), vfs.SyncDir(mem, "/")))
		open := func() (*provisional, []op.Entry, topology.Seq) {
			p, err := openProvisional(mem, "/r", id, &glass{})
			must(t, err)
			es, end, err := p.Load()
			must(t, err)
			return p, es, end
		}
		p, es, end := open()
		if len(es) != 0 || end != 0 || holdsProvisional(mem, "/r", id) {
			t.Fatalf("a new folder has %d operations up to %d", len(es), end)
		}
		var kept []topology.Seq
		released := topology.Seq(0)
		for range 30 {
			switch rng.IntN(4) {
			case 0, 1:
				var batch []op.Entry
				for range 1 + rng.IntN(3) {
					end++
					batch = append(batch, provisionalEntry(end, op.LastPart))
					kept = append(kept, end)
				}
				must(t, p.Keep(batch))
			case 2:
				if len(kept) == 0 {
					continue
				}
				n := 1 + rng.IntN(len(kept))
				released = kept[n-1]
				kept = kept[n:]
				must(t, p.Lift(nil, released))
			default:
				must(t, p.Close())
				mem = mem.CrashClone(rng)
				var found []op.Entry
				var last topology.Seq
				p, found, last = open()
				if last != end {
					t.Fatalf("seed %d: the list ends at %d, not %d", seed, last, end)
				}
				if len(kept) == 0 && len(found) != 0 || holdsProvisional(mem, "/r", id) != (len(found) > 0) {
					t.Fatalf("seed %d: all was released, and %d came back", seed, len(found))
				}
				for _, n := range kept {
					if !slices.ContainsFunc(found, func(e op.Entry) bool { return e.Seq == n && e.Body[0] == byte(n) }) {
						t.Fatalf("seed %d: %d was kept and is lost", seed, n)
					}
				}
			}
		}
		must(t, p.Close())
	}
}

// TestProvisionalInParts: of an operation that lacks its last part nothing is shown.
func TestProvisionalInParts(t *testing.T) {
	mem := memfs.New()
	must(t, errors.Join(mem.MkdirAll("/r", 0o750), vfs.SyncDir(mem, "/")))
	id := topology.Shard{Collection: 5, ID: 1}
	p, err := openProvisional(mem, "/r", id, &glass{})
	must(t, err)
	must(t, p.Keep([]op.Entry{provisionalEntry(1, 0), provisionalEntry(2, op.LastPart)}))
	must(t, p.Close())
	over := &glass{}
	p, err = openProvisional(mem, "/r", id, over)
	must(t, err)
	if _, _, err := p.Load(); err != nil || len(over.laid) != 1 || over.laid[0] != (op.ID{Request: [16]byte{2}, Part: op.LastPart}) {
		t.Errorf("shown: %v, %v", over.laid, err)
	}
	mem.SetCapacity(1) // less than is used
	big := provisionalEntry(3, op.LastPart)
	big.Body = make([]byte, 8<<20)
	if err := p.Keep([]op.Entry{big}); !errors.Is(err, replica.ErrNoSpace) {
		t.Errorf("on a full disk: %v", err)
	}
	must(t, p.Close())
}
