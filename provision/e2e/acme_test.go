//go:build openstack

package e2e

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/miekg/dns"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets/acme/acmetest"
)

// The certificate is nowhere: a real ACME server, Pebble, issues it during the run. Its challenge goes through a real designate to a real
// BIND, which Pebble asks. The certificate ends in the key manager, for a load balancer, and the name moves. Nothing of the challenge is left, and
// nothing is ordered twice.
func TestIssuedDuringTheRun(t *testing.T) {
	cloud(t)
	onRig(t) // an authority elsewhere does not see this machine's directory, nor this one its name server
	lb, keys := balancing(t)
	a, parts := admin(t), remains(t, lb, keys)
	d := sit(t, plan{count: 1})
	ca := acmetest.Start(t, acmetest.Options{NameServer: here.dns, CommonName: true})
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	d.write("identity.txt", id.String()+"\n")
	d.write("directory.pem", string(ca.CA))
	d.write("ca.pem", string(ca.Root(0)))
	d.balanced("secrets.le", `secrets "issued" {
  age {
    file     = "issued.age"
    identity = "identity.txt"
  }
}

secrets "le" {
  acme {
    directory    = "`+ca.Directory+`"
    ca           = "directory.pem"
    email        = "ops@rig.test"
    terms_agreed = true
    seal         = secrets.issued
  }
}
`)
	login(t, here.cloud).record(d.record, 30, oldAddress)
	before := a.world()

	if r := d.done("--region", here.region, "--dry-run"); !strings.Contains(r.out, "issued during the run") || ca.Orders() != 0 {
		t.Errorf("a dry run: %d orders\n%s", ca.Orders(), r.out)
	}
	p := d.start("--region", here.region, "--yes")
	p.until(provision.StepSent, "challenge.set", 1)
	p.kill()
	r := d.done("resume")
	if n := ca.Orders(); n != 1 || ca.Finalized() != 1 {
		t.Errorf("%d orders, %d certificates", n, ca.Finalized())
	}
	d.times()
	name := "failover-" + d.service + "-" + strings.ToLower(d.runID()) + "-edge-vip"
	block := keys.stored(lb.one("listeners", "name="+name+"-https").text("default_tls_container_ref"))
	if block == nil {
		t.Fatal("the key manager has no certificate for the listener")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.VerifyHostname(d.record); err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(d.events(), func(e provision.Event) bool {
		return e.Type == provision.StepDone && e.Kind == "dns.move"
	}) {
		t.Error("the name was not moved")
	}
	if got := txt(t, "_acme-challenge."+d.record); len(got) != 0 {
		t.Errorf("the challenge is left: %v", got)
	}
	sealed, err := os.ReadFile(filepath.Join(d.dir, "issued.age"))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"the sealed file": string(sealed), "the output": r.out + r.errs, "the journal": d.journals()} {
		if strings.Contains(text, "PRIVATE KEY") || bytes.Contains([]byte(text), []byte(id.String())) {
			t.Errorf("%s holds a key", what)
		}
	}
	if r := d.done("seal", "--list", "-i", "identity.txt", "-o", "issued.age"); !strings.Contains(r.out, d.record) {
		t.Errorf("sealed: %s", r.out)
	}
	d.done("abandon", "--yes")
	if left := remains(t, lb, keys); !slices.Equal(left, parts) {
		t.Errorf("left of load balancers and certificates: %v, before: %v", left, parts)
	}
	a.unchanged(before)
}

// txt asks the rig's name server.
func txt(t *testing.T, name string) (out []string) {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.TypeTXT)
	c := dns.Client{Net: "tcp"}
	in, _, err := c.Exchange(m, here.dns)
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range in.Answer {
		if x, ok := rr.(*dns.TXT); ok {
			out = append(out, strings.Join(x.Txt, ""))
		}
	}
	return out
}
