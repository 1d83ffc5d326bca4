// Command plot draws recall against speed out of the curves that the benchmark writes: a PNG for each data set, and for each
// of its filters, with a line for each engine.
//
//	plot curves.csv...
//
// A picture is put beside the file that it is drawn from.
package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// columns that are needed, by their names in the first line.
var columns = []string{"set", "filter", "engine", "recall", "qps"}

// picture is lines by engine.
type picture struct {
	title   string
	engines []string // in the order of the file
	points  map[string]plotter.XYs
}

func main() {
	var err error
	for _, name := range os.Args[1:] {
		err = errors.Join(err, draw(name))
	}
	if len(os.Args) < 2 {
		err = errors.New("plot CURVES.csv...")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func draw(name string) error {
	pictures, err := read(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, p := range pictures {
		to := strings.TrimSuffix(name, "curves.csv") + strings.ReplaceAll(p.title, ", ", "-") + ".png"
		if err := p.save(to); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
		fmt.Println(filepath.Clean(to))
	}
	return nil
}

func read(name string) (out []*picture, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errors.New("it is empty")
	}
	at := map[string]int{}
	for _, c := range columns {
		i := slices.Index(rows[0], c)
		if i < 0 {
			return nil, fmt.Errorf("there is no column %s", c)
		}
		at[c] = i
	}
	for i, row := range rows[1:] {
		title := row[at["set"]]
		if f := row[at["filter"]]; f != "" {
			title += ", " + f
		}
		recall, err := strconv.ParseFloat(row[at["recall"]], 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
		qps, err := strconv.ParseFloat(row[at["qps"]], 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
		n := slices.IndexFunc(out, func(p *picture) bool { return p.title == title })
		if n < 0 {
			n, out = len(out), append(out, &picture{title: title, points: map[string]plotter.XYs{}})
		}
		p, engine := out[n], row[at["engine"]]
		if !slices.Contains(p.engines, engine) {
			p.engines = append(p.engines, engine)
		}
		p.points[engine] = append(p.points[engine], plotter.XY{X: recall, Y: qps})
	}
	return out, nil
}

func (p *picture) save(to string) error {
	c := plot.New()
	c.Title.Text = p.title
	c.X.Label.Text, c.Y.Label.Text = "recall@10", "queries per second, one thread"
	c.Y.Scale, c.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	c.Legend.Top = true
	c.Add(plotter.NewGrid())
	for i, engine := range p.engines {
		line, marks, err := plotter.NewLinePoints(p.points[engine])
		if err != nil {
			return err
		}
		line.Color, marks.Color, marks.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
		c.Add(line, marks)
		c.Legend.Add(engine, line, marks)
	}
	return c.Save(22*vg.Centimeter, 14*vg.Centimeter, to)
}
