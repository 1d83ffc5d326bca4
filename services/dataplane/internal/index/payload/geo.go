package payload

import (
	"math"
	"slices"

	"github.com/golang/geo/r1"
	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"

	"github.com/pandodb/pando/services/dataplane/internal/filter"
)

// maxCells is how many cells cover an area: more of them fit closer and cost more
// look-ups.
const maxCells = 32

// slack widens areas, in radians: 0.6 m, far above what rounding moves a border.
const slack = 1e-7

// cellOf is the number of the S2 leaf cell of a place, in the order of cells: the
// leaves of a larger cell have consecutive numbers.
func cellOf(p filter.Place) int64 {
	return int64(s2.CellIDFromLatLng(s2.LatLngFromDegrees(p.Lat, p.Lon)) ^ 1<<63)
}

// cover gives spans of cells that hold every place of the area; nil if c has none.
func cover(c filter.Condition) []span {
	var region s2.Region
	switch c := c.(type) {
	case filter.GeoRadius:
		angle := min(math.Pi, c.Radius/filter.EarthRadius+slack)
		region = s2.CapFromCenterAngle(s2.PointFromLatLng(s2.LatLngFromDegrees(c.Center.Lat, c.Center.Lon)), s1.Angle(angle))
	case filter.GeoBox:
		if c.TopLeft.Lat < c.BottomRight.Lat {
			return nil
		}
		region = rect(c.BottomRight.Lat, c.TopLeft.Lat, c.TopLeft.Lon, c.BottomRight.Lon)
	case filter.GeoPolygon:
		if len(c.Exterior) == 0 {
			return nil
		}
		region = newArea(&c)
	}
	rc := s2.RegionCoverer{MaxLevel: s2.MaxLevel, MaxCells: maxCells}
	var out []span
	for _, cell := range rc.Covering(region) {
		low, high := int64(cell.RangeMin()^1<<63), int64(cell.RangeMax()^1<<63)
		if n := len(out); n > 0 && out[n-1].high+2 >= low { // leaves have odd numbers
			out[n-1].high = high
		} else {
			out = append(out, span{low, high})
		}
	}
	return out
}

// rect is a box in degrees, a little wider; west of east if it goes over the antimeridian.
func rect(south, north, west, east float64) s2.Rect {
	const degree = math.Pi / 180
	lat := r1.Interval{Lo: south * degree, Hi: north * degree}.Expanded(slack)
	return s2.Rect{Lat: lat.Intersection(r1.Interval{Lo: -math.Pi / 2, Hi: math.Pi / 2}), Lng: s1.IntervalFromEndpoints(west*degree, east*degree).Expanded(slack)}
}

// area is a polygon whose edges are straight in degrees, which S2's own are not.
type area struct {
	s2.Rect // its bound
	p       *filter.GeoPolygon
}

func newArea(p *filter.GeoPolygon) area {
	lon := func(a, b filter.Place) int { return compare(a.Lon, b.Lon) }
	lat := func(a, b filter.Place) int { return compare(a.Lat, b.Lat) }
	return area{rect(slices.MinFunc(p.Exterior, lat).Lat, slices.MaxFunc(p.Exterior, lat).Lat, slices.MinFunc(p.Exterior, lon).Lon, slices.MaxFunc(p.Exterior, lon).Lon), p}
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// IntersectsCell may say so of a cell that is only near.
func (a area) IntersectsCell(c s2.Cell) bool {
	if !a.Rect.IntersectsCell(c) {
		return false
	}
	box, ok := degrees(c)
	return !ok || a.crosses(box) || a.p.Holds(box.middle())
}

// ContainsCell is sure of what it says.
func (a area) ContainsCell(c s2.Cell) bool {
	box, ok := degrees(c)
	return ok && !a.crosses(box) && a.p.Holds(box.middle())
}

// crosses tells whether a border goes through the box.
func (a area) crosses(b box) bool {
	return b.crossed(a.p.Exterior) || slices.ContainsFunc(a.p.Interiors, b.crossed)
}

// box is the bound of a cell, in degrees.
type box struct{ west, east, south, north float64 }

// degrees is the bound of a cell; false if it goes over the antimeridian.
func degrees(c s2.Cell) (box, bool) {
	const degree = math.Pi / 180
	r := c.RectBound()
	b := box{(r.Lng.Lo - slack) / degree, (r.Lng.Hi + slack) / degree, (r.Lat.Lo - slack) / degree, (r.Lat.Hi + slack) / degree}
	return b, !r.Lng.IsInverted() && !r.Lng.IsFull()
}

func (b box) middle() filter.Place {
	return filter.Place{Lon: (b.west + b.east) / 2, Lat: (b.south + b.north) / 2}
}

// crossed tells whether an edge of a ring has a point in the box: what is left of
// it when each side has cut it off.
func (b box) crossed(ring []filter.Place) bool {
	for i, p := range ring {
		q := ring[(i+1)%len(ring)]
		from, to := 0., 1.
		clip := func(start, step, low, high float64) {
			switch {
			case step == 0 && (start < low || start > high):
				from, to = 1, 0
			case step > 0:
				from, to = max(from, (low-start)/step), min(to, (high-start)/step)
			case step < 0:
				from, to = max(from, (high-start)/step), min(to, (low-start)/step)
			}
		}
		clip(p.Lon, q.Lon-p.Lon, b.west, b.east)
		clip(p.Lat, q.Lat-p.Lat, b.south, b.north)
		if from <= to {
			return true
		}
	}
	return false
}
