// Package file is the default store: a folder, one file a key, private to its user.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"github.com/gofrs/flock"

	"github.com/dripstat/failover/provision/store"
)

// Store keeps keys below a folder, which is made when something is first written. It is safe for
// concurrent use by goroutines, and by processes for Swap.
type Store struct {
	dir string

	mu   sync.Mutex
	open map[string]*os.File // appended to; kept open until Close
}

// New gives the store of a folder; it touches nothing.
func New(dir string) *Store { return &Store{dir: dir, open: map[string]*os.File{}} }

// Dir gives the folder.
func (s *Store) Dir() string { return s.dir }

// Path gives the file of a key.
func (s *Store) Path(key string) string { return filepath.Join(s.dir, filepath.FromSlash(key)) }

// Close lets go of the files that were appended to.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for k, f := range s.open {
		err = errors.Join(err, f.Close())
		delete(s.open, k)
	}
	return err
}

// Read gives the value of a key.
func (s *Store) Read(_ context.Context, key string) ([]byte, error) {
	b, err := os.ReadFile(s.Path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, store.ErrNotFound)
	}
	return b, err
}

// Swap compares and replaces under a lock file that lies beside the key.
func (s *Store) Swap(ctx context.Context, key string, old, next []byte) error {
	path := s.Path(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	l := flock.New(path+".lock", flock.SetPermissions(0o600))
	if ok, err := l.TryLockContext(ctx, 10e6); err != nil || !ok {
		return fmt.Errorf("locking %s: %w", path, err)
	}
	defer l.Unlock() //nolint:errcheck // the kernel lets go with the process at the latest
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if old != nil {
			return fmt.Errorf("%s: %w", key, store.ErrChanged)
		}
	case err != nil:
		return err
	case old == nil:
		return fmt.Errorf("%s: %w", key, store.ErrExists)
	case !bytes.Equal(have, old):
		return fmt.Errorf("%s: %w", key, store.ErrChanged)
	}
	if next == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(filepath.Dir(path))
	}
	if err := replace(path, next); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Append writes and syncs. A write that was cut short by a full disk is taken back, so that the next line
// does not join a torn one.
func (s *Store) Append(_ context.Context, key string, b []byte) error {
	f, err := s.appender(key)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	// Another process may have taken over and died in the middle of a line since this one opened the file.
	last := []byte{'\n'}
	if size > 0 {
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
	}
	if last[0] != '\n' {
		if err := dropTornLine(f); err != nil {
			return err
		}
		if size, err = f.Seek(0, 2); err != nil {
			return err
		}
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	return f.Sync()
}

func (s *Store) appender(key string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.open[key]; f != nil {
		return f, nil
	}
	path := s.Path(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := dropTornLine(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.open[key] = f
	return f, syncDir(filepath.Dir(path))
}

// dropTornLine cuts what follows the last newline: a crash in the middle of a write leaves it there.
func dropTornLine(f *os.File) error {
	b, err := os.ReadFile(f.Name())
	if err != nil || len(b) == 0 || b[len(b)-1] == '\n' {
		return err
	}
	return f.Truncate(int64(bytes.LastIndexByte(b, '\n') + 1))
}

// List walks the folder.
func (s *Store) List(_ context.Context, prefix string) ([]string, error) {
	var keys []string
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".lock") {
			return err
		}
		rel, err := filepath.Rel(s.dir, path)
		if key := filepath.ToSlash(rel); err == nil && strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	sort.Strings(keys)
	return keys, err
}
