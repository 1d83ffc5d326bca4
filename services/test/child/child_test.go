package child

import (
	"context"
	"errors"
	"os"
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
