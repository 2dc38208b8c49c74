//go:build vault

package vault_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/vault"
	"github.com/dripstat/failover/secrets/vault/vaulttest"
	"github.com/dripstat/failover/templates"
)

// The script itself, in this machine's sh and Python, against a real Vault over TLS.
func TestPullScript(t *testing.T) {
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip("no Python 3 here")
	}
	s := vaulttest.Start(t, "-tls")
	s.KV("secret", "2")
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.Issue("www.shop.test")
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := ca.Issue("www.shop.test")
	if err != nil {
		t.Fatal(err)
	}
	s.Put("secret", "2", "tls/edge", map[string]string{"chain": string(chain), "key": string(key)})
	s.Put("secret", "2", "tls/wrong", map[string]string{"chain": string(chain), "key": string(otherKey)})
	s.Put("secret", "2", "tls/keyless", map[string]string{"chain": string(chain)})
	s.Put("secret", "2", "tls/both", map[string]string{"chain": string(chain), "key": string(otherKey) + string(key)})
	leaf, _ := pem.Decode(chain)
	sum := sha256.Sum256(leaf.Bytes)
	print := hex.EncodeToString(sum[:])
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, []byte(s.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	store := &vault.Store{Addresses: []string{s.Address}, CA: caFile, Login: vault.Login{Token: secrets.NewValue([]byte(s.Token))}}
	wrap := func(path string, ttl time.Duration) string {
		v, err := store.Wrap(t.Context(), path, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return string(v.Bytes())
	}
	spent := wrap("tls/edge", time.Minute)
	for _, want := range []bool{true, false} {
		if fresh, err := store.Spend(t.Context(), secrets.NewValue([]byte(spent))); err != nil || fresh != want {
			t.Fatalf("spent: %v, want %v, %v", fresh, want, err)
		}
	}
	old := wrap("tls/edge", time.Second)
	time.Sleep(1500 * time.Millisecond)
	own, _ := s.Write("POST", "sys/wrapping/wrap", map[string]string{"chain": "x"}, "X-Vault-Wrap-TTL", "60s")["wrap_info"].(map[string]any)
	for _, tt := range []struct {
		name, token, layout, fingerprint, says string
		ttl                                    int
		address                                string
		paths                                  map[string]int
	}{
		{name: "bundle", token: wrap("tls/edge", time.Minute), says: "failover: certificate edge is in place, SHA-256 " + print},
		{name: "files", token: wrap("tls/edge", time.Minute), layout: "files", says: "failover: certificate edge is in place, SHA-256 " + print},
		{name: "used", token: spent, says: "failover: ALARM: certificate edge: the wrapping token was used before"},
		{name: "too old", token: old, says: "failover: ALARM: certificate edge: the wrapping token was used before, or is older than"},
		{name: "somebody's own wrapping", token: own["token"].(string), says: "failover: ALARM: certificate edge: the wrapping was made at 'sys/wrapping/wrap'"},
		{name: "another path", token: wrap("tls/wrong", time.Minute), says: "failover: ALARM: certificate edge: the wrapping was made at 'secret/data/tls/wrong'"},
		{name: "another certificate", token: wrap("tls/edge", time.Minute), fingerprint: strings.Repeat("0", 64), says: "failover: FAILED: certificate edge: Vault holds another certificate"},
		{name: "another key", token: wrap("tls/wrong", time.Minute), paths: map[string]int{"secret/data/tls/wrong": 2}, says: "failover: FAILED: certificate edge: the key that was wrapped does not belong to the certificate"},
		{name: "no key", token: wrap("tls/keyless", time.Minute), paths: map[string]int{"secret/data/tls/keyless": 2}, says: "failover: FAILED: certificate edge: what was wrapped has no text at data.data.key"},
		{name: "two keys", token: wrap("tls/both", time.Minute), paths: map[string]int{"secret/data/tls/both": 2}, says: "failover: FAILED: certificate edge: what was wrapped holds 2 private keys"},
		{name: "no Vault", token: "x", address: "https://127.0.0.1:1", ttl: 1, says: "failover: FAILED: certificate edge: Vault at https://127.0.0.1:1 is not reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := templates.Pull{Certificate: "edge", Addresses: []string{s.Address}, CA: s.CA, Paths: map[string]int{"secret/data/tls/edge": 2, "secret/tls/edge": 1}, At: "tls/edge",
				Chain: []string{"chain"}, Key: "key", Seconds: max(tt.ttl, 60*min(1, 1-tt.ttl)), Layout: tt.layout, Path: filepath.Join(dir, "tls", "edge.pem"),
				Owner: fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()), Mode: "0640", Folder: "0750", Reload: []string{"touch", filepath.Join(dir, "reloaded")}}
			if tt.layout == "" {
				p.Layout = "bundle"
			}
			if tt.paths != nil {
				p.Paths = tt.paths
			}
			if tt.address != "" {
				p.Addresses = []string{tt.address}
			}
			out, err := templates.WithPull([]byte("#cloud-config\n{}\n"), p)
			if err != nil {
				t.Fatal(err)
			}
			_, script, _ := strings.Cut(string(out), "#cloud-boothook\n")
			script, _, _ = strings.Cut(script, "\n--==failover-part==--")
			if tt.fingerprint == "" {
				tt.fingerprint = print
			}
			console, instance := filepath.Join(dir, "console"), filepath.Join(dir, "instance")
			for old, now := range map[string]string{templates.PullToken: tt.token, templates.PullFingerprint: tt.fingerprint, "/dev/console": console, "/dev/ttyS0": "/nowhere",
				"/var/lib/cloud/instance": instance, "time.sleep(5)": "time.sleep(0)", "open(tty, 'w')": "open(tty, 'a')"} {
				script = strings.ReplaceAll(script, old, now)
			}
			if err := os.MkdirAll(instance, 0o700); err != nil {
				t.Fatal(err)
			}
			copied := filepath.Join(instance, "user-data.txt.i")
			if err := os.WriteFile(copied, []byte("a "+tt.token+" b"), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if text, err := exec.CommandContext(ctx, "sh", "-c", script+"\nwait").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			said, _ := os.ReadFile(console)
			if !strings.Contains(string(said), tt.says) || strings.Count(string(said), strings.SplitAfter(tt.says, " certificate")[0]) < 3 || tt.token != "x" && strings.Contains(string(said), tt.token) {
				t.Fatalf("the console has\n%s\nwant three times %q", said, tt.says)
			}
			if !strings.Contains(tt.says, "in place") {
				if _, err := os.Lstat(p.Path); err == nil {
					t.Error("something is in place")
				}
				if left, _ := filepath.Glob(filepath.Join(filepath.Dir(p.Path), ".*failover-*")); len(left) > 0 {
					t.Errorf("left: %v", left)
				}
				if _, err := os.Stat(filepath.Join(dir, "reloaded")); err == nil {
					t.Error("the reload command did run")
				}
				return
			}
			file := p.Path
			if tt.layout == "files" {
				file = filepath.Join(p.Path, "privkey.pem")
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if tt.layout == "" {
				if strings.TrimSpace(string(got)) != strings.TrimSpace(string(chain)+string(key)) {
					t.Error("the bundle is another one")
				}
			} else if strings.TrimSpace(string(got)) != strings.TrimSpace(string(key)) {
				t.Error("the key is another one")
			}
			if i, _ := os.Stat(file); i.Mode().Perm() != 0o640 {
				t.Errorf("mode %v", i.Mode())
			}
			if _, err := os.Stat(filepath.Join(dir, "reloaded")); err != nil {
				t.Error("the reload command did not run")
			}
			if text, _ := os.ReadFile(copied); strings.Contains(string(text), tt.token) {
				t.Error("the token is still in a copy of the user-data")
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "tls", ".failover-*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
