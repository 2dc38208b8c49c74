package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dripstat/failover/provision"
)

// schedule knows which steps may begin. It belongs to the one goroutine of Go, and so needs no lock.
type schedule struct {
	steps map[provision.StepID]provision.Step
	order []provision.StepID
	done  map[provision.StepID]provision.Values
	over  map[provision.StepID]bool // failed for good or skipped: it will never be done
	begun map[provision.StepID]bool
	left  map[provision.StepID]provision.Values // what is known of the effect of those that were given up in the middle

	ready   []provision.StepID
	waits   map[provision.StepID]int // ordinary steps: needs that are not done
	after   map[provision.StepID][]provision.StepID
	special []provision.StepID // those with a quorum and those that clear: they are asked for after every result
	slots   map[string]*slot
}

// slot is one of several servers that any of would do.
type slot struct {
	steps   []provision.StepID // in order, without those that clear
	running int
	lost    bool          // a step of it failed for good, or it is not needed
	stop    chan struct{} // closed when it is lost
}

// newSchedule takes up what past says is done.
func newSchedule(g provision.Graph, order []provision.StepID, past map[provision.StepID]past) *schedule {
	s := &schedule{steps: make(map[provision.StepID]provision.Step, len(order)), order: order,
		done: make(map[provision.StepID]provision.Values, len(order)), over: map[provision.StepID]bool{}, left: map[provision.StepID]provision.Values{}, begun: map[provision.StepID]bool{},
		waits: make(map[provision.StepID]int, len(order)), after: make(map[provision.StepID][]provision.StepID, len(order)), slots: map[string]*slot{}}
	for _, step := range g.Steps {
		s.steps[step.ID] = step
	}
	for _, id := range order {
		step := s.steps[id]
		if p, ok := past[id]; ok && p.done {
			s.done[id] = p.out
		} else if len(p.left) > 0 {
			s.left[id] = p.left
		}
		if step.Slot != "" && !step.Clears {
			at := s.slots[step.Slot]
			if at == nil {
				at = &slot{stop: make(chan struct{})}
				s.slots[step.Slot] = at
			}
			at.steps = append(at.steps, id)
		}
	}
	for _, id := range order { // what was given up stays so: what chose is never done anew
		if s.done[id] != nil {
			s.choose(s.steps[id])
		}
	}
	s.forgetVolatile(g, past)
	for _, id := range order {
		step := s.steps[id]
		switch {
		case s.done[id] != nil || s.over[id]:
			continue
		case step.Quorum != nil || step.Clears:
			s.special = append(s.special, id)
			continue
		}
		for _, n := range step.Needs {
			if s.done[n] == nil {
				s.waits[id]++
				s.after[n] = append(s.after[n], id)
			}
		}
		if s.waits[id] == 0 {
			s.ready = append(s.ready, id)
		}
	}
	return s
}

// forgetVolatile takes back volatile steps that something still needs, nearest to the end first, so that
// what they need in turn is taken back too. What only clears a slot away needs nothing of it.
func (s *schedule) forgetVolatile(g provision.Graph, past map[provision.StepID]past) {
	for changed := true; changed; {
		changed = false
		for _, step := range g.Steps {
			if s.done[step.ID] != nil || s.over[step.ID] || step.Clears {
				continue
			}
			for _, n := range step.Needs {
				if need := s.steps[n]; need.Volatile && s.done[n] != nil {
					delete(s.done, n)
					delete(past, n)
					changed = true
				}
			}
		}
	}
}

// next gives a step that may begin now.
func (s *schedule) next() (provision.Step, bool) {
	for _, id := range s.special {
		if !s.begun[id] && !s.over[id] && s.may(s.steps[id]) {
			s.ready = append(s.ready, id)
			s.begun[id] = true
		}
	}
	for len(s.ready) > 0 {
		id := s.ready[0]
		s.ready = s.ready[1:]
		if s.over[id] {
			continue
		}
		s.begun[id] = true
		if at := s.slots[s.steps[id].Slot]; at != nil {
			at.running++
		}
		return s.steps[id], true
	}
	return provision.Step{}, false
}

// may reports whether a step with a quorum, or one that clears, may begin.
func (s *schedule) may(step provision.Step) bool {
	if step.Clears {
		at := s.slots[step.Slot]
		for _, n := range step.Needs {
			if s.steps[n].Slot != step.Slot && s.done[n] == nil {
				return false
			}
		}
		if !at.lost { // it was chosen
			s.over[step.ID] = true
			return false
		}
		return at.running == 0
	}
	for _, n := range step.Needs {
		if s.steps[n].Slot == "" && s.done[n] == nil {
			return false
		}
	}
	have, open, _ := s.tally(step)
	return s.kept(step, have) && len(have) >= step.Quorum.Want || open == 0 && len(have) >= step.Quorum.Least
}

// kept reports whether the slots that an earlier choice has named are there, or are lost: they serve already, and a process that proves all
// of them anew must not take others because those were proven first.
func (s *schedule) kept(step provision.Step, have []string) bool {
	for _, n := range step.Needs {
		if s.steps[n].Quorum == nil {
			continue
		}
		for _, name := range s.done[n].List(provision.Chosen) {
			if at := s.slots[name]; at != nil && !at.lost && !slices.Contains(have, name) {
				return false
			}
		}
	}
	return true
}

// tally gives the slots that a quorum has, how many are not decided, and how many of those can still be had.
func (s *schedule) tally(step provision.Step) (have []string, open, hope int) {
	for _, name := range slotsOf(s.steps, step) {
		at := s.slots[name]
		all := true
		for _, n := range step.Needs {
			all = all && (s.steps[n].Slot != name || s.done[n] != nil)
		}
		switch {
		case all && !at.lost:
			have = append(have, name)
		case !at.lost:
			open, hope = open+1, hope+1
		case at.running > 0: // something of it is still at work
			open++
		}
	}
	return have, open, hope
}

// slotsOf gives the slots that a step needs steps of, in the order of its needs.
func slotsOf(steps map[provision.StepID]provision.Step, step provision.Step) []string {
	var out []string
	seen := map[string]bool{}
	for _, n := range step.Needs {
		if name := steps[n].Slot; name != "" && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

// args are the outputs that a step that begins now is given, so that workers share no map.
func (s *schedule) args(step provision.Step) map[provision.StepID]provision.Values {
	var have []string
	if step.Quorum != nil {
		have, _, _ = s.tally(step)
	}
	out := map[provision.StepID]provision.Values{}
	for _, n := range step.Needs {
		if v := s.left[n]; v != nil && step.Clears && s.done[n] == nil {
			out[n] = v
		}
		if v := s.done[n]; v != nil && (step.Quorum == nil || s.steps[n].Slot == "" || slices.Contains(have, s.steps[n].Slot)) {
			out[n] = v
		}
	}
	return out
}

// finish takes in what was done, and gives the steps that will not be performed for it, with the reason.
func (s *schedule) finish(id provision.StepID, out provision.Values) []skip {
	s.ended(id)
	s.done[id] = out
	for _, a := range s.after[id] {
		if s.waits[a]--; s.waits[a] == 0 {
			s.ready = append(s.ready, a)
		}
	}
	return s.choose(s.steps[id])
}

func (s *schedule) ended(id provision.StepID) {
	if at := s.slots[s.steps[id].Slot]; at != nil && !s.steps[id].Clears {
		at.running--
	}
}

// skip is a step that will not be performed, and why.
type skip struct {
	step provision.Step
	why  string
	left provision.Values // what is known of its effect, where it was begun
}

// choose gives up the slots that a final quorum has not chosen.
func (s *schedule) choose(step provision.Step) []skip {
	if step.Quorum == nil || !step.Quorum.Final {
		return nil
	}
	chosen := s.done[step.ID].List(provision.Chosen)
	var out []skip
	for _, name := range slotsOf(s.steps, step) {
		if !slices.Contains(chosen, name) {
			out = append(out, s.lose(name, "not needed: "+fmt.Sprint(len(chosen))+" others were ready first")...)
		}
	}
	return out
}

// lose gives a slot up.
func (s *schedule) lose(name, why string) []skip {
	at := s.slots[name]
	if at.lost {
		return nil
	}
	at.lost = true
	close(at.stop)
	var out []skip
	for _, id := range at.steps {
		if s.done[id] == nil && !s.begun[id] && !s.over[id] {
			s.over[id] = true
			out = append(out, skip{s.steps[id], why, nil})
		}
	}
	return out
}

// fail takes in a step that was not done. The error, if any, is why the whole run fails: the step's own where
// the run cannot do without it.
func (s *schedule) fail(id provision.StepID, left provision.Values, err error) ([]skip, error) {
	s.ended(id)
	step := s.steps[id]
	at := s.slots[step.Slot]
	var halt *haltError
	if at == nil || step.Clears || errors.As(err, &halt) {
		return nil, err
	}
	s.over[id] = true
	if at.lost && errors.Is(err, errStopped) {
		s.left[id] = left
		return []skip{{step, "not needed any more", left}}, nil
	}
	skipped := s.lose(step.Slot, string(id)+" failed")
	for _, q := range s.special {
		quorum := s.steps[q].Quorum
		if quorum == nil || s.begun[q] || !slices.Contains(slotsOf(s.steps, s.steps[q]), step.Slot) {
			continue
		}
		if have, _, hope := s.tally(s.steps[q]); len(have)+hope < quorum.Least {
			return skipped, short(err, len(have)+hope, quorum.Least)
		}
	}
	return skipped, nil
}

// short says of the failure that was one too many that it was.
func short(err error, can, least int) error {
	e := *provision.AsError("", err)
	e.What = fmt.Sprintf("%s; no more than %d can be had now, and %d are needed", e.What, can, least)
	return &e
}

// lost reports whether a step's slot was given up.
func (s *schedule) lost(id provision.StepID) bool {
	at := s.slots[s.steps[id].Slot]
	return at != nil && at.lost && !s.steps[id].Clears
}

// complete reports whether nothing is left to do.
func (s *schedule) complete() bool {
	for _, id := range s.order {
		if s.done[id] == nil && !s.over[id] {
			return false
		}
	}
	return true
}

// quit is closed when the step's slot is given up; nil where it has none.
func (s *schedule) quit(step provision.Step) <-chan struct{} {
	if at := s.slots[step.Slot]; at != nil && !step.Clears {
		return at.stop
	}
	return nil
}
