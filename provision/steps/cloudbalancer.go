package steps

import (
	"fmt"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// Kinds of what makes a load balancer of Rackspace's first cloud serve; rackspace/balancer performs them. It takes one change at
// a time, so that each is a step of its own, and they come one after another.
const (
	// CloudBalancerCreate {cloud name service run slot port algorithm health connection_limit_per_ip allowed_cidrs ipv6} → {id address ipv4
	// ipv6}: without members and without TLS, which it is given once it is there.
	CloudBalancerCreate provision.Kind = "cloudbalancer.create"
	// CloudBalancerDelete {cloud id name run slot}: undo of CloudBalancerCreate; the certificate in it goes along.
	CloudBalancerDelete provision.Kind = "cloudbalancer.delete"
	// CloudBalancerTerminate {cloud balancer certificate fingerprint port plain nodes} → {fingerprint}: the certificate with its key into the load
	// balancer, and nothing but TLS from then on; with plain, what answers plain HTTP goes on to. nodes is for its undoing.
	CloudBalancerTerminate provision.Kind = "cloudbalancer.terminate"
	// CloudBalancerVersions {cloud balancer} → {}: versions of TLS before 1.2 are turned off.
	CloudBalancerVersions provision.Kind = "cloudbalancer.versions"
	// CloudBalancerRedirect {cloud balancer} → {}: plain HTTP is sent on.
	CloudBalancerRedirect provision.Kind = "cloudbalancer.redirect"
	// CloudBalancerAttach {cloud balancer member_port members} → {members}: members get no traffic yet, and are watched.
	CloudBalancerAttach provision.Kind = "cloudbalancer.attach"
	// CloudBalancerEnable {cloud balancer member_port members number} → {member}: the member of that number, the first is 1, gets traffic. Where
	// there are fewer, there is nothing to do.
	CloudBalancerEnable provision.Kind = "cloudbalancer.enable"
)

// expectChange is what one change of such a load balancer may take; for people only.
const expectChange = 10 * time.Second

// cloudBalancer adds everything of one Balancer block in Rackspace's first cloud. It is made, and given its certificate, while the
// servers boot; they become members, drained, as soon as they have an address, and get traffic when they are proven.
func (b *builder) cloudBalancer(x provision.Balancer) {
	cloud := provision.Lit(x.Cloud)
	say := func(detail string) provision.Say {
		return provision.Say{Stage: provision.StageCreate, Thing: "load balancer " + x.Name, Detail: detail}
	}
	var id provision.StepID
	if x.Existing != nil {
		id = b.useBalancer(x)
	} else {
		id = b.newCloudBalancer(x)
	}
	at := source{slot: x.Name, v4: provision.Output{Step: id, Name: "ipv4"}, v6: provision.Output{Step: id, Name: "ipv6"}}
	b.addresses[x.Ref()] = []source{at}

	last := id
	change := func(s provision.Step) provision.StepID {
		s.With["cloud"], s.With["balancer"] = cloud, provision.From(id, "id")
		s.Needs = unique(append([]provision.StepID{id, last}, s.Needs...))
		s.Within, s.Expect = provision.Duration(5*time.Minute), provision.Duration(expectChange)
		last = b.add(s)
		return last
	}
	standing := b.facts.Balancers[x.Name].Standing
	for _, c := range x.Terminate { // one
		s := provision.Step{ID: joinID("terminate", x.Name), Kind: CloudBalancerTerminate, Needs: []provision.StepID{fetchID(c)},
			With: map[string]provision.Arg{"certificate": provision.Lit(c), "fingerprint": provision.From(fetchID(c), "fingerprint"), "port": provision.Lit(x.Listen)},
			Say:  say("certificate " + c + " into it")}
		if standing != nil {
			s.With["plain"] = provision.Lit(standing.Plain)
			if s.Say.Detail += ", if it has another"; standing.TLSPort == 0 {
				s.With["nodes"] = provision.Lit(nodes(standing.Members))
				s.Undo = provision.Undo{Kind: CloudBalancerUnterminate, Take: []string{"cloud", "balancer", "fingerprint", "nodes"}}
			}
		}
		change(s)
	}
	if len(x.TLSVersions) > 0 {
		change(provision.Step{ID: joinID("versions", x.Name), Kind: CloudBalancerVersions, With: map[string]provision.Arg{}, Say: say("no TLS before 1.2")})
	}
	if x.RedirectHTTP {
		change(provision.Step{ID: joinID("redirect", x.Name), Kind: CloudBalancerRedirect, With: map[string]provision.Arg{}, Say: say("port 80 sends to port 443")})
	}
	attached := b.cloudMembers("", x, change)
	if standing != nil {
		b.replace(x, *standing, attached, change)
	}
	b.proofs[x.Ref()] = []provision.StepID{last}
	if x.Ready != nil {
		b.proofs[x.Ref()] = b.proveCloudBalancer(x, at, last)
	}
}

// newCloudBalancer adds the step that makes one.
func (b *builder) newCloudBalancer(x provision.Balancer) provision.StepID {
	port := 80
	if x.Listen == port { // TLS is answered there
		port = 8080
	}
	create := provision.Step{
		ID: balancerID(x.Name), Kind: CloudBalancerCreate, Needs: unique(b.heldBack(nil, x.Ref())),
		With: map[string]provision.Arg{
			"cloud": provision.Lit(x.Cloud), "name": provision.Lit(b.tag(x.Slot())), "service": provision.Lit(b.plan.Service), "run": provision.Lit(string(b.run)), "slot": provision.Lit(x.Slot()),
			"port": provision.Lit(port), "algorithm": provision.Lit(x.Algorithm), "connection_limit_per_ip": provision.Lit(x.PerIP), "allowed_cidrs": provision.Lit(x.AllowedCIDRs),
			"ipv6": provision.Lit(b.wants(x.Ref(), "AAAA")),
			"health": provision.Lit(map[string]any{"path": x.Health.Path, "status": x.Health.Status, "interval": seconds(x.Health.Interval),
				"timeout": seconds(x.Health.Timeout), "fall": x.Health.Fall, "host": host(x.Ready)}),
		},
		Ladder: []map[string]provision.Arg{{}}, // what is in ERROR is made once more
		Undo:   provision.Undo{Kind: CloudBalancerDelete, Take: []string{"cloud", "id", "name", "run", "slot"}}, Within: provision.Duration(x.Timeout), Expect: provision.Duration(expectBalancer),
		Say: provision.Say{Stage: provision.StageCreate, Thing: "load balancer " + x.Name, Detail: "TLS on port " + fmt.Sprint(x.Listen) + " with certificate " + strings.Join(x.Terminate, ", ")},
	}
	if x.RedirectHTTP {
		create.Say.Detail += "; port 80 sends there"
	}
	create.Say.Hint = "failover resume tries it again; where it stays in ERROR only Rackspace's support can help"
	return b.add(create)
}

// cloudMembers adds what makes servers members and lets traffic to them, one after another; change adds a step behind the one before it. It gives
// the step that makes them members.
func (b *builder) cloudMembers(rest string, x provision.Balancer, change func(provision.Step) provision.StepID) provision.StepID {
	members := provision.Arg{List: true}
	var known, proven []provision.StepID
	count := 0
	for _, m := range x.Members {
		s, _ := b.plan.Server(m)
		of, from := b.membersOf(m)
		members.Of = append(members.Of, of...)
		known, proven = append(known, from...), append(proven, b.proofs[m]...)
		count += s.Count
		if p := b.pools[m]; p != nil && rest == "" {
			count += s.Enough() - s.Count
			known = append(known, p.pick)
		}
	}
	with := func(more map[string]provision.Arg) map[string]provision.Arg {
		more["member_port"], more["members"] = provision.Lit(x.MemberPort), members
		return more
	}
	join := provision.Step{ID: joinID("members"+rest, x.Name), Kind: CloudBalancerAttach, Needs: known, With: with(map[string]provision.Arg{}),
		Say: provision.Say{Stage: provision.StageProve, Thing: "load balancer " + x.Name, Detail: fmt.Sprintf("takes the servers of %s in, on port %d, without traffic yet", strings.Join(x.Members, ", "), x.MemberPort)}}
	if b.facts.Balancers[x.Name].Standing != nil { // a new one goes with all that is in it
		join.Undo = provision.Undo{Kind: CloudBalancerDetach, Take: []string{"cloud", "balancer", "member_port", "members"}}
	}
	attached := change(join)
	for n := 1; n <= count; n++ {
		change(provision.Step{ID: provision.StepID(fmt.Sprintf("enable%s/%s/%d", rest, x.Name, n)), Kind: CloudBalancerEnable, Needs: append(append([]provision.StepID{}, known...), proven...),
			With: with(map[string]provision.Arg{"number": provision.Lit(n)}),
			Say:  provision.Say{Stage: provision.StageProve, Thing: "load balancer " + x.Name, Detail: "traffic to its members, one after another"}})
	}
	return attached
}

// restCloudMembers is cloudMembers for all that are proven once the rest of the servers is known.
func (b *builder) restCloudMembers(x provision.Balancer) {
	id := balancerID(x.Name)
	var last provision.StepID
	for _, s := range b.graph.Steps {
		if s.Kind == CloudBalancerEnable && len(s.Needs) > 0 && s.Needs[0] == id {
			last = s.ID
		}
	}
	b.cloudMembers("-rest", x, func(s provision.Step) provision.StepID {
		s.With["cloud"], s.With["balancer"] = provision.Lit(x.Cloud), provision.From(id, "id")
		s.Needs = unique(append([]provision.StepID{id, last}, s.Needs...))
		s.Within, s.Expect = provision.Duration(5*time.Minute), provision.Duration(expectChange)
		last = b.add(s)
		return last
	})
}

// proveCloudBalancer adds the proof of a load balancer, at each of its addresses that a record will name.
func (b *builder) proveCloudBalancer(x provision.Balancer, at source, joined provision.StepID) []provision.StepID {
	with := b.readyArgs(x.Ready, b.presents(x))
	addresses := provision.Arg{List: true, Of: []provision.Output{at.v4}}
	if b.wants(x.Ref(), "AAAA") {
		addresses.Of = append(addresses.Of, at.v6)
	}
	with["addresses"] = addresses
	return []provision.StepID{b.add(provision.Step{
		ID: provision.StepID("prove/" + x.Slot()), Kind: ServiceProve, Volatile: true, Needs: unique([]provision.StepID{at.v4.Step, joined}), With: with,
		Within: provision.Duration(x.Ready.Within), Expect: provision.Duration(5 * time.Second),
		Say: provision.Say{Stage: provision.StageProve, Thing: "load balancer " + x.Name, Detail: fmt.Sprintf("%s → %d", x.Ready.URL, x.Ready.Status)},
	})}
}

// rackspaceHas reports whether a cloud is Rackspace's first.
func (b *builder) rackspaceHas(cloud string) bool {
	c, _ := b.plan.Cloud(cloud)
	return c.Rackspace != nil
}

// cloudTermination is what a run has done to end TLS there.
func cloudTermination(g provision.Graph, s provision.Step, outputs map[provision.StepID]provision.Values) (Terminated, bool) {
	in, err := s.Resolve(0, outputs)
	if err != nil {
		return Terminated{}, false
	}
	_, name, _ := strings.Cut(string(s.ID), "/")
	balancer, _ := g.Step(balancerID(name))
	c := in.Text("certificate")
	var existing *provision.Existing
	if id, _ := balancer.With["id"].Is.(string); balancer.Kind == CloudBalancerUse {
		existing = &provision.Existing{Name: id}
	}
	return Terminated{Name: name, Existing: existing, Cloud: in.Text("cloud"), Balancer: provision.Values{"n": balancer.With["name"].Is}.Text("n"), Certificates: []string{c}, whole: in,
		Fingerprints: map[string]string{c: in.Text("fingerprint")}, stores: map[string]provision.Values{c: in}}, true
}

// followCloud takes over what a renewal has sent there, or may have.
func (t *Terminated) followCloud(renewal []provision.Event) {
	outputs, touched := effects(renewal)
	id := joinID("terminate", t.Name)
	if len(renewal) == 0 || renewal[0].Graph == nil || !touched[id] {
		return
	}
	s, ok := renewal[0].Graph.Step(id)
	if in, err := s.Resolve(0, outputs); ok && err == nil && in.Text("fingerprint") != "" {
		t.Fingerprints[in.Text("certificate")] = in.Text("fingerprint")
	}
}

// terminateCloud adds to a renewal what sends a certificate there, in the place of the former one, and proves it.
func (t Terminated) terminateCloud(out *provision.Graph, g provision.Graph, outputs map[provision.StepID]provision.Values, r Renewal) {
	c := t.whole.Text("certificate")
	with := literals(t.whole)
	with["fingerprint"] = provision.From(fetchID(c), "fingerprint")
	s := provision.Step{ID: joinID("terminate", t.Name), Kind: CloudBalancerTerminate, Needs: []provision.StepID{fetchID(c)}, With: with, Within: provision.Duration(5 * time.Minute), Expect: provision.Duration(expectChange),
		Say: provision.Say{Stage: provision.StageDeliver, Thing: "load balancer " + t.Name, Detail: "certificate " + c + " into it, in the place of the former one", Hint: "failover resume tries it again"}}
	out.Steps = append(out.Steps, s)
	if p, ok := t.proveAgain(g, outputs, r, s.ID); ok {
		p.Say.Hint = "it has the new certificate by now; failover resume looks again"
		out.Steps = append(out.Steps, p)
	}
}
