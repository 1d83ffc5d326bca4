package child

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script stands in for a binary.
func script(t *testing.T, text string) Home {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pando")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return Home{Binary: path, Dir: t.TempDir()}
}

func TestStartTellsLastWords(t *testing.T) {
	_, err := script(t, "echo the port is taken >&2; exit 3\n").Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "the port is taken") {
		t.Error(err)
	}
	if _, err := (Home{Binary: "/no/such", Dir: t.TempDir()}).Start(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := script(t, "exec sleep 60\n").Start(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestRuns: each run has words of its own, in the log and to who listens, and tells how it ended.
func TestRuns(t *testing.T) {
	h := script(t, "echo one $PWD; exit 4\n")
	h.Work = t.TempDir()
	for range 2 {
		var heard strings.Builder
		h.Echo = &heard
		p, err := h.Launch()
		if err != nil {
			t.Fatal(err)
		}
		err = p.AwaitReady(t.Context())
		if exit, ok := errors.AsType[*exec.ExitError](p.Err()); !ok || exit.ExitCode() != 4 || strings.Count(err.Error(), "one "+h.Work) != 1 || heard.String() != "one "+h.Work+"\n" {
			t.Errorf("%v, %v, heard %q", p.Err(), err, heard.String())
		}
		<-p.Done()
		if err := errors.Join(p.Kill(), p.Kill()); err != nil {
			t.Error(err)
		}
	}
	if strings.Count(h.Tail(10), "one ") != 2 {
		t.Error(h.Tail(10))
	}
}

func TestFreePortsDiffer(t *testing.T) {
	ports, err := FreePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ports)
	if len(slices.Compact(ports)) != 20 {
		t.Error(ports)
	}
}
