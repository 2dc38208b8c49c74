//go:build vault

package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/dripstat/failover/secrets/vault/vaulttest"
)

func init() { //nolint:gochecknoinits // of tests, and only under their tag
	keep := func(t *testing.T, b *bench) *vaulttest.Server {
		t.Helper()
		for _, kv := range os.Environ() { // of whoever runs the tests
			if n, _, _ := strings.Cut(kv, "="); strings.HasPrefix(n, "VAULT_") || strings.HasPrefix(n, "BAO_") {
				t.Setenv(n, "")
			}
		}
		s := vaulttest.Start(t)
		s.KV("secret", "2")
		s.Put("secret", "2", "tls/edge", map[string]string{"chain": string(b.chain), "key": string(b.key)})
		s.Policy("edge", "secret/data/tls/edge")
		s.Write("POST", "sys/auth/approle", map[string]string{"type": "approle"})
		s.Write("POST", "auth/approle/role/failover", map[string]any{"token_policies": "edge", "token_ttl": "20m"})
		b.env["VAULT_ROLE_ID"] = s.Write("GET", "auth/approle/role/failover/role-id", nil)["data"].(map[string]any)["role_id"].(string)
		b.env["VAULT_SECRET_ID"] = s.Write("POST", "auth/approle/role/failover/secret-id", nil)["data"].(map[string]any)["secret_id"].(string)
		t.Setenv("VAULT_ADDR", s.Address)
		return s
	}
	morePlaces = append(morePlaces, place{name: "vault", say: "version 1 of ",
		block: "  vault {\n    approle {\n      role_id   = env(\"VAULT_ROLE_ID\")\n      secret_id = env(\"VAULT_SECRET_ID\")\n    }\n  }\n",
		needs: func(*testing.T) string { return "" },
		edits: []string{"path  = \"edge\"", "path  = \"tls/edge\""},
		keep:  func(t *testing.T, b *bench) { keep(t, b) },
		page:  func(t *testing.T, b *bench) { keep(t, b) },
	})
}

// A Vault that is sealed is passed over, and said to be.
func TestSealedVaultIsPassedOver(t *testing.T) {
	b := newBench(t, nil, `from  = secrets.sandbox`, `from  = [secrets.vault, secrets.sandbox]`, `certificate "edge" {`,
		"secrets \"vault\" {\n  vault {\n    token = \"hvs.hunter2hunter2\"\n  }\n}\n\ncertificate \"edge\" {")
	s := vaulttest.Start(t)
	s.Seal()
	t.Setenv("VAULT_ADDR", s.Address)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	if got := b.sourceOf("edge"); got != "secrets.sandbox" {
		t.Errorf("the certificate is from %q", got)
	}
	if out := b.out.String() + b.err.String(); !strings.Contains(out, "secrets.vault: Vault at "+s.Address+" is sealed") || strings.Contains(out, "hunter2") {
		t.Errorf("it says\n%s", out)
	}
}
