package steps

import (
	"fmt"
	"slices"
	"time"

	"github.com/dripstat/failover/provision"
)

// Kinds of proof; verify performs them. They change nothing.
const (
	// ServiceProve {addresses url status body successes ca fingerprint also} → {proven}: at the address, under the name. also
	// are further names {name fingerprint ca} that TLS must complete under.
	ServiceProve provision.Kind = "service.prove"
	// ServiceConfirm {name_servers url status body successes certificate fingerprint addresses} → {}: through the public name.
	ServiceConfirm provision.Kind = "service.confirm"
)

// prove adds the TLS and HTTP proof of one slot.
func (b *builder) prove(s provision.Server, at source, needs []provision.StepID) provision.StepID {
	kind := ServiceProve
	if s.Ready.Plain() {
		kind = MemberProve
	}
	return b.add(provision.Step{
		ID: provision.StepID("prove/" + at.slot), Kind: kind, Volatile: true, Needs: needs, With: b.proofArgs(s, at),
		Within: provision.Duration(s.Ready.Within), Expect: provision.Duration(5 * time.Second),
		Say: provision.Say{Stage: provision.StageProve, Thing: at.slot, Detail: fmt.Sprintf("%s → %d", s.Ready.URL, s.Ready.Status)},
	})
}

func (b *builder) proofArgs(s provision.Server, at source) map[string]provision.Arg {
	addrs := provision.Arg{List: true, Of: []provision.Output{at.v4}}
	if b.wants(s.Name, "AAAA") {
		addrs.Of = append(addrs.Of, at.v6)
	}
	with := b.readyArgs(s.Ready, s.Certificate)
	with["addresses"] = addrs
	return with
}

// readyArgs are what must be answered, wherever it is asked.
func (b *builder) readyArgs(r *provision.Ready, certificate string) map[string]provision.Arg {
	with := map[string]provision.Arg{
		"url":       provision.Lit(r.URL),
		"status":    provision.Lit(r.Status),
		"body":      provision.Lit(r.Body),
		"successes": provision.Lit(r.Successes),
		"ca":        provision.Lit(r.CA),
	}
	if c, ok := b.plan.Certificate(certificate); ok {
		with["fingerprint"] = provision.Lit(b.facts.Certificates[c.Name].Fingerprint)
		if b.facts.Certificates[c.Name].Issue != nil {
			with["fingerprint"] = provision.From(issueID(c.Name), "fingerprint")
		}
		if r.CA == "" {
			with["ca"] = provision.Lit(c.CA)
		}
	}
	return with
}

// target is what a record points to.
type target struct {
	key         string // of addresses and proofs
	ready       *provision.Ready
	certificate string
}

// targets gives those of a record. What is not asked over TLS proves nothing to a client: it counts as having no proof.
func (b *builder) targets(r provision.Record) []target {
	var out []target
	for _, to := range r.To {
		s, _ := b.plan.Server(to)
		t := target{key: s.Name, ready: s.Ready, certificate: s.Certificate}
		if s.Ready.Plain() {
			t.ready = nil
		}
		out = append(out, t)
	}
	for _, to := range r.Balancers {
		x, _ := b.plan.Balancer(to)
		out = append(out, target{key: x.Ref(), ready: x.Ready, certificate: b.presents(x)})
	}
	return out
}

// wants reports whether a record of that type is moved to the block: a server's, or a load balancer's by its Ref.
func (b *builder) wants(block, typ string) bool {
	for _, z := range b.plan.Zones {
		for _, r := range z.Records {
			if r.Type == typ && slices.ContainsFunc(b.targets(r), func(t target) bool { return t.key == block }) {
				return true
			}
		}
	}
	return false
}
