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
	// DNSMove {zone old name type ttl values lowered} → {moved_at stale_until ttl}
	DNSMove provision.Kind = "dns.move"
	// DNSAgree {zone name type values name_servers settled} → {servers agreed_at}: every authoritative server serves it, and with
	// settled the provider itself has nothing on its way to them any more.
	DNSAgree provision.Kind = "dns.agree"
	// DNSResolvers {name type values resolvers} → {fresh stale}: what the plan's resolvers say. It never fails.
	DNSResolvers provision.Kind = "dns.resolvers"
	// DNSRestore {zone old name type ttl values} → {}: undo of DNSMove.
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
	facts := b.facts.Records[provision.RecordKey(z.FQDN(r), r.Type)]
	name := trim(z.FQDN(r))
	needs := append([]provision.StepID{}, held...)
	values := provision.Arg{List: true}
	var proven *provision.Server
	for _, to := range r.To {
		s, _ := b.plan.Server(to)
		if s.Ready != nil {
			proven = &s
		}
		needs = append(needs, b.proofs[to]...)
		needs = append(needs, b.proveAgain(z, s, held)...)
		for _, at := range b.addresses[to] {
			out := at.v4
			if r.Type == "AAAA" {
				out = at.v6
			}
			values.Of = append(values.Of, out)
			needs = append(needs, out.Step)
		}
	}
	if len(r.To) == 0 {
		values = provision.Lit(r.Values)
	}
	lowered := recordID("lower", z, r)
	if _, ok := b.graph.Step(lowered); ok {
		needs = append(needs, lowered)
	}
	old := facts.Old
	old.Name, old.Type = z.FQDN(r), r.Type
	move := b.add(provision.Step{
		ID: recordID("move", z, r), Kind: DNSMove, Needs: unique(needs),
		With: map[string]provision.Arg{"zone": provision.Lit(z.Name), "old": provision.Lit(rrset(old)),
			"ttl": provision.Lit(seconds(r.TTL)), "values": values},
		Undo: provision.Undo{Kind: DNSRestore, Take: []string{"zone", "old", "ttl", "values"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(2 * time.Second),
		Say: provision.Say{Stage: provision.StageMove, Thing: name, Detail: fmt.Sprintf("%s %s → %s", r.Type, oldText(old), b.newText(r))},
	})
	agree := b.add(provision.Step{
		ID: recordID("agree", z, r), Kind: DNSAgree, Needs: unique(append([]provision.StepID{move}, outputsOf(values)...)),
		With: map[string]provision.Arg{"zone": provision.Lit(z.Name), "name": provision.Lit(z.FQDN(r)), "type": provision.Lit(r.Type),
			"values": values, "name_servers": provision.Lit(facts.NameServers)},
		Within: provision.Duration(z.Within), Expect: provision.Duration(10 * time.Second),
		Say: provision.Say{Stage: provision.StageConfirm, Thing: name, Detail: "at " + strings.Join(facts.NameServers, ", ")},
	})
	if len(z.Resolvers) > 0 {
		b.add(provision.Step{
			ID: recordID("resolvers", z, r), Kind: DNSResolvers, Needs: unique(append([]provision.StepID{agree}, outputsOf(values)...)),
			With:   map[string]provision.Arg{"name": provision.Lit(z.FQDN(r)), "type": provision.Lit(r.Type), "values": values, "resolvers": provision.Lit(z.Resolvers)},
			Within: provision.Duration(30 * time.Second), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StageConfirm, Thing: name, Detail: "what " + strings.Join(z.Resolvers, ", ") + " still hold"},
		})
	}
	if proven == nil || !strings.HasPrefix(proven.Ready.URL, "https://"+name+"/") && !strings.HasPrefix(proven.Ready.URL, "https://"+name+":") && proven.Ready.URL != "https://"+name {
		return
	}
	with := b.readyArgs(*proven)
	with["name_servers"] = provision.Lit(facts.NameServers)
	with["addresses"] = values
	b.add(provision.Step{
		ID: recordID("confirm", z, r), Kind: ServiceConfirm, Needs: unique(append([]provision.StepID{agree}, outputsOf(values)...)), With: with,
		Within: provision.Duration(proven.Ready.Within), Expect: provision.Duration(2 * time.Second),
		Say: provision.Say{Stage: provision.StageConfirm, Thing: name, Detail: "https through the name"},
	})
}

// proveAgain adds one more proof of all slots at once where the first may have grown old by the time of the
// move: while the slowest of several slots was waited for, or the user's own steps ran. What DNS will name must have
// answered moments before.
func (b *builder) proveAgain(z provision.Zone, s provision.Server, held []provision.StepID) []provision.StepID {
	slots := b.addresses[s.Name]
	if s.Ready == nil || len(held) == 0 && len(slots) < 2 {
		return nil
	}
	id := provision.StepID("reprove/" + z.Name + "/" + s.Name)
	if _, ok := b.graph.Step(id); ok { // for another record of the zone
		return []provision.StepID{id}
	}
	with, needs := b.readyArgs(s), append(slices.Clone(held), b.proofs[s.Name]...)
	addresses := provision.Arg{List: true}
	for _, at := range slots {
		addresses.Of = append(addresses.Of, at.v4)
		if b.wants(s.Name, "AAAA") {
			addresses.Of = append(addresses.Of, at.v6)
		}
	}
	with["addresses"], with["successes"] = addresses, provision.Lit(1)
	b.add(provision.Step{ID: id, Kind: ServiceProve, Volatile: true, Needs: unique(append(needs, outputsOf(addresses)...)), With: with,
		Within: provision.Duration(s.Ready.Within), Expect: provision.Duration(expectMoment),
		Say: provision.Say{Stage: provision.StageProve, Thing: s.Name, Detail: "all at once, right before the move"}})
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
	if len(r.To) == 0 {
		return strings.Join(r.Values, ", ")
	}
	n := 0
	for _, to := range r.To {
		n += len(b.addresses[to])
	}
	if n == 1 {
		return "the new address"
	}
	return fmt.Sprintf("the %d new addresses", n)
}
