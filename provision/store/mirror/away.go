package mirror

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/dripstat/failover/provision/store"
)

// mayAsk reports whether the shared store is to be asked now: one that was silent a moment ago is not.
func (s *Store) mayAsk() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o.Require || s.away == nil || time.Since(s.asked) > s.o.Every
}

// lost remembers that the shared store does not answer, and tells it once.
func (s *Store) lost(err error) {
	s.mu.Lock()
	first := s.away == nil
	s.away, s.asked = err, time.Now()
	s.mu.Unlock()
	if first && s.o.Away != nil {
		s.o.Away(err)
	}
}

// Miss is told by others who ask the shared store that it did not answer.
func (s *Store) Miss(err error) {
	if s.o.Require {
		return
	}
	s.lost(err)
	s.again()
}

// answered ends an absence that only reading has met.
func (s *Store) answered() {
	s.mu.Lock()
	back := s.away != nil && !s.retry
	if back {
		s.away = nil
	}
	s.mu.Unlock()
	if back && s.o.Back != nil {
		s.o.Back()
	}
}

// Away gives why the shared store is not used now; nil while it is.
func (s *Store) Away() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

// again starts the loop that asks until the shared store has everything.
func (s *Store) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retry || s.closed || s.o.Require {
		return
	}
	s.retry = true
	s.loop.Add(1)
	go func() {
		defer s.loop.Done()
		t := time.NewTicker(s.o.Every)
		defer t.Stop()
		for {
			select {
			case <-s.quit:
				return
			case <-t.C:
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			done := s.catchUp(ctx)
			cancel()
			if done {
				return
			}
		}
	}()
}

// catchUp pushes everything; true when nothing is left and appends wait for the shared store again.
func (s *Store) catchUp(ctx context.Context) bool {
	s.mu.Lock()
	keys := make(map[string]*value, len(s.keys))
	for k, v := range s.keys {
		keys[k] = v
	}
	s.mu.Unlock()
	// It is asked even where nothing is missing: it may have been missed by others.
	if _, err := s.shared.Read(ctx, "ping"); err != nil && !errors.Is(err, store.ErrNotFound) {
		s.lost(err)
		return false
	}
	for k, v := range keys {
		if err := s.push(ctx, k, v); err != nil && !errors.Is(err, store.ErrChanged) {
			s.lost(err)
			return false
		}
	}
	s.mu.Lock()
	for _, v := range s.keys {
		if v.over == nil && v.have != nil && (!v.known || v.sent < len(v.have)) { // more came meanwhile
			s.mu.Unlock()
			return false
		}
	}
	s.away, s.retry = nil, false
	s.mu.Unlock()
	for k, v := range keys {
		s.unnote(ctx, k, v)
	}
	if s.o.Back != nil {
		s.o.Back()
	}
	return true
}

// unnote takes the mark away, unless another process of this machine has added what only it knows of: whoever merges
// next must find that.
func (s *Store) unnote(ctx context.Context, key string, v *value) {
	v.adding.Lock()
	defer v.adding.Unlock()
	s.mu.Lock()
	noted, ours := v.noted, len(v.have)
	v.noted = false
	s.mu.Unlock()
	if b, err := s.local.Read(ctx, key); err != nil || len(whole(b)) > ours {
		return
	}
	if noted {
		_ = s.unmark(ctx, key, ours)
	}
}

// Merge adds to the shared store what earlier processes of this machine could not. It gives the keys that it
// has now, and the error that kept it from others.
func (s *Store) Merge(ctx context.Context) (merged []string, err error) {
	marks, err := s.local.List(ctx, "unshared/")
	if err != nil || len(marks) == 0 || !s.mayAsk() {
		return nil, err
	}
	for _, m := range marks {
		key := strings.TrimSuffix(strings.TrimPrefix(m, "unshared/"), ".mark")
		b, err := s.local.Read(ctx, key)
		if err != nil {
			continue
		}
		v := &value{have: whole(b)}
		switch err := s.push(ctx, key, v); {
		case err == nil || errors.Is(err, store.ErrChanged) && !errors.Is(err, store.ErrFenced):
			if err == nil {
				merged = append(merged, key)
			}
			if err := s.unmark(ctx, key, len(v.have)); err != nil && !errors.Is(err, store.ErrChanged) { // changed: somebody else took it away
				return merged, err
			}
		default:
			s.lost(err)
			return merged, err
		}
	}
	return merged, nil
}

// Flush is the last attempt of a run: it gives what kept the shared store from having everything.
func (s *Store) Flush(ctx context.Context) error {
	if s.Away() == nil {
		return nil
	}
	s.mu.Lock()
	retry := s.retry
	s.mu.Unlock()
	if !retry || s.catchUp(ctx) {
		return nil
	}
	return s.Away()
}

// Close ends the background loop. What the shared store lacks then is merged by the next command here.
func (s *Store) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
	}
	s.mu.Unlock()
	s.loop.Wait()
	var err error
	for _, x := range []any{s.local, s.shared} {
		if c, ok := x.(interface{ Close() error }); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}
