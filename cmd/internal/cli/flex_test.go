package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/planfile"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/templates"
)

// flexCredentials are those of the built-in plan.
const flexCredentials = `    auth_url = "https://keystone.api.{region}.rackspacecloud.com/v3"
    username = "demo"
    password = "none"
    project  = "123456_Flex"
    domain   = "rackspace_cloud_domain"
`

// newFlex is a bench with the plan of --sandbox=flex.
func newFlex(t *testing.T, faults []string, edits ...string) *bench {
	t.Helper()
	src := string(templates.SandboxPlan("flex"))
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(src, edits[i]) {
			t.Fatalf("the plan does not hold %q", edits[i])
		}
		src = strings.ReplaceAll(src, edits[i], edits[i+1])
	}
	return newBenchOn(t, src, "collector.dripstat.test", sandbox.Options{Flex: true}, faults)
}

// unasked fails where a region was asked for anything, its identity service included.
func (b *bench) unasked(region string) {
	b.t.Helper()
	tokens := 0
	for _, r := range b.cloud.Requests() {
		if r.Region == region {
			b.t.Errorf("the region that is left was asked: %s %s %s", r.Service, r.Method, r.Path)
		}
		if r.Service == "keystone" && r.Method == "POST" {
			tokens++
		}
	}
	if tokens == 0 {
		b.t.Error("nobody logged in at any region's keystone: nothing is shown")
	}
}

// The night on OpenStack Flex, whole, with the region that is left dark, its identity service too, and undone; with zones that Cloud DNS
// keeps, and with those of another provider.
func TestNightOnFlex(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		region string
		faults []string
		edits  []string
	}{
		"it hangs":          {"DFW3", []string{"region-dark=IAD3:hang"}, nil},
		"names that differ": {"SJC3", []string{"region-dark=IAD3:refuse"}, nil},
		"ill":               {"DFW3", []string{"rate-limit=15", "api-500=7", "empty-body=5"}, nil},
		"zones elsewhere": {"DFW3", []string{"region-dark=IAD3:hang"}, []string{"cloud \"rax\" {\n  rackspace {}\n}\n", "",
			"  clouddns {\n    cloud = cloud.rax\n  }\n", "  rfc2136 {\n    server = \"ns1.dripstat.test\"\n    key    = \"failover.\"\n    secret = \"c2VjcmV0c2VjcmV0\"\n  }\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFlex(t, tt.faults, tt.edits...)
			before := b.cloud.Snapshot()
			b.must(exitDone, "--region", tt.region, "--sandbox=flex", "--dry-run")
			if n := b.cloud.Writes(); n != 0 {
				t.Errorf("a dry run sent %d writing requests", n)
			}
			b.must(exitDone, "--region", tt.region, "--sandbox=flex", "--yes", "--json")
			b.serves()
			b.guarded()
			s := b.cloud.Snapshot()
			if len(s.FloatingIPs) != 2 || s.Servers[0].Region != tt.region {
				t.Errorf("%d floating addresses, servers in %s", len(s.FloatingIPs), s.Servers[0].Region)
			}
			if want := map[string]string{"DFW3": "Debian-12", "SJC3": "Debian 12"}[tt.region]; s.Servers[0].Image != want {
				t.Errorf("image %q, wanted %q", s.Servers[0].Image, want)
			}
			b.must(exitDone, "abandon", "--yes")
			b.asBefore(before)
			b.unasked("IAD3")
		})
	}
}

// check asks the identity service of each region for that region, and names it where it does not answer.
func TestCheckOnFlex(t *testing.T) {
	t.Parallel()
	b := newFlex(t, []string{"region-dark=IAD3:hang"}, `regions = ["DFW3", "SJC3", "IAD3"]`, `regions = ["DFW3", "SJC3"]`)
	b.must(exitDone, "check")
	out := flat(b.out.String())
	for _, want := range []string{"DFW3 a run would begin", "SJC3 a run would begin"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, b.out.String())
		}
	}
	logins := map[string]int{}
	for _, r := range b.cloud.Requests() {
		if r.Service == "keystone" {
			logins[r.Region]++
		}
	}
	if logins["DFW3"] != 1 || logins["SJC3"] != 1 || len(logins) != 2 {
		t.Errorf("logins by region: %v", logins)
	}
	b.unasked("IAD3")

	dark, err := sandbox.ParseFault("region-dark=SJC3:refuse")
	b.no(err)
	b.no(b.cloud.SetFault(dark))
	b.must(exitRefused, "check")
	if out, at := b.out.String(), strings.Replace(b.cloud.FlexURL(), "{region}", "SJC3", 1); !strings.Contains(out, at) || strings.Contains(out, "{region}") {
		t.Errorf("it does not name %s:\n%s", at, out)
	}
	b.must(exitRefused, "--region", "SJC3", "--sandbox=flex", "--yes")
	b.must(exitDone, "--region", "any", "--sandbox=flex", "--dry-run")

	b.must(exitRefused, "check", "--region", "LAX3") // there is no such identity service
	if out := flat(b.out.String()); !strings.Contains(out, "LAX3/v3") {
		t.Errorf("it does not name the URL:\n%s", b.out.String())
	}
}

// Where the plan does not say what a region calls its image, a run to it is refused, with what there is.
func TestNamesOfARegionOnFlex(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edits []string
		says  string
	}{
		"image":  {[]string{`    image  = "Debian 12"` + "\n", ""}, `SJC3 has no image "Debian-12"`},
		"flavor": {[]string{`    flavor = ["gp.0.16.64", "gp.0.8.32"]` + "\n", ""}, `there is no flavor "gp.5.16.64"`},
		"external": {[]string{`region "SJC3" {`, "region \"SJC3\" {\n    networks = [\"PUBLICNET\"]"},
			"network PUBLICNET is external and not shared: most clouds let nobody but administrators put servers into it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFlex(t, nil, tt.edits...)
			b.must(exitDone, "--region", "DFW3", "--sandbox=flex", "--dry-run")
			want := exitRefused
			if name == "external" { // an administrator may
				want = exitDone
			}
			b.must(want, "--region", "SJC3", "--sandbox=flex", "--dry-run")
			if out := flat(b.out.String() + b.err.String()); !strings.Contains(out, tt.says) {
				t.Errorf("it does not say %q:\n%s", tt.says, out)
			}
			if name == "external" {
				b.must(exitFailed, "--region", "SJC3", "--sandbox=flex", "--yes")
				if !strings.Contains(flat(b.err.String()), "It is not allowed to create an interface on external network") {
					t.Errorf("%s", b.err.String())
				}
			}
		})
	}
}

// ofEntry takes the credentials from clouds.yaml, whose identity URL has the region in it as other clients write it.
var ofEntry = []string{flexCredentials, "    cloud = \"sandbox\"\n"}

// The process is killed, and another one goes on; then that is undone, with the home region dark all the while.
func TestKilledOnFlex(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) *processes {
		t.Helper()
		return (&processes{bench: newFlex(t, []string{"region-dark=IAD3:hang"}, append(slices.Clone(ns), ofEntry...)...)}).serve()
	}
	whole := start(t)
	r := whole.want(exitDone, nil, "--region", "DFW3", "--yes", "--json")
	whole.serves()
	at := map[string]int{}
	for _, e := range eventsOf(t, r.out) {
		if name := string(e.Kind) + " " + string(e.Type); at[name] == 0 && e.Seq > 0 {
			at[name] = e.Seq
		}
	}
	for _, name := range []string{"server.create step.sent", "floatingip.create step.sent", "dns.move step.sent"} {
		if at[name] == 0 {
			t.Errorf("no record %q in a whole run", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			before := p.cloud.Snapshot()
			p.killedAt(at[name], 0, "--region", "DFW3", "--yes")
			p.want(exitDone, nil, "resume")
			p.serves()
			p.guarded()
			p.want(exitDone, nil, "abandon", "--yes")
			p.asBefore(before)
			p.unasked("IAD3")
		})
	}
}

// A cloud that nothing is made in is not asked in a region which it may not have, and nothing waits for it.
func TestIdleCloud(t *testing.T) {
	t.Parallel()
	b := newFlex(t, nil, "# Flex keeps no zones.", "cloud \"other\" {\n  openstack {\n    auth_url = \"https://keystone.{region}.example.invalid/v3\"\n    username = \"u\"\n    password = \"p\"\n  }\n}\n\n# Flex keeps no zones.")
	plan, err := b.app.load(shared{plan: b.path("failover.hcl")}, false)
	b.no(err)
	s, err := b.app.newSite(plan, "DFW3", b.app.box)
	b.no(err)
	defer s.close()
	src := s.sources()
	for cloud, want := range map[string]bool{"flex": true, "rax": true, "other": false} {
		if (src.Inventory[cloud] != nil) != want {
			t.Errorf("cloud.%s is read: %v", cloud, !want)
		}
	}
	b.must(exitDone, "--region", "DFW3", "--sandbox=flex", "--dry-run")
	logins := 0
	for _, r := range b.cloud.Requests() { // the sandbox takes the place of both
		if r.Service == "keystone" {
			logins++
		}
	}
	if logins != 1 {
		t.Errorf("%d logins at the region's keystone", logins)
	}
}

// Back, from a second run to where the first one had left the name: the regions have nothing in common but the name.
func TestBackOnFlex(t *testing.T) {
	t.Parallel()
	b := newFlex(t, nil, "cloud \"rax\" {\n  rackspace {}\n}\n", "", "  clouddns {\n    cloud = cloud.rax\n  }\n",
		"  rfc2136 {\n    server = \"ns1.dripstat.test\"\n    key    = \"failover.\"\n    secret = \"c2VjcmV0c2VjcmV0\"\n  }\n", "ttl  = 300 # Cloud DNS takes no less", "ttl  = 1", `home    = "IAD3"`, `home    = "DFW3"`)
	b.must(exitDone, "--region", "DFW3", "--sandbox=flex", "--yes")
	home := b.served().Values
	b.must(exitDone, "--region", "SJC3", "--sandbox=flex", "--yes")
	if away := b.served().Values; slices.Equal(home, away) {
		t.Fatalf("%v, then %v", home, away)
	}
	began := time.Now()
	b.must(exitDone, "back", "--yes", "--remove")
	if took := time.Since(began); took < time.Second {
		t.Errorf("the TTL of 1 s was not waited out: done in %s", took)
	}
	if got := b.served().Values; !slices.Equal(got, home) {
		t.Errorf("served %v, wanted %v", got, home)
	}
	for _, s := range b.cloud.Snapshot().Servers {
		if s.Region != "DFW3" {
			t.Errorf("%s is still in %s", s.Name, s.Region)
		}
	}
}

// The plan that failover init writes for Flex does what it says, but for the reader's own names. Its credentials are in no variable here.
func TestStarterOnFlex(t *testing.T) {
	t.Parallel()
	src := string(templates.Starter("flex", "shop"))
	for _, e := range [][2]string{{`file = "secrets.age"`, "file = \"secrets.age\"\n    identity = \"identity.txt\""}, {`  path  = "edge"`, "  path = \"edge\"\n  ca = file(\"ca.pem\")"}} {
		if !strings.Contains(src, e[0]) {
			t.Fatalf("the starter does not hold %q", e[0])
		}
		src = strings.ReplaceAll(src, e[0], e[1])
	}
	for _, region := range []string{"DFW3", "SJC3"} {
		t.Run(region, func(t *testing.T) {
			t.Parallel()
			b := newBenchOn(t, src, "www.example.com", sandbox.Options{Flex: true}, []string{"region-dark=IAD3:hang"})
			b.must(exitDone, "--region", region, "--sandbox=flex", "--yes")
			b.guarded()
			for _, r := range b.cloud.Snapshot().Served {
				if r.Name == "www.example.com." && r.Type == "A" && len(r.Values) != 2 {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// Flex's sandbox takes Rackspace's first cloud for zones alone, and no other sandbox takes both.
func TestWhichSandboxFits(t *testing.T) {
	t.Parallel()
	plan := func(cloud string) provision.Plan {
		p, err := planfile.Parse(map[string][]byte{"failover.hcl": templates.Starter(cloud, "shop")}, t.TempDir(), planfile.Options{Offline: true})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tt := range []struct {
		kind sandboxKind
		plan string
		says string
	}{
		{sandboxFlex, "flex", ""}, {sandboxFlex, "openstack", ""}, {sandboxFlex, "rackspace", "of which this sandbox has Cloud DNS alone"},
		{sandboxOpenStack, "flex", "cloud.rax of the plan is rackspace"}, {sandboxRackspace, "flex", "cloud.flex of the plan is openstack"},
	} {
		err := tt.kind.fits(plan(tt.plan))
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("a plan of %s in a sandbox of %s: %v", tt.plan, tt.kind, err)
		}
	}
}
