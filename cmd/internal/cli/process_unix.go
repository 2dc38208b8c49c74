//go:build !windows

package cli

import (
	"errors"
	"syscall"

	"github.com/google/renameio/v2"
)

// replaceFile puts a whole file in the place of the old one, with the old one's permissions.
func replaceFile(path string, data []byte) error {
	return renameio.WriteFile(path, data, 0o644, renameio.WithExistingPermissions())
}

// processAlive asks the kernel with signal 0; a process of another user counts as alive.
func processAlive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
