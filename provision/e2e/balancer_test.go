//go:build openstack

package e2e

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
)

// TLS ends on a load balancer of a real Octavia, with the certificate in a real Barbican: all of it is made, killed in the
// middle, gone on with, its servers join it, and it is removed. There is nothing behind the rig's load balancers, so that neither they
// nor their members are proven there; the sandbox's are.
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
	d.balanced("secrets.disk", `secrets "disk" {
  file {
    chain = "chain.pem"
    key   = "key.pem"
  }
}
`)
	login(t, here.cloud).record(d.record, 30, oldAddress)
	before := a.world()

	p := d.start("--region", here.region, "--yes")
	p.until(provision.StepSent, "balancer.create", 1)
	p.kill()
	r := d.start("resume").wait()
	run := d.runID()
	if r.code != 0 {
		t.Fatalf("resume: exit %d\n%s\n%s", r.code, r.out, r.errs)
	}
	a.oneEach(run, "box-1", "box-2")
	made := remains(t, lb, keys)
	if n := len(made) - len(parts); n != 10 { // a load balancer, two listeners, a pool, a monitor, a policy; a container and three secrets
		t.Errorf("%d things are there more than before: %v", n, made)
	}
	servers := d.addresses()
	joined(t, lb, keys, run, d, servers)
	d.times()
	d.renewed(lb, keys, run, ca, servers)
	if got := remains(t, lb, keys); len(got) != len(made) {
		t.Errorf("after a renewal there is %v, before it %v", got, made)
	}
	d.done("abandon", "--yes")
	if left := remains(t, lb, keys); !slices.Equal(left, parts) {
		t.Errorf("left of load balancers and certificates: %v, before: %v", left, parts)
	}
	a.unchanged(before)
}

// balanced puts the desk's servers behind a load balancer that ends TLS, with a certificate from a place.
func (d desk) balanced(from, block string) {
	d.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "failover.hcl"))
	if err != nil {
		d.Fatal(err)
	}
	d.write("failover.hcl", strings.Replace(string(text), "to       = server.box\n", "to       = load_balancer.edge\n", 1)+fmt.Sprintf(`
%s
certificate "edge" {
  from  = %s
  path  = "edge"
  names = [%q]
  ca    = file("ca.pem")
}

load_balancer "edge" {
  cloud       = cloud.main
  members     = server.box
  member_port = 8080
  terminate   = certificate.edge
}
`, block, from, d.record))
}

// renewed delivers another certificate to the load balancer: octavia's listener names another container, the former one is gone, and
// octavia may read the new one.
func (d desk) renewed(lb, keys client, run string, ca *sandbox.CA, servers []string) {
	d.Helper()
	name := "failover-" + d.service + "-" + strings.ToLower(run) + "-edge-vip"
	ref := func() string { return lb.one("listeners", "name="+name+"-https").text("default_tls_container_ref") }
	former := ref()
	chain, key, err := ca.Issue(d.record)
	if err != nil {
		d.Fatal(err)
	}
	d.write("chain.pem", string(chain))
	d.write("key.pem", string(key))
	d.done("deliver", "--yes")
	now := ref()
	if now == former {
		d.Errorf("the listener names %s as before", now)
	}
	if status, _ := keys.call(keys.compute, "GET", "containers/"+former[strings.LastIndexByte(former, '/')+1:], nil); status != 404 {
		d.Errorf("the former container: %d", status)
	}
	leaf, _ := pem.Decode(chain)
	if got := keys.stored(now); got == nil || !bytes.Equal(got.Bytes, leaf.Bytes) {
		d.Error("the listener's container does not hold the new certificate")
	}
	joined(d.T, lb, keys, run, d, servers)
}

// stored gives the certificate of a container.
func (c client) stored(ref string) *pem.Block {
	c.Helper()
	for _, x := range c.must(c.compute, "GET", "containers/"+ref[strings.LastIndexByte(ref, '/')+1:], nil).list("secret_refs") {
		if x.text("name") != "certificate" {
			continue
		}
		href := x.text("secret_ref")
		text, err := secrets.GetPayload(context.Background(), c.compute, href[strings.LastIndexByte(href, '/')+1:], nil).Extract()
		if err != nil {
			c.Fatal(err)
		}
		block, _ := pem.Decode(text)
		return block
	}
	return nil
}

// joined looks at octavia and barbican: what is in the run's load balancer is ACTIVE, its members are the run's servers, and
// octavia may read the certificate that its listener names.
func joined(t *testing.T, lb, keys client, run string, d desk, servers []string) {
	t.Helper()
	name := "failover-" + d.service + "-" + strings.ToLower(run) + "-edge-vip"
	id := lb.one("loadbalancers", "name="+name).text("id")
	for _, part := range []string{"listeners?name=" + name + "-https", "listeners?name=" + name + "-http", "pools?name=" + name, "healthmonitors?name=" + name, "l7policies?name=" + name + "-1"} {
		path, query, _ := strings.Cut(part, "?")
		if got := lb.one(path, query).text("provisioning_status"); got != "ACTIVE" {
			t.Errorf("%s is %s", part, got)
		}
	}
	policy := lb.one("l7policies", "name="+name+"-1").text("id")
	if got := lb.one("l7policies/"+policy+"/rules", "").text("value"); got != d.record {
		t.Errorf("plain HTTP is sent on under %q", got)
	}
	var members []string
	for _, m := range lb.must(lb.compute, "GET", "lbaas/pools/"+lb.one("pools", "name="+name).text("id")+"/members", nil).list("members") {
		if got := m.text("provisioning_status"); got != "ACTIVE" {
			t.Errorf("member %s is %s", m.text("address"), got)
		}
		members = append(members, m.text("address"))
	}
	if len(members) != 2 || !slices.Equal(slices.Sorted(slices.Values(members)), slices.Sorted(slices.Values(servers))) {
		t.Errorf("members of %s: %v, servers %v", id, members, servers)
	}
	ref := lb.one("listeners", "name="+name+"-https").text("default_tls_container_ref")
	acl := keys.must(keys.compute, "GET", "containers/"+ref[strings.LastIndexByte(ref, '/')+1:]+"/acl", nil)
	if users, _ := acl.at("read", "users").([]any); len(users) == 0 {
		t.Errorf("octavia may not read the certificate: %v", acl)
	}
}

// one gives the one thing of a list.
func (c client) one(path, query string) object {
	c.Helper()
	key := path[strings.LastIndexByte(path, '/')+1:]
	list := c.must(c.compute, "GET", "lbaas/"+path+"?"+query, nil).list(key)
	if len(list) != 1 {
		c.Fatalf("%d of %s with %s", len(list), path, query)
	}
	return list[0]
}

// balancing gives clients for octavia, as an administrator who sees all projects, and for barbican, or skips where the cloud has none.
func balancing(t *testing.T) (lb, keys client) {
	t.Helper()
	c := login(t, here.cloud)
	at := gophercloud.EndpointOpts{Region: here.region}
	all := login(t, here.admin)
	one, err := openstack.NewLoadBalancerV2(all.compute.ProviderClient, at)
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

// remains lists load balancers with their parts of all projects, and containers and secrets of the test's own, one a line.
func remains(t *testing.T, lb, keys client) []string {
	t.Helper()
	lb.T, keys.T = t, t
	var out []string
	for _, kind := range []string{"loadbalancers", "listeners", "pools", "healthmonitors", "l7policies"} {
		for _, b := range lb.must(lb.compute, "GET", "lbaas/"+kind, nil).list(kind) {
			out = append(out, kind+" "+b.text("name"))
		}
	}
	for _, kind := range []string{"containers", "secrets"} {
		for _, x := range keys.must(keys.compute, "GET", kind+"?limit=100", nil).list(kind) {
			out = append(out, kind+" "+x.text("name"))
		}
	}
	slices.Sort(out)
	return out
}
