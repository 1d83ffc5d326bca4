package member

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/pandodb/pando/services/internal/boot"
)

// What etcd cannot survive on a full disk ends the process with words and a code of their own.
func TestEndOnAFullDisk(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "db", Err: syscall.ENOSPC}
	for _, c := range []struct {
		name string
		end  func(*zap.Logger)
		want any // what it ends with: an exit code, or a panic's message
	}{
		{"fatal", func(l *zap.Logger) { l.Fatal("failed to commit tx", zap.Error(full)) }, boot.ExitData},
		{"panic", func(l *zap.Logger) { l.Panic("failed to create WAL", zap.Error(fmt.Errorf("x: %w", full))) }, boot.ExitData},
		{"another reason", func(l *zap.Logger) { l.Panic("lost", zap.Error(fs.ErrNotExist)) }, "lost"},
	} {
		var out bytes.Buffer
		got := func() (got any) {
			defer func() { got = recover() }()
			c.end(newZap(slog.New(slog.NewTextHandler(&out, nil)), "/data", func(code int) { panic(code) }))
			return nil
		}()
		if got != c.want {
			t.Errorf("%s: ends with %v, want %v", c.name, got, c.want)
		}
		if said := strings.Contains(out.String(), "Make room") && strings.Contains(out.String(), "/data"); said != (c.want == boot.ExitData) {
			t.Errorf("%s: says %s", c.name, out.String())
		}
	}
}
