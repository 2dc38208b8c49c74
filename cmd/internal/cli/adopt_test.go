package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
)

// slots counts the servers of each slot.
func (b *bench) slots() map[string]int {
	out := map[string]int{}
	for _, s := range b.cloud.Snapshot().Servers {
		out[s.Metadata[provision.TagSlot]]++
	}
	return out
}

// serves fails unless the name gives exactly the addresses of one server for each slot.
func (b *bench) serves() {
	b.t.Helper()
	if d := cmp.Diff(map[string]int{"collector-1": 1, "collector-2": 1}, b.slots()); d != "" {
		b.t.Errorf("servers by slot (-want +got):\n%s", d)
	}
	var want []string
	for _, s := range b.cloud.Snapshot().Servers {
		for _, a := range s.Addresses {
			if strings.HasPrefix(a, "127.") {
				want = append(want, a)
			}
		}
	}
	got := b.served().Values
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		b.t.Errorf("the name serves (-servers +name):\n%s", d)
	}
}

// butTTLs are what nobody knows of a lost run that had lowered them.
var butTTLs = cmpopts.IgnoreFields(sandbox.RRset{}, "TTL")

// asBefore fails unless the world becomes again what it was.
func (b *bench) asBefore(before sandbox.Snapshot, but ...cmp.Option) {
	b.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		d := cmp.Diff(world(before), world(b.cloud.Snapshot()), but...)
		if d == "" {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("something is left (-before +after):\n%s", d)
		}
	}
}

// A run is killed, its journal is lost, and it is adopted: it comes to the same end, with one server for each slot, and
// can be undone. Records of the whole run: about 45.
func TestAdoptAfterKill(t *testing.T) {
	t.Parallel()
	for _, at := range []int{11, 18, 24, 30} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			p := newProcesses(t, nil, rich...)
			before := p.cloud.Snapshot()
			p.killedAt(at, 0, "--region", "ORD", "--yes")
			p.no(os.RemoveAll(p.path("state")))
			p.want(exitDone, nil, "resume", "--adopt", "--region", "ORD", "--yes")
			p.serves()
			p.want(exitDone, nil, "abandon", "--yes")
			p.asBefore(before, butTTLs)
		})
	}
}

// lose takes the journals away.
func (b *bench) lose() {
	b.t.Helper()
	b.no(os.RemoveAll(b.path("state")))
}

// site wires the bench's plan for ORD.
func (b *bench) site() *site {
	b.t.Helper()
	plan, err := b.app.load(shared{plan: b.path("failover.hcl")}, false)
	b.no(err)
	s, err := b.app.newSite(plan, "ORD", b.app.box)
	b.no(err)
	b.t.Cleanup(s.close)
	return s
}

// point lets the name hold other addresses, as a person at the provider would.
func (b *bench) point(values ...string) {
	b.t.Helper()
	z := b.site().zones["public"]
	old, err := z.Get(b.t.Context(), "collector.dripstat.test.", "A")
	b.no(err)
	next := old
	next.Values = values
	b.no(z.Set(b.t.Context(), old, next))
	for deadline := time.Now().Add(5 * time.Second); !slices.Equal(b.served().Values, values); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatal("the name server does not follow")
		}
	}
}

// says fails unless standard error holds all that is wanted since the last call.
func (b *bench) says(want ...string) {
	b.t.Helper()
	text := strings.Join(strings.Fields(b.err.String()), " ") // lines are broken anywhere
	for _, w := range want {
		if !strings.Contains(text, w) {
			b.t.Errorf("it does not say %q:\n%s", w, b.err.String())
		}
	}
	b.err.mu.Lock()
	b.err.b.Reset()
	b.err.mu.Unlock()
}

// A run that was done and whose journal is lost is adopted although the quota has no room for a second one. Nothing
// is made twice, port 22 is shut again, and what nobody knows is not restored: neither back nor abandon touches the
// name while it points to the run's servers.
func TestAdoptARunThatHasMovedTheName(t *testing.T) {
	t.Parallel()
	b := newBenchWith(t, sandbox.Quota{Instances: 2, Cores: 32, RAMMB: 2 * 64 << 10, FloatingIPs: 2, ServerGroups: 1, SecurityGroups: 5}, nil, rich...)
	before := b.cloud.Snapshot()
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	after := b.cloud.Snapshot()
	b.lose()
	b.must(exitRefused, "--region", "ORD", "--sandbox", "--dry-run") // there is no room for another one
	b.says("quota")

	b.must(exitUsage, "resume", "--adopt", "--region", "ORD") // nobody to ask
	writes := b.cloud.Writes()
	b.must(exitDone, "resume", "--adopt", "--region", "ORD", "--dry-run")
	if n := b.cloud.Writes(); n != writes {
		t.Errorf("a dry run sent %d writing requests", n-writes)
	}
	b.must(exitDone, "resume", "--adopt", "--region", "ORD", "--yes")
	b.says("points to servers of run", "what it held before is not known", "Way back: point the name home at your DNS provider")
	b.serves()
	if d := cmp.Diff(world(after), world(b.cloud.Snapshot())); d != "" {
		t.Errorf("adopting changed what there is (-before +after):\n%s", d)
	}
	opened := 0
	for _, r := range b.cloud.Requests() {
		if strings.Contains(r.Path, "security-group-rules") && strings.Contains(string(r.Body), `"port_range_min":22`) {
			opened++
		}
	}
	if opened != 2 {
		t.Errorf("port 22 was opened %d times: nothing could be delivered to a server that lacks the certificate", opened)
	}
	for _, r := range b.rules("ORD") {
		if r.Direction == "ingress" && string(r.Min) == "22" {
			t.Error("port 22 is open")
		}
	}
	b.must(exitDone, "status")
	if !strings.Contains(b.out.String(), "the journal of before was lost") {
		t.Errorf("status does not say that the run was adopted:\n%s", b.out.String())
	}

	b.must(exitUsage, "resume", "--adopt", "--region", "ORD", "--yes")
	b.says("is not lost", "failover abandon 01")
	b.must(exitUsage, "back", "--yes")
	b.says("what it held before is not known; nothing was touched")
	writes = b.cloud.Writes()
	b.must(exitRefused, "abandon", "--yes")
	b.says("still points to", "what it held before is not known", "nothing was touched")
	if n := b.cloud.Writes(); n != writes {
		t.Errorf("a refused abandon sent %d writing requests", n-writes)
	}
	b.point(homeAddress)
	b.must(exitDone, "abandon", "--yes")
	b.asBefore(before, butTTLs)
}

// Abandoning a run without its journal removes all that carries it, in slots and groups that the plan does not have any
// more too, and nothing while the name points there. It boots nothing, and needs no image, flavor or certificate.
func TestAbandonWithoutAJournal(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, rich...)
	before := b.cloud.Snapshot()
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	b.lose()
	src, err := os.ReadFile(b.path("failover.hcl"))
	b.no(err)
	text := strings.NewReplacer("debian-12", "gone", `"m1.4xlarge", { vcpus = 8, ram = "32GiB" }`, `"gone"`, "count       = 2", "count       = 1").Replace(string(src))
	b.no(os.WriteFile(b.path("failover.hcl"), []byte(text), 0o600))
	b.no(os.Remove(b.path("secrets.age")))

	writes := b.cloud.Writes()
	b.must(exitRefused, "abandon", "--adopt", "--region", "ORD", "--yes")
	b.says("still points to", "nothing was touched")
	b.point(homeAddress)
	b.must(exitUsage, "abandon", "--adopt", "--region", "ORD") // nobody to ask
	b.must(exitDone, "abandon", "--adopt", "--region", "ORD", "--dry-run")
	if n := b.cloud.Writes(); n > writes+1 { // ours, of the name
		t.Errorf("%d writing requests were sent", n-writes)
	}
	b.err.b.Reset()
	b.must(exitDone, "abandon", "--adopt", "--region", "ORD", "--yes")
	b.says("in no slot of this plan", "Nothing of run")
	b.asBefore(before, butTTLs)
	b.must(exitUsage, "resume")
	b.must(exitUsage, "abandon", "--adopt", "--region", "ORD", "--yes")
	b.says("there is nothing to adopt")
}

// A slot that the plan does not have, and one with two servers.
func TestAdoptWhatDoesNotFitThePlan(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	before := b.cloud.Snapshot()
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	g := b.graphOf(provision.RunStarted)
	s, _ := g.Step("server/collector-1")
	in := provision.Values{}
	for k, a := range s.With {
		if len(a.Of) == 0 {
			in[k] = a.Is
		}
	}
	create := b.site().handlers("")[s.Kind]
	b.no(create.Do(t.Context(), s, in)) // a second one in the slot
	in["slot"], in["name"] = "collector-3", "collector-3"
	b.no(create.Do(t.Context(), s, in))
	time.Sleep(400 * time.Millisecond)
	b.lose()
	b.must(exitDone, "resume", "--adopt", "--region", "ORD", "--yes")
	b.says("slot collector-1 has 2 servers", "collector-3 (", "in no slot of this plan")
	if d := cmp.Diff(map[string]int{"collector-1": 2, "collector-2": 1, "collector-3": 1}, b.slots()); d != "" {
		t.Errorf("servers by slot (-want +got):\n%s", d)
	}
	b.point(homeAddress)
	b.must(exitDone, "abandon", "--yes")
	b.asBefore(before, butTTLs)
}

// Where several runs have left something, one is to be named; what a command cannot mean is said.
func TestAdoptWhich(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, "count       = 2", "count       = 1")
	b.must(exitUsage, "resume", "--adopt")
	b.says("--adopt needs --region")
	b.must(exitUsage, "resume", "--adopt", "--region", "any")
	b.says("name it")
	b.must(exitUsage, "resume", "--region", "ORD")
	b.says("--region goes with --adopt")
	b.must(exitUsage, "resume", "--dry-run")
	b.says("--dry-run goes with --adopt")
	b.must(exitUsage, "abandon", "--region", "ORD", "--yes")
	b.says("--region goes with --adopt")
	b.must(exitUsage, "resume", "--adopt", "--region", "NOPE", "--yes")
	b.says(`there is no region "NOPE"`)
	b.must(exitUsage, "resume", "--adopt", "--region", "ORD", "--yes")
	b.says("there is nothing to adopt", "failover --region ORD")

	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	first := b.served().Values
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	b.must(exitUsage, "resume", "--adopt", "--region", "ORD", "--yes", "01M")
	b.says("2 runs of dripstat", "collector-1 (ACTIVE", "name one by the beginning")
	b.lose()
	b.must(exitUsage, "resume", "--adopt", "--region", "ORD", "--yes", "01ZZZ")
	b.says("nothing of a run of dripstat that begins with 01ZZZ")

	// The first one, which the name has left: what the name held is known, and the run goes there again.
	var run string
	for _, s := range b.cloud.Snapshot().Servers {
		if slices.Equal(s.Addresses, first) {
			run = s.Metadata[provision.TagRun]
		}
	}
	second := b.served().Values
	b.must(exitDone, "resume", "--adopt", "--region", "ORD", "--yes", run)
	if got := b.served().Values; !slices.Equal(got, first) {
		t.Errorf("served %v, want %v", got, first)
	}
	b.must(exitDone, "abandon", "--yes")
	if got := b.served().Values; !slices.Equal(got, second) {
		t.Errorf("served %v, want %v", got, second)
	}
}
