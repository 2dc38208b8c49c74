package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
)

// world is what handlers act upon: things that exist since some moment. Each step's effect is a thing by its id.
type world struct {
	mu    sync.Mutex
	made  map[provision.StepID]time.Time
	calls []string
	at    []time.Time
}

func newWorld() *world { return &world{made: map[provision.StepID]time.Time{}} }

func (w *world) call(format string, a ...any) {
	w.calls = append(w.calls, fmt.Sprintf(format, a...))
	w.at = append(w.at, time.Now())
}

func (w *world) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

func (w *world) count(call string) int {
	n := 0
	for _, c := range w.list() {
		if c == call {
			n++
		}
	}
	return n
}

// maker is a handler that makes a thing which is there after takes.
type maker struct {
	w     *world
	takes time.Duration
	lag   time.Duration                                         // a read sees a thing only this long after it was made
	do    func(n int, id provision.StepID, create func()) error // of the n-th Do of this handler, from 1; nil makes and succeeds
	check func(st provision.Status) (provision.Status, error)
	dos   map[provision.StepID]int
}

func (m *maker) Check(_ context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	st := provision.Status{State: provision.Absent}
	if at, ok := m.w.made[s.ID]; ok && time.Since(at) >= m.lag {
		st = provision.Status{State: provision.Working, Seen: "BUILD", Out: provision.Values{"id": string(s.ID)}}
		if time.Since(at) >= m.takes {
			st = provision.Status{State: provision.Done, Out: provision.Values{"id": string(s.ID), "flavor": in["flavor"]}}
		}
	}
	if m.check != nil {
		return m.check(st)
	}
	return st, nil
}

func (m *maker) Do(_ context.Context, s provision.Step, in provision.Values) error {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if f, ok := in["flavor"]; ok {
		m.w.call("do %s %v", s.ID, f)
	} else {
		m.w.call("do %s", s.ID)
	}
	if m.dos == nil {
		m.dos = map[provision.StepID]int{}
	}
	m.dos[s.ID]++
	create := func() { m.w.made[s.ID] = time.Now() }
	if m.do != nil {
		return m.do(m.dos[s.ID], s.ID, create)
	}
	create()
	return nil
}

// remover undoes: it is done when the thing is gone.
type remover struct{ w *world }

func (r *remover) Check(_ context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if _, ok := r.w.made[provision.StepID(in.Text("id"))]; ok {
		return provision.Status{State: provision.Absent}, nil
	}
	return provision.Status{State: provision.Done}, nil
}

func (r *remover) Do(_ context.Context, _ provision.Step, in provision.Values) error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.call("undo %s", in.Text("id"))
	delete(r.w.made, provision.StepID(in.Text("id")))
	return nil
}

// book is a journal in memory that can break, and that sees to it that nothing is sent unrecorded.
type book struct {
	mu     sync.Mutex
	events []provision.Event
	fail   func(e provision.Event) error
}

func (b *book) Append(_ context.Context, e provision.Event) (provision.Event, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		if err := b.fail(e); err != nil {
			return e, err
		}
	}
	e.Seq = len(b.events) + 1
	b.events = append(b.events, e)
	return e, nil
}

// brief gives the events as lines without times.
func brief(events []provision.Event) []string {
	out := make([]string, 0, len(events))
	for _, e := range events {
		s := string(e.Type) + " " + string(e.Step)
		if e.Attempt > 0 {
			s += fmt.Sprintf(" #%d", e.Attempt)
		}
		if e.Final {
			s += " final"
		}
		out = append(out, s)
	}
	return out
}

func step(id string, needs ...string) provision.Step {
	s := provision.Step{ID: provision.StepID(id), Kind: "make"}
	for _, n := range needs {
		s.Needs = append(s.Needs, provision.StepID(n))
	}
	return s
}

func graph(steps ...provision.Step) provision.Graph { return provision.Graph{Steps: steps} }

// newRun is a run with a maker for "make" and a remover for "remove".
func newRun(w *world, b *book, m *maker, g provision.Graph) *Run {
	m.w = w
	return &Run{ID: "01RUN", Graph: g, Journal: b, Handlers: map[provision.Kind]Handler{"make": m, "remove": &remover{w}}}
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestOrderAndParallelism(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		// Written in the wrong order on purpose. b and c wait for a only, so that they are made at once.
		r := newRun(w, b, &maker{takes: 10 * time.Second}, graph(step("d", "b", "c"), step("b", "a"), step("c", "a"), step("a")))
		began := time.Now()
		outcome, err := r.Go(t.Context())
		if outcome != provision.OutcomeDone || err != nil {
			t.Fatalf("%s, %v", outcome, err)
		}
		if got := w.list(); got[0] != "do a" || got[3] != "do d" {
			t.Errorf("order: %v", got)
		}
		if d := w.at[2].Sub(w.at[1]); d != 0 {
			t.Errorf("b and c began %s apart", d)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("took %s, want three boots", took)
		}
	})
}

// What a step takes from another is given to its handler, and every output is in the journal.
func TestOutputsFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		second := step("b", "a")
		second.With = map[string]provision.Arg{"flavor": provision.From("a", "id")}
		r := newRun(w, b, &maker{}, graph(step("a"), second))
		if outcome, err := r.Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []string{"do a", "do b a"}, w.list())
		diff(t, "output of b", provision.Values{"id": "b", "flavor": "a"}, b.events[len(b.events)-1].Out)
	})
}

// Every intent is durable before its request is sent, and every answer is recorded.
func TestIntentIsRecordedBeforeDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		m := &maker{takes: time.Second}
		m.do = func(_ int, id provision.StepID, create func()) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			last := b.events[len(b.events)-1]
			if last.Type != provision.StepIntent || last.Step != id {
				t.Errorf("%s is sent after %s of %s", id, last.Type, last.Step)
			}
			create()
			return nil
		}
		if outcome, err := newRun(w, b, m, graph(step("a"), step("b", "a"))).Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "journal", []string{"step.intent a #1", "step.sent a #1", "step.done a #1", "step.intent b #1", "step.sent b #1", "step.done b #1"}, brief(b.events))
	})
}

// What is there already is adopted: nothing is sent.
func TestAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		w.made["a"] = time.Now().Add(-time.Hour)
		if outcome, err := newRun(w, b, &maker{}, graph(step("a"))).Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "journal", []string{"step.done a #1"}, brief(b.events))
	})
}

func ladder(id string, flavors ...string) provision.Step {
	s := step(id)
	s.With = map[string]provision.Arg{"flavor": provision.Lit(flavors[0])}
	for _, f := range flavors[1:] {
		s.Ladder = append(s.Ladder, map[string]provision.Arg{"flavor": provision.Lit(f)})
	}
	s.Undo = provision.Undo{Kind: "remove", Take: []string{"id"}}
	return s
}

// failing is a maker whose things end in ERROR while the flavor is one of bad.
type failing struct {
	maker
	bad []any
}

func (f *failing) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	st, err := f.maker.Check(ctx, s, in)
	if st.State == provision.Done && slices.Contains(f.bad, in["flavor"]) {
		return provision.Status{State: provision.Failed, Seen: "ERROR: No valid host was found.", Out: st.Out}, nil
	}
	return st, err
}

// A failed attempt is cleared away before the next rung is tried.
func TestLadderClearsBeforeTheNextRung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		r := newRun(w, b, &maker{}, graph(ladder("a", "big", "small")))
		r.Handlers["make"] = &failing{maker: maker{w: w, takes: 2 * time.Second}, bad: []any{"big"}}
		if outcome, err := r.Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []string{"do a big", "undo a", "do a small"}, w.list())
		diff(t, "journal", []string{
			"step.intent a #1", "step.sent a #1", "step.failed a #1", "step.intent a #1", "step.sent a #1", "step.cleared a #1",
			"step.intent a #2", "step.sent a #2", "step.done a #2"}, brief(b.events))
	})
}

// When no rung is left the error says whose words it were, what is left is cleared, and what needs the step is not begun.
func TestLastRungFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		r := newRun(w, b, &maker{}, graph(ladder("a", "big", "small"), step("b", "a"), step("other")))
		r.Handlers["make"] = &failing{maker: maker{w: w, takes: 2 * time.Second}, bad: []any{"big", "small"}}
		outcome, err := r.Go(t.Context())
		if outcome != provision.OutcomeFailed {
			t.Fatalf("%s, %v", outcome, err)
		}
		var pe *provision.Error
		if !errors.As(err, &pe) || pe.Thing != "a" || pe.Said != "ERROR: No valid host was found." {
			t.Errorf("error: %#v", err)
		}
		diff(t, "things left", 0, len(w.made)-1) // other
		if w.count("do b") != 0 || w.count("do other") != 1 {
			t.Errorf("calls: %v", w.list())
		}
		diff(t, "last of a", "step.failed a #2 final", brief(b.events)[slices.IndexFunc(b.events, func(e provision.Event) bool { return e.Final })])
	})
}

// A create whose reply was lost is looked for, found and adopted; it is not sent again.
func TestUnknownOutcomeIsLookedForAndAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		m := &maker{takes: 5 * time.Second, lag: 8 * time.Second} // lists lag behind
		m.do = func(_ int, _ provision.StepID, create func()) error {
			create()
			return &provision.Error{What: "the reply was lost", Class: provision.Unknown}
		}
		if outcome, err := newRun(w, b, m, graph(step("a"))).Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []string{"do a"}, w.list())
		diff(t, "journal", []string{"step.intent a #1", "step.sent a #1", "step.done a #1"}, brief(b.events))
		if b.events[1].Error == nil {
			t.Error("that the outcome was unknown is not in the journal")
		}
	})
}

// Where it is not found for long enough, it is sent again.
func TestUnknownOutcomeThatNeverShowsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		m := &maker{}
		m.do = func(n int, _ provision.StepID, create func()) error {
			if n == 1 {
				return &provision.Error{What: "timeout", Class: provision.Unknown}
			}
			create()
			return nil
		}
		if outcome, err := newRun(w, b, m, graph(step("a"))).Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []string{"do a", "do a"}, w.list())
		if d := w.at[1].Sub(w.at[0]); d < unknownFor {
			t.Errorf("tried again after %s", d)
		}
	})
}

// A refusal that names a time is obeyed to the second; other transient ones back off.
func TestTransientRetryHonoursAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		m := &maker{}
		m.do = func(n int, _ provision.StepID, create func()) error {
			switch n {
			case 1:
				return &provision.Error{What: "429", Class: provision.Transient, After: 7 * time.Second}
			case 2, 3, 4:
				return fmt.Errorf("wrapped: %w", &provision.Error{What: "503", Class: provision.Transient})
			}
			create()
			return nil
		}
		if outcome, err := newRun(w, b, m, graph(step("a"))).Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		if d := w.at[1].Sub(w.at[0]); d != 7*time.Second {
			t.Errorf("Retry-After was 7 s; it waited %s", d)
		}
		var waits []time.Duration
		for i := 2; i < len(w.at); i++ {
			waits = append(waits, w.at[i].Sub(w.at[i-1]))
		}
		for i, d := range waits {
			if i > 0 && d <= waits[i-1] || d > backoffMax+backoffMax/4 {
				t.Errorf("backoff does not grow, or too much: %v", waits)
			}
		}
	})
}

func TestFinalErrorIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		m := &maker{do: func(int, provision.StepID, func()) error { return errors.New("403 forbidden") }}
		outcome, err := newRun(w, b, m, graph(step("a"), step("b", "a"))).Go(t.Context())
		if outcome != provision.OutcomeFailed || err == nil || err.Error() != "a: 403 forbidden" {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []string{"do a"}, w.list())
	})
}

// A check that ends for good fails the attempt too, and takes nothing that was there for granted.
func TestFinalCheckError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		m := &maker{check: func(provision.Status) (provision.Status, error) {
			return provision.Status{}, errors.New("changed by someone else")
		}}
		if outcome, _ := newRun(w, b, m, graph(step("a"))).Go(t.Context()); outcome != provision.OutcomeFailed {
			t.Fatal(outcome)
		}
		diff(t, "calls", []string(nil), w.list())
	})
}

// Every wait ends, and says what it last saw.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		s := step("a")
		s.Within = provision.Duration(90 * time.Second)
		began := time.Now()
		outcome, err := newRun(w, b, &maker{takes: time.Hour}, graph(s)).Go(t.Context())
		if outcome != provision.OutcomeFailed || err == nil || err.Error() != "a: was not done within 1m30s: BUILD" {
			t.Fatalf("%s, %v", outcome, err)
		}
		if took := time.Since(began); took > 90*time.Second || took < 85*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// So does one that fails again and again in between: the last failure is the reason.
func TestDeadlineSaysTheLastError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		s := step("a")
		s.Within = provision.Duration(time.Minute)
		m := &maker{do: func(int, provision.StepID, func()) error {
			return &provision.Error{What: "connection refused", Class: provision.Transient, Hint: "look at the network"}
		}}
		outcome, err := newRun(w, b, m, graph(s)).Go(t.Context())
		pe := provision.AsError("", err)
		if outcome != provision.OutcomeFailed || pe.Said != "connection refused" || pe.Hint != "look at the network" {
			t.Fatalf("%s, %#v", outcome, pe)
		}
	})
}

// After a stop nothing new begins; what was sent is recorded, and the run goes on from there later.
func TestStopDrainsAndResumeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		stop := make(chan struct{})
		m := &maker{takes: 20 * time.Second}
		r := newRun(w, b, m, graph(step("a"), step("b"), step("c", "a")))
		r.Stop = stop
		var told []provision.EventType // no lock: it is told one at a time
		r.Tell = func(e provision.Event) { told = append(told, e.Type) }
		time.AfterFunc(5500*time.Millisecond, func() { close(stop) })
		began := time.Now()
		outcome, err := r.Go(t.Context())
		if outcome != provision.OutcomeStopped || err != nil {
			t.Fatalf("%s, %v", outcome, err)
		}
		if took := time.Since(began); took != 5500*time.Millisecond {
			t.Errorf("it took %s to stop", took-5500*time.Millisecond)
		}
		if !slices.Contains(told, provision.Stopping) {
			t.Errorf("the stop was not told: %v", told)
		}
		diff(t, "calls", 2, len(w.list()))

		again := newRun(w, b, m, r.Graph)
		again.Past = slices.Clone(b.events)
		if outcome, err := again.Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []int{1, 1, 1}, []int{w.count("do a"), w.count("do b"), w.count("do c")})
	})
}

// A Do that runs while the stop is asked for is let end and recorded.
func TestStopLetsDoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		stop := make(chan struct{})
		h := &slow{w: w, takes: 10 * time.Second}
		r := newRun(w, b, &maker{}, graph(step("a"), step("b", "a")))
		r.Handlers["make"], r.Stop = h, stop
		time.AfterFunc(time.Second, func() { close(stop) })
		if outcome, err := r.Go(t.Context()); outcome != provision.OutcomeStopped || err != nil {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "journal", []string{"step.intent a #1", "step.sent a #1", "step.done a #1"}, brief(b.events))
	})
}

// slow is a handler whose Do itself takes its time: a hook, a delivery.
type slow struct {
	w     *world
	takes time.Duration
}

func (s *slow) Check(_ context.Context, st provision.Step, _ provision.Values) (provision.Status, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if _, ok := s.w.made[st.ID]; ok {
		return provision.Status{State: provision.Done}, nil
	}
	return provision.Status{State: provision.Absent}, nil
}

func (s *slow) Do(ctx context.Context, st provision.Step, _ provision.Values) error {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.made[st.ID] = time.Now()
	return nil
}

// The second ^C cancels: the run is resumable, and the journal still takes what is to be said.
func TestCancelIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		r := newRun(w, b, &maker{}, graph(step("a"), step("b", "a")))
		r.Handlers["make"] = &slow{w: w, takes: time.Hour}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		if outcome, _ := r.Go(ctx); outcome != provision.OutcomeStopped {
			t.Fatal(outcome)
		}
		diff(t, "journal", []string{"step.intent a #1", "step.sent a #1"}, brief(b.events))
	})
}

// A resumed process looks for what an earlier one may have sent before it sends anything.
func TestResumeLooksForWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		w.made["a"] = time.Now()
		r := newRun(w, b, &maker{lag: 6 * time.Second}, graph(step("a")))
		r.Past = []provision.Event{{Type: provision.StepIntent, Step: "a", Attempt: 1}}
		if outcome, err := r.Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []string(nil), w.list())
	})
}

// Done steps are not done again, but for volatile ones that something left to do needs.
func TestResumeRedoesOnlyVolatileStepsThatAreNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		key, spent, cert := step("key", "cert"), step("spent"), step("cert")
		key.Volatile, spent.Volatile, cert.Volatile = true, true, true
		g := graph(cert, key, spent, step("server", "key", "spent"), step("deliver", "key", "server"))
		r := newRun(w, b, &maker{}, g)
		r.Past = []provision.Event{
			{Type: provision.StepDone, Step: "cert"}, {Type: provision.StepDone, Step: "key"}, {Type: provision.StepDone, Step: "spent"},
			{Type: provision.StepDone, Step: "server"},
		}
		if outcome, err := r.Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []string{"do cert", "do key", "do deliver"}, w.list())
	})
}

// A process that died between a failure and its clearing leaves the clearing to the next.
func TestResumeClearsWhatAFailureLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		w.made["a"] = time.Now()
		r := newRun(w, b, &maker{}, graph(ladder("a", "big", "small")))
		r.Past = []provision.Event{
			{Type: provision.StepIntent, Step: "a", Attempt: 1}, {Type: provision.StepSent, Step: "a", Attempt: 1},
			{Type: provision.StepFailed, Step: "a", Attempt: 1, Out: provision.Values{"id": "a"}},
		}
		if outcome, err := r.Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []string{"undo a", "do a small"}, w.list())
	})
}

// After the last rung failed, a resumed run begins at the first again.
func TestResumeAfterTheLastRung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		r := newRun(w, b, &maker{}, graph(ladder("a", "big", "small")))
		r.Past = []provision.Event{
			{Type: provision.StepIntent, Step: "a", Attempt: 2}, {Type: provision.StepFailed, Step: "a", Attempt: 2, Final: true},
			{Type: provision.StepCleared, Step: "a", Attempt: 2},
		}
		if outcome, err := r.Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []string{"do a big"}, w.list())
	})
}

// What cannot be recorded is not sent; the run halts and may be resumed.
func TestJournalFailureHalts(t *testing.T) {
	full := errors.New("no space left on device")
	for _, at := range []provision.EventType{provision.StepIntent, provision.StepSent, provision.StepDone} {
		t.Run(string(at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				broken := false
				b := &book{fail: func(e provision.Event) error {
					if broken = broken || e.Type == at; broken {
						return full
					}
					return nil
				}}
				outcome, err := newRun(w, b, &maker{}, graph(step("a"), step("b", "a"), step("c", "b"))).Go(t.Context())
				if outcome != provision.OutcomeStopped || !errors.Is(err, full) {
					t.Fatalf("%s, %v", outcome, err)
				}
				want := []string{"do a"}
				if at == provision.StepIntent {
					want = nil
				}
				diff(t, "calls", want, w.list())
			})
		})
	}
}

// A run that no longer holds its lease sends nothing more.
func TestLostLeaseHalts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		lost := errors.New("the lease was lost")
		began := time.Now()
		r := newRun(w, b, &maker{takes: 10 * time.Second}, graph(step("a"), step("b", "a")))
		r.Held = func() error {
			if time.Since(began) > 5*time.Second {
				return lost
			}
			return nil
		}
		outcome, err := r.Go(t.Context())
		if outcome != provision.OutcomeStopped || !errors.Is(err, lost) {
			t.Fatalf("%s, %v", outcome, err)
		}
		diff(t, "calls", []string{"do a"}, w.list())
		diff(t, "journal", []string{"step.intent a #1", "step.sent a #1"}, brief(b.events)) // how a ended is for whoever has the lease to say
	})
}

// What is told was recorded before, in the journal's order and one at a time, though many steps append at once.
func TestToldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &late{}
		g := graph()
		for i := range 50 {
			g.Steps = append(g.Steps, step(fmt.Sprint("a", i)), step(fmt.Sprint("b", i), fmt.Sprint("a", i)))
		}
		r := newRun(w, nil, &maker{takes: 3 * time.Second}, g)
		r.Journal, r.Last = b, 1
		b.n = 1
		seq, seen := 1, 0
		r.Tell = func(e provision.Event) {
			if e.Type == provision.StepSeen {
				seen++
				return
			}
			if e.Seq != seq+1 {
				t.Errorf("event %d was told after %d", e.Seq, seq)
			}
			seq = e.Seq
		}
		if outcome, err := r.Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		if seq != b.n || seq != 1+3*100 || seen == 0 {
			t.Errorf("%d of %d events were told, %d seen", seq, b.n, seen)
		}
	})
}

// late is a journal whose appends return in another order than they were numbered in.
type late struct {
	mu sync.Mutex
	n  int
}

func (l *late) Append(_ context.Context, e provision.Event) (provision.Event, error) {
	l.mu.Lock()
	l.n++
	e.Seq = l.n
	l.mu.Unlock()
	time.Sleep(time.Duration(100-e.Seq%7*10) * time.Microsecond) // of the bubble's clock
	return e, nil
}

func TestGraphThatCannotRun(t *testing.T) {
	w, b := newWorld(), &book{}
	if outcome, err := newRun(w, b, &maker{}, graph(step("a", "b"), step("b", "a"))).Go(t.Context()); outcome != provision.OutcomeFailed || err == nil {
		t.Errorf("a circle: %s, %v", outcome, err)
	}
	s := step("a")
	s.Kind = "unheard of"
	if outcome, err := newRun(w, b, &maker{}, graph(step("b"), s)).Go(t.Context()); outcome != provision.OutcomeFailed || err == nil {
		t.Errorf("a kind without a handler: %s, %v", outcome, err)
	}
	if len(b.events) > 0 || len(w.list()) > 0 {
		t.Errorf("something was begun: %v %v", brief(b.events), w.list())
	}
}
