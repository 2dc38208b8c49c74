package preflight

import (
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

// goodExisting is goodBalancer in Rackspace's first cloud, with a load balancer that is there.
func goodExisting() (provision.Plan, seen) {
	plan, s := goodBalancer()
	plan.Clouds[0] = provision.Cloud{Name: "main", Rackspace: &provision.Rackspace{}}
	x := &plan.Balancers[0]
	x.FloatingIP, x.RedirectHTTP, x.Listen = "", false, 443
	x.Existing = &provision.Existing{Member: "10.181.4.7"}
	inv := s.inventories["main"]
	inv.Balancing.Members = 25
	inv.Balancing.Standing = map[string][]provision.Standing{"edge": {{ID: "71", Name: "shop-edge", Status: "ACTIVE", Protocol: "HTTP", IPv4: "203.0.113.9", IPv6: "2001:db8::9", Plain: true,
		Members: []provision.StandingMember{{ID: "1", Address: "10.181.4.7", Port: 8080, Condition: "ENABLED"}}}}}
	s.inventories["main"] = inv
	return plan, s
}

func TestExisting(t *testing.T) {
	for want, change := range map[string]func(*provision.Plan, *provision.Inventory, *provision.Standing){
		"": func(*provision.Plan, *provision.Inventory, *provision.Standing) {},
		`refuse ORD has no load balancer with a member at 10.181.4.7`: func(_ *provision.Plan, i *provision.Inventory, _ *provision.Standing) {
			i.Balancing.Standing["edge"] = nil
		},
		`refuse ORD has 2 load balancers with a member at 10.181.4.7: other (72), shop-edge (71)`: func(_ *provision.Plan, i *provision.Inventory, s *provision.Standing) {
			i.Balancing.Standing["edge"] = append(i.Balancing.Standing["edge"], provision.Standing{ID: "72", Name: "other"})
		},
		`refuse load balancer shop-edge (71) is in SUSPENDED`:                              func(_ *provision.Plan, _ *provision.Inventory, s *provision.Standing) { s.Status = "SUSPENDED" },
		`refuse TLS cannot end on load balancer shop-edge (71): its protocol is HTTPS`:     func(_ *provision.Plan, _ *provision.Inventory, s *provision.Standing) { s.Protocol = "HTTPS" },
		`refuse load balancer shop-edge (71) ends TLS on port 8443, and the plan says 443`: func(_ *provision.Plan, _ *provision.Inventory, s *provision.Standing) { s.TLSPort = 8443 },
		`refuse load balancer shop-edge (71) has no public IPv4 address`:                   func(_ *provision.Plan, _ *provision.Inventory, s *provision.Standing) { s.IPv4 = "" },
		`refuse load balancer shop-edge (71) has no IPv6 address, and an AAAA record points to it`: func(p *provision.Plan, _ *provision.Inventory, s *provision.Standing) {
			s.IPv6, p.Zones[0].Records[0].Type = "", "AAAA"
		},
		`refuse load balancer shop-edge (71) has no member at 10.181.4.8`: func(p *provision.Plan, _ *provision.Inventory, _ *provision.Standing) {
			p.Balancers[0].Existing = &provision.Existing{Name: "shop-edge", Member: "10.181.4.8"}
		},
		`warn load balancer shop-edge (71) is of run`: func(_ *provision.Plan, i *provision.Inventory, _ *provision.Standing) {
			i.Balancing.Balancers = []provision.Live{{ID: "71", Name: "failover-shop-01arz3ndektsv4rrffq69g5fav-edge-vip", Run: "01ARZ3NDEKTSV4RRFFQ69G5FAV"}}
		},
		`warn load balancer shop-edge (71) ends TLS with a certificate that is not certificate "edge"`: func(_ *provision.Plan, _ *provision.Inventory, s *provision.Standing) {
			s.TLSPort, s.Fingerprint = 443, strings.Repeat("0", 64)
		},
		`note load balancer shop-edge (71) has 1 member that stays as it is`: func(_ *provision.Plan, _ *provision.Inventory, s *provision.Standing) {
			s.Members = append(s.Members, provision.StandingMember{ID: "2", Address: "10.181.4.9", Port: 8080, Condition: "ENABLED"})
		},
		`refuse it would have 27 members, and in this account a load balancer has 25 at most`: func(p *provision.Plan, _ *provision.Inventory, s *provision.Standing) {
			for range 26 - p.Servers[0].Count {
				s.Members = append(s.Members, s.Members[0])
			}
		},
	} {
		plan, s := goodExisting()
		inv := s.inventories["main"]
		change(&plan, &inv, &inv.Balancing.Standing["edge"][0])
		s.inventories["main"] = inv
		f := judge(plan, "ORD", s, at)
		var got []string
		for _, x := range f.Findings {
			if x.Check == "load balancer" && (x.Thing == "load_balancer.edge") && !strings.Contains(x.What, "RSA") {
				got = append(got, string(x.Weight)+" "+x.What)
			}
		}
		if text := strings.Join(got, "; "); want == "" && text != "" || !strings.Contains(text, want) {
			t.Errorf("want %q, got %q", want, text)
		}
		if want == "" && (f.Balancers["edge"].Standing == nil || f.Balancers["edge"].Standing.ID != "71") {
			t.Errorf("%+v", f.Balancers["edge"])
		}
	}
}

// The certificate that it ends TLS with already is no news.
func TestExistingHasTheCertificate(t *testing.T) {
	plan, s := goodExisting()
	x := &s.inventories["main"].Balancing.Standing["edge"][0]
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.IssueRSA("www.shop.test")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := secrets.ParseCertificate(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	plan.Certificates = []provision.Certificate{{Name: "edge", Names: []string{"www.shop.test"}, CA: string(ca.PEM())}}
	s.certificates["edge"] = secrets.Got{Tried: secrets.Tried{Ref: secrets.Ref{Store: "sealed"}, Certificate: cert}}
	x.TLSPort, x.Fingerprint = 443, cert.Fingerprint()
	for _, f := range judge(plan, "ORD", s, at).Findings {
		if strings.Contains(f.What, "ends TLS") {
			t.Errorf("%v", f)
		}
	}
}
