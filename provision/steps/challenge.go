package steps

import (
	"slices"
	"time"

	"github.com/dripstat/failover/provision"
)

// Kinds of what proves to an authority that a name is ours; dns performs them. They carry no tag of the run: the values are
// its own, and the only thing by which they are found again.
const (
	// ChallengeSet {zone name values name_servers} → {values}: every name server serves the values, beside what is there.
	ChallengeSet provision.Kind = "challenge.set"
	// ChallengeClear {zone name values} → {}: none of the values is there any more; others stay. Undo of ChallengeSet.
	ChallengeClear provision.Kind = "challenge.clear"
)

// challenge adds the answer to one challenge of an order, and gives the step that takes it away.
func (b *builder) challenge(c provision.Certificate, ch provision.Challenge, order provision.StepID) (set provision.StepID, gone provision.Step) {
	within := 5 * time.Minute
	for _, z := range b.plan.Zones {
		if z.Name == ch.Zone {
			within = z.Within
		}
	}
	at := c.Name + "/" + trim(ch.For)
	values := provision.From(order, ch.For)
	with := func() map[string]provision.Arg {
		return map[string]provision.Arg{"zone": provision.Lit(ch.Zone), "name": provision.Lit(ch.Name), "values": values}
	}
	first := with()
	first["name_servers"] = provision.Lit(ch.NameServers)
	set = b.add(provision.Step{ID: provision.StepID("challenge/" + at), Kind: ChallengeSet, Needs: []provision.StepID{order}, With: first,
		Undo:   provision.Undo{Kind: ChallengeClear, Take: []string{"zone", "name", "values"}},
		Within: provision.Duration(within), Expect: provision.Duration(5 * time.Second),
		Say: provision.Say{Stage: provision.StagePrepare, Thing: trim(ch.Name), Detail: "TXT, until the certificate is issued"}})
	return set, provision.Step{ID: provision.StepID("unchallenge/" + at), Kind: ChallengeClear, Needs: []provision.StepID{order}, With: with(),
		Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
		Say: provision.Say{Stage: provision.StagePrepare, Thing: trim(ch.Name)}}
}

// clearedChallenges gives the steps that set what the run itself has taken away again.
func clearedChallenges(g provision.Graph, events []provision.Event) map[provision.StepID]bool {
	out := map[provision.StepID]bool{}
	done := func(id provision.StepID) bool {
		return slices.ContainsFunc(events, func(e provision.Event) bool { return e.Type == provision.StepDone && e.Step == id })
	}
	for _, s := range g.Steps {
		if s.Kind == ChallengeSet && done("un"+s.ID) {
			out[s.ID] = true
		}
	}
	return out
}
