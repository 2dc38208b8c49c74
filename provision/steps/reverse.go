package steps

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// Reverse gives the graph that undoes run: every step that may have had an effect, turned by its Undo.
// Names are restored first; whatever else was made goes only after that, in the opposite order of its making.
// A step whose outcome the journal does not tell is reversed too: its handler finds out what is there.
func Reverse(g provision.Graph, events []provision.Event, run provision.RunID) provision.Graph {
	out := provision.Graph{Service: g.Service, Region: g.Region, Home: g.Home, Purpose: "abandon", Of: run}
	outputs, touched := effects(events)
	restored := map[string]bool{}
	var restores []provision.StepID
	for _, s := range slices.Backward(g.Steps) {
		if s.Undo.Kind != DNSRestore || !touched[s.ID] {
			continue
		}
		name := s.Say.Thing + "/" + fmt.Sprint(provision.Values(mapOf(s.With["old"].Is))["type"])
		if restored[name] { // a lowered TTL is restored with the move's old set
			continue
		}
		restored[name] = true
		with := undoArgs(s, outputs)
		hold(with, events, s)
		with["leave"] = provision.Lit(true) // a later run may have moved the name elsewhere: what is removed here is not named then
		id := provision.StepID("restore/" + name)
		restores = append(restores, id)
		out.Steps = append(out.Steps, provision.Step{ID: id, Kind: DNSRestore, With: with, Within: provision.Duration(2 * time.Minute),
			Expect: provision.Duration(2 * time.Second), Say: provision.Say{Stage: provision.StageRestore, Thing: s.Say.Thing, Detail: "to " + goesTo(s)}})
		if agree, ok := agreed(g, events, s, id); ok {
			restores = append(restores, agree.ID)
			out.Steps = append(out.Steps, agree)
		}
	}
	cleared := clearedChallenges(g, events)
	undo := map[provision.StepID]provision.StepID{} // by the step that is undone
	for _, s := range slices.Backward(g.Steps) {
		// What a delivery opens may be open from another one, which stopped: it is closed with whichever is taken back.
		if s.Undo.Kind == "" || s.Undo.Kind == DNSRestore || !touched[s.ID] && s.Kind != GroupOpen && s.With[inherited].Is != true || cleared[s.ID] {
			continue
		}
		with := undoArgs(s, outputs)
		needs := slices.Clone(restores)
		for _, later := range g.Steps { // what was made with this one's help goes first
			if slices.Contains(later.Needs, s.ID) && undo[later.ID] != "" {
				needs = append(needs, undo[later.ID])
			}
		}
		id := provision.StepID("remove/" + strings.ReplaceAll(string(s.ID), "/", "-"))
		undo[s.ID] = id
		kind, _, _ := strings.Cut(strings.TrimPrefix(string(s.Kind), "cloud"), ".")
		say := provision.Say{Stage: provision.StageRemove, Thing: s.Say.Thing, Detail: kind + " made by run " + run.Short()}
		if s.Kind == GroupOpen {
			say.Stage, say.Detail = provision.StageClose, fmt.Sprintf("port %v again", with["port"].Is)
		}
		out.Steps = append(out.Steps, provision.Step{ID: id, Kind: s.Undo.Kind, Needs: needs, With: with, Within: provision.Duration(5 * time.Minute),
			Expect: provision.Duration(5 * time.Second), Say: say})
	}
	leaveBalancers(out, g, events, undo)
	releaseFirst(out, run)
	return out
}

// releaseFirst lets nothing be removed while a name points to it that nobody knows the former set of.
func releaseFirst(out provision.Graph, run provision.RunID) {
	var released []provision.StepID
	for _, s := range out.Steps {
		if s.Kind == DNSRelease {
			released = append(released, s.ID)
		}
	}
	for i, s := range out.Steps {
		if s.Kind != DNSRelease && s.Kind != DNSRestore && s.Kind != DNSAgree { // whichever server a record names
			out.Steps[i].Needs = unique(append(s.Needs, released...))
		}
		if s.Kind == DNSRelease {
			old := oldSet(s)
			out.Steps[i].Say = provision.Say{Stage: provision.StageRestore, Thing: s.Say.Thing,
				Detail: old.Type + " is left as it is, and must name no server of run " + run.Short(),
				Hint:   "point it to where the service is to be at your DNS provider, then: failover resume"}
		}
	}
}

// Inside reports whether nothing that a run has begun shows outside its region, but for TTLs: no name was moved and no
// step of the user's own was run. Such a run may be undone and begun anew in another region.
func Inside(g provision.Graph, events []provision.Event) bool {
	_, touched := effects(events)
	if slices.ContainsFunc(events, func(e provision.Event) bool { return e.Type == provision.StepFailed && e.Final && issues(e.Kind) }) {
		return false // an authority's no is not the region's: it would be asked again in each
	}
	return !slices.ContainsFunc(g.Steps, func(s provision.Step) bool {
		return touched[s.ID] && (s.Kind == DNSMove || s.Kind == HookRun)
	})
}

// late is how long after a restoration a name server may still come to give what was moved before, where it was never
// seen to: a change that a provider calls done can take that long to each of its servers.
const late = time.Minute

// unanswered is how long a change of a record is looked for that was sent, and of which nobody knows more.
const unanswered = 15 * time.Second

// hold lets a record that is as it was be watched for a while, where the change that is undone may be on its way yet.
func hold(with map[string]provision.Arg, events []provision.Event, changed provision.Step) {
	if !slices.ContainsFunc(events, func(e provision.Event) bool { return e.Type == provision.StepDone && e.Step == changed.ID }) {
		with["hold"] = provision.Lit(seconds(unanswered))
	}
}

// agreed waits, after a moved set was restored, until every name server serves what the provider holds: what they still
// name must not be removed. moved is the step that is undone. Where the name servers were never seen to agree on what it
// moved, that may still be on its way to them.
func agreed(g provision.Graph, events []provision.Event, moved provision.Step, restore provision.StepID) (provision.Step, bool) {
	for _, a := range g.Steps {
		if moved.Kind != DNSMove || a.Kind != DNSAgree || !slices.Contains(a.Needs, moved.ID) {
			continue
		}
		with := maps.Clone(a.With)
		with["values"] = provision.Arg{List: true, Of: []provision.Output{{Step: restore, Name: "values"}}}
		with["settled"] = provision.Lit(true)
		within := time.Duration(a.Within)
		if !slices.ContainsFunc(events, func(e provision.Event) bool { return e.Type == provision.StepDone && e.Step == a.ID }) {
			with["hold"] = provision.Lit(seconds(late))
			within += late
		}
		servers := strings.Join(provision.Values{"at": a.With["name_servers"].Is}.List("at"), ", ")
		return provision.Step{ID: provision.StepID(strings.TrimPrefix(string(a.ID), "join-")), Kind: DNSAgree, Needs: []provision.StepID{restore}, With: with,
			Within: provision.Duration(within), Expect: a.Expect,
			Say: provision.Say{Stage: provision.StageRestore, Thing: a.Say.Thing, Detail: "until " + servers + " serve it"}}, true
	}
	return provision.Step{}, false
}

// effects gives the last outputs of each step, and which steps may have had an effect.
func effects(events []provision.Event) (map[provision.StepID]provision.Values, map[provision.StepID]bool) {
	outputs := map[provision.StepID]provision.Values{}
	touched := map[provision.StepID]bool{}
	failed := map[provision.StepID]provision.Kind{}
	kinds := map[provision.StepID]provision.Kind{} // clearing is of another
	asked := map[provision.StepID]bool{}           // sent, as far as is known, and not answered yet
	unsure := map[provision.StepID]bool{}          // something was sent whose fate is not known: it may show late
	for _, e := range events {
		switch e.Type {
		case provision.StepIntent:
			touched[e.Step] = true
			if kinds[e.Step] == "" {
				kinds[e.Step] = e.Kind
			}
			if e.Kind == kinds[e.Step] {
				unsure[e.Step] = unsure[e.Step] || asked[e.Step]
				asked[e.Step] = true
			}
			if kind, ok := failed[e.Step]; ok && kind == e.Kind { // another attempt; clearing one is of another kind
				delete(outputs, e.Step)
			}
		case provision.StepSent:
			if e.Kind == kinds[e.Step] {
				asked[e.Step] = false
				unsure[e.Step] = unsure[e.Step] || e.Error != nil && e.Error.Class == provision.Unknown
			}
		case provision.StepDone, provision.StepFailed, provision.StepSkipped:
			if delete(failed, e.Step); e.Type == provision.StepFailed {
				failed[e.Step] = e.Kind
				unsure[e.Step] = unsure[e.Step] || len(e.Out) == 0 // there was nothing by which to clear it away
			}
			if len(e.Out) > 0 {
				outputs[e.Step], touched[e.Step] = e.Out, true
			}
		case provision.StepCleared: // what a later attempt makes has another id, which its answer will tell
			delete(outputs, e.Step)
			touched[e.Step] = unsure[e.Step] || asked[e.Step]
		}
	}
	return outputs, touched
}

// undoArgs are the step's own undo arguments as literals. Where the step's own outputs do not tell one, since
// the run ended between its intent and its answer, it is what the step was about to send.
func undoArgs(s provision.Step, outputs map[provision.StepID]provision.Values) map[string]provision.Arg {
	with := map[string]provision.Arg{}
	for k, v := range s.UndoArgs(0, outputs[s.ID]) {
		with[k] = provision.Lit(v)
	}
	for _, name := range s.Undo.Take {
		arg, ok := s.With[name]
		if _, known := with[name]; known || !ok {
			continue
		}
		one := provision.Step{ID: s.ID, With: map[string]provision.Arg{name: arg}}
		if in, err := one.Resolve(0, outputs); err == nil {
			with[name] = provision.Lit(in[name])
		}
	}
	return with
}

func mapOf(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func oldSet(s provision.Step) provision.RRset {
	old := provision.Values(mapOf(s.With["old"].Is))
	return provision.RRset{Name: old.Text("name"), Type: old.Text("type"), Values: old.List("values")}
}
