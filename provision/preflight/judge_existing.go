package preflight

import (
	"fmt"
	"slices"

	"github.com/dripstat/failover/provision"
)

// standing judges the load balancer that a block is to use where none is made: it must be there, be the only one that is meant, and be able
// to do what the plan says. It gives nil where there is none.
func (j *judgement) standing(b provision.Balancer, inv provision.Inventory) *provision.Standing {
	refuse := func(hint, what string, a ...any) {
		j.find(provision.Refuse, "load balancer", b.Ref(), b.Pos, hint, what, a...)
	}
	found, read := inv.Balancing.Standing[b.Name]
	if !read { // said while reading
		return nil
	}
	which := fmt.Sprintf("named %q", b.Existing.Name)
	if b.Existing.Name == "" {
		which = "with a member at " + b.Existing.Member
	}
	j.facts.Checks++
	switch len(found) {
	case 0:
		refuse("the control panel has their names; or take existing out: a new load balancer is made", "%s has no load balancer %s", inv.Region, which)
		return nil
	case 1:
	default:
		refuse(`say which by its id: existing = "`+found[0].ID+`", or existing = { name = "`+found[0].ID+`", member = "..." }`, "%s has %d load balancers %s: %s", inv.Region, len(found), which,
			names(found, func(s provision.Standing) string { return s.Name + " (" + s.ID + ")" }))
		return nil
	}
	s := found[0]
	is := fmt.Sprintf("load balancer %s (%s)", s.Name, s.ID)
	j.facts.Checks += 4 // state, protocol, addresses, where TLS ends
	if s.Status == "ERROR" || s.Status == "SUSPENDED" {
		refuse("only Rackspace's support can change it; take existing out: a new one is made", "%s is in %s", is, s.Status)
	}
	if s.Protocol != "HTTP" {
		refuse("one of protocol HTTP; or take existing out: a new one is made", "TLS cannot end on %s: its protocol is %s", is, s.Protocol)
	}
	if s.TLSPort != 0 && s.TLSPort != b.Listen {
		refuse(fmt.Sprintf("listen = %d", s.TLSPort), "%s ends TLS on port %d, and the plan says %d", is, s.TLSPort, b.Listen)
	}
	if s.IPv4 == "" {
		refuse("one with a public address; or take existing out: a new one is made", "%s has no public IPv4 address", is)
	} else if s.IPv6 == "" && j.named(b, "AAAA") {
		refuse("add one in the control panel, or take the AAAA record out", "%s has no IPv6 address, and an AAAA record points to it", is)
	}
	if b.Existing.Member != "" && len(b.Existing.Replaced(s)) == 0 {
		refuse("its members are: "+names(s.Members, func(m provision.StandingMember) string { return m.Address }), "%s has no member at %s", is, b.Existing.Member)
	}
	if i := slices.IndexFunc(inv.Balancing.Balancers, func(l provision.Live) bool { return l.ID == s.ID }); i >= 0 {
		j.find(provision.Warn, "load balancer", b.Ref(), b.Pos, "", "%s is of run %s: failover abandon of that run deletes it", is, inv.Balancing.Balancers[i].Run.Short())
	}
	for _, c := range b.Terminate {
		f, known := j.facts.Certificates[c]
		switch {
		case s.TLSPort == 0 || known && f.Fingerprint != "" && f.Fingerprint == s.Fingerprint:
		default:
			j.find(provision.Warn, "load balancer", b.Ref(), b.Pos, "", "%s ends TLS with a certificate that is not certificate %q: it is replaced, and failover abandon cannot bring it back, since nobody can read its key", is, c)
		}
	}
	if n := len(s.Members) - len(b.Existing.Replaced(s)); n > 0 {
		j.find(provision.Noted, "load balancer", b.Ref(), b.Pos, "", "%s has %s", is, map[bool]string{true: "1 member that stays as it is, and gets traffic as before", false: fmt.Sprint(n, " members that stay as they are, and get traffic as before")}[n == 1])
	}
	return &s
}

// named reports whether a record of that type points to a load balancer.
func (j *judgement) named(b provision.Balancer, typ string) bool {
	return slices.ContainsFunc(j.plan.Zones, func(z provision.Zone) bool {
		return slices.ContainsFunc(z.Records, func(r provision.Record) bool { return r.Type == typ && slices.Contains(r.Balancers, b.Name) })
	})
}
