package steps

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// Kinds of what makes a load balancer serve; openstack performs them, and verify the proof of a member.
const (
	// CertificateStore {cloud certificate fingerprint name run slot} → {id container}: the certificate with its key into the
	// key manager of the region, for the load balancer to read. container is what the load balancer is told.
	CertificateStore provision.Kind = "certificate.store"
	// CertificateRemove {cloud id name run slot}: undo of CertificateStore.
	CertificateRemove provision.Kind = "certificate.remove"
	// BalancerCreate {cloud name service run slot network subnet provider flavor listen containers redirect connection_limit
	// allowed_cidrs tls_versions ecdsa algorithm member_protocol health} → {id address port pool}: all of it but the members.
	// port is the one that a floating address goes onto.
	BalancerCreate provision.Kind = "balancer.create"
	// BalancerDelete {cloud id name run slot}: with all that is in it.
	BalancerDelete provision.Kind = "balancer.delete"
	// BalancerJoin {cloud balancer pool member_port SERVER-BLOCK... subnets} → {members}: members "BLOCK" are the addresses of that
	// block's servers. It is done once the load balancer has taken them.
	BalancerJoin provision.Kind = "balancer.join"
	// MemberProve {addresses url status body successes} → {proven}: as ServiceProve, without TLS. It proves nothing to a client.
	MemberProve provision.Kind = "member.prove"
)

// expectBalancer is what a load balancer made of virtual machines takes; for people only.
const expectBalancer = 60 * time.Second

func balancerID(name string) provision.StepID { return provision.StepID("balancer/" + name) }

func joinID(verb, name string) provision.StepID { return provision.StepID(verb + "/" + name) }

// balancer adds everything of one Balancer block. Making it waits for nothing but the certificates, so that it is done
// while the servers boot.
func (b *builder) balancer(x provision.Balancer) {
	if b.rackspaceHas(x.Cloud) {
		b.cloudBalancer(x)
		return
	}
	f := b.facts.Balancers[x.Name]
	cloud, run, slot := provision.Lit(x.Cloud), provision.Lit(string(b.run)), provision.Lit(x.Slot())
	var containers provision.Arg
	containers.List = true
	var needs []provision.StepID
	for _, c := range x.Terminate {
		id := b.storeCertificate(x, c)
		needs = append(needs, id)
		containers.Of = append(containers.Of, provision.Output{Step: id, Name: "container"})
	}
	with := map[string]provision.Arg{
		"cloud": cloud, "name": provision.Lit(b.tag(x.Slot())), "service": provision.Lit(b.plan.Service), "run": run, "slot": slot,
		"network": provision.Lit(f.Network.ID), "subnet": provision.Lit(f.Subnet), "provider": provision.Lit(x.Provider), "flavor": provision.Lit(""),
		"listen": provision.Lit(x.Listen), "containers": containers, "redirect": provision.Lit(b.redirects(x)),
		"connection_limit": provision.Lit(x.ConnectionLimit), "allowed_cidrs": provision.Lit(x.AllowedCIDRs), "tls_versions": provision.Lit(x.TLSVersions), "ecdsa": provision.Lit(slices.ContainsFunc(x.Terminate, func(c string) bool { return b.facts.Certificates[c].Algorithm == "ECDSA" })),
		"algorithm": provision.Lit(x.Algorithm), "member_protocol": provision.Lit(x.MemberProtocol),
		"health": provision.Lit(map[string]any{"path": x.Health.Path, "status": x.Health.Status, "interval": seconds(x.Health.Interval),
			"timeout": seconds(x.Health.Timeout), "rise": x.Health.Rise, "fall": x.Health.Fall, "host": host(x.Ready)}),
	}
	// What is in ERROR for want of a host a moment ago may well be had now: a ladder of one rung is tried twice.
	ladder := []map[string]provision.Arg{{}}
	if len(f.Rungs) > 0 {
		with["flavor"] = provision.Lit(f.Rungs[0].ID)
	}
	if len(f.Rungs) > 1 {
		ladder = nil
		for _, r := range f.Rungs[1:] {
			ladder = append(ladder, map[string]provision.Arg{"flavor": provision.Lit(r.ID)})
		}
	}
	id := b.add(provision.Step{
		ID: balancerID(x.Name), Kind: BalancerCreate, Needs: unique(b.heldBack(needs, x.Ref())), With: with, Ladder: ladder,
		Undo: provision.Undo{Kind: BalancerDelete, Take: []string{"cloud", "id", "name", "run", "slot"}}, Within: provision.Duration(x.Timeout), Expect: provision.Duration(expectBalancer),
		Say: provision.Say{Stage: provision.StageCreate, Thing: "load balancer " + x.Name, Detail: describeBalancer(x, f),
			Hint: "failover resume tries it again; openstack loadbalancer show tells more, and the provider's own people the rest"},
	})
	address := provision.Output{Step: id, Name: "address"}
	if f.Floating != nil {
		fip := b.add(provision.Step{
			ID: provision.StepID("address/" + x.Slot()), Kind: FloatingIPCreate, Needs: []provision.StepID{id},
			With: map[string]provision.Arg{"cloud": cloud, "port": provision.From(id, "port"), "network": provision.Lit(f.Floating.ID), "run": run, "slot": slot},
			Undo: provision.Undo{Kind: FloatingIPDelete, Take: []string{"cloud", "id", "run", "slot"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StageCreate, Thing: "load balancer " + x.Name, Detail: "a floating address of " + f.Floating.Name},
		})
		address = provision.Output{Step: fip, Name: "address"}
	}
	b.addresses[x.Ref()] = []source{{slot: x.Name, v4: address}}
	joined := b.joinMembers("members", x, nil)
	b.proofs[x.Ref()] = []provision.StepID{joined, address.Step}
	if x.Ready != nil {
		b.proofs[x.Ref()] = b.proveBalancer(x, address, joined)
	}
}

// storeCertificate adds what puts one certificate where the load balancer reads it.
func (b *builder) storeCertificate(x provision.Balancer, certificate string) provision.StepID {
	name := x.Slot() + "." + certificate // no block's name has a dot
	return b.add(provision.Step{
		ID: provision.StepID("store/" + x.Name + "/" + certificate), Kind: CertificateStore, Needs: []provision.StepID{fetchID(certificate)},
		With: map[string]provision.Arg{"cloud": provision.Lit(x.Cloud), "certificate": provision.Lit(certificate), "fingerprint": provision.From(fetchID(certificate), "fingerprint"),
			"name": provision.Lit(b.tag(name)), "run": provision.Lit(string(b.run)), "slot": provision.Lit(x.Slot())},
		Undo: provision.Undo{Kind: CertificateRemove, Take: []string{"cloud", "id", "name", "run", "slot"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
		Say: provision.Say{Stage: provision.StagePrepare, Thing: "certificate " + certificate, Detail: "into the key manager of " + b.facts.Region + ", for load balancer " + x.Name},
	})
}

// redirects are the names that plain HTTP is sent on under, each to itself; none where the plan wants none.
func (b *builder) redirects(x provision.Balancer) map[string]any {
	if !x.RedirectHTTP {
		return nil
	}
	var names []string
	add := func(n string) {
		if n = strings.ToLower(n); n != "" && !strings.HasPrefix(n, "*") && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	add(host(x.Ready))
	for _, c := range x.Terminate {
		cert, _ := b.plan.Certificate(c)
		for _, n := range cert.Names {
			add(n)
		}
	}
	return map[string]any{"port": 80, "names": names}
}

// joinMembers adds the step that makes the members of a load balancer those servers that are proven by then.
func (b *builder) joinMembers(verb string, x provision.Balancer, after []provision.StepID) provision.StepID {
	f := b.facts.Balancers[x.Name]
	with := map[string]provision.Arg{"cloud": provision.Lit(x.Cloud), "balancer": provision.From(balancerID(x.Name), "id"), "pool": provision.From(balancerID(x.Name), "pool"),
		"member_port": provision.Lit(x.MemberPort), "subnets": provision.Lit(f.MemberSubnets)}
	needs := append([]provision.StepID{balancerID(x.Name)}, after...)
	for _, m := range x.Members {
		of, from := b.membersOf(m)
		with["members "+m] = provision.Arg{List: true, Of: of}
		needs = append(append(needs, from...), b.proofs[m]...)
	}
	return b.add(provision.Step{
		ID: joinID(verb, x.Name), Kind: BalancerJoin, Needs: unique(needs), With: with,
		Within: provision.Duration(5 * time.Minute), Expect: provision.Duration(5 * time.Second),
		Say: provision.Say{Stage: provision.StageProve, Thing: "load balancer " + x.Name, Detail: fmt.Sprintf("takes the servers of %s in, on port %d", strings.Join(x.Members, ", "), x.MemberPort)},
	})
}

// proveBalancer adds the proof of a load balancer itself, and that of every other name that it must have a certificate for.
func (b *builder) proveBalancer(x provision.Balancer, address provision.Output, joined provision.StepID) []provision.StepID {
	with := b.readyArgs(x.Ready, b.presents(x))
	with["addresses"] = provision.Arg{List: true, Of: []provision.Output{address}}
	if also := b.otherNames(x); len(also) > 0 {
		with["also"] = provision.Lit(also)
	}
	return []provision.StepID{b.add(provision.Step{
		ID: provision.StepID("prove/" + x.Slot()), Kind: ServiceProve, Volatile: true, Needs: unique([]provision.StepID{address.Step, joined}), With: with,
		Within: provision.Duration(x.Ready.Within), Expect: provision.Duration(5 * time.Second),
		Say: provision.Say{Stage: provision.StageProve, Thing: "load balancer " + x.Name, Detail: fmt.Sprintf("%s → %d", x.Ready.URL, x.Ready.Status)},
	})}
}

// presents is the certificate that a load balancer answers its own proof with.
func (b *builder) presents(x provision.Balancer) string {
	name := strings.ToLower(host(x.Ready))
	_, parent, _ := strings.Cut(name, ".")
	for _, wild := range []string{"", "*."} { // the name itself goes before a wildcard
		for _, c := range x.Terminate {
			cert, _ := b.plan.Certificate(c)
			if slices.ContainsFunc(cert.Names, func(n string) bool {
				n = strings.ToLower(n)
				return wild == "" && n == name || wild != "" && n == wild+parent
			}) {
				return c
			}
		}
	}
	return ""
}

// otherNames are a name of each further certificate, which TLS must complete under.
func (b *builder) otherNames(x provision.Balancer) []any {
	var out []any
	for _, c := range x.Terminate {
		cert, _ := b.plan.Certificate(c)
		if c == b.presents(x) || len(cert.Names) == 0 {
			continue
		}
		name := strings.Replace(cert.Names[0], "*", "failover", 1)
		out = append(out, map[string]any{"name": name, "fingerprint": b.facts.Certificates[c].Fingerprint, "ca": cert.CA})
	}
	return out
}

// restMembers adds, for every load balancer that has a pool of servers as a member, its second set of members: all that are
// proven once the rest is known.
func (b *builder) restMembers(server string) {
	for _, x := range b.plan.BalancersOf(server) {
		if b.step(joinID("members-rest", x.Name)) != nil {
			continue
		}
		if b.rackspaceHas(x.Cloud) {
			b.restCloudMembers(x)
		} else {
			b.joinMembers("members-rest", x, []provision.StepID{joinID("members", x.Name)})
		}
	}
}

// host gives the name in a URL.
func host(r *provision.Ready) string {
	if r == nil {
		return ""
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func describeBalancer(x provision.Balancer, f provision.BalancerFacts) string {
	out := fmt.Sprintf("TLS on port %d with certificate %s, on network %s", x.Listen, strings.Join(x.Terminate, ", "), f.Network.Name)
	if x.RedirectHTTP {
		out += "; port 80 sends there"
	}
	return out
}
