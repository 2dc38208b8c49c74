package view

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dripstat/failover/provision"
)

// reader is a terminal that takes nothing until it is let, or that is gone.
type reader struct {
	let  chan struct{}
	gone bool

	mu   sync.Mutex
	took []string
}

func (r *reader) Write(b []byte) (int, error) {
	<-r.let
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return 0, errors.New("broken pipe")
	}
	r.took = append(r.took, string(b))
	return len(b), nil
}

func (r *reader) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.took, "")
}

// Who writes does not wait; who flushes does, for as long as it likes. What was written comes in order, none of it twice.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{let: make(chan struct{})}
		q := NewQueue(r)
		if !q.Idle() {
			t.Error("a new one is busy")
		}
		q.Flush(t.Context())
		for _, s := range []string{"a", "b", "c"} {
			if n, err := q.Write([]byte(s)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if q.Flush(ctx); time.Since(began) != time.Minute || q.Idle() {
			t.Errorf("it waited %s", time.Since(began))
		}
		close(r.let)
		if q.Flush(t.Context()); r.text() != "abc" || !q.Idle() {
			t.Errorf("%q", r.text())
		}
		_, _ = q.Write([]byte("d"))
		if q.Flush(t.Context()); r.text() != "abcd" {
			t.Errorf("%q", r.text())
		}
		r.gone = true
		_, _ = q.Write([]byte("e"))
		q.Flush(t.Context())
	})
}

// A terminal that hangs makes no step wait, and is given one frame when it is back, not those of all the time between.
func TestTTYHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		g, _ := graph(t, 2)
		r := &reader{let: make(chan struct{})}
		q := NewQueue(r)
		v := NewTTY(q, NewLook(r, false, 80), func() (int, int) { return 80, 24 }, head, NewModel(g, run, began))
		for _, e := range middle().events {
			e.Time = time.Now()
			v.Tell(e)
			time.Sleep(1001 * time.Millisecond)
		}
		if took := time.Since(began); took != time.Duration(len(middle().events))*1001*time.Millisecond {
			t.Errorf("who tells waits: %s", took)
		}
		close(r.let)
		synctest.Wait()
		r.mu.Lock()
		if len(r.took) != 1 {
			t.Errorf("%d frames were kept", len(r.took))
		}
		r.mu.Unlock()
		v.Tell(provision.Event{Type: provision.RunEnded, Time: time.Now(), Outcome: provision.OutcomeStopped})
		v.End()
		q.Flush(t.Context())
		if last := replay(r.text()); !strings.Contains(last, "Stopped; nothing is lost") || strings.Contains(last, "^C stops safely") {
			t.Errorf("what stays on the screen:\n%s", last)
		}
	})
}

// While another has the terminal nothing is drawn; after that the frame begins anew, and overwrites nothing of what was written meanwhile.
func TestTTYInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := graph(t, 2)
		var out screen
		var away atomic.Bool
		q := NewQueue(&out)
		v := NewTTY(q, NewLook(&out, false, 80), func() (int, int) {
			if away.Load() {
				return -1, -1
			}
			return 80, 24
		}, head, NewModel(g, run, time.Now()))
		time.Sleep(150 * time.Millisecond)
		away.Store(true)
		time.Sleep(150 * time.Millisecond)
		q.Flush(t.Context())
		before := out.n
		_, _ = out.Write([]byte("a shell's prompt\n"))
		time.Sleep(time.Minute)
		if out.n != before+1 {
			t.Errorf("%d frames were drawn", out.n-before-1)
		}
		away.Store(false)
		time.Sleep(time.Second)
		v.Tell(provision.Event{Type: provision.RunEnded, Time: time.Now(), Outcome: provision.OutcomeStopped})
		v.End()
		q.Flush(t.Context())
		if last := replay(out.b.String()); !strings.Contains(last, "a shell's prompt") || !strings.Contains(last, "Stopped; nothing is lost") {
			t.Errorf("what stays on the screen:\n%s", last)
		}
	})
}
