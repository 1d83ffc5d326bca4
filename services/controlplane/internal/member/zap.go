package member

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	etcderrors "go.etcd.io/etcd/server/v3/etcdserver/errors"
	"go.uber.org/zap/zapcore"
)

// bridge hands etcd's warnings and errors to slog. What is below a warning is dropped unread.
type bridge struct {
	log *slog.Logger
}

// expected are warnings that etcd prints at each start about our way of embedding it.
func expected(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.",
		"simple token is not cryptographically signed":
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
	if !b.Enabled(e.Level) || (e.Level == zapcore.WarnLevel && expected(e.Message)) {
		return ce
	}
	return ce.AddCore(e, b)
}

func (b bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if behind(fields) {
		return nil
	}
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
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
