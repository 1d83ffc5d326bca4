// Package bm25 makes sparse vectors of texts, whose inner product, with inverse
// document frequency (a sparse vector's modifier idf), is the BM25 score of Robertson
// and Zaragoza, 2009. It is pure.
//
// The index of a word is a hash of it, so that no list of words is needed; words that
// share one count together.
package bm25

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"github.com/pandodb/pando/services/dataplane/internal/filter/analysis"
)

// ErrConfig reports parameters that cannot be followed.
var ErrConfig = errors.New("invalid bm25 parameters")

// Config shapes the vectors of documents.
type Config struct {
	// K bounds what repeating a word brings, at least 0; B is how much the length of a
	// text counts, from 0 to 1; AvgLen is the length in words of a usual text, above 0.
	K, B, AvgLen float64
	Words        analysis.Params
}

// Default is a Config for texts in a language: those that there are stop words or a
// stemmer for, or none. Errors: ErrConfig.
func Default(language string) (Config, error) {
	c := Config{K: 1.2, B: 0.75, AvgLen: 256, Words: analysis.Params{Tokenizer: analysis.Word, Lowercase: true}}
	if language == "none" {
		return c, nil
	}
	if slices.Contains(analysis.StopLanguages(), language) {
		c.Words.StopLanguages = language
	}
	if slices.Contains(analysis.StemmerLanguages(), language) {
		c.Words.Stemmer = language
	}
	if c.Words.StopLanguages == "" && c.Words.Stemmer == "" {
		return c, fmt.Errorf("%w: language %.64q is not known", ErrConfig, language)
	}
	return c, nil
}

// Model makes vectors. It is immutable.
type Model struct {
	c     Config
	words *analysis.Analyzer
}

// New checks c. Errors: ErrConfig, analysis.ErrParams.
func New(c Config) (*Model, error) {
	switch {
	case !(c.K >= 0):
		return nil, fmt.Errorf("%w: k %v, must be 0 or larger", ErrConfig, c.K)
	case !(c.B >= 0 && c.B <= 1):
		return nil, fmt.Errorf("%w: b %v, must be from 0 to 1", ErrConfig, c.B)
	case !(c.AvgLen > 0):
		return nil, fmt.Errorf("%w: avg_len %v, must be above 0", ErrConfig, c.AvgLen)
	}
	words, err := analysis.New(c.Words)
	return &Model{c, words}, err
}

// Document is the vector of a text that is stored, its indices ascending.
func (m *Model) Document(text string) (indices []uint32, weights []float32) {
	counts, length := m.count(text)
	indices = slices.Sorted(maps.Keys(counts))
	weights = make([]float32, len(indices))
	for i, index := range indices {
		n := float64(counts[index])
		weights[i] = float32(n * (m.c.K + 1) / (n + m.c.K*(1-m.c.B+m.c.B*float64(length)/m.c.AvgLen)))
	}
	return indices, weights
}

// Query is the vector of a text that is looked for: each word counts once.
func (m *Model) Query(text string) (indices []uint32, weights []float32) {
	counts, _ := m.count(text)
	indices = slices.Sorted(maps.Keys(counts))
	weights = make([]float32, len(indices))
	for i := range weights {
		weights[i] = 1
	}
	return indices, weights
}

// count gives how often each word comes, by its index, and how many there are.
func (m *Model) count(text string) (counts map[uint32]int, length int) {
	counts = map[uint32]int{}
	m.words.Words(text, func(word string) bool {
		counts[Index(word)]++
		length++
		return true
	})
	return counts, length
}

// Index is that of a word: the absolute value of MurmurHash3 (x86, 32 bits, seed 0),
// taken as a signed number, as clients that embed texts themselves have it.
func Index(word string) uint32 {
	h := int32(murmur3([]byte(word)))
	if h < 0 {
		return uint32(-int64(h))
	}
	return uint32(h)
}

func murmur3(b []byte) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	h, n := uint32(0), uint32(len(b))
	mix := func(k uint32) uint32 { return bits.RotateLeft32(k*c1, 15) * c2 }
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h^mix(binary.LittleEndian.Uint32(b)), 13)*5 + 0xe6546b64
	}
	tail := uint32(0)
	for i, x := range b {
		tail |= uint32(x) << (8 * i)
	}
	h ^= mix(tail) ^ n
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
