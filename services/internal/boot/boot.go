// Package boot is what every process of Pando does before and after its work: logging, telemetry, signals, releasing
// things in reverse order, and the exit code. It knows nothing of the work itself.
//
//	code := boot.Main(boot.Options{Name: "pando"}, func(ctx context.Context, p *boot.Process) error {
//		p.Defer("store", store.Close)
//		return server.Run(ctx)
//	})
package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pandodb/pando/services/internal/fault"
)

// Exit codes. A supervisor can tell what a restart would help from what it would not.
const (
	ExitOK      = 0
	ExitFailure = 1   // anything without a code of its own
	ExitUsage   = 2   // wrong flag, key or value: nothing was started
	ExitPort    = 3   // a port is taken or not allowed
	ExitData    = 4   // the data folder is in use, not writable, or of another version
	ExitCorrupt = 5   // stored data is damaged
	ExitCluster = 101 // the cluster refused this process, is another one, or could not be joined in time
	ExitForced  = 130 // a second signal cut the stop short
)

// Exit gives err an exit code. Exit(code, nil) is nil.
func Exit(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{err, code}
}

type exitError struct {
	error
	code int
}

func (e *exitError) Unwrap() error { return e.error }

func (e *exitError) ExitCode() int { return e.code }

// Code is the exit code of err: that of the first error in the chain that has a method ExitCode, else ExitFailure.
func Code(err error) int {
	if err == nil {
		return ExitOK
	}
	if e, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return e.ExitCode()
	}
	return ExitFailure
}

// Options of Main.
type Options struct {
	Name  string     // service.name of logs, traces and metrics, unless OTEL_SERVICE_NAME says otherwise
	Level slog.Level // lowest level that is logged
	JSON  bool       // log JSON instead of text
	Log   io.Writer  // nil: standard error
	Env   []string   // like os.Environ(), which nil means; decides about OTLP
	// Signals end the process; nil means SIGINT and SIGTERM. Tests send their own.
	Signals chan os.Signal
	// Force ends the process at once; nil means os.Exit. It is called on the second signal.
	Force func(code int)
	// CloseWithin bounds all closers together; 0 means 10 s.
	CloseWithin time.Duration
}

// Process is what Main hands to the work.
type Process struct {
	Log *slog.Logger
	Telemetry
	closers []closer
}

type closer struct {
	name  string
	close func(context.Context) error
}

// Defer registers what must be released when the work has ended; the last one registered goes first. It is called
// from the work's own goroutine only.
func (p *Process) Defer(name string, close func(context.Context) error) {
	p.closers = append(p.closers, closer{name, close})
}

// Main runs the work until it returns or a signal ends its context, then releases everything, and returns the exit
// code. The work's error, if any, is logged once, here.
func Main(o Options, work func(context.Context, *Process) error) int {
	o = o.withDefaults()
	log := NewLogger(o.Log, o.Level, o.JSON)
	p := &Process{Log: log}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	tel, err := startTelemetry(ctx, o.Name, o.Env, log)
	if err != nil {
		log.Error("telemetry cannot start", "error", err)
		return ExitUsage
	}
	p.Telemetry = *tel
	p.Defer("telemetry", tel.shutdown)

	signals := o.Signals
	if signals == nil {
		signals = make(chan os.Signal, 2)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
		defer signal.Stop(signals)
	}
	stopped, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		o.watchSignals(signals, cancel, log, stopped)
	}()
	err = work(ctx, p)
	if ctx.Err() != nil && fault.OnlyCanceled(err) {
		err = nil // the work says that it was told to end
	}
	err = errors.Join(err, p.release(o.CloseWithin))
	close(stopped)
	<-watched
	if err != nil {
		log.Error(o.Name+" ends", "error", err, "exit_code", Code(err))
	}
	return Code(err)
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = os.Stderr
	}
	if o.Env == nil {
		o.Env = os.Environ()
	}
	if o.Force == nil {
		o.Force = os.Exit
	}
	if o.CloseWithin <= 0 {
		o.CloseWithin = 10 * time.Second
	}
	return o
}

// watchSignals ends the work on the first signal and the process on the second.
func (o Options) watchSignals(ch <-chan os.Signal, cancel context.CancelFunc, log *slog.Logger, stopped <-chan struct{}) {
	select {
	case s := <-ch:
		log.Info("stopping; a second signal ends at once", "signal", s.String())
		cancel()
	case <-stopped:
		return
	}
	select {
	case <-ch:
		log.Warn("stopped by force")
		o.Force(ExitForced)
	case <-stopped:
	}
}

// release runs the closers in reverse order; one that fails does not keep the others from running.
func (p *Process) release(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		c := p.closers[i]
		if err := c.close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("closing %s: %w", c.name, err))
		}
	}
	return errors.Join(errs...)
}
