package steps

import (
	"fmt"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
)

// cloudBalancedPlan is balancedPlan in Rackspace's first cloud, with an AAAA record beside the other.
func cloudBalancedPlan() (provision.Plan, provision.Facts) {
	plan, facts := balancedPlan()
	plan.Clouds = []provision.Cloud{{Name: "main", Rackspace: &provision.Rackspace{}}}
	x := &plan.Balancers[0]
	x.Terminate, x.ConnectionLimit, x.PerIP, x.TLSVersions = []string{"edge"}, 0, 100, []string{"1.2", "1.3"}
	x.AllowedCIDRs = nil
	plan.Servers[0].Open = nil
	facts.Balancers = map[string]provision.BalancerFacts{"edge": {}}
	plan.Zones[0].Records = append(plan.Zones[0].Records, provision.Record{Name: "www6", Host: "www", Type: "AAAA", TTL: time.Minute, Balancers: []string{"edge"}})
	facts.Records["www.example.com./AAAA"] = provision.RecordFacts{NameServers: []string{"ns1.example.com"}}
	return plan, facts
}

func TestBuildCloudBalancer(t *testing.T) {
	plan, facts := cloudBalancedPlan()
	g := build(t, plan, facts)
	golden(t, "cloudbalancer", g)
	name := plan.Servers[0].Name
	server := func(n int) provision.StepID { return provision.StepID(fmt.Sprintf("server/%s-%d", name, n)) }
	for _, tt := range []struct{ first, then provision.StepID }{
		{"balancer/edge", "terminate/edge"}, {"certificate/edge", "terminate/edge"}, {"terminate/edge", "versions/edge"}, {"versions/edge", "redirect/edge"},
		{"redirect/edge", "members/edge"}, {server(1), "members/edge"}, {server(2), "members/edge"},
		{"members/edge", "enable/edge/1"}, {"enable/edge/1", "enable/edge/2"}, // one change at a time
		{provision.StepID("prove/" + name + "-1"), "enable/edge/1"}, {provision.StepID("prove/" + name + "-2"), "enable/edge/1"},
		{"enable/edge/2", "prove/edge-vip"}, {"prove/edge-vip", "move/www.example.com/A"}, {"prove/edge-vip", "move/www.example.com/AAAA"},
	} {
		if !before(g, tt.first, tt.then) {
			t.Errorf("%s does not come before %s", tt.first, tt.then)
		}
	}
	if before(g, server(1), "redirect/edge") || before(g, provision.StepID("prove/"+name+"-1"), "members/edge") {
		t.Error("it is not made ready while the servers boot and prove themselves")
	}
	if proof, _ := g.Step("prove/edge-vip"); len(proof.With["addresses"].Of) != 2 {
		t.Errorf("proven at %v", proof.With["addresses"].Of)
	}
	rev := Reverse(g, finished(t, g), run)
	if err := rev.Check(); err != nil {
		t.Fatal(err)
	}
	if !before(rev, "restore/www.example.com/A", "remove/balancer-edge") {
		t.Error("it is removed before the name is restored")
	}
	if s, _ := rev.Step("remove/balancer-edge"); s.Kind != CloudBalancerDelete {
		t.Errorf("%+v", s)
	}
}

// The first that are proven serve, and the others join them.
func TestCloudBalancerPool(t *testing.T) {
	plan, facts := cloudBalancedPlan()
	s := &plan.Servers[0]
	s.Count, s.Need = 3, 1
	f := facts.Servers[s.Name]
	facts.Servers[s.Name] = f
	g := build(t, plan, facts)
	for _, id := range []provision.StepID{"enable/edge/1", "members-rest/edge", "enable-rest/edge/1", "enable-rest/edge/3"} {
		if _, ok := g.Step(id); !ok {
			t.Errorf("there is no %s", id)
		}
	}
	if _, ok := g.Step("enable/edge/2"); ok {
		t.Error("traffic to more than are proven")
	}
	if !before(g, "enable/edge/1", "members-rest/edge") || !before(g, "confirm/www.example.com/A", "members-rest/edge") {
		t.Error("the rest does not join behind the first")
	}
}
