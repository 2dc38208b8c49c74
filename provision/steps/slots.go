package steps

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// SlotsChoose {want slots keep "ipv4 SLOT" "ipv6 SLOT" "fixed SLOT"} → {slots ipv4 ipv6 fixed}: which servers of a block serve, where
// any of several would do; the engine itself performs it. What is not there of a slot is left out of the arguments.
const SlotsChoose provision.Kind = "slots.choose"

// pool is a block that the run needs not all servers of.
type pool struct {
	server provision.Server
	proofs []provision.StepID // of all slots
	pick   provision.StepID   // what names those that serve
}

// enough adds the step that begins as soon as Need servers of the block are proven. Where that is all that the plan
// wants, the others are given up.
func (b *builder) enough(s provision.Server) {
	p := &pool{server: s, proofs: b.proofs[s.Name]}
	what := fmt.Sprintf("as soon as %d of %d are proven", s.Enough(), len(s.Slots()))
	p.pick = b.choose(p, "enough/", s.Enough(), nil, provision.Quorum{Want: s.Enough(), Least: s.Enough(), Final: s.Enough() == s.Count}, what)
	b.pools[s.Name], b.proofs[s.Name] = p, []provision.StepID{p.pick}
}

// choose adds one choice among the slots of a pool, once needs are done.
func (b *builder) choose(p *pool, verb string, want int, needs []provision.StepID, q provision.Quorum, what string) provision.StepID {
	s := p.server
	with := map[string]provision.Arg{"want": provision.Lit(want), "slots": provision.Lit(s.Slots())}
	needs = append(needs, p.proofs...)
	if p.pick != "" {
		needs, with["keep"] = append(needs, p.pick), provision.From(p.pick, provision.Chosen)
	}
	for _, at := range b.addresses[s.Name] {
		with["ipv4 "+at.slot] = provision.Arg{Of: []provision.Output{at.v4}}
		needs = append(needs, at.v4.Step)
		if len(b.plan.BalancersOf(s.Name)) > 0 {
			with["fixed "+at.slot] = provision.From(serverID(at.slot), "fixed")
			needs = append(needs, serverID(at.slot))
		}
		if b.wants(s.Name, "AAAA") {
			with["ipv6 "+at.slot] = provision.Arg{Of: []provision.Output{at.v6}}
			needs = append(needs, at.v6.Step)
		}
	}
	return b.add(provision.Step{
		ID: provision.StepID(verb + s.Name), Kind: SlotsChoose, Needs: unique(needs), With: with, Quorum: &q,
		Within: provision.Duration(time.Minute), Say: provision.Say{Stage: provision.StageProve, Thing: s.Name, Detail: what},
	})
}

// addressesOf gives the addresses of a block's servers, of those that were chosen where not all are needed, and the
// steps that they come from.
func (b *builder) addressesOf(server, typ string) (out []provision.Output, needs []provision.StepID) {
	name := "ipv4"
	if typ == "AAAA" {
		name = "ipv6"
	}
	if p := b.pools[server]; p != nil {
		return []provision.Output{{Step: p.pick, Name: name}}, []provision.StepID{p.pick}
	}
	for _, at := range b.addresses[server] {
		o := at.v4
		if typ == "AAAA" {
			o = at.v6
		}
		out, needs = append(out, o), append(needs, o.Step)
	}
	return out, needs
}

// membersOf gives the addresses under which a load balancer reaches a block's servers, and the steps that they come from.
func (b *builder) membersOf(server string) (out []provision.Output, needs []provision.StepID) {
	if p := b.pools[server]; p != nil {
		return []provision.Output{{Step: p.pick, Name: "fixed"}}, []provision.StepID{p.pick}
	}
	for _, at := range b.addresses[server] {
		out, needs = append(out, provision.Output{Step: serverID(at.slot), Name: "fixed"}), append(needs, serverID(at.slot))
	}
	return out, needs
}

// rest adds, for every block whose names move before all of its servers are proven, the choice among all of them and
// the joining of the names; then, for every pool, the removal of what is not chosen.
func (b *builder) rest() {
	joins := map[string]bool{}
	for _, s := range b.plan.Servers {
		p := b.pools[s.Name]
		if p == nil || p.server.Enough() == p.server.Count {
			continue
		}
		joins[s.Name] = true
		p.pick = b.choose(p, "rest/", p.server.Count, b.named(s.Name, "agree", "confirm"), provision.Quorum{Want: p.server.Count, Least: p.server.Enough(), Final: true},
			fmt.Sprintf("up to %d, once all are proven or lost", p.server.Count))
	}
	for _, s := range b.plan.Servers {
		if joins[s.Name] {
			b.restMembers(s.Name)
		}
	}
	for _, z := range b.plan.Zones {
		for _, r := range z.Records {
			if slices.ContainsFunc(r.To, func(to string) bool { return joins[to] }) {
				b.join(z, r)
			}
		}
	}
	for _, s := range b.plan.Servers {
		if p := b.pools[s.Name]; p != nil {
			b.drop(p, append(b.named(s.Name, "agree", "confirm", "join-agree", "join-confirm"), b.joinedRest(s.Name)...))
		}
	}
}

// joinedRest gives the steps that make the rest of a block's servers members: until then those that were members before serve.
func (b *builder) joinedRest(server string) []provision.StepID {
	var out []provision.StepID
	for _, x := range b.plan.BalancersOf(server) {
		for _, s := range b.graph.Steps {
			if id := string(s.ID); s.ID == joinID("members-rest", x.Name) || strings.HasPrefix(id, "enable-rest/"+x.Name+"/") {
				out = append(out, s.ID)
			}
		}
	}
	return out
}

// named gives those steps of all records that name a block's servers, or a load balancer that they are members of.
func (b *builder) named(server string, verbs ...string) []provision.StepID {
	var out []provision.StepID
	for _, z := range b.plan.Zones {
		for _, r := range z.Records {
			through := slices.ContainsFunc(b.plan.BalancersOf(server), func(x provision.Balancer) bool { return slices.Contains(r.Balancers, x.Name) })
			if !slices.Contains(r.To, server) && !through {
				continue
			}
			for _, verb := range verbs {
				if id := recordID(verb, z, r); b.step(id) != nil {
					out = append(out, id)
				}
			}
		}
	}
	return out
}

// drop adds, for each slot, the removal of what is there of it if it is given up: it was slower than the others, or it
// failed.
func (b *builder) drop(p *pool, after []provision.StepID) {
	s := p.server
	for _, slot := range s.Slots() {
		server := serverID(slot)
		var own []provision.StepID
		for _, step := range b.graph.Steps {
			if step.Slot == slot {
				own = append(own, step.ID)
			}
		}
		with := map[string]provision.Arg{"cloud": provision.Lit(s.Cloud), "run": provision.Lit(string(b.run)), "slot": provision.Lit(slot)}
		remove := func(verb string, kind provision.Kind, of provision.StepID, before ...provision.StepID) provision.StepID {
			args := map[string]provision.Arg{"id": provision.From(of, "id")}
			for k, v := range with {
				args[k] = v
			}
			return b.add(provision.Step{
				ID: provision.StepID(verb + slot), Kind: kind, Slot: slot, Clears: true, Needs: unique(slices.Concat(after, []provision.StepID{p.pick}, own, before)), With: args,
				Within: provision.Duration(5 * time.Minute), Say: provision.Say{Stage: provision.StageRemove, Thing: slot, Detail: "unless it is one of those that serve"},
			})
		}
		var first []provision.StepID
		if address := provision.StepID("address/" + slot); b.step(address) != nil {
			first = append(first, remove("drop-address/", FloatingIPDelete, address))
		}
		remove("drop/", ServerDelete, server, first...)
	}
}
