package lan

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain runs the tests inside namespaces of their own, where there are any, and is the other host's program.
func TestMain(m *testing.M) {
	flag.Parse()
	if at := os.Getenv("PANDO_TEST_ECHO"); at != "" {
		fmt.Fprintln(os.Stderr, echo(at))
		os.Exit(1)
	}
	if Inside() {
		os.Exit(m.Run())
	}
	err := Alone(context.Background(), os.Args[1:]...)
	var exit *exec.ExitError
	switch {
	case errors.Is(err, ErrNotHere):
		fmt.Println("left out:", err)
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Println(err)
		os.Exit(1)
	}
}

// echo answers every connection with what it says.
func echo(at string) error {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(c, c) // until it is closed
			_ = c.Close()
		}()
	}
}

// talk sends a little over a connection and waits for it to come back.
func talk(c net.Conn, within time.Duration) (time.Duration, error) {
	began := time.Now()
	if err := c.SetDeadline(began.Add(within)); err != nil {
		return 0, err
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return time.Since(began), err
}

// dial connects when the other side listens.
func dial(t *testing.T, at string) net.Conn {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if c, err := net.DialTimeout("tcp", at, time.Second); err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		<-tick.C
	}
	t.Fatal("nobody listens at ", at)
	return nil
}

// TestLinks: an open connection feels each change of a link at once, in the direction meant.
func TestLinks(t *testing.T) {
	w, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	at := Addr(1).String() + ":4000"
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.Stderr = append(os.Environ(), "PANDO_TEST_ECHO="+at), os.Stderr
	if err := w.Begin(1, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Kill(), w.Close()); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	})
	c := dial(t, at)
	if took, err := talk(c, time.Second); err != nil || took > 200*time.Millisecond {
		t.Errorf("%v, %v", took, err)
	}
	w.Set(1, 0, Link{Delay: 60 * time.Millisecond, Jitter: 20 * time.Millisecond})
	if took, err := talk(c, time.Second); err != nil || took < 60*time.Millisecond {
		t.Errorf("over a slow link: %v, %v", took, err)
	}
	for _, way := range [][2]int{{0, 1}, {1, 0}} {
		for _, l := range []Link{{Cut: true}, {Loss: 1}} {
			w.Heal()
			w.Set(way[0], way[1], l)
			if took, err := talk(c, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%v cut by %+v: %v, %v", way, l, took, err)
			}
			w.Set(way[0], way[1], Link{})
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			c = dial(t, at)
		}
	}
	w.Heal()
	w.Set(2, 0, Link{Cut: true})
	if _, err := talk(c, time.Second); err != nil {
		t.Errorf("the cut of another host: %v", err)
	}
}

// TestDisk: it holds what it holds, and mounts stay inside.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	if err := Disk(dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "a"), make([]byte, 2<<20), 0o600); err == nil {
		t.Error("2 MiB fit into 1 MiB")
	}
	if os.Getpid() != 1 {
		t.Errorf("process %d of its namespace", os.Getpid())
	}
}
