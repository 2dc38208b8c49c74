//go:build openstack

package e2e

import (
	"testing"

	"github.com/dripstat/failover/provision"
)

// moment is one in the life of a run, seen in its journal.
type moment struct {
	name string
	typ  provision.EventType
	kind provision.Kind
	n    int
}

// The process is killed where it hurts, and another one goes on, with nothing in memory.
func TestKilledAndResumed(t *testing.T) {
	cloud(t)
	for _, m := range []moment{
		{"before the group is made", "step.intent", "group.create", 1},
		{"as a create is sent", "step.intent", "server.create", 1},
		{"after the creates", "step.sent", "server.create", 2},
		{"when one server is there", "step.done", "server.create", 1},
		{"as the name is moved", "step.intent", "dns.move", 1},
	} {
		t.Run(m.name, func(t *testing.T) {
			a, d, before := settle(t, plan{spread: true}, 300)
			p := d.start("--region", here.region, "--yes")
			p.until(m.typ, m.kind, m.n)
			p.kill()
			id := d.runID()
			d.done("resume")
			d.times()
			if now := d.runID(); now != id {
				t.Errorf("run %s was resumed as %s", id, now)
			}
			a.oneEach(id, "box-1", "box-2")
			served(t, d.record, d.addresses()...)
			d.undone(a, before)
		})
	}
}

// The process is killed, and what it had begun is undone.
func TestKilledAndAbandoned(t *testing.T) {
	cloud(t)
	for _, m := range []moment{
		{"as a create is sent", "step.intent", "server.create", 2},
		{"as the name is moved", "step.sent", "dns.move", 1},
	} {
		t.Run(m.name, func(t *testing.T) {
			a, d, before := settle(t, plan{spread: true}, 300)
			p := d.start("--region", here.region, "--yes")
			p.until(m.typ, m.kind, m.n)
			p.kill()
			d.done("abandon", "--yes")
			d.times()
			served(t, d.record, oldAddress)
			a.unchanged(before)
		})
	}
}

// The undoing itself is killed, and gone on with.
func TestKilledWhileUndoing(t *testing.T) {
	cloud(t)
	a, d, before := settle(t, plan{}, 30)
	d.done("--region", here.region, "--yes")
	p := d.start("abandon", "--yes")
	p.until("step.intent", "server.delete", 1)
	p.kill()
	d.done("resume")
	served(t, d.record, oldAddress)
	a.unchanged(before)
}
