package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// A server that misbehaves holds nothing up, gets a sentence of its own and a next step, and leaves what was in place
// before as it was.
func TestMisbehaviour(t *testing.T) {
	posix(t)
	l := login(t)
	fine := realShell(t, "0", true)
	// only does so for commands that begin with a word, and is fine otherwise.
	only := func(word string, does func(in io.Reader, out io.Writer) int) func(string, io.Reader, io.Writer) int {
		return func(c string, in io.Reader, out io.Writer) int {
			if strings.HasPrefix(strings.TrimPrefix(c, "sudo -n "), word) {
				return does(in, out)
			}
			return fine(c, in, out)
		}
	}
	prints := func(word, text string, status int) func(string, io.Reader, io.Writer) int {
		return only(word, func(in io.Reader, out io.Writer) int {
			_, _ = io.Copy(io.Discard, in)
			_, _ = io.WriteString(out, text)
			return status
		})
	}
	for _, tt := range []struct {
		name    string
		command func(string, io.Reader, io.Writer) int
		edit    func(s *server, to *Target)
		err     string
		hint    string
		class   provision.Class
	}{
		{"the wrong user", prints("id", "Please login as the user \"ubuntu\" rather than the user \"root\".\n\n", 142), nil,
			"no command runs", `set ssh { user = "ubuntu" }`, provision.Final},
		{"an unknown user", fine, func(_ *server, to *Target) { to.User = "core" }, "does not let us in as core", "is it the login user of the image?", provision.Transient},
		{"no sudo", func(c string, in io.Reader, out io.Writer) int {
			if c == "id -u" {
				_, _ = io.WriteString(out, "1000\n")
				return 0
			}
			_, _ = io.WriteString(out, "sudo: a password is required\n")
			return 1
		}, nil, "may not become root without a password", "give debian sudo without a password", provision.Transient},
		{"sudo is missing", func(c string, in io.Reader, out io.Writer) int {
			if c == "id -u" {
				_, _ = io.WriteString(out, "1000\n")
				return 0
			}
			_, _ = io.WriteString(out, "sh: 1: sudo: not found\n")
			return 127
		}, nil, "may not become root without a password", "give debian sudo without a password", provision.Transient},
		{"a full disk", prints("sh", "cat: write error: No space left on device", 1), nil, "could not write", "the file system is full there", provision.Transient},
		{"a read-only /run", prints("sh", "mkdir: cannot create directory ‘/run/failover’: Read-only file system", 1), nil, "could not write", "another place: deliver { path = ... }", provision.Final},
		{"an owner that is not there", func(c string, in io.Reader, out io.Writer) int { return fine(c, in, out) }, func(_ *server, to *Target) { to.Owner = "no-such-user:" },
			"could not write", "make the user on the server", provision.Transient},
		{"a password to change first", prints("id", "WARNING: Your password has expired.\nPassword change required but no TTY available.\n", 1), nil,
			"no command runs", "choose a new password first", provision.Final},
		{"a prompt", only("id", func(in io.Reader, out io.Writer) int {
			_, _ = io.WriteString(out, "Accept the terms of use? [y/N] ")
			time.Sleep(3 * time.Second)
			return 1
		}), nil, "it did not end in time (300ms); the last it printed: Accept the terms of use?", "waits for an answer", provision.Transient},
		{"endless output", only("id", func(in io.Reader, out io.Writer) int {
			for {
				if _, err := out.Write(bytes.Repeat([]byte("yes\n"), 4096)); err != nil {
					return 1
				}
			}
		}), nil, "it did not end in time", "never ends", provision.Transient},
		{"it takes no input", only("sh", func(in io.Reader, out io.Writer) int { time.Sleep(3 * time.Second); return 0 }), nil,
			"could not write", "never ends", provision.Transient},
		{"the connection drops in the middle", fine, func(s *server, _ *Target) {
			s.ended = make(chan struct{})
			s.command = func(c string, in io.Reader, out io.Writer) int {
				if !strings.HasPrefix(c, "sh -c") {
					return fine(c, in, out)
				}
				cmd := exec.Command("sh", "-c", c) //nolint:gosec // it outlives the connection, as on a server
				pipe, _ := cmd.StdinPipe()
				_ = cmd.Start()
				_, _ = io.CopyN(pipe, in, 5)
				s.mu.Lock()
				for _, conn := range s.conns {
					_ = conn.Close()
				}
				s.mu.Unlock()
				_ = pipe.Close() // sshd does so when a connection is gone
				_ = cmd.Wait()
				close(s.ended)
				return 1
			}
		}, "the connection broke before the command ended", "nothing half-written is used", provision.Transient},
		{"it echoes what it is sent", only("sh", func(in io.Reader, out io.Writer) int {
			_, _ = io.Copy(out, in)
			return 1
		}), nil, "repeats what it was sent, and is not shown", "", provision.Transient},
		{"what is in place is something else", prints("sha256sum", strings.Repeat("0", 64)+"  /x\n", 0), nil, "does not hold what was delivered", "a place of its own", provision.Transient},
		{"the service does not take it", prints("systemctl", "Job for app.service failed.", 1), func(_ *server, to *Target) { to.Reload = "app.service" },
			"app.service does not take it: Job for app.service failed.", "journalctl -u app.service", provision.Transient},
		{"the reload command fails", fine, func(_ *server, to *Target) { to.Command = []string{"sh", "-c", "echo no such thing; exit 3"} },
			"the reload command fails: sh -c echo no such thing; exit 3: no such thing", "mend reload in the plan", provision.Transient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := listen(t, "debian", l.signers[0].PublicKey())
			s.command = tt.command
			to := target(s, filepath.Join(t.TempDir(), "tls", "edge.pem"))
			to.patience = 5 * time.Second
			if strings.Contains(tt.err, "in time") || tt.name == "it takes no input" {
				to.patience = 300 * time.Millisecond
			}
			if err := os.Mkdir(filepath.Dir(to.Path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to.Path, []byte("the old one"), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.edit != nil {
				tt.edit(s, &to)
			}
			began := time.Now()
			err := Push(t.Context(), to, l, one("SECRET-BYTES-OF-THE-KEY"), dialer(s), ssh.ClientConfig{})
			if took := time.Since(began); took > 2500*time.Millisecond {
				t.Errorf("it took %s", took)
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "SECRET") {
				t.Fatalf("%v; want %q", err, tt.err)
			}
			var pe *provision.Error
			if !errors.As(err, &pe) || !strings.Contains(pe.Hint, tt.hint) || provision.ClassOf(err) != tt.class {
				t.Errorf("class %q, hint %q; want %q, %q", provision.ClassOf(err), pe.Hint, tt.class, tt.hint)
			}
			if s.ended != nil { // what runs on a server outlives its connection for a moment
				<-s.ended
			}
			if got, _ := os.ReadFile(to.Path); string(got) != "the old one" && !strings.Contains(tt.err, "take") && !strings.Contains(tt.err, "reload") && !strings.Contains(tt.err, "hold") {
				t.Errorf("in place is %q", got)
			}
			if left, _ := os.ReadDir(filepath.Dir(to.Path)); len(left) != 1 {
				t.Errorf("left beside it: %v", left)
			}
		})
	}
}

// sshd that dribbles its banner byte by byte is given up in time.
func TestSlowBanner(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for range 100 {
			if _, err := c.Write([]byte("S")); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	s := &server{ln: ln, user: "debian", host: newKey(t)}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	err = Push(ctx, target(s, "/x/y"), login(t), one("x"), dialer(s), ssh.ClientConfig{})
	if err == nil || !strings.Contains(err.Error(), "does not finish its greeting") || provision.ClassOf(err) != provision.Transient || time.Since(began) > 2*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	var pe *provision.Error
	if !errors.As(err, &pe) || !strings.Contains(pe.Hint, "the server's console") {
		t.Errorf("%+v", pe)
	}
}

// A server whose host key changes between two attempts is somebody else by the second.
func TestHostKeyChangesBetweenAttempts(t *testing.T) {
	posix(t)
	t.Parallel()
	l := login(t)
	s := listen(t, "debian", l.signers[0].PublicKey())
	s.command = realShell(t, "0", true)
	to := target(s, filepath.Join(t.TempDir(), "edge.pem"))
	if err := Push(t.Context(), to, l, one("first"), dialer(s), ssh.ClientConfig{}); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.host, s.auth, s.sent = newKey(t), 0, nil
	s.mu.Unlock()
	err := Push(t.Context(), to, l, one("second"), dialer(s), ssh.ClientConfig{})
	if !errors.Is(err, ErrHostKey) || provision.ClassOf(err) != provision.Final {
		t.Fatalf("%v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.auth != 0 || len(s.sent) != 0 {
		t.Errorf("%d logins, %d bytes", s.auth, len(s.sent))
	}
	if b, _ := os.ReadFile(to.Path); string(b) != "first" {
		t.Errorf("in place is %q", b)
	}
}

// What a server printed is shown, unless it is a part of what it was sent.
func TestUnless(t *testing.T) {
	fs := []File{{Content: secrets.NewValue([]byte("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n"))}}
	for out, hidden := range map[string]bool{
		"cat: write error: No space left on device": false,
		"> MIGHAgEAMBMGByqG":                        true,
		"a KEY":                                     false,
		"":                                          false,
	} {
		if got := unless(out, fs); (got != out) != hidden {
			t.Errorf("%q: %q", out, got)
		}
	}
	if got := fmt.Sprint(fs); strings.Contains(got, "MIGH") {
		t.Error(got)
	}
}

// The authorized keys, by a real shell: one line comes, one goes, the rest stays; the same again changes nothing.
func TestReplaceKey(t *testing.T) {
	posix(t)
	home := t.TempDir()
	file := filepath.Join(home, ".ssh", "authorized_keys")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("ssh-ed25519 AAAAmine me@home\nssh-ed25519 AAAAold failover\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ssh-ed25519 AAAAnew failover"}, "ssh-ed25519 AAAAmine me@home\nssh-ed25519 AAAAold failover\nssh-ed25519 AAAAnew failover\n"},
		{[]string{"ssh-ed25519 AAAAnew failover", "AAAAold"}, "ssh-ed25519 AAAAmine me@home\nssh-ed25519 AAAAnew failover\n"},
		{[]string{"ssh-ed25519 AAAAnew failover", "AAAAold", "AAAAolder"}, "ssh-ed25519 AAAAmine me@home\nssh-ed25519 AAAAnew failover\n"},
	} {
		cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", replaceKey, "sh"}, c.args...)...)
		cmd.Env = append(os.Environ(), "HOME="+home)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != c.want {
			t.Errorf("%q, %v", got, err)
		}
		if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
			t.Errorf("left: %v", left)
		}
	}
}
