package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision/sandbox"
)

// Going back is tried from a second run to where the first one had left the name: the first run's servers
// are the home that is well again, with a certificate that clients trust.
func TestBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, "ttl  = 60", "ttl  = 1", `within = "60s"`, `within = "4s"`)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	home := b.served().Values
	b.must(exitDone, "--region", "IAD", "--sandbox", "--yes")
	away := b.served().Values
	if slices.Equal(home, away) || len(away) != 2 {
		t.Fatalf("%v, then %v", home, away)
	}

	b.must(exitUsage, "back") // nobody to ask
	writes := b.cloud.Writes()
	b.must(exitDone, "back", "--dry-run")
	if n := b.cloud.Writes(); n != writes {
		t.Errorf("a dry run sent %d writing requests", n-writes)
	}

	dark, err := sandbox.ParseFault("region-dark=ORD:refuse")
	b.no(err)
	b.no(b.cloud.SetFault(dark))
	b.must(exitFailed, "back", "--yes")
	if !strings.Contains(b.err.String(), "home is not well yet") {
		t.Errorf("it does not say why:\n%s", b.err.String())
	}
	if got := b.served().Values; !slices.Equal(got, away) {
		t.Fatalf("the name was moved to a home that does not answer: %v", got)
	}

	b.cloud.ClearFaults()
	began := time.Now()
	b.must(exitDone, "back", "--yes", "--remove")
	if took := time.Since(began); took < time.Second {
		t.Errorf("the TTL of 1 s was not waited out: done in %s", took)
	}
	if got := b.served().Values; !slices.Equal(got, home) {
		t.Errorf("served %v, wanted %v", got, home)
	}
	for _, s := range b.cloud.Snapshot().Servers {
		if s.Region != "ORD" {
			t.Errorf("%s is still in %s", s.Name, s.Region)
		}
	}
}

// A run is undone after a later one has moved the name elsewhere: the name stays where it is, the servers go.
func TestAbandonOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	first := string(b.events()[0].Run)
	b.must(exitDone, "--region", "IAD", "--sandbox", "--yes")
	away := b.served().Values
	b.must(exitDone, "abandon", first, "--yes")
	if got := b.served().Values; !slices.Equal(got, away) {
		t.Errorf("the name gives %v, wanted %v", got, away)
	}
	for _, s := range b.cloud.Snapshot().Servers {
		if s.Region == "ORD" {
			t.Errorf("%s is still in ORD", s.Name)
		}
	}
	if out := b.err.String(); !strings.Contains(out, "where someone has pointed it since") {
		t.Errorf("it does not say that the name was left alone\n%s", out)
	}
}

// A run that moved no name has nothing to go home with, and is not marked as undone.
func TestBackOfARunThatMovedNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, []string{"wrong-host-key=2"})
	b.must(exitFailed, "--region", "ORD", "--sandbox", "--yes")
	b.must(exitUsage, "back", "--yes")
	if out := b.err.String(); !strings.Contains(out, "moved no name") {
		t.Errorf("it does not say why\n%s", out)
	}
	b.must(exitDone, "abandon", "--yes")
	if n := len(b.cloud.Snapshot().Servers); n > 0 {
		t.Errorf("%d servers are left", n)
	}
}
