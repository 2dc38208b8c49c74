package cli

import (
	"cmp"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
)

// output is standard output, and knows whether all of it was written: a plan in JSON that is cut short by a full disk must not
// look like one that is whole.
type output struct {
	file *os.File
	mu   sync.Mutex
	err  error // the first
}

// Write keeps the error that most who print do not look at.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	if err != nil {
		o.mu.Lock()
		o.err = cmp.Or(o.err, err)
		o.mu.Unlock()
	}
	return n, err
}

// Fd lets a terminal be known as one.
func (o *output) Fd() uintptr { return o.file.Fd() }

// unwritten gives an error where what a command printed, and did nothing else, is not all there. A run is what it is, read or not.
func (a *App) unwritten(o *output) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err == nil || a.ran.Load():
		return nil
	case errors.Is(o.err, syscall.EPIPE): // head has seen enough
		return &exitError{code: exitPipe, quiet: true, err: o.err}
	}
	return &provision.Error{Thing: "standard output", What: "not all of it could be written", Err: o.err}
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(s any) bool {
	f, ok := s.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// drawable reports whether a live screen can be drawn on a stream.
func (a *App) drawable(s any) bool {
	f, ok := s.(interface{ Fd() uintptr })
	return ok && isTerminal(s) && a.env("TERM") != "dumb" && foreground(int(f.Fd()))
}

// color follows https://no-color.org, and CLICOLOR_FORCE for those who pipe into a pager that shows it.
func (a *App) color(w any) bool {
	if a.env("NO_COLOR") != "" || a.env("TERM") == "dumb" {
		return false
	}
	return isTerminal(w) || a.env("CLICOLOR_FORCE") != ""
}

func (a *App) look(w io.Writer) *view.Look {
	width, _ := a.size(w)()
	if width == 0 { // a pipe or a file: room for a plan, and few commands broken in two; what tee repeats fits the terminal below it
		width = 120
		if below, _ := a.size(a.In)(); below > 0 {
			width = min(width, below)
		}
	}
	return view.NewLook(w, a.color(w), width)
}

// canvas is size for a live screen: -1, -1 while this process is a job in the background.
func (a *App) canvas(w any) func() (int, int) {
	size := a.size(w)
	return func() (int, int) {
		if f, ok := w.(interface{ Fd() uintptr }); ok && !foreground(int(f.Fd())) {
			return -1, -1
		}
		return size()
	}
}

// size gives the size of a terminal, whenever asked; 0, 0 for anything else.
func (a *App) size(w any) func() (int, int) {
	return func() (int, int) {
		f, ok := w.(interface{ Fd() uintptr })
		if !ok {
			return 0, 0
		}
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0, 0
		}
		return width, height
	}
}
