package segment

import (
	"errors"
	"io"

	"github.com/pandodb/pando/services/dataplane/internal/point"
	"github.com/pandodb/pando/services/internal/vfs"
)

// WriteArtefact writes a file that belongs to a segment: a graph, codes, inverted
// lists. name is that of the vectors it is about. It is durable when the call returns,
// and equal bytes make equal files. Folder and failures are as for Write.
func WriteArtefact(fsys vfs.FS, dir string, k Kind, name string, write func(io.Writer) error) (File, error) {
	w, err := create(fsys, dir, name, header{kind: k})
	if err != nil {
		return File{}, err
	}
	f, err := finishArtefact(w, write)
	if err != nil {
		return File{}, errors.Join(err, w.abandon())
	}
	return f, nil
}

func finishArtefact(w *writer, write func(io.Writer) error) (File, error) {
	if err := write(w); err != nil {
		return File{}, err
	}
	f, err := w.finish(0, point.Digest{})
	if err != nil {
		return File{}, err
	}
	return f, publish(w.fsys, w.dir, []*writer{w}, []File{f})
}

// Artefact is an open file of WriteArtefact.
type Artefact struct{ file *mapped }

// OpenArtefact maps a file and checks every byte; errors are those of Open.
func OpenArtefact(fsys vfs.FS, dir string, f File, p Placement) (*Artefact, error) {
	m, err := openFile(fsys, dir, f, p)
	if err != nil {
		return nil, err
	}
	return &Artefact{m}, nil
}

// Bytes are what was written. They begin at a multiple of 64, lie off Go's heap and
// must not be used after Close.
func (a *Artefact) Bytes() []byte { return a.file.content }

// Close gives the memory back. A second call is fs.ErrClosed.
func (a *Artefact) Close() error {
	a.file.content = nil
	return a.file.memory.Close()
}
