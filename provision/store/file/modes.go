package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// modes are what new folders and files may be.
type modes struct{ dir, file fs.FileMode }

var (
	private = modes{0o700, 0o600}
	group   = modes{0o770 | fs.ModeSetgid, 0o660}
)

// modes says whose the store is: its user's, or, where its folder is a group's to write and hands that group on (chmod 2770), all of that
// group, as of people who work on one machine.
func (s *Store) modes() modes {
	if st, err := os.Stat(s.dir); err == nil && st.Mode()&fs.ModeSetgid != 0 && st.Mode().Perm()&0o020 != 0 {
		return group
	}
	return private
}

// hand gives a group what belongs to it: a umask may have taken that away as it was made. What another has made was handed by them.
func (m modes) hand(path string) error {
	if m == private {
		return nil
	}
	st, err := os.Stat(path)
	want := m.file
	if err == nil && st.IsDir() {
		want = m.dir
	}
	if err != nil || st.Mode()&(fs.ModePerm|fs.ModeSetgid) == want {
		return err
	}
	if err := os.Chmod(path, want); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// mkdir makes a folder below the store's, which is made too where there is none.
func (s *Store) mkdir(dir string, m modes) error {
	if err := os.MkdirAll(dir, m.dir.Perm()); err != nil || m == private {
		return err
	}
	rel, err := filepath.Rel(s.dir, dir)
	if err != nil || rel == "." {
		return err
	}
	at := s.dir
	for name := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		at = filepath.Join(at, name)
		if err := m.hand(at); err != nil {
			return err
		}
	}
	return nil
}
