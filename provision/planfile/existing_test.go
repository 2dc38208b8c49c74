package planfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
)

// One region has a load balancer that is used; what the plan says of settings is for the others, where a new one is made.
func TestExisting(t *testing.T) {
	src := strings.NewReplacer("openstack {}", "rackspace {}", "designate {", "clouddns {", `type = "A"`, "type = \"A\"\n ttl = 300", `flavor        = "large"`, "", "rise = 1", "fall = 2", "security_groups = [\"inside\"]", "",
		`  terminate     = certificate.edge`, "  terminate     = certificate.edge\n  algorithm = \"least_connections\"\n  region \"ORD\" {\n    existing = WHICH\n  }").Replace(balancerPlan)
	for which, want := range map[string]provision.Existing{
		`"shop-edge"`:                          {Name: "shop-edge"},
		`{ name = "shop-edge" }`:               {Name: "shop-edge"},
		`{ name = 71, member = "10.181.4.7" }`: {Name: "71", Member: "10.181.4.7"},
		`{ member = "2001:db8::7" }`:           {Member: "2001:db8::7"},
	} {
		p, err := Parse(map[string][]byte{"failover.hcl": []byte(strings.ReplaceAll(src, "WHICH", which))}, ".", Options{})
		if err != nil {
			t.Fatalf("%s: %v", which, err)
		}
		there, made := p.For("ORD").Balancers[0], p.For("DFW").Balancers[0]
		if d := cmp.Diff(&want, there.Existing); d != "" {
			t.Errorf("%s (-want +got):\n%s", which, d)
		}
		if there.RedirectHTTP || len(there.AllowedCIDRs) > 0 {
			t.Errorf("%s: %+v", which, there)
		}
		if made.Existing != nil || made.Health.Fall != 5 || len(made.AllowedCIDRs) != 2 || made.Algorithm != "least_connections" {
			t.Errorf("%s: elsewhere %+v", which, made)
		}
	}
}
