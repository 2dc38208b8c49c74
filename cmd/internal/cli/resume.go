package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/lock"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/provision/store/file"
)

// again are the options of the commands that take up a run of before.
type again struct {
	app    *App
	shared shared
	yes    bool
}

func (o *again) add(cmd *cobra.Command) {
	o.shared.add(cmd)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "go on without asking")
}

// open finds the run and wires what its plan names, for its region.
func (o *again) open(ctx context.Context, prefix string) (p past, s *site, st *file.Store, err error) {
	st, service, err := o.app.journals(o.shared)
	if err != nil {
		return p, nil, nil, err
	}
	if p, err = o.app.findPast(ctx, st, service, prefix); err != nil {
		return p, nil, nil, err
	}
	from := o.shared
	if from.plan == "" {
		from.plan = p.plan // the file that the run was started with
	}
	plan, err := o.app.load(from, false)
	if err != nil {
		return p, nil, nil, err
	}
	if plan.Service != p.graph.Service {
		return p, nil, nil, usage("give the plan that the run was started with: --plan FILE", "run %s is of service %s, the plan is of %s", p.entry.Run.Short(), p.graph.Service, plan.Service)
	}
	s, err = o.app.newSite(plan, p.graph.Region, o.app.box)
	return p, s, st, err
}

// newResume is `failover resume [RUN]`: the run's graph is the journal's, whatever the plan says by now.
func newResume(app *App) *cobra.Command {
	o := &again{app: app}
	cmd := &cobra.Command{
		Use: "resume [RUN]", Short: "Go on with a run that stopped, the latest by default", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, s, st, err := o.open(cmd.Context(), first(args))
			if err != nil {
				return err
			}
			defer s.close()
			defer st.Close() //nolint:errcheck // every append was synced
			if p.outcome() == provision.OutcomeDone {
				return usage("failover status "+p.entry.Run.Short()+" shows it", "run %s is done", p.entry.Run.Short())
			}
			h := view.Head{Service: p.graph.Service, Region: p.graph.Region, Home: p.graph.Home, Purpose: p.graph.Purpose}
			return app.perform(cmd.Context(), performance{site: s, graph: p.graph, id: p.entry.Run, head: h, store: st, json: o.shared.json, past: p.events, planPath: p.plan})
		},
	}
	o.add(cmd)
	return cmd
}

// newAbandon is `failover abandon [RUN]`: the reverse graph, shown, consented to and run like any other.
func newAbandon(app *App) *cobra.Command {
	o := &again{app: app}
	var dryRun bool
	cmd := &cobra.Command{
		Use: "abandon [RUN]", Short: "Undo a run: restore its records, then remove what it created", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !dryRun && !o.yes {
				if err := app.mayAsk(); err != nil {
					return err
				}
			}
			p, s, st, err := o.open(cmd.Context(), first(args))
			if err != nil {
				return err
			}
			defer s.close()
			defer st.Close() //nolint:errcheck // every append was synced
			if p.graph.Purpose != "failover" {
				return usage("failover runs lists them", "run %s is itself an %s", p.entry.Run.Short(), p.graph.Purpose)
			}
			g := steps.Reverse(p.graph, p.events, p.entry.Run)
			h := view.Head{Service: g.Service, Region: g.Region, Home: g.Home, Plan: p.plan, Purpose: g.Purpose}
			if len(g.Steps) == 0 {
				if !dryRun {
					if err := app.giveUp(cmd.Context(), st, p); err != nil {
						return err
					}
				}
				_, _ = fmt.Fprintf(app.Out, "run %s changed nothing that is still there\n", p.entry.Run.Short())
				return nil
			}
			if dryRun {
				view.WritePlan(app.Out, app.look(app.Out), h, g, provision.Facts{})
				return nil
			}
			if !o.yes {
				view.WritePlan(app.Err, app.look(app.Err), h, g, provision.Facts{})
				if err := app.consent("Undo run " + p.entry.Run.Short() + "?"); err != nil {
					return err
				}
			}
			return app.perform(cmd.Context(), performance{site: s, graph: g, id: newRunID(), head: h, store: st, json: o.shared.json, known: len(p.events), planPath: p.plan})
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be undone, and change nothing")
	return cmd
}

// giveUp marks a run that has nothing to undo, so that nobody goes on with it after it was said that nothing is left.
func (a *App) giveUp(ctx context.Context, st *file.Store, p past) error {
	who, host := identity()
	lease, err := lock.Acquire(ctx, st, p.graph.Service, lock.Holder{Owner: who, Host: host, PID: os.Getpid(), Command: "abandon", Run: p.entry.Run}, processAlive)
	if err != nil {
		return err
	}
	defer lease.Release(context.WithoutCancel(ctx)) //nolint:errcheck // it expires by itself
	if err := journal.Abandon(ctx, st, p.graph.Service, p.entry.Run, p.entry.Run, len(p.events)); errors.Is(err, journal.ErrWentOn) {
		return usage("failover abandon "+p.entry.Run.Short()+" shows it as it is now", "run %s went on meanwhile; nothing was undone", p.entry.Run.Short())
	} else if err != nil {
		return err
	}
	return nil
}
