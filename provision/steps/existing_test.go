package steps

import (
	"slices"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
)

// standingPlan is cloudBalancedPlan with a load balancer that is there, in which the servers take the place of one member of two.
func standingPlan() (provision.Plan, provision.Facts) {
	plan, facts := cloudBalancedPlan()
	x := &plan.Balancers[0]
	x.Existing = &provision.Existing{Member: "10.181.4.7"}
	x.RedirectHTTP, x.PerIP, x.TLSVersions = false, 0, nil
	facts.Balancers["edge"] = provision.BalancerFacts{Standing: &provision.Standing{ID: "71004", Name: "shop-edge", Status: "ACTIVE", Protocol: "HTTP", IPv4: "203.0.113.9", Plain: true,
		Members: []provision.StandingMember{{ID: "185", Address: "10.181.4.7", Port: 8080, Condition: "DRAINING"}, {ID: "186", Address: "10.181.4.8", Port: 8080, Condition: "ENABLED"}}}}
	return plan, facts
}

func TestBuildExistingBalancer(t *testing.T) {
	plan, facts := standingPlan()
	g := build(t, plan, facts)
	golden(t, "existing", g)
	name := plan.Servers[0].Name
	server := provision.StepID("server/" + name + "-1")
	for _, tt := range []struct{ first, then provision.StepID }{
		{"balancer/edge", "terminate/edge"}, {"terminate/edge", "members/edge"}, {server, "members/edge"}, {"members/edge", "enable/edge/1"},
		{"enable/edge/2", "disable/edge"}, // those that are proven get traffic before the other loses it
		{"disable/edge", "prove/edge-vip"}, {"prove/edge-vip", "move/www.example.com/A"},
	} {
		if !before(g, tt.first, tt.then) {
			t.Errorf("%s does not come before %s", tt.first, tt.then)
		}
	}
	for _, s := range g.Steps {
		if s.Kind == CloudBalancerCreate || s.Kind == CloudBalancerRedirect || s.Kind == CloudBalancerVersions {
			t.Errorf("%s changes what is to stay as it is", s.ID)
		}
		if s.Kind == CloudBalancerDisable && len(s.With["nodes"].Is.([]any)) != 1 {
			t.Errorf("%v", s.With["nodes"])
		}
	}

	rev := Reverse(g, finished(t, g), run)
	if err := rev.Check(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ first, then provision.StepID }{
		{"restore/www.example.com/A", "remove/disable-edge"}, {"remove/disable-edge", "remove/members-edge"}, {"remove/members-edge", "remove/terminate-edge"},
		{"remove/members-edge", provision.StepID("remove/server-" + name + "-1")},
	} {
		if !before(rev, tt.first, tt.then) {
			t.Errorf("undoing: %s does not come before %s", tt.first, tt.then)
		}
	}
	for _, s := range rev.Steps {
		if s.Kind == CloudBalancerDelete {
			t.Errorf("%s deletes what was there before the run", s.ID)
		}
		if h := s.With["hold"].Is; h != nil && s.Kind != DNSRestore {
			t.Errorf("%s waits %v s for what was answered", s.ID, h)
		}
	}
}

// Where nobody knows whether a change was made, it is looked for; where TLS ended already, its certificate is not taken out.
func TestReverseExistingBalancer(t *testing.T) {
	plan, facts := standingPlan()
	facts.Balancers["edge"].Standing.TLSPort = 443
	g := build(t, plan, facts)
	events := slices.DeleteFunc(finished(t, g), func(e provision.Event) bool { return e.Step == "members/edge" && e.Type == provision.StepDone })
	rev := Reverse(g, events, run)
	if s, ok := rev.Step("remove/members-edge"); !ok || s.With["hold"].Is != int(unanswered/time.Second) || len(provision.Values{"m": s.With["members"].Is}.List("m")) != 2 {
		t.Errorf("%+v", s)
	}
	if s, ok := rev.Step("remove/terminate-edge"); ok {
		t.Errorf("%+v", s)
	}
}

// Of a run whose journal was lost any server may be a member; the load balancer itself is known.
func TestRemainsOfAnExistingBalancer(t *testing.T) {
	plan, facts := standingPlan()
	name := plan.Servers[0].Name
	found := Found{Run: run, Servers: map[string][]provision.Live{"main": {{ID: "s1", Slot: name + "-1", Run: run, Addresses: []string{"127.0.0.5", "10.1.4.2"}}}}}
	g, events := Remains(build(t, plan, facts), found, time.Time{})
	rev := ReverseAdopted(g, events, run)
	s, _ := rev.Step("remove/members-edge")
	if also := (provision.Values{"a": s.With["also"].Is}).List("a"); !slices.Equal(also, []string{"127.0.0.5", "10.1.4.2"}) || s.With["balancer"].Is != "71004" || s.With["hold"].Is == nil {
		t.Errorf("%+v", s.With)
	}
}

// Where the rest joins those that serve, all of them are taken out.
func TestExistingBalancerPool(t *testing.T) {
	plan, facts := standingPlan()
	s := &plan.Servers[0]
	s.Count, s.Need = 3, 1
	g := build(t, plan, facts)
	rev := Reverse(g, finished(t, g), run)
	for _, id := range []provision.StepID{"remove/members-edge", "remove/members-rest-edge"} {
		if !before(rev, id, "remove/terminate-edge") {
			t.Errorf("%s does not come before the certificate goes", id)
		}
		for n := range 3 {
			if server := provision.StepID("remove/server-" + s.Slots()[n]); !before(rev, id, server) {
				t.Errorf("%s does not come before %s", id, server)
			}
		}
	}
}

// What renewals have put in the place of the run's certificate is taken out as well; of the last it is not known whether it was done.
func TestReverseRenewedExistingBalancer(t *testing.T) {
	plan, facts := standingPlan()
	g := build(t, plan, facts)
	events := finished(t, g)
	sent, _ := g.Step("terminate/edge")
	renewal := func(fingerprint string, types ...provision.EventType) []provision.Event {
		with := map[string]provision.Arg{"cloud": provision.Lit("main"), "balancer": provision.Lit("71004"), "certificate": provision.Lit("edge"), "port": provision.Lit(443), "fingerprint": provision.Lit(fingerprint)}
		out := []provision.Event{{Type: provision.RunStarted, Graph: &provision.Graph{Purpose: "deliver", Of: run, Steps: []provision.Step{{ID: sent.ID, Kind: sent.Kind, With: with}}}}}
		for _, typ := range types {
			out = append(out, provision.Event{Type: typ, Step: sent.ID, Kind: sent.Kind, Attempt: 1})
		}
		return out
	}
	rev := WithRenewals(Reverse(g, events, run), [][]provision.Event{renewal("one", provision.StepIntent, provision.StepDone), renewal("never"), renewal("two", provision.StepIntent)})
	s, _ := rev.Step("remove/terminate-edge")
	if also := (provision.Values{"a": s.With["also"].Is}).List("a"); !slices.Equal(also, []string{"one", "two"}) || s.With["hold"].Is == nil {
		t.Errorf("%+v", s.With)
	}
}
