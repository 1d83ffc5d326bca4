package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/boot"
	"github.com/pandodb/pando/services/internal/topology"
	"github.com/pandodb/pando/services/internal/wire"
)

type importOptions struct {
	collection, vectors, jsonl, idField, distance string
	shards                                        uint32
	batch, parallel, skip, limit                  int
	resume                                        bool
	conn                                          *connection
}

func importCommand(w IO) *cobra.Command {
	o := &importOptions{}
	c := &cobra.Command{
		Use:   "import",
		Short: "Load points from files into a collection",
		Long: `Load points into a collection, which is made when it is not there. Files may be gzipped.

Vectors come from a .npy or .fvecs matrix (--vectors), one row a point, or stand in the lines of --jsonl as "vector".
--jsonl has one JSON object a line. Its member "id" (--id-field) is the point's id, a number or a UUID; without one the
number of the row is, from 0 on. Of what is left, "payload" is the payload where it is there, and all of it otherwise.

Every batch is acknowledged before it counts. Batches that fail because a peer is away are sent again, which is safe:
storing a point twice is storing it once. So is running the same command again after a load broke off, in whatever way:
it stores all points anew, or with --resume those whose ids the collection does not hold yet, which is faster. --resume
asks the collection and needs no record of how far the load came; a point counts as stored whatever it holds.`,
		Example: `  pando import --collection words --vectors base.f16.npy.gz --jsonl base.jsonl.gz
  pando import --collection docs --jsonl points.jsonl --distance Dot --shard-number 6
  pando import --collection sift --vectors base.fvecs --distance Euclid
  pando import --collection sift --vectors base.fvecs --distance Euclid --resume`,
	}
	f := c.Flags()
	f.StringVar(&o.collection, "collection", "", "collection to fill (needed)")
	f.StringVar(&o.vectors, "vectors", "", "matrix of vectors: .npy or .fvecs, or one of them with .gz")
	f.StringVar(&o.jsonl, "jsonl", "", "payloads or whole points, .jsonl or .jsonl.gz")
	f.StringVar(&o.idField, "id-field", "id", "member of a line that is the id")
	f.StringVar(&o.distance, "distance", "Cosine", "Cosine, Dot, Euclid or Manhattan, for a collection that is made")
	f.Uint32Var(&o.shards, "shard-number", 0, "shards, for a collection that is made; 0: one per peer")
	f.IntVar(&o.batch, "batch", 500, "points per request")
	f.IntVar(&o.parallel, "parallel", 4, "requests at a time")
	f.BoolVar(&o.resume, "resume", false, "leave out points whose ids are in the collection already")
	f.IntVar(&o.skip, "skip", 0, "leave out so many points at the start")
	f.IntVar(&o.limit, "limit", 0, "stop after so many points; 0: all")
	o.conn = connectionFlags(c, w)
	o.conn.timeout = time.Minute
	f.Lookup("timeout").DefValue = "1m0s"
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt) // the first one lets the load tell how far it got
		defer stop()
		return o.run(ctx, c.ErrOrStderr())
	}
	return c
}

func (o *importOptions) check() error {
	switch {
	case o.collection == "":
		return errors.New("--collection is needed")
	case o.vectors == "" && o.jsonl == "":
		return errors.New("--vectors or --jsonl is needed")
	case o.batch < 1 || o.parallel < 1 || o.skip < 0:
		return errors.New("--batch and --parallel must be at least 1, --skip not negative")
	case qdrant.Distance_value[o.distance] == 0:
		return fmt.Errorf("--distance %s: must be Cosine, Dot, Euclid or Manhattan", o.distance)
	}
	return nil
}

func (o *importOptions) run(ctx context.Context, progress io.Writer) error {
	if err := o.check(); err != nil {
		return boot.Exit(boot.ExitUsage, err)
	}
	src, err := openPoints(o.vectors, o.jsonl, o.idField)
	if err != nil {
		return err
	}
	defer src.close()
	cc, err := o.conn.dial()
	if err != nil {
		return err
	}
	defer cc.Close()

	total, err := o.forward(src)
	if err != nil {
		return err
	}
	bar := newBar(progress, total)
	points := qdrant.NewPointsClient(cc)
	batches := make(chan []*qdrant.PointStruct)
	var stored, found atomic.Int64
	start := time.Now()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(batches)
		made := false
		return o.read(src, func(batch []*qdrant.PointStruct) error {
			if !made {
				if err := o.ensure(ctx, qdrant.NewCollectionsClient(cc), dimension(batch[0])); err != nil {
					return err
				}
				made = true
			}
			select {
			case batches <- batch:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for range o.parallel {
		g.Go(func() error {
			for batch := range batches {
				missing, err := o.missing(ctx, points, batch)
				if err == nil && len(missing) > 0 {
					err = o.store(ctx, points, missing)
				}
				if err != nil {
					return err
				}
				found.Add(int64(len(batch) - len(missing)))
				stored.Add(int64(len(missing)))
				bar.add(len(batch))
			}
			return nil
		})
	}
	err = g.Wait()
	bar.end()
	o.report(progress, stored.Load(), found.Load(), time.Since(start))
	if err != nil && stored.Load()+found.Load() > 0 {
		return fmt.Errorf("%w\nwhat was acknowledged is stored: the same command with --resume goes on", err)
	}
	return err
}

func (o *importOptions) report(w io.Writer, stored, found int64, took time.Duration) {
	there := ""
	if o.resume {
		there = fmt.Sprintf("; %d were there", found)
	}
	fmt.Fprintf(w, "%d points acknowledged in %s in %v (%.0f/s)%s\n", stored, o.collection, took.Round(time.Millisecond), float64(stored)/took.Seconds(), there)
}

// missing gives the points of a batch that are to be stored: all, or with --resume those whose ids are not there.
// Which of a broken load's batches arrived follows from no count: several were under way, each to several shards.
func (o *importOptions) missing(ctx context.Context, c qdrant.PointsClient, batch []*qdrant.PointStruct) ([]*qdrant.PointStruct, error) {
	if !o.resume {
		return batch, nil
	}
	req := &qdrant.GetPoints{CollectionName: o.collection,
		WithPayload: &qdrant.WithPayloadSelector{SelectorOptions: &qdrant.WithPayloadSelector_Enable{}},
		WithVectors: &qdrant.WithVectorsSelector{SelectorOptions: &qdrant.WithVectorsSelector_Enable{}}}
	for _, p := range batch {
		req.Ids = append(req.Ids, p.GetId())
	}
	there := map[topology.PointID]bool{}
	err := o.persist(ctx, func(ctx context.Context) error {
		r, err := c.Get(ctx, req)
		for _, p := range r.GetResult() {
			if id, err := wire.PointID(p.GetId()); err == nil {
				there[id] = true
			}
		}
		return err
	})
	return slices.DeleteFunc(slices.Clone(batch), func(p *qdrant.PointStruct) bool {
		id, err := wire.PointID(p.GetId()) // a UUID may be written in several ways
		return err == nil && there[id]
	}), err
}

// forward leaves out what is to be skipped, and tells how many points will come; -1: not known.
func (o *importOptions) forward(src *pointSource) (int, error) {
	for range o.skip {
		if _, err := src.next(); err == io.EOF {
			return 0, fmt.Errorf("--skip %d: there are only %d points", o.skip, src.row-1)
		} else if err != nil {
			return 0, err
		}
	}
	total := src.total
	if total >= 0 {
		total -= o.skip
	}
	if o.limit > 0 && (total < 0 || o.limit < total) {
		total = o.limit
	}
	return total, nil
}

// read cuts the source into batches.
func (o *importOptions) read(src *pointSource, send func([]*qdrant.PointStruct) error) error {
	var batch []*qdrant.PointStruct
	for n := 0; o.limit <= 0 || n < o.limit; n++ {
		p, err := src.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if batch = append(batch, p); len(batch) == o.batch {
			if err := send(batch); err != nil {
				return err
			}
			batch = nil
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return send(batch)
}

// ensure makes the collection when it is not there.
func (o *importOptions) ensure(ctx context.Context, c qdrant.CollectionsClient, dim int) error {
	var there bool
	err := o.conn.call(ctx, func(ctx context.Context) error {
		r, err := c.CollectionExists(ctx, &qdrant.CollectionExistsRequest{CollectionName: o.collection})
		there = r.GetResult().GetExists()
		return err
	})
	if err != nil || there {
		return err
	}
	if dim == 0 {
		return boot.Exit(boot.ExitUsage, fmt.Errorf("collection %s does not exist, and the first point has no vector to tell its size", o.collection))
	}
	req := &qdrant.CreateCollection{CollectionName: o.collection, VectorsConfig: &qdrant.VectorsConfig{Config: &qdrant.VectorsConfig_Params{
		Params: &qdrant.VectorParams{Size: uint64(dim), Distance: qdrant.Distance(qdrant.Distance_value[o.distance])}}}}
	if o.shards > 0 {
		req.ShardNumber = &o.shards
	}
	return o.conn.call(ctx, func(ctx context.Context) error {
		_, err := c.Create(ctx, req)
		return err
	})
}

// store sends a batch until it is acknowledged.
func (o *importOptions) store(ctx context.Context, c qdrant.PointsClient, batch []*qdrant.PointStruct) error {
	wait := true
	return o.persist(ctx, func(ctx context.Context) error {
		_, err := c.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: o.collection, Wait: &wait, Points: batch})
		return err
	})
}

// persist sends a request again while peers are away, for as long as the timeout allows.
func (o *importOptions) persist(ctx context.Context, send func(context.Context) error) error {
	return o.conn.call(ctx, func(ctx context.Context) error {
		pause := 100 * time.Millisecond
		for {
			err := send(ctx)
			if code := status.Code(err); code != codes.Unavailable && code != codes.Aborted {
				return err
			}
			t := time.NewTimer(pause)
			select {
			case <-t.C:
				pause = min(2*pause, 2*time.Second)
			case <-ctx.Done():
				t.Stop()
				return err
			}
		}
	})
}

// bar shows progress on a terminal, and nothing elsewhere: the last line tells all that a log needs.
type bar struct {
	b *progressbar.ProgressBar
	w io.Writer
}

func newBar(w io.Writer, total int) bar {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return bar{}
	}
	return bar{w: w, b: progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("points"), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth())}
}

func (b bar) add(n int) {
	if b.b != nil {
		_ = b.b.Add(n) // a bar that cannot be drawn is no reason to stop
	}
}

func (b bar) end() {
	if b.b != nil {
		_ = b.b.Finish() // as above
		fmt.Fprintln(b.w)
	}
}
