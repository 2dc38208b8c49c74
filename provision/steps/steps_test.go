package steps

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const run provision.RunID = "01JDXR4000000000000000RUN1"

// golden compares a value's JSON with testdata/name.json.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("%s (-want +got; go test -update rewrites it):\n%s", path, d)
	}
}

func flavor(name string, disk int) provision.Flavor {
	return provision.Flavor{ID: "id-" + name, Name: name, VCPUs: 4, RAMMB: 8192, DiskGB: disk}
}

// onePlan is one server without certificate or proof, and no name.
func onePlan() (provision.Plan, provision.Facts) {
	plan := provision.Plan{Service: "shop", Servers: []provision.Server{{
		Name: "web", Cloud: "main", Count: 1, Networks: []string{"public"}, Timeout: 10 * time.Minute, SSH: provision.SSH{User: "debian", Port: 22},
	}}}
	facts := provision.Facts{Region: "ORD", At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Servers: map[string]provision.ServerFacts{
		"web": {Image: provision.Image{ID: "id-debian", Name: "debian-12"}, Rungs: []provision.Rung{{Flavor: flavor("small", 20)}},
			Networks: []provision.Network{{ID: "id-public", Name: "public"}}, UserData: []byte("#cloud-config\n")},
	}}
	return plan, facts
}

// fullPlan uses everything: two servers with a ladder, a volume, floating addresses, spread, a group of their
// own, certificate and proof; A, AAAA and CNAME; steps of the user's own before and after.
func fullPlan() (provision.Plan, provision.Facts) {
	plan := provision.Plan{
		Service: "dripstat", Home: "IAD", Regions: []string{"ORD"},
		Certificates: []provision.Certificate{{Name: "edge", From: []secrets.Ref{{Store: "vault", Path: "tls/edge"}}, Names: []string{"collector.dripstat.com"}, CA: "CA PEM"}},
		Servers: []provision.Server{{
			Name: "collector", Cloud: "main", Count: 2, Networks: []string{"inside"}, FloatingIP: "public", Spread: true,
			SecurityGroups: []string{"monitoring"},
			Open: []provision.OpenRule{{Protocol: "tcp", Port: 443, PortMax: 443, From: "any"}, {Protocol: "tcp", Port: 22, PortMax: 22, From: "me"},
				{Protocol: "icmp", From: "10.0.0.0/8"}},
			Volume: provision.Volume{SizeGB: 40, Type: "ssd"}, ConfigDrive: true, Metadata: map[string]string{"team": "edge"},
			Template: "tls-proxy", Certificate: "edge", SSH: provision.SSH{User: "debian", Port: 22, Via: "ops@jump.dripstat.com"},
			Ready:   &provision.Ready{URL: "https://collector.dripstat.com/health", Status: 200, Body: "ok", Within: 5 * time.Minute, Successes: 3},
			Timeout: 10 * time.Minute,
		}},
		Zones: []provision.Zone{{Name: "public", Zone: "dripstat.com", Within: 5 * time.Minute, Records: []provision.Record{
			{Name: "a", Host: "collector", Type: "A", TTL: time.Minute, To: []string{"collector"}},
			{Name: "aaaa", Host: "collector", Type: "AAAA", TTL: time.Minute, To: []string{"collector"}},
			{Name: "www", Host: "www", Type: "CNAME", TTL: time.Minute, Values: []string{"collector.dripstat.com."}, Unproven: true},
		}}},
		Hooks: []provision.Hook{
			{Name: "announce", Run: []provision.HookArg{{Text: "./announce"}, {Text: "soon"}}, Before: []string{"server.collector"}},
			{Name: "warm", Run: []provision.HookArg{{Text: "./warm"}, {AddressesOf: "collector"}}, After: []string{"server.collector"}, Before: []string{"dns.public"}, Timeout: time.Minute},
			{Name: "tell", Run: []provision.HookArg{{Text: "./tell"}}, After: []string{"dns.public", "step.warm"}},
		},
	}
	key := func(name, typ string, set provision.RRset) (string, provision.RecordFacts) {
		set.Name, set.Type = name, typ
		return provision.RecordKey(name, typ), provision.RecordFacts{Old: set, NameServers: []string{"ns1.dripstat.com", "ns2.dripstat.com"}}
	}
	facts := provision.Facts{
		Region: "ORD", At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Operator: "198.51.100.7/32",
		Servers: map[string]provision.ServerFacts{"collector": {
			Image:    provision.Image{ID: "id-debian", Name: "debian-12"},
			Rungs:    []provision.Rung{{Flavor: flavor("diskless", 0), Zone: "az1"}, {Flavor: flavor("diskless", 0), Zone: "az2"}, {Flavor: flavor("small", 20), Zone: "az1"}},
			Networks: []provision.Network{{ID: "id-inside", Name: "inside"}}, Floating: &provision.Network{ID: "id-public", Name: "public"},
			Groups: []provision.NamedID{{ID: "id-monitoring", Name: "monitoring"}}, UserData: []byte("#cloud-config\n"),
		}},
		Certificates: map[string]provision.CertificateFacts{"edge": {Fingerprint: "f00d", Source: "secrets.vault", NotAfter: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)}},
		Records:      map[string]provision.RecordFacts{},
	}
	for name, set := range map[string]provision.RRset{
		"collector.dripstat.com./A":    {TTL: 300, Values: []string{"203.0.113.10"}},
		"collector.dripstat.com./AAAA": {},
		"www.dripstat.com./CNAME":      {TTL: 60, Values: []string{"old.dripstat.com."}},
	} {
		fqdn, typ, _ := strings.Cut(name, "/")
		k, f := key(fqdn, typ, set)
		facts.Records[k] = f
	}
	return plan, facts
}

func build(t *testing.T, plan provision.Plan, facts provision.Facts) provision.Graph {
	t.Helper()
	g, err := Build(plan, facts, run)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestBuild(t *testing.T) {
	plan, facts := onePlan()
	golden(t, "one", build(t, plan, facts))
	plan, facts = fullPlan()
	golden(t, "full", build(t, plan, facts))
	plan, facts = fullPlan()
	pooled(&plan, facts)
	golden(t, "pool", build(t, plan, facts))
	plan, facts = fullPlan()
	unissued(&plan, facts)
	golden(t, "issued", build(t, plan, facts))
	pooled(&plan, facts) // and where the run can do without some servers
	build(t, plan, facts)
}

// pooled asks for three servers, of which two are enough at first, and for one more as a hedge.
func pooled(plan *provision.Plan, facts provision.Facts) {
	s := &plan.Servers[0]
	s.Count, s.Need = 3, 2
	f := facts.Servers[s.Name]
	f.Hedge = 1
	facts.Servers[s.Name] = f
}

// Undoing a run whose names moved twice puts back what was there before the first move, in place of either set.
func TestReverseAndBackOfAJoin(t *testing.T) {
	plan, facts := fullPlan()
	pooled(&plan, facts)
	g := build(t, plan, facts)
	events := finished(t, g)
	for what, out := range map[string]provision.Graph{"abandon": Reverse(g, events, run), "back": Back(g, events, run, true)} {
		if err := out.Check(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		n := 0
		for _, s := range out.Steps {
			if s.Kind != DNSRestore || s.Say.Thing != "collector.dripstat.com" {
				continue
			}
			n++
			old := provision.Values(mapOf(s.With["old"].Is))
			if old.Text("type") == "A" && !slices.Contains(old.List("values"), "203.0.113.10") || s.With["from"].Is == nil || s.With["values"].Is == nil {
				t.Errorf("%s: restored with %v", what, s.With)
			}
		}
		if n != 2 {
			t.Errorf("%s: %d restorations of A and AAAA", what, n)
		}
	}
}

// The same arguments give the same graph, and the journal gives the graph back as it was.
func TestBuildIsPure(t *testing.T) {
	plan, facts := fullPlan()
	a, b := build(t, plan, facts), build(t, plan, facts)
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("twice built, not the same:\n%s", d)
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var back provision.Graph
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(text), string(again)); d != "" {
		t.Errorf("through the journal, not the same:\n%s", d)
	}
}

// before reports whether a must be done before b may begin.
func before(g provision.Graph, a, b provision.StepID) bool {
	s, _ := g.Step(b)
	for _, n := range s.Needs {
		if n == a || before(g, a, n) {
			return true
		}
	}
	return false
}

// The invariants that a graph holds by its edges, whatever the golden file says.
func TestOrderOfWhatMatters(t *testing.T) {
	plan, facts := fullPlan()
	g := build(t, plan, facts)
	move := provision.StepID("move/collector.dripstat.com/A")
	for _, tt := range []struct{ first, then provision.StepID }{
		{"certificate/edge", "server/collector-1"}, // a key that cannot be had must not cost a server
		{"step/announce", "server/collector-1"},
		{"server/collector-1", "address/collector-1"},
		{"hostkey/collector-1", "deliver/collector-1"},
		{"deliver/collector-1", "prove/collector-1"},
		{"prove/collector-1", "step/warm"},
		{"step/warm", "reprove/public/collector"}, // DNS names only what answered moments before
		{"prove/collector-2", "reprove/public/collector"},
		{"reprove/public/collector", move},
		{"lower/collector.dripstat.com/A", move},
		{move, "agree/collector.dripstat.com/A"},
		{"agree/collector.dripstat.com/A", "confirm/collector.dripstat.com/A"},
		{"agree/www.dripstat.com/CNAME", "step/tell"},
		{"deliver/collector-2", "close/collector"},
	} {
		if !before(g, tt.first, tt.then) {
			t.Errorf("%s does not come before %s", tt.first, tt.then)
		}
	}
	for _, tt := range []struct{ a, b provision.StepID }{
		{"server/collector-1", "server/collector-2"}, // servers boot side by side
		{"lower/collector.dripstat.com/A", "server/collector-1"},
		{"close/collector", move}, // no one waits for a port to close
	} {
		if before(g, tt.a, tt.b) || before(g, tt.b, tt.a) {
			t.Errorf("%s and %s wait for each other", tt.a, tt.b)
		}
	}
	for _, s := range g.Steps {
		if s.Within <= 0 {
			t.Errorf("%s has no deadline", s.ID)
		}
		if strings.HasSuffix(string(s.Kind), ".create") && s.Kind != LoginCreate && s.Undo.Kind == "" {
			t.Errorf("%s creates what nothing removes", s.ID)
		}
		for _, name := range s.Undo.Take {
			if _, ok := s.With[name]; !ok && !slices.Contains([]string{"id", "name", "values"}, name) {
				t.Errorf("%s: its undo takes %s, which it neither has nor gives", s.ID, name)
			}
		}
	}
}

// finished are the events of a run that did every step of g.
func finished(t *testing.T, g provision.Graph) []provision.Event {
	t.Helper()
	var out []provision.Event
	for i, s := range g.Steps {
		o := provision.Values{}
		switch s.Kind {
		case ServerCreate, FloatingIPCreate, GroupCreate, ServerGroupCreate:
			o["id"] = "id-of-" + string(s.ID)
			o["address"] = fmt.Sprintf("198.51.100.%d", i)
			o["fixed"] = fmt.Sprintf("10.0.0.%d", i)
		case KeypairCreate:
			o["name"] = s.With["name"].Is
		case CertificateFetch:
			o["fingerprint"] = s.With["fingerprint"].Is
		case CertificateStore, BalancerCreate, PoolCreate, MonitorCreate, ListenerCreate:
			o["id"], o["container"], o["address"] = "id-of-"+string(s.ID), "href-of-"+string(s.ID), "203.0.113.99"
		case CloudBalancerUse:
			o["id"] = s.With["id"].Is
		case DNSMove:
			o["values"] = []any{"198.51.100.1", "198.51.100.2"}
			o["ttl"] = float64(60)
		}
		out = append(out, provision.Event{Type: provision.StepIntent, Step: s.ID, Attempt: 1}, provision.Event{Type: provision.StepDone, Step: s.ID, Attempt: 1, Out: o})
	}
	return out
}

func TestReverse(t *testing.T) {
	plan, facts := fullPlan()
	g := build(t, plan, facts)
	rev := Reverse(g, finished(t, g), run)
	if err := rev.Check(); err != nil {
		t.Fatal(err)
	}
	golden(t, "full-reversed", rev)
	for _, s := range rev.Steps {
		if s.Kind == DNSRestore || s.Kind == DNSAgree {
			continue
		}
		for _, r := range rev.Steps {
			if (r.Kind == DNSRestore || r.Kind == DNSAgree) && !before(rev, r.ID, s.ID) {
				t.Errorf("%s may go before %s: a name would point at nothing", s.ID, r.ID)
			}
		}
	}
	for _, tt := range []struct{ first, then provision.StepID }{
		{"remove/address-collector-1", "remove/server-collector-1"},
		{"remove/server-collector-1", "remove/group-collector"},
		{"remove/server-collector-2", "remove/spread-collector"},
		{"remove/server-collector-2", "remove/keypair-collector"},
	} {
		if !before(rev, tt.first, tt.then) {
			t.Errorf("%s does not come before %s", tt.first, tt.then)
		}
	}
}

// Only what may have had an effect is undone; an intent without an answer may have.
func TestReverseOfAStoppedRun(t *testing.T) {
	plan, facts := fullPlan()
	g := build(t, plan, facts)
	rev := Reverse(g, []provision.Event{
		{Type: provision.StepIntent, Step: "lower/collector.dripstat.com/A", Attempt: 1},
		{Type: provision.StepIntent, Step: "server/collector-2", Attempt: 1},
		{Type: provision.StepDone, Step: "certificate/edge"},
	}, run)
	var kinds []string
	for _, s := range rev.Steps {
		kinds = append(kinds, string(s.Kind))
	}
	if d := cmp.Diff([]string{"dns.restore", "server.delete"}, kinds); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
	del, _ := rev.Step("remove/server-collector-2")
	if del.With["run"].Is != string(run) || del.With["slot"].Is != "collector-2" || del.With["id"].Is != nil {
		t.Errorf("a server without a known id is found by its tags: %v", del.With)
	}
	if n := len(Reverse(g, nil, run).Steps); n != 0 {
		t.Errorf("%d steps undo a run that did nothing", n)
	}
}

// A move whose answer was never recorded may have happened: its undo must know what it would have put there,
// or it would take the new addresses for someone else's change.
func TestReverseOfAMoveOfUnknownOutcome(t *testing.T) {
	plan, facts := fullPlan()
	plan.Zones[0].Records = plan.Zones[0].Records[:1]
	g := build(t, plan, facts)
	events := slices.DeleteFunc(finished(t, g), func(e provision.Event) bool {
		return e.Step == "move/collector.dripstat.com/A" && e.Type == provision.StepDone
	})
	var want []any
	for _, slot := range []string{"collector-1", "collector-2"} {
		for _, e := range events {
			if e.Step == provision.StepID("address/"+slot) && e.Type == provision.StepDone {
				want = append(want, e.Out["address"])
			}
		}
	}
	rev := Reverse(g, events, run)
	s, ok := rev.Step("restore/collector.dripstat.com/A")
	if d := cmp.Diff(want, s.With["values"].Is); !ok || d != "" {
		t.Errorf("values that may be replaced (-want +got):\n%s", d)
	}
}

func TestBuildCatchesCirclesOfTheUsersSteps(t *testing.T) {
	plan, facts := fullPlan()
	plan.Hooks = append(plan.Hooks, provision.Hook{Name: "knot", Run: []provision.HookArg{{Text: "x"}}, After: []string{"dns.public"}, Before: []string{"server.collector"}})
	if _, err := Build(plan, facts, run); err == nil || !strings.Contains(err.Error(), "circle") || !strings.Contains(err.Error(), "step/knot") {
		t.Errorf("error: %v", err)
	}
}

func TestGraphCheck(t *testing.T) {
	s := func(id provision.StepID, needs ...provision.StepID) provision.Step {
		return provision.Step{ID: id, Needs: needs}
	}
	taking := s("b")
	taking.With = map[string]provision.Arg{"x": provision.From("a", "id")}
	for _, tt := range []struct {
		name  string
		steps []provision.Step
		err   string
	}{
		{"empty", nil, ""},
		{"a chain", []provision.Step{s("b", "a"), s("a")}, ""},
		{"twice", []provision.Step{s("a"), s("a")}, "step a is there twice"},
		{"a need of nothing", []provision.Step{s("a", "b")}, "step a needs b, which does not exist"},
		{"an output that is not needed", []provision.Step{s("a"), taking}, "step b takes x from a without needing it"},
		{"itself", []provision.Step{s("a", "a")}, "circle: a"},
		{"three", []provision.Step{s("a", "c"), s("b", "a"), s("c", "b"), s("d")}, "circle: a, b, c"},
	} {
		err := provision.Graph{Steps: tt.steps}.Check()
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
	}
}

// An id that a failed attempt left is not that of the next attempt, which was sent and never answered.
func TestReverseOfAnUnansweredAttempt(t *testing.T) {
	plan, facts := fullPlan()
	g := build(t, plan, facts)
	s := provision.StepID("server/collector-1")
	rev := Reverse(g, []provision.Event{
		{Type: provision.StepIntent, Step: s, Attempt: 1}, {Type: provision.StepFailed, Step: s, Attempt: 1, Out: provision.Values{"id": "first"}},
		{Type: provision.StepCleared, Step: s, Attempt: 1}, {Type: provision.StepIntent, Step: s, Attempt: 2},
	}, run)
	if len(rev.Steps) != 1 || rev.Steps[0].With["id"].Is != nil || rev.Steps[0].With["slot"].Is != "collector-1" {
		t.Errorf("%+v", rev.Steps)
	}
}

// What a failed attempt left and clearing removed is not looked for again; what may still show is.
func TestReverseAfterClearing(t *testing.T) {
	plan, facts := onePlan()
	g := build(t, plan, facts)
	const id = "server/web-1"
	ev := func(typ provision.EventType, out provision.Values, err *provision.Error) provision.Event {
		return provision.Event{Type: typ, Step: id, Kind: ServerCreate, Attempt: 1, Out: out, Error: err}
	}
	lost := &provision.Error{What: "reset", Class: provision.Unknown}
	known := provision.Values{"id": "s1"}
	cleared := []provision.Event{ev(provision.StepFailed, known, lost), ev(provision.StepCleared, nil, nil)}
	for _, tt := range []struct {
		name   string
		before []provision.Event
		after  []provision.Event
		want   int
	}{
		{"answered, failed, cleared", []provision.Event{ev(provision.StepIntent, nil, nil), ev(provision.StepSent, nil, nil)}, cleared, 0},
		{"refused, failed, cleared", []provision.Event{ev(provision.StepIntent, nil, nil), ev(provision.StepSent, nil, &provision.Error{What: "no", Class: provision.Transient})}, cleared, 0},
		{"one was never answered", []provision.Event{ev(provision.StepIntent, nil, nil), ev(provision.StepIntent, nil, nil), ev(provision.StepSent, nil, nil)}, cleared, 1},
		{"the fate of one is unknown", []provision.Event{ev(provision.StepIntent, nil, nil), ev(provision.StepSent, nil, lost), ev(provision.StepIntent, nil, nil), ev(provision.StepSent, nil, nil)}, cleared, 1},
		{"there was nothing to clear by", []provision.Event{ev(provision.StepIntent, nil, nil), ev(provision.StepSent, nil, nil)},
			[]provision.Event{ev(provision.StepFailed, nil, lost), ev(provision.StepCleared, nil, nil)}, 1},
		{"and then tried again", []provision.Event{ev(provision.StepIntent, nil, nil), ev(provision.StepSent, nil, nil)}, append(slices.Clone(cleared), ev(provision.StepIntent, nil, nil)), 1},
	} {
		rev := Reverse(g, slices.Concat(tt.before, tt.after), run)
		if len(rev.Steps) != tt.want {
			t.Errorf("%s: %d steps, want %d", tt.name, len(rev.Steps), tt.want)
		}
	}
}
