// Package cli is the command line: it parses, wires the house together, asks for consent, and decides
// the exit code. It alone prints, asks and exits; it alone knows every other package.
//
// One file a command: an options struct, a constructor that parses, a function that works.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/lock"
	"github.com/dripstat/failover/provision/planfile"
	"github.com/dripstat/failover/secrets"
)

// Exit codes; docs/exit-codes.md.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3
	exitStopped = 4
	exitLocked  = 5
	exitPipe    = 141 // as a shell says of a process that died of SIGPIPE
)

// App is what commands are given: the process's surroundings. Nothing in it is opened before it is used.
type App struct {
	In       *os.File
	Out, Err io.Writer
	LookEnv  func(string) (string, bool)

	backends map[string]secrets.Backend // that were made already
	asking   sync.Mutex                 // one question at a time
	said     map[string]secrets.Value   // passphrases, by what they open
	hears    atomic.Int32               // how many runs listen for signals
	tidies   atomic.Int32               // how many clean up before a signal ends the process
	restore  atomic.Pointer[func()]     // gives the terminal back as it was, while a question hides what is typed
	ran      atomic.Bool                // a run was performed

	// box, where it is set, is a sandbox that outlives a command: --sandbox uses it instead of starting its
	// own, and a run in it can be taken up again.
	box *box
	// tap, where it is set, is given every event of a run before the view is, as soon as it is recorded: a process dies there.
	tap func(provision.Event)
	// dial, where it is set, reaches servers in the network's place: those of a sandbox in another process.
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Main runs the command line and gives the exit code.
func Main() int {
	noCore()
	out := &output{file: os.Stdout}
	app := &App{In: os.Stdin, Out: out, Err: os.Stderr, LookEnv: os.LookupEnv}
	defer app.forget()
	cobra.EnableCommandSorting = false // help lists commands in the order of their use
	root := newRoot(app)
	root.SetArgs(longFlags(os.Args[1:]))
	root.SetIn(app.In)
	root.SetOut(app.Out)
	root.SetErr(app.Err)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		err = app.unwritten(out)
	}
	return app.exitCode(err)
}

// longFlags takes terraform's spelling of fmt -check, which fingers know.
func longFlags(args []string) []string {
	if len(args) > 1 && args[0] == "fmt" {
		for i, a := range args {
			if a == "-check" {
				args[i] = "--check"
			}
		}
	}
	return args
}

// exitError carries an exit code; quiet when everything was said already.
type exitError struct {
	code  int
	err   error
	quiet bool
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

func usage(hint, format string, a ...any) error {
	return &exitError{code: exitUsage, err: &provision.Error{What: fmt.Sprintf(format, a...), Hint: hint}}
}

// exitCode is the one place that decides it, and says what has not been said.
func (a *App) exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	code := exitFailed
	var (
		ee    *exitError
		held  *lock.HeldError
		diags planfile.Diagnostics
	)
	l := a.look(a.Err)
	switch {
	case errors.As(err, &ee):
		code = ee.code
		if ee.quiet {
			return code
		}
		err = ee.err
	case errors.As(err, &held):
		view.WriteError(a.Err, l, &provision.Error{Thing: "lock", What: held.Error(),
			Hint: "wait for it; see it with: failover status --follow; a dead run's lock ends by itself within 45 s; a live one is taken with --take-over SERVICE"})
		return exitLocked
	case errors.As(err, &diags):
		planfile.Write(a.Err, err, a.color(a.Err), l.Width)
		return exitUsage
	case strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "unknown flag"),
		strings.HasPrefix(err.Error(), "unknown shorthand"), strings.HasPrefix(err.Error(), "flag needs"),
		strings.HasPrefix(err.Error(), "invalid argument"), strings.Contains(err.Error(), "arg(s)"), strings.HasPrefix(err.Error(), "required flag"):
		view.WriteError(a.Err, l, &provision.Error{What: err.Error(), Hint: "failover --help"})
		return exitUsage
	}
	view.WriteError(a.Err, l, provision.AsError("", err))
	return code
}

func (a *App) env(name string) string {
	v, _ := a.LookEnv(name)
	return v
}

// stateDir is where journals and leases are kept when the plan names no other place.
func (a *App) stateDir() (string, error) {
	if d := a.env("FAILOVER_STATE_DIR"); d != "" {
		return d, nil
	}
	if d := a.env("XDG_STATE_HOME"); d != "" {
		return filepath.Join(d, "failover"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usage("set FAILOVER_STATE_DIR to a folder for journals", "no place for the journal: %v", err)
	}
	return filepath.Join(home, ".local", "state", "failover"), nil
}
