//go:build !windows

package age

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Sealing anew takes nothing from those who could open the file, and gives it to nobody else.
func TestReplaceKeepsPermissions(t *testing.T) {
	for name, tt := range map[string]struct{ dir, old, want fs.FileMode }{
		"new":                {0o755, 0, 0o600},
		"new, for a group":   {0o770 | fs.ModeSetgid, 0, 0o660},
		"private":            {0o755, 0o600, 0o600},
		"a group's":          {0o755, 0o640, 0o640},
		"everyone's":         {0o755, 0o644, 0o644},
		"private in a group": {0o770 | fs.ModeSetgid, 0o600, 0o600},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "secrets.age")
			if err := os.Chmod(dir, tt.dir); err != nil {
				t.Fatal(err)
			}
			if tt.old != 0 {
				if err := errors.Join(os.WriteFile(path, []byte("old"), 0o600), os.Chmod(path, tt.old)); err != nil {
					t.Fatal(err)
				}
			}
			if err := replace(path, []byte("new")); err != nil {
				t.Fatal(err)
			}
			st, err := os.Stat(path)
			if err != nil || st.Mode() != tt.want {
				t.Errorf("it is %v, want %v: %v", st.Mode(), tt.want, err)
			}
		})
	}
}

// The group stays that of the old file where it can, and has nothing where it cannot.
func TestReplaceKeepsTheGroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file to any group")
	}
	path := filepath.Join(t.TempDir(), "secrets.age")
	if err := errors.Join(os.WriteFile(path, []byte("old"), 0o600), os.Chown(path, -1, 61000), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	if err := replace(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if gid := st.Sys().(*syscall.Stat_t).Gid; gid != 61000 || st.Mode() != 0o640 {
		t.Errorf("group %d, %v", gid, st.Mode())
	}
}
