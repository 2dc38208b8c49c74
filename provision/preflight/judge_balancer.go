package preflight

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// balancer resolves one load_balancer block's wishes. The servers' own are resolved by then.
func (j *judgement) balancer(b provision.Balancer, inv provision.Inventory) {
	if c, _ := j.plan.Cloud(b.Cloud); c.Rackspace != nil {
		j.cloudBalancer(b, inv)
		return
	}
	thing := b.Ref()
	f := provision.BalancerFacts{MemberSubnets: map[string]string{}}
	j.facts.Checks += 2 // the services answer
	refuse := func(check, hint, what string, a ...any) {
		j.find(provision.Refuse, check, thing, b.Pos, hint, what, a...)
	}
	if o := inv.Balancing; o != nil {
		j.facts.Checks++
		if b.Provider != "" && o.Providers != nil && !slices.Contains(o.Providers, b.Provider) {
			refuse("load balancer", "there are: "+names(o.Providers, func(s string) string { return s }), "%s has no provider %q of load balancers", inv.Region, b.Provider)
		}
		f.Rungs = j.balancerRungs(b, *o, inv.Region)
	}
	for _, c := range b.Terminate {
		if got := j.seen.certificates[c]; got.Certificate != nil { // nil: it is issued during the run
			for _, f := range Terminable(c, got.Certificate) {
				j.find(f.Weight, "load balancer", thing, b.Pos, f.Hint, "%s", f.What)
			}
		}
	}
	if inv.Networks != nil {
		j.balancerNetworks(b, inv, &f)
	}
	j.facts.Balancers[b.Name] = f
}

// Terminable finds what keeps Octavia from ending TLS with a certificate, whose name in the plan is given.
// https://opendev.org/openstack/octavia/src/branch/stable/zed/octavia/common/tls_utils/cert_parser.py (prepare_private_key, get_host_names)
func Terminable(name string, c *secrets.Certificate) []provision.Finding {
	var out []provision.Finding
	if c.Leaf.PublicKeyAlgorithm == x509.Ed25519 {
		out = append(out, provision.Finding{Weight: provision.Refuse, Hint: "an RSA or ECDSA key", What: fmt.Sprintf("certificate %q has an Ed25519 key, which load balancers do not take", name)})
	}
	if c.Leaf.Subject.CommonName == "" {
		out = append(out, provision.Finding{Weight: provision.Warn, Hint: "have it issued with a common name, as Let's Encrypt's profile classic does",
			What: fmt.Sprintf("certificate %q has no common name: Octavia of Zed cannot read such a one", name)})
	}
	return out
}

// balancerRungs resolves the flavors: each that exists, in the plan's order.
func (j *judgement) balancerRungs(b provision.Balancer, o provision.Balancing, region string) []provision.NamedID {
	var out []provision.NamedID
	var not []string
	for _, want := range b.Flavors {
		j.facts.Checks++
		if i := slices.IndexFunc(o.Flavors, func(f provision.NamedID) bool { return f.Name == want || f.ID == want }); i >= 0 {
			out = append(out, o.Flavors[i])
		} else if o.Flavors != nil {
			not = append(not, want)
		}
	}
	weight := provision.Warn
	if len(out) == 0 {
		weight = provision.Refuse
	}
	for _, w := range not {
		j.find(weight, "load balancer", b.Ref(), b.Pos, "there are: "+names(o.Flavors, func(f provision.NamedID) string { return f.Name }), "%s has no flavor %q of load balancers", region, w)
	}
	return out
}

func (j *judgement) balancerNetworks(b provision.Balancer, inv provision.Inventory, f *provision.BalancerFacts) {
	refuse := func(hint, what string, a ...any) {
		j.find(provision.Refuse, "network", b.Ref(), b.Pos, hint, what, a...)
	}
	get := func(name string) (provision.Network, bool) {
		j.facts.Checks++
		i := slices.IndexFunc(inv.Networks, func(n provision.Network) bool { return n.Name == name || n.ID == name })
		if i < 0 {
			refuse("there are: "+names(inv.Networks, func(n provision.Network) string { return n.Name }), "%s has no network %q", inv.Region, name)
			return provision.Network{}, false
		}
		return inv.Networks[i], true
	}
	members := map[string]provision.Network{} // by Server block: the first of its networks
	for _, m := range b.Members {
		if nets := j.facts.Servers[m].Networks; len(nets) > 0 {
			members[m] = nets[0]
		}
	}
	known := true
	switch {
	case b.Network != "":
		f.Network, known = get(b.Network)
	case len(b.Members) > 0 && members[b.Members[0]].ID != "":
		f.Network = members[b.Members[0]]
	default:
		known = false
		refuse(`network = "..."`, "its network is not given, and neither is that of its members")
	}
	if !known {
		return
	}
	if b.Subnet != "" {
		i := slices.IndexFunc(f.Network.Subnets, func(s provision.Subnet) bool { return s.Name == b.Subnet || s.ID == b.Subnet })
		if i < 0 {
			refuse("there are: "+names(f.Network.Subnets, func(s provision.Subnet) string { return s.Name }), "network %s has no subnet %q", f.Network.Name, b.Subnet)
		} else {
			f.Subnet = f.Network.Subnets[i].ID
		}
	}
	if b.FloatingIP != "" {
		if n, ok := get(b.FloatingIP); ok {
			if f.Floating = &n; !n.External {
				refuse("", "network %s is not external: it has no floating addresses", n.Name)
			}
		}
	}
	for _, m := range b.Members {
		j.member(b, m, members[m], f)
	}
}

// member finds where a load balancer reaches the servers of a block, and what they see it come from.
func (j *judgement) member(b provision.Balancer, server string, on provision.Network, f *provision.BalancerFacts) {
	from := cidrsOf(f.Network)
	if on.ID != "" && on.ID != f.Network.ID {
		i := slices.IndexFunc(on.Subnets, func(s provision.Subnet) bool { return s.Version == 4 })
		if i < 0 {
			j.find(provision.Refuse, "network", b.Ref(), b.Pos, "network = \""+on.Name+"\"",
				"its members of server %q are on network %s, of which no IPv4 subnet can be seen to reach them on", server, on.Name)
			return
		}
		f.MemberSubnets[server] = on.Subnets[i].ID
		from = append(from, cidrsOf(on)...)
	}
	s, _ := j.plan.Server(server)
	if slices.ContainsFunc(s.Open, func(r provision.OpenRule) bool { return r.From == "balancers" }) {
		if len(from) == 0 {
			j.find(provision.Refuse, "network", "server."+server, s.Pos, `say it: open = ["8080/tcp from NETWORK", ...]`,
				"where its load balancer %q comes from is not known: the subnets of network %s cannot be seen", b.Name, f.Network.Name)
		}
		facts := j.facts.Servers[server]
		for _, c := range from {
			if !slices.Contains(facts.Balancers, c) {
				facts.Balancers = append(facts.Balancers, c)
			}
		}
		j.facts.Servers[server] = facts
	}
}

func cidrsOf(n provision.Network) []string {
	var out []string
	for _, s := range n.Subnets {
		if s.Version == 4 && !strings.Contains(s.CIDR, ":") && s.CIDR != "" {
			out = append(out, s.CIDR)
		}
	}
	return out
}

// letIn refuses load balancers that do not let in whoever proves them.
func (j *judgement) letIn() {
	me, err := netip.ParsePrefix(j.facts.Operator)
	if err != nil {
		return // not known; said elsewhere
	}
	for _, b := range j.plan.Balancers {
		in := func(cidr string) bool {
			p, err := netip.ParsePrefix(cidr)
			return err == nil && p.Bits() <= me.Bits() && p.Contains(me.Addr())
		}
		if len(b.AllowedCIDRs) > 0 && b.Ready != nil && me.Addr().Is4() && !slices.ContainsFunc(b.AllowedCIDRs, in) {
			j.find(provision.Refuse, "operator", b.Ref(), b.Pos, fmt.Sprintf("add %q to allowed_cidrs, or say who you are: --me ADDRESS", me),
				"allowed_cidrs does not let %s in, from where it is proven", me)
		}
	}
}

// needBalancers adds what the load balancers in a cloud take of its quotas.
func (j *judgement) needBalancers(c provision.Cloud, need map[string]int) {
	for _, b := range j.plan.Balancers {
		if b.Cloud != c.Name || b.Existing != nil {
			continue
		}
		need["load_balancers"]++
		if c.Rackspace != nil { // the rest is part of it
			continue
		}
		need["pools"]++
		need["listeners"]++
		if b.RedirectHTTP {
			need["listeners"]++
		}
		if j.facts.Balancers[b.Name].Floating != nil {
			need["floatingip"]++
		}
	}
}
