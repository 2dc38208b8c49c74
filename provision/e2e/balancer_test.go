//go:build openstack

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
)

// TLS ends on a load balancer of a real Octavia, with the certificate in a real Barbican: all of it is made, killed in the
// middle, gone on with, and removed. There is nothing behind the rig's load balancers, so that neither they nor their
// members are proven there; the sandbox's are. Where octavia leaves a load balancer half made, which the rig's does, the run must
// say so, and nothing may be left of it.
func TestLoadBalancer(t *testing.T) {
	cloud(t)
	lb, keys := balancing(t)
	a, parts := admin(t), remains(t, lb, keys)
	d := sit(t, plan{count: 2})
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.Issue(d.record)
	if err != nil {
		t.Fatal(err)
	}
	d.write("chain.pem", string(chain))
	d.write("key.pem", string(key))
	d.write("ca.pem", string(ca.PEM()))
	text, err := os.ReadFile(filepath.Join(d.dir, "failover.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	d.write("failover.hcl", strings.Replace(string(text), "to       = server.box\n", "to       = load_balancer.edge\n", 1)+fmt.Sprintf(`
secrets "disk" {
  file {
    chain = "chain.pem"
    key   = "key.pem"
  }
}

certificate "edge" {
  from  = secrets.disk
  names = [%q]
  ca    = file("ca.pem")
}

load_balancer "edge" {
  cloud       = cloud.main
  members     = server.box
  member_port = 8080
  terminate   = certificate.edge
}
`, d.record))
	login(t, here.cloud).record(d.record, 30, oldAddress)
	before := a.world()

	p := d.start("--region", here.region, "--yes")
	p.until(provision.StepSent, "balancer.create", 1)
	p.kill()
	r := d.start("resume").wait()
	run := d.runID()
	if r.code == 1 && strings.Contains(r.out+r.errs, "left its pool in PENDING_CREATE") {
		t.Log("this octavia makes a load balancer without its parts (docs/load-balancer.md); members are not tried")
		served(t, d.record, oldAddress)
		d.done("abandon", "--yes")
		if left := remains(t, lb, keys); !slices.Equal(left, parts) {
			t.Errorf("left of load balancers and certificates: %v, before: %v", left, parts)
		}
		a.unchanged(before)
		return
	}
	if r.code != 0 {
		t.Fatalf("resume: exit %d\n%s\n%s", r.code, r.out, r.errs)
	}
	a.oneEach(run, "box-1", "box-2")
	made := remains(t, lb, keys)
	if n := len(made) - len(parts); n != 5 { // one load balancer, a container, three secrets
		t.Errorf("%d things are there more than before: %v", n, made)
	}
	var members []string
	for _, e := range d.events() {
		if e.Type == provision.StepDone && e.Kind == "balancer.join" {
			members = e.Out.List("members")
		}
	}
	if want := d.addresses(); len(members) != 2 || !slices.Equal(slices.Sorted(slices.Values(members)), slices.Sorted(slices.Values(want))) {
		t.Errorf("members %v, servers %v", members, want)
	}
	d.times()
	d.done("abandon", "--yes")
	if left := remains(t, lb, keys); !slices.Equal(left, parts) {
		t.Errorf("left of load balancers and certificates: %v, before: %v", left, parts)
	}
	a.unchanged(before)
}

// balancing gives clients for octavia and barbican, or skips where the cloud has none.
func balancing(t *testing.T) (lb, keys client) {
	t.Helper()
	c := login(t, here.cloud)
	at := gophercloud.EndpointOpts{Region: here.region}
	one, err := openstack.NewLoadBalancerV2(c.compute.ProviderClient, at)
	if err != nil {
		t.Skip("this cloud has no load balancers: ", err)
	}
	two, err := openstack.NewKeyManagerV1(c.compute.ProviderClient, at)
	if err != nil {
		t.Skip("this cloud has no key manager: ", err)
	}
	lb, keys = c, c
	lb.compute, keys.compute = one, two
	return lb, keys
}

// remains lists load balancers, containers and secrets of the project, one a line.
func remains(t *testing.T, lb, keys client) []string {
	t.Helper()
	lb.T, keys.T = t, t
	var out []string
	for _, b := range lb.must(lb.compute, "GET", "lbaas/loadbalancers", nil).list("loadbalancers") {
		out = append(out, "load balancer "+b.text("name"))
	}
	for _, kind := range []string{"containers", "secrets"} {
		for _, x := range keys.must(keys.compute, "GET", kind+"?limit=100", nil).list(kind) {
			out = append(out, kind+" "+x.text("name"))
		}
	}
	slices.Sort(out)
	return out
}
