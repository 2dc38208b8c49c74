package openstack

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

func env(pairs ...string) func(string) (string, bool) {
	return func(k string) (string, bool) {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == k {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

const cloudsYAML = `
clouds:
  first:
    region_name: IGNORED
    auth: &auth
      auth_url: https://one.example:5000/v3
      username: demo
      password: 0123
      project_name: p
      user_domain_name: Users
      project_domain_id: pd
    interface: internalURL
  second:
    auth: {<<: *auth, auth_url: "https://a.example/identity/, https://b.example/identity/v2.0", domain_name: x}
  appcred:
    auth_type: v3applicationcredential
    auth: {auth_url: https://one.example, application_credential_id: id, application_credential_secret: s, project_name: ignored}
  byname:
    auth: {auth_url: https://one.example, application_credential_name: n, application_credential_secret: s, username: demo}
  token:
    auth_type: token
    auth: {auth_url: https://one.example, token: t, project_id: pid}
  insecure: {verify: false, auth: *auth}
  nourl: {auth: {username: x, password: y}}
  nopassword: {auth: {auth_url: https://one.example, username: x}}
  wrongtype: {auth_type: v3kerberos, auth: *auth}
`

func TestConfigure(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  provision.OpenStack
		env  []string
		want func(settings) bool
		err  string
	}{
		{name: "password as it is written", cfg: provision.OpenStack{Entry: "first"}, want: func(s settings) bool {
			return s.auth.Password == "0123" && s.auth.DomainName == "Users" && s.auth.DomainID == "" && s.scope.ProjectName == "p" &&
				s.scope.DomainID == "pd" && s.iface == "internal" && s.urls[0] == "https://one.example:5000/v3/"
		}},
		{name: "two identity URLs", cfg: provision.OpenStack{Entry: "second"}, want: func(s settings) bool {
			return len(s.urls) == 2 && s.urls[0] == "https://a.example/identity/v3/" && s.urls[1] == "https://b.example/identity/v3/" && s.iface == "public"
		}},
		{name: "application credential", cfg: provision.OpenStack{Entry: "appcred"}, want: func(s settings) bool {
			return s.auth.ApplicationCredentialID == "id" && s.auth.ApplicationCredentialSecret == "s" && s.scope == nil && s.auth.Username == ""
		}},
		{name: "application credential by name", cfg: provision.OpenStack{Entry: "byname"}, want: func(s settings) bool {
			return s.auth.ApplicationCredentialName == "n" && s.auth.Username == "demo" && s.auth.DomainID == "default"
		}},
		{name: "token", cfg: provision.OpenStack{Entry: "token"}, want: func(s settings) bool { return s.auth.TokenID == "t" && s.scope.ProjectID == "pid" }},
		{name: "OS_CLOUD", env: []string{"OS_CLOUD", "first"}, want: func(s settings) bool { return s.auth.Username == "demo" }},
		{name: "OS_*", env: []string{"OS_AUTH_URL", "http://x:5000", "OS_USERNAME", "u", "OS_PASSWORD", "p", "OS_PROJECT_NAME", "q", "OS_REGION_NAME", "NO"},
			want: func(s settings) bool {
				return s.urls[0] == "http://x:5000/v3/" && s.auth.DomainID == "default" && s.scope.DomainID == "default"
			}},
		{name: "the plan alone", cfg: provision.OpenStack{AuthURLs: []string{"https://x"}, Username: "u", Password: secrets.NewValue([]byte("p")), Project: "q", Domain: "D"},
			want: func(s settings) bool {
				return s.auth.DomainName == "D" && s.scope.DomainName == "D" && s.auth.Password == "p"
			}},
		{name: "the plan over an entry", cfg: provision.OpenStack{Entry: "first", Project: "other", Interface: "public", AuthURLs: []string{"https://x"}},
			want: func(s settings) bool {
				return s.scope.ProjectName == "other" && s.iface == "public" && s.urls[0] == "https://x/v3/" && s.auth.Username == "demo"
			}},
		{name: "no such entry", cfg: provision.OpenStack{Entry: "frist"}, err: `clouds.yaml has no entry "frist"`},
		{name: "insecure", cfg: provision.OpenStack{Entry: "insecure"}, err: "refuses"},
		{name: "no URL", cfg: provision.OpenStack{Entry: "nourl"}, err: `entry "nourl": auth_url is missing`},
		{name: "no password", cfg: provision.OpenStack{Entry: "nopassword"}, err: "password is missing"},
		{name: "a method that is not spoken", cfg: provision.OpenStack{Entry: "wrongtype"}, err: "v3kerberos"},
		{name: "nothing", err: "no credentials"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := configure(tt.cfg, "ORD", Options{Env: env(tt.env...), CloudsYAML: []byte(cloudsYAML)})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("%v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !tt.want(s) {
				t.Errorf("%+v %+v", s, s.scope)
			}
		})
	}
	_, err := configure(provision.OpenStack{Entry: "frist"}, "ORD", Options{Env: env(), CloudsYAML: []byte(cloudsYAML)})
	var pe *provision.Error
	if !errors.As(err, &pe) || !strings.Contains(pe.Hint, `did you mean "first"?`) || !strings.Contains(pe.Hint, "second") {
		t.Errorf("hint: %+v", pe)
	}
}

// TestRegionOfAnIdentityURL: each region has its own, where the URL has a place for it.
func TestRegionOfAnIdentityURL(t *testing.T) {
	for _, tt := range []struct{ url, region, want, err string }{
		{"https://keystone.api.{region}.rackspacecloud.com/v3", "DFW3", "https://keystone.api.dfw3.rackspacecloud.com/v3/", ""},
		{"https://keystone.api.{region_name}.rackspacecloud.com:5000", "SJC3", "https://keystone.api.sjc3.rackspacecloud.com:5000/v3/", ""},
		{"https://cloud.example/{region}/identity/v3", "DFW3", "https://cloud.example/DFW3/identity/v3/", ""},
		{"https://cloud.example/identity/v3", "DFW3", "https://cloud.example/identity/v3/", ""},
		{"https://{zone}.cloud.example/v3", "DFW3", "", "a place for something else than a region"},
		{"https://keystone.{region}.cloud.example/v3", "evil.example/x", "", `region "evil.example/x" cannot stand in it`},
		{"https://keystone.{region}.cloud.example/v3", "", "", `region "" cannot stand in it`},
	} {
		cfg := provision.OpenStack{AuthURLs: []string{tt.url}, Username: "u", Password: secrets.NewValue([]byte("p")), Project: "q"}
		s, err := configure(cfg, tt.region, Options{Env: env()})
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s in %q: %v", tt.url, tt.region, err)
			}
		case err != nil || len(s.urls) != 1 || s.urls[0] != tt.want || s.regional != strings.Contains(tt.url, "{"):
			t.Errorf("%s in %q: %q (its own: %v), %v", tt.url, tt.region, s.urls, s.regional, err)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("x/openstack/clouds.yaml", "clouds: {c: {profile: pub, auth: {username: u, project_name: p}}}")
	write("x/openstack/secure.yaml", "clouds: {c: {auth: {password: secret}}, other: {auth: {password: x}}}")
	write("x/openstack/clouds-public.yaml", "public-clouds: {pub: {auth: {auth_url: 'https://pub', username: theirs}}}")
	o := Options{Env: env("XDG_CONFIG_HOME", filepath.Join(dir, "x"), "HOME", dir), Dir: dir}
	s, err := configure(provision.OpenStack{Entry: "c"}, "ORD", o)
	if err != nil || s.auth.Password != "secret" || s.auth.Username != "u" || s.urls[0] != "https://pub/v3/" {
		t.Errorf("%+v %v", s, err)
	}
	write("clouds.yaml", "clouds: {c: {auth: {auth_url: 'https://near', username: u, password: p}}}")
	if s, err = configure(provision.OpenStack{Entry: "c"}, "ORD", o); err != nil || s.urls[0] != "https://near/v3/" {
		t.Errorf("%+v %v", s, err)
	}
	o.Env = env("OS_CLIENT_CONFIG_FILE", filepath.Join(dir, "none.yaml"))
	if _, err = configure(provision.OpenStack{Entry: "c"}, "ORD", o); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("%v", err)
	}
	write("bad.yaml", "clouds: [\n")
	o.Env = env("OS_CLIENT_CONFIG_FILE", filepath.Join(dir, "bad.yaml"))
	if _, err = configure(provision.OpenStack{Entry: "c"}, "ORD", o); err == nil || !strings.Contains(err.Error(), "bad.yaml") {
		t.Errorf("%v", err)
	}
	o.Env = env("XDG_CONFIG_HOME", filepath.Join(dir, "empty"), "HOME", dir)
	o.Dir = filepath.Join(dir, "empty")
	if _, err = configure(provision.OpenStack{Entry: "c"}, "ORD", o); err == nil || !strings.Contains(err.Error(), "no clouds.yaml") {
		t.Errorf("%v", err)
	}
}
