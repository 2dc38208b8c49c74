package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
)

// again are the options of the commands that take up a run of before.
type again struct {
	app    *App
	shared shared
	store  storeOptions
}

func (o *again) add(cmd *cobra.Command) {
	o.shared.add(cmd)
	o.store.add(cmd)
	cmd.ValidArgsFunction = o.app.completeRun
}

// open finds the run (the latest that is wanted where none is named) and wires what its plan names, for its region.
func (o *again) open(ctx context.Context, prefix string, want func(past) bool) (p past, s *site, st *keep, err error) {
	st, service, err := o.app.journals(ctx, o.shared, o.store)
	if err != nil {
		return p, nil, nil, err
	}
	if p, err = o.app.findPast(ctx, st, service, prefix, want); err != nil {
		return p, nil, nil, err
	}
	from := o.shared
	if from.plan == "" && (p.plan == "" || exists(p.plan)) {
		from.plan = p.plan // the file that the run was started with; on another machine, the one that is here
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

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// newResume is `failover resume [RUN]`: the run's graph is the journal's, whatever the plan says by now.
func newResume(app *App) *cobra.Command {
	o := &again{app: app}
	cmd := &cobra.Command{
		Use: "resume [RUN]", Short: "Go on with a run that stopped, the latest that is not done by default", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, s, st, err := o.open(cmd.Context(), first(args), isOpen)
			if err != nil {
				return err
			}
			defer s.close()
			defer st.Close() //nolint:errcheck // every append was synced
			if p.outcome() == provision.OutcomeDone {
				return usage("failover status "+p.entry.Run.Short()+" shows it", "run %s is done", p.entry.Run.Short())
			}
			h := view.Head{Service: p.graph.Service, Region: p.graph.Region, Home: p.graph.Home, Purpose: p.graph.Purpose}
			return app.perform(cmd.Context(), performance{site: s, graph: p.graph, id: p.entry.Run, head: h, store: st, options: o.store, json: o.shared.json, past: p.events, planPath: p.plan})
		},
	}
	o.add(cmd)
	return cmd
}
