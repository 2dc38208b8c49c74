package openstack

import (
	"context"
	"sync"
	"time"
)

// flight is one run of a function that several callers wait for. It is cancelled when all have gone.
type flight[T any] struct {
	done    chan struct{}
	started time.Time
	waiting int
	cancel  context.CancelFunc
	val     T
	err     error
}

// start runs fn apart from any one caller's cancellation. after is called, with mu held, when it has ended.
func start[T any](ctx context.Context, mu *sync.Mutex, fn func(context.Context) (T, error), after func(*flight[T])) *flight[T] {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight[T]{done: make(chan struct{}), started: time.Now(), cancel: cancel}
	go func() {
		defer cancel()
		f.val, f.err = fn(inner)
		mu.Lock()
		after(f)
		mu.Unlock()
		close(f.done)
	}()
	return f
}

// wait joins a flight; mu guards waiting and is not held by the caller.
func (f *flight[T]) wait(ctx context.Context, mu *sync.Mutex) (T, error) {
	select {
	case <-f.done:
		return f.val, f.err
	case <-ctx.Done():
		mu.Lock()
		if f.waiting--; f.waiting == 0 {
			f.cancel()
		}
		mu.Unlock()
		var zero T
		return zero, ctx.Err()
	}
}

// once keeps the first success of a function; concurrent callers share the attempt.
type once[T any] struct {
	mu  sync.Mutex
	ok  bool
	val T
	fl  *flight[T]
}

func (o *once[T]) get(ctx context.Context, fn func(context.Context) (T, error)) (T, error) {
	o.mu.Lock()
	if o.ok {
		defer o.mu.Unlock()
		return o.val, nil
	}
	if o.fl == nil || o.fl.waiting == 0 { // none, or one that everybody has left
		o.fl = start(ctx, &o.mu, fn, func(f *flight[T]) {
			if f.err == nil {
				o.ok, o.val = true, f.val
			}
			if o.fl == f {
				o.fl = nil
			}
		})
	}
	f := o.fl
	f.waiting++
	o.mu.Unlock()
	return f.wait(ctx, &o.mu)
}

// known gives the value where it is there already.
func (o *once[T]) known() (T, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.val, o.ok
}

// shared keeps a list that many ask for at once: those who ask within max of its start, or while it is
// being fetched, get the same.
type shared[T any] struct {
	mu  sync.Mutex
	at  time.Time // start of the fetch of val; zero: there is none
	val T
	fl  *flight[T]
}

// get gives a list that was asked for no longer than max ago and not before after.
func (s *shared[T]) get(ctx context.Context, max time.Duration, after time.Time, fn func(context.Context) (T, error)) (T, error) {
	s.mu.Lock()
	if !s.at.IsZero() && time.Since(s.at) < max && !s.at.Before(after) {
		defer s.mu.Unlock()
		return s.val, nil
	}
	if s.fl == nil || s.fl.waiting == 0 || s.fl.started.Before(after) {
		s.fl = start(ctx, &s.mu, fn, func(f *flight[T]) {
			if f.err == nil && f.started.After(s.at) {
				s.at, s.val = f.started, f.val
			}
			if s.fl == f {
				s.fl = nil
			}
		})
	}
	f := s.fl
	f.waiting++
	s.mu.Unlock()
	return f.wait(ctx, &s.mu)
}

// put gives a list that was read otherwise, asked for at at.
func (s *shared[T]) put(at time.Time, val T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(s.at) {
		s.at, s.val = at, val
	}
}

// drop forgets the list.
func (s *shared[T]) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = time.Time{}
}
