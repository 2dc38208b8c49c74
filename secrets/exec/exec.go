// Package exec takes certificates from what commands print: those of password managers (op, pass, gopass, bw) and any
// other.
//
// It turns a command's standard output, PEM or JSON, into a *secrets.Certificate. A command is run as it stands, never by
// a shell, with /dev/null as its input, bounded in time and output. Nothing of its standard output is ever shown; of
// what it says on standard error, only what cannot be a secret.
package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/secrets"
)

const (
	// DefaultTimeout bounds a command that the plan says nothing of.
	DefaultTimeout = 10 * time.Second
	// maxOutput bounds what is read: a chain with its key has a few KiB.
	maxOutput = 1 << 20
	maxSaid   = 8 << 10
)

// Store is commands as a backend of secrets. {path} in a word is the path that is asked for.
type Store struct {
	Run        []string // prints chain and key, or JSON that holds them
	Chain, Key []string // instead of Run: one prints the chain, one the key
	// ChainField and KeyField are where in JSON they are (secrets.Pick); empty: "chain" and "key". Several fields are
	// joined. They are not looked at where what is printed is not JSON.
	ChainField []string
	KeyField   string
	Dir        string        // working directory
	Timeout    time.Duration // of each command; 0: DefaultTimeout
	Without    []string      // variables of this process's environment that the commands do not get
}

// Certificate runs the commands. One that is not there, fails or is not done in time says nothing of the certificate; one
// that prints something else than a certificate does.
func (s *Store) Certificate(ctx context.Context, path string) (*secrets.Certificate, error) {
	if len(s.Run) > 0 {
		out, err := s.output(ctx, s.Run, path)
		if err != nil {
			return nil, err
		}
		defer out.Wipe()
		c, err := s.parse(out, path)
		if err != nil {
			return nil, &secrets.Error{What: fmt.Sprintf("what %s printed for %q will not do", name(s.Run), path), Err: err, Hint: secrets.HintOf(err)}
		}
		return c, nil
	}
	chain, err := s.output(ctx, s.Chain, path)
	if err != nil {
		return nil, err
	}
	key, err := s.output(ctx, s.Key, path)
	if err != nil {
		chain.Wipe()
		return nil, err
	}
	c, err := secrets.Read(chain, key)
	if err != nil {
		return nil, &secrets.Error{What: fmt.Sprintf("what %s and %s printed for %q will not do", name(s.Chain), name(s.Key), path), Err: err}
	}
	return c, nil
}

func (s *Store) output(ctx context.Context, words []string, path string) (secrets.Value, error) {
	filled := make([]string, len(words))
	for i, w := range words {
		filled[i] = secrets.Fill(w, path)
	}
	out, err := Output(ctx, Command{Words: filled, Dir: s.Dir, Timeout: s.Timeout, Without: s.Without})
	if err != nil {
		return out, &secrets.Error{What: fmt.Sprintf("nothing for %q", path), Err: err}
	}
	return out, nil
}

func (s *Store) parse(out secrets.Value, path string) (*secrets.Certificate, error) {
	if text := bytes.TrimSpace(out.Bytes()); len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return secrets.Read(out, secrets.Value{})
	}
	return secrets.Fields(out, path, s.ChainField, s.KeyField)
}

// Command is one to run.
type Command struct {
	Words   []string
	Dir     string
	Timeout time.Duration // 0: DefaultTimeout
	Without []string      // variables of this process's environment that it does not get
}

func name(words []string) string {
	if len(words) == 0 {
		return "no command"
	}
	return filepath.Base(words[0])
}

// Output runs a command and gives what it printed, to be wiped by the caller. Every error says that nothing is known of
// the secret (secrets.Elsewhere): the command is not there, ended with another code than 0, did not end, or printed
// nothing or too much.
func Output(ctx context.Context, c Command) (secrets.Value, error) {
	away := func(hint, f string, a ...any) (secrets.Value, error) {
		return secrets.Value{}, &secrets.Error{Away: true, What: fmt.Sprintf(f, a...), Hint: hint}
	}
	who := name(c.Words)
	if len(c.Words) == 0 {
		return away("", "there is no command")
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	limit, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(limit, c.Words[0], c.Words[1:]...) //nolint:gosec // running the user's command is what this is for
	cmd.Dir = c.Dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(c.Without, name)
	})
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe open after the kill
	out, said := &bounded{max: maxOutput}, &bounded{max: maxSaid}
	defer said.wipe()
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	masked := mask(said.b, out.b)
	if masked != "" {
		masked = "; it said: " + masked
	}
	switch {
	case err == nil:
	case limit.Err() != nil && ctx.Err() == nil:
		out.wipe()
		return away("unlock it before, or give it longer: timeout = \"30s\"", "%s did not end within %s%s", who, c.Timeout, masked)
	case ctx.Err() != nil:
		out.wipe()
		return secrets.Value{}, &secrets.Error{Away: true, What: who + " was not waited for any longer", Err: ctx.Err()}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		out.wipe()
		return away("install it, or give its path", "%s is not on this machine", who)
	default:
		out.wipe()
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			return away("run it by hand", "%s ended with %s%s", who, ee.ProcessState, masked)
		}
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return away("run it by hand", "%s cannot be run: %v", who, err)
	}
	switch {
	case out.full:
		out.wipe()
		return away("", "%s printed more than %d KiB: that is no certificate", who, maxOutput>>10)
	case len(bytes.TrimSpace(out.b)) == 0:
		return away("run it by hand", "%s printed nothing%s", who, masked)
	}
	return secrets.NewValue(out.b), nil
}

// bounded keeps the beginning of what is written to it. Growing, it leaves no copy behind.
type bounded struct {
	b    []byte
	max  int
	full bool
}

func (w *bounded) Write(p []byte) (int, error) {
	n := len(p)
	if room := w.max - len(w.b); n > room {
		p, w.full = p[:room], true
	}
	if len(w.b)+len(p) > cap(w.b) {
		grown := make([]byte, len(w.b), min(w.max, max(16<<10, 2*(len(w.b)+len(p)))))
		copy(grown, w.b)
		clear(w.b)
		w.b = grown
	}
	w.b = append(w.b, p...)
	return n, nil
}

func (w *bounded) wipe() {
	clear(w.b)
	w.b = nil
}

var (
	pemBlock = regexp.MustCompile(`(?s)-----BEGIN .*?(-----END [A-Z0-9 ]*-----|$)`)
	// A run that could be a key, a token or a part of either. Paths and names have dots, spaces or dashes sooner.
	longRun = regexp.MustCompile(`[A-Za-z0-9+/_=-]{40,}|[A-Za-z0-9+=]{20,}`)
	assign  = regexp.MustCompile(`(?i)\b(pass(word|phrase|wd)?|secret|token|key|pin)\b(\s*[:=]\s*)("[^"]*"|'[^']*'|\S+)`)
)

// mask gives what a command said on standard error as it may be shown: one line, without anything that stood on
// standard output too, and without what looks like a secret.
func mask(said, printed []byte) string {
	s := string(bytes.ToValidUTF8(said, []byte("?")))
	s = pemBlock.ReplaceAllString(s, secrets.Placeholder)
	words := strings.Fields(s)
	for i, w := range words {
		if core := strings.Trim(w, `"'.,:;()[]{}`); len(core) >= 6 && bytes.Contains(printed, []byte(core)) {
			words[i] = secrets.Placeholder
		}
	}
	s = strings.Join(words, " ")
	s = assign.ReplaceAllString(s, "$1$3"+secrets.Placeholder)
	s = longRun.ReplaceAllString(s, secrets.Placeholder)
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f { // a terminal's escape sequences
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300]) + "…"
	}
	return s
}
