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

// noCore keeps a crash from leaving the memory of this process, with keys in it, on a disk. Commands that are run inherit it,
// and may raise it again. Go itself makes a core only with GOTRACEBACK=crash: https://pkg.go.dev/runtime#hdr-Environment_Variables
func noCore() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &l) == nil {
		l.Cur = 0
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &l) // where it cannot be lowered, it is as it was
	}
}

// processAlive asks the kernel with signal 0; a process of another user counts as alive.
func processAlive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
