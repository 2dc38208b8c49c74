package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dripstat/failover/provision"
)

// lines answers Check by what it is told, in turn; Do waits as long as its context lets it.
type lines struct {
	checks []provision.Status
	errs   []error
	takes  time.Duration
	n, did int
	last   error
}

func (l *lines) Check(context.Context, provision.Step, provision.Values) (provision.Status, error) {
	i := min(l.n, len(l.checks)-1)
	l.n++
	if i < len(l.errs) && l.errs[i] != nil {
		time.Sleep(20 * time.Second)
		return provision.Status{}, l.errs[i]
	}
	return l.checks[i], nil
}

func (l *lines) Do(ctx context.Context, _ provision.Step, _ provision.Values) error {
	l.did++
	select {
	case <-ctx.Done():
		l.last = ctx.Err()
		return ctx.Err()
	case <-time.After(l.takes):
		return nil
	}
}

// Slow reads and one empty answer after an accepted create prove nothing: it is not sent again.
func TestAbsenceIsSeenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := &provision.Error{What: "slow", Class: provision.Transient}
		absent, done := provision.Status{State: provision.Absent}, provision.Status{State: provision.Done}
		l := &lines{checks: []provision.Status{absent, absent, absent, done}, errs: []error{nil, away}}
		r := &Run{ID: "01RUN", Graph: graph(step("a")), Journal: &book{}, Handlers: map[provision.Kind]Handler{"make": l, "remove": l}}
		if outcome, err := r.Go(t.Context()); outcome != provision.OutcomeDone || l.did != 1 {
			t.Errorf("%s, %v, sent %d times", outcome, err, l.did)
		}
	})
}

// What a handler does ends with the lease, whatever it waits for.
func TestDoEndsWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("the lease was lost")
		var gone atomic.Bool
		time.AfterFunc(30*time.Second, func() { gone.Store(true) })
		l := &lines{checks: []provision.Status{{State: provision.Absent}}, takes: 5 * time.Minute}
		r := &Run{ID: "01RUN", Graph: graph(step("a")), Journal: &book{}, Handlers: map[provision.Kind]Handler{"make": l, "remove": l},
			Held: func() error {
				if gone.Load() {
					return lost
				}
				return nil
			}}
		began := time.Now()
		outcome, err := r.Go(t.Context())
		if outcome != provision.OutcomeStopped || !errors.Is(err, lost) || l.last == nil || l.did != 1 {
			t.Errorf("%s, %v; the handler ended with %v after %d calls", outcome, err, l.last, l.did)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s to notice", took)
		}
	})
}

// A process that died while it cleared a failed attempt away leaves that attempt failed: the clearing is done first.
func TestDiedWhileClearing(t *testing.T) {
	past := replay([]provision.Event{
		{Type: provision.StepIntent, Step: "a", Kind: "make", Attempt: 1},
		{Type: provision.StepFailed, Step: "a", Kind: "make", Attempt: 1, Out: provision.Values{"id": "x"}},
		{Type: provision.StepIntent, Step: "a", Kind: "remove", Attempt: 1},
	})["a"]
	if !past.failed || past.sent || past.left.Text("id") != "x" {
		t.Errorf("%+v", past)
	}
}

// An attempt that ran out of time without having seen what it sent leaves that for the next one to find: one look that
// finds nothing is not enough to send again, in this process or in one that takes the run up.
func TestNextAttemptLooksForWhatTheLastOneSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unknown := &provision.Error{What: "no answer", Class: provision.Unknown}
		run := func(past []provision.Event, failFrom provision.EventType) (*book, *world, provision.Outcome, error) {
			w, b := newWorld(), &book{}
			if failFrom != "" {
				b.fail = func(e provision.Event) error {
					if e.Type == failFrom {
						return errors.New("killed")
					}
					return nil
				}
			}
			looks := 0
			m := &maker{w: w, do: func(n int, _ provision.StepID, create func()) error {
				create()
				if n == 1 && past == nil {
					time.Sleep(50 * time.Second)
					return unknown
				}
				return nil
			}, check: func(st provision.Status) (provision.Status, error) {
				if looks++; past == nil && looks == 2 { // as slow as the attempt is long
					time.Sleep(40 * time.Second)
					return provision.Status{}, &provision.Error{What: "slow", Class: provision.Transient}
				}
				if looks < 4 {
					return provision.Status{State: provision.Absent}, nil // a list that lags
				}
				return st, nil
			}}
			if past != nil { // the process before made it
				w.made["a"] = time.Now()
			}
			s := step("a")
			s.With = map[string]provision.Arg{"flavor": provision.Lit("small")}
			s.Within, s.Ladder = provision.Duration(time.Minute), []map[string]provision.Arg{{"flavor": provision.Lit("big")}}
			r := &Run{ID: "01RUN", Graph: graph(s), Journal: b, Past: past, Handlers: map[provision.Kind]Handler{"make": m, "remove": &remover{w}}}
			outcome, err := r.Go(t.Context())
			return b, w, outcome, err
		}
		if b, w, outcome, err := run(nil, ""); outcome != provision.OutcomeDone || len(w.list()) != 1 {
			t.Errorf("%s, %v: %v\n%v", outcome, err, w.list(), b.events)
		}
		b, _, _, _ := run(nil, provision.StepCleared)
		if _, w, outcome, err := run(b.events, ""); outcome != provision.OutcomeDone || len(w.list()) != 0 {
			t.Errorf("resumed: %s, %v: %v", outcome, err, w.list())
		}
	})
}
