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

// resumeOptions are those of `failover resume [RUN]`.
type resumeOptions struct {
	again
	adopt  adoption
	me     string
	yes    bool
	dryRun bool
}

// newResume is `failover resume [RUN]`: the run's graph is the journal's, whatever the plan says by now.
func newResume(app *App) *cobra.Command {
	o := &resumeOptions{again: again{app: app}}
	cmd := &cobra.Command{
		Use: "resume [RUN]", Short: "Go on with a run that stopped, the latest that is not done by default", Args: cobra.MaximumNArgs(1),
		Long: `Goes on with a run by its journal: what is done is not done again, what is not known is looked up.

--adopt is for a run whose journal is lost, with the machine that kept it: what the run has made is found in
--region by its tags, the rest is made, and a new journal of the same run begins. It is shown first and asks
once, as a run that begins. Where the run has moved DNS already, what the records held before is not known
any more: neither abandon nor back can restore it.`,
		Example: `  failover resume
  failover resume 01JDXR4
  failover resume --adopt --region ORD --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.adopt.check(cmd); err != nil {
				return err
			}
			if o.adopt.on {
				return o.resumeOrphan(cmd.Context(), first(args))
			}
			if o.dryRun {
				return usage("failover status shows how far it is", "--dry-run goes with --adopt: what is left of a run is in its journal")
			}
			return o.run(cmd.Context(), first(args))
		},
	}
	o.add(cmd)
	o.adopt.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.dryRun, "dry-run", false, "with --adopt: show what is there and what would be done, and change nothing")
	f.BoolVar(&o.yes, "yes", false, "with --adopt: go on without asking (without it, resume never asks)")
	f.StringVar(&o.me, "me", "", "with --adopt: the address that the cloud sees you come from, for rules that say \"from me\"")
	_ = cmd.RegisterFlagCompletionFunc("region", (&runOptions{app: app}).completeRegion)
	return cmd
}

func (o *resumeOptions) run(ctx context.Context, prefix string) error {
	p, s, st, err := o.open(ctx, prefix, isOpen)
	if err != nil {
		return err
	}
	defer s.close()
	defer st.Close() //nolint:errcheck // every append was synced
	if p.outcome() == provision.OutcomeDone {
		return usage("failover status "+p.entry.Run.Short()+" shows it", "run %s is done", p.entry.Run.Short())
	}
	h := view.Head{Service: p.graph.Service, Region: p.graph.Region, Home: p.graph.Home, Purpose: p.graph.Purpose}
	return o.app.perform(ctx, performance{site: s, graph: p.graph, id: p.entry.Run, head: h, store: st, options: o.store, json: o.shared.json, past: p.events, planPath: p.plan})
}
