package templates

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

func update() bool { return flag.Lookup("update").Value.String() == "true" }

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	os.Exit(m.Run())
}

func input() Input {
	return Input{Service: "dripstat", Region: "ORD", Server: "collector", Hostname: "collector-1", Certificate: "edge", LoginUser: "debian"}
}

func TestGoldens(t *testing.T) {
	hostile := "#!/bin/sh\necho '{{ not a template }}' \"$x\"\n\t: - [yaml]\n"
	cases := map[string]struct {
		template string
		change   func(*Input)
	}{
		"tls-proxy":         {"tls-proxy", func(in *Input) { in.Vars = map[string]string{"upstream": "127.0.0.1:8080"} }},
		"tls-proxy-no-vars": {"tls-proxy", func(*Input) {}},
		"tls-proxy-all-vars": {"tls-proxy", func(in *Input) {
			in.CertificatePath = CertificatePath("edge", true)
			in.Health = "/up"
			in.Vars = map[string]string{
				"upstream": "10.0.0.1:80, app.internal:8080,[fd00::1]:80", "upstream_check": "/ok?x=1", "per_ip": "80", "req_rate": "500", "maxconn": "5000",
				"http_port": "8080", "https_port": "8443", "setup": hostile, "service": "java -jar /opt/app.jar", "service_user": "app", "packages": "openjdk-17-jre-headless, jq",
			}
		}},
		"plain": {"plain", func(in *Input) { in.Certificate = "" }},
		"plain-all-vars": {"plain", func(in *Input) {
			in.Vars = map[string]string{"setup": hostile, "service": "cd /srv && ./run", "packages": "jq"}
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := input()
			c.change(&in)
			got, err := Render(c.template, in)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".yaml")
			if update() {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Error(d)
			}
			if in.Vars["setup"] != "" {
				if s := written(t, got, "/usr/local/lib/failover/setup"); s != hostile {
					t.Errorf("setup script came out as %q", s)
				}
			}
			if _, err := Pack(got, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// written gives what cloud-init would put at path.
func written(t *testing.T, userData []byte, path string) string {
	t.Helper()
	var c struct {
		Files []struct{ Path, Content, Encoding string } `yaml:"write_files"`
	}
	if err := yaml.Unmarshal(userData, &c); err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Files {
		if f.Path != path {
			continue
		}
		if f.Encoding != "b64" {
			return f.Content
		}
		b, err := base64.StdEncoding.DecodeString(f.Content)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	t.Fatalf("%s is not written", path)
	return ""
}

func TestScriptsParse(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	list, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(list) == 0 {
		t.Fatal(err)
	}
	for _, f := range list {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Bootcmd [][]string `yaml:"bootcmd"`
		}
		if err := yaml.Unmarshal(b, &c); err != nil || len(c.Bootcmd) == 0 {
			t.Fatalf("%s: %v", f, err)
		}
		scripts := []string{written(t, b, "/usr/local/lib/failover/start")}
		for _, cmd := range c.Bootcmd {
			scripts = append(scripts, cmd[2])
		}
		for _, s := range scripts {
			x := exec.Command(sh, "-n")
			x.Stdin = strings.NewReader(s)
			if out, err := x.CombinedOutput(); err != nil {
				t.Errorf("%s: %v %s\n%s", f, err, out, s)
			}
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	cases := []struct{ template, name, value, want string }{
		{"tls-proxy", "per_pi", "1", `did you mean "per_ip"?`},
		{"tls-proxy", "zzz", "1", "It takes upstream, upstream_check, health"},
		{"plain", "upstream", "a:1", `template plain has no variable "upstream"`},
		{"tls-proxy", "per_ip", "many", "must be a whole number from 1"},
		{"tls-proxy", "upstream", "no-port", "must be host:port"},
		{"tls-proxy", "upstream", "a:1 \n}", "must be host:port"},
		{"tls-proxy", "health", "x y", "must be a path"},
		{"tls-proxy", "upstream_check", "/x", "needs upstream"},
		{"tls-proxy", "http_port", "443", "is the same as https_port"},
		{"plain", "setup", "apt install", "must begin with a #! line"},
		{"plain", "service_user", "a b", "is not a user name"},
		{"plain", "packages", "$(x)", "not a package name"},
		{"nope", "", "", "there are tls-proxy and plain"},
	}
	for _, c := range cases {
		in := input()
		in.Vars = map[string]string{c.name: c.value}
		_, err := Render(c.template, in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s=%q: %v; want %q in it", c.template, c.name, c.value, err, c.want)
		}
	}
	in := input()
	in.Certificate = ""
	if _, err := Render("tls-proxy", in); err == nil || !strings.Contains(err.Error(), "needs a certificate") {
		t.Error(err)
	}
	in = input()
	in.Vars = map[string]string{"per_pi": "1"}
	_, err := Render("tls-proxy", in)
	var u *UnknownVarError
	if !errors.As(err, &u) || u.Near != "per_ip" {
		t.Errorf("%#v", err)
	}
}

func TestRenderFile(t *testing.T) {
	in := input()
	in.Vars = map[string]string{"port": "80"}
	got, err := RenderFile("x", []byte("#!/bin/sh\necho {{.Service}} {{.Vars.port}} {{.CertificatePath}} {{b64 .Region}}\n"), in)
	if err != nil || string(got) != "#!/bin/sh\necho dripstat 80 /run/failover/tls/edge.pem T1JE\n" {
		t.Errorf("%s %v", got, err)
	}
	for _, src := range []string{"{{.Vars.nope}}", "{{.Nope}}", "{{"} {
		if _, err := RenderFile("mine.tmpl", []byte(src), in); err == nil || !strings.Contains(err.Error(), "mine.tmpl") {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func TestHealthIsTrue(t *testing.T) {
	cases := []struct {
		health, own, upstream string
		set                   bool
		monitor, fails        bool
	}{
		{health: "", upstream: "", monitor: true},
		{health: "/up", upstream: "a:1", monitor: true, fails: true},
		{health: "/", upstream: "a:1"}, // the front page is the service's own
		{health: "/", monitor: true},
		{health: "/up", own: "", set: true, upstream: "a:1"},
	}
	for _, c := range cases {
		in := input()
		in.Health, in.Vars = c.health, map[string]string{"upstream": c.upstream}
		if c.set {
			in.Vars["health"] = c.own
		}
		b, err := Render("tls-proxy", in)
		if err != nil {
			t.Fatal(err)
		}
		cfg := written(t, b, "/etc/failover/haproxy.cfg")
		if strings.Contains(cfg, "monitor-uri") != c.monitor || strings.Contains(cfg, "monitor fail") != c.fails {
			t.Errorf("%+v gave\n%s", c, cfg)
		}
	}
}

func TestPlans(t *testing.T) {
	if !bytes.Contains(Starter("openstack", "shop"), []byte(`service = "shop"`)) {
		t.Error("the starter plan does not name the service")
	}
	if !bytes.Contains(SandboxPlan("openstack"), []byte(`zone = "dripstat.test"`)) {
		t.Error("the sandbox plan is not there")
	}
	for _, n := range Names() {
		for _, v := range Vars(n) {
			if v.Help == "" {
				t.Errorf("%s: %s says nothing of itself", n, v.Name)
			}
		}
	}
	if Vars("mine.tmpl") != nil {
		t.Error("a file has no built-in variables")
	}
}
