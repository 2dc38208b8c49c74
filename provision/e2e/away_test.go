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
			a, d, before := settle(t, plan{count: 1}, 30)
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
			d.undone(a, before)
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
		{"keystone is restarted", "kill", "keystone", 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, d, before := settle(t, plan{}, 30)
			p := d.start("--region", here.region, "--yes")
			p.until("step.sent", "server.create", 2)
			away(t, tt.how, tt.service)
			time.Sleep(tt.away)
			service(t, "start", tt.service)
			p.goesWell()
			d.times()
			a.oneEach(d.runID(), "box-1", "box-2")
			served(t, d.record, d.addresses()...)
			d.undone(a, before)
		})
	}
}

// A change stays PENDING while designate's worker stands still.
func TestDNSStandsStill(t *testing.T) {
	cloud(t)
	onRig(t)
	a, d, before := settle(t, plan{}, 30)
	p := d.start("--region", here.region, "--yes")
	p.until("step.sent", "server.create", 2)
	away(t, "hang", "designate-worker")
	p.until("step.sent", "dns.move", 1)
	time.Sleep(30 * time.Second)
	if got := dig(d.record); got != oldAddress {
		t.Errorf("the name server gives %s while the worker stands still", got)
	}
	service(t, "start", "designate-worker")
	p.goesWell()
	d.times()
	served(t, d.record, d.addresses()...)
	d.undone(a, before)
}

// nova gives a server up when neutron does not answer it: the next rung is taken, and where there is none, the run says
// so and is gone on with.
func TestNeutronFallsAway(t *testing.T) {
	cloud(t)
	onRig(t)
	for _, tt := range []struct {
		name    string
		flavors []string
	}{
		{"a rung is left", []string{"small", "large"}},
		{"no rung is left", []string{"small"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, d, before := settle(t, plan{flavors: tt.flavors}, 30)
			p := d.start("--region", here.region, "--yes")
			p.until("step.sent", "server.create", 2)
			away(t, "kill", "ORD-neutron")
			time.Sleep(20 * time.Second)
			service(t, "start", "ORD-neutron")
			r := p.wait()
			if r.code == 1 && len(tt.flavors) == 1 {
				r.says(t, "said: ERROR", "failover resume")
				served(t, d.record, oldAddress)
				r = d.run("resume")
			}
			if r.code != 0 {
				t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.errs)
			}
			d.times()
			a.oneEach(d.runID(), "box-1", "box-2")
			served(t, d.record, d.addresses()...)
			d.undone(a, before)
		})
	}
}

// The record set is in no good state before the run, or comes into none by it.
func TestRecordSetInTrouble(t *testing.T) {
	cloud(t)
	onRig(t)
	arrange := func(t *testing.T) (client, desk, client, string, []string) {
		a, d, c := admin(t), sit(t, plan{count: 1}), login(t, here.cloud)
		set := c.record(d.record, 30, oldAddress)
		return a, d, c, set, a.world()
	}
	becomes := func(t *testing.T, c client, set, status string) {
		t.Helper()
		wait(t, "the record set to be "+status, time.Minute, func() bool { return c.must(c.dns, "GET", set, nil).text("status") == status })
	}
	end := func(t *testing.T, a client, d desk, before []string) {
		t.Helper()
		served(t, d.record, d.addresses()...)
		d.undone(a, before)
	}
	t.Run("PENDING before", func(t *testing.T) {
		a, d, c, set, before := arrange(t)
		away(t, "hang", "designate-worker")
		c.must(c.dns, "PUT", set, object{"ttl": 30, "records": []string{oldAddress}})
		becomes(t, c, set, "PENDING")
		d.done("--region", here.region, "--dry-run")
		p := d.start("--region", here.region, "--yes")
		p.until("step.sent", "dns.move", 1)
		service(t, "start", "designate-worker")
		p.goesWell()
		end(t, a, d, before)
	})
	t.Run("ERROR before", func(t *testing.T) {
		a, d, c, set, before := arrange(t)
		away(t, "kill", "named")
		c.must(c.dns, "PUT", set, object{"ttl": 30, "records": []string{oldAddress}})
		becomes(t, c, set, "ERROR")
		d.refused(3, []string{"no authoritative name server answers"}, "--region", here.region, "--yes")
		away(t, "hang", "designate-worker", "designate-producer") // else it heals before we look
		service(t, "start", "named")
		becomes(t, c, set, "ERROR")
		d.done("--region", here.region, "--dry-run")
		p := d.start("--region", here.region, "--yes")
		p.until("step.sent", "dns.move", 1)
		service(t, "start", "designate-worker", "designate-producer")
		p.goesWell()
		end(t, a, d, before)
	})
	t.Run("ERROR by the move", func(t *testing.T) {
		a, d, c, set, before := arrange(t)
		p := d.start("--region", here.region, "--yes")
		p.until("step.sent", "server.create", 1)
		away(t, "kill", "named")
		becomes(t, c, set, "ERROR")
		service(t, "start", "named")
		p.goesWell()
		end(t, a, d, before)
	})
}
