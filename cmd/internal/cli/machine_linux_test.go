package cli

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// It is the same for every process that sees the same PIDs.
func TestMachine(t *testing.T) {
	if _, err := os.Stat("/proc/self/ns/pid"); err != nil {
		t.Skip(err)
	}
	if m := thisMachine(); len(m) != 16 || m != thisMachine() {
		t.Errorf("%q, then %q", m, thisMachine())
	}
}

// A process that is dead, and that its parent has not waited for, is dead.
func TestProcessAlive(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if !processAlive(pid) || !processAlive(os.Getpid()) || !processAlive(1) {
		t.Error("one that lives is dead")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); processAlive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("one that nobody has waited for lives")
		}
	}
	_ = cmd.Wait()
	if processAlive(pid) {
		t.Error("it lives after its end")
	}
}
