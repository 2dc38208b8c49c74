//go:build !windows

package cli

import (
	"errors"
	"syscall"
)

// processAlive asks the kernel with signal 0; a process of another user counts as alive.
func processAlive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
