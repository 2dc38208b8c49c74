package simulate

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/steps"
)

// story is one seed: a run that is started, may die and be taken up again, by whom and as often as the seed
// says, until it is done, or undone.
func (w *world) story() {
	g, err := steps.Build(w.plan, w.facts, w.run)
	if err != nil {
		w.wrong("the plan gives no graph: %v", err)
		return
	}
	w.graph = w.without.graph(g)
	outcome, err := w.spell(func(p *process) (provision.Outcome, error) { return p.perform(w.graph, w.run, false) })
	abandon := false
	for try := 1; ; try++ {
		w.checkLedTo()
		if len(w.problems) > 0 {
			return
		}
		w.note("outcome %s %v", outcome, err)
		if outcome == provision.OutcomeDone {
			break
		}
		if try == 8 {
			w.mu.Lock()
			w.calm = true // from here on nothing goes wrong any more
			w.mu.Unlock()
			w.box.ClearFaults()
		}
		if try > 12 {
			w.wrong("neither done nor undone after %d processes: %s %v", try, outcome, err)
			return
		}
		time.Sleep(span(w.rng, 0, pick(w.rng, 2*time.Second, 90*time.Second)))
		abandon = abandon || w.rng.IntN(3) == 0
		if abandon {
			break
		}
		w.count(func(t *tally) { t.Resumes++ })
		outcome, err = w.spell(func(p *process) (provision.Outcome, error) {
			if !bytes.Contains(w.store.read(w.key()), []byte("\n")) {
				return p.perform(w.graph, w.run, false) // it has no beginning: nothing was done of it
			}
			return p.perform(provision.Graph{Purpose: "resume"}, w.run, true)
		})
	}
	if !abandon {
		w.count(func(t *tally) { t.Done++ })
		w.checkDone()
		if w.rng.IntN(2) == 0 {
			return
		}
	} else {
		w.count(func(t *tally) { t.Failed++ })
	}
	w.undo()
}

func (w *world) key() string { return service + "/runs/" + string(w.run) + ".jsonl" }

func (w *world) count(f func(*tally)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.seen)
}

// undo abandons until nothing is left; an abandon that died is begun anew, or resumed.
func (w *world) undo() {
	var id provision.RunID
	for try := 1; ; try++ {
		w.count(func(t *tally) { t.Abandons++ })
		if try == 5 {
			w.mu.Lock()
			w.calm = true
			w.mu.Unlock()
			w.box.ClearFaults()
		}
		resume := id != "" && w.store.read(service+"/runs/"+string(id)+".jsonl") != nil && w.rng.IntN(2) == 0
		if !resume {
			id = runID(w.seed, try)
		}
		outcome, err := w.spell(func(p *process) (provision.Outcome, error) {
			if resume {
				return p.perform(provision.Graph{Purpose: "abandon"}, id, true)
			}
			return p.abandon(id)
		})
		w.note("outcome of abandon %s %v", outcome, err)
		if outcome == provision.OutcomeDone {
			w.checkNothing()
			return
		}
		w.checkLedTo()
		if len(w.problems) > 0 {
			return
		}
		if try > 9 {
			w.wrong("not undone after %d tries: %s %v", try, outcome, err)
			return
		}
		time.Sleep(span(w.rng, 0, pick(w.rng, 2*time.Second, 90*time.Second)))
	}
}

// spell lets one process work, perhaps with a second operator who comes meanwhile.
func (w *world) spell(work func(*process) (provision.Outcome, error)) (provision.Outcome, error) {
	var wg sync.WaitGroup
	if w.rng.IntN(3) == 0 {
		after, again := span(w.rng, 0, 2*time.Minute), span(w.rng, time.Second, 40*time.Second)
		wg.Go(func() {
			time.Sleep(after)
			for range 5 { // the second operator
				if w.store.read(w.key()) == nil {
					return
				}
				p := w.spawn("elsewhere")
				outcome, err := p.perform(provision.Graph{Purpose: "resume"}, w.run, true)
				w.note("%v second operator: %s %v", p, outcome, err)
				p.kill()
				if !errors.Is(err, errLocked) {
					return
				}
				time.Sleep(again)
			}
		})
	}
	host := pick(w.rng, "here", "here", "there")
	var outcome provision.Outcome
	var err error
	for range 20 {
		p := w.spawn(host)
		outcome, err = work(p)
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
