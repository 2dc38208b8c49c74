package deliver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
)

// shell runs commands on a server that is what it should be, which may still misbehave.
type shell struct {
	client   *ssh.Client
	patience time.Duration // 0: commandFor
}

// elevation gives what must stand before a command so that root runs it.
func (s shell) elevation(user string) (string, error) {
	out, err := s.run("id -u", nil)
	if err != nil {
		return "", explain("the login works, but no command runs", out, err)
	}
	lines := strings.Fields(out) // a login shell may print something of its own first
	if len(lines) > 0 && lines[len(lines)-1] == "0" {
		return "", nil
	}
	if out, err := s.run("sudo -n true", nil); err != nil {
		e := explain("the login user may not become root without a password", out, err)
		if e.Hint == "" || strings.Contains(e.Said, "sudo") {
			e.Hint = "give " + user + " sudo without a password in the image, or set ssh { user } to one that has it"
		}
		return "", e
	}
	return "sudo -n ", nil
}

// errLate says that a command did not end in time.
var errLate = errors.New("it did not end in time")

// run gives what a command printed, bounded, on both of its outputs. One that does not end in time takes the
// connection with it: a server that does not let go of a session is not asked to.
func (s shell) run(command string, stdin io.Reader) (string, error) {
	patience := s.patience
	if patience == 0 {
		patience = commandFor
	}
	var out bounded
	timer := time.AfterFunc(patience, func() { out.end(); _ = s.client.Close() })
	defer timer.Stop()
	session, err := s.client.NewSession()
	if err == nil {
		defer session.Close() //nolint:errcheck // the command has ended
		session.Stdout, session.Stderr, session.Stdin = &out, &out, stdin
		err = session.Run(command)
	}
	if err != nil && out.ended() {
		err = fmt.Errorf("%w (%s)", errLate, patience)
	}
	return out.String(), err
}

// bounded keeps the first 4 KiB. ssh writes both outputs from goroutines of its own.
type bounded struct {
	mu   sync.Mutex
	b    bytes.Buffer
	late bool
}

func (w *bounded) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if room := 4096 - w.b.Len(); room > 0 {
		w.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (w *bounded) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func (w *bounded) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = true
}

func (w *bounded) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.late
}

type knownWords struct {
	says  *regexp.Regexp
	hint  string
	class provision.Class
}

// known are the words of servers on which a person can act. {} in a hint is the first group.
func known() []knownWords {
	return []knownWords{
		// cloud-init's disable_root: https://cloudinit.readthedocs.io/en/latest/reference/yaml_examples/ssh.html
		{regexp.MustCompile(`Please login as the user \\?"([^"\\]+)`), `set ssh { user = "{}" } in the server block, then: failover abandon, and run again`, provision.Final},
		{regexp.MustCompile(`(?i)password has expired|password change required|You are required to change your password`),
			"the image makes its user choose a new password first; use an image whose user has none (chage -d today USER as it is built)", provision.Final},
		{regexp.MustCompile(`No space left on device|Disk quota exceeded`), "the file system is full there: use a larger flavor or volume, or another place: deliver { path = ... }", provision.Transient},
		{regexp.MustCompile(`Read-only file system`), "the image does not let root write there; give the certificate another place: deliver { path = ... }", provision.Final},
		{regexp.MustCompile(`invalid (?:user|group|spec)`), "make the user on the server (setup, or vars { service_user }), or mend owner and group of deliver", provision.Transient},
		{regexp.MustCompile(`is a folder that failover did not make`), "give the certificate a place of its own: deliver { path = ... }", provision.Final},
		{regexp.MustCompile(`(?:mktemp|sha256sum|head|tail|mv): (?:command )?not found`), "the image lacks coreutils; use one that has them", provision.Final},
		{regexp.MustCompile(`what arrived is cut off`), "what was in place before is untouched; failover resume sends it again", provision.Transient},
	}
}

// explain makes an error of what a command printed and how it ended. It is Transient unless the words of the server say
// that asking again is in vain: it was born a minute ago.
func explain(what, out string, err error) *provision.Error {
	e := &provision.Error{What: what, Said: said(out, err), Class: provision.Transient}
	for _, k := range known() {
		if m := k.says.FindStringSubmatch(out); m != nil {
			e.Hint, e.Class = k.hint, k.class
			if len(m) > 1 {
				e.Hint = strings.ReplaceAll(e.Hint, "{}", m[1])
			}
			return e
		}
	}
	var missing *ssh.ExitMissingError
	switch {
	case errors.Is(err, errLate):
		e.Said = err.Error()
		if out = strings.TrimSpace(out); out != "" {
			e.Said += "; the last it printed: " + tail(out)
		}
		e.Hint = "something on the server waits for an answer or never ends: look at the login user's profile, ForceCommand of sshd, and its load"
	case errors.As(err, &missing), errors.Is(err, io.EOF):
		e.Said = strings.TrimSpace(tail(strings.TrimSpace(out)) + " (the connection broke before the command ended)")
		e.Hint = "nothing half-written is used; failover resume delivers again. Does sshd or the network there restart?"
	}
	return e
}

// tail gives the last line, cut.
func tail(s string) string {
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return s[max(len(s)-200, 0):]
}

func said(out string, err error) string {
	if out = strings.TrimSpace(out); out != "" {
		return out[:min(len(out), 600)]
	}
	return err.Error()
}

// quote makes one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func words(ws ...string) string {
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = quote(w)
	}
	return strings.Join(out, " ")
}

// window is how much of what was sent makes an output unfit to be shown.
const window = 12

// unless gives an output, or nothing of it where it repeats a part of the files: a server that echoes what it is sent must not
// bring a key into an error, which is journaled.
func unless(out string, files []File) string {
	has := map[string]bool{}
	for i := 0; i+window <= len(out); i++ {
		has[out[i:i+window]] = true
	}
	for _, f := range files {
		b := f.Content.Bytes()
		for i := 0; i+window <= len(b); i++ {
			if has[string(b[i:i+window])] { // no string is made of a map's key: https://go.dev/doc/go1.3#map_lookup
				return "(what it printed repeats what it was sent, and is not shown)"
			}
		}
	}
	return out
}
