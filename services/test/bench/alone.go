package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// targets are the recalls that speeds are told at.
var targets = []float64{0.90, 0.95, 0.99}

// whole is the least recall of an exact search: the k-th and the next may differ by less than a float32 holds.
const whole = 0.999

// tables of a run without other libraries.
type tables struct{ builds, searches, codes, filters, sparse, curves table }

func newTables() *tables {
	return &tables{
		builds: table{title: "Building by all cores", file: "builds.csv", head: []string{"set", "rows", "dim", "engine", "adding s", "build s", "build CPU s", "index MB",
			"bytes/vector", "of raw + links"}},
		searches: table{title: "Searches at a recall@10", file: "searches.csv", head: []string{"set", "engine", "recall", "QPS 1 thread", "QPS 2 threads", "p50 µs", "p99 µs",
			"exact QPS"}},
		codes: table{title: "Codes with rescoring against the vectors themselves, at equal recall, by turns: more than 1 is faster", file: "codes.csv",
			head: []string{"set", "engine", "recall", "per CPU s", "by round"}},
		filters: table{title: "Filtered searches, one thread", file: "filters.csv", head: []string{"set", "engine", "filter", "share", "recall at default ef",
			"QPS at default ef", "QPS at recall 0.95", "exact QPS"}},
		sparse: table{title: "Sparse searches, top 10, one thread", file: "sparse.csv", head: []string{"set", "engine", "rows", "recall", "µs", "scan µs", "scan/search"}},
		curves: table{file: "curves.csv", head: []string{"set", "filter", "engine", "ef", "recall", "qps", "cpu_qps", "qps_2_threads", "p50_us", "p99_us"}},
	}
}

// alone measures our engine. What was measured before an error is printed.
func (o *options) alone(ctx context.Context, dirs []string) error {
	t := newTables()
	err := o.forEach(dirs, func(d *dataset) error {
		if err := o.plain(ctx, d, t); err != nil {
			return err
		}
		if len(d.filters) > 0 {
			if err := o.filtered(ctx, d, t); err != nil {
				return err
			}
		}
		if d.sparse != nil {
			if err := o.scattered(ctx, d, t); err != nil {
				o.gap(d.name+", sparse", err)
			}
		}
		return nil
	})
	err = errors.Join(err, printAll(o.out, &t.builds, &t.searches, &t.codes, &t.filters, &t.sparse), t.curves.write(o.out))
	if o.extras && err == nil {
		return o.rest(ctx, dirs)
	}
	return err
}

// forEach does something with one data set after the other.
func (o *options) forEach(dirs []string, do func(*dataset) error) error {
	for _, dir := range dirs {
		d, err := o.load(dir)
		if err == nil {
			err = do(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *options) load(dir string) (d *dataset, err error) {
	begin := time.Now()
	if d, err = load(dir, o.rows); err == nil {
		note("%s: %d rows, %d queries, %d filters read in %.1f s", d.name, len(d.base), len(d.queries), len(d.filters), time.Since(begin).Seconds())
	}
	return d, err
}

// with starts a driver of ours for the time of do.
func (o *options) with(ctx context.Context, do func(*driver) error) error {
	dr, err := o.driver(ctx, -1)
	if err != nil {
		return err
	}
	return errors.Join(do(dr), dr.stop())
}

// plain measures building, and searches without a filter: over the vectors and, where they are long, over codes of them by turns.
func (o *options) plain(ctx context.Context, d *dataset, t *tables) (err error) {
	kinds := []string{"", "scalar", "turbo"}
	if len(d.base[0]) < 256 {
		kinds = kinds[:1]
	}
	var g group
	defer func() { err = errors.Join(err, g.stop()) }()
	var builds []reply
	for _, quantization := range kinds {
		dr, err := o.driver(ctx, -1)
		if err != nil {
			return err
		}
		build := o.build(d, runtime.NumCPU())
		if build.Quantization = quantization; quantization != "" {
			dr.name += ", " + quantization
		}
		b, err := dr.ask(build)
		if err != nil {
			err = errors.Join(err, dr.stop())
			if quantization == "" {
				return err
			}
			o.gap(d.name+", "+quantization+" quantization", err)
			continue
		}
		note("%s: %s built in %.1f s", d.name, dr.name, b.Wall)
		g, builds = append(g, dr), append(builds, b)
	}
	var byThreads [2][][][]sample
	for i := range byThreads {
		if byThreads[i], err = g.rounds(o.rounds, o.efs(), func(dr *driver, ef int) (sample, error) {
			return o.measure(dr, d, nil, request{Ef: ef, Threads: i + 1})
		}); err != nil {
			return err
		}
	}
	for i, dr := range g {
		if err := o.report(dr, d, t, builds[i], medians(of(byThreads[0], i)), medians(of(byThreads[1], i))); err != nil {
			return err
		}
	}
	for i := 1; i < len(g); i++ {
		for _, r := range targets {
			all := ratios(of(byThreads[0], i), of(byThreads[0], 0), r, cpuQPS)
			t.codes.add(d.name, g[i].name, fmt.Sprintf("%.2f", r), median(all), list(all))
		}
	}
	return nil
}

// report fills the tables with one engine's figures.
func (o *options) report(dr *driver, d *dataset, t *tables, b reply, one, two []sample) error {
	name := dr.name
	exact, err := dr.ask(request{Do: "search", K: k, Exact: true, Queries: filterQueries})
	if err != nil {
		return err
	}
	if r, err := d.recall(exact.IDs, nil); err != nil || r < whole {
		return errors.Join(err, fmt.Errorf("%s: exact search has a recall of %v", d.name, r))
	}
	m, err := dr.ask(request{Do: "memory"})
	if err != nil {
		return err
	}
	rows, dim := len(d.base), len(d.base[0])
	bytes := float64(m.RSS-b.Before) / float64(rows)
	t.builds.add(d.name, rows, dim, name, b.Adding, b.Wall, b.CPU, float64(m.RSS-b.Before)/1e6, bytes, bytes/float64(4*dim+2*links*4))
	for _, r := range targets {
		speed, above := at(one, r, qps)
		both, _ := at(two, r, qps)
		t.searches.add(d.name, name, mark(fmt.Sprintf("%.2f", r), above, one), speed, both, 1e6*latencyAt(one, r, p50), 1e6*latencyAt(one, r, p99), float64(len(exact.IDs))/exact.Wall)
	}
	t.note(d.name, "", name, one, two)
	return nil
}

// mark tells where a recall is the least that there is.
func mark(text string, above bool, curve []sample) string {
	if above {
		return fmt.Sprintf("%s (%.3f)", text, curve[0].recall)
	}
	return text
}

// note keeps what was measured for each ef.
func (t *tables) note(set, filter, engine string, curve, both []sample) {
	for i, s := range curve {
		two := "-"
		if i < len(both) {
			two = number(both[i].qps)
		}
		t.curves.add(set, filter, engine, s.ef, fmt.Sprintf("%.4f", s.recall), s.qps, s.cpuQPS, two, 1e6*s.p50, 1e6*s.p99)
	}
}

// medians joins curves over the same ef.
func medians(rounds [][]sample) []sample {
	out := make([]sample, len(rounds[0]))
	for i := range out {
		out[i] = rounds[0][i]
		for _, part := range []func(*sample) *float64{
			func(s *sample) *float64 { return &s.qps }, func(s *sample) *float64 { return &s.cpuQPS },
			func(s *sample) *float64 { return &s.p50 }, func(s *sample) *float64 { return &s.p99 },
		} {
			var all []float64
			for _, r := range rounds {
				all = append(all, *part(&r[i]))
			}
			*part(&out[i]) = median(all)
		}
	}
	return out
}

// measure searches and scores the answers.
func (o *options) measure(dr *driver, d *dataset, f *filterSet, r request) (s sample, err error) {
	r.Do, r.K, r.Seconds = "search", k, o.seconds
	if f != nil {
		r.Filters, r.Queries = f.each, len(f.worst)
	}
	a, err := dr.ask(r)
	if err != nil {
		return s, err
	}
	n := float64(len(a.IDs))
	s = sample{ef: r.Ef, qps: n / a.Wall, cpuQPS: n / max(a.CPU, 1e-9), p50: a.P50, p99: a.P99}
	if s.recall, err = d.recall(a.IDs, f); err != nil {
		return s, fmt.Errorf("%s: %s: %w", dr.name, d.name, err)
	}
	return s, nil
}

// filtered measures searches through each filter of a set. Points have their payload, its fields are indexed.
func (o *options) filtered(ctx context.Context, d *dataset, t *tables) error {
	return o.with(ctx, func(dr *driver) error {
		build := o.build(d, runtime.NumCPU())
		build.Fields = d.fields
		if _, err := dr.ask(build); err != nil {
			return err
		}
		for i := range d.filters {
			f := &d.filters[i]
			usual, err := o.measure(dr, d, f, request{})
			if err != nil {
				return err
			}
			exact, err := o.measure(dr, d, f, request{Exact: true})
			if err != nil {
				return err
			}
			if exact.recall < whole {
				return fmt.Errorf("%s, %s: exact search has a recall of %v", d.name, f.name, exact.recall)
			}
			all, err := group{dr}.rounds(o.rounds, o.efs(), func(dr *driver, ef int) (sample, error) {
				return o.measure(dr, d, f, request{Ef: ef})
			})
			if err != nil {
				return err
			}
			curve := medians(of(all, 0))
			speed, _ := at(curve, 0.95, qps)
			t.filters.add(d.name, dr.name, f.name, f.share(len(d.base)), usual.recall, usual.qps, speed, exact.qps)
			t.note(d.name, f.name, dr.name, curve, nil)
		}
		note("%s: filters measured", d.name)
		return nil
	})
}

// scattered measures searches for sparse vectors, by turns with a plain scan.
func (o *options) scattered(ctx context.Context, d *dataset, t *tables) error {
	return o.with(ctx, func(dr *driver) error {
		build := o.build(d, runtime.NumCPU())
		build.Sparse, build.Rows = true, 0
		if _, err := dr.ask(build); err != nil {
			return err
		}
		n := len(d.sparse.worst)
		var ours, scan []float64
		var recall float64
		for range o.rounds {
			a, err := dr.ask(request{Do: "search", K: k, Queries: n, Seconds: o.seconds})
			if err != nil {
				return err
			}
			took, ids := d.sparse.scan(n)
			if r := d.sparse.recall(ids); r < whole {
				return fmt.Errorf("the plain scan has a recall of %v", r)
			}
			ours, scan = append(ours, 1e6*a.Wall/float64(n)), append(scan, float64(took.Nanoseconds())/1e3)
			recall = d.sparse.recall(a.IDs)
		}
		t.sparse.add(d.name, dr.name, len(d.sparse.base), recall, median(ours), median(scan), median(scan)/median(ours))
		return nil
	})
}
