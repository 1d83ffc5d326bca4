package filter

import (
	"fmt"
	"math"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/payload"
)

// EarthRadius is the mean radius of the earth in metres, by which distances are
// measured on a sphere.
const EarthRadius = 6371008.8

// Place is a point on the earth, in degrees: Lon in [-180, 180], Lat in [-90, 90].
type Place struct{ Lon, Lat float64 }

func (p Place) valid() bool {
	return p.Lon >= -180 && p.Lon <= 180 && p.Lat >= -90 && p.Lat <= 90
}

// PlaceOf reads an object whose numbers `lon` and `lat` are a place.
func PlaceOf(v payload.Value) (p Place, ok bool) {
	lon, has := v.Get("lon")
	lat, also := v.Get("lat")
	if !has || !also {
		return p, false
	}
	x, isNumber := lon.Number()
	y, also := lat.Number()
	p = Place{x, y}
	return p, isNumber && also && p.valid()
}

// GeoBox wants a place inside the box, its border left out. TopLeft east of
// BottomRight: the box goes over the antimeridian.
type GeoBox struct {
	Key                  Key
	TopLeft, BottomRight Place
}

// GeoRadius wants a place less than Radius metres from Center.
type GeoRadius struct {
	Key    Key
	Center Place
	Radius float64
}

// GeoPolygon wants a place inside of Exterior and of none of Interiors, the borders
// left out: a border of an interior belongs to it. Edges are straight in degrees
// and do not go over the antimeridian. Rings may repeat their first place at the end.
type GeoPolygon struct {
	Key       Key
	Exterior  []Place
	Interiors [][]Place
}

// Holds tells whether p is in the box.
func (b *GeoBox) Holds(p Place) bool {
	west, east := p.Lon > b.TopLeft.Lon, p.Lon < b.BottomRight.Lon
	if b.TopLeft.Lon > b.BottomRight.Lon {
		if !west && !east {
			return false
		}
	} else if !west || !east {
		return false
	}
	return p.Lat < b.TopLeft.Lat && p.Lat > b.BottomRight.Lat
}

// Holds tells whether p is near enough.
func (r *GeoRadius) Holds(p Place) bool { return Distance(r.Center, p) < r.Radius }

// Distance is that of two places in metres, by the haversine formula.
func Distance(a, b Place) float64 {
	const degree = math.Pi / 180
	south, east := math.Sin((b.Lat-a.Lat)*degree/2), math.Sin((b.Lon-a.Lon)*degree/2)
	h := south*south + math.Cos(a.Lat*degree)*math.Cos(b.Lat*degree)*east*east
	return 2 * EarthRadius * math.Asin(math.Sqrt(min(1, h)))
}

// Holds tells whether p is in the polygon.
func (g *GeoPolygon) Holds(p Place) bool {
	return inside(g.Exterior, p, false) && !slices.ContainsFunc(g.Interiors, func(hole []Place) bool { return inside(hole, p, true) })
}

// inside tells whether p is in a ring; on its border, it is where border says so.
func inside(ring []Place, p Place, border bool) bool {
	in := false
	for i, a := range ring {
		b := ring[(i+len(ring)-1)%len(ring)]
		turn := (b.Lon-a.Lon)*(p.Lat-a.Lat) - (b.Lat-a.Lat)*(p.Lon-a.Lon)
		if turn == 0 && between(a.Lon, p.Lon, b.Lon) && between(a.Lat, p.Lat, b.Lat) {
			return border
		}
		// A line to the east crosses an edge that has p's latitude in its half-open span.
		if (a.Lat > p.Lat) != (b.Lat > p.Lat) && (turn > 0) == (a.Lat < b.Lat) {
			in = !in
		}
	}
	return in
}

func between(a, v, b float64) bool { return min(a, b) <= v && v <= max(a, b) }

func compileGeo(c Condition) (n node, err error) {
	var places []Place
	switch c := c.(type) {
	case GeoBox:
		n, err = keyed(inArea, c.Key)
		n.area, places = c.Holds, []Place{c.TopLeft, c.BottomRight}
	case GeoRadius:
		n, err = keyed(inArea, c.Key)
		n.area, places = c.Holds, []Place{c.Center}
		if err == nil && !(c.Radius >= 0) {
			err = fmt.Errorf("%w: key %q: radius %v", ErrFilter, c.Key, c.Radius)
		}
	case GeoPolygon:
		n, err = keyed(inArea, c.Key)
		own := GeoPolygon{Exterior: slices.Clone(c.Exterior)}
		places = own.Exterior
		for _, hole := range c.Interiors {
			own.Interiors = append(own.Interiors, slices.Clone(hole))
			places = slices.Concat(places, hole)
		}
		n.area = own.Holds
	}
	for _, p := range places {
		if err == nil && !p.valid() {
			err = fmt.Errorf("%w: key %q: lon %v, lat %v is no place", ErrFilter, n.key, p.Lon, p.Lat)
		}
	}
	return n, err
}
