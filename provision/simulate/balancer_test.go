package simulate

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
)

// balanced says whether the name leads to a load balancer. Its dice are its own, and what was found before it came
// keeps its story.
func (w *world) balanced() bool { return len(w.plan.Balancers) > 0 }

// balance puts the servers of some plans behind a load balancer.
func (w *world) balance() {
	d := w.dice("balancer")
	if w.foundBefore(rackspaceToo, flexToo, standsToo, followsToo) || d.IntN(6) > 0 {
		return
	}
	s := &w.plan.Servers[0]
	s.Certificate = ""
	w.plan.Certificates = []provision.Certificate{{Name: "edge", Names: []string{"www." + zone}}}
	s.Open = []provision.OpenRule{{Protocol: "tcp", Port: 8080, PortMax: 8080, From: "any"}}
	b := provision.Balancer{Name: "edge", Cloud: "main", Members: []string{"web"}, MemberPort: 8080, MemberProtocol: "http", Terminate: []string{"edge"}, Listen: 443,
		RedirectHTTP: true, Algorithm: "round_robin", FloatingIP: s.FloatingIP, Timeout: 90 * time.Second,
		Health: provision.Health{Path: "/health", Status: 200, Interval: 5 * time.Second, Timeout: 3 * time.Second, Rise: 1, Fall: 3}}
	if s.Ready != nil {
		ready := *s.Ready
		b.Ready, s.Ready = &ready, &provision.Ready{URL: "http://www." + zone + ":8080/health", Status: 200, Within: ready.Within, Successes: 1}
	}
	w.plan.Balancers = []provision.Balancer{b}
	for i := range w.plan.Zones[0].Records {
		r := &w.plan.Zones[0].Records[i]
		r.To, r.Balancers = nil, []string{"edge"}
	}
}

// balancerTrouble is what octavia and barbican do wrong.
func (w *world) balancerTrouble() []sandbox.Fault {
	if !w.balanced() {
		return nil
	}
	d := w.dice("balancer trouble")
	var out []sandbox.Fault
	for _, f := range []sandbox.Fault{{Name: "balancer-error", Arg: "1"}, {Name: "balancer-slow", Arg: "40s"}, {Name: "balancer-slow", Arg: "4m"}, {Name: "balancer-busy", Arg: "3"},
		{Name: "balancer-reply-lost", Arg: "1"}, {Name: "store-reply-lost", Arg: "1"}, {Name: "part-error", Arg: "1"}, {Name: "part-reply-lost", Arg: "2"}} {
		if d.IntN(100) < 12 {
			out = append(out, f)
		}
	}
	return out
}

// balancerPart gives what a request to octavia is about: the noun of its step's kind.
func balancerPart(path string) provision.Kind {
	_, rest, _ := strings.Cut(path, "/lbaas/")
	parts := strings.Split(rest, "/")
	switch {
	case parts[0] == "pools" && len(parts) < 3:
		return "pool"
	case parts[0] == "healthmonitors":
		return "healthmonitor"
	case parts[0] == "listeners":
		return "listener"
	case parts[0] == "l7policies" && len(parts) < 3:
		return "l7policy"
	case parts[0] == "l7policies":
		return "l7rule"
	}
	return "balancer"
}

// balancerParts is what a whole load balancer of the plan has in it.
var balancerParts = []string{"healthmonitor", "l7policy", "l7rule www." + zone, "listener 443", "listener 80", "pool"}

// cloudBalancerParts is the same at Rackspace, where parts are settings of the one thing.
var cloudBalancerParts = []string{"healthmonitor", "listener 443", "listener 80", "pool"}

// balancerFacts are what preflight would know.
func (w *world) balancerFacts(ctx context.Context, inv provision.Inventory) error {
	w.facts.Balancers = map[string]provision.BalancerFacts{}
	for _, b := range w.plan.Balancers {
		f := provision.BalancerFacts{Network: w.facts.Servers["web"].Networks[0]}
		for _, n := range inv.Networks {
			if b.FloatingIP != "" && n.Name == w.external() {
				f.Floating = &n
			}
		}
		if err := w.surveyStanding(ctx, &f); err != nil {
			return err
		}
		w.facts.Balancers[b.Name] = f
	}
	return nil
}

// balancerAt finds the load balancer that an address leads to.
func balancerAt(snap sandbox.Snapshot, address string) (sandbox.BalancerState, bool) {
	for _, b := range snap.Balancers {
		if b.Address == address || slices.ContainsFunc(snap.FloatingIPs, func(f sandbox.FloatingIPState) bool { return f.Address == address && f.Port == b.Port }) {
			return b, true
		}
	}
	return sandbox.BalancerState{}, false
}

// behind gives the slots of the servers that are members of a load balancer and up.
func behind(snap sandbox.Snapshot, b sandbox.BalancerState) map[string]bool {
	slots := map[string]bool{}
	for _, m := range b.Members {
		if slices.Contains(b.Idle, m) {
			continue
		}
		if s, ok := serverAt(snap, strings.TrimSuffix(m, ":8080")); ok && s.Status == "ACTIVE" {
			slots[s.Metadata[provision.TagSlot]] = true
		}
	}
	return slots
}

// checkBalanced: the values of a record are the address of a load balancer with enough members.
func (w *world) checkBalanced(snap sandbox.Snapshot, where, name string, values []string) {
	if len(values) != 1 {
		w.wrong("%s holds %d values for %s, where one load balancer is", where, len(values), name)
		return
	}
	b, ok := balancerAt(snap, values[0])
	if !ok || b.Status != "ACTIVE" && b.Status != "PENDING_UPDATE" {
		w.wrong("%s holds %s for %s, where no load balancer of ours is", where, addressText(values[0]), name)
		return
	}
	want := balancerParts
	if w.legacy() {
		want = cloudBalancerParts
	}
	if w.stands() {
		want = standingParts
	}
	if !slices.Equal(b.Parts, want) {
		w.wrong("%s leads to a load balancer with %v for %s", where, b.Parts, name)
	}
	if n, s := len(behind(snap, b)), w.plan.Servers[0]; n < s.Enough() || n > s.Count {
		w.wrong("%s leads to a load balancer with %d members for %s", where, n, name)
	}
}

// balancerAnswers is what the proof without cryptography asks.
func (w *world) balancerAnswers(snap sandbox.Snapshot, address string) bool {
	b, ok := balancerAt(snap, address)
	return ok && (b.Status == "ACTIVE" || b.Status == "PENDING_UPDATE") && len(behind(snap, b)) > 0
}

// checkBalancers: whatever there is of load balancers and certificates is what the journal leads to.
func (w *world) checkBalancers(snap sandbox.Snapshot, led map[string]bool) {
	if b, ok := w.checkStanding(snap, "led to"); ok && w.joined(snap, b) && !led["cloudbalancer.detach <nil>"] {
		w.wrong("a member is in the load balancer that was there before, which the journal does not lead to")
	}
	for _, b := range made(snap) {
		if b.Status != "PENDING_DELETE" && !led["balancer.delete edge-vip"] && !led["cloudbalancer.delete edge-vip"] {
			w.wrong("a load balancer is there that the journal does not lead to")
		}
	}
	if len(snap.KeyManager) > 0 && !led["certificate.remove edge-vip"] {
		w.wrong("a certificate is in the key manager that the journal does not lead to")
	}
}
