// Package vectors reads files of vectors, whole, for programs that store them. What they mean is the program's matter.
package vectors

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pandodb/pando/services/internal/npy"
)

// Open shows the content of a file to read, unpacked if its name ends in .gz. Errors tell the name.
func Open(name string, read func(io.Reader) error) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var r io.Reader = bufio.NewReaderSize(f, 1<<20)
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := read(r); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Searched reads the vectors of a data set in float16, and what they are searched for: least of them at least.
func Searched(dir string, least int) (base, queries [][]float32, err error) {
	if base, err = Matrix(filepath.Join(dir, "base.f16.npy.gz")); err != nil {
		return nil, nil, err
	}
	if queries, err = Matrix(filepath.Join(dir, "queries.f16.npy")); err == nil && (len(base) < least || len(queries) == 0) {
		err = fmt.Errorf("%s: %d vectors and %d queries are too few", dir, len(base), len(queries))
	}
	return base, queries, err
}

// Matrix reads the rows of an .npy file.
func Matrix(name string) (rows [][]float32, err error) {
	err = Open(name, func(in io.Reader) error {
		r, err := npy.NewReader(in)
		if err != nil {
			return err
		}
		for {
			row, err := r.Next(nil)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
	})
	return rows, err
}
