//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package cli

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const readTermios, writeTermios = unix.TIOCGETA, unix.TIOCSETA

// zombie is not known here: such a process counts as alive, and its lock is waited out.
func zombie(int) bool { return false }

// thisBoot names this boot of the machine: macOS gives it an id; elsewhere it is the machine's name and when it booted, which moves with
// a clock that is set.
func thisBoot() (string, error) {
	if id, err := unix.Sysctl("kern.bootsessionuuid"); err == nil {
		return id, nil
	}
	at, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return "", err
	}
	name, err := unix.Sysctl("kern.hostname")
	return fmt.Sprintf("%s %d.%06d", name, at.Sec, at.Usec), err
}
