package bm25

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
)

// TestHash: the values are those that other programs compute.
func TestHash(t *testing.T) {
	for text, want := range map[string]uint32{"": 0, "test": 0xba6bd213, "Hello, world!": 0xc0363e43, "The quick brown fox jumps over the lazy dog": 0x2e4ff723,
		"aaaa": 0x7eeed987, "aaa": 0xb4d05fb7, "aa": 0x371091a9, "a": 0x3c2569b2, "abc": 0xb3dd93fa} {
		if got := murmur3([]byte(text)); got != want {
			t.Errorf("%q: %08x, want %08x", text, got, want)
		}
	}
	if got, want := Index("test"), uint32(1167338989); got != want {
		t.Errorf("%08x, want %08x", got, want)
	}
}

func model(t *testing.T, language string, change func(*Config)) *Model {
	t.Helper()
	c, err := Default(language)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&c)
	}
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWeights(t *testing.T) {
	m := model(t, "english", nil)
	indices, weights := m.Document("The foxes and the fox: Foxes jump!")
	if want := []uint32{Index("fox"), Index("jump")}; len(indices) != 2 || !slices.IsSorted(indices) || !slices.Contains(indices, want[0]) || !slices.Contains(indices, want[1]) {
		t.Fatalf("%v, want %v", indices, want)
	}
	// Four words are counted: three times one, once the other.
	for i, index := range indices {
		n := map[uint32]float64{Index("fox"): 3, Index("jump"): 1}[index]
		if want := n * 2.2 / (n + 1.2*(0.25+0.75*4/256)); math.Abs(float64(weights[i])-want) > 1e-6 {
			t.Errorf("index %d: %v, want %v", index, weights[i], want)
		}
	}
	again, ones := m.Query("fox foxes jumping")
	if !slices.Equal(again, indices) || !slices.Equal(ones, []float32{1, 1}) {
		t.Errorf("%v, %v", again, ones)
	}
	if i, w := m.Document("the of and"); len(i) != 0 || len(w) != 0 {
		t.Errorf("%v, %v", i, w)
	}
	if i, _ := model(t, "none", nil).Document("the The foxes"); len(i) != 2 {
		t.Errorf("without a language all words are kept as they are: %v", i)
	}
	if _, w := model(t, "none", func(c *Config) { c.K = 0 }).Document("a a b"); !slices.Equal(w, []float32{1, 1}) {
		t.Errorf("k 0: %v", w)
	}
}

func TestBadConfigs(t *testing.T) {
	if _, err := Default("klingon"); !errors.Is(err, ErrConfig) {
		t.Errorf("%v", err)
	}
	for name, change := range map[string]func(*Config){"k": func(c *Config) { c.K = -1 }, "b": func(c *Config) { c.B = math.NaN() }, "avg_len": func(c *Config) { c.AvgLen = 0 }} {
		c, err := Default("german")
		if err != nil {
			t.Fatal(err)
		}
		change(&c)
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := Default("english")
	if err != nil {
		t.Fatal(err)
	}
	c.Words.MinLen = -1
	if _, err := New(c); !errors.Is(err, analysis.ErrParams) {
		t.Errorf("%v", err)
	}
}
