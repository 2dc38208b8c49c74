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
	// BalancerCreate {cloud name service run slot network subnet provider flavor} → {id address port}: with nothing in it.
	// port is the one that a floating address goes onto.
	BalancerCreate provision.Kind = "balancer.create"
	// BalancerDelete {cloud id name run slot}: with all that is in it.
	BalancerDelete provision.Kind = "balancer.delete"
	// PoolCreate {cloud balancer name service run slot algorithm member_protocol again} → {id}: without members.
	PoolCreate provision.Kind = "pool.create"
	// MonitorCreate {cloud balancer pool name service run slot member_protocol health again} → {id}: how members are asked.
	MonitorCreate provision.Kind = "healthmonitor.create"
	// ListenerCreate {cloud balancer pool name service run slot listen containers connection_limit allowed_cidrs tls_versions ecdsa
	// again} → {id}: one that ends TLS. Without containers and pool it is one of plain HTTP, which answers 503 until a policy says otherwise.
	ListenerCreate provision.Kind = "listener.create"
	// PolicyCreate {cloud balancer listener name service run slot position to again} → {id}: sends requests on to a URL, keeping their
	// path. It does nothing before it has a rule.
	PolicyCreate provision.Kind = "l7policy.create"
	// RuleCreate {cloud balancer policy service run slot compare value again} → {id}: which Host the policy is for.
	RuleCreate provision.Kind = "l7rule.create"
	// BalancerJoin {cloud balancer pool member_port SERVER-BLOCK... subnets} → {members}: members "BLOCK" are the addresses of that
	// block's servers. It is done once the load balancer has taken them.
	BalancerJoin provision.Kind = "balancer.join"
	// MemberProve {addresses url status body successes} → {proven}: as ServiceProve, without TLS. It proves nothing to a client.
	MemberProve provision.Kind = "member.prove"
)

func poolID(name string) provision.StepID { return provision.StepID("pool/" + name) }

func listenerID(name string) provision.StepID { return provision.StepID("listener/" + name) }

func balancerID(name string) provision.StepID { return provision.StepID("balancer/" + name) }

func joinID(verb, name string) provision.StepID { return provision.StepID(verb + "/" + name) }

// made is a load balancer as its kind of cloud makes it.
type made struct {
	address provision.Output   // that clients come to
	whole   []provision.StepID // with which it serves all that the plan wants, but for its members
}

// balancer adds everything of one Balancer block: what its cloud makes of it, the members once they are proven, and its own
// proof.
func (b *builder) balancer(x provision.Balancer) {
	if b.rackspaceHas(x.Cloud) {
		b.cloudBalancer(x)
		return
	}
	m := b.octavia(x)
	b.addresses[x.Ref()] = []source{{slot: x.Name, v4: m.address}}
	joined := b.joinMembers("members", x, nil)
	proofs := []provision.StepID{joined, m.address.Step}
	if x.Ready != nil {
		proofs = b.proveBalancer(x, m.address, joined)
	}
	b.proofs[x.Ref()] = append(proofs, m.whole...)
}

// joinMembers adds the step that makes the members of a load balancer those servers that are proven by then.
func (b *builder) joinMembers(verb string, x provision.Balancer, after []provision.StepID) provision.StepID {
	f := b.facts.Balancers[x.Name]
	with := map[string]provision.Arg{"cloud": provision.Lit(x.Cloud), "balancer": provision.From(balancerID(x.Name), "id"), "pool": provision.From(poolID(x.Name), "id"),
		"member_port": provision.Lit(x.MemberPort), "subnets": provision.Lit(f.MemberSubnets)}
	needs := append([]provision.StepID{balancerID(x.Name), poolID(x.Name), listenerID(x.Name)}, after...)
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
