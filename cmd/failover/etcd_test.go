//go:build etcd

// Runs whose journal and lock are shared through a real etcd of three members on loopback, which loses members
// meanwhile; needs Debian's etcd-server, no account, and about a minute:
//
//	go test -tags etcd -run TestEtcd ./cmd/failover/

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dripstat/failover/provision/store/etcd/etcdtest"
)

// Every script has a cluster of its own. Each machine of a script is a folder for its journals.
func TestEtcd(t *testing.T) {
	files, err := filepath.Glob("testdata/etcd/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) { runWithEtcd(t, etcdtest.Start(t, 3, "http"), f) })
	}
}

// killedAt is the last record of killed.template's run that leaves something to resume.
const killedAt = 7

// Killed at any record of its journal, a run is taken up by another machine and comes to the same end. The
// first is left out: a run that dies before etcd has it has done nothing, and nobody else knows of it.
func TestEtcdKilledAndResumedElsewhere(t *testing.T) {
	c := etcdtest.Start(t, 3, "http")
	text, err := os.ReadFile("testdata/etcd/killed.template")
	if err != nil {
		t.Fatal(err)
	}
	for n := 2; n <= killedAt; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f := filepath.Join(t.TempDir(), fmt.Sprintf("killed-%d.txtar", n))
			if err := os.WriteFile(f, []byte(strings.ReplaceAll(string(text), "POINT", fmt.Sprint(n))), 0o600); err != nil {
				t.Fatal(err)
			}
			if n%4 == 3 { // now and then without a member
				m := c.Members[n%3]
				m.Kill()
				t.Cleanup(func() { c.Restart(m) })
			}
			runWithEtcd(t, c, f)
		})
	}
}

func runWithEtcd(t *testing.T, c *etcdtest.Cluster, file string) {
	list, err := json.Marshal(c.Endpoints())
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Files:               []string{file},
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("FAILOVER_STATE_DIR", filepath.Join(e.WorkDir, "state"))
			e.Setenv("FAILOVER_VAR_etcd", string(list))
			e.Setenv("FAILOVER_VAR_prefix", filepath.Base(e.WorkDir)+filepath.Base(filepath.Dir(e.WorkDir)))
			e.Setenv("TMPDIR", filepath.Join(e.WorkDir, ".tmp"))
			e.Setenv("TERM", "dumb")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "sandbox": serve, "lastevent": lastEvent, "until": until,
			"killat": killAt,
			// etcd kill|restart|stop|continue leader|all|NUMBER...
			"etcd": func(ts *testscript.TestScript, _ bool, args []string) {
				var which []*etcdtest.Member
				for _, a := range args[1:] {
					switch a {
					case "leader":
						which = append(which, c.Leader())
					case "all":
						which = append(which, c.Members...)
					default:
						which = append(which, c.Members[a[0]-'0'])
					}
				}
				for _, m := range which {
					switch args[0] {
					case "kill":
						m.Kill()
					case "restart":
						c.Restart(m)
					case "stop":
						m.Stop()
					case "continue":
						m.Continue()
					default:
						ts.Fatalf("etcd %s?", args[0])
					}
				}
				if args[0] == "restart" || args[0] == "continue" {
					c.Leader()
				}
			},
		},
	})
}

// killat N kills the program in the background with SIGKILL as soon as a journal has N records.
func killAt(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		files, err := filepath.Glob(ts.MkAbs("state/dripstat/runs/*.jsonl"))
		ts.Check(err)
		if len(files) == 0 {
			continue
		}
		if b, err := os.ReadFile(files[0]); err == nil && bytes.Count(b, []byte("\n")) >= n {
			ts.Check(ts.BackgroundCmds()[0].Process.Kill())
			ts.Logf("killed at record %d", bytes.Count(b, []byte("\n")))
			return
		}
	}
	ts.Fatalf("no journal came to have %d records", n)
}
