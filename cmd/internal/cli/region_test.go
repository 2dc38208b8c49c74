package cli

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
)

// Where the first region has no room after all, what was made there is removed and the next one is tried.
func TestNextRegionWhenThereIsNoRoom(t *testing.T) {
	t.Parallel()
	edits := []string{`home    = "IAD"`, `home    = "LON"`, "  count       = 2", "  count       = 1"}
	b := newBench(t, []string{"no-valid-host=2"}, edits...) // both rungs of the ladder
	b.must(exitDone, "--region", "any", "--sandbox", "--yes", "--json")
	var regions []string
	for _, s := range b.cloud.Snapshot().Servers {
		regions = append(regions, s.Region)
	}
	if !slices.Equal(regions, []string{"IAD"}) {
		t.Errorf("servers in %v", regions)
	}
	var begun []string
	for _, e := range b.events() {
		if e.Type == provision.RunStarted {
			begun = append(begun, e.Graph.Purpose+" "+e.Graph.Region)
		}
	}
	if want := []string{"failover ORD", "abandon ORD", "failover IAD"}; !slices.Equal(begun, want) {
		t.Errorf("begun: %q, want %q", begun, want)
	}
	if out := b.err.String(); !strings.Contains(out, "ORD cannot take it; trying IAD") {
		t.Errorf("it does not say so:\n%s", out)
	}
	if rr := b.served(); rr.TTL != 60 || len(rr.Values) != 1 {
		t.Errorf("served %v", rr)
	}
	b.must(exitDone, "abandon", "--yes") // the latest
	if rr := b.served(); rr.TTL != 300 || !slices.Equal(rr.Values, []string{homeAddress}) {
		t.Errorf("abandoned, served %v", rr)
	}
}

// A region that was named is meant.
func TestNoOtherRegionThanTheNamedOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, []string{"no-valid-host=2"}, `home    = "IAD"`, `home    = "LON"`, "  count       = 2", "  count       = 1")
	b.must(exitFailed, "--region", "ORD", "--sandbox", "--yes")
	if rr := b.served(); !slices.Equal(rr.Values, []string{homeAddress}) {
		t.Errorf("served %v", rr)
	}
}

// Steps of the user's own cannot be undone: after one has run, no other region is tried.
func TestNoOtherRegionAfterAUsersStep(t *testing.T) {
	t.Parallel()
	b := newBench(t, []string{"no-valid-host=2"}, `home    = "IAD"`, `home    = "LON"`, "  count       = 2", "  count       = 1",
		`dns "public" {`, "step \"announce\" {\n  run    = [\"true\"]\n  before = [server.collector]\n}\n\ndns \"public\" {")
	b.must(exitFailed, "--region", "any", "--sandbox", "--yes")
	if out := b.err.String(); strings.Contains(out, "trying IAD") {
		t.Errorf("it went on:\n%s", out)
	}
}

// ^C while the first region is cleared ends it all: the next one is not begun. What is left is removed later.
func TestNoOtherRegionAfterAStop(t *testing.T) {
	b := newBench(t, []string{"no-valid-host=2", "dns-lag=2s"}, `home    = "IAD"`, `home    = "LON"`, "  count       = 2", "  count       = 1") // not parallel: the signal goes to the whole process
	b.app.tap = func(e provision.Event) {
		if e.Type == provision.RunStarted && e.Graph.Purpose == "abandon" {
			b.no(syscall.Kill(os.Getpid(), syscall.SIGINT))
		}
	}
	b.must(exitStopped, "--region", "any", "--sandbox", "--yes", "--json")
	b.app.tap = nil
	if out := b.err.String(); strings.Contains(out, "trying IAD") {
		t.Errorf("it went on:\n%s", out)
	}
	for _, e := range b.events() {
		if e.Type == provision.RunStarted && e.Graph.Region == "IAD" {
			t.Error("a run in the next region was begun")
		}
	}
	b.must(exitDone, "resume")                                                              // the removal
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) { // the name server lags
		rr := b.served()
		if rr.TTL == 300 && slices.Equal(rr.Values, []string{homeAddress}) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("served %v", rr)
		}
	}
}
