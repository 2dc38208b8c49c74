package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"golang.org/x/term"

	"github.com/dripstat/failover/secrets"
)

// interactive reports whether there is a person to ask: both what we read and what we write is a terminal.
func (a *App) interactive() bool { return isTerminal(a.In) && isTerminal(a.Err) }

// consent asks before anything is changed. No terminal is never consent.
func (a *App) consent(question string) (bool, error) {
	if !a.interactive() {
		return false, usage("look at --dry-run, then give --yes", "there is no terminal to ask at, and --yes was not given; nothing was touched")
	}
	_, _ = fmt.Fprintf(a.Err, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil {
		return false, nil // ^D is a no
	}
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes", nil
}

// askSecret gives a function that reads a line without showing it; nil where there is nobody to ask.
func (a *App) askSecret() func(ctx context.Context, question string) (secrets.Value, error) {
	if !a.interactive() {
		return nil
	}
	return func(_ context.Context, question string) (secrets.Value, error) {
		_, _ = fmt.Fprintf(a.Err, "%s: ", question)
		defer fmt.Fprintln(a.Err) //nolint:errcheck // the terminal itself
		b, err := term.ReadPassword(int(a.In.Fd()))
		return secrets.NewValue(b), err
	}
}
