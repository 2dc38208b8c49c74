//go:build !windows

package hook

import (
	"os/exec"
	"syscall"
)

// apart gives a command a session of its own: ^C and the end of a terminal come to all processes of its foreground group, and the first ^C
// lets what was begun come to its end. What it starts in turn is killed with it. It has no terminal to ask at, which would be in the way of the live
// screen.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
