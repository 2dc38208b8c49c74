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
