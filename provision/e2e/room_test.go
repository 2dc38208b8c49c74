//go:build openstack

package e2e

import (
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
)

const oldAddress = "192.0.2.10"

// No host can hold the first rung: nova ends it in ERROR, which is deleted, and the next rung is taken.
func TestNoRoom(t *testing.T) {
	cloud(t)
	if here.toobig == "" {
		t.Skip("FAILOVER_TEST_TOOBIG is not set")
	}
	a := admin(t)
	d := sit(t, plan{flavors: []string{here.toobig, here.flavor}, spread: true})
	login(t, here.cloud).record(d.record, 300, oldAddress)
	before := a.world()
	d.done("--region", here.region, "--yes")
	d.times()
	words := ""
	for _, e := range d.events() {
		if e.Type == provision.StepFailed && e.Error != nil {
			words += e.Error.Said + "\n"
		}
	}
	if !strings.Contains(words, "No valid host") {
		t.Errorf("the first rung failed with %q", words)
	}
	a.oneEach(d.runID(), "box-1", "box-2")
	served(t, d.record, d.addresses()...)
	d.done("abandon", "--yes")
	d.times()
	served(t, d.record, oldAddress)
	a.unchanged(before)
}

// A plan past the quota is refused before anything is touched, with the numbers.
func TestQuota(t *testing.T) {
	cloud(t)
	onRig(t) // elsewhere the numbers are anybody's
	a := admin(t)
	d := sit(t, plan{count: 40})
	login(t, here.cloud).record(d.record, 30, oldAddress)
	before := a.world()
	d.refused(3, []string{"quota", "the plan needs 40 instances, 0 of 10 are used", "the plan needs 40 cores, 0 of 20 are used"}, "--region", here.region, "--yes")
	a.unchanged(before)
}
