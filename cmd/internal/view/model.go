// Package view turns events into what eyes or programs read: a live screen, plain lines, JSON.
//
// A view is told; it cannot alter a run. model.go folds events into a picture; tty.go, plain.go and json.go
// show it. lipgloss lives here and nowhere else.
package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// state of one row.
type state int

const (
	waiting state = iota
	running
	done
	failed
	spared // its slot was given up: others were enough
)

// row is one thing on the screen: a server through all its stages, a name, a certificate.
type row struct {
	thing string
	steps []provision.StepID
}

// step is what is known of one step.
type step struct {
	provision.Step
	state   state
	began   time.Time
	ended   time.Time
	seen    string
	attempt int
	out     provision.Values
	err     *provision.Error
}

// Model is the picture of a run. It is not safe for concurrent use.
type Model struct {
	Graph    provision.Graph
	Run      provision.RunID
	Began    time.Time
	Ended    time.Time
	Stopping bool
	Outcome  provision.Outcome
	Err      *provision.Error
	Notes    []string

	steps map[provision.StepID]*step
	rows  []*row
}

// NewModel gives the picture before anything happened.
func NewModel(g provision.Graph, run provision.RunID, began time.Time) *Model {
	m := &Model{Graph: g, Run: run, Began: began, steps: map[provision.StepID]*step{}}
	byThing := map[string]*row{}
	for _, s := range g.Steps {
		m.steps[s.ID] = &step{Step: s}
		r := byThing[s.Say.Thing]
		if r == nil {
			r = &row{thing: s.Say.Thing}
			byThing[s.Say.Thing] = r
			m.rows = append(m.rows, r)
		}
		r.steps = append(r.steps, s.ID)
	}
	return m
}

// Add folds one event in. now is the event's time.
func (m *Model) Add(e provision.Event) {
	switch e.Type {
	case provision.Stopping:
		m.Stopping = true
	case provision.RunEnded:
		m.Ended, m.Outcome, m.Err = e.Time, e.Outcome, e.Error
	case provision.RunResumed:
		m.Ended, m.Outcome, m.Err, m.Stopping = time.Time{}, "", nil, false
	case provision.Note, provision.LeaseTaken:
		m.Notes = append(m.Notes, e.Message)
	}
	s := m.steps[e.Step]
	if s == nil {
		return
	}
	if s.began.IsZero() {
		s.began = e.Time
		if e.Took > 0 {
			s.began = e.Time.Add(-time.Duration(e.Took * float64(time.Second)))
		}
	}
	s.attempt = max(s.attempt, e.Attempt)
	switch e.Type {
	case provision.StepIntent:
		s.state, s.seen = running, ""
	case provision.StepSeen:
		s.state, s.seen = running, e.Seen
	case provision.StepSent:
		if e.Error != nil {
			s.seen = e.Error.Error()
		}
	case provision.StepDone:
		s.state, s.ended, s.out, s.seen = done, e.Time, e.Out, ""
	case provision.StepFailed:
		s.err, s.seen = e.Error, e.Error.Error()
		if e.Final {
			s.state, s.ended = failed, e.Time
		}
	case provision.StepSkipped:
		s.state, s.ended, s.seen = spared, e.Time, ""
	}
}

// lost says how a slot was given up: failed, spared, or waiting where it was not.
func (m *Model) lost(slot string) (state, *step) {
	var how state
	var why *step
	for _, s := range m.Graph.Steps {
		if slot == "" || s.Slot != slot {
			continue
		}
		switch st := m.steps[s.ID]; {
		case st.state == failed && !s.Clears:
			return failed, st
		case st.state == spared, s.Clears && st.state != waiting: // all of it may have been done by then
			how, why = spared, st
		}
	}
	return how, why
}

// ready reports whether all that a step needs is done.
func (m *Model) ready(s *step) bool {
	for _, n := range s.Needs {
		if m.steps[n].state != done {
			return false
		}
	}
	return true
}

// AtWork gives the step that has been under way for longest, in words what it is at, and since when: one whose
// beginning no journal tells, since all that it needs was done. ok is false where none is.
func (m *Model) AtWork() (id provision.StepID, what string, since time.Time, ok bool) {
	for _, g := range m.Graph.Steps {
		s := m.steps[g.ID]
		if s.state != running && (s.state != waiting || !m.ready(s)) || !m.Ended.IsZero() {
			continue
		}
		began := s.began
		if began.IsZero() {
			began = m.Began
			for _, n := range s.Needs {
				if e := m.steps[n].ended; e.After(began) {
					began = e
				}
			}
		}
		if !ok || began.Before(since) {
			id, what, since, ok = s.ID, s.verb(), began, true
		}
	}
	return id, what, since, ok
}

// rowState folds the steps of a row: what is under way counts most.
func (m *Model) rowState(r *row) (state, *step) {
	var last, given *step
	all := true
	for _, id := range r.steps {
		s := m.steps[id]
		switch s.state {
		case failed:
			return failed, s
		case spared:
			given = s
		}
	}
	for _, id := range r.steps {
		s := m.steps[id]
		if s.Clears && s.state == waiting { // most never begin
			continue
		}
		if given != nil && !s.Clears {
			continue
		}
		if s.state == running || s.state == waiting && m.ready(s) && m.Ended.IsZero() {
			return running, s
		}
		if s.state == done {
			last = s
		} else {
			all = false
		}
	}
	if given != nil && last == nil {
		return spared, given
	}
	if all || last != nil && last.Say.Stage == provision.StageConfirm { // a name that serves is shown, though more may join
		return done, last
	}
	return waiting, last
}

// phase is one stretch of the critical path.
type phase struct {
	Name string
	Took time.Duration
}

// phases cuts the run's time at the moments at which the last step of each stage was done.
func (m *Model) phases() []phase {
	names := map[provision.Stage]string{provision.StageCreate: "create and boot", provision.StageDeliver: "deliver",
		provision.StageProve: "prove", provision.StageRun: "own steps", provision.StageMove: "move", provision.StageConfirm: "confirm",
		provision.StageRestore: "restore", provision.StageDrain: "drain", provision.StageRemove: "remove"}
	var out []phase
	at := m.Began
	for _, stage := range provision.Stages {
		var end time.Time
		for _, s := range m.steps {
			if s.Say.Stage == stage && s.ended.After(end) {
				end = s.ended
			}
		}
		if names[stage] != "" && end.After(at) {
			out = append(out, phase{names[stage], end.Sub(at)})
			at = end
		}
	}
	return out
}

// count gives how many rows are in each state.
func (m *Model) count(rows []*row) map[state]int {
	n := map[state]int{}
	for _, r := range rows {
		s, _ := m.rowState(r)
		n[s]++
	}
	return n
}

// servers gives the slots with the addresses that they serve at, in order.
func (m *Model) servers() []server {
	var out []server
	for _, s := range m.Graph.Steps {
		st := m.steps[s.ID]
		if s.Kind != "server.create" || st.out == nil {
			continue
		}
		if how, _ := m.lost(s.Slot); how != waiting {
			continue
		}
		sv := server{slot: s.Say.Thing, address: st.out.Text("ipv4"), flavor: st.out.Text("flavor")}
		if sv.address == "" {
			sv.address = st.out.Text("address")
		}
		if v, ok := s.With["flavor_name"].Is.(string); ok && st.attempt <= 1 {
			sv.flavor = v
		}
		for _, o := range m.Graph.Steps { // a floating address goes before the fixed one
			if o.Kind == "floatingip.create" && slices.Contains(o.Needs, s.ID) && m.steps[o.ID].out != nil {
				sv.address = m.steps[o.ID].out.Text("address")
			}
		}
		out = append(out, sv)
	}
	return out
}

// balancers gives the load balancers with the address that they serve at; in the place of a flavor, what they serve with.
func (m *Model) balancers() []server {
	var out []server
	for _, s := range m.Graph.Steps {
		if !slices.Contains([]provision.Kind{"balancer.create", "cloudbalancer.create", "cloudbalancer.use"}, s.Kind) || m.steps[s.ID].out == nil {
			continue
		}
		b := server{slot: strings.TrimPrefix(s.Say.Thing, "load balancer "), address: m.steps[s.ID].out.Text("address"), flavor: "load balancer"}
		for _, o := range m.Graph.Steps {
			switch {
			case !slices.Contains(o.Needs, s.ID) || m.steps[o.ID].out == nil:
			case o.Kind == "floatingip.create":
				b.address = m.steps[o.ID].out.Text("address")
			case o.Kind == "balancer.join", o.Kind == "cloudbalancer.attach":
				b.flavor = fmt.Sprintf("load balancer, %d members", len(m.steps[o.ID].out.List("members")))
			}
		}
		out = append(out, b)
	}
	return out
}

type server struct{ slot, address, flavor string }

// moves gives every record that was moved, with what it left behind.
func (m *Model) moves() []move {
	var out []move
	for _, s := range m.Graph.Steps {
		if s.Kind != "dns.move" && s.Kind != "dns.restore" {
			continue
		}
		st := m.steps[s.ID]
		if s.With["from"].Of != nil { // the others join what was moved already
			for i := range out {
				if st.state == done && out[i].id == strings.Replace(string(s.ID), "join/", "move/", 1) {
					out[i].values = st.out.List("values")
				}
			}
			continue
		}
		mv := move{id: string(s.ID), name: s.Say.Thing, done: st.state == done, lost: s.Undo.Kind == "dns.release"}
		if old, ok := s.With["old"].Is.(map[string]any); ok {
			mv.old = provision.Values(old).List("values")
			mv.typ, _ = old["type"].(string)
		}
		if st.out != nil {
			mv.stale, _ = time.Parse(time.RFC3339, st.out.Text("stale_until"))
			mv.moved, _ = time.Parse(time.RFC3339, st.out.Text("moved_at"))
			mv.values = st.out.List("values")
		}
		out = append(out, mv)
	}
	return out
}

type move struct {
	id           string
	name, typ    string
	old, values  []string
	moved, stale time.Time
	done         bool
	lost         bool // what was there before the run is not known
}
