package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/steps"
)

// adoption are the options of a command that takes up a run whose journal was lost, by what its region holds.
type adoption struct {
	on     bool
	region string
}

func (o *adoption) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.on, "adopt", false, "the run's journal is lost: go by the tags of what it made in --region")
	f.StringVar(&o.region, "region", "", "with --adopt: the region that the run went to")
}

// check refuses options that mean nothing without each other.
func (o *adoption) check(cmd *cobra.Command) error {
	if !o.on {
		for _, name := range []string{"region", "me"} {
			if cmd.Flags().Changed(name) {
				return usage("add --adopt, or leave it out", "--%s goes with --adopt: a run whose journal is there knows its region", name)
			}
		}
		return nil
	}
	switch o.region {
	case "":
		return usage("--adopt --region ORD", "which region did the run go to? --adopt needs --region")
	case "any":
		return usage("--adopt --region ORD", "--adopt looks into one region: name it")
	}
	return nil
}

// resumeOrphan is `failover resume --adopt`: shown and consented to like a run that begins.
func (o *resumeOptions) resumeOrphan(ctx context.Context, prefix string) error {
	a := o.app
	if !o.dryRun && !o.yes {
		if err := a.mayAsk(); err != nil {
			return err
		}
	}
	r, err := a.orphan(ctx, o.shared, o.store, o.adopt.region, o.me, prefix)
	if err != nil {
		return err
	}
	defer r.close()
	g, events, facts, err := r.graph(ctx)
	if err != nil {
		return err
	}
	h := view.Head{Service: g.Service, Region: g.Region, Home: g.Home, Plan: planName(r.plan), Purpose: g.Purpose}
	if o.dryRun {
		a.showPlan(h, g, facts, o.shared.json)
		return nil
	}
	if !o.yes {
		view.WritePlan(a.Err, a.look(a.Err), h, g, facts)
		if err := a.consent(fmt.Sprintf("Adopt run %s and go on? %s will serve from %s.", r.found.Run.Short(), g.Service, g.Region)); err != nil {
			return err
		}
	} else if !o.shared.json {
		view.WriteFindings(a.Err, a.look(a.Err), facts.Findings)
	}
	past, err := r.begin(ctx, "resume", g, events)
	if err != nil {
		return err
	}
	return a.perform(ctx, performance{site: r.site, graph: g, id: r.found.Run, head: h, store: r.store, options: o.store, json: o.shared.json,
		past: past, findings: facts.Findings, planPath: planAt(r.plan)})
}

// abandonOrphan is `failover abandon --adopt`: it removes all that carries the run, and restores no record.
func (o *undoOptions) abandonOrphan(ctx context.Context, prefix string) error {
	a := o.app
	if !o.dryRun && !o.yes {
		if err := a.mayAsk(); err != nil {
			return err
		}
	}
	r, err := a.orphan(ctx, o.shared, o.store, o.adopt.region, "", prefix)
	if err != nil {
		return err
	}
	defer r.close()
	g, events, facts, err := r.remains(ctx)
	if err != nil {
		return err
	}
	first := provision.Event{Run: r.found.Run, Type: provision.RunStarted, Graph: &g, Adopted: true}
	undo := steps.ReverseAdopted(g, append([]provision.Event{first}, events...), r.found.Run)
	if err := r.site.released(ctx, undo); err != nil {
		return err
	}
	facts.Findings = append(r.findings(g, false), facts.Findings...)
	h := view.Head{Service: undo.Service, Region: undo.Region, Home: undo.Home, Plan: planName(r.plan), Purpose: undo.Purpose}
	if o.dryRun {
		a.showPlan(h, undo, facts, o.shared.json)
		return nil
	}
	if !o.yes {
		view.WritePlan(a.Err, a.look(a.Err), h, undo, facts)
		if err := a.consent(fmt.Sprintf("Remove all that run %s has made in %s?", r.found.Run.Short(), undo.Region)); err != nil {
			return err
		}
	} else if !o.shared.json {
		view.WriteFindings(a.Err, a.look(a.Err), facts.Findings)
	}
	id, now := newRunID(), time.Now().UTC()
	// The graph lacks what only a run needs: it must never be gone on with, whatever happens after this.
	events = append(events, provision.Event{V: provision.EventVersion, Time: now, Run: r.found.Run, Type: provision.RunEnded, Outcome: provision.OutcomeStopped},
		provision.Event{V: provision.EventVersion, Time: now, Run: r.found.Run, Type: provision.RunAbandoned, Message: string(id)})
	past, err := r.begin(ctx, "abandon", g, events)
	if err != nil {
		return err
	}
	return a.perform(ctx, performance{site: r.site, graph: undo, id: id, head: h, store: r.store, options: o.store, json: o.shared.json,
		known: len(past), findings: facts.Findings, planPath: planAt(r.plan)})
}

// released refuses to begin an undoing that could not end: a record of which nobody knows what it held before still
// names what would be removed.
func (s *site) released(ctx context.Context, undo provision.Graph) error {
	h := s.handlers(undo.Of)[steps.DNSRelease]
	for _, st := range undo.Steps {
		if st.Kind != steps.DNSRelease {
			continue
		}
		in, err := st.Resolve(0, nil)
		if err != nil {
			return err
		}
		if _, err := h.Check(ctx, st, in); err != nil {
			e := provision.AsError("", err)
			e.What += "; nothing was touched"
			return &exitError{code: exitRefused, err: e}
		}
	}
	return nil
}
