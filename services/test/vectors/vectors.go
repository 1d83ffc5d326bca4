// Package vectors reads files of vectors, whole, for programs that store them. What they mean is the program's matter.
package vectors

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
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
