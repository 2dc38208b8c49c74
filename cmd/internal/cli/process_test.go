package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
)

// What a child process is told by its environment.
const (
	childSocket = "FAILOVER_TEST_SOCKET" // where servers of the sandbox are reached
	childKill   = "FAILOVER_TEST_KILL"   // "SEQ [DELAY]": SIGKILL as soon as that record was told, or a while after it
)

// processes runs commands as processes of their own, which can be killed, against the bench's sandbox.
type processes struct {
	*bench
	sock string
}

// newProcesses starts a bench whose servers other processes can reach.
func newProcesses(t *testing.T, faults []string, edits ...string) *processes {
	t.Helper()
	return (&processes{bench: newBench(t, faults, append(slices.Clone(ns), edits...)...)}).serve()
}

// ns lets a plan be told the name server by its environment.
var ns = []string{`service = "dripstat"`, "variable \"ns\" {\n  default = \"127.0.0.1:1\"\n}\nservice = \"dripstat\"",
	`zone = "dripstat.test"`, "zone = \"dripstat.test\"\n  name_servers = [var.ns]"}

// serve lets processes reach the bench's servers.
func (p *processes) serve() *processes {
	t := p.t
	t.Helper()
	p.no(os.WriteFile(p.path("clouds.yaml"), p.cloud.CloudsYAML("sandbox"), 0o600))
	dir, err := os.MkdirTemp("", "s") // a socket's path is short
	p.no(err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p.sock = filepath.Join(dir, "s")
	l, err := net.Listen("unix", p.sock)
	p.no(err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go p.connect(conn)
		}
	}()
	return p
}

// connect joins a child to a server: it says where to on one line, and is told what became of it.
func (p *processes) connect(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return
	}
	network, addr, _ := strings.Cut(strings.TrimSpace(line), " ")
	out, err := p.cloud.Dial(context.Background(), network, addr)
	if err != nil {
		_, _ = fmt.Fprintln(conn, err)
		return
	}
	defer out.Close()
	if _, err := fmt.Fprintln(conn, "ok"); err != nil {
		return
	}
	go func() {
		defer out.Close()
		_, _ = io.Copy(out, in)
	}()
	_, _ = io.Copy(conn, out)
}

// child is the command line in a process of its own.
func child() int {
	app := &App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, LookEnv: os.LookupEnv}
	app.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", os.Getenv(childSocket))
		if err != nil {
			return nil, err
		}
		_, _ = fmt.Fprintln(conn, network, addr)
		var answer []byte
		for b := make([]byte, 1); ; {
			if _, err := conn.Read(b); err != nil {
				return nil, err
			}
			if b[0] == '\n' {
				break
			}
			answer = append(answer, b[0])
		}
		if string(answer) == "ok" {
			return conn, nil
		}
		_ = conn.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: %w", answer, syscall.ECONNREFUSED)}
	}
	if at, delay, _ := strings.Cut(os.Getenv(childKill), " "); at != "" {
		n, _ := strconv.Atoi(at)
		d, _ := time.ParseDuration(delay)
		app.tap = dieAt(n, d)
	}
	root := newRoot(app)
	root.SetArgs(os.Args[1:])
	root.SetOut(app.Out)
	root.SetErr(app.Err)
	return app.exitCode(root.ExecuteContext(context.Background()))
}

// dieAt ends its own process with SIGKILL when it is told the event of a number, or the first that comes after: before the step that has
// recorded it goes on, or some time later.
func dieAt(n int, delay time.Duration) func(provision.Event) {
	return func(e provision.Event) {
		if n == 0 || e.Seq < n {
			return
		}
		n = 0
		die := func() {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Minute)
		}
		if delay == 0 {
			die()
		}
		time.AfterFunc(delay, die)
	}
}

// result is how a process ended; code is -1 of one that was killed.
type result struct {
	code     int
	out, err string
}

// start begins a process in the bench's folder; env adds to its environment.
func (p *processes) start(env []string, args ...string) (*exec.Cmd, func() result) {
	p.t.Helper()
	exe, err := os.Executable()
	p.no(err)
	cmd := exec.Command(exe, append(args, "--plan", "failover.hcl")...)
	cmd.Dir = p.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TERM=dumb", childSocket + "=" + p.sock, "FAILOVER_VAR_ns=" + p.cloud.NameServer(),
		"FAILOVER_STATE_DIR=" + p.path("state"), "OS_CLIENT_CONFIG_FILE=" + p.path("clouds.yaml"),
		"RS_AUTH_URL=" + p.cloud.RackspaceURL(), "RAX_USERNAME=" + p.cloud.Username(), "RAX_API_KEY=" + p.cloud.APIKey()}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	p.no(cmd.Start())
	return cmd, func() result {
		err := cmd.Wait()
		var ee *exec.ExitError
		if err != nil && !errors.As(err, &ee) {
			p.t.Fatal(err)
		}
		return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	}
}

// want runs a process that must end with a code.
func (p *processes) want(code int, env []string, args ...string) result {
	p.t.Helper()
	_, wait := p.start(env, args...)
	r := wait()
	if r.code != code {
		p.t.Fatalf("failover %s: exit %d, want %d\n%s\n%s", strings.Join(args, " "), r.code, code, tail(r.out), tail(r.err))
	}
	return r
}

func tail(s string) string { return s[max(0, len(s)-3000):] }

// killedAt runs until record n was told, and the process with it.
func (p *processes) killedAt(n int, delay time.Duration, args ...string) {
	p.t.Helper()
	_, wait := p.start([]string{fmt.Sprintf("%s=%d %s", childKill, n, delay)}, append(args, "--json")...)
	if r := wait(); r.code != -1 {
		p.t.Fatalf("failover %s was not killed at record %d: exit %d\n%s\n%s", strings.Join(args, " "), n, r.code, tail(r.out), tail(r.err))
	}
}
