package steps

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// Kinds of DNS steps; dns performs them. old is the RRset that preflight read: the handler changes nothing
// where the provider holds neither old nor what is wanted.
const (
	// DNSLower {zone old ttl} → {ttl}
	DNSLower provision.Kind = "dns.lower"
	// DNSMove {zone old ttl values from} → {values moved_at stale_until ttl}; from: what an earlier move of the run put
	DNSMove provision.Kind = "dns.move"
	// DNSAgree {zone name type values name_servers settled} → {servers agreed_at}: every authoritative server serves it, and with
	// settled the provider itself has nothing on its way to them any more.
	DNSAgree provision.Kind = "dns.agree"
	// DNSResolvers {name type values resolvers} → {fresh stale}: what the plan's resolvers say. It never fails.
	DNSResolvers provision.Kind = "dns.resolvers"
	// DNSRestore {zone old ttl values from later leave hold} → {values left}: undo of DNSMove. With leave, a set that someone else put
	// since, and that names nothing of the run, stays; and so does later, the set of a later run of the service that stands. Without
	// leave old takes the place of later, too.
	DNSRestore provision.Kind = "dns.restore"
)

func recordID(verb string, z provision.Zone, r provision.Record) provision.StepID {
	return provision.StepID(verb + "/" + strings.TrimSuffix(z.FQDN(r), ".") + "/" + r.Type)
}

func seconds(d time.Duration) int { return int(d / time.Second) }

// lower adds, at the very start, the lowering of every TTL that is higher than the plan wants.
func (b *builder) lower() {
	for _, z := range b.plan.Zones {
		for _, r := range z.Records {
			old := b.old(z, r)
			want := seconds(r.TTL)
			if len(old.Values) == 0 || old.TTL <= want {
				continue
			}
			b.add(provision.Step{
				ID: recordID("lower", z, r), Kind: DNSLower,
				With:   map[string]provision.Arg{"zone": provision.Lit(z.Name), "old": provision.Lit(rrset(old)), "ttl": provision.Lit(want)},
				Within: provision.Duration(time.Minute), Expect: provision.Duration(expectMoment),
				Undo: provision.Undo{Kind: DNSRestore, Take: []string{"zone", "old", "ttl", "values"}},
				Say:  provision.Say{Stage: provision.StageLower, Thing: trim(z.FQDN(r)), Detail: fmt.Sprintf("TTL %d s → %d s", old.TTL, want)},
			})
		}
	}
}

func trim(fqdn string) string { return strings.TrimSuffix(fqdn, ".") }

func (b *builder) old(z provision.Zone, r provision.Record) provision.RRset {
	return b.facts.Records[provision.RecordKey(z.FQDN(r), r.Type)].Old
}

// rrset is an RRset in the JSON shape of arguments.
func rrset(s provision.RRset) map[string]any {
	return map[string]any{"name": s.Name, "type": s.Type, "ttl": s.TTL, "values": s.Values}
}

// move adds, for every record, the move, the agreement of the name servers and the proof through the name.
func (b *builder) move() {
	for _, z := range b.plan.Zones {
		zoneNeeds := b.heldBack(nil, "dns."+z.Name)
		for _, r := range z.Records {
			b.moveRecord(z, r, zoneNeeds)
		}
	}
}

func (b *builder) moveRecord(z provision.Zone, r provision.Record, held []provision.StepID) {
	name := trim(z.FQDN(r))
	needs := append([]provision.StepID{}, held...)
	for _, t := range b.targets(r) {
		needs = append(needs, b.proofs[t.key]...)
		needs = append(needs, b.proveAgain("reprove/", z, t, held)...)
	}
	values := b.newValues(r)
	lowered := recordID("lower", z, r)
	if _, ok := b.graph.Step(lowered); ok {
		needs = append(needs, lowered)
	}
	old := b.old(z, r)
	old.Name, old.Type = z.FQDN(r), r.Type
	move := b.add(provision.Step{
		ID: recordID("move", z, r), Kind: DNSMove, Needs: unique(append(needs, outputsOf(values)...)),
		With: map[string]provision.Arg{"zone": provision.Lit(z.Name), "old": provision.Lit(rrset(old)),
			"ttl": provision.Lit(seconds(r.TTL)), "values": values},
		Undo: provision.Undo{Kind: DNSRestore, Take: []string{"zone", "old", "ttl", "values"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(2 * time.Second),
		Say: provision.Say{Stage: provision.StageMove, Thing: name, Detail: fmt.Sprintf("%s %s → %s", r.Type, oldText(old), b.newText(r))},
	})
	agree := b.agree("agree", z, r, move, values)
	if len(z.Resolvers) > 0 {
		b.add(provision.Step{
			ID: recordID("resolvers", z, r), Kind: DNSResolvers, Needs: unique(append([]provision.StepID{agree}, outputsOf(values)...)),
			With:   map[string]provision.Arg{"name": provision.Lit(z.FQDN(r)), "type": provision.Lit(r.Type), "values": values, "resolvers": provision.Lit(z.Resolvers)},
			Within: provision.Duration(30 * time.Second), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StageConfirm, Thing: name, Detail: "what " + strings.Join(z.Resolvers, ", ") + " still hold"},
		})
	}
	b.confirm("confirm", z, r, agree, values)
}

// join adds the move of a record from the first servers that were proven to all that were chosen in the end.
func (b *builder) join(z provision.Zone, r provision.Record) {
	name := trim(z.FQDN(r))
	first := recordID("move", z, r)
	needs := []provision.StepID{first}
	for _, to := range r.To {
		needs = append(needs, b.named(to, "agree", "confirm")...) // what is asked for the first set must be over before there is another
	}
	for _, t := range b.targets(r) {
		needs = append(needs, b.proveAgain("reprove-rest/", z, t, nil)...)
	}
	values := b.newValues(r)
	was, _ := b.graph.Step(first)
	with := map[string]provision.Arg{"values": values, "from": provision.From(first, "values")}
	for _, k := range []string{"zone", "old", "ttl"} {
		with[k] = was.With[k]
	}
	join := b.add(provision.Step{
		ID: recordID("join", z, r), Kind: DNSMove, Needs: unique(append(needs, outputsOf(values)...)), With: with,
		Undo:   provision.Undo{Kind: DNSRestore, Take: []string{"zone", "old", "ttl", "values", "from"}},
		Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(2 * time.Second),
		Say: provision.Say{Stage: provision.StageMove, Thing: name, Detail: r.Type + " → all that are proven by then"},
	})
	b.confirm("join-confirm", z, r, b.agree("join-agree", z, r, join, values), values)
}

// newValues are the addresses that a record is given.
func (b *builder) newValues(r provision.Record) provision.Arg {
	if len(r.To)+len(r.Balancers) == 0 {
		return provision.Lit(r.Values)
	}
	values := provision.Arg{List: true}
	for _, t := range b.targets(r) {
		of, _ := b.addressesOf(t.key, r.Type)
		values.Of = append(values.Of, of...)
	}
	return values
}

// agree adds the wait for every name server to serve what was moved.
func (b *builder) agree(verb string, z provision.Zone, r provision.Record, move provision.StepID, values provision.Arg) provision.StepID {
	servers := b.nameServers(z, r)
	return b.add(provision.Step{
		ID: recordID(verb, z, r), Kind: DNSAgree, Needs: unique(append([]provision.StepID{move}, outputsOf(values)...)),
		With: map[string]provision.Arg{"zone": provision.Lit(z.Name), "name": provision.Lit(z.FQDN(r)), "type": provision.Lit(r.Type),
			"values": values, "name_servers": provision.Lit(servers)},
		Within: provision.Duration(z.Within), Expect: provision.Duration(10 * time.Second),
		Say: provision.Say{Stage: provision.StageConfirm, Thing: trim(z.FQDN(r)), Detail: "at " + strings.Join(servers, ", "),
			Hint: "the provider took the change, and its name servers do not serve it: ask who runs them"},
	})
}

func (b *builder) nameServers(z provision.Zone, r provision.Record) []string {
	return b.facts.Records[provision.RecordKey(z.FQDN(r), r.Type)].NameServers
}

// confirm adds the proof through the name, where a server's own proof is asked under it.
func (b *builder) confirm(verb string, z provision.Zone, r provision.Record, agree provision.StepID, values provision.Arg) {
	name := trim(z.FQDN(r))
	var proven *target
	for _, t := range b.targets(r) {
		if t.ready != nil {
			proven = &t
		}
	}
	if proven == nil || !strings.HasPrefix(proven.ready.URL, "https://"+name+"/") && !strings.HasPrefix(proven.ready.URL, "https://"+name+":") && proven.ready.URL != "https://"+name {
		return
	}
	with := b.readyArgs(proven.ready, proven.certificate)
	with["name_servers"] = provision.Lit(b.nameServers(z, r))
	with["addresses"] = values
	b.add(provision.Step{
		ID: recordID(verb, z, r), Kind: ServiceConfirm, Needs: unique(append([]provision.StepID{agree}, outputsOf(values)...)), With: with,
		Within: provision.Duration(proven.ready.Within), Expect: provision.Duration(2 * time.Second),
		Say: provision.Say{Stage: provision.StageConfirm, Thing: name, Detail: "https through the name"},
	})
}

// proveAgain adds one more proof of all slots at once where the first may have grown old by the time of the
// move: while the slowest of several slots was waited for, or the user's own steps ran. What DNS will name must have
// answered moments before.
func (b *builder) proveAgain(verb string, z provision.Zone, t target, held []provision.StepID) []provision.StepID {
	if t.ready == nil || len(held) == 0 && len(b.addresses[t.key]) < 2 {
		return nil
	}
	id := provision.StepID(verb + z.Name + "/" + t.key)
	if _, ok := b.graph.Step(id); ok { // for another record of the zone
		return []provision.StepID{id}
	}
	with, needs := b.readyArgs(t.ready, t.certificate), append(slices.Clone(held), b.proofs[t.key]...)
	addresses := provision.Arg{List: true}
	addresses.Of, _ = b.addressesOf(t.key, "A")
	if b.wants(t.key, "AAAA") {
		more, _ := b.addressesOf(t.key, "AAAA")
		addresses.Of = append(addresses.Of, more...)
	}
	with["addresses"], with["successes"] = addresses, provision.Lit(1)
	b.add(provision.Step{ID: id, Kind: ServiceProve, Volatile: true, Needs: unique(append(needs, outputsOf(addresses)...)), With: with,
		Within: provision.Duration(t.ready.Within), Expect: provision.Duration(expectMoment),
		Say: provision.Say{Stage: provision.StageProve, Thing: t.key, Detail: "all at once, right before the move"}})
	return []provision.StepID{id}
}

func outputsOf(a provision.Arg) []provision.StepID {
	out := make([]provision.StepID, 0, len(a.Of))
	for _, o := range a.Of {
		out = append(out, o.Step)
	}
	return out
}

func oldText(s provision.RRset) string {
	switch len(s.Values) {
	case 0:
		return "(none)"
	case 1, 2, 3:
		return strings.Join(s.Values, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(s.Values[:2], ", "), len(s.Values)-2)
}

func (b *builder) newText(r provision.Record) string {
	if len(r.To)+len(r.Balancers) == 0 {
		return strings.Join(r.Values, ", ")
	}
	if len(r.To) == 0 && len(r.Balancers) == 1 {
		return "the address of load balancer " + r.Balancers[0]
	}
	n := len(r.Balancers)
	for _, to := range r.To {
		if p := b.pools[to]; p != nil {
			n += p.server.Enough()
		} else {
			n += len(b.addresses[to])
		}
	}
	if n == 1 {
		return "the new address"
	}
	return fmt.Sprintf("the %d new addresses", n)
}
