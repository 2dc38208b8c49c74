package steps

import (
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
