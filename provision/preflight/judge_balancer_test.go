package preflight

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// goodBalancer is good with a load balancer before its servers.
func goodBalancer() (provision.Plan, seen) {
	plan, s := good()
	plan.Servers[0].Networks = []string{"inside"}
	plan.Servers[0].Open = append(plan.Servers[0].Open, provision.OpenRule{Protocol: "tcp", Port: 8080, PortMax: 8080, From: "balancers"})
	plan.Zones[0].Records[0].To, plan.Zones[0].Records[0].Balancers = nil, []string{"edge"}
	plan.Balancers = []provision.Balancer{{Name: "edge", Cloud: "main", Members: []string{"web"}, MemberPort: 8080, Terminate: []string{"edge"}, FloatingIP: "public", RedirectHTTP: true}}
	inv := s.inventories["main"]
	inv.Networks[1].Subnets = []provision.Subnet{{ID: "s2", Name: "inside-4", Version: 4, CIDR: "10.1.0.0/24"}, {ID: "s6", Name: "inside-6", Version: 6, CIDR: "fd00::/64"}}
	inv.Networks = append(inv.Networks, provision.Network{ID: "n3", Name: "edge", Active: true, IPv4: true, Free: -1, Subnets: []provision.Subnet{{ID: "s3", Name: "edge-4", Version: 4, CIDR: "10.3.0.0/24"}}})
	inv.Balancing = &provision.Balancing{Providers: []string{"amphora"}, Flavors: []provision.NamedID{{ID: "f1", Name: "large"}}}
	inv.Containers = []provision.NamedID{}
	inv.Quotas["load_balancers"], inv.Quotas["listeners"], inv.Quotas["pools"] = provision.Quota{Limit: 50}, provision.Quota{Limit: 50}, provision.Quota{Limit: -1}
	s.inventories["main"] = inv
	return plan, s
}

func TestBalancerFacts(t *testing.T) {
	plan, s := goodBalancer()
	f := judge(plan, "ORD", s, at)
	if len(f.Findings) != 0 {
		t.Fatalf("%v", f.Findings)
	}
	got := f.Balancers["edge"]
	if got.Network.Name != "inside" || got.Floating == nil || got.Floating.Name != "public" || len(got.MemberSubnets) != 0 {
		t.Errorf("%+v", got)
	}
	if d := cmp.Diff([]string{"10.1.0.0/24"}, f.Servers["web"].Balancers); d != "" {
		t.Errorf("where it comes from (-want +got):\n%s", d)
	}
	// On another network it has a leg in that of its members, and may come from either.
	plan, s = goodBalancer()
	plan.Balancers[0].Network, plan.Balancers[0].Subnet, plan.Balancers[0].Flavors = "edge", "edge-4", []string{"small", "large"}
	f = judge(plan, "ORD", s, at)
	got = f.Balancers["edge"]
	if got.Network.ID != "n3" || got.Subnet != "s3" || got.MemberSubnets["web"] != "s2" || len(got.Rungs) != 1 || got.Rungs[0].ID != "f1" {
		t.Errorf("%+v", got)
	}
	if d := cmp.Diff([]string{"10.3.0.0/24", "10.1.0.0/24"}, f.Servers["web"].Balancers); d != "" {
		t.Errorf("where it comes from (-want +got):\n%s", d)
	}
	if len(f.Findings) != 1 || line(f.Findings[0]) != `warn load balancer: load_balancer.edge: ORD has no flavor "small" of load balancers` {
		t.Errorf("%v", f.Findings)
	}
}

func TestTerminable(t *testing.T) {
	for want, leaf := range map[string]x509.Certificate{
		"":                          {PublicKeyAlgorithm: x509.ECDSA, Subject: pkix.Name{CommonName: "www.shop.test"}},
		"refuse has an Ed25519 key": {PublicKeyAlgorithm: x509.Ed25519, Subject: pkix.Name{CommonName: "www.shop.test"}},
		"warn has no common name":   {PublicKeyAlgorithm: x509.RSA},
	} {
		var got []string
		for _, f := range Terminable("edge", &secrets.Certificate{Leaf: &leaf}) {
			got = append(got, string(f.Weight)+" "+f.What)
		}
		weight, says, _ := strings.Cut(want, " ")
		if text := strings.Join(got, "; "); want == "" && text != "" || !strings.HasPrefix(text, weight) || !strings.Contains(text, says) {
			t.Errorf("want %q, got %q", want, text)
		}
	}
}

func TestBalancerFindings(t *testing.T) {
	for want, change := range map[string]func(*provision.Plan, *provision.Inventory){
		`refuse load balancer: load_balancer.edge: ORD has no provider "ovn" of load balancers`: func(p *provision.Plan, _ *provision.Inventory) { p.Balancers[0].Provider = "ovn" },
		`refuse load balancer: load_balancer.edge: ORD has no flavor "tiny" of load balancers`:  func(p *provision.Plan, _ *provision.Inventory) { p.Balancers[0].Flavors = []string{"tiny"} },
		`refuse network: load_balancer.edge: ORD has no network "nowhere"`:                      func(p *provision.Plan, _ *provision.Inventory) { p.Balancers[0].Network = "nowhere" },
		`refuse network: load_balancer.edge: network inside has no subnet "x"`:                  func(p *provision.Plan, _ *provision.Inventory) { p.Balancers[0].Subnet = "x" },
		`refuse network: load_balancer.edge: network edge is not external`:                      func(p *provision.Plan, _ *provision.Inventory) { p.Balancers[0].FloatingIP = "edge" },
		`refuse network: load_balancer.edge: its network is not given`:                          func(p *provision.Plan, _ *provision.Inventory) { p.Servers[0].Networks = nil },
		`refuse network: server.web: where its load balancer "edge" comes from is not known`: func(_ *provision.Plan, i *provision.Inventory) {
			i.Networks[1].Subnets = nil
		},
		`refuse network: load_balancer.edge: its members of server "web" are on network inside`: func(p *provision.Plan, i *provision.Inventory) {
			p.Balancers[0].Network, i.Networks[1].Subnets = "edge", nil
		},
		`refuse quota: cloud.main: ORD: the plan needs 1 load balancer, 2 of 2 are used`: func(_ *provision.Plan, i *provision.Inventory) {
			i.Quotas["load_balancers"] = provision.Quota{Limit: 2, Used: 2}
		},
		`refuse quota: cloud.main: ORD: the plan needs 2 listeners of load balancers, 1 of 2 are used`: func(_ *provision.Plan, i *provision.Inventory) {
			i.Quotas["listeners"] = provision.Quota{Limit: 2, Used: 1}
		},
		`refuse operator: load_balancer.edge: allowed_cidrs does not let 198.51.100.7/32 in`: func(p *provision.Plan, _ *provision.Inventory) {
			p.Balancers[0].AllowedCIDRs, p.Balancers[0].Ready = []string{"10.0.0.0/8"}, &provision.Ready{URL: "https://www.shop.test/"}
		},
		`note earlier run: cloud.main: ORD has 1 load balancer of run`: func(_ *provision.Plan, i *provision.Inventory) {
			i.Balancing.Balancers = []provision.Live{{ID: "b", Run: "01JDXR4000000000000000RUN1"}}
		},
	} {
		plan, s := goodBalancer()
		inv := s.inventories["main"]
		change(&plan, &inv)
		s.inventories["main"] = inv
		f := judge(plan, "ORD", s, at)
		if !slices.ContainsFunc(f.Findings, func(x provision.Finding) bool { return strings.HasPrefix(line(x), want) }) {
			t.Errorf("want %q in %v", want, f.Findings)
		}
	}
}
