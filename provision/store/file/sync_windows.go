package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// syncDir does nothing: Windows has no way to sync a folder.
func syncDir(string) error { return nil }

// replace puts a whole file in the place of the old one. renameio does not exist on Windows, which
// does not promise that a rename is atomic; writers hold the key's lock file meanwhile.
func replace(path string, data []byte, _ fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
