// Package mirror keeps values in a store of this machine and, as soon as it answers, in one that is shared.
//
// What is appended is written here first. While the shared store answers, it has each chunk too when Append
// returns; while it does not, nobody waits for it: it is asked again and again in the background, and what it
// lacks is added in order. A shared journal is never rewritten: one that went on elsewhere is left as it is.
// With Require the shared store's answer is waited for, and its silence is an error.
package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/dripstat/failover/provision/store"
)

// Local is the store of this machine.
type Local interface {
	store.Store
	store.Watcher
	// Aside renames a value.
	Aside(key, to string) error
}

// Shared is the store of a team.
type Shared interface {
	store.Store
	store.Watcher
}

// Options shape a mirror.
type Options struct {
	Require bool
	// Away is told when the shared store stops answering, Back when it has everything again, Forked when
	// a shared value went on elsewhere and is no longer added to. They are called from any goroutine.
	Away   func(err error)
	Back   func()
	Forked func(key string)
	Every  time.Duration // between attempts while it is away; 2 s where it is 0
}

// Store is both. Swap is not for it: a lease is held in each store by itself.
type Store struct {
	local  Local
	shared Shared
	o      Options

	mu     sync.Mutex
	keys   map[string]*value
	reads  map[string][]byte // what Read gave last
	away   error
	asked  time.Time // when the shared store failed last
	retry  bool      // the background loop runs
	quit   chan struct{}
	closed bool
	loop   sync.WaitGroup
}

// value is a key that is appended to.
type value struct {
	adding  sync.Mutex // held while the local store is added to
	pushing sync.Mutex // held while the shared store is added to

	// Under the store's own lock:
	have  []byte // the local value, as this process read and wrote it; nil before it is taken up
	known bool   // the shared value is a beginning of have, and ends at sent
	sent  int
	over  error // why nothing more is pushed: it forked, or another holds the lease
	noted bool  // this process has said that unshared/ is to name it
}

// New gives the mirror; nothing is asked yet.
func New(local Local, shared Shared, o Options) *Store {
	if o.Every <= 0 {
		o.Every = 2 * time.Second
	}
	return &Store{local: local, shared: shared, o: o, keys: map[string]*value{}, reads: map[string][]byte{}, quit: make(chan struct{})}
}

// unshared names the keys that the shared store may lack, for processes that come later.
func unshared(key string) string { return "unshared/" + key + ".mark" }

// fork gives where a value is kept that the shared one went past.
func fork(key string) string { return fmt.Sprintf("forks/%s.%d", key, time.Now().UnixNano()) }

// Read gives the longer of the two values where one begins with the other, the shared one where they forked,
// and the local one while the shared store is away.
func (s *Store) Read(ctx context.Context, key string) ([]byte, error) {
	b, err := s.read(ctx, key)
	if err == nil || errors.Is(err, store.ErrNotFound) {
		s.mu.Lock()
		s.reads[key] = whole(b)
		s.mu.Unlock()
	}
	return b, err
}

func (s *Store) read(ctx context.Context, key string) ([]byte, error) {
	l, lerr := s.local.Read(ctx, key)
	if lerr != nil && !errors.Is(lerr, store.ErrNotFound) {
		return nil, lerr
	}
	if !s.mayAsk() {
		return l, lerr
	}
	r, rerr := s.shared.Read(ctx, key)
	switch {
	case rerr == nil:
		s.answered()
		if lerr == nil && bytes.HasPrefix(whole(l), r) {
			return l, nil
		}
		return r, nil
	case errors.Is(rerr, store.ErrNotFound):
		s.answered()
		return l, lerr
	}
	if s.o.Require {
		return nil, rerr
	}
	s.lost(rerr)
	return l, lerr
}

// whole is a value without a line that a crash has torn.
func whole(b []byte) []byte { return b[:bytes.LastIndexByte(b, '\n')+1] }

// List gives the keys of both.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	keys, err := s.local.List(ctx, prefix)
	if err != nil || !s.mayAsk() {
		return keys, err
	}
	more, err := s.shared.List(ctx, prefix)
	if err != nil && s.o.Require {
		return nil, err
	}
	if err != nil {
		s.lost(err)
		return keys, nil
	}
	s.answered()
	keys = append(keys, more...)
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// Swap is refused: see Store.
func (s *Store) Swap(context.Context, string, []byte, []byte) error {
	return errors.New("a mirror swaps nothing")
}

// Watch tells of changes in both.
func (s *Store) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	ctx, cancel := context.WithCancel(ctx)
	l, err := s.local.Watch(ctx, key)
	if err != nil {
		cancel()
		return nil, err
	}
	var r <-chan struct{}
	if s.mayAsk() {
		if r, err = s.shared.Watch(ctx, key); err != nil {
			s.lost(err)
		}
	}
	out := make(chan struct{}, 1)
	go func() {
		defer close(out)
		defer cancel()
		for ok := true; ok; {
			select {
			case _, ok = <-l:
			case _, ok = <-r: // nil, where the shared store does not answer, is silent
			}
			if ok {
				select {
				case out <- struct{}{}:
				default:
				}
			}
		}
	}()
	return out, nil
}

// Append writes here, then there.
func (s *Store) Append(ctx context.Context, key string, b []byte) error {
	v := s.value(key)
	v.adding.Lock()
	defer v.adding.Unlock()
	if err := s.begin(ctx, key, v); err != nil {
		return err
	}
	if err := s.local.Append(ctx, key, b); err != nil {
		return err
	}
	s.mu.Lock()
	v.have = append(v.have, b...)
	away := s.away
	s.mu.Unlock()
	if away != nil && !s.o.Require {
		s.note(ctx, key, v)
		return nil
	}
	return s.settle(ctx, key, v, s.push(ctx, key, v))
}

// settle says what becomes of an append whose push ended so.
func (s *Store) settle(ctx context.Context, key string, v *value, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrFenced), s.o.Require:
		return err
	}
	if !errors.Is(err, store.ErrChanged) {
		s.note(ctx, key, v)
		s.lost(err)
		s.again()
	}
	return nil
}

func (s *Store) value(key string) *value {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.keys[key]
	if v == nil {
		v = &value{}
		s.keys[key] = v
	}
	return v
}

// begin takes up a key: what the shared store has of it beyond what is here is fetched, so that a run which
// was begun elsewhere is whole here before it goes on.
func (s *Store) begin(ctx context.Context, key string, v *value) error {
	s.mu.Lock()
	begun := v.have != nil
	s.mu.Unlock()
	if begun {
		return nil
	}
	l, err := s.local.Read(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	l = append([]byte{}, whole(l)...)
	s.mu.Lock()
	read, wasRead := s.reads[key]
	s.mu.Unlock()
	// What the caller read is what it adds to.
	set := func(have []byte, sent int, known bool) error {
		if wasRead && !bytes.Equal(have, read) {
			return fmt.Errorf("%s: %w", key, store.ErrChanged)
		}
		s.mu.Lock()
		v.have, v.sent, v.known = have, sent, known
		s.mu.Unlock()
		return nil
	}
	alone := func() error { // what was fetched while the shared store answered is kept
		if len(read) > len(l) && bytes.HasPrefix(read, l) {
			if err := s.local.Append(ctx, key, read[len(l):]); err != nil {
				return err
			}
			l = append(l, read[len(l):]...)
		}
		s.again()
		return set(l, 0, false)
	}
	if !s.mayAsk() {
		return alone()
	}
	r, err := s.shared.Read(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		r, err = []byte{}, nil
	}
	if err != nil {
		if s.o.Require {
			return err
		}
		s.lost(err)
		return alone()
	}
	s.answered()
	switch {
	case bytes.HasPrefix(l, r):
		return set(l, len(r), true)
	case !bytes.HasPrefix(r, l): // it went on elsewhere: what was done here meanwhile is kept aside
		if err := s.local.Aside(key, fork(key)); err != nil {
			return err
		}
		l = nil
	}
	if err := s.local.Append(ctx, key, r[len(l):]); err != nil {
		return err
	}
	return set(append([]byte{}, r...), len(r), true)
}

// push adds to the shared value what it lacks.
func (s *Store) push(ctx context.Context, key string, v *value) error {
	v.pushing.Lock()
	defer v.pushing.Unlock()
	for again := false; ; again = true {
		s.mu.Lock()
		over, known, rest := v.over, v.known, v.have[v.sent:]
		s.mu.Unlock()
		if over != nil {
			return over
		}
		if !known {
			if err := s.compare(ctx, key, v); err != nil {
				return err
			}
			continue
		}
		if len(rest) == 0 {
			return nil
		}
		err := s.shared.Append(ctx, key, rest)
		s.mu.Lock()
		switch {
		case err == nil:
			v.sent += len(rest)
		case errors.Is(err, store.ErrFenced):
			v.over = err
		default: // its fate is unknown; or another process of this machine has pushed the same lines
			v.known = false
		}
		s.mu.Unlock()
		if err == nil || again || errors.Is(err, store.ErrFenced) || !errors.Is(err, store.ErrChanged) {
			return err
		}
	}
}

// compare finds where the shared value ends in ours.
func (s *Store) compare(ctx context.Context, key string, v *value) error {
	r, err := s.shared.Read(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	s.mu.Lock()
	ours := bytes.HasPrefix(v.have, r)
	if ours {
		v.known, v.sent = true, len(r)
	} else {
		v.over = fmt.Errorf("%s: the shared journal went on elsewhere: %w", key, store.ErrChanged)
	}
	over := v.over
	s.mu.Unlock()
	if !ours && s.o.Forked != nil {
		s.o.Forked(key)
	}
	return over
}

// note leaves word that the shared store may lack something of a key. It looks each time: another process of this machine may have
// shared what there was, and taken the mark away.
func (s *Store) note(ctx context.Context, key string, v *value) {
	s.mu.Lock()
	v.noted = true
	s.mu.Unlock()
	if _, err := s.local.Read(ctx, unshared(key)); err != nil {
		_ = s.local.Swap(ctx, unshared(key), nil, []byte(key)) // somebody else may do it at the same moment
	}
}

// unmark takes the mark away from a key of which so many bytes are shared. Another process of this machine may add to it right then: it
// has looked for the mark before that was gone, so its line is looked for afterwards.
func (s *Store) unmark(ctx context.Context, key string, shared int) error {
	if err := s.local.Swap(ctx, unshared(key), []byte(key), nil); err != nil {
		return err
	}
	b, err := s.local.Read(ctx, key)
	if errors.Is(err, store.ErrNotFound) || err == nil && len(whole(b)) <= shared {
		return nil
	}
	if err := s.local.Swap(ctx, unshared(key), nil, []byte(key)); !errors.Is(err, store.ErrExists) {
		return err
	}
	return nil
}

// Where names both.
func (s *Store) Where() string {
	name := func(x any) string {
		if w, ok := x.(interface{ Where() string }); ok {
			return w.Where()
		}
		return path.Base(fmt.Sprintf("%T", x))
	}
	return name(s.shared) + ", and here in " + name(s.local)
}
