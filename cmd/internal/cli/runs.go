package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
)

// past is a run that a store knows, read.
type past struct {
	entry  journal.Entry
	events []provision.Event
	graph  provision.Graph
	plan   string
}

// outcome is how the run ended last; "open" when it has not.
func (p past) outcome() provision.Outcome {
	out := provision.Outcome("open")
	for _, e := range p.events {
		switch e.Type {
		case provision.RunEnded:
			out = e.Outcome
		case provision.RunResumed:
			out = "open"
		}
	}
	return out
}

// journals opens the store: the plan's where there is a plan, else the user's. What was recorded here while a
// shared one was away is added to it.
func (a *App) journals(ctx context.Context, s shared, o storeOptions) (*keep, string, error) {
	var plan provision.Plan
	if _, err := planPath(s.plan); err == nil {
		if plan, err = a.load(s, true); err != nil {
			return nil, "", err
		}
	}
	st, err := a.store(plan, o)
	if err != nil {
		return nil, "", err
	}
	a.aloud(st)
	st.merge(ctx)
	return st, plan.Service, nil
}

func readPast(ctx context.Context, st *keep, e journal.Entry) (past, error) {
	p := past{entry: e}
	events, err := journal.Read(ctx, st.runs, e.Service, e.Run)
	if err != nil {
		return p, fmt.Errorf("run %s: %w", e.Run.Short(), err)
	}
	if len(events) == 0 || events[0].Graph == nil {
		return p, fmt.Errorf("run %s has no beginning in its journal: nothing was done of it", e.Run.Short())
	}
	p.events, p.graph, p.plan = events, *events[0].Graph, events[0].Plan
	return p, nil
}

// isFailover and isOpen say which run is meant where none is named.
func isFailover(p past) bool { return p.graph.Purpose == "failover" }
func isOpen(p past) bool     { return p.outcome() != provision.OutcomeDone }

// patience is how long a run that this machine does not know is looked for in a shared store that is silent: one
// that lost its leader has another in some seconds.
const patience = 15 * time.Second

// findPast reads the run that was named, or the latest that is wanted (nil: any), or else the latest.
func (a *App) findPast(ctx context.Context, st *keep, service, prefix string, want func(past) bool) (past, error) {
	for began := time.Now(); ; {
		p, err := a.lookUp(ctx, st, service, prefix, want)
		if err == nil || st.mirror == nil || st.mirror.Away() == nil || time.Since(began) > patience {
			return p, err
		}
		select {
		case <-ctx.Done():
			return p, err
		case <-time.After(time.Second):
		}
	}
}

func (a *App) lookUp(ctx context.Context, st *keep, service, prefix string, want func(past) bool) (past, error) {
	if prefix == "" && want != nil {
		runs, err := journal.Runs(ctx, st.runs, service)
		if err != nil {
			return past{}, err
		}
		for _, e := range slices.Backward(runs) {
			if p, err := readPast(ctx, st, e); err == nil && want(p) {
				return p, nil
			}
		}
	}
	e, err := journal.Find(ctx, st.runs, service, prefix)
	if err == nil {
		return readPast(ctx, st, e)
	}
	if errors.Is(err, journal.ErrManyRuns) {
		return past{}, usage("failover runs lists them", "%v", err)
	}
	if !errors.Is(err, journal.ErrNoRun) {
		return past{}, err
	}
	if prefix == "" {
		return past{}, usage("FAILOVER_STATE_DIR or store { file { dir = ... } } names another place", "no run was ever recorded in %s", st.Where())
	}
	return past{}, usage("failover runs lists them", "no run in %s begins with %s", st.Where(), prefix)
}

// otherRuns reads the other runs of a run's service, oldest first. unread are those whose journals cannot be read; one that has no beginning did nothing.
func otherRuns(ctx context.Context, st *keep, of past) (out []past, unread []journal.Entry, err error) {
	runs, err := journal.Runs(ctx, st.runs, of.entry.Service)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range runs {
		if e.Run == of.entry.Run {
			continue
		}
		p := past{entry: e}
		if p.events, err = journal.Read(ctx, st.runs, e.Service, e.Run); err != nil {
			unread = append(unread, e)
			continue
		}
		if len(p.events) > 0 && p.events[0].Graph != nil {
			p.graph, p.plan = *p.events[0].Graph, p.events[0].Plan
			out = append(out, p)
		}
	}
	return out, unread, nil
}

// line tells of the run in a list of all that are known.
func (p past) line(known map[provision.RunID]past) string {
	what := p.graph.Purpose
	if of := p.graph.Of; of != "" {
		what += map[string]string{"abandon": " of ", "back": " from ", "deliver": " to "}[what] + of.Short()
	}
	if end := p.undone(known); end != "" {
		what += ", " + end
	}
	return fmt.Sprintf("%s  %s  %-8s  %s → %s  %s", p.entry.Run.Short(), p.events[0].Time.Local().Format("2006-01-02 15:04"), p.outcome(), p.entry.Service, p.graph.Region, what)
}

// undone says how the run was undone; nothing where that is not done.
func (p past) undone(known map[provision.RunID]past) (end string) {
	for _, e := range p.events {
		if e.Type != provision.RunAbandoned {
			continue
		}
		by, ok := known[provision.RunID(e.Message)]
		switch {
		case by.entry.Run == p.entry.Run: // there was nothing to undo
			return "given up"
		case ok && by.outcome() == provision.OutcomeDone && by.graph.Purpose == "back":
			end = "gone home"
		case ok && by.outcome() == provision.OutcomeDone:
			return "abandoned"
		}
	}
	return end
}

// newRuns is `failover runs`.
func newRuns(app *App) *cobra.Command {
	var s shared
	cmd := &cobra.Command{
		Use: "runs", Short: "List the runs that this machine knows", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, service, err := app.journals(cmd.Context(), s, storeOptions{})
			if err != nil {
				return err
			}
			list, err := journal.Runs(cmd.Context(), st.runs, service)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				_, _ = fmt.Fprintf(app.Err, "no run was ever recorded in %s\n", st.Where())
			}
			known, unread := map[provision.RunID]past{}, map[provision.RunID]error{}
			for _, e := range list {
				known[e.Run], unread[e.Run] = readPast(cmd.Context(), st, e)
			}
			for _, e := range list {
				if err := unread[e.Run]; err != nil {
					_, _ = fmt.Fprintf(app.Out, "%s  %s  %v\n", e.Run.Short(), e.Service, err)
					continue
				}
				_, _ = fmt.Fprintln(app.Out, known[e.Run].line(known))
			}
			return nil
		},
	}
	s.addPlan(cmd)
	return cmd
}

// completeRun offers the runs that are known, newest first.
func (a *App) completeRun(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	plan, _ := cmd.Flags().GetString("plan")
	var p provision.Plan
	if _, err := planPath(plan); err == nil {
		p, _ = a.load(shared{plan: plan}, true)
	}
	p.Store.Etcd = nil // whoever presses TAB waits for no network
	st, err := a.store(p, storeOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	runs, _ := journal.Runs(cmd.Context(), st.runs, p.Service)
	var out []string
	for _, e := range slices.Backward(runs) {
		out = append(out, e.Run.Short()+"\t"+e.Service)
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

func first(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return ""
}
