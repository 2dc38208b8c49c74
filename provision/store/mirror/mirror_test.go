package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision/store"
	"github.com/dripstat/failover/provision/store/file"
)

// far is a shared store that can be cut off, before or after it has done what it was asked.
type far struct {
	*file.Store
	mu       sync.Mutex
	cut      error
	lossy    bool // the next append is done, and its answer lost
	fenced   bool
	requests atomic.Int64
}

func (f *far) set(err error) {
	f.mu.Lock()
	f.cut = err
	f.mu.Unlock()
}

func (f *far) reach() error {
	f.requests.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut
}

func (f *far) Read(ctx context.Context, key string) ([]byte, error) {
	if err := f.reach(); err != nil {
		return nil, err
	}
	return f.Store.Read(ctx, key)
}

func (f *far) List(ctx context.Context, prefix string) ([]string, error) {
	if err := f.reach(); err != nil {
		return nil, err
	}
	return f.Store.List(ctx, prefix)
}

func (f *far) Append(ctx context.Context, key string, b []byte) error {
	if err := f.reach(); err != nil {
		return err
	}
	f.mu.Lock()
	lossy, fenced := f.lossy, f.fenced
	f.lossy = false
	f.mu.Unlock()
	if fenced {
		return store.ErrFenced
	}
	err := f.Store.Append(ctx, key, b)
	if lossy {
		// Its next process does not know that it was done, as etcd's client would not.
		f.Store = file.New(f.Store.Dir())
		return store.ErrAway
	}
	return err
}

const key = "shop/runs/01.jsonl"

var errCut = fmt.Errorf("%w: cut off", store.ErrAway)

type ground struct {
	t             *testing.T
	local, remote string
}

// open gives a process: a mirror, its shared store, and what it told.
func (g ground) open(o Options) (*Store, *far, *told) {
	f, w := &far{Store: file.New(g.remote)}, &told{}
	o.Every = 10 * time.Millisecond
	o.Away = func(error) { w.add("away") }
	o.Back = func() { w.add("back") }
	o.Forked = func(string) { w.add("forked") }
	s := New(file.New(g.local), f, o)
	g.t.Cleanup(func() { _ = s.Close() })
	return s, f, w
}

func newGround(t *testing.T) ground { return ground{t, t.TempDir(), t.TempDir()} }

func (g ground) want(local, shared string) {
	g.t.Helper()
	for dir, want := range map[string]string{g.local: local, g.remote: shared} {
		b, err := file.New(dir).Read(g.t.Context(), key)
		if string(b) != want || err != nil && !errors.Is(err, store.ErrNotFound) {
			g.t.Errorf("in %s: %q, %v; want %q", map[string]string{g.local: "the local store", g.remote: "the shared one"}[dir], b, err, want)
		}
	}
}

type told struct {
	mu   sync.Mutex
	list []string
}

func (w *told) add(s string) {
	w.mu.Lock()
	w.list = append(w.list, s)
	w.mu.Unlock()
}

func (w *told) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.list, " ")
}

func (w *told) until(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); w.String() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("told %q, want %q", w, want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBothHaveEverything(t *testing.T) {
	g := newGround(t)
	s, _, w := g.open(Options{})
	must(t, s.Append(t.Context(), key, []byte("a\n")))
	must(t, s.Append(t.Context(), key, []byte("b\n")))
	g.want("a\nb\n", "a\nb\n")
	if w.String() != "" {
		t.Errorf("told %q", w)
	}
}

// Cut off at any time, a run goes on; what is missing is added in order when the shared store is back.
func TestAwayAndBack(t *testing.T) {
	for _, lossy := range []bool{false, true} {
		g := newGround(t)
		s, f, w := g.open(Options{})
		must(t, s.Append(t.Context(), key, []byte("a\n")))
		if lossy {
			f.mu.Lock()
			f.lossy = true
			f.mu.Unlock()
		} else {
			f.set(errCut)
		}
		must(t, s.Append(t.Context(), key, []byte("b\n")))
		f.set(errCut)
		before := f.requests.Load()
		for i := range 50 {
			must(t, s.Append(t.Context(), key, fmt.Appendf(nil, "%d\n", i)))
		}
		_ = before
		f.set(nil)
		deadline := time.Now().Add(5 * time.Second)
		for s.Away() != nil && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		must(t, s.Append(t.Context(), key, []byte("z\n")))
		b, err := file.New(g.local).Read(t.Context(), key)
		must(t, err)
		if !strings.HasPrefix(string(b), "a\nb\n0\n1\n") || !strings.HasSuffix(string(b), "49\nz\n") {
			t.Errorf("local: %q", b)
		}
		g.want(string(b), string(b))
		if !strings.HasPrefix(w.String(), "away") || !strings.HasSuffix(w.String(), "back") {
			t.Errorf("told %q", w)
		}
		if marks, _ := file.New(g.local).List(t.Context(), "unshared/"); len(marks) > 0 {
			t.Errorf("marks are left: %v", marks)
		}
	}
}

// Away from the first moment to the last: the next command of this machine merges.
func TestMergeLater(t *testing.T) {
	g := newGround(t)
	s, f, w := g.open(Options{})
	f.set(errCut)
	must(t, s.Append(t.Context(), key, []byte("a\nb\n")))
	if err := s.Flush(t.Context()); !errors.Is(err, store.ErrAway) {
		t.Errorf("flushed: %v", err)
	}
	must(t, s.Close())
	g.want("a\nb\n", "")
	w.until(t, "away")

	s, _, _ = g.open(Options{})
	merged, err := s.Merge(t.Context())
	if d := cmp.Diff([]string{key}, merged); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	g.want("a\nb\n", "a\nb\n")
	if merged, err = s.Merge(t.Context()); err != nil || merged != nil {
		t.Errorf("again: %v, %v", merged, err)
	}
	must(t, s.Append(t.Context(), key, []byte("c\n")))
	g.want("a\nb\nc\n", "a\nb\nc\n")
}

// A process that merges for another, which is at work, takes nothing from it.
func TestMergeBesideTheRunItself(t *testing.T) {
	g := newGround(t)
	s, f, _ := g.open(Options{})
	must(t, s.Append(t.Context(), key, []byte("a\n")))
	f.set(errCut)
	must(t, s.Append(t.Context(), key, []byte("b\n")))
	other, _, _ := g.open(Options{})
	_, err := other.Merge(t.Context())
	must(t, err)
	must(t, s.Append(t.Context(), key, []byte("c\n")))
	f.set(nil)
	for end := time.Now().Add(5 * time.Second); s.Away() != nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	must(t, s.Append(t.Context(), key, []byte("d\n")))
	g.want("a\nb\nc\nd\n", "a\nb\nc\nd\n")
}

// What a process at work adds after another has merged for it is found by the next one, too, should the shared store stay away from it to its end.
func TestMarkComesBack(t *testing.T) {
	g := newGround(t)
	s, f, _ := g.open(Options{})
	f.set(errCut)
	must(t, s.Append(t.Context(), key, []byte("a\n")))
	other, _, _ := g.open(Options{})
	if merged, err := other.Merge(t.Context()); err != nil || len(merged) != 1 {
		t.Fatalf("merged %v, %v", merged, err)
	}
	must(t, s.Append(t.Context(), key, []byte("b\n")))
	must(t, s.Close())
	g.want("a\nb\n", "a\n")
	next, _, _ := g.open(Options{})
	if merged, err := next.Merge(t.Context()); err != nil || len(merged) != 1 {
		t.Fatalf("merged %v, %v", merged, err)
	}
	g.want("a\nb\n", "a\nb\n")
}

// meddled is a store of this machine in which another process adds a line right before a mark is taken away.
type meddled struct {
	*file.Store
	before func()
}

func (m *meddled) Swap(ctx context.Context, key string, old, next []byte) error {
	if next == nil && m.before != nil {
		before := m.before
		m.before = nil
		before()
	}
	return m.Store.Swap(ctx, key, old, next)
}

// The mark stays for a line that is added between the last look and its removal.
func TestMarkStaysForALateLine(t *testing.T) {
	g := newGround(t)
	s, f, _ := g.open(Options{})
	f.set(errCut)
	must(t, s.Append(t.Context(), key, []byte("a\n")))
	merging := New(&meddled{file.New(g.local), func() { must(t, s.Append(t.Context(), key, []byte("b\n"))) }}, file.New(g.remote), Options{})
	_, err := merging.Merge(t.Context())
	must(t, err)
	must(t, s.Close())
	g.want("a\nb\n", "a\n")
	next, _, _ := g.open(Options{})
	_, err = next.Merge(t.Context())
	must(t, err)
	g.want("a\nb\n", "a\nb\n")
}

// A process that has shared all that it knows leaves the mark where another of its machine has added more.
func TestMarkOfAnotherProcessStays(t *testing.T) {
	g := newGround(t)
	s, f, _ := g.open(Options{})
	f.set(errCut)
	must(t, s.Append(t.Context(), key, []byte("a\n")))
	other := file.New(g.local) // it died before the shared store answered again
	must(t, other.Append(t.Context(), key, []byte("b\n")))
	f.set(nil)
	for end := time.Now().Add(5 * time.Second); s.Away() != nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	must(t, s.Close())
	next, _, _ := g.open(Options{})
	if _, err := next.Merge(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.want("a\nb\n", "a\nb\n")
}

// Another machine goes on with a run: it fetches the journal first.
func TestTakenUpElsewhere(t *testing.T) {
	g := newGround(t)
	s, _, _ := g.open(Options{})
	must(t, s.Append(t.Context(), key, []byte("a\n")))
	h := ground{t, t.TempDir(), g.remote}
	o, _, _ := h.open(Options{})
	if b, err := o.Read(t.Context(), key); string(b) != "a\n" {
		t.Fatalf("%q, %v", b, err)
	}
	must(t, o.Append(t.Context(), key, []byte("b\n")))
	h.want("a\nb\n", "a\nb\n")
	g.want("a\n", "a\nb\n")

	// The first machine takes it back.
	s, _, _ = g.open(Options{})
	must(t, s.Append(t.Context(), key, []byte("c\n")))
	g.want("a\nb\nc\n", "a\nb\nc\n")
}

// A journal that went on in two places is not joined: the shared one stands, the other is kept aside.
func TestFork(t *testing.T) {
	g := newGround(t)
	s, f, w := g.open(Options{})
	must(t, s.Append(t.Context(), key, []byte("a\n")))
	f.set(errCut)
	must(t, s.Append(t.Context(), key, []byte("here\n")))
	o, _, _ := ground{t, t.TempDir(), g.remote}.open(Options{})
	must(t, o.Append(t.Context(), key, []byte("there\n")))
	f.set(nil)
	w.until(t, "away forked back")
	must(t, s.Append(t.Context(), key, []byte("here too\n"))) // the emergency comes first
	g.want("a\nhere\nhere too\n", "a\nthere\n")

	n, _, _ := g.open(Options{})
	if b, err := n.Read(t.Context(), key); string(b) != "a\nthere\n" {
		t.Errorf("%q, %v", b, err)
	}
	must(t, n.Append(t.Context(), key, []byte("on\n")))
	g.want("a\nthere\non\n", "a\nthere\non\n")
	forks, _ := file.New(g.local).List(t.Context(), "forks/")
	if len(forks) != 1 {
		t.Fatalf("forks: %v", forks)
	}
	if b, _ := file.New(g.local).Read(t.Context(), forks[0]); string(b) != "a\nhere\nhere too\n" {
		t.Errorf("the fork holds %q", b)
	}
}

// Whose lease was taken writes nothing more, required or not.
func TestFenced(t *testing.T) {
	g := newGround(t)
	s, f, _ := g.open(Options{})
	must(t, s.Append(t.Context(), key, []byte("a\n")))
	f.mu.Lock()
	f.fenced = true
	f.mu.Unlock()
	for range 2 {
		if err := s.Append(t.Context(), key, []byte("b\n")); !errors.Is(err, store.ErrFenced) {
			t.Errorf("behind the fence: %v", err)
		}
	}
}

func TestRequire(t *testing.T) {
	g := newGround(t)
	s, f, w := g.open(Options{Require: true})
	must(t, s.Append(t.Context(), key, []byte("a\n")))
	f.set(errCut)
	if err := s.Append(t.Context(), key, []byte("b\n")); !errors.Is(err, store.ErrAway) {
		t.Errorf("append: %v", err)
	}
	if _, err := s.Read(t.Context(), key); !errors.Is(err, store.ErrAway) {
		t.Errorf("read: %v", err)
	}
	if w.String() != "" {
		t.Errorf("told %q", w)
	}
}

// A shared store that hangs is not asked for each record.
func TestAwayIsNotAskedEachTime(t *testing.T) {
	g := newGround(t)
	s, f, _ := g.open(Options{})
	s.o.Every = time.Hour
	f.set(errCut)
	for range 20 {
		must(t, s.Append(t.Context(), key, []byte("x\n")))
		if _, err := s.Read(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if n := f.requests.Load(); n > 2 {
		t.Errorf("it was asked %d times", n)
	}
}
