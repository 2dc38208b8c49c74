package cli

import (
	"slices"
	"strings"
	"testing"

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
