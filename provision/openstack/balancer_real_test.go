//go:build openstack

package openstack_test

import (
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
)

// TestRealBalancing makes the same claims of a real Octavia and Barbican that TestSandboxBalancing makes of the sandbox's.
// FAILOVER_TEST_VIP names the network of its address; without it the test is skipped. What serves behind the address is
// not looked at: rigs have providers without a data plane.
func TestRealBalancing(t *testing.T) {
	name := setting(t, "VIP")
	c, other := cloud(t), cloud(t)
	inv, err := c.Inventory(t.Context(), openstack.Query{Service: "test", Balancers: []provision.Balancer{{Name: "edge"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", inv.Balancing)
	for _, n := range inv.Networks {
		if n.Name == name {
			cert, _ := made(t)
			conformsBalancing(t, c, other, cert, n.ID, 5*time.Minute, func(address string) { t.Log("it is at", address) })
			return
		}
	}
	t.Fatalf("there is no network %s", name)
}
