package steps

import (
	"maps"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// Chained gives a run's graph as it is to be undone where other runs of the service have moved the same names, or joined the same load balancer.
// events are the run's, others the journals of the other runs in any order. Two things differ from what the run itself knew of a name:
//
//   - A name that it found at an earlier run's addresses goes on to where that one had found it, if the earlier one was undone since: what is
//     there is gone. With home (of Back) that one need not be undone, where both left the same home for other regions.
//   - What a later run put that still stands is no stranger's: see DNSRestore.
//
// Where an undone run does not know what the name held before it, the name must be pointed elsewhere before anything is removed (DNSRelease).
//
// In a load balancer that was there before all of them, a member whose place a later run has taken as well gets no traffic while that run stands; and
// the last one that is undone leaves it as the first one found it.
func Chained(g provision.Graph, events []provision.Event, others [][]provision.Event, home bool) provision.Graph {
	runs := movers(others)
	if len(events) == 0 || len(runs) == 0 {
		return g
	}
	self := newMover(g, events)
	original := g
	g.Steps = slices.Clone(g.Steps)
	for i, s := range g.Steps {
		switch {
		case s.Kind == CloudBalancerDisable || s.Kind == CloudBalancerTerminate:
			g.Steps[i] = self.shared(s, runs)
			continue
		case s.Kind != DNSMove || s.Undo.Kind != DNSRestore:
			continue
		}
		name := moved(s)
		s.With = maps.Clone(s.With)
		from, known := self.origin(name, oldSet(s), runs, home)
		switch {
		case from != nil && known:
			was, _ := from.graph.Step(provision.StepID("move/" + name))
			s.With["old"], s.With[asFoundBy] = was.With["old"], provision.Lit(from.run.Short())
		case from != nil:
			s = unknownBefore(original, s, oldSet(s).Values)
		}
		if set, ok := self.later(name, runs); ok && s.Undo.Kind == DNSRestore {
			s.With["later"] = provision.Lit(rrset(set))
			s.Undo.Take = append(slices.Clone(s.Undo.Take), "later")
		}
		g.Steps[i] = s
	}
	return g
}

// asFoundBy is the run whose old set a move was given in place of its own. It is for people: no handler is given it.
const asFoundBy = "as_found_by"

// goesTo says to what an undoing puts a name back.
func goesTo(move provision.Step) string {
	if by, ok := move.With[asFoundBy].Is.(string); ok {
		return oldText(oldSet(move)) + ", where run " + by + " had found it"
	}
	return oldText(oldSet(move))
}

// mover is a run that may have moved names.
type mover struct {
	run     provision.RunID
	graph   provision.Graph
	outputs map[provision.StepID]provision.Values
	touched map[provision.StepID]bool
	undone  bool
}

func newMover(g provision.Graph, events []provision.Event) mover {
	m := mover{run: events[0].Run, graph: g}
	m.outputs, m.touched = effects(events)
	return m
}

// movers gives those of some journals that may have moved names, oldest first.
func movers(journals [][]provision.Event) []mover {
	undone := map[provision.RunID]bool{}
	var out []mover
	for _, events := range journals {
		if len(events) == 0 || events[0].Graph == nil {
			continue
		}
		switch g := *events[0].Graph; g.Purpose {
		case "abandon", "back":
			undone[g.Of] = undone[g.Of] || slices.ContainsFunc(events, undoes)
		case "failover":
			out = append(out, newMover(g, events))
		}
	}
	for i := range out {
		out[i].undone = undone[out[i].run]
	}
	slices.SortFunc(out, func(a, b mover) int { return strings.Compare(string(a.run), string(b.run)) }) // ids sort by time
	return out
}

// undoes reports whether an undoing has got anywhere by then: one that was refused by what it found has not.
func undoes(e provision.Event) bool {
	return e.Type == provision.StepDone && e.Kind == DNSRestore || e.Type == provision.StepIntent && e.Kind != DNSRestore
}

// puts are the sets that the run may have put for a name, the last one first.
func (m mover) puts(name string) (out []provision.RRset) {
	for _, verb := range []string{"join/", "move/"} {
		s, ok := m.graph.Step(provision.StepID(verb + name))
		if !ok || !m.touched[s.ID] {
			continue
		}
		set := oldSet(s)
		ttl, _ := s.With["ttl"].Is.(float64) // the journal's JSON gives numbers as float64
		set.TTL = int(ttl)
		if set.Values = m.outputs[s.ID].List("values"); len(set.Values) == 0 {
			in, err := s.Resolve(0, m.outputs)
			if err != nil {
				continue
			}
			set.Values = in.List("values")
		}
		out = append(out, set)
	}
	return out
}

// origin follows a name back through the runs that it passed: to the first that was left standing, or with home to the one that found it at home.
// nil: the run's own old set is where it goes. known is false where that run does not know what the name held before.
func (m mover) origin(name string, old provision.RRset, runs []mover, home bool) (found *mover, known bool) {
	before := m.run
	for _, e := range slices.Backward(runs) {
		if e.run >= before || !slices.ContainsFunc(e.puts(name), func(s provision.RRset) bool { return sameValues(s.Values, old.Values) }) {
			continue
		}
		if !e.undone && (!home || !m.sameHome(e, name)) {
			break
		}
		was, _ := e.graph.Step(provision.StepID("move/" + name))
		if found = &e; was.Undo.Kind != DNSRestore {
			return found, false
		}
		before, old = e.run, oldSet(was)
	}
	return found, true
}

// sameHome reports whether an earlier run left the home that this one, which has moved the name, would go back to. A run into the home itself made what
// home is now.
func (m mover) sameHome(earlier mover, name string) bool {
	home := m.graph.Home
	return len(m.outputs[provision.StepID("move/"+name)]) > 0 && home != "" && earlier.graph.Home == home && m.graph.Region != home && earlier.graph.Region != home
}

// later gives what the latest of later runs that stand has put for a name; not where that is at what this run has made, which goes with it.
func (m mover) later(name string, runs []mover) (provision.RRset, bool) {
	for _, l := range slices.Backward(runs) {
		if l.run <= m.run || l.undone {
			continue
		}
		if sets := l.puts(name); len(sets) > 0 {
			return sets[0], !overlap(sets[0].Values, m.made(name))
		}
	}
	return provision.RRset{}, false
}

// made are the addresses among those that the run has given a name that go when it is undone.
func (m mover) made(name string) (out []string) {
	for _, verb := range []string{"join/", "move/"} {
		s, _ := m.graph.Step(provision.StepID(verb + name))
		for _, o := range s.With["values"].Of {
			if by, _ := m.graph.Step(o.Step); by.Kind != CloudBalancerUse {
				have := m.outputs[o.Step]
				out = append(append(out, have.List(o.Name)...), have.Text(o.Name)) // of those that were chosen it is a list
			}
		}
	}
	return out
}

// sameValues reports whether two sets hold the same values, whatever their order.
func sameValues(a, b []string) bool {
	in := func(list []string) func(string) bool {
		return func(x string) bool {
			return slices.ContainsFunc(list, func(y string) bool {
				return provision.SameAddress(x, y) || strings.EqualFold(strings.TrimSuffix(x, "."), strings.TrimSuffix(y, "."))
			})
		}
	}
	missing := func(x string) bool { return !in(b)(x) }
	return len(a) == len(b) && len(a) > 0 && !slices.ContainsFunc(a, missing)
}
