//go:build openstack

package e2e

import (
	"testing"
	"time"
)

// The region that is being left is dead, hangs, or has lost one service: a run to the other one is the same.
func TestHomeIsAway(t *testing.T) {
	cloud(t)
	onRig(t)
	for _, home := range []struct {
		name, how string
		services  []string
	}{
		{"well", "", nil},
		{"killed", "kill", []string{"IAD"}},
		{"hangs", "hang", []string{"IAD"}},
		{"without glance", "kill", []string{"IAD-glance"}},
		{"without neutron", "kill", []string{"IAD-neutron"}},
		{"neutron hangs", "hang", []string{"IAD-neutron"}},
	} {
		t.Run(home.name, func(t *testing.T) {
			a := admin(t)
			d := sit(t, plan{count: 1})
			login(t, here.cloud).record(d.record, 30, oldAddress)
			before := a.world()
			if home.how != "" {
				away(t, home.how, home.services...)
			}
			// What is fast here: all that does not wait for nova.
			if r := d.done("--region", here.region, "--dry-run"); r.took > 3*time.Second {
				t.Errorf("a dry run took %s", r.took)
			}
			d.done("--region", here.region, "--yes")
			d.times()
			served(t, d.record, d.addresses()...)
			d.done("abandon", "--yes")
			served(t, d.record, oldAddress)
			a.unchanged(before)
		})
	}
}

// A service of the region that is gone to goes away after the creates were sent, and comes back.
func TestTargetFallsAway(t *testing.T) {
	cloud(t)
	onRig(t)
	for _, tt := range []struct {
		name, how string
		service   string
		away      time.Duration
	}{
		{"nova-api is killed for 20 s", "kill", "ORD-nova-api", 20 * time.Second},
		{"nova-api hangs for 20 s", "hang", "ORD-nova-api", 20 * time.Second},
		{"neutron is killed for 20 s", "kill", "ORD-neutron", 20 * time.Second},
		{"keystone is restarted", "kill", "keystone", 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := admin(t)
			d := sit(t, plan{})
			login(t, here.cloud).record(d.record, 30, oldAddress)
			before := a.world()
			p := d.start("--region", here.region, "--yes")
			p.until("step.sent", "server.create", 2)
			away(t, tt.how, tt.service)
			time.Sleep(tt.away)
			service(t, "start", tt.service)
			if r := p.wait(); r.code != 0 {
				t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.errs)
			}
			d.times()
			a.oneEach(d.runID(), "box-1", "box-2")
			served(t, d.record, d.addresses()...)
			d.done("abandon", "--yes")
			served(t, d.record, oldAddress)
			a.unchanged(before)
		})
	}
}

// A change stays PENDING while designate's worker stands still.
func TestDNSStandsStill(t *testing.T) {
	cloud(t)
	onRig(t)
	a := admin(t)
	d := sit(t, plan{})
	login(t, here.cloud).record(d.record, 30, oldAddress)
	before := a.world()
	p := d.start("--region", here.region, "--yes")
	p.until("step.sent", "server.create", 2)
	away(t, "hang", "designate-worker")
	p.until("step.sent", "dns.move", 1)
	time.Sleep(30 * time.Second)
	if got := dig(d.record); got != oldAddress {
		t.Errorf("the name server gives %s while the worker stands still", got)
	}
	service(t, "start", "designate-worker")
	if r := p.wait(); r.code != 0 {
		t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.errs)
	}
	d.times()
	served(t, d.record, d.addresses()...)
	d.done("abandon", "--yes")
	served(t, d.record, oldAddress)
	a.unchanged(before)
}
