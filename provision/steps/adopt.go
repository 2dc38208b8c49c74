package steps

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// DNSRelease {zone old ours values name_servers} → {}: done once neither the provider nor any name server gives an
// address of ours or values. It is the undo of a move of a record whose set of before nobody knows: it
// changes nothing, and what the record names is not removed before it.
const DNSRelease provision.Kind = "dns.release"

// Found is what a region holds of a run whose journal was lost, by cloud.
type Found struct {
	Run          provision.RunID
	Servers      map[string][]provision.Live
	Groups       map[string][]provision.NamedID // security groups
	ServerGroups map[string][]provision.NamedID
	KeyPairs     map[string][]string
	Balancers    map[string][]provision.Live
	Containers   map[string][]provision.NamedID // of the key manager
	Rackspace    map[string]bool                // which clouds are Rackspace's first: their load balancers go by steps of their own
}

// addresses are those of all servers and load balancers of the run.
func (f Found) addresses() []string {
	var out []string
	for _, cloud := range sortedKeys(f.Servers) {
		for _, s := range f.Servers[cloud] {
			out = append(out, s.Addresses...)
		}
	}
	for _, cloud := range sortedKeys(f.Balancers) {
		for _, b := range f.Balancers[cloud] {
			out = append(out, b.Addresses...)
		}
	}
	return out
}

// Adopt gives the graph of a run whose journal was lost, and the events that its new journal begins with after
// run.started. g is what Build gives for the run's id and the region as it is now, so what is there already is
// found by the steps themselves. Three things differ:
//
//   - A record that points to the run's own servers already was moved by the run, and what it held before is not
//     known: nothing restores it, and its servers are not removed while it names them (DNSRelease).
//   - A server or group that no step of g makes, of a slot that the plan does not have any more, becomes a step
//     that is done: nothing is changed about it, and undoing the run removes it.
//   - A server or load balancer that was not seen may have been asked for a moment ago: it is looked for as after an
//     unknown outcome before it is made, and so is the floating address of one that is there. The events are intents of those steps.
//     What comes before servers does not wait: its name is the run's own, and time is short.
func Adopt(g provision.Graph, found Found, at time.Time) (provision.Graph, []provision.Event) {
	var events []provision.Event
	event := func(typ provision.EventType, s provision.Step, out provision.Values) {
		events = append(events, provision.Event{V: provision.EventVersion, Time: at, Run: found.Run, Type: typ, Step: s.ID, Kind: s.Kind, Attempt: 1, Out: out})
	}
	g.Steps = slices.Clone(g.Steps)
	for i, s := range g.Steps {
		switch s.Kind {
		case DNSLower, DNSMove:
			if known := found.addresses(); overlap(oldSet(s).Values, known) {
				g.Steps[i] = unknownBefore(g, s, known)
			}
		case ServerCreate:
			if l, ok := found.Server(s); ok {
				s.Say.Detail, s.Expect = "there already, "+l.Status, 0
				g.Steps[i] = s
			} else {
				event(provision.StepIntent, s, nil)
			}
		case BalancerCreate, CloudBalancerCreate:
			if l, ok := found.balancer(s); ok {
				s.Say.Detail, s.Expect = "there already, "+l.Status, 0
				g.Steps[i] = s
			} else {
				event(provision.StepIntent, s, nil)
			}
		case CloudBalancerAttach:
			if s.Undo.Kind == CloudBalancerDetach {
				cloud, _ := s.With["cloud"].Is.(string)
				g.Steps[i] = standingMembers(s, found.Servers[cloud])
			}
		case FloatingIPCreate: // what is not there has none
			_, server := found.Server(s)
			if _, balancer := found.balancer(s); server || balancer {
				event(provision.StepIntent, s, nil)
			}
		}
	}
	strays := found.strays(g)
	for _, s := range strays {
		event(provision.StepIntent, s.Step, nil)
		event(provision.StepDone, s.Step, s.out)
	}
	return withStrays(g, strays), events
}

// Remains is Adopt for a run that is only to be removed: every record is left as it is, and what was seen is known by
// its id, so that it need not be looked for.
func Remains(g provision.Graph, found Found, at time.Time) (provision.Graph, []provision.Event) {
	g.Steps = slices.Clone(g.Steps)
	for i, s := range g.Steps {
		if s.Kind == DNSLower || s.Kind == DNSMove {
			g.Steps[i] = unknownBefore(g, s, found.addresses())
		}
	}
	g, events := Adopt(g, found, at)
	for _, s := range g.Steps {
		if out, ok := found.known(s); ok {
			events = append(events, provision.Event{V: provision.EventVersion, Time: at, Run: found.Run, Type: provision.StepDone, Step: s.ID, Kind: s.Kind, Attempt: 1, Out: out})
		}
	}
	return g, events
}

// Adopted reports whether events are those of a run whose journal was lost.
func Adopted(events []provision.Event) bool { return len(events) > 0 && events[0].Adopted }

// BeforeUnknown gives the records that a run has moved, or was to move, without that anybody knew what they held before.
func BeforeUnknown(g provision.Graph) []string {
	var out []string
	for _, s := range g.Steps {
		if s.Kind == DNSMove && s.Undo.Kind == DNSRelease {
			out = append(out, strings.TrimPrefix(string(s.ID), "move/"))
		}
	}
	return out
}

// ReverseAdopted is Reverse for a run whose journal was lost: what it had made before that is recorded nowhere, so
// everything that it could have made is looked for.
func ReverseAdopted(g provision.Graph, events []provision.Event, run provision.RunID) provision.Graph {
	var could []provision.Event
	for _, s := range g.Steps {
		if s.Undo.Kind != "" && s.Undo.Kind != DNSRestore {
			could = append(could, provision.Event{Type: provision.StepIntent, Step: s.ID, Kind: s.Kind, Attempt: 1})
		}
	}
	return Reverse(g, append(could, events...), run)
}

// unknownBefore takes from a step of DNS what would put its old set back.
func unknownBefore(g provision.Graph, s provision.Step, ours []string) provision.Step {
	if s.Undo.Kind == DNSRelease {
		return s
	}
	s.Undo = provision.Undo{}
	if s.Kind != DNSMove {
		return s
	}
	with := map[string]provision.Arg{"ours": provision.Lit(ours), "name_servers": provision.Lit([]string{})}
	for k, v := range s.With {
		with[k] = v
	}
	for _, a := range g.Steps {
		if a.Kind == DNSAgree && slices.Contains(a.Needs, s.ID) {
			with["name_servers"] = a.With["name_servers"]
		}
	}
	s.With = with
	s.Undo = provision.Undo{Kind: DNSRelease, Take: []string{"zone", "old", "ours", "values", "name_servers"}}
	s.Say.Detail += "; what it held before the run is not known"
	return s
}

// Server gives the one that is there of those that a server.create, or a step of its slot, is about.
func (f Found) Server(s provision.Step) (provision.Live, bool) {
	cloud, _ := s.With["cloud"].Is.(string)
	i := slices.IndexFunc(f.Servers[cloud], func(l provision.Live) bool { return l.Slot != "" && l.Slot == s.With["slot"].Is })
	if i < 0 {
		return provision.Live{}, false
	}
	return f.Servers[cloud][i], true
}

// balancer gives the one that is there of those that a balancer.create, or a step of its slot, is about.
func (f Found) balancer(s provision.Step) (provision.Live, bool) {
	cloud, _ := s.With["cloud"].Is.(string)
	slot, _ := s.With["slot"].Is.(string)
	i := slices.IndexFunc(f.Balancers[cloud], func(l provision.Live) bool { return slot != "" && strings.HasSuffix(l.Name, "-"+strings.ToLower(slot)) })
	if i < 0 {
		return provision.Live{}, false
	}
	return f.Balancers[cloud][i], true
}

// known gives what the undo of a step is to know of what was seen.
func (f Found) known(s provision.Step) (provision.Values, bool) {
	cloud, _ := s.With["cloud"].Is.(string)
	name, _ := s.With["name"].Is.(string)
	named := func(list []provision.NamedID) (provision.Values, bool) {
		i := slices.IndexFunc(list, func(x provision.NamedID) bool { return x.Name == name })
		if i < 0 {
			return nil, false
		}
		return provision.Values{"id": list[i].ID, "name": name}, true
	}
	switch s.Kind {
	case ServerCreate:
		l, ok := f.Server(s)
		return provision.Values{"id": l.ID}, ok
	case BalancerCreate, CloudBalancerCreate:
		l, ok := f.balancer(s)
		return provision.Values{"id": l.ID, "name": name}, ok
	case CloudBalancerUse:
		return provision.Values{"id": s.With["id"].Is, "name": name}, s.With["id"].Is != ""
	case CertificateStore:
		return named(f.Containers[cloud])
	case GroupCreate:
		return named(f.Groups[cloud])
	case ServerGroupCreate:
		return named(f.ServerGroups[cloud])
	case KeypairCreate:
		return provision.Values{"name": name}, slices.Contains(f.KeyPairs[cloud], name)
	}
	return nil, false
}

// overlap reports whether two lists of addresses have one in common, however it is written.
func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool {
		return slices.ContainsFunc(b, func(y string) bool { return provision.SameAddress(x, y) })
	})
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func first(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

// String tells people what there is, in one line.
func (f Found) String() string {
	var out []string
	for _, cloud := range sortedKeys(f.Servers) {
		for _, l := range f.Servers[cloud] {
			out = append(out, strings.TrimSuffix(fmt.Sprintf("%s (%s, %s", cmp.Or(l.Slot, l.Name, l.ID), l.Status, strings.Join(l.Addresses, ", ")), ", ")+")")
		}
	}
	for _, cloud := range sortedKeys(f.Balancers) {
		for _, l := range f.Balancers[cloud] {
			out = append(out, fmt.Sprintf("load balancer %s (%s, %s)", l.Name, l.Status, strings.Join(l.Addresses, ", ")))
		}
	}
	n := 0
	for _, list := range f.Containers {
		n += len(list)
	}
	for _, list := range f.Groups {
		n += len(list)
	}
	for _, list := range f.ServerGroups {
		n += len(list)
	}
	for _, list := range f.KeyPairs {
		n += len(list)
	}
	switch {
	case n == 0:
	case len(out) == 0:
		out = append(out, "no server, but "+f.lesser())
	default:
		out = append(out, "its "+f.lesser())
	}
	return strings.Join(out, "; ")
}

func (f Found) lesser() string {
	if len(f.Containers) > 0 {
		return "groups, key pairs and certificates in the key manager"
	}
	return "groups and key pairs"
}
