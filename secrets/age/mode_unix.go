//go:build !windows

package age

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// handOn gives a file that is to take the place of the one at path what that one has: its group and its permissions, so that who could open
// it can open it. Where there is none yet, and the folder was made for a group (chmod 2770), it is that group's to read and to replace.
func handOn(f *os.File, path string) {
	is, err := f.Stat()
	if err != nil {
		return
	}
	mode, like := fs.FileMode(0o660), filepath.Dir(path)
	old, err := os.Stat(path)
	if err == nil {
		mode, like = old.Mode().Perm(), path
	} else if dir, derr := os.Stat(like); derr != nil || dir.Mode()&fs.ModeSetgid == 0 || dir.Mode().Perm()&0o020 == 0 {
		return
	}
	want, err := os.Stat(like)
	if err != nil {
		return
	}
	w, wok := want.Sys().(*syscall.Stat_t)
	h, hok := is.Sys().(*syscall.Stat_t)
	if !wok || !hok || w.Gid != h.Gid && f.Chown(-1, int(w.Gid)) != nil {
		mode &^= 0o070 // the group would be another
	}
	_ = f.Chmod(mode)
}
