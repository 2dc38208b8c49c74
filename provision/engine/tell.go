package engine

import (
	"slices"
	"sync"

	"github.com/dripstat/failover/provision"
)

// teller gives events to the view one at a time and in the journal's order. Appends of many steps share a
// write and return in any order, so an event waits for those that were numbered before it.
type teller struct {
	to func(provision.Event)

	mu     sync.Mutex
	flying int // appends whose number is not known yet
	last   int // number of the last event told
	held   []heldEvent
}

// heldEvent is told when all up to its key were: its own number, or that of the event it came after.
type heldEvent struct {
	key int
	e   provision.Event
}

// begin says that an event is on its way to the journal; end must follow.
func (t *teller) begin() {
	t.mu.Lock()
	t.flying++
	t.mu.Unlock()
}

// end gives the event as the journal numbered it, or nil when the journal did not take it.
func (t *teller) end(e *provision.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying--
	if e != nil {
		t.put(heldEvent{e.Seq, *e})
	}
	t.flush()
}

// now tells what no journal keeps, after everything that was recorded before it.
func (t *teller) now(e provision.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := t.last
	if n := len(t.held); n > 0 {
		key = t.held[n-1].key
	}
	t.put(heldEvent{key, e})
	t.flush()
}

func (t *teller) put(h heldEvent) {
	i := len(t.held)
	for i > 0 && t.held[i-1].key > h.key {
		i--
	}
	t.held = slices.Insert(t.held, i, h)
}

func (t *teller) flush() {
	for len(t.held) > 0 && (t.held[0].key <= t.last+1 || t.flying == 0) {
		h := t.held[0]
		t.held = t.held[1:]
		t.last = max(t.last, h.key)
		if t.to != nil {
			t.to(h.e)
		}
	}
}
