package simulate

import (
	"context"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/rackspace/balancer"
	"github.com/dripstat/failover/provision/sandbox"
)

// standsToo marks what was found since servers may join a load balancer that is there.
const standsToo = "into one that stands: "

// A load balancer that was there before the run, at Rackspace's first cloud: one member that is dead, and one that is somebody's.
const (
	standing   = "dripstat-edge"
	deadMember = "10.181.4.7:8080"
	other      = "10.181.4.8:8080"
)

// stands says whether the servers join one that is there.
func (w *world) stands() bool { return w.balanced() && w.plan.Balancers[0].Existing != nil }

// stand lets some plans use it instead of making one.
func (w *world) stand() {
	d := w.dice("standing")
	if w.foundBefore(standsToo, followsToo) || !w.legacy() || !w.balanced() || d.IntN(3) > 0 {
		return
	}
	w.seen.Standing++
	b := &w.plan.Balancers[0]
	b.RedirectHTTP = false
	b.Existing = &provision.Existing{Member: "10.181.4.7"}
	if d.IntN(3) == 0 { // nobody's place is taken
		b.Existing = &provision.Existing{Name: standing}
	}
}

// there is what the region has from the start.
func (w *world) there() []sandbox.Standing {
	if !w.stands() {
		return nil
	}
	return []sandbox.Standing{{Region: region, Name: standing, Members: []string{deadMember, other}}}
}

// surveyStanding reads it as preflight does.
func (w *world) surveyStanding(ctx context.Context, f *provision.BalancerFacts) error {
	if !w.stands() {
		return nil
	}
	c, err := w.connect(w.options(w.box.RoundTripper()))
	if err != nil {
		return err
	}
	if err := c.Connect(ctx); err != nil {
		return err
	}
	var inv provision.Inventory
	balancer.New(c.CloudLoadBalancers).Inventory(ctx, service, w.plan.Balancers, &inv)
	f.Standing = inv.Balancing.Stands("edge")
	return nil
}

// standingParts is what it has in it once it ends TLS; it has no health monitor, and answers plain HTTP.
var standingParts = []string{"listener 443", "listener 80", "pool"}

// checkStanding: it is there, with those members that it had, and nobody's traffic was stopped but that of the member whose place is taken.
func (w *world) checkStanding(snap sandbox.Snapshot, when string) (sandbox.BalancerState, bool) {
	if !w.stands() {
		return sandbox.BalancerState{}, false
	}
	i := slices.IndexFunc(snap.Balancers, func(b sandbox.BalancerState) bool { return b.Name == standing })
	if i < 0 || snap.Balancers[i].Status == "PENDING_DELETE" {
		w.wrong("%s: the load balancer that was there before the run is gone", when)
		return sandbox.BalancerState{}, false
	}
	b := snap.Balancers[i]
	for _, m := range []string{deadMember, other} {
		if !slices.Contains(b.Members, m) {
			w.wrong("%s: the load balancer that was there before has lost a member", when)
		}
	}
	if slices.Contains(b.Idle, other) || slices.Contains(b.Idle, deadMember) && w.plan.Balancers[0].Existing.Member == "" {
		w.wrong("%s: somebody's traffic was stopped", when)
	}
	return b, true
}

// joined says whether a server of the run is a member.
func (w *world) joined(snap sandbox.Snapshot, b sandbox.BalancerState) bool {
	return slices.ContainsFunc(b.Members, func(m string) bool {
		s, ok := serverAt(snap, strings.TrimSuffix(m, ":8080"))
		return ok && s.Metadata[provision.TagRun] == string(w.run)
	})
}

// checkLeft: it is as it was before the run.
func (w *world) checkLeft(snap sandbox.Snapshot) {
	b, ok := w.checkStanding(snap, "abandoned")
	if !ok {
		return
	}
	if len(b.Members) != 2 || len(b.Idle) > 0 || !slices.Equal(b.Parts, []string{"listener 80", "pool"}) {
		w.wrong("abandoned, but the load balancer that was there before has %d members, %d without traffic, and %v", len(b.Members), len(b.Idle), b.Parts)
	}
}

// made gives the load balancers that the run has made.
func made(snap sandbox.Snapshot) []sandbox.BalancerState {
	return slices.DeleteFunc(slices.Clone(snap.Balancers), func(b sandbox.BalancerState) bool { return b.Name == standing })
}
