package simulate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/engine"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/lock"
	"github.com/dripstat/failover/provision/store"
	"github.com/dripstat/failover/provision/store/mirror"
)

// process is one failover on one machine, from its start to its end or its death. Nothing of it survives but
// what it wrote to the store and sent to the cloud.
type process struct {
	w    *world
	n    int
	host string
	ctx  context.Context //nolint:containedctx // the life of the process itself
	kill context.CancelFunc
	disk *disk
	runs journal.Store // where journals are
	// Where there is a team:
	mirror *mirror.Store
	team   *shared
	known  int // events of the run that is turned around
	// purpose of the graph, once it is known
	purpose string

	mu      sync.Mutex
	points  int
	dies    int // at this point; 0: never
	stallAt int // the disk stops taking leases at this point
	deaf    time.Time
	intents map[provision.StepID]provision.Kind // on the disk, not answered
	proven  map[string]time.Time
}

func (p *process) String() string { return fmt.Sprintf("p%d", p.n) }

func (w *world) spawn(host string) *process {
	w.mu.Lock()
	w.next++
	n := w.next
	calm := w.calm
	w.mu.Unlock()
	p := &process{w: w, n: n, host: host, intents: map[provision.StepID]provision.Kind{}, proven: map[string]time.Time{}}
	p.ctx, p.kill = context.WithCancel(context.Background())
	p.disk = &disk{memory: w.at(host), p: p, ends: map[string]*end{}}
	if r := w.dice("life"); !calm {
		if r.IntN(2) == 0 {
			p.dies = 1 + r.IntN(pick(r, 12, 60, 200))
		}
		if r.IntN(8) == 0 {
			p.stallAt = 1 + r.IntN(100)
		}
	}
	return p
}

func (p *process) gone() bool { return p.ctx.Err() != nil }

func (p *process) crash() {
	if p.gone() {
		return
	}
	p.w.note("%v dies", p)
	p.w.mu.Lock()
	p.w.seen.Crashes++
	p.w.mu.Unlock()
	p.kill()
}

// point is a moment at which the process may die. It gives false when it has.
func (p *process) point(where string) bool {
	p.mu.Lock()
	p.points++
	n := p.points
	if n == p.stallAt {
		p.deaf = time.Now().Add(span(p.w.dice("deaf"), 30*time.Second, 3*time.Minute))
		p.w.note("%v cannot renew its lease until %s", p, p.deaf.Sub(p.w.began))
	}
	p.mu.Unlock()
	if n == p.dies {
		p.w.note("%v is killed %s", p, where)
		p.crash()
	}
	return !p.gone()
}

func (p *process) stalled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.deaf)
}

// errLocked: another process holds the lease.
var errLocked = errors.New("locked")

// perform does what the command line does with a graph: lease, journal, engine, end.
func (p *process) perform(g provision.Graph, id provision.RunID, resume bool) (provision.Outcome, error) {
	lease, err := p.lease(lock.Holder{Owner: fmt.Sprint(p), Host: p.host, Machine: p.host, PID: p.n, Command: g.Purpose, Run: id})
	if held := (*lock.HeldError)(nil); errors.As(err, &held) {
		return "", errLocked
	}
	if err != nil {
		return provision.OutcomeStopped, err
	}
	p.w.live(p, true)
	defer p.w.live(p, false)
	defer lease.Release(context.Background())
	// Read only now: whoever held the lease before may have gone on until a moment ago.
	var past []provision.Event
	switch {
	case resume:
		past, err = journal.Resume(p.ctx, p.runs, service, id)
		if undone := (*journal.AbandonedError)(nil); errors.As(err, &undone) {
			return provision.OutcomeFailed, err
		}
		if followed := (*journal.FollowedError)(nil); errors.As(err, &followed) {
			return provision.OutcomeFailed, err
		}
		if err != nil && p.ctx.Err() == nil && !p.mayLack(err) {
			p.w.wrong("the journal cannot be read: %v", err)
		}
		if err != nil || len(past) == 0 {
			return provision.OutcomeStopped, err
		}
		g = *past[0].Graph
		if ended(past) == provision.OutcomeDone {
			return provision.OutcomeDone, nil
		}
	case g.Purpose == "deliver": // the run that it is of stays as it is
		if _, err := journal.Resume(p.ctx, p.runs, service, g.Of); err != nil {
			return provision.OutcomeStopped, err
		}
	case g.Of != "":
		if err := journal.Abandon(p.ctx, p.runs, service, g.Of, id, p.known); err != nil {
			return provision.OutcomeStopped, err
		}
	}
	p.purpose = g.Purpose
	handlers, done, err := p.handlers(g)
	if err != nil {
		return provision.OutcomeStopped, err
	}
	defer done()
	j := journal.Open(p.runs, service, id, len(past))
	first := provision.Event{V: provision.EventVersion, Time: time.Now().UTC(), Run: id, Type: provision.RunStarted, Graph: &g}
	if resume {
		first.Type, first.Graph = provision.RunResumed, nil
	}
	if first, err = j.Append(p.ctx, first); err != nil {
		return provision.OutcomeStopped, err
	}
	began := time.Now()
	run := engine.Run{Stop: lease.Lost(), ID: id, Graph: g, Handlers: handlers, Journal: p.w.without.recorder(j), Past: past, Held: p.w.without.lease(lease.Held), Last: first.Seq,
		Tell: func(e provision.Event) {
			if e.Type == provision.StepSeen && !p.gone() {
				p.w.note("%v sees: %s %s", p, e.Step, e.Seen)
			}
		}}
	outcome, runErr := run.Go(p.ctx)
	if errors.Is(runErr, store.ErrChanged) {
		lease.Doubt()
	}
	if err := lease.Held(); err != nil && outcome != provision.OutcomeDone {
		outcome, runErr = provision.OutcomeStopped, err
	}
	if took := time.Since(began); took > bound {
		p.w.wrong("%s took %s to end", g.Purpose, took)
	}
	if p.gone() {
		return provision.OutcomeStopped, errGone
	}
	p.w.note("%v %s: %s %v", p, g.Purpose, outcome, runErr)
	if runErr == nil && outcome != provision.OutcomeDone || runErr != nil && outcome == provision.OutcomeDone {
		p.w.wrong("%s ended %s with error %v", g.Purpose, outcome, runErr)
	}
	end := provision.Event{V: provision.EventVersion, Time: time.Now().UTC(), Run: id, Type: provision.RunEnded, Outcome: outcome}
	if runErr != nil {
		end.Error = provision.AsError("", runErr)
		if end.Error.Thing == "" && outcome == provision.OutcomeFailed {
			p.w.wrong("a failure names nothing: %v", runErr)
		}
	}
	if _, err := j.Append(context.Background(), end); err != nil && !errors.Is(err, store.ErrChanged) {
		return provision.OutcomeStopped, err
	}
	return outcome, runErr
}

// mayLack says that a journal which is not to be read is nobody's mistake: the shared store does not answer, or has
// not heard of the run yet.
func (p *process) mayLack(err error) bool {
	return p.team != nil && (errors.Is(err, store.ErrAway) || errors.Is(err, store.ErrNotFound))
}

// bound is the longest, in virtual time, that one process may be at it.
const bound = 40 * time.Minute

// turn turns a run around, by what its journal says.
func (p *process) turn(of, id provision.RunID, around func(past []provision.Event) provision.Graph) (provision.Outcome, error) {
	past, err := journal.Read(p.ctx, p.runs, service, of)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return provision.OutcomeStopped, err
	}
	if err != nil || len(past) == 0 || past[0].Graph == nil {
		return provision.OutcomeDone, err // it had not begun
	}
	p.known = len(past)
	return p.perform(around(past), id, false) // where nothing is to be undone, the command line only marks the run
}

func ended(events []provision.Event) provision.Outcome {
	out := provision.Outcome("")
	for _, e := range events {
		switch e.Type {
		case provision.RunEnded:
			out = e.Outcome
		case provision.RunResumed:
			out = ""
		default:
		}
	}
	return out
}
