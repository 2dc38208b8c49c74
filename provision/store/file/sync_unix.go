//go:build !windows

package file

import (
	"errors"
	"os"

	"github.com/google/renameio/v2"
)

// replace puts a whole file in the place of the old one.
func replace(path string, data []byte) error { return renameio.WriteFile(path, data, 0o600) }

// syncDir makes a rename or a new file survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
