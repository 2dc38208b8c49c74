package provision_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
)

func TestResolve(t *testing.T) {
	s := provision.Step{ID: "s",
		With: map[string]provision.Arg{"flavor": provision.Lit("big"), "one": provision.From("a", "address"), "all": provision.FromAll("address", "a", "b"),
			"flat": provision.FromAll("list", "a"), "single": provision.FromAll("address", "a")},
		Ladder: []map[string]provision.Arg{{"flavor": provision.Lit("small")}},
	}
	done := map[provision.StepID]provision.Values{"a": {"address": "1", "list": []any{"x", "y"}}, "b": {"address": "2"}}
	got, err := s.Resolve(0, done)
	want := provision.Values{"flavor": "big", "one": "1", "all": []any{"1", "2"}, "flat": []any{"x", "y"}, "single": []any{"1"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if got, err = s.Resolve(1, done); err != nil || got["flavor"] != "small" || got["one"] != "1" {
		t.Errorf("second rung: %v, %v", got, err)
	}
	if s.With["flavor"].Is != "big" {
		t.Error("resolving changed the step")
	}
	for name, f := range map[string]func() (provision.Values, error){
		"no such rung": func() (provision.Values, error) { return s.Resolve(2, done) },
		"not done": func() (provision.Values, error) {
			return s.Resolve(0, map[provision.StepID]provision.Values{"a": done["a"]})
		},
		"does not give it": func() (provision.Values, error) {
			return s.Resolve(0, map[provision.StepID]provision.Values{"a": done["a"], "b": {}})
		},
	} {
		if v, err := f(); err == nil {
			t.Errorf("%s: %v", name, v)
		}
	}
}

func TestUndoArgs(t *testing.T) {
	s := provision.Step{With: map[string]provision.Arg{"cloud": provision.Lit("main"), "zone": provision.Lit("az1"), "ref": provision.From("a", "x")},
		Ladder: []map[string]provision.Arg{{"zone": provision.Lit("az2")}}, Undo: provision.Undo{Take: []string{"cloud", "zone", "id", "ref", "gone"}}}
	for attempt, want := range []provision.Values{{"cloud": "main", "zone": "az1", "id": "7"}, {"cloud": "main", "zone": "az2", "id": "7"}} {
		if d := cmp.Diff(want, s.UndoArgs(attempt, provision.Values{"id": "7", "other": "no"})); d != "" {
			t.Errorf("attempt %d (-want +got):\n%s", attempt+1, d)
		}
	}
}

func TestClassOf(t *testing.T) {
	transient := &provision.Error{What: "429", Class: provision.Transient}
	for _, tt := range []struct {
		err  error
		want provision.Class
	}{
		{errors.New("x"), provision.Final},
		{transient, provision.Transient},
		{fmt.Errorf("server: %w", transient), provision.Transient},
		{&provision.Error{What: "outer", Err: transient}, provision.Transient}, // the first that says one
		{&provision.Error{What: "outer", Class: provision.Final, Err: transient}, provision.Final},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), provision.Unknown},
		{&provision.Error{What: "x", Err: context.Canceled}, provision.Unknown},
	} {
		if got := provision.ClassOf(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

// A journal keeps no chain: the words of the cause must be in the error that it keeps, and only once.
func TestAsError(t *testing.T) {
	e := provision.AsError("server/a", fmt.Errorf("x: %w", &provision.Error{What: "failed", Said: "nova", Err: errors.New("eof"), Hint: "h"}))
	if d := cmp.Diff(&provision.Error{Thing: "server/a", What: "x: failed", Said: "nova: eof", Hint: "h", Class: provision.Final}, e); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if e := provision.AsError("t", errors.New("plain")); e.Thing != "t" || e.What != "plain" || e.Class != provision.Final {
		t.Errorf("%#v", e)
	}
}
