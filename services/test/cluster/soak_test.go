//go:build !race

package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pandodb/pando/services/internal/vfs/memfs"
)

// TestSoak hurts one peer after the other, in every way there is here, while
// clients write through all of them; then every replica is read. PANDO_SOAK_SEEDS
// runs of PANDO_SOAK_SEED and later; a run does not replay, its faults do.
func TestSoak(t *testing.T) {
	first, seeds := number(t, "PANDO_SOAK_SEED", 1), number(t, "PANDO_SOAK_SEEDS", 2)
	for seed := first; seed < first+seeds; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			live(t, 3, func(t *testing.T, s *street, hs []*house) {
				k := &soak{t: t, s: s, hs: hs, rng: rand.New(rand.NewPCG(seed, 7)), copies: 2 + int(seed%2)}
				k.run()
			}, smallLogs)
		})
	}
}

func number(t *testing.T, name string, def uint64) uint64 {
	v := os.Getenv(name)
	if v == "" {
		return def
	}
	n, err := strconv.ParseUint(v, 10, 64)
	must(t, err)
	return n
}

type soak struct {
	t      *testing.T
	s      *street
	hs     []*house
	rng    *rand.Rand
	copies int
	did    []string
	mu     sync.Mutex // guards the slots of hs
}

func (k *soak) run() {
	k.hs[0].ok("PUT", "/collections/c", small(4, k.copies))
	l := newLedger()
	defer func() {
		k.t.Logf("%v; %d writes, %d acknowledged points, %d failed, longest %v: %.120q", k.did, l.writes, len(l.acked), len(l.failed), l.longest, l.failed[:min(2, len(l.failed))])
	}()
	l.through("c", k.house, func() {
		for range 8 {
			k.wait(1500)
			i := k.rng.IntN(len(k.hs))
			k.hurt(i)
			whole(k.t, k.hs, "c", k.copies)
		}
	})
	whole(k.t, k.hs, "c", k.copies)
	l.check(k.t, k.hs, "c")
}

// house is one that a client would write through.
func (k *soak) house(i int) *house {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.hs[i%len(k.hs)]
}

// back puts a peer in the place of an earlier life.
func (k *soak) back(i int, h *house) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hs[i] = h
}

func (k *soak) wait(atMostMS int) { pass(time.Duration(1+k.rng.IntN(atMostMS)) * time.Millisecond) }

// hurt does something to a peer and undoes it.
func (k *soak) hurt(i int) {
	h := k.hs[i]
	hurts := []struct {
		name string
		do   func()
	}{
		{"power", func() { disk := h.powerCut(); k.wait(6000); k.back(i, k.s.begin(disk)) }},
		{"leave", func() { h.leave(); k.wait(3000); k.back(i, k.s.begin(h.fsys)) }},
		{"cut", func() { k.s.cut(h, true); k.wait(14000); k.s.cut(h, false) }},
		{"control plane", func() { k.s.memory.SetDown(true); k.wait(5000); k.s.memory.SetDown(false) }},
		{"full disk", func() {
			disk := h.fsys.(*memfs.FS)
			u, err := disk.DiskUsage(dataDir)
			must(k.t, err)
			disk.SetCapacity(u.Total - u.Avail)
			k.wait(4000)
			disk.SetCapacity(0)
		}},
		{"lost disk", func() {
			pass(5 * time.Second) // a verdict may be on its way that leaves this one as the last
			whole(k.t, k.hs, "c", k.copies)
			h.crash()
			k.wait(5000)
			k.s.config.PeerID = h.data.Self()
			k.back(i, k.s.begin(memfs.New()))
			k.s.config.PeerID = 0
		}},
		{"power of two", func() { // the second goes before the first is whole; both come back
			j := (i + 1) % len(k.hs)
			a := h.powerCut()
			k.wait(3000)
			b := k.hs[j].powerCut()
			k.wait(3000)
			k.back(i, k.s.begin(a))
			k.wait(3000)
			k.back(j, k.s.begin(b))
		}},
	}
	one := hurts[k.rng.IntN(len(hurts))]
	k.did = append(k.did, fmt.Sprintf("%s %d", one.name, i))
	one.do()
}
