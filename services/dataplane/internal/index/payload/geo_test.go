package payload

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
	doc "github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/dataplane/internal/query"
)

// TestCover: the cells of an area hold each of its places, and not many others.
func TestCover(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	place := func() filter.Place {
		p := filter.Place{Lon: r.Float64()*360 - 180, Lat: math.Asin(r.Float64()*2-1) * 180 / math.Pi}
		if r.IntN(4) == 0 {
			p.Lon = []float64{-180, 180, 0, 179.999, -179.999}[r.IntN(5)]
		}
		if r.IntN(8) == 0 {
			p.Lat = []float64{-90, 90, 0, 89.99, -89.99}[r.IntN(5)]
		}
		return p
	}
	near := func(p filter.Place, by float64) filter.Place {
		return filter.Place{Lon: max(-180, min(180, p.Lon+(r.Float64()-0.5)*by)), Lat: max(-90, min(90, p.Lat+(r.Float64()-0.5)*by))}
	}
	inside, covered := 0, 0
	for range 1500 {
		center, size := place(), math.Pow(10, r.Float64()*6-4) // degrees
		var c filter.Condition
		var holds func(filter.Place) bool
		switch r.IntN(3) {
		case 0:
			radius := filter.GeoRadius{Center: center, Radius: size * 50_000}
			c, holds = radius, radius.Holds
		case 1:
			a, b := near(center, size), near(center, size)
			box := filter.GeoBox{TopLeft: filter.Place{Lon: a.Lon, Lat: max(a.Lat, b.Lat)}, BottomRight: filter.Place{Lon: b.Lon, Lat: min(a.Lat, b.Lat)}}
			c, holds = box, box.Holds
		default:
			ring := func() (out []filter.Place) {
				for range 3 + r.IntN(4) {
					out = append(out, near(center, size))
				}
				return out
			}
			p := filter.GeoPolygon{Exterior: ring(), Interiors: [][]filter.Place{ring()}}
			c, holds = p, p.Holds
		}
		spans := cover(c)
		if len(spans) > maxCells || !slices.IsSortedFunc(spans, func(a, b span) int { return cmp.Compare(a.low, b.high) }) {
			t.Fatalf("%+v: spans %v", c, spans)
		}
		for range 40 {
			p := near(center, size*1.2)
			cell := cellOf(p)
			in := slices.ContainsFunc(spans, func(s span) bool { return s.low <= cell && cell <= s.high })
			if holds(p) && !in {
				t.Fatalf("%+v: %+v is not covered", c, p)
			}
			if holds(p) {
				inside++
			}
			if in {
				covered++
			}
		}
	}
	if inside < 5000 || covered > 3*inside {
		t.Errorf("%d places inside, %d covered", inside, covered)
	}
}

// TestPlaces: what areas select among many places, and that estimates are near.
func TestPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	docs := make([]doc.Doc, 20_000)
	for i := range docs {
		var b doc.Builder
		b.BeginObject()
		b.Key("p")
		b.BeginObject()
		b.Key("lat")
		b.Double(40 + r.NormFloat64()*10)
		b.Key("lon")
		b.Double(max(-180, -170+math.Abs(r.NormFloat64())*8-12*float64(i%2)))
		b.End()
		b.End()
		var err error
		if docs[i], err = b.Doc(); err != nil {
			t.Fatal(err)
		}
	}
	rows := &shown{docs: docs, used: slices.Repeat([]bool{true}, len(docs))}
	s := build(t, []query.FieldIndex{{Key: "p", Type: query.GeoField}}, docs)
	for _, c := range []filter.Condition{
		filter.GeoRadius{Key: "p", Center: filter.Place{Lon: -175, Lat: 42}, Radius: 3e5},
		filter.GeoRadius{Key: "p", Center: filter.Place{Lon: 180, Lat: 42}, Radius: 1e6},
		filter.GeoBox{Key: "p", TopLeft: filter.Place{Lon: 175, Lat: 45}, BottomRight: filter.Place{Lon: -172, Lat: 39}},
		filter.GeoPolygon{Key: "p", Exterior: []filter.Place{{Lon: -180, Lat: 35}, {Lon: -160, Lat: 38}, {Lon: -170, Lat: 52}},
			Interiors: [][]filter.Place{{{Lon: -174, Lat: 40}, {Lon: -168, Lat: 40}, {Lon: -171, Lat: 45}}}},
	} {
		f := &filter.Filter{Must: []filter.Condition{c}}
		if bounded, _ := rows.check(t, s, f); !bounded {
			t.Errorf("%T: no bound", c)
		}
		guess, ok := s.Plan(f, rows).Estimate()
		if n := rows.satisfying(t, f); !ok || n < 50 || guess > 3*n || n > 3*guess {
			t.Errorf("%+v: about %d rows, there are %d", c, guess, n)
		}
	}
}
