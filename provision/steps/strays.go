package steps

import (
	"cmp"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// stray is what the run has made and the plan has no place for any more.
type stray struct {
	provision.Step
	out provision.Values
}

func (f Found) strays(g provision.Graph) []stray {
	var out []stray
	add := func(id, thing string, kind provision.Kind, with provision.Values, undo provision.Kind, values provision.Values) {
		s := provision.Step{ID: provision.StepID(id), Kind: kind, With: map[string]provision.Arg{"run": provision.Lit(string(f.Run))},
			Undo: provision.Undo{Kind: undo, Take: []string{"id"}},
			Say:  provision.Say{Stage: provision.StageCreate, Thing: thing, Detail: "of the run, in no slot of the plan: left as it is"}}
		for k, v := range with {
			s.With[k] = provision.Lit(v)
		}
		s.Undo.Take = append(s.Undo.Take, sortedKeys(s.With)...)
		if _, twice := g.Step(s.ID); twice || slices.ContainsFunc(out, func(x stray) bool { return x.ID == s.ID }) {
			s.ID += provision.StepID("@" + cmp.Or(values.Text("id"), with.Text("cloud")))
		}
		out = append(out, stray{s, values})
	}
	wanted := func(kind provision.Kind, cloud, arg, is string) bool {
		return slices.ContainsFunc(g.Steps, func(s provision.Step) bool {
			return s.Kind == kind && s.With["cloud"].Is == cloud && s.With[arg].Is == is
		})
	}
	for _, cloud := range sortedKeys(f.KeyPairs) {
		for _, name := range f.KeyPairs[cloud] {
			if !wanted(KeypairCreate, cloud, "name", name) {
				add("keypair/"+name, name, KeypairCreate, provision.Values{"cloud": cloud, "name": name}, KeypairDelete, provision.Values{"name": name})
			}
		}
	}
	for _, cloud := range sortedKeys(f.ServerGroups) {
		for _, x := range f.ServerGroups[cloud] {
			if !wanted(ServerGroupCreate, cloud, "name", x.Name) {
				add("spread/"+x.Name, x.Name, ServerGroupCreate, provision.Values{"cloud": cloud, "name": x.Name}, ServerGroupDelete, provision.Values{"id": x.ID})
			}
		}
	}
	for _, cloud := range sortedKeys(f.Groups) {
		for _, x := range f.Groups[cloud] {
			if !wanted(GroupCreate, cloud, "name", x.Name) {
				add("group/"+x.Name, x.Name, GroupCreate, provision.Values{"cloud": cloud, "name": x.Name}, GroupDelete, provision.Values{"id": x.ID, "name": x.Name})
			}
		}
	}
	for _, cloud := range sortedKeys(f.Containers) {
		for _, x := range f.Containers[cloud] {
			if !wanted(CertificateStore, cloud, "name", x.Name) {
				add("store/"+x.Name, x.Name, CertificateStore, provision.Values{"cloud": cloud, "name": x.Name}, CertificateRemove, provision.Values{"id": x.ID, "name": x.Name})
			}
		}
	}
	for _, cloud := range sortedKeys(f.Balancers) {
		create, remove := BalancerCreate, BalancerDelete
		if f.Rackspace[cloud] {
			create, remove = CloudBalancerCreate, CloudBalancerDelete
		}
		for _, l := range f.Balancers[cloud] {
			if !wanted(create, cloud, "name", l.Name) {
				slot := l.Name[strings.Index(l.Name, strings.ToLower(string(f.Run)))+len(f.Run)+1:]
				add("balancer/"+l.Name, l.Name, create, provision.Values{"cloud": cloud, "name": l.Name, "slot": slot}, remove, provision.Values{"id": l.ID, "name": l.Name})
				if len(l.Addresses) > 1 && !f.Rackspace[cloud] { // there it has one of each kind
					balancer := out[len(out)-1].ID
					add("address/"+slot, slot, FloatingIPCreate, provision.Values{"cloud": cloud, "slot": slot}, FloatingIPDelete, provision.Values{})
					out[len(out)-1].Needs = []provision.StepID{balancer}
				}
			}
		}
	}
	for _, cloud := range sortedKeys(f.Servers) {
		for _, l := range f.Servers[cloud] {
			if l.Slot != "" && wanted(ServerCreate, cloud, "slot", l.Slot) {
				continue
			}
			thing, with := cmp.Or(l.Slot, l.Name, l.ID), provision.Values{"cloud": cloud}
			if l.Slot != "" {
				with["slot"] = l.Slot
			}
			add("server/"+thing, thing, ServerCreate, with, ServerDelete, provision.Values{"id": l.ID, "address": first(l.Addresses), "ipv4": first(l.Addresses), "addresses": l.Addresses})
			if len(l.Addresses) > 1 && l.Slot != "" { // one of them may be a floating one
				server := out[len(out)-1].ID
				add("address/"+thing, thing, FloatingIPCreate, with, FloatingIPDelete, provision.Values{})
				out[len(out)-1].Needs = []provision.StepID{server}
			}
		}
	}
	return out
}

// withStrays adds strays behind what they may use, so that Reverse removes them before it.
func withStrays(g provision.Graph, strays []stray) provision.Graph {
	if len(strays) == 0 {
		return g
	}
	var uses, stores []provision.StepID
	g.Steps = slices.Clip(g.Steps)
	for _, s := range strays {
		g.Steps = append(g.Steps, s.Step)
	}
	for _, s := range g.Steps {
		switch s.Kind {
		case GroupCreate, ServerGroupCreate, KeypairCreate:
			uses = append(uses, s.ID)
		case CertificateStore:
			stores = append(stores, s.ID)
		}
	}
	for i := len(g.Steps) - len(strays); i < len(g.Steps); i++ {
		if g.Steps[i].Kind == ServerCreate {
			g.Steps[i].Needs = uses
		}
		if g.Steps[i].Kind == BalancerCreate {
			g.Steps[i].Needs = stores
		}
	}
	return g
}
