// Package engine turns a graph into what was done of it: order, retry, wait and stop.
//
// It performs each step when all that it needs is done, through the handler of its kind. Every step is
// one loop: check, record the intent, do, check until done, failed or past the deadline, record the
// result. A fresh run, a resumed one, adoption and deletion are all this loop. The engine is the only
// package that waits; it never prints, asks, or decides what a step means. It records before it tells, and
// it sends nothing that it could not record.
package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dripstat/failover/provision"
)

// Handler performs steps of one kind. Neither method sleeps.
type Handler interface {
	// Check changes nothing: it says how far the step's effect holds now, its outputs once done, and the
	// provider's own words as evidence.
	Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error)
	// Do starts the effect and returns. It may be called again after an unknown outcome.
	Do(ctx context.Context, s provision.Step, in provision.Values) error
}

// Recorder makes an event durable and gives it back numbered.
type Recorder interface {
	Append(ctx context.Context, e provision.Event) (provision.Event, error)
}

// Run is one run of one graph.
type Run struct {
	ID       provision.RunID
	Graph    provision.Graph
	Handlers map[provision.Kind]Handler
	Journal  Recorder
	// Tell is given every event after it was recorded, in order and one at a time. Views cannot alter a run:
	// it returns nothing.
	Tell func(provision.Event)
	// Last is the number of the journal's last event before this run's first.
	Last int
	// Past are the events of the journal, when a run goes on.
	Past []provision.Event
	// Held says whether this run may still change things; nil allows always.
	Held func() error
	// Stop, once closed, lets nothing new begin; what was begun is recorded.
	Stop <-chan struct{}

	teller teller
}

// Pace of the loop. Handlers may ask for another one through Status.Again.
const (
	pollEvery = time.Second
	// unknownFor is how long nothing must be seen of an effect of unknown outcome before it is tried again:
	// looked for and not found, from the beginning of that time to its end.
	unknownFor = 15 * time.Second
	// unknownLag is how long lists that are eventually consistent have been seen to miss a new server: looks before that
	// prove nothing. Of those after it unknownLooks must not have seen it, since one empty answer proves nothing either,
	// and where reads hang it would be the only one.
	unknownLag   = 12 * time.Second
	unknownLooks = 3
	// heldEvery is how often the lease is asked for while a handler acts.
	heldEvery   = time.Second
	backoffMin  = 250 * time.Millisecond
	backoffMax  = 10 * time.Second
	defaultTime = 10 * time.Minute
)

// errStopped ends a step that only waits, after a stop was asked for. Its effect is recorded.
var errStopped = errors.New("stopped")

// result is how a step ended.
type result struct {
	id  provision.StepID
	out provision.Values
	err error
}

// Go performs the graph and gives how it ended. The error says why an outcome is not done: the first
// step that failed, or what could not be recorded.
func (r *Run) Go(ctx context.Context) (provision.Outcome, error) {
	order, err := r.Graph.Order()
	if err != nil {
		return provision.OutcomeFailed, err
	}
	for _, s := range r.Graph.Steps {
		if r.Handlers[s.Kind] == nil {
			return provision.OutcomeFailed, fmt.Errorf("%s: nothing here performs a step of kind %q", s.ID, s.Kind)
		}
	}
	r.teller.to, r.teller.last = r.Tell, r.Last
	past := replay(r.Past)
	if err := changed(r.Graph, r.Past); err != nil {
		return provision.OutcomeStopped, err
	}
	sched := newSchedule(r.Graph, order, past)
	results := make(chan result)
	running, stopping := 0, false
	stop := r.Stop
	var failed error
	for {
		for !stopping && failed == nil {
			step, ok := sched.next()
			if !ok {
				break
			}
			// Arguments are resolved here, in the one goroutine that writes what is done.
			w := &worker{run: r, step: step, past: past[step.ID], args: sched.args(step), quit: sched.quit(step)}
			running++
			go func() {
				out, err := w.perform(ctx)
				results <- result{step.ID, out, err}
			}()
		}
		if running == 0 {
			break
		}
		select {
		case <-stop:
			stop, stopping = nil, true
			r.tell(provision.Event{Type: provision.Stopping})
		case res := <-results:
			running--
			var skipped []skip
			var err error
			switch {
			case res.err == nil:
				skipped = sched.finish(res.id, res.out)
			case errors.Is(res.err, errStopped) && !sched.lost(res.id):
				stopping = true
			default:
				skipped, err = sched.fail(res.id, res.out, res.err)
			}
			for _, s := range skipped {
				if rerr := r.record(ctx, provision.Event{Type: provision.StepSkipped, Step: s.step.ID, Kind: s.step.Kind, Message: s.why, Out: s.left}); rerr != nil && err == nil {
					err = rerr
				}
			}
			if failed == nil {
				failed = err
			}
		}
	}
	switch {
	case ctx.Err() != nil, stopping && !sched.complete():
		return provision.OutcomeStopped, failed
	case failed != nil:
		return outcomeOf(failed), failed
	}
	return provision.OutcomeDone, nil
}

// outcomeOf tells a failure that leaves the run resumable from one that does not.
func outcomeOf(err error) provision.Outcome {
	var halt *haltError
	if errors.As(err, &halt) {
		return provision.OutcomeStopped
	}
	return provision.OutcomeFailed
}

// haltError ends a run that may be resumed: the journal cannot be written, or the lease was lost.
type haltError struct{ err error }

func (h *haltError) Error() string { return h.err.Error() }
func (h *haltError) Unwrap() error { return h.err }

func (r *Run) tell(e provision.Event) {
	e.V, e.Time, e.Run = provision.EventVersion, time.Now().UTC(), r.ID
	r.teller.now(e)
}

// record makes an event durable, then tells it. Journals are written even when the run was cancelled. A run that
// has lost its lease says no more how things are: whoever has it now may have changed them since they were looked at. What
// its own requests were answered is true for ever.
func (r *Run) record(ctx context.Context, e provision.Event) error {
	if r.Held != nil && e.Type != provision.StepSent {
		if err := r.Held(); err != nil {
			return &haltError{err}
		}
	}
	e.V, e.Time, e.Run = provision.EventVersion, time.Now().UTC(), r.ID
	r.teller.begin()
	e, err := r.Journal.Append(context.WithoutCancel(ctx), e)
	if err != nil {
		r.teller.end(nil)
		return &haltError{err}
	}
	r.teller.end(&e)
	return nil
}

// changed finds a step that is not what it was when it was begun: the journal was edited, or was written by a release
// that means something else by it. What such a step has left cannot be told from what it says now.
func changed(g provision.Graph, events []provision.Event) error {
	is := map[provision.StepID]string{}
	for _, e := range events {
		if e.Type != provision.StepIntent || e.StepD == "" {
			continue
		}
		if _, known := is[e.Step]; !known {
			if s, ok := g.Step(e.Step); ok {
				is[e.Step] = s.Digest()
			}
		}
		if is[e.Step] == e.StepD {
			continue
		}
		return &provision.Error{Thing: string(e.Step), What: "is not what it was when this run began it: the journal was changed, or another release of failover wrote it",
			Hint:  "go on with the release that began the run (failover version), or undo it: failover abandon",
			Class: provision.Final}
	}
	return nil
}

// past is what the journal knows of a step.
type past struct {
	done    bool
	out     provision.Values
	attempt int  // the one under way, from 0
	sent    bool // an intent of this attempt was recorded: its outcome is unknown until looked for
	failed  bool // this attempt failed, and is not cleared yet
	kind    provision.Kind
	left    provision.Values

	open    bool // the latest intent was not answered
	looking bool // something of this attempt was accepted, or nobody knows
	unsure  bool // the attempt that failed may have had an effect that nobody has seen
}

// replay reads the past of each step out of the events.
func replay(events []provision.Event) map[provision.StepID]past {
	out := map[provision.StepID]past{}
	for _, e := range events {
		p := out[e.Step]
		switch e.Type {
		case provision.StepIntent:
			if p.failed && e.Kind != p.kind { // the clearing of what failed: until that is done it stays failed
				continue
			}
			p.sent, p.failed, p.attempt = true, false, max(e.Attempt-1, 0)
			p.looking, p.open = p.looking || p.open, true
		case provision.StepSent:
			if p.failed {
				continue
			}
			p.looking, p.open = p.looking || e.Error == nil || e.Error.Class == provision.Unknown, false
		case provision.StepDone:
			p.done, p.out = true, e.Out
			if p.out == nil {
				p.out = provision.Values{}
			}
		case provision.StepFailed:
			p.failed, p.kind, p.sent, p.left, p.attempt = true, e.Kind, false, e.Out, max(e.Attempt-1, 0)
			p.unsure = len(e.Out) == 0 && (p.unsure || p.looking || p.open)
		case provision.StepSkipped:
			p.left = e.Out
		case provision.StepCleared:
			p.failed, p.left, p.looking, p.open = false, nil, false, false
			p.attempt = e.Attempt // the next one
		default:
			continue
		}
		out[e.Step] = p
	}
	return out
}
