package cli

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/fvecs"
	"github.com/pandodb/pando/services/internal/npy"
	"github.com/pandodb/pando/services/internal/wire"
)

// maxLine is the longest line of a .jsonl file: a vector of the largest size with room to spare.
const maxLine = 8 << 20

// matrixReader gives the rows of a file of vectors; io.EOF after the last.
type matrixReader interface {
	Next(dst []float32) ([]float32, error)
}

// pointSource joins the rows of a matrix and the lines of a .jsonl file into points.
type pointSource struct {
	total   int // -1: not known
	idField string
	vectors matrixReader
	lines   *bufio.Scanner
	matrix  string // names of the files
	jsonl   string
	row     int // of the next point
	size    int // of the vectors in lines; 0: none was read yet
	files   []io.Closer
}

func openPoints(vectors, jsonl, idField string) (*pointSource, error) {
	s := &pointSource{total: -1, idField: idField, matrix: vectors, jsonl: jsonl}
	if vectors != "" {
		if err := s.openMatrix(); err != nil {
			s.close()
			return nil, err
		}
	}
	if jsonl != "" {
		r, err := s.open(jsonl)
		if err != nil {
			s.close()
			return nil, err
		}
		s.lines = bufio.NewScanner(r)
		s.lines.Buffer(make([]byte, 1<<16), maxLine)
	}
	return s, nil
}

func (s *pointSource) openMatrix() error {
	r, err := s.open(s.matrix)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(strings.TrimSuffix(s.matrix, ".gz"), ".fvecs") {
		n, err := npy.NewReader(r)
		if err != nil {
			return fmt.Errorf("%s: %w", s.matrix, err)
		}
		s.vectors, s.total = n, n.Rows
		return nil
	}
	f, err := fvecs.NewReader(r)
	if err != nil {
		return fmt.Errorf("%s: %w", s.matrix, err)
	}
	s.vectors = f
	plain, ok := r.(*os.File)
	if !ok {
		return nil // how long it is shows at its end
	}
	info, err := plain.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if s.total, err = f.Rows(info.Size()); err != nil {
		return fmt.Errorf("%s: %w", s.matrix, err)
	}
	return nil
}

func (s *pointSource) open(name string) (io.Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, f)
	if !strings.HasSuffix(name, ".gz") {
		return f, nil
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		s.close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return z, nil
}

func (s *pointSource) close() {
	for _, f := range s.files {
		_ = f.Close() // only read from
	}
}

// next is the next point; io.EOF after the last. A matrix and a file of lines must be of one length.
func (s *pointSource) next() (*qdrant.PointStruct, error) {
	p, err := s.build()
	s.row++
	return p, err
}

// rowError and lineError name the place in a file: rows count from 0 as in NumPy, lines from 1 as in editors.
func (s *pointSource) rowError(err error) error {
	return fmt.Errorf("%s, row %d: %w", s.matrix, s.row, err)
}

func (s *pointSource) lineError(err error) error {
	return fmt.Errorf("%s, line %d: %w", s.jsonl, s.row+1, err)
}

func (s *pointSource) build() (*qdrant.PointStruct, error) {
	p := &qdrant.PointStruct{Id: number(uint64(s.row))}
	ended := 0
	if s.vectors != nil {
		row, err := s.vectors.Next(nil)
		switch err {
		case nil:
			if at := slices.IndexFunc(row, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }); at >= 0 {
				return nil, s.rowError(fmt.Errorf("column %d is %v, which no vector may hold", at, row[at]))
			}
			p.Vectors = single(row)
		case io.EOF:
			ended++
		default:
			return nil, s.rowError(err)
		}
	}
	if s.lines != nil {
		if s.lines.Scan() {
			if ended > 0 {
				return nil, s.lineError(fmt.Errorf("there are more lines than vectors in %s", s.matrix))
			}
			if err := s.fill(p, s.lines.Bytes()); err != nil {
				return nil, s.lineError(err)
			}
			return p, nil
		}
		if err := s.lines.Err(); err != nil {
			return nil, s.lineError(err)
		}
		if ended == 0 && s.vectors != nil {
			return nil, s.rowError(fmt.Errorf("there are more vectors than lines in %s", s.jsonl))
		}
		ended++
	}
	if ended > 0 {
		return nil, io.EOF
	}
	return p, nil
}

// fill takes id, payload and, where no matrix gives it, the vector out of a line.
func (s *pointSource) fill(p *qdrant.PointStruct, line []byte) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	var m map[string]any
	err := dec.Decode(&m)
	if err == io.EOF || err == nil && m == nil {
		return errors.New("a line must be a JSON object")
	}
	if err == nil && len(bytes.TrimSpace(line[dec.InputOffset():])) > 0 {
		err = errors.New("there is more than one JSON value")
	}
	if bad, ok := errors.AsType[*json.SyntaxError](err); ok {
		err = fmt.Errorf("byte %d: %w", bad.Offset, err)
	}
	if err != nil {
		return err
	}
	if raw, ok := m[s.idField]; ok {
		id, err := idOf(raw)
		if err != nil {
			return err
		}
		p.Id = id
		delete(m, s.idField)
	}
	if s.vectors == nil {
		v, err := vectorOf(m["vector"])
		if err != nil {
			return err
		}
		if s.size == 0 {
			s.size = len(v)
		}
		if len(v) != s.size {
			return fmt.Errorf(`"vector" has %d numbers, those before have %d`, len(v), s.size)
		}
		p.Vectors = single(v)
		delete(m, "vector")
	}
	if inner, ok := m["payload"].(map[string]any); ok {
		m = inner
	}
	p.Payload = make(map[string]*qdrant.Value, len(m))
	for k, v := range m {
		value, err := valueOf(v)
		if err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		p.Payload[k] = value
	}
	return nil
}

func number(n uint64) *qdrant.PointId {
	return &qdrant.PointId{PointIdOptions: &qdrant.PointId_Num{Num: n}}
}

func single(v []float32) *qdrant.Vectors {
	return &qdrant.Vectors{VectorsOptions: &qdrant.Vectors_Vector{Vector: &qdrant.Vector{Vector: &qdrant.Vector_Dense{Dense: &qdrant.DenseVector{Data: v}}}}}
}

// dimension is the length of a point's vector, 0 without one.
func dimension(p *qdrant.PointStruct) int {
	return len(p.GetVectors().GetVector().GetDense().GetData())
}

func idOf(raw any) (*qdrant.PointId, error) {
	switch v := raw.(type) {
	case json.Number:
		n, err := strconv.ParseUint(v.String(), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("id %s: must be a whole number from 0, or a UUID", v)
		}
		return number(n), nil
	case string:
		if _, err := wire.UUID(v); err != nil {
			return nil, fmt.Errorf("id %.64q: must be a whole number from 0, or a UUID", v)
		}
		return &qdrant.PointId{PointIdOptions: &qdrant.PointId_Uuid{Uuid: v}}, nil
	}
	return nil, fmt.Errorf("an id must be a number or a UUID, not %T", raw)
}

func vectorOf(raw any) ([]float32, error) {
	list, ok := raw.([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New(`"vector" must be a list of numbers`)
	}
	out := make([]float32, len(list))
	for i, e := range list {
		n, ok := e.(json.Number)
		if !ok {
			return nil, errors.New(`"vector" must be a list of numbers`)
		}
		f, err := strconv.ParseFloat(n.String(), 32)
		if err != nil || math.IsInf(f, 0) {
			return nil, fmt.Errorf(`"vector" has %s, which is no float`, n)
		}
		out[i] = float32(f)
	}
	return out, nil
}

// valueOf keeps whole numbers apart from others, as the payload does.
func valueOf(raw any) (*qdrant.Value, error) {
	switch v := raw.(type) {
	case nil:
		return &qdrant.Value{Kind: &qdrant.Value_NullValue{}}, nil
	case bool:
		return &qdrant.Value{Kind: &qdrant.Value_BoolValue{BoolValue: v}}, nil
	case string:
		return &qdrant.Value{Kind: &qdrant.Value_StringValue{StringValue: v}}, nil
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return &qdrant.Value{Kind: &qdrant.Value_IntegerValue{IntegerValue: n}}, nil
		}
		f, err := v.Float64()
		return &qdrant.Value{Kind: &qdrant.Value_DoubleValue{DoubleValue: f}}, err
	case []any:
		list := &qdrant.ListValue{}
		for _, e := range v {
			value, err := valueOf(e)
			if err != nil {
				return nil, err
			}
			list.Values = append(list.Values, value)
		}
		return &qdrant.Value{Kind: &qdrant.Value_ListValue{ListValue: list}}, nil
	case map[string]any:
		object := &qdrant.Struct{Fields: make(map[string]*qdrant.Value, len(v))}
		for k, e := range v {
			value, err := valueOf(e)
			if err != nil {
				return nil, err
			}
			object.Fields[k] = value
		}
		return &qdrant.Value{Kind: &qdrant.Value_StructValue{StructValue: object}}, nil
	}
	return nil, fmt.Errorf("a value of type %T", raw)
}
