package steps

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// What Octavia takes to make a load balancer of virtual machines, and to change one; for people only.
const (
	expectBalancer = 60 * time.Second
	expectPart     = 3 * time.Second
)

// octavia adds the steps that make one Balancer of OpenStack's. It waits for nothing but the certificates, so that it is done while
// the servers boot. Each part is a step of its own: the API of Octavia 11 (Zed) hands a load balancer that is created with its
// parts to its worker before they are in its database, so that they stay PENDING_CREATE for good, and it answers 500 to any part
// that is asked for within another one. Octavia takes one change at a time, so the parts stand in a row.
// https://opendev.org/openstack/octavia/src/branch/stable/zed/octavia/api/v2/controllers/load_balancer.py (post)
func (b *builder) octavia(x provision.Balancer) made {
	f := b.facts.Balancers[x.Name]
	id := b.bare(x, f)
	out := made{address: provision.Output{Step: id, Name: "address"}}
	if f.Floating != nil {
		fip := b.add(provision.Step{
			ID: provision.StepID("address/" + x.Slot()), Kind: FloatingIPCreate, Needs: []provision.StepID{id},
			With: map[string]provision.Arg{"cloud": provision.Lit(x.Cloud), "port": provision.From(id, "port"), "network": provision.Lit(f.Floating.ID),
				"run": provision.Lit(string(b.run)), "slot": provision.Lit(x.Slot())},
			Undo: provision.Undo{Kind: FloatingIPDelete, Take: []string{"cloud", "id", "run", "slot"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StageCreate, Thing: "load balancer " + x.Name, Detail: "a floating address of " + f.Floating.Name},
		})
		out.address = provision.Output{Step: fip, Name: "address"}
	}
	out.whole = []provision.StepID{b.parts(x)}
	return out
}

// bare adds the load balancer itself.
func (b *builder) bare(x provision.Balancer, f provision.BalancerFacts) provision.StepID {
	with := map[string]provision.Arg{
		"cloud": provision.Lit(x.Cloud), "name": provision.Lit(b.tag(x.Slot())), "service": provision.Lit(b.plan.Service), "run": provision.Lit(string(b.run)), "slot": provision.Lit(x.Slot()),
		"network": provision.Lit(f.Network.ID), "subnet": provision.Lit(f.Subnet), "provider": provision.Lit(x.Provider), "flavor": provision.Lit(""),
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
	var needs []provision.StepID
	for _, c := range x.Terminate { // so that undoing takes them out of the key manager only when nothing uses them any more
		needs = append(needs, b.storeCertificate(x, c))
	}
	return b.add(provision.Step{
		ID: balancerID(x.Name), Kind: BalancerCreate, Needs: unique(b.heldBack(needs, x.Ref())), With: with, Ladder: ladder,
		Undo: provision.Undo{Kind: BalancerDelete, Take: []string{"cloud", "id", "name", "run", "slot"}}, Within: provision.Duration(x.Timeout), Expect: provision.Duration(expectBalancer),
		Say: provision.Say{Stage: provision.StageCreate, Thing: "load balancer " + x.Name, Detail: describeBalancer(x, f),
			Hint: "failover resume tries it again; openstack loadbalancer show tells more, and the provider's own people the rest"},
	})
}

// parts adds what is in the load balancer, one after the other, and gives the last. They go with it, so nothing undoes them. Members
// need the pool and the listener alone: what sends plain HTTP on comes behind, and is there before a name moves.
func (b *builder) parts(x provision.Balancer) provision.StepID {
	last := balancerID(x.Name)
	part := func(id provision.StepID, kind provision.Kind, name string, with map[string]provision.Arg) {
		for k, v := range map[string]any{"cloud": x.Cloud, "service": b.plan.Service, "run": string(b.run), "slot": x.Slot(), "again": false} {
			with[k] = provision.Lit(v)
		}
		with["balancer"], with["name"] = provision.From(balancerID(x.Name), "id"), provision.Lit(b.tag(x.Slot())+name)
		needs := []provision.StepID{balancerID(x.Name), last}
		for _, name := range []string{"pool", "listener", "policy", "containers"} {
			needs = append(needs, outputsOf(with[name])...)
		}
		last = b.add(provision.Step{
			ID: id, Kind: kind, Needs: unique(needs),
			With: with, Ladder: []map[string]provision.Arg{{"again": provision.Lit(true)}}, Within: provision.Duration(x.Timeout), Expect: provision.Duration(expectPart),
			Say: provision.Say{Stage: provision.StageCreate, Thing: "load balancer " + x.Name, // without a detail: the balancer's own line tells of them all
				Hint: "failover resume tries it again; where the load balancer itself is in ERROR, failover abandon removes it"},
		})
	}
	pool := provision.From(poolID(x.Name), "id")
	part(poolID(x.Name), PoolCreate, "", map[string]provision.Arg{
		"algorithm": provision.Lit(x.Algorithm), "member_protocol": provision.Lit(x.MemberProtocol)})
	part(provision.StepID("monitor/"+x.Name), MonitorCreate, "", map[string]provision.Arg{
		"pool": pool, "member_protocol": provision.Lit(x.MemberProtocol),
		"health": provision.Lit(map[string]any{"path": x.Health.Path, "status": x.Health.Status, "interval": seconds(x.Health.Interval),
			"timeout": seconds(x.Health.Timeout), "rise": x.Health.Rise, "fall": x.Health.Fall, "host": host(x.Ready)})})
	containers := provision.Arg{List: true}
	for _, c := range x.Terminate {
		containers.Of = append(containers.Of, provision.Output{Step: storeID(x, c), Name: "container"})
	}
	part(listenerID(x.Name), ListenerCreate, "-https", map[string]provision.Arg{
		"pool": pool, "listen": provision.Lit(x.Listen), "containers": containers, "connection_limit": provision.Lit(x.ConnectionLimit), "allowed_cidrs": provision.Lit(x.AllowedCIDRs),
		"tls_versions": provision.Lit(x.TLSVersions), "ecdsa": provision.Lit(slices.ContainsFunc(x.Terminate, func(c string) bool {
			f := b.facts.Certificates[c]
			return f.Algorithm == "ECDSA" || f.Issue != nil // which key that will have is not known yet; the ciphers for both are asked for
		}))})
	if !x.RedirectHTTP {
		return last
	}
	plain := listenerID(x.Name) + "/http"
	part(plain, ListenerCreate, "-http", map[string]provision.Arg{"listen": provision.Lit(80), "allowed_cidrs": provision.Lit(x.AllowedCIDRs)})
	for i, name := range b.redirects(x) {
		to := "https://" + name
		if x.Listen != 443 {
			to += fmt.Sprintf(":%d", x.Listen)
		}
		policy := provision.StepID(fmt.Sprintf("redirect/%s/%d", x.Name, i+1))
		part(policy, PolicyCreate, fmt.Sprintf("-%d", i+1), map[string]provision.Arg{
			"listener": provision.From(plain, "id"), "position": provision.Lit(i + 1), "to": provision.Lit(to)})
		part(policy+"/rule", RuleCreate, "", map[string]provision.Arg{
			"policy": provision.From(policy, "id"), "compare": provision.Lit("EQUAL_TO"), "value": provision.Lit(name)})
	}
	return last
}

func storeID(x provision.Balancer, certificate string) provision.StepID {
	return provision.StepID("store/" + x.Name + "/" + certificate)
}

// storeCertificate adds what puts one certificate where the load balancer reads it.
func (b *builder) storeCertificate(x provision.Balancer, certificate string) provision.StepID {
	name := x.Slot() + "." + certificate // no block's name has a dot
	return b.add(provision.Step{
		ID: storeID(x, certificate), Kind: CertificateStore, Needs: []provision.StepID{fetchID(certificate)},
		With: map[string]provision.Arg{"cloud": provision.Lit(x.Cloud), "certificate": provision.Lit(certificate), "fingerprint": provision.From(fetchID(certificate), "fingerprint"),
			"name": provision.Lit(b.tag(name)), "run": provision.Lit(string(b.run)), "slot": provision.Lit(x.Slot())},
		Undo: provision.Undo{Kind: CertificateRemove, Take: []string{"cloud", "id", "name", "run", "slot"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
		Say: provision.Say{Stage: provision.StagePrepare, Thing: "certificate " + certificate, Detail: "into the key manager of " + b.facts.Region + ", for load balancer " + x.Name},
	})
}

// redirects are the names that plain HTTP is sent on under, each to itself.
func (b *builder) redirects(x provision.Balancer) []string {
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
	return names
}

func describeBalancer(x provision.Balancer, f provision.BalancerFacts) string {
	out := fmt.Sprintf("TLS on port %d with certificate %s, on network %s", x.Listen, strings.Join(x.Terminate, ", "), f.Network.Name)
	if x.RedirectHTTP {
		out += "; port 80 sends there"
	}
	return out
}
