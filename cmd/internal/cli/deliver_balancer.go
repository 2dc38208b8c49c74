package cli

import (
	"context"
	"slices"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/preflight"
	"github.com/dripstat/failover/provision/steps"
)

// terminated fetches and judges the certificates of load balancers.
func (r *renewal) terminated(ctx context.Context, balancers []steps.Terminated) {
	for _, t := range balancers {
		for _, c := range t.Certificates {
			if !r.o.named(c) {
				continue
			}
			r.certificate(ctx, c, t.Fingerprints[c], "load balancer "+t.Name)
			if got := r.got[c]; got != nil {
				judge := preflight.Terminable
				if r.site.fronts[t.Cloud] != nil {
					judge = preflight.CloudTerminable
				}
				for _, f := range judge(c, got) {
					r.find(f.Weight, "load balancer", "load_balancer."+t.Name, f.Hint, "%s", f.What)
				}
			}
		}
	}
}

// balancers keeps those that are there.
func (r *renewal) balancers(ctx context.Context, balancers []steps.Terminated) {
	for _, t := range balancers {
		cloud := r.site.clouds[t.Cloud]
		if cloud == nil {
			r.find(provision.Refuse, "identity", "cloud."+t.Cloud, "put it back, or give the plan that the run began with: --plan FILE", "the plan has no such block any more")
			return
		}
		inv, err := cloud.Inventory(ctx, openstack.Query{Service: r.past.graph.Service, Balancers: []provision.Balancer{{Name: t.Name}}})
		if err != nil {
			pe := provision.AsError("", err)
			r.find(provision.Refuse, "identity", "cloud."+t.Cloud, pe.Hint, "%v", pe)
			return
		}
		if front := r.site.fronts[t.Cloud]; front != nil {
			front.Inventory(ctx, r.past.graph.Service, []provision.Balancer{{Name: t.Name, Existing: t.Existing}}, &inv)
		}
		r.facts.Checks++
		if inv.Balancing == nil {
			r.find(provision.Refuse, "load balancer", "load_balancer."+t.Name, "", "%s does not tell which load balancers it has", r.facts.Region)
			return
		}
		live := inv.Balancing.Balancers
		if t.Existing != nil {
			for _, s := range inv.Balancing.Standing[t.Name] {
				live = append(live, provision.Live{ID: s.ID, Name: s.Name, Status: s.Status})
			}
		}
		i := slices.IndexFunc(live, func(l provision.Live) bool { return l.Name == t.Balancer })
		switch {
		case i < 0:
			r.find(provision.Warn, "load balancer", t.Name, "", "is gone from %s: nothing is delivered to it", r.facts.Region)
			continue
		case live[i].Status == "ERROR":
			r.find(provision.Warn, "load balancer", t.Name, "have the provider mend it, and deliver again", "is in ERROR: nothing is delivered to it")
			continue
		}
		if !t.Proven(r.past.graph) {
			r.find(provision.Warn, "load balancer", t.Name, "", "has no ready block: nothing proves that it serves what is delivered")
		}
		r.plan.Balancers = append(r.plan.Balancers, t)
	}
}
