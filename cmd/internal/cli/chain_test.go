package cli

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
)

// passed is a bench whose name has gone from home (a run into IAD) to ORD, and on to DFW: what it named in each, and the runs.
func passed(t *testing.T, edits ...string) (b *bench, sets [3][]string, runs [3]string) {
	t.Helper()
	b = newBench(t, nil, append([]string{`regions = ["ORD", "IAD"]`, `regions = ["ORD", "IAD", "DFW"]`, "ttl  = 60", "ttl  = 1"}, edits...)...)
	for i, region := range []string{"IAD", "ORD", "DFW"} {
		b.must(exitDone, "--region", region, "--sandbox", "--yes", "--json")
		events := b.events()
		runs[i], sets[i] = string(events[len(events)-1].Run), b.served().Values
	}
	if slices.Equal(sets[0], sets[1]) || slices.Equal(sets[1], sets[2]) {
		t.Fatalf("the name did not move: %v", sets)
	}
	return b, sets, runs
}

// names fails unless the name gives some addresses.
func (b *bench) names(want []string, when string) {
	b.t.Helper()
	if got := b.served().Values; !slices.Equal(got, want) {
		b.t.Errorf("%s the name gives %v, wanted %v\n%s", when, got, want, b.err.String())
	}
}

// regions are those that have servers.
func (b *bench) regions() string {
	at := map[string]bool{}
	for _, s := range b.cloud.Snapshot().Servers {
		at[s.Region] = true
	}
	var out []string
	for _, r := range []string{"IAD", "ORD", "DFW"} {
		if at[r] {
			out = append(out, r)
		}
	}
	return strings.Join(out, " ")
}

// The second region failed too, and was abandoned. Undoing the third run must not point the name at what is gone.
func TestAbandonAfterAnEarlierRunWasAbandoned(t *testing.T) {
	t.Parallel()
	b, sets, runs := passed(t)
	b.must(exitDone, "abandon", runs[1], "--yes")
	b.names(sets[2], "after the second run was abandoned")
	b.must(exitDone, "abandon", "--dry-run")
	if out := strings.Join(strings.Fields(b.out.String()), " "); !strings.Contains(out, "where run "+provision.RunID(runs[1]).Short()+" had found it") {
		t.Errorf("it does not say whose address it is:\n%s", out)
	}
	b.must(exitDone, "abandon", "--yes")
	b.names(sets[0], "after the third was abandoned")
	if at := b.regions(); at != "IAD" {
		t.Errorf("there are servers in %s", at)
	}
}

// An earlier run that still stands is where a name goes back to.
func TestAbandonGoesBackToAnEarlierRunThatStands(t *testing.T) {
	t.Parallel()
	b, sets, runs := passed(t)
	b.must(exitDone, "abandon", "--yes")
	b.names(sets[1], "after the third run was abandoned")
	b.must(exitDone, "abandon", runs[1], "--yes")
	b.names(sets[0], "after the second was abandoned")
}

// Home is the plan's, not the region that failed after it: which is dark, and can be neither asked nor abandoned.
func TestBackPastAnEarlierRun(t *testing.T) {
	t.Parallel()
	b, sets, runs := passed(t)
	dark, err := sandbox.ParseFault("region-dark=ORD:refuse")
	b.no(err)
	b.no(b.cloud.SetFault(dark))
	b.must(exitDone, "back", "--yes", "--remove")
	b.names(sets[0], "back home")
	if at := b.regions(); at != "IAD ORD" {
		t.Errorf("there are servers in %s", at)
	}
	b.cloud.ClearFaults()
	b.must(exitDone, "abandon", runs[1], "--yes")
	b.names(sets[0], "after the rest was abandoned")
	b.out.b.Reset()
	b.must(exitDone, "runs")
	of := func(i int) string { return provision.RunID(runs[i]).Short() + "\n" }
	for _, says := range []string{"→ IAD  failover\n", "→ ORD  failover, abandoned\n", "→ DFW  failover, gone home\n", "→ DFW  back from " + of(2), "→ ORD  abandon of " + of(1)} {
		if !strings.Contains(b.out.String(), says) {
			t.Errorf("runs does not say %q:\n%s", says, b.out.String())
		}
	}
	for i, says := range []string{"serves from IAD", "has been abandoned since. It had said:", "has gone home since. It had said:"} {
		b.out.b.Reset()
		if b.must(exitDone, "status", runs[i]); !strings.Contains(b.out.String(), says) || strings.Contains(b.out.String(), "since") != (i > 0) {
			t.Errorf("status does not say %q:\n%s", says, b.out.String())
		}
	}
	if at := b.regions(); at != "IAD" {
		t.Errorf("there are servers in %s", at)
	}
}

// Whoever names no home goes back to where the run found the name, or names the run that left home.
func TestBackOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	b, sets, runs := passed(t, `home    = "IAD"`, "")
	b.must(exitDone, "back", runs[1], "--yes", "--remove")
	b.names(sets[0], "back home")
	b.must(exitDone, "back", runs[2], "--yes", "--remove") // it has nothing to move any more
	b.names(sets[0], "after the third was taken back")
	if at := b.regions(); at != "IAD" {
		t.Errorf("there are servers in %s", at)
	}
}

// The journal of another run cannot be read: it is said what is not known, and the undoing goes by what its own run knew.
func TestAbandonBesideAJournalThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b, sets, runs := passed(t)
	b.no(os.WriteFile(b.path("state/dripstat/runs/"+runs[1]+".jsonl"), []byte("{\"v\":1,\"seq\":1,\n{}\n"), 0o600))
	b.must(exitDone, "abandon", "--yes")
	b.names(sets[1], "after the third run was abandoned")
	if says := "the journal of run " + provision.RunID(runs[1]).Short() + " cannot be read"; !strings.Contains(b.err.String(), says) {
		t.Errorf("it does not say %q:\n%s", says, b.err.String())
	}
}
