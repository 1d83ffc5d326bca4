package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pandodb/pando/gen/go/qdrant"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// burst is the number of points in one request of the second load.
const burst = 20

// ledger is what one writer knows about its points: which generation of each was acknowledged, and which was sent last.
// A point may hold anything from the first to the second; less is a lost write, more was never written.
type ledger struct {
	first       uint64 // id of its first point
	acked, sent []uint64
}

// second stores points in another collection with many writers, every third request writing the points of the one before
// once more, every other one not waiting for the points to be searchable. In the middle of that the peer is killed.
func (s *show) second(ctx context.Context) ([]*ledger, error) {
	if err := s.create(ctx, again); err != nil {
		return nil, err
	}
	var acked atomic.Int64
	var killed atomic.Bool
	enough := make(chan struct{}, 1)
	ledgers := make([]*ledger, s.writers)
	begin := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	for w := range ledgers {
		l := &ledger{first: uint64(w) * 1e9}
		ledgers[w] = l
		g.Go(func() error {
			for n := 0; ; n++ {
				err := s.write(gctx, l, n)
				if err == nil {
					if acked.Add(burst) >= int64(s.killAfter) {
						select {
						case enough <- struct{}{}:
						default:
						}
					}
					continue
				}
				if code := status.Code(err); killed.Load() && (code == codes.Unavailable || code == codes.Canceled || code == codes.DeadlineExceeded) {
					return nil
				}
				return fmt.Errorf("the second load: %w", err)
			}
		})
	}
	g.Go(func() error {
		select {
		case <-enough:
		case <-gctx.Done():
			return gctx.Err()
		}
		killed.Store(true)
		return s.peer.Kill()
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	say("kill -9", "with %d writers at work, after %d acknowledged upserts of the second load, every third of a point that was there (%.0f/s in requests of %d)", s.writers, acked.Load(),
		float64(acked.Load())/time.Since(begin).Seconds(), burst)
	s.peer = nil
	return ledgers, s.down()
}

// write sends the n-th request of a writer.
func (s *show) write(ctx context.Context, l *ledger, n int) error {
	from := len(l.sent)
	if n%3 == 2 {
		from -= burst
	} else {
		l.sent, l.acked = append(l.sent, make([]uint64, burst)...), append(l.acked, make([]uint64, burst)...)
	}
	return s.upsert(ctx, s.points(), l, from, n%2 == 0)
}

// upsert sends a burst of points in their next generations, from one on.
func (s *show) upsert(ctx context.Context, to qdrant.PointsClient, l *ledger, from int, wait bool) error {
	req := &qdrant.UpsertPoints{CollectionName: again, Wait: &wait}
	for i := from; i < from+burst; i++ {
		l.sent[i]++
		req.Points = append(req.Points, s.version(l.first+uint64(i), l.sent[i]))
	}
	if _, err := to.Upsert(ctx, req); err != nil {
		return err
	}
	for i := from; i < from+burst; i++ {
		l.acked[i] = l.sent[i]
	}
	return nil
}

// version is the point of the second load with this id in this generation: another word each time.
func (s *show) version(id, generation uint64) *qdrant.PointStruct {
	row := (id + 7919*generation) % uint64(len(s.data.base))
	payload := s.data.words[row].payload()
	payload["generation"] = whole(int64(generation))
	return point(id, s.data.base[row], payload)
}

// tally counts the points that were acknowledged.
type tally struct {
	acked, found, missing, stale, wrong int
}

func (t tally) lost() int { return t.missing + t.stale + t.wrong }

// audit reads every acknowledged point of both loads back and compares payload and vector.
func (s *show) audit(ctx context.Context, ledgers []*ledger) error {
	var t tally
	base := make([]uint64, len(s.data.base))
	for i := range base {
		base[i] = uint64(i)
	}
	err := s.look(ctx, words, base, func(id uint64, got *qdrant.RetrievedPoint) {
		t.count(got, 1, 1, 1, point(id, s.data.base[id], s.data.words[id].payload()))
	})
	for _, l := range ledgers {
		ids := make([]uint64, len(l.sent))
		for i := range ids {
			ids[i] = l.first + uint64(i)
		}
		err = errors.Join(err, s.look(ctx, again, ids, func(id uint64, got *qdrant.RetrievedPoint) {
			i := id - l.first
			is := uint64(got.GetPayload()["generation"].GetIntegerValue())
			t.count(got, is, l.acked[i], l.sent[i], s.version(id, is))
		}))
	}
	if err != nil {
		return err
	}
	say("audit", "points acknowledged %d, found as acknowledged %d, lost %d", t.acked, t.found, t.lost())
	if t.lost() > 0 {
		return fmt.Errorf("%d acknowledged points are missing, %d are older than acknowledged, %d are not what was written", t.missing, t.stale, t.wrong)
	}
	return nil
}

// count compares what is there (nil: nothing) with the generations that it may be of, and with how that one looks.
func (t *tally) count(got *qdrant.RetrievedPoint, is, acked, sent uint64, want *qdrant.PointStruct) {
	if acked > 0 {
		t.acked++
	}
	switch {
	case got == nil && acked == 0: // it was under way when the power went
	case got == nil:
		t.missing++
	case is < acked:
		t.stale++
	case is > sent || !same(got, want):
		t.wrong++
	case acked > 0:
		t.found++
	}
}

func same(got *qdrant.RetrievedPoint, want *qdrant.PointStruct) bool {
	if len(got.GetPayload()) != len(want.GetPayload()) {
		return false
	}
	for k, v := range want.GetPayload() {
		if !proto.Equal(got.GetPayload()[k], v) {
			return false
		}
	}
	return sameDirection(got.GetVectors().GetVector().GetDense().GetData(), want.GetVectors().GetVector().GetDense().GetData())
}

// look gets points in portions and shows each id to see, with nil for what is absent.
func (s *show) look(ctx context.Context, collection string, ids []uint64, see func(uint64, *qdrant.RetrievedPoint)) error {
	with := &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Enable{Enable: true}}
	all := &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{Enable: true}}
	for from := 0; from < len(ids); from += s.batch {
		part := ids[from:min(from+s.batch, len(ids))]
		req := &qdrant.GetPoints{CollectionName: collection, WithPayload: all, WithVectors: with}
		for _, id := range part {
			req.Ids = append(req.Ids, pointID(id))
		}
		r, err := s.points().Get(ctx, req)
		if err != nil {
			return fmt.Errorf("reading %s back: %w", collection, err)
		}
		there := make(map[uint64]*qdrant.RetrievedPoint, len(part))
		for _, p := range r.GetResult() {
			there[p.GetId().GetNum()] = p
		}
		for _, id := range part {
			see(id, there[id])
		}
	}
	return nil
}
