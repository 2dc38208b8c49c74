package preflight

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

// at is when the tests take place; the sandbox's certificates are made with the true clock.
var at = time.Now()

// good is a plan, and what was read for it, of which nothing is to be said.
func good() (provision.Plan, seen) {
	plan := provision.Plan{
		Service: "shop", Home: "IAD",
		Clouds: []provision.Cloud{{Name: "main"}},
		Servers: []provision.Server{{Name: "web", Pos: provision.Pos{File: "failover.hcl", Line: 7}, Cloud: "main", Count: 2,
			Image: provision.ImageWant{Name: "debian-12"}, Flavors: []provision.FlavorWant{{Name: "big"}, {VCPUs: 2, RAMMB: 4096}},
			Networks: []string{"public"}, SecurityGroups: []string{"default"}, Spread: true,
			Open: []provision.OpenRule{{Protocol: "tcp", Port: 22, From: "me"}}}},
		Zones: []provision.Zone{{Name: "public", Zone: "shop.test", Records: []provision.Record{
			{Name: "www", Host: "www", Type: "A", TTL: 5 * time.Minute, To: []string{"web"}}}}},
	}
	set := provision.RRset{Name: "www.shop.test.", Type: "A", TTL: 60, Values: []string{"203.0.113.10"}}
	s := seen{
		inventories: map[string]provision.Inventory{"main": {
			Cloud: "main", Region: "ORD", Regions: []string{"IAD", "ORD"},
			Images:  map[string][]provision.Image{"web": {{ID: "i1", Name: "debian-12", Status: "active", MinDiskGB: 3, MinRAMMB: 512, Architecture: "x86_64"}}},
			Flavors: []provision.Flavor{{ID: "f1", Name: "small", VCPUs: 2, RAMMB: 4096, DiskGB: 20}, {ID: "f2", Name: "big", VCPUs: 16, RAMMB: 65536, DiskGB: 100}, {ID: "f3", Name: "diskless", VCPUs: 32, RAMMB: 131072}},
			Zones:   []string{"az1", "az2"},
			Networks: []provision.Network{{ID: "n1", Name: "public", External: true, Shared: true, Active: true, IPv4: true, Free: 100},
				{ID: "n2", Name: "inside", Active: true, IPv4: true, Free: -1}},
			SecurityGroups: []provision.NamedID{{ID: "g1", Name: "default"}},
			Quotas: map[string]provision.Quota{"instances": {Limit: 100}, "cores": {Limit: 1000}, "ram": {Limit: -1}, "floatingip": {Limit: 10},
				"security_group": {Limit: 10}, "server_groups": {Limit: 10}},
			Local: netip.MustParseAddr("198.51.100.7"), Remote: netip.MustParseAddr("203.0.113.1"),
		}},
		certificates: map[string]secrets.Got{},
		records:      map[string]provision.RecordFacts{"www.shop.test./A": {Old: set, Served: []provision.RRset{set}, NameServers: []string{"ns1.shop.test"}}},
		userData:     map[string][]byte{"web": []byte("#cloud-config\n")},
	}
	return plan, s
}

// line is a finding as a table has it.
func line(f provision.Finding) string { return string(f.Weight) + " " + f.String() }

func TestNothingToSay(t *testing.T) {
	plan, s := good()
	f := judge(plan, "ORD", s, at)
	if len(f.Findings) != 0 || f.Refused() {
		t.Fatalf("findings: %v", f.Findings)
	}
	w := f.Servers["web"]
	var rungs []string
	for _, r := range w.Rungs {
		rungs = append(rungs, r.Flavor.Name)
	}
	if d := cmp.Diff([]string{"big", "small"}, rungs); d != "" || w.Image.ID != "i1" || w.Networks[0].ID != "n1" || w.Groups[0].ID != "g1" || string(w.UserData) == "" {
		t.Errorf("facts: %+v\n%s", w, d)
	}
	if f.Operator != "198.51.100.7/32" || f.Checks < 10 || f.Region != "ORD" || !f.At.Equal(at) {
		t.Errorf("facts: %+v", f)
	}
}

// Each finding by itself: one thing is changed of what is good, and that alone is said.
func TestFindings(t *testing.T) {
	type edit func(p *provision.Plan, s *seen)
	inv := func(f func(i *provision.Inventory)) edit {
		return func(_ *provision.Plan, s *seen) {
			i := s.inventories["main"]
			f(&i)
			s.inventories["main"] = i
		}
	}
	web := func(f func(s *provision.Server)) edit { return func(p *provision.Plan, _ *seen) { f(&p.Servers[0]) } }
	both := func(es ...edit) edit {
		return func(p *provision.Plan, s *seen) {
			for _, e := range es {
				e(p, s)
			}
		}
	}
	image := func(f func(i *provision.Image)) edit {
		return inv(func(i *provision.Inventory) { f(&i.Images["web"][0]) })
	}
	record := func(f func(r *provision.RecordFacts)) edit {
		return func(_ *provision.Plan, s *seen) {
			r := s.records["www.shop.test./A"]
			f(&r)
			s.records["www.shop.test./A"] = r
		}
	}
	quota := func(name string, limit, used int) edit {
		return inv(func(i *provision.Inventory) { i.Quotas[name] = provision.Quota{Limit: limit, Used: used} })
	}
	for _, tt := range []struct {
		name string
		edit edit
		want []string
	}{
		{"no image", inv(func(i *provision.Inventory) { i.Images["web"] = nil }), []string{`refuse image: server.web: ORD has no image "debian-12"`}},
		{"image not active", image(func(i *provision.Image) { i.Status = "queued" }), []string{"refuse image: server.web: image debian-12 is queued, not active"}},
		{"two images of a name", inv(func(i *provision.Inventory) { i.Images["web"] = append(i.Images["web"], i.Images["web"][0]) }),
			[]string{`warn image: server.web: 2 images are called "debian-12"; the newest, i1, is taken`}},
		{"two images of a pattern", both(inv(func(i *provision.Inventory) { i.Images["web"] = append(i.Images["web"], i.Images["web"][0]) }),
			web(func(s *provision.Server) { s.Image = provision.ImageWant{Pattern: "debian-*"} })), nil},
		{"a flavor that is not there, with another rung", web(func(s *provision.Server) { s.Flavors[0].Name = "huge" }), []string{`warn flavor: server.web: there is no flavor "huge"`}},
		{"no flavor at all", web(func(s *provision.Server) {
			s.Flavors = []provision.FlavorWant{{Name: "huge"}, {VCPUs: 99, RAMMB: 1, DiskGB: 1}}
		}),
			[]string{`refuse flavor: server.web: no flavor is the smallest with 99 vCPU, 1 MiB, 1 GB disk or more`, `refuse flavor: server.web: there is no flavor "huge"`}},
		{"a disabled flavor", inv(func(i *provision.Inventory) { i.Flavors[1].Disabled = true }), []string{"warn flavor: server.web: flavor big is disabled"}},
		{"no disk and no volume", web(func(s *provision.Server) { s.Flavors = []provision.FlavorWant{{Name: "diskless"}} }),
			[]string{"refuse flavor: server.web: flavor diskless has no disk and the plan names no volume { size = ... } to boot from"}},
		{"no disk but a volume", web(func(s *provision.Server) {
			s.Flavors, s.Volume = []provision.FlavorWant{{Name: "diskless"}}, provision.Volume{SizeGB: 10}
		}), nil},
		{"a volume too small", both(web(func(s *provision.Server) {
			s.Flavors, s.Volume = []provision.FlavorWant{{Name: "diskless"}}, provision.Volume{SizeGB: 2}
		})), []string{"refuse flavor: server.web: the volume of 2 GB is too small for image debian-12, which needs 3"}},
		{"a disk too small", both(image(func(i *provision.Image) { i.MinDiskGB = 50 }), web(func(s *provision.Server) { s.Flavors = []provision.FlavorWant{{Name: "small"}} })),
			[]string{"refuse flavor: server.web: flavor small has a disk of 20 GB, image debian-12 needs 50"}},
		{"too little memory", both(image(func(i *provision.Image) { i.MinRAMMB = 8192 }), web(func(s *provision.Server) { s.Flavors = []provision.FlavorWant{{Name: "small"}} })),
			[]string{"refuse flavor: server.web: flavor small has 4096 MiB of memory, image debian-12 needs 8192"}},
		{"another architecture", both(image(func(i *provision.Image) { i.Architecture = "aarch64" }), inv(func(i *provision.Inventory) { i.Flavors[1].Arch = "x86_64" })),
			[]string{"warn flavor: server.web: flavor big is x86_64, image debian-12 is aarch64"}},
		{"no such zone", web(func(s *provision.Server) { s.Zones = []string{"az1", "az9"} }), []string{`refuse zone: server.web: ORD has no availability zone "az9" that is up`}},
		{"no such network", web(func(s *provision.Server) { s.Networks = []string{"moon"} }), []string{`refuse network: server.web: ORD has no network "moon"`}},
		{"network down", inv(func(i *provision.Inventory) { i.Networks[0].Active = false }), []string{"warn network: server.web: network public is not ACTIVE"}},
		{"network full", inv(func(i *provision.Inventory) { i.Networks[0].Free = 1 }), []string{"refuse network: server.web: network public has 1 free addresses, 2 are needed"}},
		{"external and nobody's to plug into", inv(func(i *provision.Inventory) { i.Networks[0].Shared = false }),
			[]string{"warn network: server.web: network public is external and not shared: most clouds let nobody but administrators put servers into it"}},
		{"floating from a network that is not external", web(func(s *provision.Server) { s.FloatingIP = "inside" }),
			[]string{"refuse network: server.web: network inside is not external: it has no floating addresses"}},
		{"AAAA without IPv6", func(p *provision.Plan, _ *seen) {
			p.Zones[0].Records = append(p.Zones[0].Records, provision.Record{Host: "www", Type: "AAAA", To: []string{"web"}})
		}, []string{"refuse network: server.web: an AAAA record points to it, but none of its networks has IPv6"}},
		{"no such security group", web(func(s *provision.Server) { s.SecurityGroups = []string{"fort"} }), []string{`refuse security group: server.web: ORD has no security group "fort"`}},
		{"instances", quota("instances", 10, 9), []string{"refuse quota: cloud.main: ORD: the plan needs 2 instances, 9 of 10 are used"}},
		{"cores", quota("cores", 31, 0), []string{"refuse quota: cloud.main: ORD: the plan needs 32 cores, 0 of 31 are used"}},
		{"ram", quota("ram", 1000, 0), []string{"refuse quota: cloud.main: ORD: the plan needs 131072 MiB of memory, 0 of 1000 are used"}},
		{"security groups", quota("security_group", 5, 5), []string{"refuse quota: cloud.main: ORD: the plan needs 1 security group, 5 of 5 are used"}},
		{"server groups", quota("server_groups", 5, 5), []string{"refuse quota: cloud.main: ORD: the plan needs 1 server group, 5 of 5 are used"}},
		{"floating addresses", both(web(func(s *provision.Server) { s.FloatingIP = "public" }), quota("floatingip", 1, 0)),
			[]string{"refuse quota: cloud.main: ORD: the plan needs 2 floating addresses, 0 of 1 are used"}},
		{"exactly enough", quota("instances", 2, 0), []string{"note quota: cloud.main: 2 of 2 instances used after this run"}},
		{"nearly all", quota("cores", 34, 0), []string{"note quota: cloud.main: 32 of 34 cores used after this run"}},
		{"a clock that is wrong", inv(func(i *provision.Inventory) { i.Skew = -90 * time.Second }), []string{"warn clock: cloud.main: this machine's clock is 1m30s away from the cloud's"}},
		{"a clock that is nearly right", inv(func(i *provision.Inventory) { i.Skew = 29 * time.Second }), nil},
		{"servers of an earlier run", inv(func(i *provision.Inventory) {
			i.Servers = []provision.Live{{Run: "01JDXR4000AAAA"}, {Run: "01JDXR4000AAAA"}, {Run: "01JDXR5000BBBB"}}
		}),
			[]string{"note earlier run: cloud.main: ORD has 1 server of run 01JDXR5000 of this service", "note earlier run: cloud.main: ORD has 2 servers of run 01JDXR4000 of this service"}},
		{"behind a translation", inv(func(i *provision.Inventory) { i.Local = netip.MustParseAddr("192.168.1.7") }),
			[]string{`refuse operator: server.web: "me" cannot be told: this machine is 192.168.1.7 behind an address translation, and the cloud is outside`}},
		{"private on both ends", inv(func(i *provision.Inventory) {
			i.Local, i.Remote = netip.MustParseAddr("192.168.1.7"), netip.MustParseAddr("10.0.0.1")
		}), nil},
		{"a wrong --me", func(p *provision.Plan, _ *seen) { p.Operator = "home" }, []string{`refuse operator: operator: "home" is neither`}},
		{"a new name", record(func(r *provision.RecordFacts) { r.Old.Values, r.Served[0].Values = nil, nil }), []string{"note dns: dns.public: www.shop.test has no A record yet: it will be made"}},
		{"a long TTL", record(func(r *provision.RecordFacts) { r.Old.TTL = 3600 }),
			[]string{"note dns: dns.public: www.shop.test has a TTL of 3600 s: resolvers may hold the old address that long after the move; keep it at 300 s in good times"}},
		{"more addresses than a set takes", func(_ *provision.Plan, s *seen) { s.most = map[string]int{"public": 1} },
			[]string{"refuse dns: dns.public: www.shop.test would get 2 addresses, and the provider takes 1 in one record set"}},
		{"as many addresses as a set takes", func(_ *provision.Plan, s *seen) { s.most = map[string]int{"public": 2} }, nil},
		{"a name server of another mind", record(func(r *provision.RecordFacts) { r.Served = []provision.RRset{{Values: []string{"203.0.113.99"}}} }),
			[]string{"warn dns: dns.public: ns1.shop.test serves 203.0.113.99 for www.shop.test, the provider holds 203.0.113.10"}},
		{"a name server of the same mind in another order", record(func(r *provision.RecordFacts) {
			r.Old.Values, r.Served = []string{"203.0.113.10", "203.0.113.9"}, []provision.RRset{{Values: []string{"203.0.113.9", "203.0.113.10"}}}
		}), nil},
		{"what reading found comes along", func(_ *provision.Plan, s *seen) {
			s.findings = []provision.Finding{{Weight: provision.Warn, Check: "x", What: "said"}}
		}, []string{"warn x: said"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, s := good()
			tt.edit(&plan, &s)
			f := judge(plan, "ORD", s, at)
			var got []string
			refuse := false
			for _, x := range f.Findings {
				got = append(got, line(x))
				refuse = refuse || x.Weight == provision.Refuse
				if x.Thing == "server.web" && x.Pos.Line != 7 {
					t.Errorf("%s has no place in the plan", line(x))
				}
			}
			slices.Sort(got)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if f.Refused() != refuse {
				t.Errorf("refused: %v", f.Refused())
			}
		})
	}
}

// Every reason at once, refusals first.
func TestAllFindingsInOrder(t *testing.T) {
	plan, s := good()
	i := s.inventories["main"]
	i.Images["web"], i.Skew = nil, time.Hour
	i.Servers = []provision.Live{{Run: "01JDXR4000AAAA"}}
	s.inventories["main"] = i
	plan.Servers[0].Networks = []string{"moon"}
	var got []string
	for _, f := range judge(plan, "ORD", s, at).Findings {
		got = append(got, string(f.Weight)+" "+f.Check)
	}
	if d := cmp.Diff([]string{"refuse image", "refuse network", "warn clock", "note earlier run"}, got); d != "" {
		t.Errorf("findings (-want +got):\n%s", d)
	}
}

func TestPickFlavor(t *testing.T) {
	all := []provision.Flavor{
		{Name: "b", VCPUs: 8, RAMMB: 16384, DiskGB: 80}, {Name: "a", VCPUs: 8, RAMMB: 16384, DiskGB: 80}, {Name: "c", VCPUs: 4, RAMMB: 16384, DiskGB: 80},
		{Name: "big", VCPUs: 64, RAMMB: 262144, DiskGB: 500}, {Name: "gone", VCPUs: 4, RAMMB: 8192, DiskGB: 80, Disabled: true}, {Name: "diskless", VCPUs: 4, RAMMB: 8192},
	}
	for _, tt := range []struct {
		want   provision.FlavorWant
		volume int
		name   string
	}{
		{provision.FlavorWant{VCPUs: 4, RAMMB: 8192}, 0, "c"},
		{provision.FlavorWant{VCPUs: 8, RAMMB: 8192}, 0, "a"},
		{provision.FlavorWant{VCPUs: 4, RAMMB: 8192}, 50, "diskless"},
		{provision.FlavorWant{VCPUs: 4, RAMMB: 8192, DiskGB: 60}, 50, "c"},
		{provision.FlavorWant{Largest: true}, 0, "big"},
		{provision.FlavorWant{VCPUs: 65}, 0, ""},
	} {
		got, why := pick(tt.want, all, provision.Image{}, provision.Volume{SizeGB: tt.volume})
		if got.Name != tt.name || (why == "") != (tt.name != "") {
			t.Errorf("%s, volume %d: %q, %q; want %q", tt.want, tt.volume, got.Name, why, tt.name)
		}
	}
}

func TestCertificateFindings(t *testing.T) {
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	other, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		names []string // in the certificate
		valid time.Duration
		ca    []byte
		cut   bool // the intermediate is left out
		want  []string
	}{
		{"good", []string{"www.shop.test"}, 90 * 24 * time.Hour, ca.PEM(), false, nil},
		{"a wildcard", []string{"*.shop.test"}, 90 * 24 * time.Hour, ca.PEM(), false, nil},
		{"another name", []string{"www.other.test"}, 90 * 24 * time.Hour, ca.PEM(), false, []string{"refuse"}},
		{"expired", []string{"www.shop.test"}, -time.Hour, ca.PEM(), false, []string{"refuse"}},
		{"expires soon", []string{"www.shop.test"}, 5 * 24 * time.Hour, ca.PEM(), false, []string{"warn"}},
		{"an unknown root", []string{"www.shop.test"}, 90 * 24 * time.Hour, other.PEM(), false, []string{"refuse"}},
		{"a chain with a gap", []string{"www.shop.test"}, 90 * 24 * time.Hour, ca.PEM(), true, []string{"refuse"}},
		{"a CA that is none", []string{"www.shop.test"}, 90 * 24 * time.Hour, []byte("no PEM"), false, []string{"refuse"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chain, key, err := ca.IssueFor(tt.valid, tt.names...)
			if err != nil {
				t.Fatal(err)
			}
			if tt.cut {
				end := "-----END CERTIFICATE-----\n"
				chain = chain[:strings.Index(string(chain), end)+len(end)]
			}
			c, err := secrets.ParseCertificate(chain, key)
			if err != nil {
				t.Fatal(err)
			}
			plan, s := good()
			plan.Certificates = []provision.Certificate{{Name: "edge", From: []secrets.Ref{{Store: "vault"}}, Names: []string{"www.shop.test"}, CA: string(tt.ca), Warn: 21 * 24 * time.Hour}}
			s.certificates["edge"] = secrets.Got{Tried: secrets.Tried{Ref: secrets.Ref{Store: "vault"}, Certificate: c}}
			f := judge(plan, "ORD", s, time.Now())
			var got []string
			for _, x := range f.Findings {
				got = append(got, string(x.Weight))
				if x.Check != "certificate" || x.Thing != "certificate.edge" {
					t.Errorf("unexpected: %s", line(x))
				}
			}
			if d := cmp.Diff(tt.want, slices.Compact(got)); d != "" {
				t.Errorf("weights (-want +got):\n%s\n%v", d, f.Findings)
			}
			if len(tt.want) == 0 && f.Certificates["edge"].Fingerprint != c.Fingerprint() {
				t.Errorf("facts: %+v", f.Certificates["edge"])
			}
		})
	}
}

// What each place of a ladder said is told: as a warning where another place made up for it, else as the refusal.
func TestLadderFindings(t *testing.T) {
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.Issue("www.shop.test")
	if err != nil {
		t.Fatal(err)
	}
	c, err := secrets.ParseCertificate(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	vault, file := secrets.Ref{Store: "vault"}, secrets.Ref{Store: "file"}
	away := secrets.Tried{Ref: vault, Err: &secrets.Error{What: "Vault is sealed", Hint: "unseal it", Away: true}}
	wrong := secrets.Tried{Ref: vault, Err: errors.New("the private key does not belong to the certificate")}
	for name, tt := range map[string]struct {
		got  secrets.Got
		err  error
		want []string
	}{
		"the second": {secrets.Got{Tried: secrets.Tried{Ref: file, Certificate: c, Remarks: []secrets.Remark{{Warn: true, What: "in the open", Hint: "seal it"}}}, Passed: []secrets.Tried{away}}, nil, []string{
			"warn certificate: certificate.edge: secrets.file: in the open; next: seal it",
			"warn certificate: certificate.edge: secrets.vault: Vault is sealed; it is taken from secrets.file; next: unseal it"}},
		"wrong": {secrets.Got{}, &secrets.LadderError{Tried: []secrets.Tried{wrong}}, []string{
			"refuse certificate: certificate.edge: secrets.vault: the private key does not belong to the certificate (what is wrong is not made up for by the next place); next: "}},
		"none": {secrets.Got{}, &secrets.LadderError{Tried: []secrets.Tried{away, {Ref: file, Err: &secrets.Error{What: "no such file", Away: true}}}}, []string{
			"refuse certificate: certificate.edge: secrets.file: no such file; next: ",
			"refuse certificate: certificate.edge: secrets.vault: Vault is sealed; next: unseal it"}},
	} {
		t.Run(name, func(t *testing.T) {
			plan, s := good()
			plan.Certificates = []provision.Certificate{{Name: "edge", From: []secrets.Ref{vault, file}, Names: []string{"www.shop.test"}, CA: string(ca.PEM())}}
			f := Check(t.Context(), plan, "ORD", Sources{
				Inventory: map[string]func(context.Context, []provision.Server) (provision.Inventory, error){"main": func(context.Context, []provision.Server) (provision.Inventory, error) {
					return s.inventories["main"], nil
				}},
				Certificate: func(context.Context, string) (secrets.Got, error) { return tt.got, tt.err },
				Render:      func(provision.Server, int) ([]byte, error) { return nil, nil },
			})
			var got []string
			for _, x := range f.Findings {
				got = append(got, fmt.Sprintf("%s; next: %s", line(x), x.Hint))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if tt.err == nil && f.Certificates["edge"].Source != "secrets.file" {
				t.Errorf("facts: %+v", f.Certificates["edge"])
			}
		})
	}
}

// fakeZone answers from a map.
type fakeZone struct {
	sets map[string]provision.RRset
	ns   []string
	err  error
}

func (z fakeZone) Get(_ context.Context, name, typ string) (provision.RRset, error) {
	return z.sets[provision.RecordKey(name, typ)], z.err
}
func (z fakeZone) NameServers(context.Context) ([]string, error) { return z.ns, nil }

// Reading is complete and at once: what fails or hangs becomes a finding, and hides nothing else.
func TestCheckReportsEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan, s := good()
		plan.Clouds = append(plan.Clouds, provision.Cloud{Name: "dark"})
		plan.Certificates = []provision.Certificate{{Name: "edge"}}
		src := Sources{
			Inventory: map[string]func(context.Context, []provision.Server) (provision.Inventory, error){
				"main": func(context.Context, []provision.Server) (provision.Inventory, error) {
					time.Sleep(3 * time.Second)
					return s.inventories["main"], nil
				},
				"dark": func(ctx context.Context, _ []provision.Server) (provision.Inventory, error) {
					<-ctx.Done()
					return provision.Inventory{}, &provision.Error{Thing: "cloud.dark", What: "keystone does not answer", Hint: "look at it"} // said once
				},
			},
			Zones: map[string]Zone{"public": fakeZone{sets: map[string]provision.RRset{"www.shop.test./A": s.records["www.shop.test./A"].Old}, ns: []string{"ns1", "ns2"}}},
			Certificate: func(context.Context, string) (secrets.Got, error) {
				return secrets.Got{}, errors.New("the vault is sealed")
			},
			Ask: func(_ context.Context, server, _, _ string) (provision.RRset, error) {
				if server == "ns2" {
					return provision.RRset{}, errors.New("ns2 is silent")
				}
				return s.records["www.shop.test./A"].Old, nil
			},
			Render: func(provision.Server, int) ([]byte, error) { return nil, errors.New("the template does not parse") },
		}
		began := time.Now()
		f := Check(t.Context(), plan, "ORD", src)
		if took := time.Since(began); took != deadline {
			t.Errorf("it took %s", took)
		}
		var got []string
		for _, x := range f.Findings {
			got = append(got, fmt.Sprintf("%s; next: %s", line(x), x.Hint))
		}
		want := []string{
			"refuse certificate: certificate.edge: the vault is sealed; next: ",
			"refuse identity: cloud.dark: keystone does not answer; next: look at it",
			"refuse template: server.web: the template does not parse; next: ",
			"warn dns: dns.public: ns2 is silent; next: ",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("findings (-want +got):\n%s", d)
		}
		if r := f.Records["www.shop.test./A"]; len(r.NameServers) != 1 || len(r.Served) != 1 {
			t.Errorf("a silent name server is waited for: %+v", r)
		}
	})
}

// A zone whose name servers are all silent could not be proven to have moved.
func TestAllNameServersSilent(t *testing.T) {
	plan, s := good()
	plan.Servers, plan.Clouds = nil, nil
	f := Check(t.Context(), plan, "ORD", Sources{
		Zones: map[string]Zone{"public": fakeZone{sets: map[string]provision.RRset{"www.shop.test./A": s.records["www.shop.test./A"].Old}, ns: []string{"ns1"}}},
		Ask: func(context.Context, string, string, string) (provision.RRset, error) {
			return provision.RRset{}, errors.New("no answer")
		},
	})
	if !f.Refused() || !strings.Contains(f.Findings[0].What, "no authoritative name server answers: no answer") {
		t.Errorf("findings: %v", f.Findings)
	}
}
