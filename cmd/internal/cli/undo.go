package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/steps"
)

// undoOptions are those of the commands that turn a run around.
type undoOptions struct {
	again
	adopt  adoption // abandon
	yes    bool
	dryRun bool
	remove bool // back: remove the replacements too

	delivery bool // abandon: a delivery may be undone too, as far as it can

	went provision.RunID // the run that was undone, once it is
}

func (o *undoOptions) add(cmd *cobra.Command) {
	o.again.add(cmd)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "go on without asking")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and change nothing")
}

// newAbandon is `failover abandon [RUN]`: the reverse graph, shown, consented to and run like any other.
func newAbandon(app *App) *cobra.Command {
	o := &undoOptions{again: again{app: app}, delivery: true}
	cmd := &cobra.Command{
		Use: "abandon [RUN]", Short: "Undo a run: restore its records, then remove what it created", Args: cobra.MaximumNArgs(1),
		Long: `Restores the records that the run has moved, then removes what it created. It is shown first and asks once.

Of a delivery (failover deliver) it closes SSH again; the certificate that was delivered stays where it is.

--adopt is for a run whose journal is lost: all that carries the run in --region is removed. No record is
restored, since nobody knows what it held: while one points to the run's servers, nothing is removed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.adopt.check(cmd); err != nil {
				return err
			}
			if o.adopt.on {
				return o.abandonOrphan(cmd.Context(), first(args))
			}
			return o.run(cmd.Context(), first(args), "Undo run %s?", reverse)
		},
	}
	o.add(cmd)
	o.adopt.add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("region", (&runOptions{app: app}).completeRegion)
	return cmd
}

// newBack is `failover back [RUN]`: home is well again.
func newBack(app *App) *cobra.Command {
	o := &undoOptions{again: again{app: app}}
	cmd := &cobra.Command{
		Use: "back [RUN]", Short: "Go home: prove the old addresses, restore the records, wait until caches are empty", Args: cobra.MaximumNArgs(1),
		Long: `Takes a run's names back to where they pointed before it. That is home, too, where an earlier run had left
it first and this one went on from there. The old addresses are proven over TLS first, as the run's own
servers were; where they do not answer, nothing is changed. Then the records are restored, every name
server is asked, and the TTL is waited out, so that nobody is sent to the replacements any more.
--remove then removes them. Without it they go on running, but at a terminal you are asked at the end
whether they are to go (with --yes you are not).`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.run(cmd.Context(), first(args), "Go back home from run %s?", o.back); err != nil {
				return err
			}
			return o.removeToo(cmd.Context())
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&o.remove, "remove", false, "remove the replacements once nobody is sent to them any more")
	return cmd
}

func reverse(p past, others []past) (provision.Graph, error) {
	g := chained(p, others, false)
	if steps.Adopted(p.events) {
		return steps.ReverseAdopted(g, p.events, p.entry.Run), nil
	}
	return steps.Reverse(g, p.events, p.entry.Run), nil
}

// back refuses where home is not known: what the records held was read after the run had moved them.
func (o *undoOptions) back(p past, others []past) (provision.Graph, error) {
	run := p.entry.Run.Short()
	g := chained(p, others, true)
	if names := steps.BeforeUnknown(p.graph); len(names) > 0 {
		return provision.Graph{}, usage("point it home at your DNS provider, wait for its TTL, then: failover abandon "+run,
			"the journal of run %s was lost when it had moved %s already, so what it held before is not known; nothing was touched", run, strings.Join(names, ", "))
	}
	if names := steps.BeforeUnknown(g); len(names) > 0 {
		return provision.Graph{}, usage("point it home at your DNS provider, wait for its TTL, then: failover abandon "+run,
			"run %s found %s at an earlier run's servers, which are gone, and that run's journal was lost when it had moved it: where home is, is not known; nothing was touched", run, strings.Join(names, ", "))
	}
	if !steps.Moved(p.graph, p.events) {
		return provision.Graph{}, usage("failover abandon "+run+" removes what it made", "run %s moved no name: there is nothing to take home", run)
	}
	return steps.Back(g, p.events, p.entry.Run, o.remove), nil
}

// removeToo asks at a terminal whether the replacements that nobody is sent to any more are to go as well. A no is no
// failure: home serves.
func (o *undoOptions) removeToo(ctx context.Context) error {
	if o.went == "" || o.remove || o.yes || o.shared.json || !o.app.interactive() {
		return nil
	}
	if o.app.consent("Remove the replacements of run "+o.went.Short()+" now? Nobody is sent to them any more.") == nil {
		o.yes = true
		return o.run(ctx, string(o.went), "", reverse)
	}
	return nil
}

func (o *undoOptions) run(ctx context.Context, prefix, question string, build func(p past, others []past) (provision.Graph, error)) error {
	a := o.app
	if !o.dryRun && !o.yes {
		if err := a.mayAsk(); err != nil {
			return err
		}
	}
	p, s, st, err := o.open(ctx, prefix, isFailover)
	if err != nil {
		return err
	}
	defer s.close()
	defer st.Close() //nolint:errcheck // every append was synced
	if p.graph.Purpose != "failover" && (p.graph.Purpose != "deliver" || !o.delivery) {
		return usage("failover runs lists them", "run %s is itself a run of failover %s", p.entry.Run.Short(), p.graph.Purpose)
	}
	others, err := o.others(ctx, st, p)
	if err != nil {
		return err
	}
	g, err := build(p, others)
	if err != nil {
		return err
	}
	g = steps.WithRenewals(g, renewals(others, p))
	if err := s.released(ctx, g); err != nil {
		return err
	}
	if len(g.Steps) == 0 {
		if !o.dryRun {
			if err := a.giveUp(ctx, st, p, o.store); err != nil {
				return err
			}
		}
		out := a.Out
		if o.shared.json {
			out = a.Err
		}
		_, _ = fmt.Fprintf(out, "run %s changed nothing that is still there\n", p.entry.Run.Short())
		return nil
	}
	h := view.Head{Service: g.Service, Region: g.Region, Home: g.Home, Plan: p.plan, Purpose: g.Purpose}
	if o.dryRun {
		a.showPlan(h, g, provision.Facts{}, o.shared.json)
		return nil
	}
	if !o.yes {
		view.WritePlan(a.Err, a.look(a.Err), h, g, provision.Facts{})
		if err := a.consent(fmt.Sprintf(question, p.entry.Run.Short())); err != nil {
			return err
		}
	}
	err = a.perform(ctx, performance{site: s, graph: g, id: newRunID(), head: h, store: st, options: o.store, json: o.shared.json, known: len(p.events), planPath: p.plan})
	if err == nil {
		o.went = p.entry.Run
	}
	return err
}

// others reads what other runs of the service did to the same names and load balancers. A journal that cannot be read does not stop the undoing.
func (o *undoOptions) others(ctx context.Context, st *keep, p past) ([]past, error) {
	others, unread, err := otherRuns(ctx, st, p)
	if err != nil {
		return nil, err
	}
	for _, e := range unread {
		_, _ = fmt.Fprintf(o.app.Err, "warning: the journal of run %s cannot be read: where it moved a name of run %s, this goes by what run %s knew (failover status %s tells why)\n",
			e.Run.Short(), p.entry.Run.Short(), p.entry.Run.Short(), e.Run.Short())
	}
	return others, nil
}

// chained gives the run's graph as other runs make it.
func chained(p past, others []past, home bool) provision.Graph {
	journals := make([][]provision.Event, 0, len(others))
	for _, o := range others {
		journals = append(journals, o.events)
	}
	return steps.Chained(p.graph, p.events, journals, home)
}

// giveUp marks a run that has nothing to undo, so that nobody goes on with it after it was said that nothing is left.
func (a *App) giveUp(ctx context.Context, st *keep, p past, o storeOptions) error {
	lease, err := a.lease(ctx, st, p.graph.Service, holder("failover abandon", p.entry.Run), o, false)
	if err != nil {
		return err
	}
	defer lease.Release(ctx)
	return wentOn(journal.Abandon(ctx, st.runs, p.graph.Service, p.entry.Run, p.entry.Run, len(p.events)), p.entry.Run)
}

// wentOn explains why nothing was undone of a run that another process went on with meanwhile.
func wentOn(err error, run provision.RunID) error {
	if errors.Is(err, journal.ErrWentOn) {
		return usage("type the command again to see it as it is now", "run %s went on meanwhile; nothing was undone", run.Short())
	}
	return err
}
