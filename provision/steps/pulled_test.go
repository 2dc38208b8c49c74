package steps

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/templates"
)

// wrapped lets servers fetch their certificate out of a wrapping.
func wrapped(plan *provision.Plan, facts provision.Facts) {
	s := &plan.Servers[0]
	s.Deliver = &provision.Delivery{Wrap: &provision.Wrap{TTL: 15 * time.Minute, Addresses: []string{"https://vault.dripstat.com:8200"}}}
	f := facts.Servers[s.Name]
	f.UserData = []byte("#cloud-config\n# " + templates.PullToken + " " + templates.PullFingerprint + "\n")
	facts.Servers[s.Name] = f
}

// Servers that fetch their certificate have no login, no host key and no SSH to close; they are proven like all others, and the graph holds the
// place of a token, not one.
func TestPulled(t *testing.T) {
	plan, facts := fullPlan()
	wrapped(&plan, facts)
	g := build(t, plan, facts)
	golden(t, "pulled", g)
	for _, s := range g.Steps {
		if slices.Contains([]provision.Kind{LoginCreate, ConsoleHostKeys, CertificateDeliver, GroupClose}, s.Kind) {
			t.Errorf("there is a step %s", s.ID)
		}
	}
	pull, _ := g.Step("pull/collector-1")
	prove, _ := g.Step("prove/collector-1")
	server, _ := g.Step("server/collector-1")
	data, _ := server.With["user_data"].Is.(string)
	if !slices.Contains(prove.Needs, pull.ID) || !slices.Contains(pull.Needs, server.ID) || !slices.Contains(server.Needs, fetchID("edge")) {
		t.Errorf("server needs %v, pull %v, prove %v", server.Needs, pull.Needs, prove.Needs)
	}
	if !strings.Contains(data, templates.PullToken) || !strings.Contains(data, "f00d") {
		t.Errorf("user-data: %q", data)
	}
}

// What a renewal cannot reach are the servers of a run that have fetched theirs, without those that it has given up.
func TestPulledServersOfARun(t *testing.T) {
	plan, facts := fullPlan()
	wrapped(&plan, facts)
	g := build(t, plan, facts)
	events := finished(t, g)
	slots := func(es []Ended) (out []string) {
		for _, e := range es {
			out = append(out, e.Slot+" "+e.Certificate)
		}
		return out
	}
	if got := slots(Pulled(g, events)); !slices.Equal(got, []string{"collector-1 edge", "collector-2 edge"}) {
		t.Errorf("%q", got)
	}
	if got := Deliveries(g, events, nil); len(got) > 0 {
		t.Errorf("delivered over SSH: %v", slots(got))
	}
	half := slices.DeleteFunc(slices.Clone(events), func(e provision.Event) bool { return e.Step == "pull/collector-2" && e.Type == provision.StepDone })
	if got := slots(Pulled(g, half)); !slices.Equal(got, []string{"collector-1 edge"}) {
		t.Errorf("%q", got)
	}
}
