//go:build vault

package vault

import (
	"crypto/rsa"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/age"
	"github.com/dripstat/failover/secrets/vault/vaulttest"
)

// authority starts a Vault with a PKI engine whose role web signs for shop.test, and a token that may do that alone.
func authority(t *testing.T, role map[string]any) (s *vaulttest.Server, root string, may func(policy string) secrets.Value) {
	t.Helper()
	clean(t)
	s = vaulttest.Start(t)
	root = s.PKI("pki", "web", role)
	return s, root, func(policy string) secrets.Value {
		s.Write("PUT", "sys/policies/acl/issuing", map[string]string{"policy": policy})
		made := s.Write("POST", "auth/token/create", map[string]any{"policies": []string{"issuing"}, "ttl": "1h"})
		return value(made["auth"].(map[string]any)["client_token"].(string))
	}
}

func sealed(t *testing.T) *age.Store {
	t.Helper()
	dir := t.TempDir()
	id, _, err := age.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "id.txt"), id.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return &age.Store{File: "issued.age", Identity: "id.txt", Dir: dir}
}

const (
	sign = `path "pki/sign/web" { capabilities = ["update"] }`
	read = `path "pki/roles/web" { capabilities = ["read"] }`
)

func TestPKI(t *testing.T) {
	for _, make := range []bool{false, true} {
		for _, kind := range []string{"p256", "rsa2048"} {
			t.Run(fmt.Sprintf("make %v, %s", make, kind), func(t *testing.T) {
				role := map[string]any{"key_type": "any", "ttl": "72h", "max_ttl": "96h"}
				policy := sign + read
				if make {
					role["key_type"], role["key_bits"] = map[string]any{"p256": "ec", "rsa2048": "rsa"}[kind], 0
					policy = strings.ReplaceAll(policy, "pki/sign", "pki/issue")
				}
				s, root, may := authority(t, role)
				p := &PKI{Vault: &Store{Addresses: []string{s.Address}, Login: Login{Token: may(policy)}}, Role: "web", TTL: 80 * time.Hour, Make: make, KeyType: kind, Sealed: sealed(t)}
				r := secrets.Request{Run: "run-1", Path: "edge", Names: []string{"www.shop.test", "*.shop.test"}}
				rung := secrets.Rung{Ref: secrets.Ref{Store: "pki", Path: "edge"}, Backend: p, Names: r.Names}
				tried := rung.Try(t.Context(), false)
				if tried.Err != nil || tried.Offer == nil || tried.Offer.By != "Vault, role web" || len(tried.Offer.Challenges) != 0 || len(tried.Remarks) != 1 ||
					tried.Remarks[0].What != "the certificate is for 80h0m0s; the token is good for another 1h0m0s" {
					t.Fatalf("%+v %v", tried, tried.Err)
				}
				if c, err := p.Issued(t.Context(), r); c != nil || err != nil {
					t.Fatalf("before: %v", err)
				}
				if err := p.Issue(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				c, err := p.Issued(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				roots, err := secrets.Roots(root)
				if err != nil {
					t.Fatal(err)
				}
				if ps := c.Inspect(r.Names, roots, time.Now(), 0); len(ps) > 0 {
					t.Errorf("%v", ps)
				}
				if left := time.Until(c.Leaf.NotAfter); left < 79*time.Hour || left > 81*time.Hour {
					t.Errorf("it is for %s", left)
				}
				if _, is := c.Leaf.PublicKey.(*rsa.PublicKey); is != (kind == "rsa2048") {
					t.Errorf("a key of %T", c.Leaf.PublicKey)
				}
				if other, err := p.Issued(t.Context(), secrets.Request{Run: "run-2", Path: "edge", Names: r.Names}); other != nil || err != nil {
					t.Errorf("another run has it: %v", err)
				}
				s.Stop() // from now on it is kept
				if tried := rung.Try(t.Context(), false); tried.Err != nil || tried.Certificate == nil || tried.Certificate.Fingerprint() != c.Fingerprint() {
					t.Errorf("%+v", tried)
				}
				p.Role = "other"
				if why, usable := p.Stale(t.Context(), "edge", c, r.Names); usable || !strings.Contains(why, "of another role (pki/roles/web)") {
					t.Errorf("%q", why)
				}
			})
		}
	}
}

func TestPKIRefusals(t *testing.T) {
	s, _, may := authority(t, map[string]any{"key_type": "rsa", "generate_lease": true})
	names := []string{"www.shop.test"}
	p := func(policy string) *PKI {
		return &PKI{Vault: &Store{Addresses: []string{s.Address}, Login: Login{Token: may(policy)}}, Role: "web", KeyType: "rsa2048", Sealed: sealed(t)}
	}
	offer := func(p *PKI, away bool, want string) {
		t.Helper()
		_, err := p.Offer(t.Context(), "edge", names)
		if err == nil || secrets.Elsewhere(err) != away || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	offer(p(read), true, "does not let this token write to pki/sign/web")
	ec := p(sign + read)
	ec.KeyType = "p256"
	offer(ec, false, "role web wants a key of type rsa")
	none := p(sign + strings.ReplaceAll(sign+read, "web", "wbe"))
	none.Role = "wbe"
	offer(none, true, "has no pki/roles/wbe")
	o, err := p(sign).Offer(t.Context(), "edge", names) // the role is not for this token to read
	if err != nil || len(o.Remarks) != 1 {
		t.Errorf("%+v %v", o, err)
	}
	o, err = p(sign+read).Offer(t.Context(), "edge", names)
	if err != nil || len(o.Remarks) != 2 || !o.Remarks[1].Warn || !strings.Contains(o.Remarks[1].What, "are leases") {
		t.Errorf("%+v %v", o, err)
	}
	usual := p(sign + read) // the key is of the type that the role wants
	usual.KeyType = ""
	if err := usual.Issue(t.Context(), secrets.Request{Run: "run", Path: "edge", Names: names}); err != nil {
		t.Error(err)
	}
	// What Vault will not sign is a no, not an unknown outcome.
	err = p(sign).Issue(t.Context(), secrets.Request{Run: "run", Path: "edge", Names: []string{"www.other.test"}})
	if err == nil || secrets.Elsewhere(err) || !strings.Contains(err.Error(), "not allowed by this role") {
		t.Errorf("%v", err)
	}
	gone := p(sign)
	if _, err := gone.Offer(t.Context(), "edge", names); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if err := gone.Issue(t.Context(), secrets.Request{Run: "run", Path: "edge", Names: names}); !secrets.Elsewhere(err) {
		t.Errorf("%v", err)
	}
}
