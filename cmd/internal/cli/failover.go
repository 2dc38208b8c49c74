package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
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
	site, facts, err := o.choose(ctx, plan, box)
	if err != nil {
		return err
	}
	defer site.close()
	id := newRunID()
	graph, err := steps.Build(site.plan, facts, id)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	head := view.Head{Service: plan.Service, Region: site.region, Home: plan.Home, Plan: planName(plan), Purpose: graph.Purpose, Sandbox: box != nil && !box.kept}
	if o.dryRun {
		o.showPlan(head, graph, facts)
		return nil
	}
	if !o.yes {
		view.WritePlan(a.Err, a.look(a.Err), head, graph, facts)
		if err := a.consent(fmt.Sprintf("Start now? %s will serve from %s.", plan.Service, site.region)); err != nil {
			return err
		}
	} else if !o.shared.json {
		view.WriteFindings(a.Err, a.look(a.Err), facts.Findings)
	}
	st, err := a.runStore(plan, box, o.store)
	if err != nil {
		return err
	}
	defer st.Close() //nolint:errcheck // every append was synced
	st.merge(ctx)
	return a.perform(ctx, performance{site: site, graph: graph, id: id, head: head, store: st, options: o.store, json: o.shared.json, findings: facts.Findings, planPath: planAt(plan)})
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
	if !o.sandbox.on {
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

// choose runs preflight for the region that was asked for, or for each of the plan's until one can take it.
func (o *runOptions) choose(ctx context.Context, plan provision.Plan, box *box) (*site, provision.Facts, error) {
	regions := []string{o.region}
	if o.region == "any" {
		regions = nil
		for _, r := range plan.Regions {
			if r != plan.Home {
				regions = append(regions, r)
			}
		}
		if len(regions) == 0 {
			return nil, provision.Facts{}, usage(`regions = ["ORD", "DFW"]`, "--region any needs regions in the plan besides home")
		}
	}
	var refused []provision.Finding
	for i, region := range regions {
		s, facts, err := o.survey(ctx, plan, region, box)
		if err != nil {
			return nil, facts, err
		}
		if !facts.Refused() {
			return s, facts, nil
		}
		s.close()
		if i < len(regions)-1 {
			_, _ = fmt.Fprintf(o.app.Err, "%s cannot take it; trying %s\n", region, regions[i+1])
		}
		refused = append(refused, facts.Findings...)
	}
	return nil, provision.Facts{}, o.refuse(plan, regions, refused)
}

// survey reads one region. An unknown region is a usage error that lists the known ones.
func (o *runOptions) survey(ctx context.Context, plan provision.Plan, region string, box *box) (*site, provision.Facts, error) {
	s, err := o.app.newSite(plan, region, box)
	if err != nil {
		return nil, provision.Facts{}, err
	}
	facts := preflight.Check(ctx, s.plan, region, s.sources())
	for _, c := range s.clouds {
		var unknown *openstack.RegionError
		if errors.As(c.Connect(ctx), &unknown) { // the answer is known by now: nothing is asked again
			s.close()
			return nil, facts, &exitError{code: exitUsage, err: unknown}
		}
	}
	return s, facts, nil
}

// refuse reports every finding and gives exit code 3.
func (o *runOptions) refuse(plan provision.Plan, regions []string, fs []provision.Finding) error {
	a := o.app
	if o.shared.json {
		v := view.NewJSON(a.Out)
		for i := range fs {
			v.Tell(provision.Event{V: provision.EventVersion, Time: time.Now().UTC(), Type: provision.Found, Finding: &fs[i]})
		}
	} else {
		l := a.look(a.Err)
		_, _ = fmt.Fprintf(a.Err, "failover %s → %s: refused before anything was touched\n\n", plan.Service, strings.Join(regions, ", "))
		view.WriteFindings(a.Err, l, fs)
	}
	return &exitError{code: exitRefused, quiet: true, err: errors.New("preflight refused")}
}

func (o *runOptions) showPlan(head view.Head, g provision.Graph, f provision.Facts) {
	a := o.app
	if o.shared.json {
		v := view.NewJSON(a.Out)
		now := time.Now().UTC()
		for i := range f.Findings {
			v.Tell(provision.Event{V: provision.EventVersion, Time: now, Type: provision.Found, Finding: &f.Findings[i]})
		}
		v.Tell(provision.Event{V: provision.EventVersion, Time: now, Type: provision.Planned, Graph: &g})
		return
	}
	l := a.look(a.Out)
	view.WritePlan(a.Out, l, head, g, f)
	view.WriteDryEnd(a.Out, l, head, g)
}

// runStore is the plan's store; a sandbox's runs are kept in the sandbox's own folder and go with it.
func (a *App) runStore(plan provision.Plan, box *box, o storeOptions) (*keep, error) {
	if box != nil {
		plan.Store = provision.Store{Dir: box.dir + "/state"}
	}
	return a.store(plan, o)
}
