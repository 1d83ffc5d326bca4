package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
)

// looks gives a picture each time, or an error.
func looks(errs ...error) func(context.Context) (statusView, error) {
	n := uint64(0)
	return func(context.Context) (statusView, error) {
		n++
		var err error
		if int(n) <= len(errs) {
			err = errs[n-1]
		}
		return statusView{Enabled: true, PeerID: n, Peers: []peerView{{ID: n, URI: "http://a"}}}, err
	}
}

// TestWatch: a look each time; one that fails does not end it, unless it is the first.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("no peer answers")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var out bytes.Buffer
		if err := (watch{look: looks(nil, nil, gone), every: 2 * time.Second, json: true, out: &out}).run(ctx); err != nil {
			t.Fatal(err)
		}
		var ids []uint64
		for d := json.NewDecoder(&out); ; {
			one := struct {
				Time   time.Time `json:"time"`
				Error  string    `json:"error"`
				PeerID uint64    `json:"peer_id"`
			}{}
			if err := d.Decode(&one); errors.Is(err, io.EOF) {
				break
			} else if err != nil || one.Time.IsZero() || (one.Error == gone.Error()) != (len(ids) == 2) {
				t.Errorf("%v %+v", err, one)
			}
			ids = append(ids, one.PeerID)
		}
		if len(ids) != 3 || ids[0] != 1 || ids[1] != 2 || ids[2] != 0 {
			t.Errorf("%v", ids)
		}

		ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		out.Reset()
		if err := (watch{look: looks(nil, gone), every: 2 * time.Second, out: &out}).run(ctx); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); strings.Count(text, "PEER") != 2 || strings.Count(text, gone.Error()) != 1 || strings.ContainsRune(text, '\x1b') {
			t.Errorf("%q", text)
		}
		if err := (watch{look: looks(gone), every: time.Second, out: &out}).run(t.Context()); !errors.Is(err, gone) {
			t.Error(err)
		}
	})
}

// TestWatchKeepsTheLastPicture while the peer does not answer, and says that it is old.
func TestWatchKeepsTheLastPicture(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, size: func() (int, int, error) { return 80, 24, nil }}
	view := statusView{Enabled: true, Peers: []peerView{{ID: 5, URI: "http://a"}}}
	if err := (watch{addr: "a:1", every: time.Second}).redraw(s, time.Now(), &view, errors.New("refused")); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "NO ANSWER, what follows is old: refused") || !strings.Contains(text, "http://a") {
		t.Errorf("%q", text)
	}
}

func TestScreen(t *testing.T) {
	for _, c := range []struct {
		name          string
		width, height int
		picture, want string
	}{
		{"fits", 4, 3, "a\nbé\n", "\x1b[H\x1b[Ka\r\n\x1b[Jbé"},
		{"wraps", 4, 3, "abcdefghi\n", "\x1b[H\x1b[Kabcd\r\n\x1b[Kefgh\r\n\x1b[Ji"},
		{"full width", 4, 3, "abcd\n\nx\n", "\x1b[H\x1b[Kabcd\r\n\x1b[K\r\n\x1b[Jx"},
		{"too high", 9, 2, "a\nb\nc\nd\n", "\x1b[H\x1b[Ka\r\n\x1b[J… 3 more "},
	} {
		var out bytes.Buffer
		s := &screen{out: &out, size: func() (int, int, error) { return c.width, c.height, nil }}
		if err := s.draw(c.picture); err != nil || out.String() != c.want {
			t.Errorf("%s: %v\n%q, want\n%q", c.name, err, out.String(), c.want)
		}
		if err := s.close(); err != nil || !strings.HasSuffix(out.String(), "\x1b[?1049l"+c.picture) {
			t.Errorf("%s: after the end: %q", c.name, out.String())
		}
	}
}

// TestWatchEndsAtCtrlC: with code 0, after whole objects.
func TestWatchEndsAtCtrlC(t *testing.T) {
	addr := start(t, &peer{status: &clusterv1.ClusterStatus{Status: clusterv1.ClusterStatus_MODE_ENABLED, PeerId: 9}})
	r, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- Main(t.Context(), Runners{}, IO{Args: []string{"cluster", "status", "--watch", "--json", "--addr", addr, "--api-key", "k"}, Out: w, Err: w})
		_ = w.Close() // of a pipe: it does not fail
	}()
	d := json.NewDecoder(r)
	var one struct {
		PeerID uint64 `json:"peer_id"`
	}
	if err := d.Decode(&one); err != nil || one.PeerID != 9 {
		t.Fatalf("%v %+v", err, one)
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for {
		if err := d.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if c := <-code; c != 0 {
		t.Errorf("exit code %d", c)
	}
	if code, _, errs := command(t, Runners{}, nil, "cluster", "status", "--watch=1ms", "--addr", addr); code != 2 || !strings.Contains(errs, "100ms") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
