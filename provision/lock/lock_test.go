package lock

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dripstat/failover/provision/store"
)

// memory is a store in memory that can stop answering.
type memory struct {
	mu    sync.Mutex
	keys  map[string][]byte
	fail  error  // all that is asked
	lossy error  // of the next Swap, which is done
	then  func() // after the next Read
}

func (m *memory) cut(err error) {
	m.mu.Lock()
	m.fail = err
	m.mu.Unlock()
}

func (m *memory) Read(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	if then := m.then; then != nil {
		m.then = nil
		defer then()
	}
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	if b, ok := m.keys[key]; ok {
		return bytes.Clone(b), nil
	}
	return nil, store.ErrNotFound
}

func (m *memory) Swap(_ context.Context, key string, old, next []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	have, ok := m.keys[key]
	switch {
	case m.fail != nil:
		return m.fail
	case ok && old == nil:
		return store.ErrExists
	case !bytes.Equal(have, old):
		return store.ErrChanged
	}
	if m.keys == nil {
		m.keys = map[string][]byte{}
	}
	m.keys[key] = next
	err := m.lossy
	m.lossy = nil
	return err
}

func alice() Holder {
	return Holder{Owner: "alice", Host: "laptop", PID: 100, Command: "failover", Run: "01ALICE"}
}
func bob() Holder {
	return Holder{Owner: "bob", Host: "desk", PID: 200, Command: "failover", Run: "01BOB"}
}

func everyoneLives(int) bool { return true }

func acquireIt(t *testing.T, m *memory, h Holder, alive func(int) bool) *Lease {
	t.Helper()
	l, err := Acquire(t.Context(), m, "shop", h, alive)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		l := acquireIt(t, m, alice(), everyoneLives)
		// Heartbeats keep it for as long as the run takes.
		for range 10 {
			time.Sleep(TTL)
			var held *HeldError
			if _, err := Acquire(t.Context(), m, "shop", bob(), everyoneLives); !errors.As(err, &held) || held.Holder.Owner != "alice" {
				t.Fatalf("a second lease: %v", err)
			} else if !strings.Contains(err.Error(), "locked by alice on laptop since") {
				t.Errorf("message: %v", err)
			}
			if err := l.Held(); err != nil {
				t.Fatal(err)
			}
		}
		// Another service is another lease.
		other, err := Acquire(t.Context(), m, "other", bob(), everyoneLives)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(other.Release(t.Context()), l.Release(t.Context())); err != nil {
			t.Fatal(err)
		}
		// Released, it is free at once, and its generation goes on.
		b := acquireIt(t, m, bob(), everyoneLives)
		if b.TakenFrom != nil || b.holder.Generation != 2 {
			t.Errorf("taken from %v, generation %d", b.TakenFrom, b.holder.Generation)
		}
		if err := b.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A lease whose store was out of reach is lost before another may take it, unless it is lenient. Then it is when another has
// taken it, and its holder knows that as soon as the store answers.
func TestStoreAway(t *testing.T) {
	for _, strict := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := &memory{}
			a := acquireIt(t, m, alice(), everyoneLives)
			if !strict {
				a.Lenient()
			}
			m.cut(errors.New("the store is out of reach"))
			time.Sleep(TTL - Beat - time.Second)
			if err := a.Held(); err != nil {
				t.Errorf("it was lost too early: %v", err)
			}
			time.Sleep(TTL)
			if err := a.Held(); errors.Is(err, ErrLost) != strict {
				t.Errorf("strict %t: %v", strict, err)
			}
			m.cut(nil)
			// In this very moment, before alice's next heartbeat, bob comes.
			b := acquireIt(t, m, bob(), everyoneLives)
			if b.TakenFrom == nil || b.TakenFrom.Owner != "alice" || b.TakenLive {
				t.Errorf("taken from %+v, live %t", b.TakenFrom, b.TakenLive)
			}
			time.Sleep(Beat + time.Second)
			var lost *LostError
			if err := a.Held(); !errors.Is(err, ErrLost) || !errors.As(err, &lost) || lost.To.Owner != "bob" {
				t.Errorf("alice still holds it: %v", err)
			}
			if err := a.Release(t.Context()); err != nil {
				t.Errorf("releasing what is lost: %v", err)
			}
			if err := b.Held(); err != nil {
				t.Errorf("bob lost it by alice's release: %v", err)
			}
			if err := b.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A live lease is taken only from the one who was named; that one knows before its next change, and within
// a heartbeat.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a := acquireIt(t, m, alice(), everyoneLives)
		var held *HeldError
		if _, err := Acquire(t.Context(), m, "shop", bob(), everyoneLives); !errors.As(err, &held) {
			t.Fatal(err)
		}
		time.Sleep(TTL) // heartbeats change the record, not the lease
		other := held.Holder
		other.Generation--
		if _, err := Take(t.Context(), m, "shop", bob(), other); !errors.As(err, &held) {
			t.Errorf("taken from a holder that is gone: %v", err)
		}
		began := time.Now()
		b, err := Take(t.Context(), m, "shop", bob(), held.Holder)
		if err != nil {
			t.Fatal(err)
		}
		if b.TakenFrom == nil || !b.TakenLive || b.Holder().Generation != 2 {
			t.Errorf("from %+v, live %t, generation %d", b.TakenFrom, b.TakenLive, b.Holder().Generation)
		}
		<-a.Lost()
		if took := time.Since(began); took > Beat {
			t.Errorf("known after %s", took)
		}
		if err := a.Held(); err == nil || !strings.Contains(err.Error(), "taken over by bob on desk") {
			t.Errorf("held: %v", err)
		}
		raw, _ := m.Read(t.Context(), Key("shop"))
		if a.Mine(raw) || !b.Mine(raw) {
			t.Errorf("mine: alice %t, bob %t", a.Mine(raw), b.Mine(raw))
		}
		if err := errors.Join(a.Release(t.Context()), b.Release(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// A heartbeat between the look and the write does not save a lease from being taken.
func TestTakeAcrossHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a := acquireIt(t, m, alice(), everyoneLives)
		time.Sleep(time.Second)
		m.then = func() { a.renew(t.Context()) }
		b, err := Take(t.Context(), m, "shop", bob(), a.Holder())
		if err != nil {
			t.Fatal(err)
		}
		if m.then != nil || b.TakenFrom == nil || b.TakenFrom.Owner != "alice" || !b.TakenLive {
			t.Errorf("taken from %+v, live %t", b.TakenFrom, b.TakenLive)
		}
		time.Sleep(2 * fresh)
		if err := a.Held(); !errors.Is(err, ErrLost) {
			t.Errorf("held: %v", err)
		}
		if err := errors.Join(a.Release(t.Context()), b.Release(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// Right before a change the store is asked, not only at heartbeats.
func TestHeldAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a := acquireIt(t, m, alice(), everyoneLives)
		time.Sleep(2 * time.Second)
		b, err := Take(t.Context(), m, "shop", bob(), a.Holder())
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Held(); !errors.Is(err, ErrLost) {
			t.Errorf("held: %v", err)
		}
		if err := errors.Join(a.Release(t.Context()), b.Release(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// An answer of a moment ago is not gone by where there is reason to doubt it.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a := acquireIt(t, m, alice(), everyoneLives)
		b, err := Take(t.Context(), m, "shop", bob(), a.Holder())
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Held(); err != nil {
			t.Errorf("asked within %s: %v", fresh, err)
		}
		a.Doubt()
		if err := a.Held(); !errors.Is(err, ErrLost) {
			t.Errorf("held: %v", err)
		}
		if err := errors.Join(a.Release(t.Context()), b.Release(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// A heartbeat, or a release, that was done although its answer was lost is ours all the same.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a := acquireIt(t, m, alice(), everyoneLives)
		for range 3 {
			m.mu.Lock()
			m.lossy = errors.New("the answer was lost")
			m.mu.Unlock()
			time.Sleep(Beat + time.Second)
			if err := a.Held(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(Beat)
		}
		if h, expired, err := Show(t.Context(), m, "shop"); err != nil || expired || h == nil || h.Owner != "alice" {
			t.Errorf("%+v, %t, %v", h, expired, err)
		}
		if err := a.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h, _, err := Show(t.Context(), m, "shop"); h != nil || err != nil {
			t.Errorf("released, but %+v, %v", h, err)
		}
	})
}

// A holder that comes back after its lease expired, with nobody else there, must not go on as if nothing were.
func TestHeartbeatDoesNotReviveAnotherOnesLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a := acquireIt(t, m, alice(), everyoneLives)
		m.mu.Lock()
		m.keys[Key("shop")] = []byte(`{"owner":"bob","host":"desk","pid":200,"expires":"2100-01-01T00:00:00Z","generation":7}`)
		m.mu.Unlock()
		time.Sleep(TTL / 2)
		if err := a.Held(); !errors.Is(err, ErrLost) {
			t.Errorf("held: %v", err)
		}
		if err := a.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if b, _ := m.Read(t.Context(), Key("shop")); !bytes.Contains(b, []byte("bob")) {
			t.Errorf("bob's lease is %s", b)
		}
	})
}

// A process of this machine that is gone holds nothing. One of another is not judged from here, though both have one name, as
// containers and laptops may; nor is one of a machine that nobody can tell.
func TestDeadProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nobodyLives := func(int) bool { return false }
		m := &memory{keys: map[string][]byte{Key("shop"): []byte(`{"owner":"alice","host":"laptop","machine":"a1","pid":99,"expires":"2100-01-01T00:00:00Z","generation":4}`)}}
		for _, machine := range []string{"b2", ""} {
			h := alice()
			h.Machine = machine
			if _, err := Acquire(t.Context(), m, "shop", h, nobodyLives); err == nil {
				t.Fatalf("a lease of another machine was taken by %q", machine)
			}
		}
		asked, h := 0, alice()
		h.Machine = "a1"
		l := acquireIt(t, m, h, func(pid int) bool { asked = pid; return false })
		if asked != 99 || l.TakenFrom == nil || l.holder.Generation != 5 {
			t.Errorf("asked of %d, taken from %v, generation %d", asked, l.TakenFrom, l.holder.Generation)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.keys[Key("shop")] = []byte(`{"owner":"alice","host":"laptop","pid":99,"expires":"2100-01-01T00:00:00Z","generation":4}`)
		if _, err := Acquire(t.Context(), m, "shop", alice(), nobodyLives); err == nil {
			t.Fatal("two machines that nobody can tell are one")
		}
	})
}

// Of many that come at once, one gets it.
func TestOneOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		var mu sync.Mutex
		var got []*Lease
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				l, err := Acquire(t.Context(), m, "shop", alice(), everyoneLives)
				var held *HeldError
				if err != nil && !errors.As(err, &held) {
					t.Errorf("error: %v", err)
				}
				if err == nil {
					mu.Lock()
					got = append(got, l)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(got) != 1 {
			t.Errorf("%d hold it", len(got))
		}
		for _, l := range got {
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// A lease that nobody can read is nobody's to overwrite.
func TestUnreadableLease(t *testing.T) {
	m := &memory{keys: map[string][]byte{Key("shop"): []byte("{torn")}}
	if _, err := Acquire(t.Context(), m, "shop", alice(), everyoneLives); err == nil || !strings.Contains(err.Error(), "does not parse") {
		t.Errorf("error: %v", err)
	}
	if string(m.keys[Key("shop")]) != "{torn" {
		t.Errorf("it was overwritten: %s", m.keys[Key("shop")])
	}
}

// A laptop that slept has missed its heartbeats: right before the next change the lease is renewed if nobody came, and
// lost if somebody did, whether by its expiry or by taking it live.
func TestWakesUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		slept time.Duration
		bob   func(t *testing.T, m *memory, a Holder) (*Lease, error)
		lost  bool
	}{
		{"nobody came", 10 * time.Hour, nil, false},
		{"somebody came after the expiry", 10 * time.Hour, func(t *testing.T, m *memory, _ Holder) (*Lease, error) {
			return Acquire(t.Context(), m, "shop", bob(), everyoneLives)
		}, true},
		{"somebody took it live", 20 * time.Second, func(t *testing.T, m *memory, a Holder) (*Lease, error) {
			return Take(t.Context(), m, "shop", bob(), a)
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memory{}
				a := acquireIt(t, m, alice(), everyoneLives)
				a.stop() // it sleeps: no heartbeat
				<-a.done
				time.Sleep(tt.slept)
				if tt.bob != nil {
					b, err := tt.bob(t, m, a.Holder())
					if err != nil {
						t.Fatal(err)
					}
					defer b.Release(t.Context())
				}
				err := a.Held()
				var lost *LostError
				if errors.As(err, &lost) != tt.lost || err != nil && !tt.lost {
					t.Errorf("held: %v", err)
				}
				if tt.lost && (lost == nil || lost.To.Owner != "bob") {
					t.Errorf("lost to %+v", lost)
				}
				if h, expired, err := Show(t.Context(), m, "shop"); err != nil || h == nil || expired || (h.Owner == "bob") != tt.lost {
					t.Errorf("%+v, expired %t, %v", h, expired, err)
				}
			})
		})
	}
}
