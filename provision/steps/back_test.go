package steps

import (
	"maps"
	"slices"
	"testing"

	"github.com/dripstat/failover/provision"
)

// twoNames is a run that moved two names, of which only www is proven, and the events of its moves.
func twoNames() (provision.Graph, []provision.Event) {
	g := provision.Graph{Service: "shop", Purpose: "failover"}
	var events []provision.Event
	for _, name := range []string{"www.shop.test", "api.shop.test"} {
		id := name + "/A"
		old := map[string]any{"name": name + ".", "type": "A", "ttl": 60.0, "values": []any{"203.0.113.10"}}
		with := map[string]provision.Arg{"zone": provision.Lit("public"), "old": provision.Lit(old), "ttl": provision.Lit(60.0),
			"name": provision.Lit(name + "."), "type": provision.Lit("A"), "values": provision.Lit([]any{"198.51.100.1"}), "name_servers": provision.Lit([]any{"ns1"})}
		move := provision.Step{ID: provision.StepID("move/" + id), Kind: DNSMove, With: with,
			Undo: provision.Undo{Kind: DNSRestore, Take: []string{"zone", "old", "ttl", "values"}}}
		agree := provision.Step{ID: provision.StepID("agree/" + id), Kind: DNSAgree, Needs: []provision.StepID{move.ID}, With: with}
		g.Steps = append(g.Steps, move, agree)
		events = append(events, provision.Event{Type: provision.StepIntent, Step: move.ID, Kind: move.Kind})
	}
	g.Steps = append(g.Steps, provision.Step{ID: "confirm/www.shop.test/A", Kind: ServiceConfirm, With: map[string]provision.Arg{
		"url": provision.Lit("https://www.shop.test/"), "status": provision.Lit(200.0), "body": provision.Lit(""), "successes": provision.Lit(1.0), "ca": provision.Lit("")}})
	return g, events
}

// A name that nothing can prove does not go home before one that is proven may: home is well or it is not.
func TestNoNameGoesHomeBeforeHomeIsProven(t *testing.T) {
	g, events := twoNames()
	back := Back(g, events, "01RUN", false)
	n := 0
	for _, s := range back.Steps {
		if s.Kind != DNSRestore {
			continue
		}
		n++
		if !slices.Contains(s.Needs, "home/www.shop.test/A") {
			t.Errorf("%s needs only %v", s.ID, s.Needs)
		}
	}
	if n != 2 {
		t.Errorf("%d names go home", n)
	}
}

// Several homes are proven once more at once: the first may be gone when the last is well.
func TestHomesAreProvenTogether(t *testing.T) {
	g, events := twoNames()
	was, _ := g.Step("confirm/www.shop.test/A")
	was.ID = "confirm/api.shop.test/A"
	was.With = maps.Clone(was.With)
	was.With["successes"] = provision.Lit(5.0)
	g.Steps = append(g.Steps, was)
	back := Back(g, events, "01RUN", false)
	homes := []provision.StepID{"home/www.shop.test/A", "home/api.shop.test/A"}
	for _, h := range homes {
		again, ok := back.Step("again/" + h)
		if !ok || !slices.Equal(again.Needs, homes) || !again.Volatile || again.With["successes"].Is != 1 {
			t.Errorf("again/%s: %t, %+v", h, ok, again)
		}
	}
	if first, _ := back.Step(homes[1]); first.With["successes"].Is != 5.0 {
		t.Errorf("the first proof lost its pace: %+v", first.With)
	}
	for _, s := range back.Steps {
		if s.Kind == DNSRestore && !slices.Equal(s.Needs, []provision.StepID{"again/" + homes[0], "again/" + homes[1]}) {
			t.Errorf("%s needs %v", s.ID, s.Needs)
		}
	}
}

// A name server that lags gives the replacements' addresses until it agrees: what it said then is held for a TTL.
func TestCachesAreWaitedForFromTheAgreement(t *testing.T) {
	g, events := twoNames()
	back := Back(g, events, "01RUN", false)
	for _, name := range []string{"www.shop.test/A", "api.shop.test/A"} {
		s, ok := back.Step(provision.StepID("drain/" + name))
		if since := s.With["since"].Of; !ok || !slices.Equal(since, provision.From(provision.StepID("agree/"+name), "agreed_at").Of) {
			t.Errorf("drain/%s waits from %+v", name, since)
		}
	}
}

// Only what nobody has the answer of is watched for.
func TestUnansweredMoveIsWatchedFor(t *testing.T) {
	g, events := twoNames()
	events = append(events, provision.Event{Type: provision.StepDone, Step: "move/www.shop.test/A", Kind: DNSMove})
	for _, s := range append(Reverse(g, events, "01RUN").Steps, Back(g, events, "01RUN", false).Steps...) {
		if s.Kind != DNSRestore {
			continue
		}
		_, holds := s.With["hold"]
		name := provision.Values(mapOf(s.With["old"].Is)).Text("name")
		if holds != (name == "api.shop.test.") {
			t.Errorf("%s of %s: watched for %v", s.ID, name, holds)
		}
	}
}
