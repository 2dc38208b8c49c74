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
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

func certificate(t *testing.T) *secrets.Certificate {
	t.Helper()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.Issue("www.shop.test")
	if err != nil {
		t.Fatal(err)
	}
	c, err := secrets.ParseCertificate(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func login(t *testing.T) *Login {
	t.Helper()
	l, err := NewLogin("01RUN", certificate(t))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// realShell runs commands in the real shell of this machine, below dir in place of /; sudo is granted or not.
func realShell(t *testing.T, uid string, sudo bool) func(string, io.Reader, io.Writer) int {
	return func(command string, stdin io.Reader, out io.Writer) int {
		if command == "id -u" {
			_, _ = fmt.Fprintln(out, uid)
			return 0
		}
		rest, elevated := strings.CutPrefix(command, "sudo -n ")
		if elevated && !sudo {
			_, _ = io.WriteString(out, "sudo: a password is required\n")
			return 1
		}
		if strings.HasPrefix(rest, "systemctl ") {
			return 0
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", rest)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, out, out
		if err := cmd.Run(); err != nil {
			return 1
		}
		return 0
	}
}

// one is a layout of one file.
func one(content string) []File { return []File{{Content: secrets.NewValue([]byte(content))}} }

func dialer(s *server) Dial {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.ln.Addr().String())
	}
}

func target(s *server, path string) Target {
	return Target{Address: "198.51.100.7", Port: 22, User: s.user, HostKeys: []string{s.hostKey()}, Path: path,
		Owner: fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())}
}

// The servers of the sandbox know these scripts alone; they must be the ones that are sent.
func TestReceiveIsTheSandboxes(t *testing.T) {
	if receive != sandbox.ReceiveScript {
		t.Errorf("deliver sends\n%s\nthe sandbox knows\n%s", receive, sandbox.ReceiveScript)
	}
	if rotateKey != sandbox.RotateKeyScript {
		t.Errorf("deliver sends\n%s\nthe sandbox knows\n%s", rotateKey, sandbox.RotateKeyScript)
	}
	if replaceKey != sandbox.ReplaceKeyScript {
		t.Errorf("deliver sends\n%s\nthe sandbox knows\n%s", replaceKey, sandbox.ReplaceKeyScript)
	}
}

// The script, run by a real shell: the file is there, whole, with its mode; the old one is replaced, nothing is left beside it.
func TestPush(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no sh")
	}
	for _, tt := range []struct {
		name, uid string
		want      []string // the programs that were run
	}{
		{"as root", "0", []string{"id -u", "sh -c", "sha256sum", "systemctl reload-or-restart 'proxy.service'"}},
		{"by sudo", "1000", []string{"id -u", "sudo -n true", "sudo -n sh -c", "sudo -n sha256sum", "sudo -n systemctl reload-or-restart 'proxy.service'"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := login(t)
			s := listen(t, "debian", l.signers[0].PublicKey())
			s.command = realShell(t, tt.uid, true)
			path := filepath.Join(t.TempDir(), "it's a dir", "edge.pem")
			to := target(s, path)
			to.Reload = "proxy.service"
			for _, content := range []string{"first", "the second, which is longer"} {
				s.ran = nil
				if err := Push(t.Context(), to, l, one(content), dialer(s), ssh.ClientConfig{}); err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(path)
				if err != nil || string(b) != content {
					t.Fatalf("%q, %v", b, err)
				}
			}
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", st.Mode(), err)
			}
			if st, err := os.Stat(filepath.Dir(path)); err != nil || st.Mode().Perm() != 0o700 {
				t.Errorf("folder: %v, %v", st.Mode(), err)
			}
			if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
				t.Errorf("left beside it: %v", list)
			}
			var programs []string
			for i, c := range s.ran {
				if i < len(tt.want) && strings.HasPrefix(c, tt.want[i]) {
					c = tt.want[i]
				}
				programs = append(programs, c)
				if strings.Contains(c, "second") {
					t.Errorf("the content is in an argument: %s", c)
				}
			}
			if d := cmp.Diff(tt.want, programs); d != "" {
				t.Errorf("commands (-want +got):\n%s", d)
			}
		})
	}
}

// A server with another host key gets neither a login nor a byte, and is never tried again.
func TestHostKeyMismatch(t *testing.T) {
	l := login(t)
	s := listen(t, "debian", l.signers[0].PublicKey())
	s.command = func(string, io.Reader, io.Writer) int { return 0 }
	to := target(s, "/x")
	to.HostKeys = []string{strings.TrimSpace(string(ssh.MarshalAuthorizedKey(newKey(t).PublicKey())))}
	err := Push(t.Context(), to, l, one("secret"), dialer(s), ssh.ClientConfig{})
	if !errors.Is(err, ErrHostKey) || provision.ClassOf(err) != provision.Final {
		t.Fatalf("class %q: %v", provision.ClassOf(err), err)
	}
	if n := strings.Count(err.Error(), ErrHostKey.Error()); n != 1 {
		t.Errorf("it says so %d times: %v", n, err)
	}
	if !strings.Contains(err.Error(), ssh.FingerprintSHA256(s.host.PublicKey())) {
		t.Errorf("which key was presented is not said: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.auth != 0 || len(s.ran) != 0 || len(s.sent) != 0 {
		t.Errorf("%d logins, commands %q, %d bytes", s.auth, s.ran, len(s.sent))
	}
}

// What goes wrong on a server that was born a minute ago may go right in the next one.
func TestTroubleIsTransient(t *testing.T) {
	l := login(t)
	fail := func(prefix, says string) func(string, io.Reader, io.Writer) int {
		return func(c string, stdin io.Reader, out io.Writer) int {
			if strings.HasPrefix(c, "sh -c") {
				_, _ = io.Copy(io.Discard, stdin)
			}
			if strings.HasPrefix(c, prefix) {
				_, _ = io.WriteString(out, says)
				return 1
			}
			if c == "id -u" {
				_, _ = io.WriteString(out, "0\n")
			}
			return 0
		}
	}
	for _, tt := range []struct {
		name    string
		command func(string, io.Reader, io.Writer) int
		edit    func(to *Target)
		err     string
	}{
		{"no sudo", realShell(t, "1000", false), nil, "the login user may not become root without a password: sudo: a password is required"},
		{"no commands", fail("id", "account locked"), nil, "the login works, but no command runs: account locked"},
		{"no room", fail("sh -c", "cat: write error: No space left on device"), nil, "could not write /x/y.pem: cat: write error: No space left"},
		{"no digest", fail("sha256sum", "not found"), nil, "could not read back the digest"},
		{"another digest", fail("nothing", ""), nil, "/x/y.pem does not hold what was delivered"},
		{"another user", fail("nothing", ""), func(to *Target) { to.User = "root" }, "does not let us in as root"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := listen(t, "debian", l.signers[0].PublicKey())
			s.command = tt.command
			to := target(s, "/x/y.pem")
			if tt.edit != nil {
				tt.edit(&to)
			}
			err := Push(t.Context(), to, l, one("SECRET-BYTES"), dialer(s), ssh.ClientConfig{})
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("%v, want %q", err, tt.err)
			}
			if got := provision.ClassOf(err); got != provision.Transient {
				t.Errorf("class %q", got)
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("the error quotes the content: %v", err)
			}
		})
	}
	s := listen(t, "debian", l.signers[0].PublicKey())
	to := target(s, "/x")
	to.HostKeys = []string{"junk"}
	if err := Push(t.Context(), to, l, one(""), dialer(s), ssh.ClientConfig{}); err == nil || provision.ClassOf(err) != provision.Final {
		t.Errorf("without a host key: %v", err)
	}
	_ = s.ln.Close()
	if err := Push(t.Context(), target(s, "/x"), l, one(""), dialer(s), ssh.ClientConfig{}); err == nil || provision.ClassOf(err) != provision.Transient {
		t.Errorf("nobody listens: %v", err)
	}
}

// A server that accepts and then says nothing, or whose command never ends, holds nothing up.
func TestSilence(t *testing.T) {
	l := login(t)
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	hung := listen(t, "debian", l.signers[0].PublicKey())
	hung.command = func(string, io.Reader, io.Writer) int { <-block; return 0 }
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	silent := &server{ln: ln, user: "debian", host: newKey(t)}
	for name, s := range map[string]*server{"no banner": silent, "no end": hung} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		began := time.Now()
		err := Push(ctx, target(s, "/x"), l, one("x"), dialer(s), ssh.ClientConfig{})
		if took := time.Since(began); err == nil || took > 5*time.Second || provision.ClassOf(err) != provision.Transient {
			t.Errorf("%s: %v after %s, class %q", name, err, took, provision.ClassOf(err))
		}
		cancel()
	}
}

// By way of a jump host the server's own key is still what is proven.
func TestJumpHost(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no sh")
	}
	l, mine := login(t), newKey(t)
	inner := listen(t, "debian", l.signers[0].PublicKey())
	inner.command = realShell(t, "0", true)
	hop := listen(t, "ops", mine.PublicKey())
	asked := ""
	hop.dialFrom = func(addr string) (net.Conn, error) { asked = addr; return net.Dial("tcp", inner.ln.Addr().String()) }
	dialed := ""
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialed = addr
		return dialer(hop)(ctx, network, addr)
	}
	jump := ssh.ClientConfig{User: "nobody", Auth: []ssh.AuthMethod{ssh.PublicKeys(mine)}, HostKeyCallback: ssh.FixedHostKey(hop.host.PublicKey())}
	to := target(inner, filepath.Join(t.TempDir(), "edge.pem"))
	to.Via = "ops@jump.shop.test"
	if err := Push(t.Context(), to, l, one("secret"), dial, jump); err != nil {
		t.Fatal(err)
	}
	if dialed != "jump.shop.test:22" || asked != to.Address {
		t.Errorf("dialed %s, asked the jump host for %s", dialed, asked)
	}
	hop.mu.Lock()
	seen := bytes.Contains(hop.sent, []byte("secret"))
	hop.mu.Unlock()
	if seen || !bytes.Contains(inner.sent, []byte("secret")) {
		t.Error("the jump host saw the content, or the server did not")
	}
	to.HostKeys = []string{hop.hostKey()}
	if err := Push(t.Context(), to, l, one("x"), dial, jump); !errors.Is(err, ErrHostKey) {
		t.Errorf("another inner host key: %v", err)
	}
	jump.HostKeyCallback = ssh.FixedHostKey(mine.PublicKey())
	if err := Push(t.Context(), to, l, one("x"), dial, jump); err == nil || !strings.Contains(err.Error(), "jump host jump.shop.test:22 cannot be used") {
		t.Errorf("another key of the jump host: %v", err)
	}
}

// Whoever may fetch the certificate gets the run's login key; another run, or another certificate, another one.
func TestLoginIsDerived(t *testing.T) {
	c := certificate(t)
	key := func(run string, c *secrets.Certificate) string {
		l, err := NewLogin(run, c)
		if err != nil {
			t.Fatal(err)
		}
		return l.PublicKey()
	}
	if first, second := key("01A", c), key("01A", c); first != second {
		t.Error("the same run and certificate give two keys")
	}
	if key("01A", c) == key("01B", c) || key("01A", c) == key("01A", certificate(t)) {
		t.Error("another run or certificate gives the same key")
	}
}

func TestKeeper(t *testing.T) {
	c := certificate(t)
	fetched := 0
	k := &Keeper{Fetch: func(context.Context, string, string) (secrets.Got, error) {
		fetched++
		return secrets.Got{Tried: secrets.Tried{Certificate: c, Ref: secrets.Ref{Store: "sealed"}}}, nil
	}}
	fetch, create := CertificateFetch{k}, LoginCreate{k}
	in := provision.Values{"certificate": "edge", "fingerprint": c.Fingerprint(), "run": "01RUN"}
	step := provision.Step{ID: "x"}
	if err := create.Do(t.Context(), step, in); err == nil {
		t.Error("a login key was derived from nothing")
	}
	state := func(st provision.Status, err error) string { return fmt.Sprint(st.State, " ", err) }
	if got := state(fetch.Check(t.Context(), step, in)); got != "absent <nil>" {
		t.Error(got)
	}
	if err := errors.Join(fetch.Do(t.Context(), step, in), create.Do(t.Context(), step, in)); err != nil {
		t.Fatal(err)
	}
	if got := state(fetch.Check(t.Context(), step, in)); got != "done <nil>" || fetched != 1 {
		t.Error(got, fetched)
	}
	if st, _ := fetch.Check(t.Context(), step, in); st.Out.Text("source") != "secrets.sealed" {
		t.Errorf("the place is not told: %v", st.Out)
	}
	st, err := create.Check(t.Context(), step, in)
	if err != nil || !strings.HasPrefix(st.Out.Text("public_key"), "ssh-ed25519 ") {
		t.Error(st, err)
	}
	in["fingerprint"] = "f00d" // preflight judged another one
	if _, err := fetch.Check(t.Context(), step, in); err == nil || provision.ClassOf(err) != provision.Final {
		t.Errorf("another certificate: %v", err)
	}
	k.Forget()
	if left, _ := k.certificate("edge"); left != nil || bytes.Contains(c.Key().Bytes(), []byte("PRIVATE")) {
		t.Error("the key is not wiped")
	}
}
