package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dripstat/failover/provision"
)

// pooled is a graph of slots a to d, each a server and a proof of it, the choice of count of them once need are
// proven (and of all in the end), what uses them, and the removal of the others.
func pooled(need, count int) provision.Graph {
	slots := []string{"a", "b", "c", "d"}
	var steps []provision.Step
	var proofs []provision.StepID
	args := map[string]provision.Arg{"slots": provision.Lit(slots)}
	for _, s := range slots {
		server, proof := provision.StepID("server/"+s), provision.StepID("proof/"+s)
		steps = append(steps,
			provision.Step{ID: server, Kind: "make", Slot: s, Within: provision.Duration(time.Minute), Undo: provision.Undo{Kind: "remove", Take: []string{"id"}}},
			provision.Step{ID: proof, Kind: "make", Slot: s, Needs: []provision.StepID{server}, Volatile: true, Within: provision.Duration(time.Minute)})
		proofs = append(proofs, proof, server)
		args["ipv4 "+s] = provision.From(server, "id")
	}
	choice := func(id string, want int, final bool, needs ...provision.StepID) provision.Step {
		with := map[string]provision.Arg{"want": provision.Lit(want)}
		for k, v := range args {
			with[k] = v
		}
		return provision.Step{ID: provision.StepID(id), Kind: "choose", With: with, Needs: append(needs, proofs...), Quorum: &provision.Quorum{Want: want, Least: need, Final: final}}
	}
	first := choice("enough", need, need == count)
	steps = append(steps, first, provision.Step{ID: "move", Kind: "make", Needs: []provision.StepID{"enough"}, With: map[string]provision.Arg{"flavor": provision.From("enough", "ipv4")}})
	last := provision.StepID("enough")
	if need < count {
		rest := choice("rest", count, true, "move", "enough")
		rest.With["keep"] = provision.From("enough", provision.Chosen)
		steps = append(steps, rest, provision.Step{ID: "join", Kind: "make", Needs: []provision.StepID{"rest"}, With: map[string]provision.Arg{"flavor": provision.From("rest", "ipv4")}})
		last = "rest"
	}
	for _, s := range slots {
		steps = append(steps, provision.Step{ID: provision.StepID("drop/" + s), Kind: "remove", Slot: s, Clears: true,
			Needs: []provision.StepID{last, "move", provision.StepID("server/" + s), provision.StepID("proof/" + s)},
			With:  map[string]provision.Arg{"id": provision.From(provision.StepID("server/"+s), "id")}})
	}
	return graph(steps...)
}

// paced makes things that take their own time, or fail for good.
type paced struct {
	*maker
	takes map[provision.StepID]time.Duration
	fails map[provision.StepID]bool
}

func (p *paced) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	st, err := p.maker.Check(ctx, s, in)
	if st.State != provision.Absent && p.fails[s.ID] {
		return provision.Status{State: provision.Failed, Seen: "ERROR", Out: provision.Values{"id": string(s.ID)}}, nil
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if at, ok := p.w.made[s.ID]; ok && st.State == provision.Done && time.Since(at) < p.takes[s.ID] {
		return provision.Status{State: provision.Working, Seen: "BUILD", Out: provision.Values{"id": string(s.ID)}}, nil
	}
	return st, err
}

// tagged removes by what the arguments tell, or by the slot.
type tagged struct{ remover }

func (r *tagged) of(s provision.Step, in provision.Values) provision.Values {
	if in.Text("id") == "" && s.Slot != "" {
		return provision.Values{"id": "server/" + s.Slot}
	}
	return in
}

func (r *tagged) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	return r.remover.Check(ctx, s, r.of(s, in))
}

func (r *tagged) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	return r.remover.Do(ctx, s, r.of(s, in))
}

func poolRun(w *world, b *book, p *paced, g provision.Graph) *Run {
	r := newRun(w, b, p.maker, g)
	r.Handlers = map[provision.Kind]Handler{"make": p, "remove": &tagged{remover{w}}, "choose": Choose{}}
	return r
}

// servers gives those that are there.
func (w *world) servers() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for id := range w.made {
		if s, ok := strings.CutPrefix(string(id), "server/"); ok {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestQuorum(t *testing.T) {
	sec := func(n int) time.Duration { return time.Duration(n) * time.Second }
	for _, tt := range []struct {
		name        string
		need, count int
		takes       map[provision.StepID]time.Duration
		fails       []provision.StepID
		outcome     provision.Outcome
		moved       string // what the first move was given
		joined      string // what the second was given
		servers     string // at the end
		took        time.Duration
	}{
		{name: "all alike", need: 4, count: 4, outcome: provision.OutcomeDone, moved: "a b c d", servers: "a b c d", took: sec(4)},
		{name: "the slowest is not waited for", need: 3, count: 3, takes: map[provision.StepID]time.Duration{"server/b": time.Hour},
			outcome: provision.OutcomeDone, moved: "a c d", servers: "a c d", took: sec(10)},
		{name: "the rest join", need: 2, count: 4, takes: map[provision.StepID]time.Duration{"server/a": sec(20), "server/b": sec(10)},
			outcome: provision.OutcomeDone, moved: "c d", joined: "a b c d", servers: "a b c d", took: sec(30)},
		{name: "the rest join, one too many", need: 2, count: 3, takes: map[provision.StepID]time.Duration{"server/a": sec(20), "server/b": sec(10)},
			outcome: provision.OutcomeDone, moved: "c d", joined: "b c d", servers: "b c d", took: sec(40)},
		{name: "one fails, the others are enough", need: 3, count: 3, fails: []provision.StepID{"server/c"},
			outcome: provision.OutcomeDone, moved: "a b d", servers: "a b d", took: sec(10)},
		{name: "a proof fails: its server goes", need: 2, count: 4, takes: map[provision.StepID]time.Duration{"server/d": sec(5)}, fails: []provision.StepID{"proof/c"},
			outcome: provision.OutcomeDone, moved: "a b", joined: "a b d", servers: "a b d", took: sec(10)},
		{name: "too many fail", need: 3, count: 3, fails: []provision.StepID{"server/c", "proof/a"}, outcome: provision.OutcomeFailed, servers: "a b d", took: sec(10)},
		{name: "more fail than are wanted, but enough are left", need: 1, count: 4, fails: []provision.StepID{"server/c", "proof/a", "server/b"},
			outcome: provision.OutcomeDone, moved: "d", joined: "d", servers: "d", took: sec(10)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fails := map[provision.StepID]bool{}
				for _, f := range tt.fails {
					fails[f] = true
				}
				check := func(what string, w *world, outcome provision.Outcome, err error, whole bool) {
					t.Helper()
					if outcome != tt.outcome || (err == nil) != (outcome == provision.OutcomeDone) {
						t.Fatalf("%s: %s, %v", what, outcome, err)
					}
					if w.servers() != tt.servers {
						t.Errorf("%s: servers %s, want %s", what, w.servers(), tt.servers)
					}
					for _, c := range w.list() {
						if whole && strings.HasPrefix(c, "do move") && strings.ReplaceAll(c, "server/", "") != "do move ["+tt.moved+"]" {
							t.Errorf("%s: moved by %q, want %s", what, c, tt.moved)
						}
						if whole && strings.HasPrefix(c, "do join") && strings.ReplaceAll(c, "server/", "") != "do join ["+tt.joined+"]" {
							t.Errorf("%s: joined by %q, want %s", what, c, tt.joined)
						}
					}
				}
				fresh := func() (*world, *paced) {
					w := newWorld()
					return w, &paced{&maker{w: w, takes: time.Second}, tt.takes, fails}
				}
				g := pooled(tt.need, tt.count)
				if err := g.Check(); err != nil {
					t.Fatal(err)
				}
				w, p := fresh()
				b := &book{}
				began := time.Now()
				outcome, err := poolRun(w, b, p, g).Go(t.Context())
				check("a whole run", w, outcome, err, true)
				if took := time.Since(began); took > tt.took {
					t.Errorf("took %s, more than %s", took, tt.took)
				}
				if tt.outcome != provision.OutcomeDone {
					return
				}
				// The process dies at each record, and another goes on.
				for n := range len(b.events) {
					w, p := fresh()
					short := &book{}
					short.fail = func(provision.Event) error {
						if len(short.events) >= n {
							return errors.New("dead")
						}
						return nil
					}
					_, _ = poolRun(w, short, p, g).Go(t.Context())
					next := &book{events: slices.Clone(short.events)}
					r := poolRun(w, next, p, g)
					r.Past, r.Last = slices.Clone(short.events), len(short.events)
					outcome, err := r.Go(t.Context())
					if outcome != provision.OutcomeDone {
						t.Fatalf("dead at record %d: %s %v\n%s", n, outcome, err, strings.Join(brief(next.events), "\n"))
					}
					if got := len(strings.Fields(w.servers())); got != len(strings.Fields(tt.servers)) {
						t.Errorf("dead at record %d: servers %s, want as many as %s\n%s", n, w.servers(), tt.servers, strings.Join(brief(next.events), "\n"))
					}
					for id := range fails {
						if _, slot, _ := strings.Cut(string(id), "/"); strings.Contains(w.servers(), slot) {
							t.Errorf("dead at record %d: servers %s, %s was to fail", n, w.servers(), slot)
						}
					}
				}
			})
		})
	}
}

// A step that is not what it was when it was begun ends the run before anything else is done, by name.
func TestChangedStepStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(), &book{}
		g := graph(step("a"), step("b", "a"))
		if outcome, err := newRun(w, b, &maker{w: w}, g).Go(t.Context()); outcome != provision.OutcomeDone {
			t.Fatal(err)
		}
		for n, change := range []func(*provision.Step){
			func(s *provision.Step) { s.With = map[string]provision.Arg{"flavor": provision.Lit("huge")} },
			func(s *provision.Step) { s.Kind = "other" },
		} {
			w := newWorld()
			other := graph(step("a"), step("b", "a"))
			change(&other.Steps[1])
			r := newRun(w, &book{}, &maker{w: w}, other)
			r.Handlers["other"] = r.Handlers[step("a").Kind]
			r.Past = b.events
			outcome, err := r.Go(t.Context())
			if outcome != provision.OutcomeStopped || err == nil || !strings.Contains(err.Error(), "b: is not what it was") {
				t.Errorf("change %d: %s %v", n, outcome, err)
			}
			if calls := w.list(); len(calls) > 0 {
				t.Errorf("change %d: %v", n, calls)
			}
		}
	})
}

// Who serves already is among those that are chosen in the end, though another process proves the others first.
func TestWhoServesIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := &paced{&maker{w: w, takes: time.Second}, map[provision.StepID]time.Duration{"server/a": 20 * time.Second, "server/c": 20 * time.Second}, nil}
		g, short := pooled(2, 3), &book{}
		short.fail = func(provision.Event) error {
			if slices.ContainsFunc(short.events, func(e provision.Event) bool { return e.Type == provision.StepDone && e.Step == "move" }) {
				return errors.New("dead")
			}
			return nil
		}
		_, _ = poolRun(w, short, p, g).Go(t.Context())
		p.takes = map[provision.StepID]time.Duration{"proof/b": time.Minute} // of those that serve, one is slow to prove this time
		next := &book{events: slices.Clone(short.events)}
		r := poolRun(w, next, p, g)
		r.Past, r.Last = slices.Clone(short.events), len(short.events)
		outcome, err := r.Go(t.Context())
		if outcome != provision.OutcomeDone {
			t.Fatalf("%s, %v", outcome, err)
		}
		if s := w.servers(); !strings.Contains(s, "b") || !strings.Contains(s, "d") || len(strings.Fields(s)) != 3 {
			t.Errorf("servers %s; b and d served\n%s", s, strings.Join(brief(next.events), "\n"))
		}
	})
}
