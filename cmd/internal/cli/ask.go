package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
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
		b, err := a.hidden(question)
		return secrets.NewValue(b), err
	}
}

// hidden asks for a line that is not shown: nothing of it is, for the echo is off before the question is there. ^C leaves the terminal as it was,
// and ends the process where nobody else listens for it.
func (a *App) hidden(question string) ([]byte, error) {
	fd := int(a.In.Fd())
	was, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, stops()...)
	defer signal.Stop(heard)
	restore := func() { _ = term.Restore(fd, was) }
	defer restore()
	a.restore.Store(&restore)
	defer a.restore.Store(nil)
	if err := hideInput(fd); err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(a.Err, "%s: ", question)
	defer fmt.Fprintln(a.Err)
	type answer struct {
		line []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() { // whoever waits for a terminal cannot be called back; the process ends soon
		line, err := readLine(a.In)
		read <- answer{line, err}
	}()
	select {
	case x := <-read:
		return x.line, x.err
	case s := <-heard:
		if a.hears.Load() == 0 {
			restore()
			_, _ = fmt.Fprintln(a.Err)
			if a.tidies.Load() > 0 { // who cleans up ends the process
				select {}
			}
			signal.Stop(heard)
			dieOf(s)
		}
		return nil, errors.New("it was interrupted at the question")
	}
}

// readLine reads what was typed, without its end. It is read by single bytes: what follows is somebody else's.
func readLine(in io.Reader) ([]byte, error) {
	line := make([]byte, 0, 1024) // no copy of it is left behind as it grows
	var one [1]byte
	for {
		n, err := in.Read(one[:])
		switch {
		case n > 0 && one[0] == '\n':
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		case n > 0:
			line = append(line, one[0])
		case err != nil && len(line) > 0 && errors.Is(err, io.EOF):
			return line, nil
		case err != nil:
			return nil, err
		}
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
