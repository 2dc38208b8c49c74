package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/lock"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/preflight"
	"github.com/dripstat/failover/provision/steps"
)

// runOptions are those of `failover --region`.
type runOptions struct {
	app     *App
	shared  shared
	region  string
	me      string
	dryRun  bool
	yes     bool
	sandbox sandboxOptions
	store   storeOptions
}

// run is the main job, in one screen.
func (o *runOptions) run(ctx context.Context) error {
	a := o.app
	if !o.dryRun && !o.yes {
		if err := a.mayAsk(); err != nil {
			return err
		}
	}
	plan, box, err := o.begin(ctx)
	if err != nil {
		return err
	}
	defer box.close()
	regions, err := o.regions(plan)
	if err != nil {
		return err
	}
	var refused []provision.Finding
	var failed error
	for i, region := range regions {
		if i > 0 {
			_, _ = fmt.Fprintf(a.Err, "\n%s cannot take it; trying %s\n\n", regions[i-1], region)
		}
		site, facts, err := o.survey(ctx, plan, region, box)
		if err != nil {
			return err
		}
		if facts.Refused() {
			site.close()
			refused = append(refused, facts.Findings...)
			continue
		}
		next, err := o.attempt(ctx, site, facts, box, regions[i+1:], failed != nil)
		site.close()
		if !next {
			return err
		}
		failed = err
	}
	if failed != nil {
		if len(refused) > 0 && !o.shared.json {
			view.WriteFindings(a.Err, a.look(a.Err), refused)
		}
		return failed
	}
	return a.refuse(plan, regions, refused, o.shared.json)
}

// attempt shows the run to one region and performs it. It gives true, with how it ended, where it failed there, has
// been undone, and another region is to be tried. again says that the operator has consented already.
func (o *runOptions) attempt(ctx context.Context, site *site, facts provision.Facts, box *box, others []string, again bool) (bool, error) {
	a := o.app
	plan, id := site.plan, newRunID()
	graph, err := steps.Build(plan, facts, id)
	if err != nil {
		return false, &exitError{code: exitUsage, err: err}
	}
	head := view.Head{Service: plan.Service, Region: site.region, Home: plan.Home, Plan: planName(plan), Purpose: graph.Purpose, Sandbox: box != nil && !box.kept}
	if o.dryRun {
		a.showPlan(head, graph, facts, o.shared.json)
		return false, nil
	}
	switch {
	case o.yes && !o.shared.json:
		view.WriteFindings(a.Err, a.look(a.Err), facts.Findings)
	case o.yes:
	default:
		view.WritePlan(a.Err, a.look(a.Err), head, graph, facts)
		if again {
			break
		}
		question := fmt.Sprintf("Start now? %s will serve from %s", plan.Service, site.region)
		if len(others) > 0 {
			question += ", or where there is no room, from " + strings.Join(others, " or ")
		}
		if err := a.consent(question + "."); err != nil {
			return false, err
		}
	}
	st, err := a.runStore(plan, box, o.store)
	if err != nil {
		return false, err
	}
	defer st.Close() //nolint:errcheck // every append was synced
	st.merge(ctx)
	p := performance{site: site, graph: graph, id: id, head: head, store: st, options: o.store, json: o.shared.json, findings: facts.Findings, planPath: planAt(plan)}
	err = a.perform(ctx, p)
	if len(others) == 0 || !failedInside(ctx, p, err) {
		return false, err
	}
	if stop := o.leave(ctx, p); stop != nil {
		return false, stop
	}
	return true, err
}

// failedInside reports whether a run has failed, and nothing of it shows outside its region.
func failedInside(ctx context.Context, p performance, err error) bool {
	var e *exitError
	if !errors.As(err, &e) || e.code != exitFailed {
		return false
	}
	events, rerr := journal.Read(ctx, p.store.runs, p.graph.Service, p.id)
	return rerr == nil && steps.Inside(p.graph, events)
}

// leaveTime bounds the undoing of a run before another region is tried: the outage goes on meanwhile.
const leaveTime = 90 * time.Second

// leave undoes what a run has made in a region that is given up for another. What cannot be removed is said, and is in nobody's way; an
// error says that nothing else is to begin: ^C, or somebody else who has the lock now.
func (o *runOptions) leave(ctx context.Context, p performance) error {
	a := o.app
	_, _ = fmt.Fprintf(a.Err, "\nNo name was moved. What run %s has made in %s is removed first:\n", p.id.Short(), p.site.region)
	bounded, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	events, err := journal.Read(bounded, p.store.runs, p.graph.Service, p.id)
	if err == nil {
		undo := steps.Reverse(p.graph, events, p.id)
		if len(undo.Steps) == 0 {
			return nil
		}
		head := p.head
		head.Purpose = undo.Purpose
		err = a.perform(bounded, performance{site: p.site, graph: undo, id: newRunID(), head: head, store: p.store, options: p.options, json: p.json, known: len(events), planPath: p.planPath})
	}
	var e *exitError
	var held *lock.HeldError
	if errors.As(err, &held) || errors.As(err, &e) && e.code == exitStopped && bounded.Err() == nil {
		return err
	}
	if err != nil {
		_, _ = fmt.Fprintf(a.Err, "not everything of run %s in %s is removed; later: failover abandon %s\n", p.id.Short(), p.site.region, p.id.Short())
	}
	return nil
}

func newRunID() provision.RunID {
	return provision.RunID(ulid.MustNew(ulid.Now(), rand.Reader).String())
}

func planName(p provision.Plan) string {
	switch len(p.Files) {
	case 0:
		return "the built-in plan"
	case 1:
		return p.Files[0]
	}
	return fmt.Sprintf("%d files in %s", len(p.Files), p.Dir)
}

// planAt is what the journal keeps, so that a run can be taken up from another folder: the plan's file, or
// its folder where there are several.
func planAt(p provision.Plan) string {
	path := p.Dir
	switch len(p.Files) {
	case 0:
		return "" // the built-in plan goes with its sandbox
	case 1:
		path = p.Files[0]
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// begin reads the plan, and starts the sandbox where it is asked for.
func (o *runOptions) begin(ctx context.Context) (provision.Plan, *box, error) {
	var plan provision.Plan
	var err error
	if o.sandbox.kind == "" {
		if len(o.sandbox.faults) > 0 {
			return plan, nil, usage("add --sandbox", "--fault is for practice: it needs --sandbox")
		}
		plan, err = o.app.load(o.shared, false)
		plan.Operator = pick(o.me, plan.Operator)
		return plan, nil, err
	}
	return o.app.openBox(ctx, o)
}

func pick(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// regions gives the one that was asked for, or with any those of the plan, in turn.
func (o *runOptions) regions(plan provision.Plan) ([]string, error) {
	if o.region != "any" {
		return []string{o.region}, nil
	}
	regions := slices.DeleteFunc(slices.Clone(plan.Regions), func(r string) bool { return r == plan.Home })
	if len(regions) == 0 {
		return nil, usage(`regions = ["ORD", "DFW"]`, "--region any needs regions in the plan besides home")
	}
	return regions, nil
}

// survey reads one region. An unknown region is a usage error that lists the known ones.
func (o *runOptions) survey(ctx context.Context, plan provision.Plan, region string, box *box) (*site, provision.Facts, error) {
	s, err := o.app.newSite(plan, region, box)
	if err != nil {
		return nil, provision.Facts{}, err
	}
	facts, err := s.survey(ctx, s.sources())
	if err != nil {
		s.close()
		return nil, facts, err
	}
	return s, facts, nil
}

// survey reads the site's region.
func (s *site) survey(ctx context.Context, src preflight.Sources) (provision.Facts, error) {
	facts := preflight.Check(ctx, s.plan, s.region, src)
	for name, c := range s.clouds {
		var unknown *openstack.RegionError
		if s.idle(name) {
			continue
		}
		if err := c.Connect(ctx); errors.As(err, &unknown) && !s.elsewhere(name, err) { // the answer is known by now: nothing is asked again
			return facts, &exitError{code: exitUsage, err: unknown}
		}
	}
	return facts, nil
}

// runStore is the plan's store; a sandbox's runs are kept in the sandbox's own folder and go with it.
func (a *App) runStore(plan provision.Plan, box *box, o storeOptions) (*keep, error) {
	if box != nil {
		plan.Store = provision.Store{Dir: box.dir + "/state"}
	}
	return a.store(plan, o)
}
