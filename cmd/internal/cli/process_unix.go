//go:build !windows

package cli

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
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

// processAlive asks the kernel with signal 0; a process of another user counts as alive, one that is dead and that nobody has waited for does not.
func processAlive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return (err == nil || errors.Is(err, syscall.EPERM)) && !zombie(pid)
}

// hideInput turns the echo of a terminal off. Lines and signals are as they were.
func hideInput(fd int) error {
	t, err := unix.IoctlGetTermios(fd, readTermios)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ECHO
	t.Lflag |= unix.ICANON | unix.ISIG
	t.Iflag |= unix.ICRNL
	return unix.IoctlSetTermios(fd, writeTermios, t)
}

// foreground reports whether what this process draws on a terminal is in nobody's way: a job in the background shares it with a shell.
func foreground(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// dieOf ends this process by a signal that it would have died of, had it not listened.
func dieOf(s os.Signal) {
	if n, ok := s.(syscall.Signal); ok && syscall.Kill(syscall.Getpid(), n) == nil {
		time.Sleep(time.Second) // it comes to another thread
	}
	os.Exit(1)
}
