// Package file is the default store: a folder, one file a key, private to its user, or to a group that the folder was made for.
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
	"time"

	"github.com/gofrs/flock"

	"github.com/dripstat/failover/provision/store"
)

// Store keeps keys below a folder, which is made when something is first written. It is safe for
// concurrent use by goroutines and by processes.
type Store struct {
	dir string

	mu   sync.Mutex
	open map[string]*appended
	ends map[string]int64 // of what was read, the end of its last whole line
}

// appended is a value that is added to; its file is kept open until Close.
type appended struct {
	mu   sync.Mutex
	file *os.File
	lock *flock.Flock
	end  int64
	past bool // another has added since: the next reading finds the end anew
}

// New gives the store of a folder; it touches nothing.
func New(dir string) *Store {
	return &Store{dir: dir, open: map[string]*appended{}, ends: map[string]int64{}}
}

// Where names the store to people.
func (s *Store) Where() string { return s.dir }

// Dir gives the folder.
func (s *Store) Dir() string { return s.dir }

// Path gives the file of a key.
func (s *Store) Path(key string) string { return filepath.Join(s.dir, filepath.FromSlash(key)) }

// Close lets go of the files that were appended to.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for k, a := range s.open {
		err = errors.Join(err, a.file.Close(), a.lock.Close())
		delete(s.open, k)
	}
	return err
}

// Read gives the value of a key.
func (s *Store) Read(_ context.Context, key string) ([]byte, error) {
	b, err := os.ReadFile(s.Path(key))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", key, store.ErrNotFound)
	} else if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.ends[key] = int64(bytes.LastIndexByte(b, '\n') + 1)
	if a := s.open[key]; a != nil {
		a.mu.Lock()
		if a.past {
			a.end, a.past = s.ends[key], false
		}
		a.mu.Unlock()
	}
	s.mu.Unlock()
	return b, err
}

// Swap compares and replaces under a lock file that lies beside the key.
func (s *Store) Swap(ctx context.Context, key string, old, next []byte) error {
	path, m := s.Path(key), s.modes()
	if err := s.mkdir(filepath.Dir(path), m); err != nil {
		return err
	}
	l := flock.New(path+".lock", flock.SetPermissions(m.file))
	if ok, err := l.TryLockContext(ctx, 10e6); err != nil || !ok {
		return fmt.Errorf("locking %s: %w", path, err)
	}
	defer l.Unlock() //nolint:errcheck // the kernel lets go with the process at the latest
	if err := m.hand(path + ".lock"); err != nil {
		return err
	}
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
	if err := replace(path, next, m.file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Append writes and syncs, where the end is still the one that is known. A write that was cut short by a full
// disk is taken back, so that the next line does not join a torn one.
func (s *Store) Append(ctx context.Context, key string, b []byte) error {
	a, err := s.appender(ctx, key)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if ok, err := a.lock.TryLockContext(ctx, 10e6); err != nil || !ok {
		return fmt.Errorf("locking %s: %w", a.file.Name(), err)
	}
	defer a.lock.Unlock() //nolint:errcheck // the kernel lets go with the process at the latest
	size, err := a.file.Seek(0, 2)
	if err != nil {
		return err
	}
	if size != a.end {
		a.past = true
		return fmt.Errorf("%s: %w", key, store.ErrChanged)
	}
	if _, err := a.file.Write(b); err != nil {
		return errors.Join(err, a.file.Truncate(size))
	}
	a.end += int64(len(b))
	return a.file.Sync()
}

func (s *Store) appender(ctx context.Context, key string) (*appended, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.open[key]; a != nil {
		return a, nil
	}
	path, m := s.Path(key), s.modes()
	if err := s.mkdir(filepath.Dir(path), m); err != nil {
		return nil, err
	}
	a := &appended{lock: flock.New(path+".lock", flock.SetPermissions(m.file))}
	if ok, err := a.lock.TryLockContext(ctx, 10e6); err != nil || !ok {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	defer a.lock.Unlock() //nolint:errcheck // the kernel lets go with the process at the latest
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, m.file)
	if err != nil {
		return nil, errors.Join(err, a.lock.Close())
	}
	if err := errors.Join(m.hand(path), m.hand(path+".lock")); err != nil {
		return nil, errors.Join(err, f.Close(), a.lock.Close())
	}
	if a.end, err = dropTornLine(f); err != nil {
		return nil, errors.Join(err, f.Close(), a.lock.Close())
	}
	if read, ok := s.ends[key]; ok && read != a.end {
		return nil, errors.Join(fmt.Errorf("%s: %w", key, store.ErrChanged), f.Close(), a.lock.Close())
	}
	a.file = f
	s.open[key] = a
	return a, syncDir(filepath.Dir(path))
}

// dropTornLine cuts what follows the last newline, which a crash in the middle of a write leaves there, and
// gives the end.
func dropTornLine(f *os.File) (int64, error) {
	b, err := os.ReadFile(f.Name())
	end := int64(bytes.LastIndexByte(b, '\n') + 1)
	if err != nil || end == int64(len(b)) {
		return end, err
	}
	return end, f.Truncate(end)
}

// Aside renames a value, so that another can take its place.
func (s *Store) Aside(key, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.open[key]; a != nil {
		delete(s.open, key)
		if err := errors.Join(a.file.Close(), a.lock.Close()); err != nil {
			return err
		}
	}
	delete(s.ends, key)
	if err := s.mkdir(filepath.Dir(s.Path(to)), s.modes()); err != nil {
		return err
	}
	return os.Rename(s.Path(key), s.Path(to))
}

// Watch looks at the file five times a second.
func (s *Store) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	ticks := make(chan struct{}, 1)
	stamp := func() string {
		st, err := os.Stat(s.Path(key))
		if err != nil {
			return ""
		}
		return fmt.Sprint(st.Size(), st.ModTime())
	}
	last := stamp()
	go func() {
		defer close(ticks)
		t := time.NewTicker(200 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if now := stamp(); now != last {
				last = now
				select {
				case ticks <- struct{}{}:
				default:
				}
			}
		}
	}()
	return ticks, nil
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
