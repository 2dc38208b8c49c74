//go:build !windows

package hook

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
)

// ^C at the terminal comes to the process group of failover: a command is not in it. When it is to end, what it has started ends too.
func TestApart(t *testing.T) {
	dir := t.TempDir()
	h := &Run{Dir: dir}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- h.Do(ctx, provision.Step{}, provision.Values{"name": "x", "word_00": "sh", "word_01": "-c", "word_02": "sleep 300 & echo $$ $! >pids.new; mv pids.new pids; wait"})
	}()
	var pids []int
	for deadline := time.Now().Add(20 * time.Second); len(pids) < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not start")
		}
		b, _ := os.ReadFile(filepath.Join(dir, "pids"))
		for _, f := range strings.Fields(string(b)) {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, n)
		}
	}
	for _, pid := range pids {
		if group, err := syscall.Getpgid(pid); err != nil || group != pids[0] || group == syscall.Getpgrp() {
			t.Errorf("%d is in group %d, failover in %d: %v", pid, group, syscall.Getpgrp(), err)
		}
	}
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "sh was killed") {
		t.Error(err)
	}
	for deadline := time.Now().Add(20 * time.Second); alive(pids[1]); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what it started goes on")
		}
	}
}

// alive leaves out those that are dead and that nobody has waited for, as in a container without an init.
func alive(pid int) bool {
	b, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	stat := strings.TrimSpace(string(b))
	return stat != "" && !strings.HasPrefix(stat, "Z")
}
