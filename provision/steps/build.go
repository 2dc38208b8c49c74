// Package steps turns a plan and the facts of one region into the graph of a run, and a graph with what
// was done of it into its reverse.
//
// It is pure: no I/O, no clock, no randomness; the same arguments give the same graph. Each kind of step
// has a file here that is named after it, and a handler in the package that performs it; they agree on the
// kind and on the names of the arguments, nothing else. A kind's constant and a comment on its
// arguments and outputs stand in its file.
package steps

import (
	"fmt"
	"strings"

	"github.com/dripstat/failover/provision"
)

// builder collects steps while Build walks the plan.
type builder struct {
	plan  provision.Plan
	facts provision.Facts
	run   provision.RunID
	graph provision.Graph

	addresses map[string][]source           // by Server block or Ref of a Balancer: where each slot's addresses come from
	proofs    map[string][]provision.StepID // by the same: what must be done before DNS may name it
	hooks     map[string][]provision.StepID // by target in Before: the user's steps that hold it back
	pools     map[string]*pool              // by Server block, where not all of its servers are needed
	at        string                        // the slot whose steps are being added, where the run can do without it
}

// source says which steps give a slot's addresses.
type source struct {
	slot string
	v4   provision.Output
	v6   provision.Output
}

// Build gives the graph that moves plan, which must be the plan for facts.Region, there. Errors are
// mistakes of the plan that only show as a graph: a circle of the user's own steps.
func Build(plan provision.Plan, facts provision.Facts, run provision.RunID) (provision.Graph, error) {
	b := &builder{plan: plan, facts: facts, run: run,
		addresses: map[string][]source{}, proofs: map[string][]provision.StepID{}, hooks: map[string][]provision.StepID{},
		pools: map[string]*pool{}}
	b.graph = provision.Graph{Service: plan.Service, Region: facts.Region, Home: plan.Home, Purpose: "failover"}
	for _, h := range plan.Hooks {
		for _, before := range h.Before {
			b.hooks[before] = append(b.hooks[before], hookID(h.Name))
		}
	}
	b.certificates()
	b.lower()
	for _, s := range plan.Servers {
		b.server(s)
	}
	for _, x := range plan.Balancers {
		b.balancer(x)
	}
	b.runHooks()
	b.move()
	b.rest()
	return b.graph, b.graph.Check()
}

func (b *builder) add(s provision.Step) provision.StepID {
	if b.at != "" {
		s.Slot = b.at
	}
	s.Needs = unique(append(s.Needs, outputsOf(s.With["fingerprint"])...)) // of a certificate that the run is issued
	b.graph.Steps = append(b.graph.Steps, s)
	return s.ID
}

// step gives one that was added, to alter.
func (b *builder) step(id provision.StepID) *provision.Step {
	for i := range b.graph.Steps {
		if b.graph.Steps[i].ID == id {
			return &b.graph.Steps[i]
		}
	}
	return nil
}

// heldBack adds the user's steps that say before = target.
func (b *builder) heldBack(needs []provision.StepID, target string) []provision.StepID {
	return append(needs, b.hooks[target]...)
}

// tag is a name for things that carry no metadata: it holds the service, the run and what it is for.
// nova allows 255 characters in names of keypairs and groups.
func (b *builder) tag(slot string) string {
	return strings.ToLower(fmt.Sprintf("failover-%s-%s-%s", b.plan.Service, b.run, slot))
}
