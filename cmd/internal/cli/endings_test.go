package cli

import (
	"strings"
	"testing"
)

// ending is one way for a certificate to end on a server, on top of the built-in plan.
type ending struct {
	name  string
	block string   // deliver
	files []string // that hold the key, or what opens it
	owner string
	mode  uint32
}

// endings are all layouts. The template that is a proxy takes the bundle alone.
func endings() []ending {
	return []ending{
		{"bundle, on a disk", "deliver {\n    persist = true\n    reload  = [\"systemctl\", \"reload\", \"haproxy\"]\n  }", []string{"/etc/failover/tls/edge.pem"}, "root:root", 0o600},
		{"bundle, for a group", "deliver {\n    path  = \"/etc/ssl/private/edge.pem\"\n    group = \"ssl-cert\"\n    mode  = \"0640\"\n  }", []string{"/etc/ssl/private/edge.pem"}, "root:ssl-cert", 0o640},
		{"files", "deliver {\n    layout = \"files\"\n    owner  = \"app\"\n  }", []string{"/run/failover/tls/edge/privkey.pem"}, "app:app", 0o600},
		{"pkcs12", "deliver {\n    layout = \"pkcs12\"\n    path   = \"/etc/app/tls\"\n    owner  = \"app\"\n    group  = \"adm\"\n    mode   = \"0440\"\n  }",
			[]string{"/etc/app/tls/keystore.p12", "/etc/app/tls/keystore.password"}, "app:adm", 0o440},
		{"pkcs12, the plan's password", "deliver {\n    layout   = \"pkcs12\"\n    password = env(\"KEYSTORE_PASSWORD\")\n  }", []string{"/run/failover/tls/edge/keystore.p12"}, "root:root", 0o600},
	}
}

// edits make the built-in plan end so.
func (e ending) edits() []string {
	if e.block == "" {
		return nil
	}
	out := []string{"certificate = certificate.edge\n", "certificate = certificate.edge\n  " + e.block + "\n"}
	if strings.Contains(e.block, "layout") {
		out = append(out, `template    = "tls-proxy"`, `template    = "plain"`, `vars        = { upstream = "127.0.0.1:8080" }`, `vars        = { service = "app" }`)
	}
	return out
}

// A run ends in each layout, and its servers prove themselves with what they were given: the sandbox serves no other certificate.
func TestEndings(t *testing.T) {
	for _, e := range endings() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil, e.edits()...)
			b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
			for _, s := range b.cloud.Snapshot().Servers {
				for _, f := range e.files {
					_, mode, owner, err := b.cloud.ReadFile(s.ID, f)
					if err != nil || uint32(mode.Perm()) != e.mode || owner != e.owner {
						t.Errorf("%s of %s: %v of %s, %v", f, s.Name, mode, owner, err)
					}
				}
			}
		})
	}
}
