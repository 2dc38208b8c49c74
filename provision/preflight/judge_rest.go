package preflight

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// certificates judges every certificate under every name that clients will use.
func (j *judgement) certificates() {
	for _, c := range j.plan.Certificates {
		got, ok := j.seen.certificates[c.Name]
		if !ok {
			continue // said while reading
		}
		j.facts.Checks += 4 // chain, key, names, expiry
		source := "secrets." + got.Ref.Store
		for _, t := range got.Passed {
			f := refuse("certificate", "certificate."+c.Name, c.Pos, t.Err)
			f.Weight, f.What = provision.Warn, fmt.Sprintf("secrets.%s: %s; it is taken from %s", t.Ref.Store, f.What, source)
			j.facts.Findings = append(j.facts.Findings, f)
		}
		j.facts.Findings = append(j.facts.Findings, CertificateFindings(c, got.Tried, j.now)...)
		if o := got.Offer; o != nil {
			j.facts.Certificates[c.Name] = provision.CertificateFacts{Names: c.Names, Source: source,
				Issue: &provision.IssueFacts{Store: got.Ref.Store, Path: got.Ref.Path, By: o.By, Sealed: o.Sealed, Why: o.Why, Challenges: j.seen.challenges[c.Name]}}
			continue
		}
		x := got.Certificate
		j.facts.Certificates[c.Name] = provision.CertificateFacts{
			Fingerprint: x.Fingerprint(), Subject: x.Leaf.Subject.String(), Names: x.Leaf.DNSNames, NotAfter: x.Leaf.NotAfter, Algorithm: x.Leaf.PublicKeyAlgorithm.String(), Source: source,
		}
	}
}

// CertificateFindings judges what one place gave for a certificate of the plan: what clients would hold against it at
// time now, and what there is to say of how it is kept. It is pure.
func CertificateFindings(c provision.Certificate, got secrets.Tried, now time.Time) []provision.Finding {
	var out []provision.Finding
	find := func(w provision.Weight, what, hint string) {
		out = append(out, provision.Finding{Weight: w, Check: "certificate", Thing: "certificate." + c.Name, What: what, Hint: hint, Pos: c.Pos})
	}
	roots, err := secrets.Roots(c.CA)
	if err != nil {
		find(provision.Refuse, err.Error(), "")
		return out
	}
	if o := got.Offer; o != nil {
		what := fmt.Sprintf("secrets.%s keeps none: it is issued during the run, by %s, and sealed into %s", got.Ref.Store, o.By, o.Sealed)
		if o.Why != "" {
			what = fmt.Sprintf("the one of secrets.%s %s: another is issued during the run, by %s, and sealed into %s", got.Ref.Store, o.Why, o.By, o.Sealed)
		}
		find(provision.Noted, what, "")
	} else {
		for _, p := range got.Certificate.Inspect(c.Names, roots, now, c.Warn) {
			w := provision.Warn
			if p.Fatal {
				w = provision.Refuse
			}
			find(w, p.What, "")
		}
	}
	for _, m := range got.Remarks {
		w := provision.Noted
		if m.Warn {
			w = provision.Warn
		}
		find(w, "secrets."+got.Ref.Store+": "+m.What, m.Hint)
	}
	return out
}

// need gives how much of each quota the plan's servers in a cloud take, by the first rung of each ladder.
func (j *judgement) need(c provision.Cloud) map[string]int {
	need := map[string]int{}
	for _, s := range j.plan.Servers {
		f := j.facts.Servers[s.Name]
		if s.Cloud != c.Name || len(f.Rungs) == 0 {
			continue
		}
		n := s.Count + f.Hedge
		need["instances"] += n
		need["cores"] += n * f.Rungs[0].Flavor.VCPUs
		need["ram"] += n * f.Rungs[0].Flavor.RAMMB
		if f.Floating != nil {
			need["floatingip"] += n
		}
		if len(s.Open) > 0 {
			need["security_group"]++
		}
		if s.Spread && n > 1 {
			need["server_groups"]++
		}
	}
	j.needBalancers(c, need)
	return need
}

// hedges goes without the hedges of a cloud where a quota allows the rest but not them.
func (j *judgement) hedges(c provision.Cloud, inv provision.Inventory) {
	with := j.need(c)
	why := ""
	for _, name := range slices.Sorted(maps.Keys(with)) {
		if q, known := inv.Quotas[name]; known && q.Limit >= 0 && q.Used+with[name] > q.Limit && why == "" {
			why = fmt.Sprintf("the quota of %s is %d, %d are used", name, q.Limit, q.Used)
		}
	}
	for _, s := range j.plan.Servers {
		if f := j.facts.Servers[s.Name]; why != "" && s.Cloud == c.Name && f.Hedge > 0 {
			j.unhedge(s, &f, why)
			j.facts.Servers[s.Name] = f
		}
	}
}

// quotas compares what the plan needs with what is left.
func (j *judgement) quotas(c provision.Cloud, inv provision.Inventory) {
	j.hedges(c, inv)
	need := j.need(c)
	for _, thing := range []struct{ name, one, many string }{
		{"instances", "instance", "instances"}, {"cores", "core", "cores"}, {"ram", "MiB of memory", "MiB of memory"},
		{"floatingip", "floating address", "floating addresses"}, {"security_group", "security group", "security groups"},
		{"server_groups", "server group", "server groups"}, {"load_balancers", "load balancer", "load balancers"},
		{"listeners", "listener of load balancers", "listeners of load balancers"}, {"pools", "pool of load balancers", "pools of load balancers"},
	} {
		name := thing.name
		q, known := inv.Quotas[name]
		if need[name] == 0 || !known {
			continue
		}
		j.facts.Checks++
		unit := thing.many
		if need[name] == 1 {
			unit = thing.one
		}
		after := q.Used + need[name]
		switch {
		case q.Limit < 0:
		case after > q.Limit:
			j.find(provision.Refuse, "quota", "cloud."+c.Name, c.Pos, "ask the provider for more, remove what is not needed, or make the plan smaller (flavor, count)",
				"%s: the plan needs %d %s, %d of %d are used", inv.Region, need[name], unit, q.Used, q.Limit)
		case after*10 > q.Limit*9:
			j.find(provision.Noted, "quota", "cloud."+c.Name, c.Pos, "", "%d of %d %s used after this run", after, q.Limit, thing.many)
		}
	}
}

// clock warns when this machine's clock and the cloud's differ: certificates and signed updates go by it.
func (j *judgement) clock(c provision.Cloud, inv provision.Inventory) {
	j.facts.Checks++
	if skew := inv.Skew.Abs(); skew > 30*time.Second {
		j.find(provision.Warn, "clock", "cloud."+c.Name, c.Pos, "set this machine's clock", "this machine's clock is %s away from the cloud's", skew.Round(time.Second))
	}
}

// earlier tells of what another run has left in the region.
func (j *judgement) earlier(c provision.Cloud, inv provision.Inventory) {
	runs, balancers := map[provision.RunID]int{}, map[provision.RunID]int{}
	for _, s := range inv.Servers {
		runs[s.Run]++
	}
	if inv.Balancing != nil {
		for _, b := range inv.Balancing.Balancers {
			balancers[b.Run]++
			runs[b.Run] += 0
		}
	}
	for _, run := range slices.Sorted(func(yield func(provision.RunID) bool) {
		for r := range runs {
			if !yield(r) {
				return
			}
		}
	}) {
		j.find(provision.Noted, "earlier run", "cloud."+c.Name, c.Pos, "failover abandon "+run.Short()+" removes them",
			"%s has %s of run %s of this service", inv.Region, left(runs[run], balancers[run]), run.Short())
	}
}

func left(servers, balancers int) string {
	switch {
	case balancers == 0:
		return counted(servers, "server")
	case servers == 0:
		return counted(balancers, "load balancer")
	}
	return counted(servers, "server") + " and " + counted(balancers, "load balancer")
}

// operator finds out what "me" is, where a rule needs it.
func (j *judgement) operator() {
	var from *provision.Server
	thing := ""
	for i, s := range j.plan.Servers {
		if slices.ContainsFunc(s.Open, func(r provision.OpenRule) bool { return r.From == "me" }) {
			from, thing = &j.plan.Servers[i], "server."+s.Name
			break
		}
	}
	i := slices.IndexFunc(j.plan.Balancers, func(b provision.Balancer) bool { return len(b.AllowedCIDRs) > 0 && b.Ready != nil })
	if from == nil && i >= 0 { // its proof is asked from here
		b := j.plan.Balancers[i]
		from, thing = &provision.Server{Pos: b.Pos, Cloud: b.Cloud}, b.Ref()
	}
	if from == nil {
		return
	}
	j.facts.Checks++
	defer j.letIn()
	inv, ok := j.seen.inventories[from.Cloud]
	if !ok && j.plan.Operator == "" {
		return // nothing was read; said elsewhere
	}
	cidr, bad := Me(j.plan.Operator, inv)
	if bad != nil {
		if bad.Thing == "" {
			bad.Thing, bad.Pos = thing, from.Pos
		}
		j.facts.Findings = append(j.facts.Findings, *bad)
		return
	}
	j.facts.Operator = cidr
}

// Me gives what "me" is, as a CIDR: what the plan or the command line says (an address or a network), or this machine's end of the
// connection to the cloud. The finding says why it cannot be told; it names no thing where that is the region's.
func Me(given string, inv provision.Inventory) (string, *provision.Finding) {
	if given != "" {
		cidr, err := cidrOf(given)
		if err != nil {
			return "", &provision.Finding{Weight: provision.Refuse, Check: "operator", Thing: "operator", What: fmt.Sprintf("%q is neither", given),
				Hint: "give an address or a network: --me 203.0.113.7"}
		}
		return cidr, nil
	}
	if !inv.Local.IsValid() {
		return "", nil
	}
	local := inv.Local.Unmap()
	if near(local) && !near(inv.Remote.Unmap()) {
		return "", &provision.Finding{Weight: provision.Refuse, Check: "operator",
			What: fmt.Sprintf("\"me\" cannot be told: this machine is %s behind an address translation, and the cloud is outside", local),
			Hint: "failover --me ADDRESS (what the cloud sees: curl -4 ifconfig.me), or operator = \"ADDRESS\" in the plan"}
	}
	return netip.PrefixFrom(local, local.BitLen()).String(), nil
}

// near reports addresses that mean something only on this side of a NAT.
func near(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() }

func cidrOf(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()).String(), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.String(), err
}

// dns judges what the provider and the name servers say.
func (j *judgement) dns() {
	for _, z := range j.plan.Zones {
		for _, r := range z.Records {
			f, ok := j.seen.records[provision.RecordKey(z.FQDN(r), r.Type)]
			if !ok {
				continue
			}
			j.facts.Checks += 2
			name, thing := strings.TrimSuffix(z.FQDN(r), "."), "dns."+z.Name
			if n, most := values(j.plan, r), j.seen.most[z.Name]; most > 0 && n > most {
				j.find(provision.Refuse, "dns", thing, r.Pos, "ask the provider for more records in a set, make fewer servers, or spread them over several names",
					"%s would get %d addresses, and the provider takes %d in one record set", name, n, most)
			}
			if len(f.Old.Values) == 0 {
				j.find(provision.Noted, "dns", thing, r.Pos, "", "%s has no %s record yet: it will be made", name, r.Type)
				continue
			}
			if want := int(r.TTL / time.Second); f.Old.TTL > want {
				j.find(provision.Noted, "dns", thing, r.Pos, "", "%s has a TTL of %d s: resolvers may hold the old address that long after the move; keep it at %d s in good times", name, f.Old.TTL, want)
			}
			for i, s := range f.Served {
				if !same(s.Values, f.Old.Values) {
					j.find(provision.Warn, "dns", thing, r.Pos, "", "%s serves %s for %s, the provider holds %s", f.NameServers[i], list(s.Values), name, list(f.Old.Values))
				}
			}
		}
	}
}

// values counts what a record will hold.
func values(p provision.Plan, r provision.Record) int {
	n := len(r.Values)
	for _, s := range p.Servers {
		if slices.Contains(r.To, s.Name) {
			n += s.Count
		}
	}
	return n + len(r.Balancers)
}

// same compares values whatever their order and case: name servers shuffle, and keep the case they were given.
func same(a, b []string) bool {
	norm := func(v []string) []string {
		return slices.Sorted(func(yield func(string) bool) {
			for _, x := range v {
				if !yield(strings.ToLower(x)) {
					return
				}
			}
		})
	}
	return slices.Equal(norm(a), norm(b))
}

func list(v []string) string {
	switch {
	case len(v) == 0:
		return "nothing"
	case len(v) > 3:
		return strings.Join(v[:3], ", ") + fmt.Sprintf(" and %d more", len(v)-3)
	}
	return strings.Join(v, ", ")
}

func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
