package simulate

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
)

// followsToo marks what was found since a second run may follow the first.
const followsToo = "with a second run: "

// follows says whether another run comes after the one that is done, from where that has left the names. Both join the load balancer that was there
// before, if the plan says so; there are none where each makes its own.
func (w *world) follows(d *rand.Rand) bool {
	if w.foundBefore(followsToo) || w.team != nil || d.IntN(3) > 0 {
		return false
	}
	return w.stands() && !w.plan.Servers[0].Pooled() || !w.balanced() && !w.keepsRecords()
}

// follow is the second run, and the undoing of both in one order or another. Whatever comes, the names lead to servers that live, and home in the
// end.
func (w *world) follow(d *rand.Rand) {
	w.count(func(t *tally) { t.Followed++ })
	first, held := w.run, w.sets()
	w.mu.Lock()
	w.calm = false
	w.faults = max(w.faults, pick(d, 0, 2, 5, 12))
	w.mu.Unlock()
	w.facts.At = time.Now()
	for name, set := range held {
		w.facts.Records[provision.RecordKey(name, "A")] = provision.RecordFacts{Old: set, NameServers: []string{"ns1." + zone}}
	}
	if w.stands() {
		b := w.facts.Balancers["edge"]
		if err := w.surveyStanding(context.Background(), &b); err != nil || b.Standing == nil {
			w.wrong("the load balancer cannot be surveyed: %v", err)
			return
		}
		w.facts.Balancers["edge"] = b
	}
	w.turns++
	second := runID(w.seed, w.turns)
	w.become(second)
	done, ok := w.attempt()
	if !ok {
		return
	}
	if !done {
		if w.takes(second, "abandon", false) && w.stays(second, held, "the second run was given up") {
			w.both(first)
		}
		return
	}
	w.checkDone()
	now := w.sets()
	home := map[string]provision.RRset{}
	for name, old := range w.old {
		home[name] = old
	}
	w.mu.Lock()
	w.well = time.Now()
	w.mu.Unlock()
	remove := d.IntN(2) == 0
	switch d.IntN(4) {
	case 0:
		if w.takes(first, "abandon", false) && w.stays(first, now, "the first was abandoned") {
			w.both(second)
		}
	case 1:
		if w.takes(second, "abandon", false) && w.stays(second, held, "the second was abandoned") {
			w.both(first)
		}
	case 2: // past the first, which stands
		if w.takes(second, "back", remove) && (!remove || w.stays(second, home, "the second went back")) {
			w.checkOld(w.box.Snapshot(), "the second went back")
			w.both(first, second)
		}
	default: // past the second, which stands
		if w.takes(first, "back", remove) && (!remove || w.stays(first, home, "the first went back")) {
			w.checkOld(w.box.Snapshot(), "the first went back")
			w.both(second, first)
		}
	}
}

// become makes another run the one that is looked at.
func (w *world) become(run provision.RunID) {
	w.run, w.turned, w.read, w.past = run, "", nil, nil
}

// takes undoes a run, as the command line does with the journals of the others.
func (w *world) takes(run provision.RunID, purpose string, remove bool) bool {
	w.become(run)
	return w.turn(purpose, func(past []provision.Event) provision.Graph {
		g := steps.Chained(*past[0].Graph, past, w.without.others(w.others(run)), purpose == "back")
		if purpose == "back" {
			return w.without.back(steps.Back(g, past, run, remove))
		}
		return w.without.reverse(steps.Reverse(g, past, run))
	})
}

// others are the journals of all runs but one.
func (w *world) others(but provision.RunID) (out [][]provision.Event) {
	for n := range w.turns + 1 {
		id := runID(w.seed, n)
		if events, err := journal.Parse(w.journaled(journal.Key(service, id))); err == nil && id != but && len(events) > 0 {
			out = append(out, events)
		}
	}
	return out
}

// both undoes what is left, until there is nothing of any run, and the names are home.
func (w *world) both(runs ...provision.RunID) {
	for _, run := range runs {
		if !w.takes(run, "abandon", false) {
			return
		}
	}
	w.checkNothing()
}

// sets gives what the records hold.
func (w *world) sets() map[string]provision.RRset {
	out := map[string]provision.RRset{}
	snap := w.box.Snapshot()
	for name, old := range w.old {
		set := provision.RRset{Name: name, Type: old.Type}
		for _, s := range snap.Designate {
			if s.Name == name && s.Type == "A" && !s.Leaving {
				set.TTL, set.Values = s.TTL, slices.Sorted(slices.Values(s.Values))
			}
		}
		out[name] = set
	}
	return out
}

// stays checks that nothing is left of a run that was undone, and that the names are where they are to be.
func (w *world) stays(run provision.RunID, want map[string]provision.RRset, when string) bool {
	time.Sleep(time.Minute)
	snap := w.box.Snapshot()
	if n := len(w.ours(snap)); n > 0 {
		w.wrong("%s, but %d slots have a server", when, n)
	}
	mark := strings.ToLower(string(run))
	for _, g := range slices.Concat(snap.SecurityGroups, snap.ServerGroups) {
		if strings.Contains(g.Name, mark) {
			w.wrong("%s, but a group is left", when)
		}
	}
	if w.floating(snap) > 0 {
		w.wrong("%s, but a floating address is left", when)
	}
	for name, set := range want {
		for where, sets := range map[string][]sandbox.RRset{"designate": snap.Designate, "the name server": snap.Served} {
			if have := valuesOf(sets, name); !slices.Equal(have, slices.Sorted(slices.Values(set.Values))) {
				w.wrong("%s, but %s holds another set for %s: %d addresses, wanted %d", when, where, name, len(have), len(set.Values))
			}
		}
	}
	if b, ok := w.checkStanding(snap, when); ok && w.plan.Balancers[0].Existing.Member != "" && !slices.Contains(b.Idle, deadMember) {
		w.wrong("%s, and a dead member has traffic, though its place is taken", when)
	}
	return len(w.problems) == 0
}

// floating counts the floating addresses of the run.
func (w *world) floating(snap sandbox.Snapshot) (n int) {
	for _, f := range snap.FloatingIPs {
		if strings.Contains(strings.ToLower(f.Description), strings.ToLower(string(w.run))) {
			n++
		}
	}
	return n
}
