package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/store"
)

// memory is a store in memory whose writes take a while and can fail.
type memory struct {
	mu     sync.Mutex
	keys   map[string][]byte
	writes int
	takes  time.Duration
	fail   error
}

func (m *memory) Read(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.keys[key]; ok {
		return b, nil
	}
	return nil, store.ErrNotFound
}

func (m *memory) Append(ctx context.Context, key string, b []byte) error {
	select {
	case <-time.After(m.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if m.fail != nil {
		return m.fail
	}
	if m.keys == nil {
		m.keys = map[string][]byte{}
	}
	m.keys[key] = append(m.keys[key], b...)
	return nil
}

func (m *memory) List(_ context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for k := range m.keys {
		if strings.HasPrefix(k, prefix) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out, nil
}

func event(i int) provision.Event {
	return provision.Event{V: provision.EventVersion, Time: time.Unix(int64(i), 0).UTC(), Run: "01RUN", Type: provision.StepDone,
		Step: provision.StepID(fmt.Sprint("step/", i)), Out: provision.Values{"address": "203.0.113.7", "n": float64(i)}}
}

// Appends that come together share a write; each returns only when its own line is on stable storage.
func TestAppendsShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{takes: 10 * time.Millisecond}
		j := Open(m, "shop", "01RUN", 0)
		const n = 100
		got := make([]provision.Event, n)
		var wg sync.WaitGroup
		began := time.Now()
		for i := range n {
			wg.Go(func() {
				e, err := j.Append(t.Context(), event(i))
				if err != nil {
					t.Error(err)
				}
				if b, _ := m.Read(t.Context(), Key("shop", "01RUN")); !bytes.Contains(b, fmt.Appendf(nil, `"seq":%d,`, e.Seq)) {
					t.Errorf("event %d was acknowledged before it was written", e.Seq)
				}
				got[i] = e
			})
		}
		wg.Wait()
		if m.writes > 3 || time.Since(began) > 30*time.Millisecond {
			t.Errorf("%d appends took %d writes and %s", n, m.writes, time.Since(began))
		}
		back, err := Read(t.Context(), m, "shop", "01RUN")
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b provision.Event) int { return a.Seq - b.Seq })
		if d := cmp.Diff(got, back); d != "" {
			t.Errorf("written and read differ (-written +read):\n%s", d)
		}
	})
}

// A run that goes on numbers on.
func TestOpenGoesOn(t *testing.T) {
	m := &memory{}
	for i := range 3 {
		if _, err := Open(m, "shop", "01RUN", i).Append(t.Context(), event(i)); err != nil {
			t.Fatal(err)
		}
	}
	if back, err := Read(t.Context(), m, "shop", "01RUN"); err != nil || len(back) != 3 || back[2].Seq != 3 {
		t.Errorf("%d events, %v", len(back), err)
	}
}

// After a failed write nothing more is accepted: the order would be a lie.
func TestBrokenJournalStaysBroken(t *testing.T) {
	full := errors.New("no space left on device")
	m := &memory{fail: full}
	j := Open(m, "shop", "01RUN", 0)
	_, err := j.Append(t.Context(), event(1))
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "cannot record the run in shop/runs/01RUN.jsonl") {
		t.Fatalf("error: %v", err)
	}
	m.fail = nil
	if _, err := j.Append(t.Context(), event(2)); !errors.Is(err, full) {
		t.Errorf("it went on: %v", err)
	}
	if len(m.keys) != 0 {
		t.Errorf("it wrote %s", m.keys)
	}
}

// The end of the run's context does not keep what was done from being recorded.
func TestAppendOutlivesCancellation(t *testing.T) {
	m := &memory{takes: time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(m, "shop", "01RUN", 0).Append(ctx, event(1)); err != nil {
		t.Error(err)
	}
}

// A store that never answers ends the wait.
func TestAppendHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := Open(&memory{takes: time.Hour}, "shop", "01RUN", 0).Append(t.Context(), event(1))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Minute {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

func TestParse(t *testing.T) {
	line := func(seq, v int) string {
		return fmt.Sprintf(`{"v":%d,"seq":%d,"time":"2026-01-01T00:00:00Z","type":"step.done","step":"a"}`+"\n", v, seq)
	}
	for _, tt := range []struct {
		name, text string
		events     int
		err        string
	}{
		{"nothing", "", 0, ""},
		{"two", line(1, 1) + line(2, 1), 2, ""},
		{"a torn last line was never acknowledged", line(1, 1) + line(2, 1)[:40], 1, ""},
		{"a torn first line", line(1, 1)[:10], 0, ""},
		{"a line that does not parse", line(1, 1) + "{\n" + line(3, 1), 1, "line 2 does not parse"},
		{"a missing line", line(1, 1) + line(3, 1), 1, "line 2 has number 3: lines are missing"},
		{"a late line of a process that lost its lease", line(1, 1) + line(2, 1) + line(2, 1) + line(3, 1), 4, ""},
		{"no beginning", line(2, 1), 0, "line 1 has number 2"},
		{"a version of the future", line(1, 1) + line(2, 2), 1, "line 2 has version 2; this failover knows 1"},
		{"fields of the future are ignored", strings.Replace(line(1, 1), "{", `{"new":{"x":1},`, 1), 1, ""},
		{"an empty line", line(1, 1) + "\n", 1, "line 2 does not parse"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.text))
			if len(got) != tt.events {
				t.Errorf("%d events, want %d", len(got), tt.events)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

// Whatever a disk gives back, reading it neither panics nor makes events up: what is read can be written
// again, and reads the same.
func FuzzParse(f *testing.F) {
	g := provision.Graph{Service: "shop", Steps: []provision.Step{{ID: "a", Kind: "b", Within: provision.Duration(time.Minute)}}}
	var seed []byte
	for i, e := range []provision.Event{{V: 1, Type: provision.RunStarted, Graph: &g}, event(1), {V: 1, Type: provision.StepFailed, Error: &provision.Error{What: "x"}}} {
		e.Seq = i + 1
		b, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		seed = append(append(seed, b...), '\n')
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-5])
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"v":1,"seq":1,"graph":{"steps":[{"within":"x"}]}}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		events, _ := Parse(text)
		if n := bytes.Count(text, []byte("\n")); len(events) > n {
			t.Fatalf("%d events of %d lines", len(events), n)
		}
		var again []byte
		for i, e := range events {
			if e.Seq != i+1 {
				t.Fatalf("event %d has number %d", i+1, e.Seq)
			}
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			again = append(append(again, b...), '\n')
		}
		back, err := Parse(again)
		if err != nil || len(back) != len(events) {
			t.Fatalf("%d of %d events come back: %v", len(back), len(events), err)
		}
	})
}

func TestFind(t *testing.T) {
	m := &memory{keys: map[string][]byte{
		"shop/lease.json": nil, "shop/runs/01AB.jsonl": nil, "shop/runs/01AC.jsonl": nil, "other/runs/01ZZ.jsonl": nil,
		"shop/runs/notes.txt": nil, "shop/runs/old/01AA.jsonl": nil,
	}}
	runs, err := Runs(t.Context(), m, "")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Entry{{"other", "01ZZ"}, {"shop", "01AB"}, {"shop", "01AC"}}, runs); d != "" {
		t.Errorf("runs (-want +got):\n%s", d)
	}
	for _, tt := range []struct {
		service, prefix string
		want            Entry
		err             error
	}{
		{"shop", "", Entry{"shop", "01AC"}, nil}, // the latest
		{"shop", "01ab", Entry{"shop", "01AB"}, nil},
		{"shop", "01A", Entry{}, ErrManyRuns},
		{"shop", "01Z", Entry{}, ErrNoRun},
		{"", "01Z", Entry{"other", "01ZZ"}, nil},
		{"none", "", Entry{}, ErrNoRun},
	} {
		got, err := Find(t.Context(), m, tt.service, tt.prefix)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Find(%q, %q) = %v, %v", tt.service, tt.prefix, got, err)
		}
	}
}

// A journal is begun at once, and only where there is none.
func TestStart(t *testing.T) {
	m := &memory{keys: map[string][]byte{}}
	if err := Start(t.Context(), m, "shop", "01RUN", []provision.Event{event(1), event(2)}); err != nil {
		t.Fatal(err)
	}
	got, err := Read(t.Context(), m, "shop", "01RUN")
	if err != nil || len(got) != 2 || got[1].Seq != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := Start(t.Context(), m, "shop", "01RUN", []provision.Event{event(1)}); !errors.Is(err, store.ErrExists) {
		t.Errorf("begun over another: %v", err)
	}
}
