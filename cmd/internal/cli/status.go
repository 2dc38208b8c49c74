package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/lock"
	"github.com/dripstat/failover/provision/steps"
)

// statusOptions are those of `failover status [RUN]`.
type statusOptions struct {
	app    *App
	shared shared
	follow bool
}

func newStatus(app *App) *cobra.Command {
	o := &statusOptions{app: app}
	cmd := &cobra.Command{
		Use: "status [RUN]", Short: "Show a run, the latest by default", Args: cobra.MaximumNArgs(1),
		Long: `Shows how far a run is, and who holds the lock. With --follow it shows what happens, until the run ends,
on any machine that shares the plan's store. Its exit code is the run's own: 0 done, 1 failed or undone, 4 stopped;
4 too where you end the view before.`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), first(args)) },
	}
	o.shared.add(cmd)
	cmd.Flags().BoolVar(&o.follow, "follow", false, "go on showing it until the run ends")
	cmd.ValidArgsFunction = app.completeRun
	return cmd
}

func (o *statusOptions) run(ctx context.Context, prefix string) error {
	a := o.app
	st, service, err := a.journals(ctx, o.shared, storeOptions{})
	if err != nil {
		return err
	}
	defer st.Close() //nolint:errcheck // nothing was written
	p, err := a.findPast(ctx, st, service, prefix, nil)
	if err != nil {
		return err
	}
	if o.follow {
		return o.watch(ctx, st, p)
	}
	if o.shared.json {
		v := view.NewJSON(a.Out)
		for _, e := range p.events {
			v.Tell(e)
		}
		return nil
	}
	m := view.NewModel(p.graph, p.entry.Run, p.events[0].Time)
	for _, e := range p.events {
		m.Add(e)
	}
	l := a.look(a.Out)
	h := headOf(p)
	if line := undoing(ctx, st, p); line != "" {
		_, _ = fmt.Fprintf(a.Out, "%s\n\n", line)
	}
	if m.Ended.IsZero() {
		h.Glance = true
		for _, line := range view.Frame(l, h, m, time.Now(), 200) {
			_, _ = fmt.Fprintln(a.Out, line)
		}
	} else {
		view.WriteSummary(a.Out, l, h, m)
		view.WriteOpen(a.Out, l, m)
		if m.Err != nil {
			view.WriteError(a.Out, l, m.Err)
		}
	}
	if steps.Adopted(p.events) {
		_, _ = fmt.Fprintf(a.Out, "\n%s\n", p.events[0].Message)
	}
	if line := st.holder(ctx, p.graph.Service, p.entry.Run, m.Ended.IsZero()); line != "" {
		_, _ = fmt.Fprintf(a.Out, "\n%s\n", line)
	}
	return nil
}

// undoing says what became of a run since it was to be undone; nothing of one that never was. What the run said last may hold no more.
func undoing(ctx context.Context, st *keep, p past) string {
	if !abandoned(p) {
		return ""
	}
	known := map[provision.RunID]past{p.entry.Run: p}
	var last provision.RunID
	for _, e := range p.events {
		if e.Type != provision.RunAbandoned {
			continue
		}
		last = provision.RunID(e.Message)
		if by, err := readPast(ctx, st, journal.Entry{Service: p.entry.Service, Run: last}); err == nil {
			known[last] = by
		}
	}
	if end := p.undone(known); end != "" {
		has := map[string]string{"abandoned": "has been abandoned", "gone home": "has gone home", "given up": "has been given up"}[end]
		return fmt.Sprintf("Run %s %s since. It had said:", p.entry.Run.Short(), has)
	}
	by := known[last]
	if len(by.events) == 0 {
		return fmt.Sprintf("Run %s has begun to undo run %s; how that ended is not known here. It had said:", last.Short(), p.entry.Run.Short())
	}
	return fmt.Sprintf("Run %s (%s) has begun to undo run %s, and is %s: failover status %s. It had said:", last.Short(), by.graph.Purpose, p.entry.Run.Short(), by.outcome(), last.Short())
}

func headOf(p past) view.Head {
	return view.Head{Service: p.graph.Service, Region: p.graph.Region, Home: p.graph.Home, Purpose: p.graph.Purpose}
}

// holder says who holds the lock of a service; nothing where that is nobody and no run is open.
func (k *keep) holder(ctx context.Context, service string, run provision.RunID, open bool) string {
	var s lock.Store = k.local
	if k.shared != nil && k.mirror.Away() == nil {
		s = k.shared
	}
	h, expired, err := lock.Show(ctx, s, service)
	if err != nil {
		return "who holds the lock is not known: " + err.Error()
	}
	switch {
	case h == nil && open:
		return "Nobody holds the lock of " + service + ": nobody is at work on this run. Go on: failover resume " + run.Short()
	case h == nil:
		return ""
	case expired || h.Machine == thisMachine() && h.Machine != "" && !processAlive(h.PID):
		return fmt.Sprintf("The lock of %s was left behind by %s on %s (run %s): nobody is at work on it.", service, h.Owner, h.Host, h.Run.Short())
	}
	return fmt.Sprintf("Locked by %s on %s since %s (%s, run %s).", h.Owner, h.Host, h.Since.Local().Format("15:04:05"), h.Command, h.Run.Short())
}

// rereads bounds how long a watch that stalls, or a store that cannot be watched, is believed.
const rereads = 3 * time.Second

// watch shows what was recorded of a run, and what is, until it ends.
func (o *statusOptions) watch(parent context.Context, st *keep, p past) error {
	a := o.app
	ctx, asked, release := o.app.signals(parent)
	defer release()
	m := view.NewModel(p.graph, p.entry.Run, p.events[0].Time)
	h := headOf(p)
	h.Following = true
	var v view.View
	plain, out := false, view.NewQueue(a.Out)
	beat := heartbeat{m: view.NewModel(p.graph, p.entry.Run, p.events[0].Time)}
	switch l := a.look(a.Out); {
	case o.shared.json:
		v = view.NewJSON(out)
	case a.drawable(a.Out):
		v = view.NewTTY(out, l, a.canvas(a.Out), h, m)
	default:
		v, plain = view.NewPlain(out, l, h, m), true
	}
	defer func() {
		v.End()
		out.Flush(ctx)
	}()
	st.speak(func(s string) {
		v.Tell(provision.Event{V: provision.EventVersion, Time: time.Now().UTC(), Run: p.entry.Run, Type: provision.Note, Message: s})
	})
	defer a.aloud(st)
	key := journal.Key(p.entry.Service, p.entry.Run)
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ticks, werr := st.runs.Watch(wctx, key)
	told, idle := 0, ""
	for {
		p, err := readPast(ctx, st, p.entry)
		if err == nil {
			for ; told < len(p.events); told++ {
				v.Tell(p.events[told])
				beat.m.Add(p.events[told])
			}
			if over, err := p.over(); over {
				return err
			}
			if now := st.idle(ctx, p); now != idle {
				if idle = now; now != "" {
					st.tell("%s", now)
				}
			}
			if plain && idle == "" {
				beat.tell(v, time.Now())
			}
		}
		select {
		case <-asked:
			return &exitError{code: exitStopped, quiet: true, err: errors.New("the run goes on")}
		case <-ctx.Done():
			return &exitError{code: exitStopped, quiet: true, err: ctx.Err()}
		case _, ok := <-ticks:
			if !ok {
				ticks = nil
			}
			continue
		case <-time.After(rereads):
		}
		if ticks == nil || werr != nil { // the store may answer by now
			ticks, werr = st.runs.Watch(wctx, key)
		}
	}
}

// over reports whether nothing more is to come of a run, and gives its outcome as an exit code.
func (p past) over() (bool, error) {
	out := p.outcome()
	if i := slices.IndexFunc(p.events, func(e provision.Event) bool { return e.Type == provision.RunAbandoned }); i >= 0 && out != provision.OutcomeDone {
		by := provision.RunID(p.events[i].Message)
		return true, &exitError{code: exitFailed, err: &provision.Error{What: (&journal.AbandonedError{Run: p.entry.Run, By: by}).Error(), Hint: "failover status --follow " + by.Short()}}
	}
	switch out {
	case provision.OutcomeDone:
		return true, nil
	case provision.OutcomeFailed:
		return true, &exitError{code: exitFailed, quiet: true, err: errors.New("the run failed")}
	case provision.OutcomeStopped:
		return true, &exitError{code: exitStopped, quiet: true, err: errors.New("the run was stopped")}
	}
	return false, nil
}

// heartbeat says now and then, where no screen shows it, what a run is at: its progress is in no journal.
type heartbeat struct {
	m    *view.Model // a view's own is drawn by others meanwhile
	step provision.StepID
	next time.Duration
}

const firstBeat = 10 * time.Second

// tell names the step that has been at work for longest, after ten seconds of it and each time that has doubled.
func (b *heartbeat) tell(v view.View, now time.Time) {
	s, what, since, ok := b.m.AtWork()
	if s != b.step {
		b.step, b.next = s, firstBeat
	}
	if age := now.Sub(since); ok && age >= b.next {
		b.next = max(2*b.next, age)
		v.Tell(provision.Event{V: provision.EventVersion, Time: now.UTC(), Run: b.m.Run, Type: provision.StepSeen, Step: s, Seen: fmt.Sprintf("%s for %s", what, age.Round(time.Second))})
	}
}

// idle says that nobody is at work on an open run; nothing while somebody is.
func (k *keep) idle(ctx context.Context, p past) string {
	if time.Since(p.events[len(p.events)-1].Time) < lock.Beat {
		return ""
	}
	var s lock.Store = k.local
	if k.shared != nil {
		if k.mirror.Away() != nil { // nobody here can know
			return ""
		}
		s = k.shared
	}
	if h, expired, err := lock.Show(ctx, s, p.graph.Service); err == nil && (h == nil || expired) {
		return "nobody is at work on this run. Go on: failover resume " + p.entry.Run.Short()
	}
	return ""
}
