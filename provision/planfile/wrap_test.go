package planfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/templates"
)

const wrapPlan = `service = "s"
cloud "main" {
  openstack {
    cloud = "c"
  }
}
secrets "vault" {
  vault {
    address = "https://vault.example.com:8200"
  }
}
certificate "edge" {
  from  = secrets.vault
  path  = "tls/edge"
  names = ["www.example.com"]
}
server "web" {
  cloud       = cloud.main
  image       = "debian-12"
  flavor      = "m1"
  template    = "plain"
  certificate = certificate.edge
  deliver {
    by = "vault-wrap"
  }
}
`

func loadWrap(t *testing.T, edits ...string) (provision.Plan, error) {
	t.Helper()
	text := wrapPlan
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("the plan does not hold %q", edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	path := filepath.Join(t.TempDir(), "failover.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, Options{})
}

// What a server cannot fetch by itself is refused, with the reason.
func TestWrapRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edits []string
		want  string
	}{
		{"no such way", []string{`"vault-wrap"`, `"vault-warp"`}, `did you mean "vault-wrap"`},
		{"another place", []string{"vault {\n    address = \"https://vault.example.com:8200\"", "age {\n    file = \"x.age\""}, "only a KV engine of Vault wraps"},
		{"several places", []string{"from  = secrets.vault", "from  = [secrets.vault, secrets.more]", `certificate "edge"`, "secrets \"more\" {\n  age {\n    file = \"x.age\"\n  }\n}\ncertificate \"edge\""}, "from several places"},
		{"no address", []string{"    address = \"https://vault.example.com:8200\"\n", ""}, "does not have your environment"},
		{"in the open", []string{"https://vault", "http://vault"}, "would cross the network in the open"},
		{"an own address in the open", []string{`by = "vault-wrap"`, "by = \"vault-wrap\"\n    address = \"http://10.0.0.1:8200\""}, "would cross the network in the open"},
		{"a keystore", []string{`by = "vault-wrap"`, "by = \"vault-wrap\"\n    layout = \"pkcs12\""}, "does not make"},
		{"ttl over SSH", []string{`by = "vault-wrap"`, `ttl = "5m"`}, "for servers that fetch the certificate themselves"},
		{"no file of the authority", []string{"address = \"https", "ca = \"none.pem\"\n    address = \"https"}, "there is no file none.pem"},
	} {
		if _, err := loadWrap(t, tt.edits...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// A server that fetches its certificate lets nobody in by SSH, and its user-data has places for what is not known yet.
func TestWrapUserData(t *testing.T) {
	p, err := loadWrap(t)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Servers[0]
	for _, r := range s.Open {
		if r.Port == 22 {
			t.Error("port 22 would be open")
		}
	}
	text, err := UserData(p, s, "ORD", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{templates.PullToken, templates.PullFingerprint, `"secret/data/tls/edge":2`, `"secret/tls/edge":1`, "https://vault.example.com:8200", "/run/failover/tls/edge.pem", "#cloud-config", `"ttl":900`} {
		if bytes.Count(text, []byte(want)) == 0 {
			t.Errorf("user-data lacks %s", want)
		}
	}
	if _, err := UserData(p, s, "ORD", 600); err == nil {
		t.Error("user-data that leaves no room for a token is taken")
	}
}
