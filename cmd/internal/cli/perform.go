package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/engine"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/lock"
	"github.com/dripstat/failover/provision/store"
)

// performance is one graph about to be performed, by any command.
type performance struct {
	site     *site
	graph    provision.Graph
	id       provision.RunID // of the journal that is written
	head     view.Head
	store    *keep
	options  storeOptions
	json     bool
	past     []provision.Event
	known    int // events of the run that graph undoes, when graph was made
	findings []provision.Finding
	planPath string
}

// perform takes the lease, opens the journal and the view, and lets the engine run.
func (a *App) perform(parent context.Context, p performance) error {
	ctx, asked, release := a.signals(parent)
	defer release()
	outliveReader()
	a.ran.Store(true)
	p.store.mu.Lock()
	p.store.writing = true
	p.store.mu.Unlock()
	who, host := identity()
	command := "failover " + p.graph.Purpose
	switch {
	case len(p.past) > 0:
		command = "failover resume"
	case p.graph.Purpose == "failover":
		command = "failover --region " + p.graph.Region
	}
	lease, err := a.lease(ctx, p.store, p.graph.Service, holder(command, p.id), p.options, p.json)
	if err != nil {
		a.aloud(p.store)
		return err
	}
	free := sync.OnceFunc(func() { lease.Release(ctx) })
	defer free()
	began := time.Now()
	first := provision.Event{V: provision.EventVersion, Time: began.UTC(), Run: p.id, Type: provision.RunStarted, Graph: &p.graph,
		User: who, Host: host, Plan: p.planPath, PlanD: p.site.plan.Digest}
	j, opening, err := a.open(ctx, &p, lease, first)
	if err != nil {
		a.aloud(p.store)
		return err
	}
	model := view.NewModel(p.graph, p.id, began)
	for _, e := range p.past {
		model.Add(e)
	}
	v, out := a.view(p, model)
	tell := v.Tell
	if a.tap != nil {
		tell = func(e provision.Event) { a.tap(e); v.Tell(e) }
	}
	for _, e := range opening {
		tell(e)
	}
	if p.json {
		for i := range p.findings {
			v.Tell(provision.Event{V: provision.EventVersion, Time: began.UTC(), Run: p.id, Type: provision.Found, Finding: &p.findings[i]})
		}
	}
	note := func(message string) {
		v.Tell(provision.Event{V: provision.EventVersion, Time: time.Now().UTC(), Run: p.id, Type: provision.Note, Message: message})
	}
	_, dead := lease.Taken()
	for _, h := range dead {
		note(fmt.Sprintf("took over the lock that %s on %s left behind (run %s)", h.Owner, h.Host, h.Run.Short()))
	}
	p.store.speak(note)
	stop, done := either(asked, lease.Lost())
	defer done()
	run := engine.Run{ID: p.id, Graph: p.graph, Handlers: p.site.handlers(p.id), Journal: j, Tell: tell, Past: p.past, Held: lease.Held, Stop: stop, Last: opening[len(opening)-1].Seq}
	outcome, runErr := run.Go(ctx)
	if errors.Is(runErr, store.ErrChanged) { // by whoever has the lock now, it may be
		lease.Doubt()
	}
	if err := lease.Held(); err != nil && outcome != provision.OutcomeDone {
		outcome, runErr = provision.OutcomeStopped, lostError(err, p.id)
	}
	end := provision.Event{V: provision.EventVersion, Time: time.Now().UTC(), Run: p.id, Type: provision.RunEnded, Outcome: outcome}
	if runErr != nil {
		end.Error = provision.AsError("", runErr)
	}
	end, jerr := j.Append(context.WithoutCancel(ctx), end)
	if errors.Is(jerr, store.ErrChanged) { // the journal is another's by now, and that was said
		jerr = nil
	}
	p.store.settle()
	p.store.speak(nil)
	tell(end)
	v.End()
	free() // nobody waits for this run while it waits for its reader
	out.Flush(ctx)
	return a.ended(p, outcome, errors.Join(runErr, jerr), end.Error)
}

// open begins the journal, or goes on with it: with what was recorded until the lock was ours, wherever that was.
func (a *App) open(ctx context.Context, p *performance, lease *lock.Pair, first provision.Event) (*journal.Journal, []provision.Event, error) {
	if len(p.past) > 0 {
		first.Type, first.Graph = provision.RunResumed, nil
	}
	for try := 0; ; try++ {
		if err := p.takeUp(ctx); err != nil {
			return nil, nil, err
		}
		j := journal.Open(p.store.runs, p.graph.Service, p.id, len(p.past))
		e, err := j.Append(ctx, first)
		if errors.Is(err, store.ErrChanged) && !errors.Is(err, store.ErrFenced) && first.Type == provision.RunResumed && try < 5 {
			continue // the one who had the lock finished a line
		}
		if err != nil {
			return nil, nil, err
		}
		opening := []provision.Event{e}
		live, _ := lease.Taken()
		for _, h := range live {
			e, err := j.Append(ctx, provision.Event{V: provision.EventVersion, Time: time.Now().UTC(), Run: p.id, Type: provision.LeaseTaken, User: h.Owner, Host: h.Host,
				Message: fmt.Sprintf("took the lock over from %s on %s, who was at work (%s, run %s)", h.Owner, h.Host, h.Command, h.Run.Short())})
			if err != nil {
				return nil, nil, err
			}
			opening = append(opening, e)
		}
		return j, opening, nil
	}
}

// takeUp looks at the journal once more, now that nobody else can write to it: another process may have gone on
// with the run since it was read, or begun to undo it.
func (p *performance) takeUp(ctx context.Context) (err error) {
	switch service := p.graph.Service; {
	case p.graph.Purpose == "deliver" && len(p.past) == 0: // the run itself is left as it is
		_, err = journal.Resume(ctx, p.store.runs, service, p.graph.Of)
		var undone *journal.AbandonedError
		if errors.As(err, &undone) {
			return usage("failover runs lists them", "%v: its servers are gone, or going", undone)
		}
	case p.graph.Of != "" && len(p.past) == 0:
		return wentOn(journal.Abandon(ctx, p.store.runs, service, p.graph.Of, p.id, p.known), p.graph.Of)
	case len(p.past) > 0:
		p.past, err = journal.Resume(ctx, p.store.runs, service, p.id)
		var undone *journal.AbandonedError
		var followed *journal.FollowedError
		if errors.As(err, &followed) {
			return usage("failover resume "+followed.By.Short()+" goes on with that one, if it is not done; failover abandon "+p.id.Short()+" ends this one", "%v", followed)
		}
		if errors.As(err, &undone) && undone.Run != p.id { // a delivery, of a run that is undone
			return usage("failover runs lists them", "%v: its servers are gone, or going", undone)
		}
		if errors.As(err, &undone) {
			return usage("failover abandon "+p.id.Short()+" goes on with that; a new run starts afresh", "%v", undone)
		}
	}
	return err
}

// either gives a channel that closes when one of two does.
func either(a, b <-chan struct{}) (<-chan struct{}, func()) {
	out, quit := make(chan struct{}), make(chan struct{})
	go func() {
		select {
		case <-a:
		case <-b:
		case <-quit:
			return
		}
		close(out)
	}()
	return out, func() { close(quit) }
}

// ended turns an outcome into an exit code.
func (a *App) ended(p performance, outcome provision.Outcome, err error, said *provision.Error) error {
	if said != nil && !p.json {
		_, _ = fmt.Fprintln(a.Err)
		view.WriteError(a.Err, a.look(a.Err), said)
	}
	switch outcome {
	case provision.OutcomeDone:
		return nil
	case provision.OutcomeStopped:
		return &exitError{code: exitStopped, quiet: true, err: err}
	}
	return &exitError{code: exitFailed, quiet: true, err: err}
}

// view gives what is told of the run, and what to flush when it is over.
func (a *App) view(p performance, m *view.Model) (view.View, *view.Queue) {
	if p.json {
		q := view.NewQueue(a.Out)
		return view.NewJSON(q), q
	}
	q := view.NewQueue(a.Err)
	l := a.look(a.Err)
	if a.drawable(a.Err) {
		return view.NewTTY(q, l, a.canvas(a.Err), p.head, m), q
	}
	return view.NewPlain(q, l, p.head, m), q
}
