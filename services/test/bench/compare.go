package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strings"

	"github.com/pandodb/pando/services/dataplane/bare"
)

// edge is the one library that filters.
const edge = "qdrant-edge"

// reports are the tables of a comparison.
type reports struct{ builds, searches, filters, curves table }

// compare measures our engine and other libraries by turns, one thread each, on one core. What was measured before an error
// is printed.
func (o *options) compare(ctx context.Context, dirs []string) error {
	names, err := o.libraries(ctx)
	if err != nil {
		return err
	}
	t := &reports{
		builds: table{title: "Building, one thread on one core", file: "peers-builds.csv", head: []string{"set", "engine", "build CPU s", "build s", "bytes/vector", "CPU of ours",
			"bytes of ours"}},
		searches: table{title: fmt.Sprintf("Searches at equal recall@10, one thread on one core, medians of %d rounds by turns; ours/theirs: more than 1 is faster", o.rounds), file: "peers-searches.csv",
			head: []string{"set", "engine", "recall", "QPS", "QPS per CPU s", "ours/theirs", "per CPU s", "by round"}},
		filters: table{title: "Filtered searches at recall@10 0.95, the same way", file: "peers-filters.csv",
			head: []string{"set", "filter", "share", "ours QPS", edge + " QPS", "ours/theirs", "per CPU s", "by round"}},
		curves: table{file: "peers-curves.csv", head: []string{"set", "filter", "engine", "ef", "recall", "qps", "cpu_qps", "qps_2_threads", "p50_us", "p99_us"}},
	}
	err = o.forEach(dirs, func(d *dataset) error {
		if err := o.beside(ctx, d, names, t); err != nil {
			return err
		}
		if len(d.filters) > 0 && slices.Contains(names, edge) {
			return o.filteredBeside(ctx, d, t)
		}
		return nil
	})
	return errors.Join(err, printAll(o.out, &t.builds, &t.searches, &t.filters), t.curves.write(o.out))
}

// libraries asks which are there. Those that are not are told.
func (o *options) libraries(ctx context.Context) (names []string, err error) {
	out, err := exec.CommandContext(ctx, o.python, o.peers, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s --list: %w", o.python, o.peers, err)
	}
	for line := range strings.Lines(string(out)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if why, missing := strings.CutPrefix(rest, "- "); missing {
			o.gap(name, errors.New(why))
			continue
		}
		note("%s %s", name, rest)
		names = append(names, name)
	}
	return names, nil
}

// group is drivers that are measured by turns; the first one is ours.
type group []*driver

// group starts drivers and has one after the other build, for they share a core. A library that fails is told and left out.
func (o *options) group(ctx context.Context, d *dataset, names []string, fields []bare.Field) (g group, built []reply, err error) {
	for _, name := range append([]string{"pando"}, names...) {
		argv := []string{o.python, o.peers, name}
		if len(g) == 0 {
			argv = []string{o.self, "drive"}
		}
		dr, err := start(ctx, name, o.cpu, argv...)
		if err != nil {
			return nil, nil, errors.Join(err, g.stop())
		}
		build := o.build(d, 1)
		build.Fields = fields
		b, err := dr.ask(build)
		switch {
		case err == nil:
			g, built = append(g, dr), append(built, b)
			note("%s: %s built in %.1f s of CPU", d.name, dr.name, b.CPU)
		case len(g) == 0 || ctx.Err() != nil:
			return nil, nil, errors.Join(err, dr.stop(), g.stop())
		default:
			o.gap(d.name+", "+name, errors.Join(err, dr.stop()))
		}
	}
	return g, built, nil
}

func (g group) stop() (err error) {
	for _, d := range g {
		err = errors.Join(err, d.stop())
	}
	return err
}

// rounds has all measure each setting by turns, and gives the curves of each round, of each driver. The order turns too.
func (g group) rounds(n int, efs []int, measure func(dr *driver, ef int) (sample, error)) ([][][]sample, error) {
	out := make([][][]sample, n)
	for round := range out {
		out[round] = make([][]sample, len(g))
		for turn, ef := range efs {
			for i := range g {
				i = (i + turn + round) % len(g)
				s, err := measure(g[i], ef)
				if err != nil {
					return nil, err
				}
				out[round][i] = append(out[round][i], s)
			}
		}
	}
	return out, nil
}

// beside compares building, memory and searches without a filter.
func (o *options) beside(ctx context.Context, d *dataset, names []string, t *reports) (err error) {
	g, built, err := o.group(ctx, d, names, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	all, err := g.rounds(o.rounds, o.efs(), func(dr *driver, ef int) (sample, error) {
		return o.measure(dr, d, nil, request{Ef: ef})
	})
	if err != nil {
		return err
	}
	bytes := make([]float64, len(g))
	for i, dr := range g {
		m, err := dr.ask(request{Do: "memory"})
		if err != nil {
			return err
		}
		bytes[i] = float64(m.RSS-built[i].Before) / float64(len(d.base))
		t.builds.add(d.name, dr.name, built[i].CPU, built[i].Wall, bytes[i], built[i].CPU/built[0].CPU, bytes[i]/bytes[0])
		t.note(d.name, "", dr.name, of(all, i))
	}
	for _, recall := range targets {
		for i, dr := range g {
			c := of(all, i)
			speed, above := at(medians(c), recall, qps)
			cpu, _ := at(medians(c), recall, cpuQPS)
			r := mark(fmt.Sprintf("%.2f", recall), above, c[0])
			if i == 0 {
				t.searches.add(d.name, dr.name, r, speed, cpu, "", "", "")
				continue
			}
			wall, perCPU := ratios(of(all, 0), c, recall, qps), ratios(of(all, 0), c, recall, cpuQPS)
			t.searches.add(d.name, dr.name, r, speed, cpu, median(wall), median(perCPU), list(perCPU))
		}
	}
	return nil
}

// of gives the curves of one driver, by round.
func of(all [][][]sample, i int) (out [][]sample) {
	for _, round := range all {
		out = append(out, round[i])
	}
	return out
}

// ratios of our speeds to theirs, by round.
func ratios(ours, theirs [][]sample, recall float64, value func(sample) float64) (out []float64) {
	for i := range ours {
		a, _ := at(ours[i], recall, value)
		b, _ := at(theirs[i], recall, value)
		out = append(out, a/b)
	}
	return out
}

func list(all []float64) string {
	var out []string
	for _, f := range all {
		out = append(out, number(f))
	}
	return strings.Join(out, " ")
}

func (t *reports) note(set, filter, engine string, rounds [][]sample) {
	for _, s := range medians(rounds) {
		t.curves.add(set, filter, engine, s.ef, fmt.Sprintf("%.4f", s.recall), s.qps, s.cpuQPS, "-", 1e6*s.p50, 1e6*s.p99)
	}
}

// filteredBeside compares searches through each filter. Points have their payload, its fields are indexed. The other engine
// is asked in both ways that it has to walk a graph through a filter, and its better one counts.
func (o *options) filteredBeside(ctx context.Context, d *dataset, t *reports) (err error) {
	g, _, err := o.group(ctx, d, []string{edge}, d.fields)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	if len(g) < 2 {
		return nil // told already
	}
	turns := group{g[0], g[1], {name: edge + " acorn", cmd: g[1].cmd, in: g[1].in, out: g[1].out}}
	for i := range d.filters {
		f := &d.filters[i]
		all, err := turns.rounds(o.rounds, o.efs(), func(dr *driver, ef int) (sample, error) {
			return o.measure(dr, d, f, request{Ef: ef, Acorn: dr == turns[2]})
		})
		if err != nil {
			return err
		}
		for i, dr := range turns {
			t.note(d.name, f.name, dr.name, of(all, i))
		}
		theirs := of(all, 1)
		speed, _ := at(medians(theirs), 0.95, qps)
		if other, _ := at(medians(of(all, 2)), 0.95, qps); other > speed || math.IsNaN(speed) {
			theirs, speed = of(all, 2), other
		}
		ours, _ := at(medians(of(all, 0)), 0.95, qps)
		perCPU := ratios(of(all, 0), theirs, 0.95, cpuQPS)
		t.filters.add(d.name, f.name, f.share(len(d.base)), ours, speed, median(ratios(of(all, 0), theirs, 0.95, qps)), median(perCPU), list(perCPU))
	}
	return nil
}
