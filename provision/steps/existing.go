package steps

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// Kinds of what takes servers into a load balancer of Rackspace's first cloud that was there before the run; rackspace/balancer performs
// them. None of them makes or deletes one, or touches a member but those that the run added and those that the plan names.
const (
	// CloudBalancerUse {cloud id name} → {id name address ipv4 ipv6}: it is there, and not being changed.
	CloudBalancerUse provision.Kind = "cloudbalancer.use"
	// CloudBalancerDetach {cloud balancer member_port members also hold}: undo of CloudBalancerAttach. Members at the addresses members, and
	// also, are there no more. hold is how many seconds none of them may show first, where nobody knows whether they were added.
	CloudBalancerDetach provision.Kind = "cloudbalancer.detach"
	// CloudBalancerDisable {cloud balancer nodes member_port members} → {}: nodes, which the servers of the run take the place of, get no traffic; but for
	// those at the addresses of members, which were given to the run's own servers anew.
	CloudBalancerDisable provision.Kind = "cloudbalancer.disable"
	// CloudBalancerRestore {cloud balancer nodes hold}: undo of CloudBalancerDisable. Those of nodes that are there yet have the condition that is
	// said with each.
	CloudBalancerRestore provision.Kind = "cloudbalancer.restore"
	// CloudBalancerUnterminate {cloud balancer fingerprint also nodes hold}: undo of CloudBalancerTerminate where TLS ended nowhere before. A certificate that is
	// none of these by now stays; and so does any where somebody has joined who is not of nodes, those that were members before.
	CloudBalancerUnterminate provision.Kind = "cloudbalancer.unterminate"
)

// useBalancer adds the step that takes the load balancer that is there for the block's.
func (b *builder) useBalancer(x provision.Balancer) provision.StepID {
	s := provision.Standing{Name: x.Existing.Name}
	if known := b.facts.Balancers[x.Name].Standing; known != nil {
		s = *known
	}
	return b.add(provision.Step{
		ID: balancerID(x.Name), Kind: CloudBalancerUse, Needs: unique(b.heldBack(nil, x.Ref())),
		With:   map[string]provision.Arg{"cloud": provision.Lit(x.Cloud), "id": provision.Lit(s.ID), "name": provision.Lit(s.Name)},
		Within: provision.Duration(x.Timeout), Expect: provision.Duration(time.Second),
		Say: provision.Say{Stage: provision.StageCreate, Thing: "load balancer " + x.Name, Detail: fmt.Sprintf("%s (%s) at %s, which is there: it and its other members stay as they are", s.Name, s.ID, cmp.Or(s.IPv4, s.IPv6))},
	})
}

// replace adds the step that sends no more traffic to the members whose place the servers have taken.
func (b *builder) replace(x provision.Balancer, s provision.Standing, attached provision.StepID, change func(provision.Step) provision.StepID) {
	members := x.Existing.Replaced(s)
	if len(members) == 0 {
		return
	}
	var names []string
	for _, m := range members {
		names = append(names, fmt.Sprintf("%s:%d", m.Address, m.Port))
	}
	own := b.step(attached).With["members"]
	change(provision.Step{
		ID: joinID("disable", x.Name), Kind: CloudBalancerDisable, Needs: append([]provision.StepID{attached}, outputsOf(own)...),
		With: map[string]provision.Arg{"nodes": provision.Lit(nodes(members)), "member_port": provision.Lit(x.MemberPort), "members": own}, Undo: provision.Undo{Kind: CloudBalancerRestore, Take: []string{"cloud", "balancer", "nodes"}},
		Say: provision.Say{Stage: provision.StageProve, Thing: "load balancer " + x.Name, Detail: "no more traffic to " + strings.Join(names, ", ") + ", whose place they take"},
	})
}

func nodes(members []provision.StandingMember) []any {
	out := make([]any, len(members))
	for i, m := range members {
		out[i] = map[string]any{"id": m.ID, "address": m.Address, "port": m.Port, "condition": m.Condition}
	}
	return out
}

// leaveBalancers lets what a run added to load balancers that stay be taken out before the servers behind it are deleted: their addresses
// may be somebody else's soon. Where nobody knows whether a change was done, it is looked for.
func leaveBalancers(out provision.Graph, g provision.Graph, events []provision.Event, undo map[provision.StepID]provision.StepID) {
	var first, detached []provision.StepID
	for _, s := range g.Steps {
		id := undo[s.ID]
		said, ok := map[provision.Kind]string{CloudBalancerDetach: "without the servers of the run", CloudBalancerRestore: "its other members as they were before",
			CloudBalancerUnterminate: "without the certificate, as it was before"}[s.Undo.Kind]
		if id == "" || !ok {
			continue
		}
		if first = append(first, id); s.Undo.Kind == CloudBalancerDetach {
			detached = append(detached, id)
		}
		for i := range out.Steps {
			if out.Steps[i].ID != id {
				continue
			}
			hold(out.Steps[i].With, events, s)
			out.Steps[i].Say.Detail = said
		}
	}
	for i, s := range out.Steps {
		switch s.Kind {
		case ServerDelete, FloatingIPDelete:
			out.Steps[i].Needs = unique(append(s.Needs, first...))
		case CloudBalancerUnterminate: // who is a member yet keeps it
			out.Steps[i].Needs = unique(append(s.Needs, detached...))
		}
	}
}

// WithRenewals lets the undoing of a run take what renewals of it have sent to a load balancer that was there before for the run's own. later are the
// journals of the renewals, oldest first.
func WithRenewals(undo provision.Graph, later [][]provision.Event) provision.Graph {
	undo.Steps = slices.Clone(undo.Steps)
	for i, s := range undo.Steps {
		if s.Kind != CloudBalancerUnterminate {
			continue
		}
		id := joinID("terminate", strings.TrimPrefix(string(s.ID), "remove/terminate-"))
		var also []string
		for _, events := range later {
			if len(events) == 0 || events[0].Graph == nil {
				continue
			}
			outputs, touched := effects(events)
			sent, _ := events[0].Graph.Step(id)
			in, err := sent.Resolve(0, outputs)
			if !touched[id] || err != nil {
				continue
			}
			also = append(also, in.Text("fingerprint"))
			s.With = literalsAnd(s.With, "also", also)
			hold(s.With, events, sent)
		}
		undo.Steps[i] = s
	}
	return undo
}

// standingMembers gives the step that takes servers into such a load balancer all their addresses: of a run whose journal was lost it is not
// known which of them were members.
func standingMembers(s provision.Step, servers []provision.Live) provision.Step {
	var also []string
	for _, l := range servers {
		also = append(also, l.Addresses...)
	}
	s.With = literalsAnd(s.With, "also", also)
	s.Undo.Take = append([]string{"also"}, s.Undo.Take...)
	return s
}

func literalsAnd(with map[string]provision.Arg, name string, v any) map[string]provision.Arg {
	out := maps.Clone(with)
	out[name] = provision.Lit(v)
	return out
}

// shared gives a step of the run that changes a load balancer which was there before as it is to be undone where others have done the same to it.
func (m mover) shared(s provision.Step, runs []mover) provision.Step {
	own, err := s.Resolve(0, m.outputs)
	if use, _ := m.graph.Step(balancerOf(s)); err != nil || use.Kind != CloudBalancerUse {
		return s
	}
	list, changed := nodesOf(own), false
	settled := map[string]bool{} // nodes that an earlier run has in hand, which stands
	for _, r := range slices.Backward(runs) {
		same, ok := r.graph.Step(s.ID)
		theirs, err := same.Resolve(0, r.outputs)
		if !ok || err != nil || same.Kind != s.Kind || theirs.Text("balancer") != own.Text("balancer") {
			continue
		}
		switch {
		case r.run > m.run && !r.undone && s.Kind == CloudBalancerDisable: // no traffic, for the sake of that one
			n := len(list)
			list = slices.DeleteFunc(list, func(n provision.StandingMember) bool { return slices.ContainsFunc(nodesOf(theirs), n.Same) })
			changed = changed || len(list) < n
		case r.run < m.run && s.Kind == CloudBalancerDisable:
			for _, was := range nodesOf(theirs) {
				i := slices.IndexFunc(list, was.Same)
				if i < 0 || settled[was.ID] {
					continue
				}
				if settled[was.ID] = !r.undone; r.undone && list[i].Condition == disabled && was.Condition != disabled { // that one left it to this one
					list[i].Condition, changed = was.Condition, true
				}
			}
		case r.run < m.run && s.Undo.Kind == "":
			if !r.undone {
				return s
			}
			if same.Undo.Kind == CloudBalancerUnterminate { // there was no certificate before that one
				s.Undo, list, changed = same.Undo, nodesOf(theirs), true
			}
		}
	}
	switch {
	case !changed:
		return s
	case len(list) == 0 && s.Kind == CloudBalancerDisable:
		s.Undo = provision.Undo{}
		return s
	}
	s.With = literalsAnd(s.With, "nodes", nodes(list))
	s.With[inherited] = provision.Lit(true)
	return s
}

// disabled is the condition of a member that gets no traffic.
const disabled = "DISABLED"

// inherited marks a step that is undone though the run may have found nothing to do: an earlier run had done it. No handler is given it.
const inherited = "inherited"

// balancerOf gives the step that makes, or uses, the load balancer that a step changes.
func balancerOf(s provision.Step) provision.StepID {
	if of := s.With["balancer"].Of; len(of) == 1 {
		return of[0].Step
	}
	return ""
}

func nodesOf(in provision.Values) []provision.StandingMember {
	var a struct {
		Nodes []provision.StandingMember `json:"nodes"`
	}
	if err := (provision.Values{"nodes": in["nodes"]}).Decode(&a); err != nil {
		return nil
	}
	return a.Nodes
}
