package steps

import (
	"maps"
	"slices"
	"testing"

	"github.com/dripstat/failover/provision"
)

// The name of these tales, and who has put it where: its id, region, what it found and what it put.
const tale = "www.shop.test/A"

func teller(id, region, found, put string, kind provision.Kind) []provision.Event {
	made := provision.Step{ID: "made", Kind: kind}
	if kind == ServerCreate {
		made.Undo = provision.Undo{Kind: ServerDelete, Take: []string{"id"}}
	}
	g := provision.Graph{Service: "shop", Purpose: "failover", Home: "IAD", Region: region, Steps: []provision.Step{
		made,
		{ID: "move/" + tale, Kind: DNSMove, Undo: provision.Undo{Kind: DNSRestore, Take: []string{"zone", "old", "ttl", "values"}},
			With: map[string]provision.Arg{"zone": provision.Lit("public"), "ttl": provision.Lit(60.0), "values": provision.FromAll("ipv4", "made"),
				"old": provision.Lit(map[string]any{"name": "www.shop.test.", "type": "A", "ttl": 300.0, "values": []any{found}})}},
		{ID: "agree/" + tale, Kind: DNSAgree, Needs: []provision.StepID{"move/" + tale}, With: map[string]provision.Arg{"name_servers": provision.Lit([]any{"ns1"})}},
	}}
	return []provision.Event{{Type: provision.RunStarted, Run: provision.RunID(id), Graph: &g},
		{Type: provision.StepIntent, Step: "made", Kind: kind}, {Type: provision.StepDone, Step: "made", Kind: kind, Out: provision.Values{"ipv4": put}},
		{Type: provision.StepIntent, Step: "move/" + tale, Kind: DNSMove},
		{Type: provision.StepDone, Step: "move/" + tale, Kind: DNSMove, Out: provision.Values{"values": []any{put}}}}
}

// undoing is the journal of what undid a run, and how far it came.
func undoing(purpose, of string, events ...provision.Event) []provision.Event {
	g := provision.Graph{Service: "shop", Purpose: purpose, Of: provision.RunID(of)}
	return append([]provision.Event{{Type: provision.RunStarted, Run: provision.RunID(of + "u"), Graph: &g}}, events...)
}

func TestChained(t *testing.T) {
	const home, a, b = "203.0.113.10", "198.51.100.1", "198.51.100.2"
	restored := provision.Event{Type: provision.StepDone, Step: "restore/www", Kind: DNSRestore}
	refused := provision.Event{Type: provision.StepFailed, Step: "home/www", Kind: ServiceProve, Final: true}
	tried := provision.Event{Type: provision.StepIntent, Step: "restore/www", Kind: DNSRestore}
	removed := provision.Event{Type: provision.StepIntent, Step: "remove/made", Kind: ServerDelete}
	lost := func(events []provision.Event) []provision.Event { // that run's own journal was lost
		s := &events[0].Graph.Steps[1]
		*s = unknownBefore(*events[0].Graph, *s, []string{a})
		return events
	}
	first, second := teller("01A", "ORD", home, a, ServerCreate), teller("01B", "DFW", a, b, ServerCreate)
	unanswered := second[:len(second)-1]
	for name, tt := range map[string]struct {
		run    []provision.Event
		others [][]provision.Event
		back   bool
		to     string // "": the name must be let go
		later  string
	}{
		"alone":                                {run: first, to: home},
		"the first stands":                     {run: second, others: [][]provision.Event{first}, to: a},
		"the first was abandoned":              {run: second, others: [][]provision.Event{first, undoing("abandon", "01A", restored, removed)}, to: home},
		"its removal began":                    {run: second, others: [][]provision.Event{first, undoing("abandon", "01A", removed)}, to: home},
		"its way back was refused":             {run: second, others: [][]provision.Event{first, undoing("back", "01A", refused)}, to: a},
		"its restoration was refused":          {run: second, others: [][]provision.Event{first, undoing("abandon", "01A", tried)}, to: a},
		"home is asked for":                    {run: second, others: [][]provision.Event{first}, back: true, to: home},
		"home is asked for, nothing was moved": {run: unanswered, others: [][]provision.Event{first}, back: true, to: a},
		"the first was into home":              {run: second, others: [][]provision.Event{teller("01A", "IAD", home, a, ServerCreate)}, back: true, to: a},
		"the second is home":                   {run: teller("01B", "IAD", a, b, ServerCreate), others: [][]provision.Event{first}, back: true, to: a},
		"somebody else moved it":               {run: second, others: [][]provision.Event{teller("01A", "ORD", home, "192.0.2.7", ServerCreate), undoing("abandon", "01A", restored)}, to: a},
		"two were abandoned":                   {run: teller("01C", "LON", b, "198.51.100.3", ServerCreate), others: [][]provision.Event{undoing("abandon", "01B", removed), second, first, undoing("abandon", "01A", restored)}, to: home},
		"one of two was abandoned":             {run: teller("01C", "LON", b, "198.51.100.3", ServerCreate), others: [][]provision.Event{undoing("abandon", "01B", removed), second, first}, to: a},
		"what the first found is not known":    {run: second, others: [][]provision.Event{lost(teller("01A", "ORD", home, a, ServerCreate)), undoing("abandon", "01A", removed)}, to: ""},
		"a later one stands":                   {run: first, others: [][]provision.Event{second}, to: home, later: b},
		"a later one was undone":               {run: first, others: [][]provision.Event{second, undoing("abandon", "01B", restored)}, to: home},
		"both at a balancer that was there":    {run: teller("01A", "ORD", home, a, CloudBalancerUse), others: [][]provision.Event{teller("01B", "ORD", a, a, CloudBalancerUse)}, to: home, later: a},
		"a later one at what the first made":   {run: first, others: [][]provision.Event{teller("01B", "ORD", a, a, CloudBalancerUse)}, to: home},
	} {
		t.Run(name, func(t *testing.T) {
			g := Chained(*tt.run[0].Graph, tt.run, tt.others, tt.back)
			undo := Reverse(g, tt.run, tt.run[0].Run)
			if tt.back {
				undo = Back(g, tt.run, tt.run[0].Run, false)
			}
			var restore *provision.Step
			for _, s := range undo.Steps {
				if s.Kind == DNSRestore || s.Kind == DNSRelease {
					restore = &s
				}
			}
			if restore == nil {
				t.Fatalf("%+v", undo.Steps)
			}
			if released := restore.Kind == DNSRelease; released != (tt.to == "") {
				t.Fatalf("%+v", restore)
			}
			if tt.to == "" {
				if ours := restore.With["ours"].Is.([]string); len(ours) != 1 || ours[0] != a || len(BeforeUnknown(g)) != 1 {
					t.Errorf("it may name all but %v", ours)
				}
				if s, ok := undo.Step("remove/made"); !ok || !slices.Contains(s.Needs, restore.ID) {
					t.Errorf("what the name may lead to is removed first: %+v", s)
				}
				return
			}
			if old := oldSet(*restore); len(old.Values) != 1 || old.Values[0] != tt.to {
				t.Errorf("it goes to %v, wanted %s", old.Values, tt.to)
			}
			later := provision.Values(mapOf(restore.With["later"].Is))
			if got := later.List("values"); (len(got) > 0) != (tt.later != "") || len(got) > 0 && (got[0] != tt.later || later["ttl"] != 60) {
				t.Errorf("later %v, wanted %q", later, tt.later)
			}
		})
	}
}

// joins tells of a run that took the place of a member of a load balancer that was there: with what condition it found it, and whether TLS ended there.
func joins(id, found string, tls bool) []provision.Event {
	lit := func(v any) provision.Arg { return provision.Lit(v) }
	at := map[string]provision.Arg{"cloud": lit("rax"), "balancer": provision.From("balancer/edge", "id")}
	with := func(more map[string]provision.Arg) map[string]provision.Arg { maps.Copy(more, at); return more }
	dead := []any{map[string]any{"id": "7", "address": "10.0.0.7", "port": 8080.0, "condition": found}}
	terminate := provision.Step{ID: "terminate/edge", Kind: CloudBalancerTerminate, With: with(map[string]provision.Arg{"fingerprint": lit("f" + id)})}
	if !tls {
		terminate.With["nodes"], terminate.Undo = lit(dead), provision.Undo{Kind: CloudBalancerUnterminate, Take: []string{"cloud", "balancer", "fingerprint", "nodes"}}
	}
	g := provision.Graph{Service: "shop", Purpose: "failover", Region: "ORD", Steps: []provision.Step{{ID: "balancer/edge", Kind: CloudBalancerUse}, terminate,
		{ID: "disable/edge", Kind: CloudBalancerDisable, With: with(map[string]provision.Arg{"nodes": lit(dead)}),
			Undo: provision.Undo{Kind: CloudBalancerRestore, Take: []string{"cloud", "balancer", "nodes"}}}}}
	events := []provision.Event{{Type: provision.RunStarted, Run: provision.RunID(id), Graph: &g}, {Type: provision.StepDone, Step: "balancer/edge", Kind: CloudBalancerUse, Out: provision.Values{"id": "71"}}}
	for _, s := range g.Steps[1:] {
		if found != disabled {
			events = append(events, provision.Event{Type: provision.StepIntent, Step: s.ID, Kind: s.Kind})
		}
		events = append(events, provision.Event{Type: provision.StepDone, Step: s.ID, Kind: s.Kind, Out: provision.Values{}})
	}
	return events
}

// A member gets no traffic while any of the runs stands that took its place, and what the first of them found comes back with the last.
func TestChainedAtOneBalancer(t *testing.T) {
	a, b, c := joins("01A", "ENABLED", false), joins("01B", disabled, true), joins("01C", disabled, true)
	gone := func(run string) []provision.Event {
		return undoing("abandon", run, provision.Event{Type: provision.StepIntent, Step: "remove/x", Kind: CloudBalancerDetach})
	}
	for name, tt := range map[string]struct {
		run       []provision.Event
		others    [][]provision.Event
		condition string // that it is given; "": it is left
		tls       bool   // the certificate is taken out, if nobody has joined since
	}{
		"alone":                               {a, nil, "ENABLED", true},
		"a later one stands":                  {a, [][]provision.Event{b}, "", true},
		"the later one is gone":               {a, [][]provision.Event{b, gone("01B")}, "ENABLED", true},
		"an earlier one stands":               {b, [][]provision.Event{a}, "", false},
		"the earlier one is gone":             {b, [][]provision.Event{a, gone("01A")}, "ENABLED", true},
		"in the middle":                       {b, [][]provision.Event{a, gone("01A"), c}, "", true},
		"the last, one in the middle stands":  {c, [][]provision.Event{a, gone("01A"), b}, "", false},
		"the last of all":                     {c, [][]provision.Event{b, gone("01B"), a, gone("01A")}, "ENABLED", true},
		"the last but the first":              {c, [][]provision.Event{b, gone("01B"), a}, "", false},
		"somebody has changed it in between":  {joins("01B", "DRAINING", true), [][]provision.Event{a, gone("01A")}, "DRAINING", true},
		"another one that is not of this run": {b, [][]provision.Event{teller("01A", "ORD", "203.0.113.10", "198.51.100.1", CloudBalancerUse), gone("01A")}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			undo := Reverse(Chained(*tt.run[0].Graph, tt.run, tt.others, false), tt.run, tt.run[0].Run)
			given := ""
			if s, ok := undo.Step("remove/disable-edge"); ok {
				given = nodesOf(provision.Values{"nodes": s.With["nodes"].Is})[0].Condition
			}
			s, ok := undo.Step("remove/terminate-edge")
			if given != tt.condition || ok != tt.tls {
				t.Errorf("it is given %q, and the certificate taken out: %t", given, ok)
			}
			if ok && (s.With["fingerprint"].Is != "f"+string(tt.run[0].Run) || len(nodesOf(provision.Values{"nodes": s.With["nodes"].Is})) != 1) {
				t.Errorf("%+v", s.With)
			}
		})
	}
}
