package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// minEvery bounds what a watch costs the peer that it asks.
const minEvery = 100 * time.Millisecond

// watch shows the cluster again and again.
type watch struct {
	look  func(context.Context) (statusView, error)
	every time.Duration
	json  bool
	addr  string // of the peer that is asked
	out   io.Writer
}

// watched is one look, as JSON.
type watched struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error,omitempty"` // why there is nothing else
	*statusView
}

// run ends without an error with ctx. A peer that does not answer from the beginning is an error; one that goes away is
// waited for.
func (w watch) run(ctx context.Context) (err error) {
	view, err := w.look(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	show := w.append
	if f, ok := w.out.(*os.File); ok && !w.json && term.IsTerminal(int(f.Fd())) {
		s := &screen{out: f, size: func() (int, int, error) { return term.GetSize(int(f.Fd())) }}
		if err := s.open(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		show = func(now time.Time, view *statusView, failed error) error { return w.redraw(s, now, view, failed) }
	}
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	seen := view // stays on the screen while nothing newer is known
	for {
		if err := show(time.Now(), &seen, err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if view, err = w.look(ctx); ctx.Err() != nil {
			return nil
		}
		if err == nil {
			seen = view
		}
	}
}

// append shows a look below the one before.
func (w watch) append(now time.Time, view *statusView, failed error) error {
	if w.json {
		one := watched{Time: now, statusView: view}
		if failed != nil {
			one.Error, one.statusView = failed.Error(), nil
		}
		return json.NewEncoder(w.out).Encode(one)
	}
	fmt.Fprintf(w.out, "%s\n", now.Format(time.RFC3339))
	if failed != nil {
		_, err := fmt.Fprintf(w.out, "%v\n\n", failed)
		return err
	}
	if err := view.print(w.out, now); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w.out)
	return err
}

// redraw shows a look in the place of the one before; without an answer, that one and why it is old.
func (w watch) redraw(s *screen, now time.Time, view *statusView, failed error) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s as %s sees it, every %v; Ctrl-C ends\n", now.Format(time.DateTime), w.addr, w.every)
	if failed != nil {
		fmt.Fprintf(&b, "NO ANSWER, what follows is old: %v\n", failed)
	}
	b.WriteByte('\n')
	if err := view.print(&b, now); err != nil {
		return err
	}
	return s.draw(b.String())
}

// screen is a terminal that is drawn on in place. What was on it comes back at the end, with the last picture below it.
type screen struct {
	out  io.Writer
	size func() (width, height int, err error)
	last string
}

// Codes of terminals (ECMA-48, and xterm's for the alternate screen).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // alternate screen, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	restOfLine  = "\x1b[K"
	restOfAll   = "\x1b[J"
)

func (s *screen) open() error {
	_, err := io.WriteString(s.out, enterScreen)
	return err
}

func (s *screen) close() error {
	_, err := io.WriteString(s.out, leaveScreen+s.last)
	return err
}

// draw shows as many rows as there is room for, and says how many there are below.
func (s *screen) draw(picture string) error {
	s.last = picture
	width, height, err := s.size()
	if err != nil || width < 1 || height < 2 {
		width, height = 80, 24
	}
	var rows []string
	for line := range strings.SplitSeq(strings.TrimSuffix(picture, "\n"), "\n") {
		for r := []rune(line); ; r = r[width:] { // wrapped here: what a terminal does at its edge differs
			rows = append(rows, string(r[:min(width, len(r))]))
			if len(r) <= width {
				break
			}
		}
	}
	if len(rows) > height {
		text := []rune(fmt.Sprintf("… %d more rows: a higher window shows them, --collection shows less", len(rows)-height+1))
		rows = append(rows[:height-1], string(text[:min(width, len(text))]))
	}
	var b strings.Builder
	b.WriteString(home)
	for i, row := range rows {
		clear, end := restOfLine, "\r\n" // cleared first: after a full row the cursor still stands on its last character
		if i == len(rows)-1 {
			clear, end = restOfAll, ""
		}
		b.WriteString(clear + row + end)
	}
	_, err = io.WriteString(s.out, b.String())
	return err
}
