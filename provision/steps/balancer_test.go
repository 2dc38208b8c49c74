package steps

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
)

// balancedPlan is a plan whose name leads to a load balancer with two servers behind it.
func balancedPlan() (provision.Plan, provision.Facts) {
	plan, facts := onePlan()
	s := &plan.Servers[0]
	s.Count, s.Cloud, s.Certificate = 2, "main", ""
	s.Ready = &provision.Ready{URL: "http://www.example.com:8080/health", Status: 200, Within: time.Minute, Successes: 3}
	s.Open = []provision.OpenRule{{Protocol: "tcp", Port: 8080, PortMax: 8080, From: "balancers"}}
	f := facts.Servers[s.Name]
	f.Balancers = []string{"10.0.0.0/24"}
	facts.Servers[s.Name] = f
	plan.Certificates = []provision.Certificate{{Name: "edge", Names: []string{"www.example.com", "*.shop.example.com"}}, {Name: "api", Names: []string{"*.api.example.com"}, CA: "PEM"}}
	facts.Certificates = map[string]provision.CertificateFacts{"edge": {Fingerprint: "f00d", Source: "secrets.vault", NotAfter: facts.At.AddDate(1, 0, 0)},
		"api": {Fingerprint: "beef", Source: "secrets.vault", NotAfter: facts.At.AddDate(1, 0, 0)}}
	plan.Balancers = []provision.Balancer{{
		Name: "edge", Cloud: "main", Members: []string{s.Name}, MemberPort: 8080, MemberProtocol: "http", Terminate: []string{"edge", "api"}, Listen: 443, RedirectHTTP: true,
		ConnectionLimit: 1000, AllowedCIDRs: []string{"198.51.100.0/24"}, TLSVersions: []string{"1.3"}, Algorithm: "round_robin", Timeout: 5 * time.Minute,
		Health: provision.Health{Path: "/health", Status: 200, Interval: 5 * time.Second, Timeout: 3 * time.Second, Rise: 2, Fall: 3},
		Ready:  &provision.Ready{URL: "https://www.example.com/health", Status: 200, Within: time.Minute, Successes: 3},
	}}
	facts.Balancers = map[string]provision.BalancerFacts{"edge": {Network: provision.Network{ID: "id-inside", Name: "inside"}, MemberSubnets: map[string]string{s.Name: "id-subnet"},
		Floating: &provision.Network{ID: "id-public", Name: "public"}, Rungs: []provision.NamedID{{ID: "id-small", Name: "small"}, {ID: "id-large", Name: "large"}}}}
	plan.Zones = []provision.Zone{{Name: "public", Zone: "example.com", Within: time.Minute, Records: []provision.Record{{Name: "www", Host: "www", Type: "A", TTL: time.Minute, Balancers: []string{"edge"}}}}}
	facts.Records = map[string]provision.RecordFacts{"www.example.com./A": {Old: provision.RRset{Name: "www.example.com.", Type: "A", TTL: 60, Values: []string{"203.0.113.10"}}, NameServers: []string{"ns1.example.com"}}}
	return plan, facts
}

func TestBuildBalancer(t *testing.T) {
	plan, facts := balancedPlan()
	g := build(t, plan, facts)
	golden(t, "balancer", g)
	name := plan.Servers[0].Name
	for _, tt := range []struct{ first, then provision.StepID }{
		{"certificate/edge", "store/edge/edge"},
		{"store/edge/edge", "balancer/edge"},
		{"store/edge/api", "balancer/edge"},
		{"balancer/edge", "address/edge-vip"},
		{provision.StepID("prove/" + name + "-1"), "members/edge"},
		{provision.StepID("prove/" + name + "-2"), "members/edge"},
		{"members/edge", "prove/edge-vip"},
		{"address/edge-vip", "prove/edge-vip"},
		{"prove/edge-vip", "move/www.example.com/A"},
	} {
		if !before(g, tt.first, tt.then) {
			t.Errorf("%s does not come before %s", tt.first, tt.then)
		}
	}
	server := provision.StepID("server/" + name + "-1")
	if before(g, server, "balancer/edge") || before(g, "balancer/edge", server) {
		t.Error("the load balancer and the servers wait for each other")
	}
	rev := Reverse(g, finished(t, g), run)
	if err := rev.Check(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ first, then provision.StepID }{
		{"restore/www.example.com/A", "remove/address-edge-vip"},
		{"remove/address-edge-vip", "remove/balancer-edge"},
		{"remove/balancer-edge", "remove/store-edge-edge"},
		{"remove/balancer-edge", "remove/store-edge-api"},
	} {
		if !before(rev, tt.first, tt.then) {
			t.Errorf("%s does not come before %s", tt.first, tt.then)
		}
	}
}

// What was proven without TLS never stands for the proof that DNS waits for, whatever else the plan allows.
func TestPlainProofMovesNothing(t *testing.T) {
	plan, facts := balancedPlan()
	plan.Zones[0].Records[0].To, plan.Zones[0].Records[0].Balancers, plan.Zones[0].Records[0].Unproven = []string{plan.Servers[0].Name}, nil, true
	for _, s := range build(t, plan, facts).Steps {
		url, _ := s.With["url"].Is.(string)
		if strings.HasPrefix(url, "http://") && s.Kind != MemberProve {
			t.Errorf("%s, a %s, is asked at %s", s.ID, s.Kind, url)
		}
		if s.Kind == ServiceConfirm {
			t.Errorf("%s confirms what nothing proves", s.ID)
		}
	}
}

// The load balancer takes the first servers in, then the rest; the record stays.
func TestBalancerOfAPool(t *testing.T) {
	plan, facts := balancedPlan()
	s := &plan.Servers[0]
	s.Count, s.Need = 3, 2
	f := facts.Servers[s.Name]
	f.Hedge = 1
	facts.Servers[s.Name] = f
	g := build(t, plan, facts)
	for _, tt := range []struct{ first, then provision.StepID }{
		{provision.StepID("enough/" + s.Name), "members/edge"},
		{"confirm/www.example.com/A", provision.StepID("rest/" + s.Name)},
		{provision.StepID("rest/" + s.Name), "members-rest/edge"},
		{"members/edge", "members-rest/edge"},
	} {
		if !before(g, tt.first, tt.then) {
			t.Errorf("%s does not come before %s", tt.first, tt.then)
		}
	}
	if n := len(slices.Collect(func(yield func(provision.StepID) bool) {
		for _, s := range g.Steps {
			if s.Kind == DNSMove && !yield(s.ID) {
				return
			}
		}
	})); n != 1 {
		t.Errorf("%d moves", n)
	}
}

// A renewal brings one of two certificates to the load balancer; the other stays, and both are proven.
func TestRedeliverBalancer(t *testing.T) {
	plan, facts := balancedPlan()
	g := build(t, plan, facts)
	events := finished(t, g)
	all := Terminations(g, events, nil)
	if len(all) != 1 || !slices.Equal(all[0].Certificates, []string{"edge", "api"}) || all[0].Fingerprints["api"] != "beef" || !all[0].Proven(g) {
		t.Fatalf("%+v", all)
	}
	renewal := Renewal{Balancers: all, At: facts.At, Roots: map[string]string{"api": "ROOT"},
		Certificates: map[string]provision.CertificateFacts{"api": {Fingerprint: "0123456789abcdef0123", Algorithm: "ECDSA", Source: "secrets.vault", NotAfter: facts.At.AddDate(1, 0, 0)}}}
	r := Redeliver(g, events, run, renewal)
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	golden(t, "balancer-deliver", r)
	for _, tt := range []struct{ first, then provision.StepID }{{"certificate/api", "store/edge/api"}, {"store/edge/api", "listener/edge"}, {"listener/edge", "prove/edge-vip"}, {"prove/edge-vip", "remove/edge/api"}} {
		if !before(r, tt.first, tt.then) {
			t.Errorf("%s does not come before %s", tt.first, tt.then)
		}
	}
	// The next one begins where that ended, and one that never came to the listener is none.
	later := append([]provision.Event{{Type: provision.RunStarted, Graph: &r}}, finished(t, r)...)
	if got := Terminations(g, events, [][]provision.Event{later})[0]; got.Fingerprints["api"] == "beef" || got.Fingerprints["edge"] != "f00d" {
		t.Errorf("after the renewal: %v", got.Fingerprints)
	}
	half := slices.DeleteFunc(slices.Clone(later), func(e provision.Event) bool { return e.Step == "listener/edge" })
	if got := Terminations(g, events, [][]provision.Event{half})[0]; got.Fingerprints["api"] != "beef" {
		t.Errorf("after half a renewal: %v", got.Fingerprints)
	}
}
