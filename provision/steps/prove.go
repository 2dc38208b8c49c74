package steps

import (
	"fmt"
	"time"

	"github.com/dripstat/failover/provision"
)

// Kinds of proof; verify performs them. They change nothing.
const (
	// ServiceProve {addresses url status body successes certificate fingerprint} → {proven}: at the address, under the name.
	ServiceProve provision.Kind = "service.prove"
	// ServiceConfirm {name_servers url status body successes certificate fingerprint addresses} → {}: through the public name.
	ServiceConfirm provision.Kind = "service.confirm"
)

// prove adds the TLS and HTTP proof of one slot.
func (b *builder) prove(s provision.Server, at source, needs []provision.StepID) provision.StepID {
	return b.add(provision.Step{
		ID: provision.StepID("prove/" + at.slot), Kind: ServiceProve, Volatile: true, Needs: needs, With: b.proofArgs(s, at),
		Within: provision.Duration(s.Ready.Within), Expect: provision.Duration(5 * time.Second),
		Say: provision.Say{Stage: provision.StageProve, Thing: at.slot, Detail: fmt.Sprintf("%s → %d", s.Ready.URL, s.Ready.Status)},
	})
}

func (b *builder) proofArgs(s provision.Server, at source) map[string]provision.Arg {
	addrs := provision.Arg{List: true, Of: []provision.Output{at.v4}}
	if b.wants(s.Name, "AAAA") {
		addrs.Of = append(addrs.Of, at.v6)
	}
	with := b.readyArgs(s)
	with["addresses"] = addrs
	return with
}

// readyArgs are what must be answered, wherever it is asked.
func (b *builder) readyArgs(s provision.Server) map[string]provision.Arg {
	with := map[string]provision.Arg{
		"url":       provision.Lit(s.Ready.URL),
		"status":    provision.Lit(s.Ready.Status),
		"body":      provision.Lit(s.Ready.Body),
		"successes": provision.Lit(s.Ready.Successes),
		"ca":        provision.Lit(s.Ready.CA),
	}
	if c, ok := b.plan.Certificate(s.Certificate); ok {
		with["fingerprint"] = provision.Lit(b.facts.Certificates[c.Name].Fingerprint)
		if b.facts.Certificates[c.Name].Issue != nil {
			with["fingerprint"] = provision.From(issueID(c.Name), "fingerprint")
		}
		if s.Ready.CA == "" {
			with["ca"] = provision.Lit(c.CA)
		}
	}
	return with
}

// wants reports whether a record of that type is moved to the block.
func (b *builder) wants(server, typ string) bool {
	for _, z := range b.plan.Zones {
		for _, r := range z.Records {
			for _, to := range r.To {
				if to == server && r.Type == typ {
					return true
				}
			}
		}
	}
	return false
}
