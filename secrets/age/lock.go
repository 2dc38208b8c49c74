package age

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// patience is how long another process may take to read, seal and rename; where that asks for a passphrase, a person is at it.
const patience = 20 * time.Second

// lock keeps every other process from changing the file at path until unlock: a change is read, made and written whole, so that of
// two at the same moment one would be lost. The lock lies beside the file, and is gone afterwards: sealed files are kept in
// version control. The file itself cannot be the lock, since another one takes its place.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		l := flock.New(path+".lock", flock.SetPermissions(0o600))
		switch ok, err := l.TryLockContext(ctx, 10*time.Millisecond); {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%s is being written by another process, which does not end; %s.lock is its lock", path, filepath.Base(path))
		case err != nil || !ok:
			return nil, fmt.Errorf("it cannot be locked: %w", err)
		}
		// Whoever had it has removed it: then what is locked here is not what others would find.
		mine, err := l.Stat()
		if err == nil {
			there, terr := os.Stat(path + ".lock")
			if terr == nil && os.SameFile(mine, there) {
				return func() {
					_ = os.Remove(path + ".lock") // Windows removes nothing that is open: it stays there
					_ = l.Unlock()
				}, nil
			}
		}
		_ = l.Unlock()
	}
}
