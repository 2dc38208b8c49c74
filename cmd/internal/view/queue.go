package view

import (
	"context"
	"io"
	"sync"
)

// Queue is a writer that makes nobody wait: who reads may stop reading (^S, a pager, a full pipe, an ssh connection that
// hangs) or go away, and a run must not stand still for that. What is written is handed on in order, by a goroutine
// that ends when nothing is left; errors of the reader are dropped, for there is nobody to tell. It is safe for
// concurrent use, and holds what is not read yet in memory.
type Queue struct {
	out io.Writer

	mu    sync.Mutex
	left  []byte
	empty chan struct{} // closed once all is handed on; nil while nothing is
}

// NewQueue gives a queue to a writer, which only the queue writes to from now on.
func NewQueue(out io.Writer) *Queue { return &Queue{out: out} }

// Write takes all of b at once; it never fails.
func (q *Queue) Write(b []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.left = append(q.left, b...)
	if q.empty == nil {
		q.empty = make(chan struct{})
		go q.handOn()
	}
	return len(b), nil
}

func (q *Queue) handOn() {
	for {
		q.mu.Lock()
		b := q.left
		q.left = nil
		if len(b) == 0 {
			close(q.empty)
			q.empty = nil
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		_, _ = q.out.Write(b)
	}
}

// Idle reports whether everything was handed on.
func (q *Queue) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.empty == nil
}

// Flush waits until everything was handed on, or until ctx ends.
func (q *Queue) Flush(ctx context.Context) {
	q.mu.Lock()
	empty := q.empty
	q.mu.Unlock()
	if empty == nil {
		return
	}
	select {
	case <-empty:
	case <-ctx.Done():
	}
}
