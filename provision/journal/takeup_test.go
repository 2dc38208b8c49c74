package journal

import (
	"errors"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/store"
	"github.com/dripstat/failover/provision/store/file"
)

// A run whose undoing has begun is not gone on with, and is not undone by what was known of it before.
func TestTakeUp(t *testing.T) {
	ctx := t.Context()
	m := &memory{}
	j := Open(m, "dripstat", "01RUN", 0)
	for range 2 {
		if _, err := j.Append(ctx, provision.Event{V: 1, Type: provision.Note}); err != nil {
			t.Fatal(err)
		}
	}
	if events, err := Resume(ctx, m, "dripstat", "01RUN"); err != nil || len(events) != 2 {
		t.Fatal(events, err)
	}
	if err := Abandon(ctx, m, "dripstat", "01RUN", "01UNDO", 1); !errors.Is(err, ErrWentOn) {
		t.Errorf("made from one event of two: %v", err)
	}
	if err := Abandon(ctx, m, "dripstat", "01RUN", "01UNDO", 2); err != nil {
		t.Fatal(err)
	}
	var undone *AbandonedError
	if _, err := Resume(ctx, m, "dripstat", "01RUN"); !errors.As(err, &undone) || undone.By != "01UNDO" {
		t.Errorf("an abandoned run goes on: %v", err)
	}
	for run, over := range map[provision.RunID]bool{"01RUN": true, "01LOST": false} { // a delivery ends with the run that it is of
		g := &provision.Graph{Purpose: "deliver", Of: run}
		if _, err := Open(m, "dripstat", "01D"+run, 0).Append(ctx, provision.Event{V: 1, Type: provision.RunStarted, Graph: g}); err != nil {
			t.Fatal(err)
		}
		if _, err := Resume(ctx, m, "dripstat", "01D"+run); errors.As(err, &undone) != over {
			t.Errorf("a delivery of run %s: %v", run, err)
		}
	}
	next := &provision.Graph{Purpose: "deliver", Of: "01LOST"}
	if _, err := Open(m, "dripstat", "01E", 0).Append(ctx, provision.Event{V: 1, Type: provision.RunStarted, Graph: next}); err != nil {
		t.Fatal(err)
	}
	var followed *FollowedError
	if _, err := Resume(ctx, m, "dripstat", "01D01LOST"); !errors.As(err, &followed) || followed.By != "01E" {
		t.Errorf("a delivery goes on after the next one: %v", err)
	}
	if _, err := Resume(ctx, m, "dripstat", "01E"); err != nil {
		t.Errorf("the last one: %v", err)
	}
	if err := Abandon(ctx, m, "dripstat", "01RUN", "01AGAIN", 3); err != nil {
		t.Errorf("an undoing that died cannot be begun anew: %v", err)
	}
}

// Whoever takes a run up goes on from the lines that it has read. One of the process before it that comes after them, from
// a write that was slow while its lease ran out, is refused, and so is all that follows it; one that came before the
// first of the new process has that one read again.
func TestLateLine(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	open := func(last int) (*file.Store, *Journal) {
		s := file.New(dir)
		t.Cleanup(func() { _ = s.Close() })
		return s, Open(s, "dripstat", "01RUN", last)
	}
	note := provision.Event{V: 1, Type: provision.Note}
	_, before := open(0)
	if _, err := before.Append(ctx, note); err != nil {
		t.Fatal(err)
	}
	s, _ := open(0)
	events, err := Resume(ctx, s, "dripstat", "01RUN")
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	if _, err := before.Append(ctx, note); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s, "dripstat", "01RUN", 1).Append(ctx, note); !errors.Is(err, store.ErrChanged) {
		t.Errorf("it goes on from a line that is not the last: %v", err)
	}
	if events, err = Resume(ctx, s, "dripstat", "01RUN"); err != nil || len(events) != 2 {
		t.Fatal(events, err)
	}
	after := Open(s, "dripstat", "01RUN", 2)
	if _, err := after.Append(ctx, note); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := before.Append(ctx, provision.Event{V: 1, Type: provision.StepCleared}); !errors.Is(err, store.ErrChanged) {
			t.Errorf("a line came late, and was added: %v", err)
		}
	}
	if _, err := after.Append(ctx, note); err != nil {
		t.Error(err)
	}
	if events, err = Read(ctx, s, "dripstat", "01RUN"); err != nil || len(events) != 4 {
		t.Errorf("%d lines: %v", len(events), err)
	}
}

// A line that comes between reading a run and marking it as abandoned is one more that the undoing does not know.
func TestAbandonAsALineComes(t *testing.T) {
	for _, tt := range []struct {
		fails  error
		wentOn bool
	}{{store.ErrChanged, true}, {store.ErrFenced, false}} {
		m := &memory{keys: map[string][]byte{Key("dripstat", "01RUN"): []byte(`{"v":1,"seq":1,"type":"note"}` + "\n")}, fail: tt.fails}
		if err := Abandon(t.Context(), m, "dripstat", "01RUN", "01UNDO", 1); err == nil || errors.Is(err, ErrWentOn) != tt.wentOn {
			t.Errorf("%v: %v", tt.fails, err)
		}
	}
}
