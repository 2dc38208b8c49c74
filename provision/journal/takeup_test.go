package journal

import (
	"errors"
	"testing"

	"github.com/dripstat/failover/provision"
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
