package simulate

import (
	"errors"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/provision/store"
)

// story is one seed: a run that is started, may die and be taken up again, by whom and as often as the seed
// says, until it is done, or undone.
func (w *world) story() {
	defer w.checkTeam()
	done, ok := w.attempt()
	if !ok {
		return
	}
	if done {
		w.checkDone()
		if d := w.dice("follow"); w.follows(d) {
			w.follow(d)
			return
		}
		if !w.renew() {
			return
		}
		switch w.rng.IntN(5) {
		case 0, 1:
			return
		case 2, 3:
			w.goHome()
			return
		}
	}
	w.undo()
}

// attempt begins the run, and goes on with it until it is done, or is to be undone; ok is false when something is wrong.
func (w *world) attempt() (done, ok bool) {
	g, err := steps.Build(w.plan, w.facts, w.run)
	if err != nil {
		w.wrong("the plan gives no graph: %v", err)
		return false, false
	}
	w.graph = w.without.graph(g)
	outcome, err := w.spell(func(p *process) (provision.Outcome, error) { return p.perform(w.graph, w.run, false) })
	abandon := false
	for try := 1; ; try++ {
		w.checkLedTo()
		if len(w.problems) > 0 {
			return false, false
		}
		w.note("outcome %s %v", outcome, err)
		if outcome == provision.OutcomeDone {
			w.count(func(t *tally) { t.Done++ })
			return true, true
		}
		if try == 8 {
			w.quiet()
		}
		if try > 12 {
			w.wrong("neither done nor undone after %d processes: %s %v", try, outcome, err)
			return false, false
		}
		time.Sleep(span(w.rng, 0, pick(w.rng, 2*time.Second, 90*time.Second)))
		abandon = abandon || w.rng.IntN(3) == 0
		if abandon {
			w.count(func(t *tally) { t.Failed++ })
			return false, true
		}
		w.count(func(t *tally) { t.Resumes++ })
		outcome, err = w.spell(func(p *process) (provision.Outcome, error) {
			seen, err := p.runs.Read(p.ctx, journal.Key(service, w.run))
			switch {
			case err != nil && !errors.Is(err, store.ErrNotFound):
				return provision.OutcomeStopped, err
			case len(whole(seen)) == 0:
				return p.perform(w.graph, w.run, false) // it has no beginning: nothing was done of it
			}
			return p.perform(provision.Graph{Purpose: "resume"}, w.run, true)
		})
	}
}

// goHome takes the names of a run that is done back to where they were, and sometimes removes what it made, then or
// later.
func (w *world) goHome() {
	r := w.dice("home")
	w.mu.Lock()
	w.calm = false
	w.well = time.Now()
	if r.IntN(3) == 0 {
		w.well = w.well.Add(span(r, time.Second, 8*time.Minute))
	}
	w.mu.Unlock()
	remove := r.IntN(2) == 0
	if !w.back(remove) {
		return
	}
	if !remove {
		w.checkHome()
		switch r.IntN(3) {
		case 0:
			return
		case 1:
			if !w.back(true) {
				return
			}
		}
	} else if r.IntN(2) == 0 {
		return
	}
	w.undo()
}

func (w *world) count(f func(*tally)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.seen)
}

// undo abandons until nothing is left.
func (w *world) undo() {
	if w.turn("abandon", func(past []provision.Event) provision.Graph {
		return w.without.reverse(steps.WithRenewals(steps.Reverse(*past[0].Graph, past, w.run), w.renewals()))
	}) {
		w.checkNothing()
		w.late()
	}
}

// back goes home; false when something is wrong.
func (w *world) back(remove bool) bool {
	w.count(func(t *tally) { t.Backs++ })
	ok := w.turn("back", func(past []provision.Event) provision.Graph {
		return w.without.back(steps.WithRenewals(steps.Back(*past[0].Graph, past, w.run, remove), w.renewals()))
	})
	if ok && remove {
		w.checkNothing()
		w.late()
	}
	return ok && len(w.problems) == 0
}

// begun reports whether a run has a beginning: one that died while it wrote that has done nothing, and is not taken up.
func (w *world) begun(id provision.RunID) bool {
	events, err := journal.Parse(w.journaled(journal.Key(service, id)))
	return err == nil && len(events) > 0
}

// quiet lets nothing go wrong any more.
func (w *world) quiet() {
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	w.box.ClearFaults()
}

// turn turns the run around until that is done; what died of it is begun anew, or resumed.
func (w *world) turn(purpose string, around func(past []provision.Event) provision.Graph) bool {
	return w.turnOf(w.run, purpose, around)
}

// turnOf is turn for another run than that of the story.
func (w *world) turnOf(of provision.RunID, purpose string, around func(past []provision.Event) provision.Graph) bool {
	var id provision.RunID
	for try := 1; ; try++ {
		w.count(func(t *tally) { t.Abandons++ })
		if try == 5 {
			w.quiet()
			w.mu.Lock()
			w.well = time.Now()
			w.mu.Unlock()
		}
		resume := id != "" && w.begun(id) && w.rng.IntN(2) == 0
		if !resume {
			w.turns++
			id = runID(w.seed, w.turns)
		}
		w.turned = id
		outcome, err := w.spell(func(p *process) (provision.Outcome, error) {
			if resume {
				return p.perform(provision.Graph{Purpose: purpose}, id, true)
			}
			return p.turn(of, id, around)
		})
		w.note("outcome of %s %s %v", purpose, outcome, err)
		if outcome == provision.OutcomeDone {
			return len(w.problems) == 0
		}
		w.checkLedTo()
		if len(w.problems) > 0 {
			return false
		}
		if try > 9 {
			w.wrong("%s is not done after %d tries: %s %v", purpose, try, outcome, err)
			return false
		}
		time.Sleep(span(w.rng, 0, pick(w.rng, 2*time.Second, 90*time.Second)))
	}
}

// spell lets one process work, perhaps with a second operator who comes meanwhile.
func (w *world) spell(work func(*process) (provision.Outcome, error)) (provision.Outcome, error) {
	var wg sync.WaitGroup
	if w.rng.IntN(3) == 0 {
		after, again := span(w.rng, 0, 2*time.Minute), span(w.rng, time.Second, 40*time.Second)
		id := w.run
		if w.turned != "" && w.rng.IntN(2) == 0 {
			id = w.turned
		}
		if n := len(w.renewal.ids); n > 0 && w.dice("an old delivery").IntN(3) == 0 {
			id = w.renewal.ids[w.dice("which delivery").IntN(n)]
		}
		wg.Go(func() {
			time.Sleep(after)
			for range 5 { // the second operator
				if w.journaled(journal.Key(service, id)) == nil {
					return
				}
				p := w.spawn(w.elsewhere())
				p.open()
				outcome, err := p.perform(provision.Graph{Purpose: "resume"}, id, true)
				w.note("%v second operator: %s %v", p, outcome, err)
				p.shut()
				p.kill()
				if !errors.Is(err, errLocked) {
					return
				}
				time.Sleep(again)
			}
		})
	}
	host := w.host()
	var outcome provision.Outcome
	var err error
	for range 20 {
		p := w.spawn(host)
		p.open()
		outcome, err = work(p)
		p.shut()
		p.kill()
		if !errors.Is(err, errLocked) {
			break
		}
		outcome = provision.OutcomeStopped
		time.Sleep(30 * time.Second) // the lease of a process on another host has to expire, or the other to finish
	}
	wg.Wait()
	return outcome, err
}

// alive is what the operating system says of a process of the same host.
func (w *world) alive(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[liveKey(n)] > 0
}

func (w *world) live(p *process, yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[liveKey(p.n)] = 0
	if yes {
		w.counts[liveKey(p.n)] = 1
	}
}

func liveKey(n int) string { return "alive " + string(rune('0'+n)) }
