//go:build openstack

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	mdns "github.com/miekg/dns"
	"go.yaml.in/yaml/v4"
)

// service kills, hangs or starts services or whole regions of the rig.
func service(t *testing.T, how string, names ...string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(here.rig, "service.sh"), append([]string{how}, names...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", how, names, err, out)
	}
	t.Logf("rig: %s %s", how, strings.Join(names, " "))
}

// away takes services down, and sees to it that they are back when the test has ended.
func away(t *testing.T, how string, names ...string) {
	t.Helper()
	t.Cleanup(func() { service(t, "start", names...) })
	service(t, how, names...)
}

// client is a session of one entry of clouds.yaml, which knows nothing of failover's own.
type client struct {
	*testing.T
	compute, network, dns, identity, image *gophercloud.ServiceClient
	keys                                   *gophercloud.ServiceClient // the key manager, where there is one
	user, project                          string
	everywhere                             bool // an administrator, who sees all projects
}

func readEntry(t *testing.T, name string) entry {
	t.Helper()
	file := os.Getenv("OS_CLIENT_CONFIG_FILE")
	if file == "" {
		home, _ := os.UserHomeDir()
		file = filepath.Join(home, ".config/openstack/clouds.yaml")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Clouds map[string]entry `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	e, ok := all.Clouds[name]
	if !ok {
		t.Fatalf("%s has no cloud %q", file, name)
	}
	return e
}

func login(t *testing.T, name string) client {
	t.Helper()
	e := readEntry(t, name)
	o := gophercloud.AuthOptions{IdentityEndpoint: e.Auth.URL, Username: e.Auth.Username, Password: e.Auth.Password, AllowReauth: true}
	if e.Auth.AppID != "" {
		o.ApplicationCredentialID, o.ApplicationCredentialSecret, o.Username = e.Auth.AppID, e.Auth.AppSecret, ""
	} else {
		o.DomainName = e.Auth.UserDomain
		o.Scope = &gophercloud.AuthScope{ProjectName: e.Auth.Project, ProjectID: e.Auth.ProjectID, DomainName: e.Auth.ProjectDomain}
		if o.Scope.ProjectID != "" {
			o.Scope.ProjectName, o.Scope.DomainName = "", ""
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := openstack.AuthenticatedClient(ctx, o)
	if err != nil {
		t.Fatalf("log in as %s: %v", name, err)
	}
	c := client{T: t, everywhere: name == here.admin && here.admin != here.cloud}
	at := gophercloud.EndpointOpts{Region: here.region}
	for _, s := range []struct {
		sc  **gophercloud.ServiceClient
		new func(*gophercloud.ProviderClient, gophercloud.EndpointOpts) (*gophercloud.ServiceClient, error)
	}{{&c.compute, openstack.NewComputeV2}, {&c.network, openstack.NewNetworkV2}, {&c.dns, openstack.NewDNSV2}, {&c.identity, openstack.NewIdentityV3}, {&c.image, openstack.NewImageV2}} {
		if *s.sc, err = s.new(p, at); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if c.keys, err = openstack.NewKeyManagerV1(p, at); err != nil {
		c.keys = nil
	}
	c.compute.Microversion = "2.79"
	var who struct {
		Token struct {
			User    struct{ ID string }
			Project struct{ ID string }
		}
	}
	_, err = c.identity.Get(ctx, c.identity.ServiceURL("auth", "tokens"), &who, &gophercloud.RequestOpts{MoreHeaders: map[string]string{"X-Subject-Token": p.Token()}})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	c.user, c.project = who.Token.User.ID, who.Token.Project.ID
	return c
}

func admin(t *testing.T) client { return login(t, here.admin) }

// call sends one request and gives the answer's status and, parsed, its body. Only an answer that is none is fatal.
func (c client) call(sc *gophercloud.ServiceClient, method, path string, body any) (int, object) {
	c.Helper()
	var got object
	opts := &gophercloud.RequestOpts{OkCodes: []int{200, 201, 202, 203, 204, 300}, MoreHeaders: map[string]string{}}
	if body != nil {
		opts.JSONBody = body
	}
	if method != "DELETE" { // some answer with nothing
		opts.JSONResponse = &got
	}
	if sc == c.dns && c.everywhere {
		opts.MoreHeaders["X-Auth-All-Projects"] = "true"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := sc.Request(ctx, method, sc.ServiceURL(path), opts)
	if err != nil {
		var code gophercloud.ErrUnexpectedResponseCode
		if as(err, &code) {
			return code.Actual, object{"text": string(code.Body)}
		}
		if resp == nil || resp.StatusCode >= 300 {
			c.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return resp.StatusCode, got
}

// must is call where anything but success ends the test.
func (c client) must(sc *gophercloud.ServiceClient, method, path string, body any) object {
	c.Helper()
	code, got := c.call(sc, method, path, body)
	if code >= 300 {
		c.Fatalf("%s %s: %d %v", method, path, code, got)
	}
	return got
}

// world is everything that a run could leave behind, in all projects where the rights reach, one line a thing.
func (c client) world() []string {
	c.Helper()
	var out []string
	all := ""
	if c.everywhere {
		all = "all_tenants=1&"
	}
	for _, s := range c.must(c.compute, "GET", "servers/detail?"+all+"limit=1000", nil).list("servers") {
		// Its owner sees it no more. Nova writes this state before it takes the row away, and with many at once has that to do for long.
		// https://opendev.org/openstack/nova/src/branch/stable/zed/nova/compute/manager.py (_delete_instance)
		if s.text("status") == "DELETED" {
			continue
		}
		out = append(out, fmt.Sprintf("server %s %s %s", s.text("id"), s.text("name"), s.text("status")))
	}
	for _, g := range c.must(c.compute, "GET", "os-server-groups?all_projects=True", nil).list("server_groups") {
		out = append(out, fmt.Sprintf("server group %s %s", g.text("id"), g.text("name")))
	}
	users := []string{""}
	if c.everywhere {
		users = []string{login(c.T, here.cloud).user, c.user}
	}
	for _, u := range users {
		path := "os-keypairs"
		if u != "" {
			path += "?user_id=" + u
		}
		for _, k := range c.must(c.compute, "GET", path, nil).list("keypairs") {
			out = append(out, fmt.Sprintf("keypair %v", k.at("keypair", "name")))
		}
	}
	for _, kind := range []string{"ports", "security-groups", "floatingips"} {
		for _, x := range c.must(c.network, "GET", kind, nil).list(strings.ReplaceAll(kind, "-", "_")) {
			if x.text("name") != "default" { // neutron makes one for every project at its first look
				out = append(out, fmt.Sprintf("%s %s %s", kind, x.text("id"), x.text("name")))
			}
		}
	}
	for _, r := range c.must(c.dns, "GET", "recordsets?limit=1000", nil).list("recordsets") {
		if typ := r.text("type"); typ != "SOA" { // its serial counts every change
			out = append(out, fmt.Sprintf("record %s %s ttl=%v %v", r.text("name"), typ, r["ttl"], r["records"]))
		}
	}
	slices.Sort(out)
	return out
}

// unchanged compares the world with what it was. Ports and servers go a moment after their deletion was answered.
func (c client) unchanged(before []string) {
	c.Helper()
	var now []string
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if now = c.world(); slices.Equal(now, before) {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	for _, line := range now {
		if !slices.Contains(before, line) {
			c.Errorf("left behind: %s", line)
		}
	}
	for _, line := range before {
		if !slices.Contains(now, line) {
			c.Errorf("gone: %s", line)
		}
	}
}

// servers are those of a run, as an administrator sees them.
func (c client) servers(run string) []object {
	c.Helper()
	path := "servers/detail?limit=1000"
	if c.everywhere {
		path += "&all_tenants=1"
	}
	var out []object
	for _, s := range c.must(c.compute, "GET", path, nil).list("servers") {
		if s.at("metadata", "failover_run") == run {
			out = append(out, s)
		}
	}
	return out
}

// oneEach fails where a slot has no server, or two.
func (c client) oneEach(run string, slots ...string) {
	c.Helper()
	n := map[string]int{}
	for _, s := range c.servers(run) {
		slot, _ := s.at("metadata", "failover_slot").(string)
		n[slot]++
		if s.text("status") != "ACTIVE" {
			c.Errorf("%s of %s is %s", s.text("id"), slot, s.text("status"))
		}
	}
	want := map[string]int{}
	for _, s := range slots {
		want[s] = 1
	}
	if !maps.Equal(n, want) {
		c.Errorf("servers of each slot: %v, want %v", n, want)
	}
}

// record makes the record set that a run is to move, as its owner would have it in good times, and gives its path.
func (c client) record(name string, ttl int, values ...string) string {
	c.Helper()
	zones := c.must(c.dns, "GET", "zones?name="+here.zone+".", nil).list("zones")
	if len(zones) == 0 {
		c.Fatalf("there is no zone %s", here.zone)
	}
	sets := "zones/" + zones[0].text("id") + "/recordsets"
	set := c.must(c.dns, "POST", sets, object{"name": name + ".", "type": "A", "ttl": ttl, "records": values})
	one := sets + "/" + set.text("id")
	c.Cleanup(func() {
		c.call(c.dns, "DELETE", one, nil)
		wait(c.T, name+" to be gone", 30*time.Second, func() bool { code, _ := c.call(c.dns, "GET", one, nil); return code == 404 })
	})
	wait(c.T, name+" to be ACTIVE", 30*time.Second, func() bool { return c.must(c.dns, "GET", one, nil).text("status") == "ACTIVE" })
	served(c.T, name, values...)
	return one
}

// dig asks the name server, once.
func dig(name string) string {
	m := new(mdns.Msg)
	m.SetQuestion(mdns.Fqdn(name), mdns.TypeA)
	r, err := mdns.Exchange(m, here.dns)
	if err == nil && r.Truncated { // fifty addresses do not fit into a datagram
		r, _, err = (&mdns.Client{Net: "tcp"}).Exchange(m, here.dns)
	}
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, rr := range r.Answer {
		if a, ok := rr.(*mdns.A); ok {
			out = append(out, a.A.String())
		}
	}
	slices.SortFunc(out, func(a, b string) int { return slices.Compare(net.ParseIP(a), net.ParseIP(b)) })
	return strings.Join(out, " ")
}

// served waits until the name server gives exactly these addresses.
func served(t *testing.T, name string, values ...string) {
	t.Helper()
	slices.SortFunc(values, func(a, b string) int { return slices.Compare(net.ParseIP(a), net.ParseIP(b)) })
	wait(t, fmt.Sprintf("the name server to give %s for %s (it gives %s)", values, name, dig(name)), 15*time.Second,
		func() bool { return dig(name) == strings.Join(values, " ") })
}

// wait asks until it is so, or the time is over.
func wait(t *testing.T, what string, within time.Duration, so func() bool) {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		if so() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", within, what)
		}
	}
}
