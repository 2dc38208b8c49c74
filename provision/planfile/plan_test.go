package planfile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/templates"
)

func load(t *testing.T, src string, o Options) provision.Plan {
	t.Helper()
	if o.Env == nil {
		o.Env = noEnv
	}
	p, err := Parse(map[string][]byte{"failover.hcl": []byte(src)}, "testdata/full", o)
	if err != nil {
		t.Fatal(shown(err, false, 100))
	}
	return p
}

func refused(t *testing.T, src string, o Options) string {
	t.Helper()
	if o.Env == nil {
		o.Env = noEnv
	}
	_, err := Parse(map[string][]byte{"failover.hcl": []byte(src)}, "testdata/full", o)
	var ds Diagnostics
	if !errors.As(err, &ds) {
		t.Fatalf("it was taken, or failed otherwise: %v", err)
	}
	return shown(err, false, 100)
}

// alike compares plans but for their places and their text.
func alike() cmp.Options {
	return cmp.Options{
		cmpopts.IgnoreTypes(provision.Pos{}), cmpopts.IgnoreFields(provision.Plan{}, "Files", "Digest", "Dir"),
		cmp.Comparer(func(a, b secrets.Value) bool { return bytes.Equal(a.Bytes(), b.Bytes()) }),
	}
}

func fullEnv(n string) (string, bool) {
	v, ok := map[string]string{"OS_PASSWORD": "hunter2hunter2", "TSIG_SECRET": "c2VjcmV0", "FAILOVER_VAR_upstream": "10.0.0.9:80"}[n]
	return v, ok
}

func TestFull(t *testing.T) {
	p, err := Load("testdata/full/failover.hcl", Options{Env: fullEnv, Vars: map[string]string{"per_ip": "80"}})
	if err != nil {
		t.Fatal(shown(err, false, 100))
	}
	tcp := func(from, to int, who string) provision.OpenRule {
		return provision.OpenRule{Protocol: "tcp", Port: from, PortMax: to, From: who}
	}
	collector := provision.Server{
		Name: "collector", Cloud: "main", Count: 2, Image: provision.ImageWant{Pattern: "debian-12-*"},
		Flavors: []provision.FlavorWant{{Name: "m1.4xlarge"}, {VCPUs: 16, RAMMB: 61440, DiskGB: 40, Largest: true}},
		Zones:   []string{"az1", "az2"}, Networks: []string{"public"}, FloatingIP: "ext", Spread: true,
		SecurityGroups: []string{"default"},
		Open:           []provision.OpenRule{tcp(443, 443, "any"), tcp(22, 22, "me"), tcp(8000, 8100, "10.0.0.0/8"), {Protocol: "udp", Port: 53, PortMax: 53, From: "2001:db8::/32"}, {Protocol: "icmp", From: "any"}},
		KeepSSH:        true, ConfigDrive: true, Volume: provision.Volume{SizeGB: 40, Type: "ssd"}, Metadata: map[string]string{"team": "core"},
		Template: "tls-proxy", Vars: map[string]string{"upstream": "10.0.0.9:80", "per_ip": "80", "setup": "#!/bin/sh\necho ready\n", "packages": "jq,curl"},
		Certificate: "edge", SSH: provision.SSH{User: "admin", Port: 2222, Via: "me@jump.example.com:22"},
		Ready:   &provision.Ready{URL: "https://collector.dripstat.com/health", Status: 204, Body: "ok", Within: 2 * time.Minute, Successes: 5},
		Timeout: 3 * time.Minute,
	}
	london := collector
	london.Image = provision.ImageWant{Name: "debian-12-uk"}
	london.Zones = nil
	london.Zones = []string{"uk1"}
	london.Vars = map[string]string{"upstream": "10.9.0.9:80", "per_ip": "80", "setup": "#!/bin/sh\necho ready\n", "packages": "jq,curl"}
	r := *collector.Ready
	r.Status = 200
	london.Ready = &r
	collector.In = map[string]*provision.Server{"LON": &london}
	want := provision.Plan{
		Service: "dripstat", Home: "IAD", Regions: []string{"ORD", "LON"}, Operator: "203.0.113.0/24", Store: provision.Store{Dir: "state"},
		Clouds: []provision.Cloud{
			{Name: "main", OpenStack: &provision.OpenStack{Entry: "mycloud", Interface: "public"}},
			{Name: "other", OpenStack: &provision.OpenStack{AuthURLs: []string{"https://a.example.com/v3", "https://b.example.com/v3"}, CACert: "ca.pem", Username: "me", Password: secrets.NewValue([]byte("hunter2hunter2")), Project: "p", Domain: "d", Interface: "internal"}},
		},
		Secrets:      []provision.SecretStore{{Name: "sealed", Kind: "age", Age: &provision.AgeStore{File: "secrets.age", Identity: "id.txt"}}},
		Certificates: []provision.Certificate{{Name: "edge", From: []secrets.Ref{{Store: "sealed", Path: "tls/dripstat.com"}}, Names: []string{"collector.dripstat.com", "*.api.dripstat.com"}, Warn: 30 * day, Persist: true, Reload: "nginx.service"}},
		Servers: []provision.Server{collector, {
			Name: "plain", Cloud: "other", Count: 1, Image: provision.ImageWant{Name: "ubuntu-24.04"}, Flavors: []provision.FlavorWant{{VCPUs: 2}},
			Template: "own.tmpl", TemplateText: "#!/bin/sh\necho {{.Service}} {{.Vars.greeting}}\n", Vars: map[string]string{"greeting": "hello"}, SSH: provision.SSH{User: "ubuntu", Port: 22}, Timeout: 10 * time.Minute,
		}},
		Zones: []provision.Zone{
			{
				Name: "public", Zone: "dripstat.com", NameServers: []string{"ns1.dripstat.com", "192.0.2.1:53"}, Resolvers: []string{"8.8.8.8"}, Within: 10 * time.Minute,
				Provider: provision.DNSProvider{Designate: &provision.Designate{Cloud: "main"}},
				Records: []provision.Record{
					{Name: "collector", Host: "collector", Type: "A", TTL: time.Minute, To: []string{"collector"}},
					{Name: "apex", Host: "@", Type: "A", TTL: 5 * time.Minute, To: []string{"collector", "plain"}, Unproven: true},
					{Name: "docs", Host: "docs", Type: "CNAME", TTL: time.Minute, Values: []string{"pages.example.net."}, Unproven: true},
				},
			},
			{
				Name: "second", Zone: "dripstat.net", Within: 5 * time.Minute,
				Provider: provision.DNSProvider{RFC2136: &provision.RFC2136{Server: "ns1.dripstat.net", KeyName: "failover.", Algorithm: "hmac-sha512", Secret: secrets.NewValue([]byte("c2VjcmV0"))}},
				Records:  []provision.Record{{Name: "six", Host: "six", Type: "AAAA", TTL: time.Minute, To: []string{"collector"}}},
			},
			{
				Name: "third", Zone: "dripstat.org", Within: 5 * time.Minute, Provider: provision.DNSProvider{Route53: &provision.Route53{ZoneID: "Z1", Profile: "ops"}},
				Records: []provision.Record{{Name: "www", Host: "www", Type: "A", TTL: time.Minute, Values: []string{"192.0.2.7"}, Unproven: true}},
			},
		},
		Hooks: []provision.Hook{
			{Name: "warm", Run: []provision.HookArg{{Text: "./warm-cache"}, {AddressesOf: "collector"}, {Text: "--service=dripstat"}}, After: []string{"server.collector"}, Before: []string{"dns.public", "step.tell"}, Timeout: 90 * time.Second},
			{Name: "tell", Run: []provision.HookArg{{Text: "./tell"}}, After: []string{"dns.public", "certificate.edge"}, Timeout: 5 * time.Minute},
		},
	}
	if d := cmp.Diff(want, p, alike()); d != "" {
		t.Error(d)
	}
	if p.Dir != filepath.Join("testdata", "full") || len(p.Digest) != 64 || p.Servers[0].Pos.Line == 0 {
		t.Errorf("%s %s %v", p.Dir, p.Digest, p.Servers[0].Pos)
	}
	if got := p.For("LON").Servers[0]; got.Image.Name != "debian-12-uk" || got.Count != 2 {
		t.Errorf("%+v", got)
	}
}

func TestJSONIsTheSame(t *testing.T) {
	o := Options{Env: fullEnv, Vars: map[string]string{"per_ip": "80"}}
	want, err := Load("testdata/full/failover.hcl", o)
	if err != nil {
		t.Fatal(shown(err, false, 100))
	}
	src, err := os.ReadFile("testdata/json/failover.hcl.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(map[string][]byte{"failover.hcl.json": src}, "testdata/full", o)
	if err != nil {
		t.Fatal(shown(err, false, 100))
	}
	if d := cmp.Diff(want, got, alike()); d != "" {
		t.Error(d)
	}
}

func TestFolder(t *testing.T) {
	o := Options{Env: fullEnv, Vars: map[string]string{"per_ip": "80"}}
	src, err := os.ReadFile("testdata/full/failover.hcl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before, after, ok := bytes.Cut(src, []byte("dns \"public\""))
	if !ok {
		t.Fatal("the full plan has changed")
	}
	write("b.hcl", before)
	write("a.hcl", append([]byte("dns \"public\""), after...))
	write("c.hcl.json", []byte(`{"step": {"extra": {"run": ["true"]}}}`))
	write(".hidden.hcl", []byte("nonsense"))
	write("notes.txt", []byte("nonsense"))
	for _, n := range []string{"setup.sh", "own.tmpl"} {
		b, err := os.ReadFile(filepath.Join("testdata/full", n))
		if err != nil {
			t.Fatal(err)
		}
		write(n, b)
	}
	p, err := Load(dir, o)
	if err != nil {
		t.Fatal(shown(err, false, 100))
	}
	if len(p.Files) != 3 || len(p.Hooks) != 3 || len(p.Servers) != 2 || p.Dir != dir {
		t.Errorf("%v, %d hooks, %d servers", p.Files, len(p.Hooks), len(p.Servers))
	}
	write("d.hcl", []byte("service = \"again\"\ncloud \"main\" {\n  openstack {}\n}\n"))
	_, err = Load(dir, o)
	got := shown(err, false, 200)
	if !strings.Contains(got, "service is given twice; the other is at "+filepath.Join(dir, "b.hcl")+":1") || !strings.Contains(got, `there is more than one cloud "main"; the other is at`) {
		t.Error(got)
	}
}

func TestDigest(t *testing.T) {
	src := `
service = "x"
cloud "m" {
  openstack {}
}
server "a" {
  cloud = cloud.m
  image = "i"
  flavor = "f"
  user_data = file("u.sh")
}`
	dir := t.TempDir()
	digest := func(name, script string) string {
		if err := os.WriteFile(filepath.Join(dir, "u.sh"), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Parse(map[string][]byte{name: []byte(src)}, dir, Options{Env: noEnv})
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest
	}
	one := digest("failover.hcl", "#!/bin/sh\n")
	if digest("elsewhere/failover.hcl", "#!/bin/sh\n") != one {
		t.Error("the digest depends on where the plan lies")
	}
	if digest("failover.hcl", "#!/bin/sh\necho\n") == one {
		t.Error("the digest does not notice a changed script")
	}
}

func TestBuiltInPlansLoad(t *testing.T) {
	if _, err := Parse(map[string][]byte{"failover.hcl": templates.Starter("openstack", "my-shop")}, t.TempDir(), Options{Env: noEnv, Offline: true}); err != nil {
		t.Error(shown(err, false, 100))
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), caPEM(t), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Parse(map[string][]byte{"sandbox.hcl": templates.SandboxPlan("openstack")}, dir, Options{Env: noEnv})
	if err != nil {
		t.Fatal(shown(err, false, 100))
	}
	if p.Servers[0].Count != 2 || p.Certificates[0].CA == "" || p.Zones[0].Records[0].TTL != time.Minute {
		t.Errorf("%+v", p)
	}
	if _, err := Parse(map[string][]byte{"failover.hcl": templates.Starter("rackspace", "my-shop")}, t.TempDir(), Options{Env: noEnv, Offline: true}); err != nil {
		t.Error(shown(err, false, 100))
	}
	if p, err = Parse(map[string][]byte{"sandbox.hcl": templates.SandboxPlan("rackspace")}, dir, Options{Env: noEnv}); err != nil {
		t.Fatal(shown(err, false, 100))
	}
	if s := p.Servers[0]; p.Clouds[0].Rackspace == nil || s.Open != nil || !s.ConfigDrive || s.SSH.User != "root" || p.Zones[0].Provider.CloudDNS == nil {
		t.Errorf("%+v", p)
	}
	if p, err = Parse(map[string][]byte{"failover.hcl": templates.Starter("flex", "my-shop")}, t.TempDir(), Options{Env: noEnv, Offline: true}); err != nil {
		t.Fatal(shown(err, false, 100))
	}
	if here, there := p.For("DFW3").Servers[0], p.For("SJC3").Servers[0]; here.Image.Name != "Debian-12" || there.Image.Name != "Debian 12" || there.Flavors[0].Name != "gp.0.16.64" || there.FloatingIP != "PUBLICNET" {
		t.Errorf("%+v", p)
	}
	if _, err = Parse(map[string][]byte{"sandbox.hcl": templates.SandboxPlan("flex")}, dir, Options{Env: noEnv}); err != nil {
		t.Fatal(shown(err, false, 100))
	}
	for name, b := range map[string][]byte{"starter": templates.Starter("openstack", "shop"), "sandbox": templates.SandboxPlan("openstack"),
		"starter of Rackspace": templates.Starter("rackspace", "shop"), "sandbox of Rackspace": templates.SandboxPlan("rackspace"),
		"starter of Flex": templates.Starter("flex", "shop"), "sandbox of Flex": templates.SandboxPlan("flex")} {
		f, err := Format(name+".hcl", b)
		if err != nil || !bytes.Equal(f, b) {
			t.Errorf("%s is not laid out as failover fmt does: %v\n%s", name, err, cmp.Diff(string(b), string(f)))
		}
	}
}

// Everything that is called otherwise in another region can be said of it, the cloud too.
func TestWhatDiffersInARegion(t *testing.T) {
	p, err := Parse(map[string][]byte{"failover.hcl": []byte(`service = "x"
home    = "IAD3"
regions = ["DFW3", "ORD"]
cloud "flex" {
  openstack {
    auth_url = "https://keystone.api.{region}.rackspacecloud.com/v3"
    username = "u"
    password = "p"
  }
}
cloud "rax" {
  rackspace {}
}
server "web" {
  cloud           = cloud.flex
  image           = "Debian-12"
  flavor          = "gp.5.4.8"
  networks        = ["private"]
  floating_ip     = "PUBLICNET"
  zones           = ["az1"]
  security_groups = ["web"]
  volume {
    size = "40GB"
    type = "Performance"
  }
  region "DFW3" {
    image           = "Debian 12"
    flavor          = "gp.0.4.8"
    networks        = ["inside", "backend"]
    floating_ip     = "PUBLICNET2"
    zones           = ["nova"]
    security_groups = ["web-dfw"]
    volume {
      type = "Standard"
    }
  }
  region "ORD" {
    cloud           = cloud.rax
    image           = "Debian 12 (Bookworm)"
    flavor          = "general1-8"
    networks        = []
    floating_ip     = null
    zones           = []
    security_groups = []
  }
}
`)}, t.TempDir(), Options{Env: noEnv})
	if err != nil {
		t.Fatal(shown(err, false, 100))
	}
	s := p.For("DFW3").Servers[0]
	if s.Image.Name != "Debian 12" || s.Flavors[0].Name != "gp.0.4.8" || !slices.Equal(s.Networks, []string{"inside", "backend"}) || s.FloatingIP != "PUBLICNET2" ||
		!slices.Equal(s.Zones, []string{"nova"}) || !slices.Equal(s.SecurityGroups, []string{"web-dfw"}) || s.Volume != (provision.Volume{SizeGB: 40, Type: "Standard"}) {
		t.Errorf("%+v", s)
	}
	if s = p.For("ORD").Servers[0]; s.Cloud != "rax" || len(s.Networks) > 0 || s.FloatingIP != "" || s.SSH.User != "root" {
		t.Errorf("%+v", s)
	}
}

// caPEM makes a certificate of no use but to be one.
func caPEM(t *testing.T) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestEnvAndVariables(t *testing.T) {
	const head = "service = \"x\"\nstep \"s\" {\n  run = [\"true\", "
	arg := func(expr, decl string, o Options) string {
		t.Helper()
		return load(t, head+expr+"]\n}\n"+decl, o).Hooks[0].Run[1].Text
	}
	env := func(n string) (string, bool) { return "from-env", n == "E" || n == "FAILOVER_VAR_v" }
	v := "variable \"v\" {\n  default = 50\n}\n"
	text := "variable \"v\" {\n  default = \"d\"\n}\n"
	list := "variable \"v\" {\n  default = [\"a\"]\n}\n"
	bare := "variable \"v\" {}\n"
	for _, c := range []struct {
		expr, decl, want string
		o                Options
	}{
		{`env("E")`, "", "from-env", Options{Env: env}},
		{`env("NO", "d")`, "", "d", Options{}},
		{`env("NO")`, "", Placeholder, Options{Offline: true}},
		{`"a-${env("NO")}"`, "", Placeholder, Options{Offline: true}},
		{`var.v`, v, "50", Options{}},
		{`var.v`, v, "80", Options{Vars: map[string]string{"v": "80"}}},
		{`var.v`, text, "from-env", Options{Env: env}},
		{`var.v`, text, "flag", Options{Env: env, Vars: map[string]string{"v": "flag"}}},
		{`join("+", var.v)`, list, "a", Options{}},
		{`join("+", var.v)`, list, "b+c", Options{Vars: map[string]string{"v": `["b", "c"]`}}},
		{`var.v`, bare, "x", Options{Vars: map[string]string{"v": "x"}}},
		{`var.v`, bare, Placeholder, Options{Offline: true}},
		{`base64("hi")`, "", "aGk=", Options{}},
		{`upper(lower(trimspace(" aB ")))`, "", "AB", Options{}},
		{`format("%s-%03d", "a", 7)`, "", "a-007", Options{}},
		{`join(",", concat(split(" ", "a b"), ["c"]))`, "", "a,b,c", Options{}},
		{`coalesce("", null, "b")`, "", "b", Options{}},
		{`jsonencode({a = [1, true]})`, "", `{"a":[1,true]}`, Options{}},
		{`file("setup.sh")`, "", "#!/bin/sh\necho ready\n", Options{}},
	} {
		if got := arg(c.expr, c.decl, c.o); got != c.want {
			t.Errorf("%s gives %q; want %q", c.expr, got, c.want)
		}
	}
	for _, c := range []struct {
		expr, decl, want string
		o                Options
	}{
		{`env("NO")`, "", "the environment variable NO is not set", Options{}},
		{`env("NO")`, "", "export NO=...", Options{}},
		{`file("none")`, "", "there is no file none", Options{Offline: true}},
		{`file(".")`, "", "is a folder", Options{}},
		{`var.w`, v, "did you mean var.v?", Options{}},
		{`var.v`, "", `declare it: variable "v"`, Options{}},
		{`var`, v, "names no variable", Options{}},
		{`var.v`, bare, "--var v=..., or export FAILOVER_VAR_v=...", Options{}},
		{`var.v`, v, "must be a number, as its default is", Options{Vars: map[string]string{"v": "many"}}},
		{`"x"`, v, `did you mean "v"?`, Options{Vars: map[string]string{"vv": "1"}}},
		{`jion(",", [])`, "", `did you mean "join"?`, Options{}},
		{`server.x`, "", "there is no server", Options{}},
		{`"${server.x}"`, "server \"x\" {}\n", "has no value to use", Options{}},
		{`warm`, "", `text needs quotes: "warm"`, Options{}},
		{`["a"]`, "", "not a text", Options{}},
	} {
		if got := refused(t, head+c.expr+"]\n}\n"+c.decl, c.o); !strings.Contains(got, c.want) {
			t.Errorf("%s: want %q in\n%s", c.expr, c.want, got)
		}
	}
}

func TestUserData(t *testing.T) {
	p, err := Load("testdata/full/failover.hcl", Options{Env: fullEnv})
	if err != nil {
		t.Fatal(err)
	}
	for region, want := range map[string]string{"ORD": "server upstream0 10.0.0.9:80", "LON": "server upstream0 10.9.0.9:80"} {
		q := p.For(region)
		b, err := UserData(q, q.Servers[0], region, 0)
		if err != nil || !strings.Contains(string(b), want) || !strings.Contains(string(b), "ssl crt /etc/failover/tls/edge.pem") {
			t.Errorf("%s: %v\n%s", region, err, b)
		}
	}
	b, err := UserData(p, p.Servers[1], "ORD", 0)
	if err != nil || string(b) != "#!/bin/sh\necho dripstat hello\n" {
		t.Errorf("%s %v", b, err)
	}
	if _, err := UserData(p, p.Servers[1], "ORD", 10); err == nil || !strings.Contains(err.Error(), "the cloud takes 10") {
		t.Error(err)
	}
	if b, err := UserData(p, provision.Server{Name: "bare"}, "ORD", 0); !strings.Contains(string(b), "SSH HOST KEY KEYS") || err != nil {
		t.Errorf("%s %v", b, err)
	}
	if b, err := UserData(p, provision.Server{UserData: "#!/bin/sh\n"}, "ORD", 0); string(b) != "#!/bin/sh\n" || err != nil {
		t.Errorf("%s %v", b, err)
	}
}

func TestOpenDefaults(t *testing.T) {
	const cert = "secrets \"s\" {\n age {\n file = \"x\"\n }\n}\ncertificate \"c\" {\n from = secrets.s\n path = \"p\"\n names = [\"a.test\"]\n}\n"
	open := func(body string) string {
		t.Helper()
		p := load(t, "service = \"x\"\ncloud \"m\" {\n openstack {}\n}\n"+cert+"server \"a\" {\n cloud = cloud.m\n image = \"i\"\n flavor = \"f\"\n"+body+"\n}\n", Options{})
		var out []string
		for _, r := range p.Servers[0].Open {
			out = append(out, strings.Join([]string{r.Protocol, time.Duration(r.Port).String(), r.From}, " "))
		}
		return strings.Join(out, ", ")
	}
	for body, want := range map[string]string{
		"":                            "",
		"certificate = certificate.c": "tcp 443ns any, tcp 22ns me",
		"certificate = certificate.c\n template = \"tls-proxy\"":                                               "tcp 443ns any, tcp 80ns any, tcp 22ns me",
		"certificate = certificate.c\n ready {\n https = \"https://a.test:8443/\"\n}\n ssh {\n port = 2222\n}": "tcp 8443ns any, tcp 2.222µs me",
		"certificate = certificate.c\n open = []":                                                              "",
		"certificate = certificate.c\n security_groups = [\"web\"]":                                            "",
	} {
		if want == "tcp 8443ns any, tcp 2.222µs me" {
			want = "tcp 8.443µs any, tcp 2.222µs me"
		}
		if got := open(body); got != want {
			t.Errorf("%q opens %q; want %q", body, got, want)
		}
	}
}
