package planfile

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
)

const balancerPlan = `
service = "shop"
home    = "IAD"
regions = ["ORD", "DFW"]
cloud "main" {
  openstack {}
}
secrets "sealed" {
  age {
    file = "secrets.age"
  }
}
certificate "edge" {
  from  = secrets.sealed
  path  = "edge"
  names = ["www.example.com"]
}
server "web" {
  cloud  = cloud.main
  image  = "debian-12"
  flavor = "m1.large"
  ready {
    http   = "http://www.example.com:8080/health"
    status = 204
  }
  region "DFW" {
    ready {
      http = "http://www.example.com:9090/health"
    }
  }
}
server "own" {
  cloud           = cloud.main
  image           = "debian-12"
  flavor          = "m1.large"
  security_groups = ["inside"]
}
load_balancer "edge" {
  cloud         = cloud.main
  members       = [server.web, server.own]
  terminate     = certificate.edge
  allowed_cidrs = ["198.51.100.7", "10.0.0.0/8"]
  flavor        = "large"
  health {
    rise = 1
  }
  ready {
    https = "https://www.example.com/health"
  }
  region "DFW" {
    redirect_http = false
    health {
      fall = 5
    }
  }
}
step "warm" {
  run    = ["./warm", load_balancer.edge.addresses]
  after  = load_balancer.edge
  before = dns.public
}
dns "public" {
  zone = "example.com"
  designate {
    cloud = cloud.main
  }
  record "www" {
    type = "A"
    to   = load_balancer.edge
  }
}
`

// What a plan does not say of a load balancer is taken from what it says of the members; a region lays its own over it.
func TestBalancer(t *testing.T) {
	p, err := Parse(map[string][]byte{"failover.hcl": []byte(balancerPlan)}, ".", Options{Env: os.LookupEnv})
	if err != nil {
		t.Fatal(err)
	}
	ready := &provision.Ready{URL: "https://www.example.com/health", Status: 200, Within: 5 * time.Minute, Successes: 3}
	want := provision.Balancer{Name: "edge", Cloud: "main", Members: []string{"web", "own"}, MemberPort: 8080, MemberProtocol: "http", Terminate: []string{"edge"}, Listen: 443,
		RedirectHTTP: true, AllowedCIDRs: []string{"198.51.100.7/32", "10.0.0.0/8"}, Algorithm: "round_robin", Flavors: []string{"large"}, Timeout: 5 * time.Minute, Ready: ready,
		Health: provision.Health{Path: "/health", Status: 204, Interval: 5 * time.Second, Timeout: 3 * time.Second, Rise: 1, Fall: 3}}
	got := p.For("ORD").Balancers[0]
	got.Pos = provision.Pos{}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("in ORD (-want +got):\n%s", d)
	}
	want.MemberPort, want.RedirectHTTP, want.Health.Fall = 9090, false, 5
	got = p.For("DFW").Balancers[0]
	got.Pos = provision.Pos{}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("in DFW (-want +got):\n%s", d)
	}
	in := func(port int, from string) provision.OpenRule {
		return provision.OpenRule{Protocol: "tcp", Port: port, PortMax: port, From: from}
	}
	for region, rules := range map[string][]provision.OpenRule{"ORD": {in(8080, "me"), in(8080, "balancers")}, "DFW": {in(9090, "me"), in(9090, "balancers")}} {
		web, _ := p.For(region).Server("web")
		if d := cmp.Diff(rules, web.Open); d != "" {
			t.Errorf("who comes in in %s (-want +got):\n%s", region, d)
		}
	}
	if own, _ := p.Server("own"); own.Open != nil {
		t.Errorf("a server with groups of its own gets %v", own.Open)
	}
	if r := p.Zones[0].Records[0]; len(r.To) != 0 || cmp.Diff([]string{"edge"}, r.Balancers) != "" {
		t.Errorf("%+v", r)
	}
	if h := p.Hooks[0]; h.Run[1].AddressesOf != "load_balancer.edge" || h.After[0] != "load_balancer.edge" {
		t.Errorf("%+v", h)
	}
}
