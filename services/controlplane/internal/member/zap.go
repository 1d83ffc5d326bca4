package member

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"syscall"

	etcderrors "go.etcd.io/etcd/server/v3/etcdserver/errors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/pandodb/pando/services/internal/boot"
)

// newZap makes the logger of etcd, which ends the process by what it logs where it cannot go on.
func newZap(log *slog.Logger, dir string, exit func(int)) *zap.Logger {
	end := func(how zapcore.CheckWriteAction) zapcore.CheckWriteHook { return ending{how, log, dir, exit} }
	return zap.New(bridge{log: log}, zap.AddCaller(), zap.WithPanicHook(end(zapcore.WriteThenPanic)), zap.WithFatalHook(end(zapcore.WriteThenFatal)))
}

// ending says what to do where etcd ends the process because of a full disk, and how otherwise.
type ending struct {
	how  zapcore.CheckWriteAction
	log  *slog.Logger
	dir  string
	exit func(int)
}

func (e ending) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && errors.Is(err, syscall.ENOSPC) {
			e.log.Error("pando ends: the disk is full. Make room, then start again: all that was acknowledged is there", "folder", e.dir, "exit_code", boot.ExitData)
			e.exit(boot.ExitData)
		}
	}
	e.how.OnWrite(entry, fields)
}

// bridge hands etcd's warnings and errors to slog. What is below a warning is dropped unread. Whether other members can be
// reached is said by those who dial them, so what etcd's transport says of it, again and again, is for debugging.
type bridge struct {
	log *slog.Logger
}

// expected is what etcd complains of in the usual course of things: our way of embedding it, its own first steps, members that
// were removed.
func expected(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.",
		"simple token is not cryptographically signed",
		"failed to update storage version", "Failed to detect schema version", // until the first snapshot of a new member
		"bootstrap failed", // its caller gets the same error, and tries again while members come and go
		"skipped attributes update of removed member",                                           // on each replay of the log
		"rejected Raft message from removed member", "rejected Raft message to mismatch member": // it is about to find out
		return true
	}
	return false
}

// behind tells the warning that etcd repeats without a pause at each start of a member that has seen more than 5,000 changes: it
// counts what it has applied from 0, and until the first entry it takes itself for overloaded and refuses its own request.
func behind(fields []zapcore.Field) bool {
	return slices.ContainsFunc(fields, func(f zapcore.Field) bool {
		err, _ := f.Interface.(error)
		return f.Type == zapcore.ErrorType && errors.Is(err, etcderrors.ErrTooManyRequests)
	})
}

func (b bridge) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	return bridge{log: b.log.With(attrs(fields)...)}
}

func (b bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !b.Enabled(e.Level) || expected(e.Message) {
		return ce
	}
	return ce.AddCore(e, b)
}

func (b bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if behind(fields) {
		return nil
	}
	level := slog.LevelWarn
	switch {
	case strings.Contains(e.Caller.File, "/etcdserver/api/rafthttp/"), strings.HasSuffix(e.Caller.File, "/etcdserver/cluster_util.go"):
		level = slog.LevelDebug
	case e.Level >= zapcore.ErrorLevel:
		level = slog.LevelError
	}
	b.log.Log(context.Background(), level, "etcd: "+e.Message, attrs(fields)...)
	return nil
}

func (b bridge) Sync() error { return nil }

func attrs(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]any, 0, len(fields))
	for _, f := range fields {
		if v, ok := enc.Fields[f.Key]; ok {
			out = append(out, slog.Any(f.Key, v))
		}
	}
	return out
}
