//go:build openstack

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Fifty servers in one run. Nothing here fails for being slow: what it prints is in docs/performance.md.
func TestScale(t *testing.T) {
	cloud(t)
	onRig(t)
	if testing.Short() {
		t.Skip("long")
	}
	const n = 50
	a, c := admin(t), login(t, here.cloud)
	quota := "os-quota-sets/" + c.project
	a.must(a.compute, "PUT", quota, object{"quota_set": object{"instances": 100, "cores": 100, "ram": 100000}})
	t.Cleanup(func() { now := admin(t); now.must(now.compute, "DELETE", quota, nil) })
	d := sit(t, plan{count: n, flavors: []string{"tiny"}, timeout: "10m"})
	c.record(d.record, 30, oldAddress)
	before := a.world()
	d.refused(3, []string{"would get 50 addresses, and the provider takes 20 in one record set"}, "--region", here.region, "--yes")
	a.must(a.dns, "PATCH", "quotas/"+c.project, object{"recordset_records": n})
	t.Cleanup(func() { now := admin(t); now.must(now.dns, "DELETE", "quotas/"+c.project, nil) })

	logs := map[string]int64{}
	for _, name := range []string{"ORD-nova-api", "ORD-neutron", "ORD-glance", "designate-api"} {
		fi, err := os.Stat(filepath.Join(rigDir(), "logs", name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		logs[name] = fi.Size()
	}
	r := d.done("--region", here.region, "--yes")
	// What the services' logs have of this user while the run was at work, but for what nova asked of neutron in its name,
	// and for the few requests that need no token.
	requests := 0
	for name, from := range logs {
		text, err := os.ReadFile(filepath.Join(rigDir(), "logs", name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text[from:]) {
			if bytes.Contains(line, []byte(" HTTP/1.1\"")) && bytes.Contains(line, []byte("[None req-")) && bytes.Contains(line, []byte(" "+c.user+" ")) {
				requests++
			}
		}
	}
	var slots []string
	for i := range n {
		slots = append(slots, fmt.Sprintf("box-%d", i+1))
	}
	a.oneEach(d.runID(), slots...)
	var first, last time.Time
	for _, s := range a.servers(d.runID()) {
		created, err := time.Parse(time.RFC3339, s.text("created"))
		if err != nil {
			t.Fatal(err)
		}
		launched, err := time.Parse("2006-01-02T15:04:05.000000", s.text("OS-SRV-USG:launched_at"))
		if err != nil {
			t.Fatal(err)
		}
		if first.IsZero() || created.Before(first) {
			first = created
		}
		if launched.After(last) {
			last = launched
		}
	}
	nova := last.Sub(first)
	t.Logf("%d servers: %.1f s, of which nova needed %.1f s from the first create to the last server up; %d requests", n, r.took.Seconds(), nova.Seconds(), requests)
	d.times()
	served(t, d.record, d.addresses()...)
	// One list a second answers for all servers, and a few more while creates are answered: asked one by one, it would be
	// thousands.
	if limit := 2*n + 60 + int(1.5*r.took.Seconds()); requests > limit {
		t.Errorf("%d requests, more than %d", requests, limit)
	}
	r = d.done("abandon", "--yes")
	t.Logf("%d servers were removed in %.1f s", n, r.took.Seconds())
	a.unchanged(before)
}
