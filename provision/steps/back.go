package steps

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// DNSExpire {since ttl} → {}: done once no resolver can hold any longer what was served before since.
const DNSExpire provision.Kind = "dns.expire"

// Back gives the graph that takes a run's names home: each old address is proven over TLS as the run's
// own were, then the record sets that were kept are restored, every name server is asked, and the TTL is waited
// out from their agreement, so that nothing is asked of the replacements any more. With remove, what the run made
// is removed after that. No name goes home before all homes are proven: one that nothing proves goes where another
// leads that is. Several homes are proven once more together, right before the first name goes.
func Back(g provision.Graph, events []provision.Event, run provision.RunID, remove bool) provision.Graph {
	out := provision.Graph{Service: g.Service, Region: g.Region, Home: g.Home, Purpose: "back", Of: run}
	outputs, touched := effects(events)
	var moves []provision.Step
	for _, s := range g.Steps {
		if s.Kind != DNSMove || !strings.HasPrefix(string(s.ID), "move/") || !touched[s.ID] {
			continue
		}
		if join := provision.StepID("join/" + moved(s)); touched[join] { // what the record holds since
			s, _ = g.Step(join)
		}
		moves = append(moves, s)
	}
	var proven, drained []provision.StepID
	for _, s := range moves {
		proven = append(proven, homeProof(&out, g, s, oldSet(s), moved(s))...)
	}
	proven = homeAgain(&out, proven)
	for _, s := range moves {
		name := moved(s)
		restore := provision.Step{ID: provision.StepID("restore/" + name), Kind: DNSRestore, Needs: proven, With: undoArgs(s, outputs),
			Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(2 * time.Second),
			Say: provision.Say{Stage: provision.StageRestore, Thing: s.Say.Thing, Detail: "to " + goesTo(s)}}
		hold(restore.With, events, s)
		out.Steps = append(out.Steps, restore)
		last, since := restore.ID, provision.From(restore.ID, "moved_at")
		if agree, ok := agreed(g, events, s, restore.ID); ok {
			agree.Say.Stage = provision.StageConfirm
			out.Steps = append(out.Steps, agree)
			last, since = agree.ID, provision.From(agree.ID, "agreed_at") // until then a name server may have given the former answer
		}
		ttl, _ := s.With["ttl"].Is.(float64) // the journal's JSON gives numbers as float64
		wait := time.Duration(ttl) * time.Second
		expire := provision.StepID("drain/" + name)
		out.Steps = append(out.Steps, provision.Step{ID: expire, Kind: DNSExpire, Needs: unique([]provision.StepID{last, restore.ID}),
			With:   map[string]provision.Arg{"since": since, "ttl": provision.Lit(ttl)},
			Within: provision.Duration(wait + time.Minute), Expect: provision.Duration(wait),
			Say: provision.Say{Stage: provision.StageDrain, Thing: s.Say.Thing, Detail: fmt.Sprintf("%d s, until no resolver holds the replacements' addresses", int(ttl))}})
		drained = append(drained, expire)
	}
	if remove {
		for _, s := range Reverse(g, events, run).Steps {
			if s.Kind == DNSRestore || s.Kind == DNSAgree {
				continue
			}
			s.Needs = slices.DeleteFunc(s.Needs, func(n provision.StepID) bool {
				return strings.HasPrefix(string(n), "restore/") || strings.HasPrefix(string(n), "agree/")
			})
			s.Needs = append(s.Needs, drained...)
			out.Steps = append(out.Steps, s)
		}
	}
	return out
}

// Moved reports whether a run may have moved a name.
func Moved(g provision.Graph, events []provision.Event) bool {
	_, touched := effects(events)
	return slices.ContainsFunc(g.Steps, func(s provision.Step) bool { return s.Kind == DNSMove && touched[s.ID] })
}

// moved names what a move, or a join, is about.
func moved(move provision.Step) string {
	_, name, _ := strings.Cut(string(move.ID), "/")
	return name
}

// homeProof adds the proof of the old addresses, by what the run asked of its own through the same name. A
// name that nothing proved on the way there is not proven on the way back either.
func homeProof(out *provision.Graph, g provision.Graph, move provision.Step, old provision.RRset, name string) []provision.StepID {
	was, ok := g.Step(provision.StepID("confirm/" + name))
	if !ok || old.Type == "CNAME" || len(old.Values) == 0 {
		return nil
	}
	with := map[string]provision.Arg{"addresses": provision.Lit(old.Values)}
	for _, k := range []string{"url", "status", "body", "successes", "ca"} { // not the fingerprint: home may have a certificate of its own
		with[k] = was.With[k]
	}
	id := provision.StepID("home/" + name)
	out.Steps = append(out.Steps, provision.Step{ID: id, Kind: ServiceProve, Volatile: true, With: with, Within: was.Within, Expect: provision.Duration(expectMoment),
		Say: provision.Say{Stage: provision.StageProve, Thing: move.Say.Thing, Detail: fmt.Sprintf("%v at home: %s", with["url"].Is, oldText(old)),
			Hint: "home is not well yet; nothing was changed, the replacements go on serving"}})
	return []provision.StepID{id}
}

// homeAgain adds one more proof of every home at once where there are several: the first that was proven may have gone
// while the slowest was waited for.
func homeAgain(out *provision.Graph, proven []provision.StepID) []provision.StepID {
	if len(proven) < 2 {
		return proven
	}
	again := make([]provision.StepID, 0, len(proven))
	for _, id := range proven {
		s, _ := out.Step(id)
		s.ID, s.Needs, s.With = "again/"+s.ID, proven, maps.Clone(s.With)
		s.With["successes"] = provision.Lit(1)
		s.Say.Detail = "once more, with all the others, right before going home"
		out.Steps = append(out.Steps, s)
		again = append(again, s.ID)
	}
	return again
}
