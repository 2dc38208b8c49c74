package preflight

import (
	"crypto/x509"
	"fmt"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// cloudBalancer judges a load_balancer block in Rackspace's first cloud: there is no network, subnet or flavor to resolve.
func (j *judgement) cloudBalancer(b provision.Balancer, inv provision.Inventory) {
	refuse := func(hint, what string, a ...any) {
		j.find(provision.Refuse, "load balancer", b.Ref(), b.Pos, hint, what, a...)
	}
	j.facts.Checks++
	for _, c := range b.Terminate {
		got, ok := j.seen.certificates[c]
		if !ok || got.Certificate == nil { // said while reading, or issued during the run: the plan says for which kind of key
			continue
		}
		for _, f := range CloudTerminable(c, got.Certificate) {
			j.find(f.Weight, "load balancer", b.Ref(), b.Pos, f.Hint, "%s", f.What)
		}
	}
	members := 0
	for _, m := range b.Members {
		s, _ := j.plan.Server(m)
		members += s.Count
	}
	f := provision.BalancerFacts{}
	if b.Existing != nil && inv.Balancing != nil {
		if f.Standing = j.standing(b, inv); f.Standing != nil {
			members += len(f.Standing.Members)
		}
	}
	if o := inv.Balancing; o != nil && o.Members > 0 {
		j.facts.Checks++
		if members > o.Members {
			refuse("have the limit raised (Rackspace goes up to 50), or make fewer and larger servers", "it would have %d members, and in this account a load balancer has %d at most", members, o.Members)
		}
	}
	j.facts.Balancers[b.Name] = f
}

// CloudTerminable finds what keeps Rackspace's load balancers from ending TLS with a certificate, whose name in the plan is given.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/ssl-termination
func CloudTerminable(name string, c *secrets.Certificate) []provision.Finding {
	kind := c.Leaf.PublicKeyAlgorithm
	if kind == x509.RSA {
		return nil
	}
	return []provision.Finding{{Weight: provision.Refuse, Hint: "have it issued for an RSA key, or let TLS end on the servers: certificate = certificate." + name + " in the server block",
		What: fmt.Sprintf("certificate %q has an %s key, and Rackspace's load balancers take RSA keys alone", name, kind)}}
}
