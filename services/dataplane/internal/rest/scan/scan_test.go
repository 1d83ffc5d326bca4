package scan

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// plain turns a Value into what encoding/json makes of the same text.
func plain(v Value) any {
	switch v.Kind() {
	case Bool:
		return v.Bool()
	case Number:
		return json.Number(v.Raw())
	case String:
		return v.Text()
	case Array:
		out := []any{}
		for _, e := range v.Items() {
			out = append(out, plain(e))
		}
		return out
	case Object:
		out := map[string]any{}
		for k, e := range v.Members() {
			out[string(k.Bytes())] = plain(e)
		}
		return out
	}
	return nil
}

func TestParseAgreesWithStandard(t *testing.T) {
	texts := []string{
		`null`, ` true `, `false`, `0`, `-0`, `-12.5e+3`, `""`, `"a\"b\\\/\b\f\n\r\té\u00e9\ud83d\ude00"`,
		`[]`, `[ ]`, `{}`, `{ }`, `[1]`, `[ 1 , -2.5 ,3e2 ]`, `[1,"a"]`, `[1,[2,[3,null]]]`, `[[1,2],[3,4]]`,
		`{"a":1,"b":[1,2,{"c":[]}],"a":2}`, `{"\u0061":{"":[true]}}`, "\n{\t\"k\" :\r\n1}", `[1,2,{}]`, `[1 ,2
		 , 3]`, `[null,1]`, `[1.0,1,10000000000000000000000]`,
	}
	for _, text := range texts {
		var d Doc
		if err := d.Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, want := plain(d.Root()), standard(t, text); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, want %#v", text, got, want)
		}
	}
}

func standard(t *testing.T, text string) (v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestParseRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	tests := []struct {
		text   string
		offset int
		msg    string
	}{
		{``, 0, "EOF while parsing a value"},
		{`  `, 2, "EOF while parsing a value"},
		{`{`, 1, "EOF while parsing an object"},
		{`{"a"`, 4, "EOF while parsing an object"},
		{`{"a":`, 5, "EOF while parsing a value"},
		{`{"a":1`, 6, "EOF while parsing an object"},
		{`{"a":1,}`, 7, "key must be a string"},
		{`{a:1}`, 1, "key must be a string"},
		{`{"a" 1}`, 5, "expected `:`"},
		{`{"a":1 "b":2}`, 7, "expected `,` or `}`"},
		{`[`, 1, "EOF while parsing a value"},
		{`[1`, 2, "EOF while parsing a list"},
		{`[1,`, 3, "EOF while parsing a value"},
		{`[1,]`, 3, "expected value"},
		{`[,1]`, 1, "expected value"},
		{`[1 2]`, 3, "expected `,` or `]`"},
		{`[01]`, 2, "expected `,` or `]`"},
		{`[1.]`, 3, "invalid number"},
		{`[-]`, 2, "invalid number"},
		{`[1e]`, 3, "invalid number"},
		{`[.5]`, 1, "expected value"},
		{`[+1]`, 1, "expected value"},
		{`[NaN]`, 1, "expected value"},
		{`[1,NaN]`, 3, "expected value"},
		{`[Infinity]`, 1, "expected value"},
		{`[-Infinity]`, 2, "invalid number"},
		{`nul`, 3, "EOF while parsing a value"},
		{`nulL`, 3, "expected ident"},
		{`1 1`, 2, "trailing characters"},
		{`{}}`, 2, "trailing characters"},
		{`"abc`, 4, "EOF while parsing a string"},
		{`"a\`, 3, "EOF while parsing a string"},
		{`"a\x"`, 3, "invalid escape"},
		{`"\u12g4"`, 2, "invalid escape"},
		{`"\ud800"`, 6, "lone surrogate in hex escape"},
		{`"\ud800\u0041"`, 6, "lone surrogate in hex escape"},
		{`"\udc00"`, 6, "lone surrogate in hex escape"},
		{"\"a\nb\"", 2, "control character found while parsing a string"},
		{"\"\xff\"", 1, "invalid UTF-8"},
		{`'a'`, 0, "expected value"},
		{deep(MaxDepth + 1), MaxDepth, "recursion limit of 128 exceeded"},
	}
	for _, tc := range tests {
		var d Doc
		err := d.Parse([]byte(tc.text))
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%.40s: got %v", tc.text, err)
			continue
		}
		if e.Msg != tc.msg || e.Offset != tc.offset {
			t.Errorf("%.40s: got %q at %d, want %q at %d", tc.text, e.Msg, e.Offset, tc.msg, tc.offset)
		}
	}
	var d Doc
	if err := d.Parse([]byte(deep(MaxDepth))); err != nil {
		t.Errorf("depth %d: %v", MaxDepth, err)
	}
}

func TestPosition(t *testing.T) {
	src := []byte("{\n \"a\": 1,\n}")
	for offset, want := range map[int][2]int{0: {1, 1}, 1: {1, 2}, 2: {2, 1}, 3: {2, 2}, 11: {3, 1}, 99: {3, 2}} {
		if l, c := Position(src, offset); l != want[0] || c != want[1] {
			t.Errorf("%d: got %d:%d, want %v", offset, l, c, want)
		}
	}
}

func TestGetTakesTheLast(t *testing.T) {
	var d Doc
	if err := d.Parse([]byte(`{"a":1,"b":[1,2],"\u0061":3}`)); err != nil {
		t.Fatal(err)
	}
	if v, ok := d.Root().Get("a"); !ok || string(v.Raw()) != "3" {
		t.Errorf("got %s", v.Raw())
	}
	if _, ok := d.Root().Get("c"); ok {
		t.Error("c is not there")
	}
}

// same tells whether f is what strconv makes of the text, to the last bit.
func same(f float32, text string) bool {
	want, _ := strconv.ParseFloat(text, 32)
	return math.Float32bits(f) == math.Float32bits(float32(want))
}

func TestFloatsAreExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	texts := []string{"0", "-0", "-0.0", "1e-46", "7e-46", "1.4e-45", "3.4028235e38", "3.4028236e38", "1e22", "1e23", "1e-22",
		"9007199254740992", "9007199254740993", "0.1", "1.00000005960464477539062500", "1.000000059604644775390625", "16777217",
		"33554435e0", "0000.1"[3:], "1.1754943508222875e-38", "123456789012345678901234567890", "1e0000000000000000000001", "5e-324"}
	for range 100_000 {
		switch r.IntN(4) {
		case 0: // any float32, shortest
			texts = append(texts, strconv.FormatFloat(float64(math.Float32frombits(r.Uint32()&^(1<<30))), 'g', -1, 32))
		case 1: // just between two neighbours, where rounding twice would go wrong
			b := r.Uint32() & 0x3fffffff
			mid := (float64(math.Float32frombits(b)) + float64(math.Float32frombits(b+1))) / 2
			texts = append(texts, strconv.FormatFloat(mid, 'e', 5+r.IntN(14), 64))
		case 2:
			texts = append(texts, fmt.Sprintf("%d.%de%d", r.IntN(1000), r.IntN(1e9), r.IntN(60)-30))
		case 3:
			texts = append(texts, strconv.FormatFloat(r.NormFloat64(), 'g', -1, 64))
		}
	}
	pow := tens()
	for _, text := range texts {
		f, end, ok := float([]byte(text), 0, &pow)
		if !ok || end != len(text) || !same(f, text) {
			t.Fatalf("%s: got %v, %d, %v", text, f, end, ok)
		}
	}
}

func TestOverflowIsSeen(t *testing.T) {
	for text, want := range map[string]bool{`[1,2]`: true, `[1e39]`: false, `[1,-1e999]`: false, `[3.4028235e38]`: true} {
		var d Doc
		if err := d.Parse([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, ok := d.Root().Float32s(); ok != want {
			t.Errorf("%s: got %v", text, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,-3e-2],"b":"\u00e9","c":{"d":[[1],[2]]}}`, `[1,"x"]`, `[1,2`, `"\ud83d\ude00"`, `-0.0e1`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var d Doc
		err := d.Parse(text)
		if json.Valid(text) != (err == nil) {
			// Stricter than the standard in three ways, looser in none.
			if err != nil && stricter(err) {
				return
			}
			t.Fatalf("%q: standard says %v, we say %v", text, json.Valid(text), err)
		}
		if err != nil {
			return
		}
		if got, want := plain(d.Root()), standard(t, string(text)); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, want %#v", text, got, want)
		}
	})
}

func stricter(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Msg == "invalid UTF-8" || e.Msg == "recursion limit of 128 exceeded" || e.Msg == "lone surrogate in hex escape")
}

func FuzzFloats(f *testing.F) {
	f.Add("1.5,2,-3e-7")
	f.Add("9007199254740993")
	f.Add("0.000000000000000000000000000001e38")
	f.Fuzz(func(t *testing.T, list string) {
		text := "[" + list + "]"
		var d Doc
		if d.Parse([]byte(text)) != nil || !d.Root().Numeric() {
			return
		}
		for i, v := range d.Root().Items() {
			if !same(d.floats[i], string(v.Raw())) {
				t.Fatalf("%s: got %v", v.Raw(), d.floats[i])
			}
		}
	})
}

// body is an upsert of n points with d floats each.
func body(n, d, bits int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	b := []byte(`{"points":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"id":%d,"vector":[`, i)
		for j := range d {
			if j > 0 {
				b = append(b, ',')
			}
			if bits == 32 {
				b = strconv.AppendFloat(b, float64(float32(r.NormFloat64())), 'g', -1, 32)
			} else {
				b = strconv.AppendFloat(b, r.NormFloat64(), 'g', -1, 64)
			}
		}
		b = append(b, `],"payload":{"city":"Berlin"}}`...)
	}
	return append(b, `]}`...)
}

func BenchmarkVectors(b *testing.B) {
	for _, bits := range []int{32, 64} {
		text := body(100, 384, bits)
		b.Run(fmt.Sprintf("scan/f%d", bits), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var d Doc
			for b.Loop() {
				if err := d.Parse(text); err != nil {
					b.Fatal(err)
				}
				points, _ := d.Root().Get("points")
				for _, p := range points.Items() {
					v, _ := p.Get("vector")
					if x, ok := v.Float32s(); !ok || len(x) != 384 {
						b.Fatal("not read")
					}
				}
			}
		})
		b.Run(fmt.Sprintf("encoding-json/f%d", bits), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				var v struct {
					Points []struct {
						ID      uint64         `json:"id"`
						Vector  []float32      `json:"vector"`
						Payload map[string]any `json:"payload"`
					} `json:"points"`
				}
				if err := json.Unmarshal(text, &v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
