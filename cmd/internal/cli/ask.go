package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/term"

	"github.com/dripstat/failover/secrets"
)

// interactive reports whether there is a person to ask: both what we read and what we write is a terminal.
func (a *App) interactive() bool { return isTerminal(a.In) && isTerminal(a.Err) }

// consent asks before anything is changed; nil is a yes. No terminal is never consent.
func (a *App) consent(question string) error {
	if err := a.mayAsk(); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.Err, "%s [y/N] ", question)
	line, _ := bufio.NewReader(a.In).ReadString('\n') // ^D is a no
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return &exitError{code: exitUsage, err: errors.New("not confirmed; nothing was touched")}
}

// mayAsk refuses early where consent could not be asked for later.
func (a *App) mayAsk() error {
	if a.interactive() {
		return nil
	}
	return usage("look at --dry-run, then give --yes", "there is no terminal to ask at, and --yes was not given; nothing was touched")
}

// askSecret gives a function that reads a line without showing it; nil where there is nobody to ask.
func (a *App) askSecret() func(ctx context.Context, question string) (secrets.Value, error) {
	if !a.interactive() {
		return nil
	}
	return func(_ context.Context, question string) (secrets.Value, error) {
		_, _ = fmt.Fprintf(a.Err, "%s: ", question)
		defer fmt.Fprintln(a.Err)
		b, err := term.ReadPassword(int(a.In.Fd()))
		return secrets.NewValue(b), err
	}
}

// askOnce is askSecret that remembers what a person said, while this process lives: a certificate is fetched once for each region, and again by
// a run. What is asked a second time in one go was wrong the first time.
func (a *App) askOnce(what string) func(ctx context.Context, question string) (secrets.Value, error) {
	ask := a.askSecret()
	if ask == nil {
		return nil
	}
	again := false
	return func(ctx context.Context, question string) (secrets.Value, error) {
		a.asking.Lock()
		defer a.asking.Unlock()
		if known := a.said[what]; len(known.Bytes()) > 0 && !again {
			again = true
			return secrets.NewValue(append([]byte{}, known.Bytes()...)), nil
		}
		again = true
		v, err := ask(ctx, question)
		if err != nil {
			return v, err
		}
		if a.said == nil {
			a.said = map[string]secrets.Value{}
		}
		a.said[what] = secrets.NewValue(append([]byte{}, v.Bytes()...))
		return v, nil
	}
}

// forget wipes what people said.
func (a *App) forget() {
	a.asking.Lock()
	defer a.asking.Unlock()
	for _, v := range a.said {
		v.Wipe()
	}
	a.said = nil
}
