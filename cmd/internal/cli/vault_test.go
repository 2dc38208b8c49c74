//go:build vault

package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/dripstat/failover/secrets"
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
	morePages["vault-pki"] = func(t *testing.T, b *bench) { issuingVault(t, b, nil) }
}

// issuingVault starts a Vault whose role web signs for the plan's names, and lets the plan reach it.
func issuingVault(t *testing.T, b *bench, role map[string]any) *vaulttest.Server {
	t.Helper()
	for _, kv := range os.Environ() { // of whoever runs the tests
		if n, _, _ := strings.Cut(kv, "="); strings.HasPrefix(n, "VAULT_") || strings.HasPrefix(n, "BAO_") {
			t.Setenv(n, "")
		}
	}
	s := vaulttest.Start(t)
	b.no(os.WriteFile(b.path("ca.pem"), []byte(s.PKI("pki", "web", role)), 0o600))
	s.Write("PUT", "sys/policies/acl/web", map[string]string{"policy": `path "pki/+/web" { capabilities = ["read", "update"] }`})
	s.Write("POST", "sys/auth/approle", map[string]string{"type": "approle"})
	s.Write("POST", "auth/approle/role/failover", map[string]any{"token_policies": "web", "token_ttl": "20m"})
	b.env["VAULT_ROLE_ID"] = s.Write("GET", "auth/approle/role/failover/role-id", nil)["data"].(map[string]any)["role_id"].(string)
	b.env["VAULT_SECRET_ID"] = s.Write("POST", "auth/approle/role/failover/secret-id", nil)["data"].(map[string]any)["secret_id"].(string)
	t.Setenv("VAULT_ADDR", s.Address)
	return s
}

// A role of Vault's signs, or makes, the certificate during the run; its key is in nothing that is sent to the cloud, printed,
// or written but sealed. A run that was stopped goes on with it.
func TestVaultIssues(t *testing.T) {
	if apart(t) {
		return
	}
	for _, mode := range []string{"sign", "issue"} {
		t.Run(mode, func(t *testing.T) {
			tmp := t.TempDir()
			for _, k := range []string{"TMPDIR", "HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
				t.Setenv(k, tmp)
			}
			b := newBench(t, []string{"slow-boot=2s"}, `from  = secrets.sandbox`, `from  = secrets.pki`, `certificate "edge" {`, `secrets "issued" {
  age {
    file     = "issued.age"
    identity = "identity.txt"
  }
}

secrets "pki" {
  vault {
    approle {
      role_id   = env("VAULT_ROLE_ID")
      secret_id = env("VAULT_SECRET_ID")
    }

    pki {
      role = "web"
      ttl  = "48h"
      mode = "`+mode+`"
      seal = secrets.issued
    }
  }
}

certificate "edge" {`)
			issuingVault(t, b, map[string]any{"key_type": "ec"})
			b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
			for _, want := range []string{"issued during the run, by Vault, role web, and sealed into issued.age", "the certificate is for 48h0m0s; the token is good for another 20m0s"} {
				if out := flat(b.out.String()); !strings.Contains(out, want) {
					t.Errorf("the dry run does not say %q:\n%s", want, b.out.String())
				}
			}
			if _, err := os.Stat(b.path("issued.age")); err == nil {
				t.Error("a dry run has sealed something")
			}
			b.interrupt()
			b.must(exitDone, "resume", "--json")
			b.serves()
			b.certified()
			sealed := b.site().stores["issued"].(secrets.Sealed)
			c, err := sealed.Certificate(t.Context(), "edge")
			b.no(err)
			b.sweep(secretsOf(t, c.Key().Bytes()), tmp, nil, 1)
		})
	}
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
