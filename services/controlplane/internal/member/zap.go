package member

import (
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap/zapcore"
)

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
		"skipped attributes update of removed member",                                           // on each replay of the log
		"rejected Raft message from removed member", "rejected Raft message to mismatch member": // it is about to find out
		return true
	}
	return false
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
