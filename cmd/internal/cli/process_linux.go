package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const readTermios, writeTermios = unix.TCGETS, unix.TCSETS

// zombie reports whether a process is dead, though its PID is still taken: in a container whose first process waits for none, that is for good.
// The state comes after the name, which may hold anything: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func zombie(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	state := bytes.TrimSpace(b[bytes.LastIndexByte(b, ')')+1:])
	return len(state) > 0 && (state[0] == 'Z' || state[0] == 'X')
}

// thisBoot names this boot of the machine, and the PID namespace that this process sees: containers of one machine have PIDs of
// their own. https://man7.org/linux/man-pages/man4/random.4.html (boot_id), https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
func thisBoot() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	ns, nerr := os.Readlink("/proc/self/ns/pid")
	if err := errors.Join(err, nerr); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%s", id, ns), nil
}
