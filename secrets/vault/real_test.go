//go:build vault

package vault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/secretstest"
	"github.com/dripstat/failover/secrets/vault/vaulttest"
)

func value(s string) secrets.Value { return secrets.NewValue([]byte(s)) }

// clean keeps the environment of whoever runs the tests out of them.
func clean(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if n, _, _ := strings.Cut(kv, "="); strings.HasPrefix(n, "VAULT_") || strings.HasPrefix(n, "BAO_") {
			t.Setenv(n, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
}

func TestBackend(t *testing.T) {
	clean(t)
	for _, version := range []string{"1", "2"} {
		t.Run("KV "+version, func(t *testing.T) {
			secretstest.Run(t, func(t *testing.T) secretstest.Subject {
				s := vaulttest.Start(t)
				s.KV("kv", version)
				return secretstest.Subject{
					Backend: &Store{Addresses: []string{s.Address}, Mount: "kv", Login: Login{Token: value(s.Token)}},
					Put: func(_ *testing.T, path string, chain, key []byte) bool {
						s.Put("kv", version, path, map[string]string{"chain": string(chain), "key": string(key)})
						return true
					},
					Lose: func(*testing.T) { s.Stop() },
				}
			})
		})
	}
}

// kept starts a Vault with one certificate at secret/tls/edge.
func kept(t *testing.T, options ...string) *vaulttest.Server {
	t.Helper()
	clean(t)
	s := vaulttest.Start(t, options...)
	s.KV("secret", "2")
	chain, key := secretstest.NewCA(t).Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
	leaf, rest, _ := strings.Cut(string(chain), "-----END CERTIFICATE-----\n")
	s.Put("secret", "2", "tls/edge", map[string]string{"chain": string(chain), "key": string(key), "certificate": leaf + "-----END CERTIFICATE-----\n", "ca_chain": rest,
		"private_key": base64.StdEncoding.EncodeToString(key)})
	s.Policy("edge", "secret/data/tls/edge")
	return s
}

func TestLogins(t *testing.T) {
	s := kept(t)
	s.Write("POST", "sys/auth/approle", map[string]string{"type": "approle"})
	s.Write("POST", "auth/approle/role/failover", map[string]any{"token_policies": "edge", "token_ttl": "20m"})
	role := s.Write("GET", "auth/approle/role/failover/role-id", nil)["data"].(map[string]any)["role_id"].(string)
	secretID := func(headers ...string) map[string]any {
		return s.Write("POST", "auth/approle/role/failover/secret-id", nil, headers...)
	}
	plain := secretID()["data"].(map[string]any)["secret_id"].(string)
	wrapped := secretID("X-Vault-Wrap-TTL", "5m")["wrap_info"].(map[string]any)["token"].(string)
	used := secretID("X-Vault-Wrap-TTL", "5m")["wrap_info"].(map[string]any)["token"].(string)
	s.Write("POST", "sys/wrapping/unwrap", map[string]string{"token": used})
	foreign := s.Write("GET", "secret/data/tls/edge", nil, "X-Vault-Wrap-TTL", "5m")["wrap_info"].(map[string]any)["token"].(string)

	s.Write("POST", "sys/auth/userpass", map[string]string{"type": "userpass"})
	s.Write("POST", "auth/userpass/users/ops", map[string]any{"password": "hunter2hunter2", "token_policies": "edge"})

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s.Write("POST", "sys/auth/ci", map[string]string{"type": "jwt"})
	s.Write("POST", "auth/ci/config", map[string]any{"jwt_validation_pubkeys": []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}})
	s.Write("POST", "auth/ci/role/failover", map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "bound_subject": "ci", "token_policies": "edge"})
	ci := token(t, key, "ci")

	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(ci+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		login Login
		want  string // of the error
	}{
		"token":                        {login: Login{Token: value(s.Token + "\n")}},
		"a bad token":                  {Login{Token: value("hvs.CAESnothing")}, "does not let this token read secret/tls/edge: 403, permission denied"},
		"approle":                      {login: Login{AppRole: &AppRole{RoleID: role, SecretID: value(plain)}}},
		"approle, wrapped":             {login: Login{AppRole: &AppRole{RoleID: role, SecretID: value(wrapped), Wrapped: true}}},
		"approle, wrapped and used":    {Login{AppRole: &AppRole{RoleID: role, SecretID: value(used), Wrapped: true}}, "the wrapped secret_id has been used, or is too old"},
		"approle, wrapped by others":   {Login{AppRole: &AppRole{RoleID: role, SecretID: value(foreign), Wrapped: true}}, `was made at "secret/data/tls/edge", which makes no secret ids`},
		"approle, a bad secret id":     {Login{AppRole: &AppRole{RoleID: role, SecretID: value("nonsense")}}, "does not let us in by approle"},
		"approle, a bad role":          {Login{AppRole: &AppRole{RoleID: "nonsense", SecretID: value(plain)}}, "does not let us in by approle"},
		"userpass":                     {login: Login{Userpass: &Userpass{Username: "ops", Password: value("hunter2hunter2")}}},
		"userpass, a bad password":     {Login{Userpass: &Userpass{Username: "ops", Password: value("hunter3hunter3")}}, "does not let us in by userpass"},
		"jwt":                          {login: Login{JWT: &JWT{Mount: "ci", Role: "failover", Token: value(ci)}}},
		"jwt, from a file":             {login: Login{JWT: &JWT{Mount: "ci", Role: "failover", File: file}}},
		"jwt, of another":              {Login{JWT: &JWT{Mount: "ci", Role: "failover", Token: value(token(t, key, "other"))}}, "does not let us in by jwt: 400"},
		"a method that is not mounted": {Login{Kubernetes: &JWT{Role: "failover", File: file}}, "does not let us in by kubernetes: 403"},
		"no token of a pod":            {Login{Kubernetes: &JWT{Role: "failover"}}, "cannot be read"},
		"nothing":                      {Login{}, "there is no token for Vault"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &Store{Addresses: []string{s.Address}, Login: c.login}
			for range 2 { // a wrapping can be opened once, and is remembered
				x, err := v.Certificate(t.Context(), "tls/edge")
				if c.want == "" {
					if err != nil || x.Leaf.DNSNames[0] != "www.example.test" {
						t.Fatalf("%v; %s", err, secrets.HintOf(err))
					}
					v.client = nil
					continue
				}
				if err == nil || !strings.Contains(err.Error(), c.want) || !secrets.Elsewhere(err) {
					t.Fatalf("%v; want %q", err, c.want)
				}
				for _, secret := range []string{"hunter", plain, wrapped, used, "nonsense", s.Token} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("it shows a secret: %v", err)
					}
				}
				break
			}
		})
	}
	t.Run("a token of the environment", func(t *testing.T) {
		t.Setenv("VAULT_TOKEN", s.Token)
		t.Setenv("VAULT_ADDR", s.Address)
		v := &Store{}
		if _, err := v.Certificate(t.Context(), "/tls/edge"); err != nil {
			t.Error(err)
		}
		got := v.Remarks("tls/edge")
		if len(got) != 2 || !strings.Contains(got[0].What, "version 1 of 20") || !strings.Contains(got[1].What, "root token") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("the token that vault login leaves", func(t *testing.T) {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, ".vault-token"), []byte(s.Token), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (&Store{Addresses: []string{s.Address}}).Certificate(t.Context(), "tls/edge"); err != nil {
			t.Error(err)
		}
	})
	t.Run("fields", func(t *testing.T) {
		v := &Store{Addresses: []string{s.Address}, Login: Login{Token: value(s.Token)}, ChainField: []string{"certificate", "ca_chain"}, KeyField: "private_key"}
		if x, err := v.Certificate(t.Context(), "tls/edge"); err != nil || len(x.Chain) != 2 {
			t.Error(err)
		}
		v.KeyField = "nope"
		if _, err := v.Certificate(t.Context(), "tls/edge"); err == nil || secrets.Elsewhere(err) || !strings.Contains(err.Error(), `no field "nope" in "data.data"; it has ca_chain, certificate, chain, key, private_key`) {
			t.Error(err)
		}
	})
}

// token is a JWT, signed with ES256.
func token(t *testing.T, key *ecdsa.PrivateKey, subject string) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]string{"alg": "ES256", "typ": "JWT"}) + "." + part(map[string]any{"sub": subject, "aud": "vault", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()})
	r, s, err := ecdsa.Sign(rand.Reader, key, digest(text))
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestNodes(t *testing.T) {
	s := kept(t, "-tls")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(s.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	login := Login{Token: value(s.Token)}
	raw := vaulttest.Start(t, "-raw")
	gone := vaulttest.Start(t)
	gone.Stop()
	v := &Store{Addresses: []string{gone.Address, raw.Address, s.Address}, CA: ca, Login: login}
	if _, err := v.Certificate(t.Context(), "tls/edge"); err != nil {
		t.Error(err)
	}
	if _, err := (&Store{Addresses: []string{s.Address}, Login: login}).Certificate(t.Context(), "tls/edge"); !secrets.Elsewhere(err) || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Error(err)
	}
	if _, err := (&Store{Addresses: []string{s.Address}, CA: "absent.pem", Login: login}).Certificate(t.Context(), "tls/edge"); !secrets.Elsewhere(err) || !strings.Contains(err.Error(), "absent.pem") {
		t.Error(err)
	}
	sealed := kept(t)
	sealed.Seal()
	_, err := (&Store{Addresses: []string{gone.Address, raw.Address, sealed.Address}, Login: login}).Certificate(t.Context(), "tls/edge")
	if !secrets.Elsewhere(err) {
		t.Fatal(err)
	}
	for _, want := range []string{gone.Address + " cannot be reached: dial tcp", raw.Address + " is not initialised", sealed.Address + " is sealed"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	v = &Store{Addresses: []string{s.Address}, CA: ca, Login: login}
	_, err = v.Certificate(t.Context(), "tls/absent")
	if !secrets.Elsewhere(err) || !strings.Contains(err.Error(), "has nothing at secret/tls/absent (KV version 2)") || !strings.Contains(secrets.HintOf(err), "vault kv get -mount=secret tls/absent") {
		t.Errorf("%v; %s", err, secrets.HintOf(err))
	}
}

func digest(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
