package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/availabilityzones"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servergroups"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/tags"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/regions"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/attributestags"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/networkipavailabilities"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"golang.org/x/crypto/ssh"
)

func code(t testing.TB, err error, want int, words string) {
	t.Helper()
	if !gophercloud.ResponseCodeIs(err, want) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want %d with %q", err, want, words)
	}
}

func TestIdentity(t *testing.T) {
	o := fast()
	o.TokenTTL = 300 * time.Millisecond
	c := start(t, o)
	p := login(t, c)
	id := must[*gophercloud.ServiceClient](t)(openstack.NewIdentityV3(p, gophercloud.EndpointOpts{}))
	pages := must[[]regions.Region](t)(func() ([]regions.Region, error) {
		p, err := regions.List(id, nil).AllPages(t.Context())
		if err != nil {
			return nil, err
		}
		return regions.ExtractRegions(p)
	}())
	if len(pages) != 2 || pages[0].ID != "IAD" {
		t.Error(pages)
	}
	roles := must[[]tokens.Role](t)(tokens.Get(t.Context(), id, p.TokenID).ExtractRoles())
	if !slices.ContainsFunc(roles, func(r tokens.Role) bool { return r.Name == "reader" }) {
		t.Error(roles)
	}
	first := p.TokenID
	time.Sleep(350 * time.Millisecond)
	if _, err := regions.Get(t.Context(), id, "ORD").Extract(); err != nil || p.TokenID == first {
		t.Error("an expired token was not renewed:", err)
	}
	for _, ao := range []gophercloud.AuthOptions{
		{Username: "demo", Password: "wrong", DomainName: "Default", TenantName: "demo"},
		{Username: "demo", Password: c.password, DomainName: "Default", TenantName: "other"},
		{TokenID: "nonsense", TenantID: c.project},
	} {
		ao.IdentityEndpoint = c.AuthURL()
		_, err := openstack.AuthenticatedClient(t.Context(), ao)
		code(t, err, 401, "requires authentication")
	}
	ac, secret := c.ApplicationCredential()
	if _, err := openstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{IdentityEndpoint: c.AuthURL(), ApplicationCredentialID: ac, ApplicationCredentialSecret: secret}); err != nil {
		t.Error(err)
	}
	for _, r := range c.Requests() {
		if strings.Contains(string(r.Body), c.password) {
			t.Error("the log holds the password")
		}
	}
	if c.Writes() != 0 {
		t.Error("a token is not a change")
	}
	r := must[*http.Response](t)(http.Get(c.url("nova", "ORD") + "/v2.1/servers"))
	r.Body.Close()
	if r.StatusCode != 401 || !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Keystone uri=") || r.Header.Get("Date") == "" || !strings.HasPrefix(r.Header.Get("X-Openstack-Request-Id"), "req-") {
		t.Error(r.Status, r.Header)
	}
}

func TestMicroversions(t *testing.T) {
	c := start(t, fast())
	cl := connect(t, c, "IAD")
	for v, want := range map[string]int{"2.1": 200, "2.93": 200, "latest": 200, "2.94": 406, "1.0": 406, "two": 400} {
		cl.nova.Microversion = v
		_, err := flavors.ListDetail(cl.nova, nil).AllPages(t.Context())
		if want != 200 {
			code(t, err, want, v)
		} else if err != nil {
			t.Error(v, err)
		}
	}
	cl.nova.Microversion = "2.1"
	o := cl.opts("a")
	_, err := cl.try(o, "")
	code(t, err, 400, "('tags' was unexpected)")
	o.Tags, o.Networks = nil, nil
	_, err = cl.try(o, "")
	code(t, err, 409, "Multiple possible networks found")
	cl.nova.Microversion = "2.60"
	_, err = cl.try(o, "")
	code(t, err, 400, "'networks' is a required property")
	cl.nova.Microversion = "2.1"
	o.Networks = []servers.Network{{UUID: cl.network("public")}}
	s := cl.create(o, "")
	if got := cl.get(s.ID); got.Flavor["id"] != cl.flavor("m1.small") || got.Tags != nil {
		t.Errorf("%+v", got)
	}
	if s.AdminPass == "" {
		t.Error("no adminPass")
	}
}

func TestServerLists(t *testing.T) {
	c := start(t, fast())
	cl := connect(t, c, "IAD")
	other := connect(t, c, "ORD")
	for i := range 7 {
		o := cl.opts(fmt.Sprintf("s-%d", i))
		o.Tags = []string{"all", fmt.Sprint(i % 2)}
		cl.create(o, "")
	}
	list := func(cl *client, o servers.ListOpts) (names []string) {
		p, err := servers.List(cl.nova, o).AllPages(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l, _ := servers.ExtractServers(p)
		for _, s := range l {
			names = append(names, s.Name)
		}
		return names
	}
	if got := list(cl, servers.ListOpts{Limit: 3}); fmt.Sprint(got) != "[s-6 s-5 s-4 s-3 s-2 s-1 s-0]" {
		t.Error(got)
	}
	for want, o := range map[string]servers.ListOpts{
		"[s-5 s-3 s-1]":     {Tags: "all,1"},
		"[s-6 s-4 s-2 s-0]": {NotTags: "1"},
		"[s-4]":             {Name: "^s-4$"},
		"[]":                {Status: "ERROR", TagsAny: "0,1"},
	} {
		if got := list(cl, o); fmt.Sprint(got) != want {
			t.Errorf("%+v: %v, want %s", o, got, want)
		}
	}
	if got := list(other, servers.ListOpts{}); got != nil {
		t.Error("the other region has", got)
	}
	_, err := servers.List(cl.nova, servers.ListOpts{Marker: "nope"}).AllPages(t.Context())
	code(t, err, 400, "marker [nope] not found")

	id := c.Snapshot().Servers[0].ID
	if err := tags.Add(t.Context(), cl.nova, id, "new").ExtractErr(); err != nil {
		t.Error(err)
	}
	if ok, err := tags.Check(t.Context(), cl.nova, id, "new").Extract(); !ok || err != nil {
		t.Error(ok, err)
	}
	if err := tags.Delete(t.Context(), cl.nova, id, "all").ExtractErr(); err != nil {
		t.Error(err)
	}
	if got := must[[]string](t)(tags.List(t.Context(), cl.nova, id).Extract()); fmt.Sprint(got) != "[0 new]" {
		t.Error(got)
	}
	must[map[string]string](t)(servers.UpdateMetadata(t.Context(), cl.nova, id, servers.MetadataOpts{"k": "v"}).Extract())
	if got := must[map[string]string](t)(servers.Metadata(t.Context(), cl.nova, id).Extract()); got["k"] != "v" || got["slot"] != "s-0" {
		t.Error(got)
	}
	code(t, servers.Delete(t.Context(), other.nova, id).ExtractErr(), 404, "could not be found")
}

func TestCreateRefusals(t *testing.T) {
	o := fast()
	o.Quota = Quota{Instances: 2, Cores: 3}
	o.Images = []Image{{Name: "huge", MinDiskGB: 500, MinRAMMB: 1}, {Name: "hungry", MinRAMMB: 1 << 20}}
	c := start(t, o)
	cl := connect(t, c, "IAD")
	for _, tt := range []struct {
		status int
		words  string
		change func(*servers.CreateOpts)
		key    string
	}{
		{400, "Flavor nope could not be found.", func(o *servers.CreateOpts) { o.FlavorRef = "nope" }, ""},
		{400, "Can not find requested image", func(o *servers.CreateOpts) { o.ImageRef = uuid() }, ""},
		{400, "Invalid key_name provided.", func(*servers.CreateOpts) {}, "nope"},
		{400, "Network nope could not be found.", func(o *servers.CreateOpts) { o.Networks = []servers.Network{{UUID: "nope"}} }, ""},
		{400, "availability zone is not available", func(o *servers.CreateOpts) { o.AvailabilityZone = "az9" }, ""},
		{400, "Unable to find security_group with name or id 'nope'", func(o *servers.CreateOpts) { o.SecurityGroups = []string{"nope"} }, ""},
		{400, "is too long", func(o *servers.CreateOpts) { o.UserData = make([]byte, 60000) }, ""},
		{400, "Flavor's disk is smaller", func(o *servers.CreateOpts) { o.ImageRef = cl.image("huge") }, ""},
		{400, "memory is too small", func(o *servers.CreateOpts) { o.ImageRef = cl.image("hungry") }, ""},
		{403, "Only volume-backed servers are allowed for flavors with zero disk.", func(o *servers.CreateOpts) { o.FlavorRef = cl.flavor("v1.4xlarge") }, ""},
		{403, "Quota exceeded for cores: Requested 4, but already used 0 of 3 cores", func(o *servers.CreateOpts) { o.FlavorRef = cl.flavor("m1.large") }, ""},
	} {
		co := cl.opts("x")
		tt.change(&co)
		_, err := cl.try(co, tt.key)
		code(t, err, tt.status, tt.words)
	}
	if n := len(c.Snapshot().Servers); n != 0 {
		t.Errorf("%d servers were made of refused requests", n)
	}
	cl.create(cl.opts("a"), "")
	cl.create(cl.opts("b"), "")
	_, err := cl.try(cl.opts("c"), "")
	code(t, err, 403, "Quota exceeded for instances: Requested 1, but already used 2 of 2 instances")
	l := must[*limits.Limits](t)(limits.Get(t.Context(), cl.nova, nil).Extract())
	if a := l.Absolute; a.MaxTotalInstances != 2 || a.TotalInstancesUsed != 2 || a.TotalCoresUsed != 2 || a.MaxTotalCores != 3 || a.TotalRAMUsed != 4096 {
		t.Errorf("%+v", a)
	}
}

func TestBootFromVolume(t *testing.T) {
	c := start(t, fast())
	cl := connect(t, c, "IAD")
	o := cl.opts("v")
	o.FlavorRef, o.ImageRef = cl.flavor("v1.4xlarge"), ""
	o.BlockDevice = []servers.BlockDevice{{BootIndex: 0, UUID: cl.image("debian-12"), SourceType: servers.SourceImage,
		DestinationType: servers.DestinationVolume, VolumeSize: 40, DeleteOnTermination: true}}
	s := cl.create(o, "")
	got := cl.wait(s.ID, "ACTIVE")
	if len(got.AttachedVolumes) != 1 || len(got.Image) != 0 || len(c.Snapshot().Volumes) != 1 {
		t.Errorf("%+v", got)
	}
	servers.Delete(t.Context(), cl.nova, s.ID)
	cl.until("volume gone", func() bool { return len(c.Snapshot().Volumes) == 0 })
}

func TestKeypairsGroupsZones(t *testing.T) {
	o := fast()
	o.Hosts = 2
	c := start(t, o)
	cl := connect(t, c, "IAD")
	k := cl.key("k")
	_, err := keypairs.Create(t.Context(), cl.nova, keypairs.CreateOpts{Name: "k", PublicKey: public(k)}).Extract()
	code(t, err, 409, "Key pair 'k' already exists.")
	_, err = keypairs.Create(t.Context(), cl.nova, keypairs.CreateOpts{Name: "l", PublicKey: "ssh-ed25519 AAAA"}).Extract()
	code(t, err, 400, "Keypair data is invalid")
	if kp := must[*keypairs.KeyPair](t)(keypairs.Get(t.Context(), cl.nova, "k", nil).Extract()); kp.Fingerprint != ssh.FingerprintLegacyMD5(k.PublicKey()) {
		t.Error(kp.Fingerprint)
	}
	if err := keypairs.Delete(t.Context(), cl.nova, "k", nil).ExtractErr(); err != nil {
		t.Error(err)
	}
	_, err = keypairs.Get(t.Context(), cl.nova, "k", nil).Extract()
	code(t, err, 404, "Keypair k not found")

	zones := must[[]availabilityzones.AvailabilityZone](t)(func() ([]availabilityzones.AvailabilityZone, error) {
		p, err := availabilityzones.List(cl.nova).AllPages(t.Context())
		if err != nil {
			return nil, err
		}
		return availabilityzones.ExtractAvailabilityZones(p)
	}())
	if len(zones) != 2 || !zones[1].ZoneState.Available {
		t.Error(zones)
	}

	g := must[*servergroups.ServerGroup](t)(servergroups.Create(t.Context(), cl.nova, servergroups.CreateOpts{Name: "g", Policy: "anti-affinity"}).Extract())
	hosts := map[string]bool{}
	for i := range 3 {
		s := must[*servers.Server](t)(servers.Create(t.Context(), cl.nova, cl.opts(fmt.Sprint("a", i)), servers.SchedulerHintOpts{Group: g.ID}).Extract())
		if i < 2 {
			hosts[cl.wait(s.ID, "ACTIVE").HostID] = true
		} else if s = cl.wait(s.ID, "ERROR"); s.Fault.Message != noHostLeft || s.HostID != "" {
			t.Errorf("%+v", s.Fault)
		}
	}
	if len(hosts) != 2 {
		t.Error("two of a kind share a host")
	}
	if g = must[*servergroups.ServerGroup](t)(servergroups.Get(t.Context(), cl.nova, g.ID).Extract()); len(g.Members) != 3 || *g.Policy != "anti-affinity" {
		t.Errorf("%+v", g)
	}
	cl.nova.Microversion = "2.10"
	_, err = servergroups.Create(t.Context(), cl.nova, servergroups.CreateOpts{Name: "g", Policy: "affinity"}).Extract()
	code(t, err, 400, "'policy' was unexpected")
	if g := must[*servergroups.ServerGroup](t)(servergroups.Create(t.Context(), cl.nova, servergroups.CreateOpts{Name: "old", Policies: []string{"affinity"}}).Extract()); g.Policies[0] != "affinity" {
		t.Error(g)
	}
}

func TestImages(t *testing.T) {
	o := fast()
	o.Images = []Image{{Name: "debian-12", Arch: "aarch64", Created: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}}
	c := start(t, o)
	cl := connect(t, c, "ORD")
	list := func(o images.ListOpts) []images.Image {
		p, err := images.List(cl.glance, o).AllPages(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l, err := images.ExtractImages(p)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if all := list(images.ListOpts{Limit: 2}); len(all) != 6 {
		t.Errorf("%d images", len(all))
	}
	l := list(images.ListOpts{Name: "debian-12", Sort: "created_at:desc"})
	if len(l) != 2 || l[0].Properties["architecture"] != "x86_64" || l[0].MinDiskGigabytes != 3 || l[1].CreatedAt.Year() != 2020 || l[0].Status != images.ImageStatusActive {
		t.Errorf("%+v", l)
	}
	if im := must[*images.Image](t)(images.Get(t.Context(), cl.glance, l[0].ID).Extract()); im.Name != "debian-12" {
		t.Error(im)
	}
	_, err := images.Get(t.Context(), cl.glance, "nope").Extract()
	code(t, err, 404, "No image found with ID nope")
}

func TestNetworking(t *testing.T) {
	c := start(t, fast())
	cl := connect(t, c, "ORD")
	ctx, n := t.Context(), cl.neutron
	g := must[*groups.SecGroup](t)(groups.Create(ctx, n, groups.CreateOpts{Name: "edge"}).Extract())
	if len(g.Rules) != 2 {
		t.Error(g.Rules)
	}
	rule := rules.CreateOpts{Direction: rules.DirIngress, EtherType: rules.EtherType4, SecGroupID: g.ID, Protocol: rules.ProtocolTCP, PortRangeMin: 443, PortRangeMax: 443}
	r := must[*rules.SecGroupRule](t)(rules.Create(ctx, n, rule).Extract())
	_, err := rules.Create(ctx, n, rule).Extract()
	code(t, err, 409, "Security group rule already exists. Rule id is "+r.ID)
	if err := attributestags.Add(ctx, n, "security-groups", g.ID, "run-1").ExtractErr(); err != nil {
		t.Error(err)
	}
	pages, err := groups.List(n, groups.ListOpts{Tags: "run-1"}).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if l, _ := groups.ExtractGroups(pages); len(l) != 1 || len(l[0].Rules) != 3 {
		t.Error(l)
	}

	o := cl.opts("inside")
	o.Networks, o.SecurityGroups = []servers.Network{{UUID: cl.network("private")}}, []string{"edge"}
	s := cl.wait(cl.create(o, "").ID, "ACTIVE")
	private := addr(s, "private")
	if !strings.HasPrefix(private, "10.") {
		t.Error(s.Addresses)
	}
	if _, err := c.Dial(ctx, "tcp", private+":22"); err == nil || !strings.Contains(err.Error(), "no route to host") {
		t.Error("a private address:", err)
	}
	code(t, groups.Delete(ctx, n, g.ID).ExtractErr(), 409, "in use")
	port := func(server string) ports.Port {
		p, err := ports.List(n, ports.ListOpts{DeviceID: server}).AllPages(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l, err := ports.ExtractPorts(p)
		if err != nil || len(l) != 1 {
			t.Fatal(l, err)
		}
		return l[0]
	}
	p := port(s.ID)
	if p.Status != "ACTIVE" || p.FixedIPs[0].IPAddress != private || p.SecurityGroups[0] != g.ID {
		t.Errorf("%+v", p)
	}
	f := must[*floatingips.FloatingIP](t)(floatingips.Create(ctx, n, floatingips.CreateOpts{FloatingNetworkID: cl.network("public"), Description: "failover"}).Extract())
	if f.Status != "DOWN" || f.PortID != "" {
		t.Errorf("%+v", f)
	}
	f = must[*floatingips.FloatingIP](t)(floatingips.Update(ctx, n, f.ID, floatingips.UpdateOpts{PortID: &p.ID}).Extract())
	if f.Status != "ACTIVE" || f.FixedIP != private || addr(cl.get(s.ID), "private") != f.FloatingIP {
		t.Errorf("%+v", f)
	}
	cl.hostKeys(s.ID)
	conn, err := c.Dial(ctx, "tcp", f.FloatingIP+":22")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	_, err = floatingips.Create(ctx, n, floatingips.CreateOpts{FloatingNetworkID: cl.network("private")}).Extract()
	code(t, err, 400, "not a valid external network")
	_, err = floatingips.Create(ctx, n, floatingips.CreateOpts{FloatingNetworkID: cl.network("public"), PortID: p.ID}).Extract()
	code(t, err, 409, "already has a floating IP")
	pub := cl.wait(cl.create(cl.opts("outside"), "").ID, "ACTIVE")
	_, err = floatingips.Create(ctx, n, floatingips.CreateOpts{FloatingNetworkID: cl.network("public"), PortID: port(pub.ID).ID}).Extract()
	code(t, err, 404, "is not reachable from subnet")
	empty := ""
	if f = must[*floatingips.FloatingIP](t)(floatingips.Update(ctx, n, f.ID, floatingips.UpdateOpts{PortID: &empty}).Extract()); f.PortID != "" {
		t.Errorf("%+v", f)
	}
	if err := floatingips.Delete(ctx, n, f.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
	q := must[*quotas.QuotaDetailSet](t)(quotas.GetDetail(ctx, n, c.project).Extract())
	if q.Port.Used != 2 || q.Port.Limit != 1000 || q.SecurityGroup.Used != 2 {
		t.Errorf("%+v", q)
	}
	free, err := networkipavailabilities.List(n, nil).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := networkipavailabilities.ExtractNetworkIPAvailabilities(free); err != nil || len(l) != 0 { // not for everybody's eyes
		t.Error(l, err)
	}
	sp, err := subnets.List(n, subnets.ListOpts{NetworkID: cl.network("public")}).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := subnets.ExtractSubnets(sp); err != nil || len(l) != 1 || !strings.HasSuffix(l[0].CIDR, "/22") {
		t.Error(l, err)
	}
	own := must[*ports.Port](t)(ports.Create(ctx, n, ports.CreateOpts{NetworkID: cl.network("public")}).Extract())
	o = cl.opts("port")
	o.Networks = []servers.Network{{Port: own.ID}}
	s = cl.wait(cl.create(o, "").ID, "ACTIVE")
	if addr(s, "public") != own.FixedIPs[0].IPAddress {
		t.Error(s.Addresses)
	}
	servers.Delete(ctx, cl.nova, s.ID)
	cl.until("its own port outlives a server", func() bool {
		return userOf(c, own.ID) == ""
	})
	code(t, getNetwork(cl, "nope"), 404, "Network nope could not be found.")
}

func userOf(c *Cloud, id string) string {
	for _, p := range c.Snapshot().Ports {
		if p.ID == id {
			return p.Server
		}
	}
	return "gone"
}

func getNetwork(cl *client, id string) error {
	r, err := cl.neutron.Get(cl.t.Context(), cl.neutron.ServiceURL("networks", id), nil, nil)
	if err == nil {
		r.Body.Close()
	}
	return err
}

// TestErrorShapes holds the bodies against what the real services send.
func TestErrorShapes(t *testing.T) {
	c := start(t, fast())
	token := login(t, c).TokenID
	for _, tt := range []struct{ service, path, want string }{
		{"nova", "/v2.1/servers/x", `{"itemNotFound":{"code":404,"message":"Instance x could not be found."}}`},
		{"neutron", "/v2.0/ports/x", `{"NeutronError":{"detail":"","message":"Port x could not be found.","type":"PortNotFound"}}`},
		{"keystone", "/v3/regions/x", `{"error":{"code":404,"message":"Could not find region: x.","title":"Not Found"}}`},
		{"designate", "/v2/zones/x", `{"code":404,"message":"Could not find Zone","request_id":"REQ","type":"zone_not_found"}`},
		{"nova", "/v2.1/nonsense", `{"itemNotFound":{"code":404,"message":"The resource could not be found."}}`},
	} {
		region := "ORD"
		if tt.service == "keystone" || tt.service == "designate" {
			region = ""
		}
		req, _ := http.NewRequest("GET", c.url(tt.service, region)+tt.path, nil)
		req.Header.Set("X-Auth-Token", token)
		r := must[*http.Response](t)(http.DefaultClient.Do(req))
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if got := strings.ReplaceAll(string(b), r.Header.Get("X-Openstack-Request-Id"), "REQ"); r.StatusCode != 404 || got != tt.want {
			t.Errorf("%s%s: %s %s", tt.service, tt.path, r.Status, got)
		}
	}
	for _, s := range []string{"nova", "glance", "neutron"} {
		r := must[*http.Response](t)(http.Get(c.url(s, "IAD") + "/"))
		var doc map[string]any
		if json.NewDecoder(r.Body).Decode(&doc); r.StatusCode >= 400 || doc["versions"] == nil {
			t.Error(s, r.Status, doc)
		}
		r.Body.Close()
	}
}

func TestTwoHundredServers(t *testing.T) {
	c := start(t, fast())
	cl := connect(t, c, "ORD")
	o := cl.opts("")
	begin := time.Now()
	for i := range 200 {
		o.Name = fmt.Sprintf("collector-%d", i)
		cl.create(o, "")
	}
	seen := map[string]bool{}
	cl.until("all ACTIVE", func() bool {
		for _, s := range c.Snapshot().Servers {
			if s.Status != "ACTIVE" {
				return false
			}
			seen[s.Addresses[0]] = true
		}
		return true
	})
	if len(seen) != 200 {
		t.Errorf("%d addresses", len(seen))
	}
	t.Logf("200 servers in %v", time.Since(begin).Round(time.Millisecond))
}
