//go:build openstack

package e2e

import (
	"bytes"
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"
)

// keep puts a certificate container into the region's key manager until the test ends, and gives its href. The
// payloads are stored as the docs tell people to.
func (c client) keep(name string, chain, key []byte) string {
	c.Helper()
	leaf, rest := pem.Decode(chain)
	parts := []struct {
		name    string
		payload []byte
	}{{"chain", chain}, {"certificate", pem.EncodeToMemory(leaf)}, {"private_key", key}} // the first is for a plan that names two secrets
	if len(bytes.TrimSpace(rest)) > 0 {
		parts = append(parts, struct {
			name    string
			payload []byte
		}{"intermediates", rest})
	}
	ctx := context.Background()
	gone := func(u string) {
		c.Cleanup(func() {
			if _, err := c.keys.Delete(ctx, u, &gophercloud.RequestOpts{OkCodes: []int{204, 404}}); err != nil {
				c.Error(err)
			}
		})
	}
	o := containers.CreateOpts{Type: containers.CertificateContainer, Name: name}
	for _, p := range parts {
		s, err := secrets.Create(ctx, c.keys, secrets.CreateOpts{Name: name + "-" + p.name, Payload: string(p.payload), PayloadContentType: "text/plain"}).Extract()
		if err != nil {
			c.Fatal(err)
		}
		gone(s.SecretRef)
		if p.name == "chain" {
			continue
		}
		o.SecretRefs = append(o.SecretRefs, containers.SecretRef{Name: p.name, SecretRef: s.SecretRef})
	}
	made, err := containers.Create(ctx, c.keys, o).Extract()
	if err != nil {
		c.Fatal(err)
	}
	gone(made.ContainerRef)
	return made.ContainerRef
}

// The certificate from the real key manager: by the container's name and by its href, by the names of two secrets, and from the next
// place where this user may not read it.
func TestBarbican(t *testing.T) {
	cloud(t)
	onRig(t)
	n := atHome(t)
	login(t, here.cloud).record(n.record, 300, homeAddress)
	plan, err := os.ReadFile(filepath.Join(n.dir, "failover.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(plan)
	checked := func(name, plan, place string) {
		t.Helper()
		n.write("failover.hcl", plan)
		if r := n.done("check", "--region", "ORD"); !strings.Contains(r.out, "edge from secrets."+place) {
			t.Errorf("%s: the certificate is not from %s\n%s", name, place, r.out)
		}
	}
	checked("the container's name", text, "manager")
	href := login(t, here.cloud).keep("by-href", n.chain, n.key)
	checked("its href", strings.Replace(text, "manager = \""+n.record+"\"", "manager = \""+href+"\"", 1), "manager")
	checked("two secrets", strings.Replace(text, "barbican { cloud = cloud.main }", "barbican {\n    cloud = cloud.main\n    chain = \"{path}-chain\"\n    key   = \"{path}-private_key\"\n  }", 1), "manager")
	checked("a reader", strings.Replace(text, "cloud = \"rig\"", "cloud = \"rig-reader\"", 1), "sealed")
}
