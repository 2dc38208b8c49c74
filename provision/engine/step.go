package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/dripstat/failover/provision"
)

// worker performs one step.
type worker struct {
	run  *Run
	step provision.Step
	past past
	args map[provision.StepID]provision.Values
	quit <-chan struct{} // closed when the step is not needed any more; may be nil

	unsure bool // the attempt before may have had an effect that nobody has seen
	own    bool // it performs the step itself, and does not clear away what it left
	began  time.Time
	seen   string
}

// perform tries the rungs of the step in turn. Of a step that was stopped it gives what is known of its effect.
func (w *worker) perform(ctx context.Context) (provision.Values, error) {
	w.began, w.own = time.Now(), true
	attempt := w.past.attempt
	w.unsure = w.past.unsure
	if w.past.failed { // the process died between a failure and its clearing
		if err := w.clear(ctx, attempt, w.past.left); err != nil {
			return nil, err
		}
		attempt++
	}
	for ; ; attempt++ {
		if attempt > len(w.step.Ladder) { // resumed after the last rung failed: begin at the first again
			attempt = 0
		}
		in, err := w.step.Resolve(attempt, w.args)
		if err != nil {
			return nil, err
		}
		out, left, err := w.attempt(ctx, attempt, in)
		if err == nil {
			if out == nil {
				out = provision.Values{}
			}
			return out, w.run.record(ctx, provision.Event{Type: provision.StepDone, Step: w.step.ID, Kind: w.step.Kind,
				Attempt: attempt + 1, Out: out, Took: time.Since(w.began).Seconds()})
		}
		var halt *haltError
		if errors.Is(err, errStopped) || errors.As(err, &halt) || ctx.Err() != nil {
			return left, err
		}
		last := attempt == len(w.step.Ladder)
		fail := provision.AsError(string(w.step.ID), err)
		if last && fail.Hint == "" {
			fail.Hint = w.step.Say.Hint
		}
		if err := w.run.record(ctx, provision.Event{Type: provision.StepFailed, Step: w.step.ID, Kind: w.step.Kind,
			Attempt: attempt + 1, Out: left, Error: fail, Final: last, Took: time.Since(w.began).Seconds()}); err != nil {
			return nil, err
		}
		if err := w.clear(ctx, attempt, left); err != nil {
			return nil, err
		}
		if last {
			return nil, fail
		}
		if w.stopped() { // the next rung would be something new
			return nil, errStopped
		}
	}
}

// clear removes what a failed attempt left, by the step's own undo: an ERROR server keeps its host until
// it is deleted. left holds the outputs that the undo needs.
func (w *worker) clear(ctx context.Context, attempt int, left provision.Values) error {
	if w.step.Undo.Kind != "" && len(left) > 0 {
		h := w.run.Handlers[w.step.Undo.Kind]
		if h == nil {
			return fmt.Errorf("%s: nothing here performs a step of kind %q", w.step.ID, w.step.Undo.Kind)
		}
		in := w.step.UndoArgs(attempt, left)
		undo := &worker{run: w.run, step: provision.Step{ID: w.step.ID, Kind: w.step.Undo.Kind, Within: provision.Duration(3 * time.Minute)}, began: time.Now()}
		if _, _, err := undo.drive(ctx, h, in, attempt, false); err != nil {
			return err
		}
	}
	return w.run.record(ctx, provision.Event{Type: provision.StepCleared, Step: w.step.ID, Kind: w.step.Kind, Attempt: attempt + 1})
}

// attempt drives the step's handler. left is what a failed attempt has left behind.
func (w *worker) attempt(ctx context.Context, attempt int, in provision.Values) (out, left provision.Values, err error) {
	return w.drive(ctx, w.run.Handlers[w.step.Kind], in, attempt, w.unsure || w.past.sent && attempt == w.past.attempt)
}

// drive is the loop: check, record the intent, do, check until done, failed or past the deadline. sent says
// that an earlier process, or an earlier attempt, may have sent this already.
func (w *worker) drive(ctx context.Context, h Handler, in provision.Values, attempt int, sent bool) (out, left provision.Values, err error) {
	within := time.Duration(w.step.Within)
	if within <= 0 {
		within = defaultTime
	}
	deadline := time.Now().Add(within)
	dctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var (
		looking bool      // the effect's outcome is unknown, or reads may lag behind it
		nothing time.Time // since when nothing was seen of it; zero: it was seen, or not looked for yet
		looks   int       // how often it was not seen, once lists had had their time
		tries   int       // since the last progress, for the backoff
		lastErr error
		waited  bool
	)
	looking = sent
	defer func() { w.unsure = err != nil && looking && len(left) == 0 }()
	for {
		st, err := h.Check(dctx, w.step, in)
		wait := pollEvery
		switch {
		case err != nil: // tells nothing
		case st.State != provision.Absent:
			nothing, looks = time.Time{}, 0
		case nothing.IsZero():
			nothing = time.Now()
		case time.Since(nothing) >= unknownLag:
			looks++
		}
		switch {
		case err != nil && provision.ClassOf(err) == provision.Final && ctx.Err() == nil && dctx.Err() == nil:
			return nil, left, err
		case err != nil:
			tries++
			lastErr, wait = err, w.backoff(tries, err)
			w.see(err.Error())
		case st.State == provision.Done:
			return st.Out, nil, nil
		case st.State == provision.Failed:
			if len(st.Out) > 0 {
				left = st.Out
			}
			return nil, left, &provision.Error{Thing: string(w.step.ID), What: "failed", Said: st.Seen, Class: provision.Final}
		case st.State == provision.Absent && (!looking || looks >= unknownLooks && time.Since(nothing) >= unknownFor):
			if waited && w.stopped() { // nothing of this was begun since the stop was asked for
				return nil, left, errStopped
			}
			var doErr error
			if doErr, err = w.do(ctx, dctx, h, in, attempt); err != nil {
				return nil, left, err
			}
			if doErr != nil && provision.ClassOf(doErr) == provision.Final && dctx.Err() == nil {
				return nil, left, doErr
			}
			if doErr == nil {
				tries, lastErr, wait = 0, nil, 0
				looking, nothing = true, time.Time{} // reads may lag behind an accepted write
			} else {
				tries++
				lastErr, wait = doErr, w.backoff(tries, doErr)
				w.see(doErr.Error())
				looking, nothing = looking || provision.ClassOf(doErr) == provision.Unknown, time.Time{}
			}
		default: // working, or absent while it is looked for
			if len(st.Out) > 0 {
				left = st.Out
			}
			tries, lastErr = 0, nil
			if st.Again > 0 {
				wait = st.Again
			}
			w.see(st.Seen)
		}
		if ctx.Err() != nil {
			return nil, left, context.Cause(ctx)
		}
		if time.Now().Add(wait).After(deadline) {
			return nil, left, w.late(within, lastErr)
		}
		waited = true
		if !w.sleep(ctx, wait) {
			return nil, left, errStopped
		}
	}
}

// do records the intent, sends, and records the answer. doErr is the handler's; err ends the step.
func (w *worker) do(ctx, dctx context.Context, h Handler, in provision.Values, attempt int) (doErr, err error) {
	if w.run.Held != nil {
		if err := w.run.Held(); err != nil {
			return nil, &haltError{err}
		}
	}
	e := provision.Event{Type: provision.StepIntent, Step: w.step.ID, Kind: w.step.Kind, Attempt: attempt + 1}
	if w.own {
		e.StepD = w.step.Digest()
	}
	if err := w.run.record(ctx, e); err != nil {
		return nil, err
	}
	e.StepD = ""
	doErr = w.fenced(dctx, h, in)
	e.Type = provision.StepSent
	if doErr != nil {
		e.Error = provision.AsError(string(w.step.ID), doErr)
	}
	return doErr, w.run.record(ctx, e)
}

// fenced lets the handler act only as long as this run may change things: a request that waits, for a rate limit or
// a slow disk, must not leave after another run has taken over.
func (w *worker) fenced(ctx context.Context, h Handler, in provision.Values) error {
	if w.run.Held == nil {
		return h.Do(ctx, w.step, in)
	}
	if err := w.run.Held(); err != nil { // recording the intent may have taken its time
		return &provision.Error{Thing: string(w.step.ID), What: "it was not sent", Err: err, Class: provision.Transient}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		t := time.NewTicker(heldEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				if w.run.Held() != nil {
					cancel()
				}
			}
		}
	}()
	return h.Do(ctx, w.step, in)
}

func (w *worker) late(within time.Duration, lastErr error) error {
	e := &provision.Error{Thing: string(w.step.ID), What: fmt.Sprintf("was not done within %s", within), Said: w.seen, Class: provision.Final}
	if lastErr != nil {
		e.Said = ""
		e.Err = lastErr
		var pe *provision.Error
		if errors.As(lastErr, &pe) {
			e.Hint = pe.Hint
		}
		// What timed out is over; the cause's own class must not ask for one more try.
		e.Err = errors.New(lastErr.Error())
	}
	return e
}

// see tells progress when it changed.
func (w *worker) see(what string) {
	if what == "" || what == w.seen {
		return
	}
	w.seen = what
	w.run.tell(provision.Event{Type: provision.StepSeen, Step: w.step.ID, Kind: w.step.Kind, Seen: what})
}

func (w *worker) stopped() bool {
	select {
	case <-w.run.Stop:
		return true
	case <-w.quit:
		return true
	default:
		return false
	}
}

// sleep waits; it gives false when a stop was asked for, since a step that only waits is recorded already.
func (w *worker) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return true // the loop sees it
	case <-w.run.Stop:
		return false
	case <-w.quit:
		return false
	}
}

// backoff doubles with the tries, and by up to a quarter more so that many steps do not return in step;
// Retry-After goes before it. The part that differs comes from run and step, so that a run can be repeated exactly.
func (w *worker) backoff(tries int, err error) time.Duration {
	var pe *provision.Error
	if errors.As(err, &pe) && pe.After > 0 {
		return pe.After
	}
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, w.run.ID, w.step.ID, tries)
	d := min(backoffMin<<min(tries-1, 10), backoffMax)
	return d + time.Duration(int64(d)/4*int64(h.Sum32()%1000)/1000)
}
