package query

import "github.com/pandodb/pando/services/dataplane/internal/query/turbo"

// VectorKind is what a named vector of a point consists of.
type VectorKind uint8

// The kinds of vectors.
const (
	Dense  VectorKind = iota // Size numbers
	Multi                    // one or more dense ones, compared by MaxSim
	Sparse                   // pairs of index and weight; compared by their inner product
)

// Datatype is the form in which the elements of a vector are kept. Values are
// converted by the primary before they are stamped (W3a), so that what is stored
// as float32 elsewhere is exactly representable. Of a sparse vector it is the
// form of the weights in its index alone: what is stored are float32.
type Datatype uint8

// The datatypes.
const (
	Float32 Datatype = iota
	Float16
	Uint8
	Turbo4 // four bits: package turbo. Dense vectors only, not by Manhattan
)

// Size is how many bytes an element takes, of Turbo4 those that rows are counted in;
// 0: there is no such datatype.
func (d Datatype) Size() int {
	switch d {
	case Float32:
		return 4
	case Float16:
		return 2
	case Uint8, Turbo4:
		return 1
	}
	return 0
}

// RowBytes is how many bytes a vector of dim elements takes.
func (d Datatype) RowBytes(dim int) int {
	if d == Turbo4 {
		return turbo.RowBytes(dim)
	}
	return d.Size() * dim
}

// HNSW shapes the graph of one named vector, its collection's defaults filled in.
type HNSW struct {
	M, EfConstruct int
	// PayloadM is how many links a row has among those with its value of an indexed
	// field; 0: M; below 0: none.
	PayloadM int
	// FullScanThreshold in kB of vectors: fewer rows pass a filter, all are compared.
	FullScanThreshold int
	// Threads that build it at most; 0: the engine's choice.
	Threads int
	OnDisk  bool
}

// DefaultHNSW is the graph of a collection that does not say.
func DefaultHNSW() HNSW { return HNSW{M: 16, EfConstruct: 100, FullScanThreshold: 10000} }

// QuantizationKind is how codes are made of vectors.
type QuantizationKind uint8

// The kinds of quantization.
const (
	NoQuantization QuantizationKind = iota
	ScalarQuantization
	ProductQuantization
	BinaryQuantization
	TurboQuantization
)

// BinaryEncoding is the form of a binary or turbo code, or of a query against binary codes.
type BinaryEncoding uint8

// The encodings: Scalar are of queries only, FourBits is of turbo codes only.
const (
	OneBit BinaryEncoding = iota
	TwoBits
	OneAndHalfBits
	Scalar4Bits
	Scalar8Bits
	FourBits
)

// Quantization says which codes stand beside the vectors of one name.
type Quantization struct {
	Kind      QuantizationKind
	AlwaysRAM bool
	// Quantile (Scalar): this share of all elements lies in the range of a code; 0 or
	// 1: all.
	Quantile float32
	// Compression (Product): float32 bytes to code bytes, 4..64.
	Compression int
	// Encoding (Binary, Turbo) is of rows, Query (Binary) of queries; OneBit: as rows.
	Encoding, Query BinaryEncoding
}

// Optimizers says when tails are sealed and segments merged.
type Optimizers struct {
	// DeletedThreshold is the share of dead rows from which on a segment is written
	// anew, if it has VacuumMinVectors rows.
	DeletedThreshold float64
	VacuumMinVectors int
	// SegmentNumber is how many segments there should be at most; 0: by the number
	// of processors.
	SegmentNumber int
	// MaxSegmentKB bounds what merging makes, IndexingThresholdKB is from how many kB
	// of vectors on a segment gets a graph. 0: no bound; never.
	MaxSegmentKB, IndexingThresholdKB uint64
	// Threads that optimize at most; 0: the engine's choice; below 0: nothing is optimized.
	Threads int
}

// DefaultOptimizers are those of a collection that does not say.
func DefaultOptimizers() Optimizers {
	return Optimizers{DeletedThreshold: 0.2, VacuumMinVectors: 1000, IndexingThresholdKB: 10000}
}

// Settings is what of a collection's settings decides about the contents of
// segments and the indexes over them. It takes effect at an entry of the log (W11).
type Settings struct {
	// Schema are the vectors, sorted by name; nil: those that the shard was made with.
	Schema []VectorSchema
	// Assumed: the log has not named the vectors yet, so that none counts as dropped.
	Assumed    bool
	Vectors    []VectorSettings // sorted by name
	Fields     []FieldIndex     // sorted by key
	Optimizers Optimizers
	// PayloadOnDisk: payloads are read from the disk as they are needed.
	PayloadOnDisk bool
}

// Named is the name of the vector that points keep under a key; false: there is none.
func (s *Settings) Named(key string) (string, bool) {
	for _, v := range s.Schema {
		if v.Key() == key {
			return v.Name, true
		}
	}
	return key, false
}

// VectorSettings is what stands beside the vectors of one name.
type VectorSettings struct {
	Name         string
	HNSW         HNSW
	Quantization Quantization
	// OnDisk: its vectors are read from the disk as they are needed.
	OnDisk bool
	// FullScanThreshold (Sparse): fewer vectors are all compared.
	FullScanThreshold int
	// IDF (Sparse): weights of a query are scaled by inverse document frequency. The
	// coordinator has done so, over all shards, before a shard sees them.
	IDF bool
}

// DefaultSparseScan is the FullScanThreshold of a sparse vector that does not say.
const DefaultSparseScan = 5000

// Params trade speed against accuracy in one search.
type Params struct {
	// Ef is how many near rows a walk keeps; 0: the index's default.
	Ef int
	// Exact compares with all rows, without codes.
	Exact bool
	// IndexedOnly passes over rows without an index.
	IndexedOnly bool
	// IgnoreCodes walks over the vectors though there are codes; Rescore: nil, the
	// kind's default; Oversampling: below 1 counts as 1.
	IgnoreCodes  bool
	Rescore      *bool
	Oversampling float64
	// Acorn asks for a walk that looks two hops ahead where the filter passes at most
	// the share AcornSelectivity of the rows.
	Acorn            bool
	AcornSelectivity float64
}
