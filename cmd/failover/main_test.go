package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dripstat/failover/cmd/internal/cli"
	"github.com/dripstat/failover/provision/sandbox"
)

func TestMain(m *testing.M) {
	// Scripts wait most of their time: more of them than there are cores may run at once.
	if f := flag.Lookup("test.parallel"); f != nil {
		_ = f.Value.Set("8")
	}
	testscript.Main(m, map[string]func(){"failover": func() { os.Exit(cli.Main()) }})
}

// Every script runs the real binary: in the sandbox inside it, or against one that another process serves.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("FAILOVER_STATE_DIR", filepath.Join(e.WorkDir, "state"))
			e.Setenv("TMPDIR", filepath.Join(e.WorkDir, ".tmp"))
			e.Setenv("TERM", "dumb")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "certs": certs, "sandbox": serve, "lastevent": lastEvent, "until": until,
		},
	})
}

// exits CODE PROGRAM ARG... runs a program that must end with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var ee *exec.ExitError
		if !errors.As(err, &ee) {
			ts.Fatalf("%v", err)
		}
		got = ee.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// certs NAME... writes ca.pem, chain.pem and key.pem for the names, and identity.txt; RECIPIENT seals for it.
func certs(ts *testscript.TestScript, _ bool, names []string) {
	ca, err := sandbox.NewCA()
	ts.Check(err)
	chain, key, err := ca.Issue(names...)
	ts.Check(err)
	id, err := age.GenerateX25519Identity()
	ts.Check(err)
	for name, text := range map[string][]byte{"ca.pem": ca.PEM(), "chain.pem": chain, "key.pem": key, "identity.txt": []byte(id.String() + "\n")} {
		ts.Check(os.WriteFile(ts.MkAbs(name), text, 0o600))
	}
	ts.Setenv("RECIPIENT", id.Recipient().String())
}

// sandbox ARG... serves a sandbox from another process until the script ends. clouds.yaml is in the working
// folder then, and the address of the name server in NS; of Rackspace's cloud what rackspace { } takes from the environment.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	exe, err := os.Executable()
	ts.Check(err)
	cmd := exec.Command(exe, append([]string{"sandbox", "--dir", ts.MkAbs(".")}, args...)...)
	cmd.Args[0] = "failover" // what testscript.Main looks at
	cmd.Env = append(os.Environ(), "TMPDIR="+ts.Getenv("TMPDIR"))
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			ts.Logf("failover sandbox: %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := regexp.MustCompile(`^name server +(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			ts.Setenv("NS", m[1])
		}
		if m := regexp.MustCompile(`export RS_AUTH_URL=(\S+) RAX_CREDS_FILE=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			ts.Setenv("RS_AUTH_URL", m[1])
			ts.Setenv("RAX_CREDS_FILE", m[2])
		}
		if strings.HasPrefix(lines.Text(), "^C") {
			return
		}
	}
	ts.Fatalf("failover sandbox ended before it served")
}

// lastevent TYPE: standard output is JSON lines, and the last is an event of that type.
func lastEvent(ts *testscript.TestScript, neg bool, args []string) {
	var last struct {
		V    int    `json:"v"`
		Time string `json:"time"`
		Type string `json:"type"`
	}
	for line := range bytes.Lines([]byte(ts.ReadFile("stdout"))) {
		if err := json.Unmarshal(line, &last); err != nil {
			ts.Fatalf("not JSON: %s", line)
		}
		if last.V != 1 || last.Time == "" || last.Type == "" {
			ts.Fatalf("not an event: %s", line)
		}
	}
	if (last.Type == args[0]) == neg {
		ts.Fatalf("the last event is %q", last.Type)
	}
}

// until GLOB PATTERN waits for a file that holds the pattern, 20 s at most.
func until(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile(args[1])
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		files, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && re.Match(b) {
				return
			}
		}
	}
	ts.Fatalf("no file %s came to hold %s", args[0], args[1])
}
