package filter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
	"github.com/pandodb/pando/services/dataplane/internal/payload"
	"github.com/pandodb/pando/services/internal/topology"
)

// point is the tests' Subject.
type point struct {
	id      topology.PointID
	vectors []string
	doc     payload.Doc
	tree    map[string]any // the same, for the model: nil bool int64 float64 string []any map
}

func (p *point) ID() topology.PointID       { return p.id }
func (p *point) Payload() payload.Doc       { return p.doc }
func (p *point) HasVector(name string) bool { return slices.Contains(p.vectors, name) }

func newPoint(t testing.TB, id topology.PointID, vectors []string, tree map[string]any) *point {
	t.Helper()
	var b payload.Builder
	feed(&b, tree)
	doc, err := b.Doc()
	if err != nil {
		t.Fatalf("payload %v: %v", tree, err)
	}
	return &point{id: id, vectors: vectors, doc: doc, tree: tree}
}

func feed(b *payload.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.Null()
	case bool:
		b.Bool(v)
	case int64:
		b.Int(v)
	case float64:
		b.Double(v)
	case string:
		b.Str(v)
	case []any:
		b.BeginList()
		for _, e := range v {
			feed(b, e)
		}
		b.End()
	case map[string]any:
		b.BeginObject()
		for k, e := range v {
			b.Key(k)
			feed(b, e)
		}
		b.End()
	}
}

// decode reads JSON keeping integers apart from doubles.
func decode(t testing.TB, raw []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("decode %s: %v", raw, err)
	}
	return settle(t, v)
}

func settle(t testing.TB, v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			t.Fatal(err)
		}
		return f
	case []any:
		for i := range v {
			v[i] = settle(t, v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = settle(t, v[k])
		}
	}
	return v
}

// parseFilter reads the REST form of what the oracle was asked.
func parseFilter(t testing.TB, v any) *Filter {
	f := &Filter{}
	for k, c := range v.(map[string]any) {
		switch k {
		case "must":
			f.Must = parseList(t, c)
		case "should":
			f.Should = parseList(t, c)
		case "must_not":
			f.MustNot = parseList(t, c)
		case "min_should":
			m := c.(map[string]any)
			f.MinShould = &MinShould{Conditions: parseList(t, m["conditions"]), Count: uint64(m["min_count"].(int64))}
		default:
			t.Fatalf("clause %q", k)
		}
	}
	return f
}

func parseList(t testing.TB, v any) (cs []Condition) {
	for _, c := range v.([]any) {
		cs = append(cs, parseCondition(t, c.(map[string]any)))
	}
	return cs
}

func parseCondition(t testing.TB, c map[string]any) Condition {
	key := func(v any) Key { s, _ := v.(map[string]any)["key"].(string); return Key(s) }
	for k, v := range c {
		switch k {
		case "match":
			return parseMatch(key(c), v.(map[string]any))
		case "range":
			r := Range{Key: key(c)}
			for b, to := range map[string]**float64{"gt": &r.GT, "gte": &r.GTE, "lt": &r.LT, "lte": &r.LTE} {
				if n, ok := number(v.(map[string]any)[b]); ok {
					*to = &n
				}
			}
			return r
		case "values_count":
			vc := ValuesCount{Key: key(c)}
			for b, to := range map[string]**uint64{"gt": &vc.GT, "gte": &vc.GTE, "lt": &vc.LT, "lte": &vc.LTE} {
				if n, ok := v.(map[string]any)[b].(int64); ok {
					*to = new(uint64(n))
				}
			}
			return vc
		case "slice":
			m := v.(map[string]any)
			return Slice{Total: uint32(m["total"].(int64)), Index: uint32(m["index"].(int64))}
		case "geo_bounding_box", "geo_radius", "geo_polygon":
			return parseGeo(key(c), k, v.(map[string]any))
		case "is_empty":
			return IsEmpty{Key: key(v)}
		case "is_null":
			return IsNull{Key: key(v)}
		case "has_id":
			var h HasID
			for _, id := range v.([]any) {
				h.IDs = append(h.IDs, pointID(id))
			}
			return h
		case "has_vector":
			return HasVector{Name: v.(string)}
		case "nested":
			return Nested{Key: key(v), Filter: *parseFilter(t, v.(map[string]any)["filter"])}
		}
	}
	return parseFilter(t, c)
}

func parseGeo(key Key, kind string, m map[string]any) Condition {
	at := func(v any) Place {
		lon, _ := number(v.(map[string]any)["lon"])
		lat, _ := number(v.(map[string]any)["lat"])
		return Place{lon, lat}
	}
	ring := func(v any) (out []Place) {
		for _, p := range v.(map[string]any)["points"].([]any) {
			out = append(out, at(p))
		}
		return out
	}
	switch kind {
	case "geo_bounding_box":
		return GeoBox{key, at(m["top_left"]), at(m["bottom_right"])}
	case "geo_radius":
		radius, _ := number(m["radius"])
		return GeoRadius{key, at(m["center"]), radius}
	}
	p := GeoPolygon{Key: key, Exterior: ring(m["exterior"])}
	for _, hole := range m["interiors"].([]any) {
		p.Interiors = append(p.Interiors, ring(hole))
	}
	return p
}

func parseMatch(key Key, m map[string]any) Condition {
	for part, c := range map[string]Condition{"prefix": Prefix{key, str(m["prefix"])}, "substring": Substring{key, str(m["substring"])}} {
		if _, ok := m[part]; ok {
			return c
		}
	}
	if v, ok := m["value"]; ok {
		return Match{Key: key, Value: scalarOf(v)}
	}
	list, except := m["except"]
	if !except {
		list = m["any"]
	}
	a := MatchAny{Key: key, Except: except}
	for _, v := range list.([]any) {
		a.Values = append(a.Values, scalarOf(v))
	}
	return a
}

func scalarOf(v any) Scalar {
	switch v := v.(type) {
	case string:
		return Scalar{Kind: StringScalar, Str: v}
	case int64:
		return Scalar{Kind: IntScalar, Int: v}
	default:
		return Scalar{Kind: BoolScalar, Bool: v.(bool)}
	}
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func pointID(v any) topology.PointID {
	if n, ok := v.(int64); ok {
		return topology.NumberID(uint64(n))
	}
	return topology.UUIDID(uuid.MustParse(v.(string)))
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	default:
		return math.NaN(), false
	}
}

// The model: the same rules over Go maps, written without regard to speed.

func modelFilter(f *Filter, p *point, at map[string]any) bool {
	hits := func(cs []Condition) (n uint64) {
		for _, c := range cs {
			if modelCondition(c, p, at) {
				n++
			}
		}
		return n
	}
	ok := hits(f.Must) == uint64(len(f.Must)) && hits(f.MustNot) == 0
	ok = ok && (len(f.Should) == 0 || hits(f.Should) > 0)
	return ok && (f.MinShould == nil || hits(f.MinShould.Conditions) >= f.MinShould.Count)
}

// modelCondition has p nil inside a nested condition.
func modelCondition(c Condition, p *point, at map[string]any) bool {
	switch c := c.(type) {
	case *Filter:
		return modelFilter(c, p, at)
	case HasID:
		return p != nil && slices.Contains(c.IDs, p.id)
	case HasVector:
		return p != nil && p.HasVector(c.Name)
	case IsEmpty:
		for _, v := range modelGet(at, string(c.Key)) {
			if l, ok := v.([]any); v != nil && (!ok || len(l) > 0) {
				return false
			}
		}
		return true
	case IsNull:
		return slices.ContainsFunc(modelGet(at, string(c.Key)), func(v any) bool {
			l, _ := v.([]any)
			return v == nil || slices.Contains(l, nil)
		})
	case Nested:
		for _, v := range modelFlat(at, strings.TrimSuffix(string(c.Key), "[]")) {
			if o, ok := v.(map[string]any); ok && modelFilter(&c.Filter, nil, o) {
				return true
			}
		}
		return false
	case Match:
		return slices.ContainsFunc(modelFlat(at, string(c.Key)), func(v any) bool { return modelEqual(c.Value, v) })
	case MatchAny:
		return slices.ContainsFunc(modelFlat(at, string(c.Key)), func(v any) bool {
			in := slices.ContainsFunc(c.Values, func(s Scalar) bool { return modelEqual(s, v) })
			return v != nil && in != c.Except
		})
	case Range:
		return slices.ContainsFunc(modelFlat(at, string(c.Key)), func(v any) bool {
			n, ok := number(v)
			return ok && (c.GT == nil || n > *c.GT) && (c.GTE == nil || n >= *c.GTE) && (c.LT == nil || n < *c.LT) && (c.LTE == nil || n <= *c.LTE)
		})
	case TimeRange:
		return slices.ContainsFunc(modelFlat(at, string(c.Key)), func(v any) bool {
			s, _ := v.(string)
			at, err := time.Parse(time.RFC3339Nano, s)
			n := at.UnixMicro()
			return err == nil && (c.GT == nil || n > *c.GT) && (c.GTE == nil || n >= *c.GTE) && (c.LT == nil || n < *c.LT) && (c.LTE == nil || n <= *c.LTE)
		})
	case ValuesCount:
		return modelCount(c, at)
	case Slice:
		return p != nil && SliceOf(p.id, c.Total) == c.Index // TestOracle knows the hash
	case Prefix:
		return modelText(at, c.Key, func(s string) bool { return strings.Index(s, c.Text) == 0 })
	case Substring:
		return modelText(at, c.Key, func(s string) bool { return strings.Contains(s, c.Text) })
	case Text:
		return modelText(at, c.Key, func(s string) bool {
			if c.Mode != analysis.Any {
				return strings.Contains(s, c.Words)
			}
			return slices.ContainsFunc(strings.Fields(c.Words), func(w string) bool { return strings.Contains(s, w) })
		})
	case GeoBox, GeoRadius, GeoPolygon:
		return modelPlace(at, c)
	}
	panic(fmt.Sprintf("condition %T", c))
}

func modelText(at map[string]any, key Key, pass func(string) bool) bool {
	return slices.ContainsFunc(modelFlat(at, string(key)), func(v any) bool {
		s, ok := v.(string)
		return ok && pass(s)
	})
}

func modelCount(c ValuesCount, at map[string]any) bool {
	values := modelGet(at, string(c.Key))
	if len(values) == 0 {
		values = []any{nil}
	}
	return slices.ContainsFunc(values, func(v any) bool {
		n := uint64(1)
		if l, ok := v.([]any); ok {
			n = uint64(len(l))
		} else if v == nil {
			n = 0
		}
		return (c.GT == nil || n > *c.GT) && (c.GTE == nil || n >= *c.GTE) && (c.LT == nil || n < *c.LT) && (c.LTE == nil || n <= *c.LTE)
	})
}

// modelPlace finds objects anywhere among the values and their elements.
func modelPlace(at map[string]any, c Condition) bool {
	var key Key
	var holds func(x, y float64) bool
	switch c := c.(type) {
	case GeoBox:
		key, holds = c.Key, func(x, y float64) bool {
			w, e := x > c.TopLeft.Lon, x < c.BottomRight.Lon
			over := c.TopLeft.Lon > c.BottomRight.Lon
			return (w && e || over && (w || e)) && c.BottomRight.Lat < y && y < c.TopLeft.Lat
		}
	case GeoRadius:
		key, holds = c.Key, func(x, y float64) bool {
			unit := func(p Place) [3]float64 {
				a, b := p.Lon*math.Pi/180, p.Lat*math.Pi/180
				return [3]float64{math.Cos(b) * math.Cos(a), math.Cos(b) * math.Sin(a), math.Sin(b)}
			}
			u, v := unit(c.Center), unit(Place{x, y})
			return 2*EarthRadius*math.Asin(min(1, math.Sqrt(math.Pow(u[0]-v[0], 2)+math.Pow(u[1]-v[1], 2)+math.Pow(u[2]-v[2], 2))/2)) < c.Radius
		}
	case GeoPolygon:
		key, holds = c.Key, func(x, y float64) bool {
			in := modelRing(c.Exterior, x, y) == 1
			for _, hole := range c.Interiors {
				in = in && modelRing(hole, x, y) == -1
			}
			return in
		}
	}
	for _, v := range modelGet(at, string(key)) {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, e := range list {
			o, _ := e.(map[string]any)
			x, ok := number(o["lon"])
			y, also := number(o["lat"])
			if ok && also && math.Abs(x) <= 180 && math.Abs(y) <= 90 && holds(x, y) {
				return true
			}
		}
	}
	return false
}

// modelRing is 1 inside, 0 on the border, -1 outside: by exact fractions, along a
// line to the north.
func modelRing(ring []Place, x, y float64) int {
	rat := func(f float64) *big.Rat { return new(big.Rat).SetFloat64(f) }
	in := -1
	for i := range ring {
		a, b := ring[i], ring[(i+1)%len(ring)]
		if a.Lon > b.Lon {
			a, b = b, a
		}
		if a.Lon == b.Lon {
			if x == a.Lon && y >= min(a.Lat, b.Lat) && y <= max(a.Lat, b.Lat) {
				return 0
			}
			continue
		}
		if x < a.Lon || x > b.Lon {
			continue
		}
		share := new(big.Rat).Quo(new(big.Rat).Sub(rat(x), rat(a.Lon)), new(big.Rat).Sub(rat(b.Lon), rat(a.Lon)))
		edge := new(big.Rat).Add(rat(a.Lat), share.Mul(share, new(big.Rat).Sub(rat(b.Lat), rat(a.Lat))))
		switch edge.Cmp(rat(y)) {
		case 0:
			return 0
		case 1:
			if x < b.Lon {
				in = -in
			}
		}
	}
	return in
}

func modelEqual(s Scalar, v any) bool {
	switch s.Kind {
	case StringScalar:
		return v == any(s.Str)
	case IntScalar:
		return v == any(s.Int)
	default:
		return v == any(s.Bool)
	}
}

// modelFlat is modelGet with lists replaced by their elements, one level. What
// is still a list or object then equals no value but is not null either; objects
// that were elements stay, for nested conditions.
func modelFlat(at map[string]any, key string) (out []any) {
	type other struct{}
	for _, v := range modelGet(at, key) {
		l, isList := v.([]any)
		if _, object := v.(map[string]any); object {
			out = append(out, other{})
		} else if !isList {
			out = append(out, v)
		}
		for _, e := range l {
			if _, deep := e.([]any); deep {
				e = other{}
			}
			out = append(out, e)
		}
	}
	return out
}

// modelGet reads keys made of plain parts, `[]` and `[n]`, or one quoted key.
func modelGet(at map[string]any, key string) []any {
	if q, ok := strings.CutPrefix(key, `"`); ok {
		if v, ok := at[strings.TrimSuffix(q, `"`)]; ok {
			return []any{v}
		}
		return nil
	}
	vals := []any{at}
	for part := range strings.SplitSeq(strings.ReplaceAll(key, "[", ".["), ".") {
		var next []any
		for _, v := range vals {
			l, _ := v.([]any)
			switch {
			case part == "[]":
				next = append(next, l...)
			case part[0] == '[':
				if n, _ := strconv.Atoi(part[1 : len(part)-1]); n < len(l) {
					next = append(next, l[n])
				}
			default:
				o, _ := v.(map[string]any)
				if e, ok := o[part]; ok {
					next = append(next, e)
				}
			}
		}
		vals = next
	}
	return vals
}
