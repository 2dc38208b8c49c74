//go:build openstack

package e2e

import (
	"os"
	"testing"
)

// The rig still answers as it did when its answers were recorded.
func TestRigConforms(t *testing.T) {
	cloud(t)
	onRig(t)
	e := readEntry(t, here.cloud)
	before := admin(t).world()
	got := converse(t, account{url: e.Auth.URL, user: e.Auth.Username, password: e.Auth.Password, project: e.Auth.Project, ns: here.dns})
	admin(t).unchanged(before)
	if *record {
		if err := os.WriteFile(recorded, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	conform(t, got)
}
