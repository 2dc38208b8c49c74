//go:build openstack

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A dry run reads, and the reader role is enough for that; a run by a reader is refused by the cloud itself.
func TestReader(t *testing.T) {
	cloud(t)
	onRig(t)
	a := admin(t)
	d := sit(t, plan{cloud: "rig-reader"})
	login(t, here.cloud).record(d.record, 30, oldAddress)
	before := a.world()
	d.done("--region", here.region, "--dry-run").says(t, "Nothing was changed")
	a.unchanged(before)
}

// A token that ends in the middle of a run is replaced, whatever is being done at that time.
func TestTokenExpires(t *testing.T) {
	cloud(t)
	onRig(t)
	a := admin(t)
	d := sit(t, plan{count: 1, top: `
step "long" {
  run    = ["sleep", "25"]
  after  = server.box
  before = dns.public
}
`})
	login(t, here.cloud).record(d.record, 30, oldAddress)
	before := a.world()
	keystone := func(seconds string) {
		t.Helper()
		service(t, "kill", "keystone")
		cmd := exec.Command(filepath.Join(here.rig, "service.sh"), "start", "keystone")
		cmd.Env = append(os.Environ(), "RIG_TOKEN_SECONDS="+seconds)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	t.Cleanup(func() { keystone("14400") })
	keystone("15")
	began := time.Now()
	d.done("--region", here.region, "--yes")
	d.times()
	if took := time.Since(began); took < 25*time.Second {
		t.Fatalf("the run outlived no token: %s", took)
	}
	served(t, d.record, d.addresses()...)
	d.done("abandon", "--yes")
	served(t, d.record, oldAddress)
	keystone("14400")
	admin(t).unchanged(before)
}

// An application credential, with which no other can be made and which knows no password.
func TestApplicationCredential(t *testing.T) {
	cloud(t)
	a, c := admin(t), login(t, here.cloud)
	made := c.must(c.identity, "POST", "users/"+c.user+"/application_credentials", object{"application_credential": object{
		"name": fmt.Sprintf("e2e-%d", time.Now().UnixNano()), "roles": []object{{"name": "member"}}}})
	id := made.text("application_credential", "id")
	t.Cleanup(func() { c.must(c.identity, "DELETE", "users/"+c.user+"/application_credentials/"+id, nil) })
	d := sit(t, plan{cloud: "app", count: 1})
	d.write("clouds.yaml", fmt.Sprintf("clouds:\n  app:\n    auth_type: v3applicationcredential\n    auth:\n      auth_url: %q\n      application_credential_id: %q\n      application_credential_secret: %q\n",
		readEntry(t, here.cloud).Auth.URL, id, made.text("application_credential", "secret")))
	d.env = append(d.env, "OS_CLIENT_CONFIG_FILE="+filepath.Join(d.dir, "clouds.yaml"))
	c.record(d.record, 30, oldAddress)
	before := a.world()
	d.done("--region", here.region, "--yes")
	served(t, d.record, d.addresses()...)
	d.done("abandon", "--yes")
	a.unchanged(before)
}

// A wrong password is the operator's mistake, and is said to be.
func TestWrongPassword(t *testing.T) {
	cloud(t)
	e := readEntry(t, here.cloud)
	d := sit(t, plan{cloud: "typo"})
	d.write("clouds.yaml", fmt.Sprintf("clouds:\n  typo:\n    auth:\n      auth_url: %q\n      username: %q\n      password: not-the-password\n      project_name: %q\n      user_domain_name: %q\n      project_domain_name: %q\n",
		e.Auth.URL, e.Auth.Username, e.Auth.Project, e.Auth.UserDomain, e.Auth.ProjectDomain))
	d.env = append(d.env, "OS_CLIENT_CONFIG_FILE="+filepath.Join(d.dir, "clouds.yaml"))
	d.refused(3, []string{"identity", "credentials"}, "--region", here.region, "--yes")
}

// A region that is none, and a zone of another project.
func TestWrongPlace(t *testing.T) {
	cloud(t)
	onRig(t)
	a := admin(t)
	before := a.world()
	d := sit(t, plan{})
	d.refused(2, []string{"valid: IAD, ORD"}, "--region", "NOPE", "--yes")
	d = sit(t, plan{zone: "other.test"})
	d.refused(3, []string{"zone other.test.", "no such zone in this project", "this project has: rig.test"}, "--region", here.region, "--yes")
	a.unchanged(before)
}
