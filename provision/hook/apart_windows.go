package hook

import (
	"os/exec"
	"syscall"
)

// apart gives a command a process group of its own: ^C comes to all processes of a console's group, and the first ^C lets what was begun
// come to its end. https://learn.microsoft.com/en-us/windows/win32/procthread/process-creation-flags (CREATE_NEW_PROCESS_GROUP)
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
