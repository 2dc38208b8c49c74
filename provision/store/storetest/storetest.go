// Package storetest is what every store must pass. Each test is given stores that stand for processes of
// their own, on the same ground.
package storetest

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
)

// Store is what is tested.
type Store interface {
	store.Store
	store.Watcher
}

// Run tests stores. open gives a function that opens another store on one fresh ground.
func Run(t *testing.T, ground func(t *testing.T) (open func() Store)) {
	for name, test := range map[string]func(*testing.T, func() Store){
		"nothing is there": empty, "swap": swap, "swaps race": swapsRace, "append": appends,
		"appends race": appendsRace, "a reader's end is its own": staleEnd, "list": list, "watch": watch, "many lines": manyLines,
	} {
		t.Run(name, func(t *testing.T) { test(t, ground(t)) })
	}
}

func empty(t *testing.T, open func() Store) {
	s, ctx := open(), t.Context()
	if keys, err := s.List(ctx, ""); err != nil || len(keys) > 0 {
		t.Errorf("%v, %v", keys, err)
	}
	if b, err := s.Read(ctx, "a/b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%q, %v", b, err)
	}
}

func swap(t *testing.T, open func() Store) {
	s, ctx := open(), t.Context()
	const k = "shop/lease.json"
	val := func(s string) []byte {
		if s == "-" {
			return nil
		}
		return []byte(s)
	}
	for i, tt := range []struct {
		old, next string // "-": nil
		err       error
		have      string
	}{
		{"x", "a", store.ErrChanged, "-"},
		{"-", "a", nil, "a"},
		{"-", "b", store.ErrExists, "a"},
		{"-", "a", store.ErrExists, "a"},
		{"b", "c", store.ErrChanged, "a"},
		{"a", "b", nil, "b"},
		{"a", "b", store.ErrChanged, "b"},
		{"a", "-", store.ErrChanged, "b"},
		{"b", "-", nil, "-"},
		{"b", "-", store.ErrChanged, "-"},
		{"", "x", store.ErrChanged, "-"},
		{"-", "", nil, ""},
		{"", "z", nil, "z"}, // empty is a value
	} {
		if err := s.Swap(ctx, k, val(tt.old), val(tt.next)); !errors.Is(err, tt.err) || err != nil && tt.err == nil {
			t.Fatalf("%d: Swap(%q, %q): %v", i, tt.old, tt.next, err)
		}
		b, err := s.Read(ctx, k)
		if tt.have == "-" {
			if !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("%d: %q is left: %v", i, b, err)
			}
		} else if err != nil || string(b) != tt.have {
			t.Fatalf("%d: %q, %v; want %q", i, b, err, tt.have)
		}
	}
}

// Two writers never both win.
func swapsRace(t *testing.T, open func() Store) {
	var won atomic.Int64
	var wg sync.WaitGroup
	for g := range 6 {
		s := open()
		wg.Go(func() {
			for range 15 {
				have, err := s.Read(t.Context(), "n")
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Error(err)
				}
				err = s.Swap(t.Context(), "n", have, append(have, byte('a'+g)))
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, store.ErrChanged) && !errors.Is(err, store.ErrExists):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b, err := open().Read(t.Context(), "n")
	if err != nil || int64(len(b)) != won.Load() || won.Load() < 15 {
		t.Errorf("%d swaps won, %d are in the value: %v", won.Load(), len(b), err)
	}
}

const journal = "shop/runs/01.jsonl"

func appends(t *testing.T, open func() Store) {
	s, ctx := open(), t.Context()
	for i := range 3 {
		if err := s.Append(ctx, journal, fmt.Appendf(nil, "line %d\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := s.Read(ctx, journal); string(b) != "line 0\nline 1\nline 2\n" {
		t.Errorf("%q, %v", b, err)
	}
	// Another process goes on at the end, with or without having read.
	other := open()
	if err := other.Append(ctx, journal, []byte("line 3\n")); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Read(ctx, journal); string(b) != "line 0\nline 1\nline 2\nline 3\n" {
		t.Errorf("%q, %v", b, err)
	}
	// The first one's end is no longer the end, though it has read since.
	if err := s.Append(ctx, journal, []byte("lost\n")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("an append behind another's: %v", err)
	}
	if err := other.Append(ctx, journal, []byte("line 4\n")); err != nil {
		t.Error(err)
	}
	if _, err := s.Read(ctx, journal); err != nil {
		t.Error(err)
	}
	if err := s.Append(ctx, journal, []byte("line 5\n")); err != nil {
		t.Errorf("having read after it was told: %v", err)
	}
}

// Of many that write at once each keeps whole lines, and only those that were accepted are there, in order.
func appendsRace(t *testing.T, open func() Store) {
	var mu sync.Mutex
	accepted := map[string]bool{}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 8 {
				s := open() // a process that comes, writes what it can and goes
				for n := range 3 {
					line := fmt.Sprintf("writer %d, life %d, line %d\n", g, i, n)
					err := s.Append(t.Context(), journal, []byte(line))
					if err == nil {
						mu.Lock()
						accepted[line] = true
						mu.Unlock()
						continue
					}
					if !errors.Is(err, store.ErrChanged) {
						t.Error(err)
					}
					break
				}
			}
		})
	}
	wg.Wait()
	b, err := open().Read(t.Context(), journal)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if have[line] {
			t.Errorf("twice: %q", line)
		}
		have[line] = true
	}
	if d := cmp.Diff(accepted, have); d != "" {
		t.Errorf("accepted and kept differ (-accepted +kept):\n%s", d)
	}
	if len(accepted) < 8 {
		t.Errorf("only %d lines were accepted", len(accepted))
	}
}

// Who read a journal and then appends to it does so only where nobody else has.
func staleEnd(t *testing.T, open func() Store) {
	a, b, ctx := open(), open(), t.Context()
	if err := a.Append(ctx, journal, []byte("one\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(ctx, journal); err != nil {
		t.Fatal(err)
	}
	if err := a.Append(ctx, journal, []byte("two\n")); err != nil {
		t.Fatal(err)
	}
	if err := b.Append(ctx, journal, []byte("two as well\n")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("an append to what was read before another's: %v", err)
	}
	if _, err := b.Read(ctx, journal); err != nil {
		t.Fatal(err)
	}
	if err := b.Append(ctx, journal, []byte("three\n")); err != nil {
		t.Errorf("having read again: %v", err)
	}
	if err := a.Append(ctx, journal, []byte("three as well\n")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("the first writer: %v", err)
	}
	if v, err := open().Read(ctx, journal); string(v) != "one\ntwo\nthree\n" {
		t.Errorf("%q, %v", v, err)
	}
}

func list(t *testing.T, open func() Store) {
	s, ctx := open(), t.Context()
	for _, k := range []string{"shop/runs/02.jsonl", "shop/runs/01.jsonl", "shopping/runs/03.jsonl"} {
		for range 2 {
			if err := s.Append(ctx, k, []byte("x\n")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Swap(ctx, "shop/lease.json", nil, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string][]string{
		"shop/": {"shop/lease.json", "shop/runs/01.jsonl", "shop/runs/02.jsonl"},
		"":      {"shop/lease.json", "shop/runs/01.jsonl", "shop/runs/02.jsonl", "shopping/runs/03.jsonl"},
	} {
		if keys, err := s.List(ctx, prefix); err != nil || cmp.Diff(want, keys) != "" {
			t.Errorf("%q: %v, %v", prefix, keys, err)
		}
	}
}

func watch(t *testing.T, open func() Store) {
	s := open()
	ctx, cancel := context.WithCancel(t.Context())
	ticks, err := open().Watch(ctx, journal)
	if err != nil {
		t.Fatal(err)
	}
	for drained := false; !drained; {
		select { // the first tick may say no more than that the watch has begun
		case <-ticks:
		case <-time.After(400 * time.Millisecond):
			drained = true
		}
	}
	for i := range 3 {
		if err := s.Append(ctx, journal, []byte("x\n")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ticks:
		case <-time.After(5 * time.Second):
			t.Fatalf("append %d was not told", i)
		}
	}
	cancel()
	for end := time.After(5 * time.Second); ; {
		select {
		case _, ok := <-ticks:
			if !ok {
				return
			}
		case <-end:
			t.Fatal("the channel is still open after the context ended")
		}
	}
}

// A value larger than any one request comes back whole.
func manyLines(t *testing.T, open func() Store) {
	line := strings.Repeat("x", 999) + "\n"
	big := strings.Repeat(line, 2500)
	s := open()
	if err := s.Append(t.Context(), journal, []byte(big)); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), journal, []byte(line)); err != nil {
		t.Fatal(err)
	}
	if b, err := open().Read(t.Context(), journal); err != nil || string(b) != big+line {
		t.Errorf("%d bytes came back of %d: %v", len(b), len(big)+1000, err)
	}
}
