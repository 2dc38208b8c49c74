//go:build vault

// Package vaulttest starts a real Vault for tests: the program of the module in server/, built once and kept in the
// user's cache folder. Building it takes 4 to 10 minutes and brings 400 modules, so it happens under the build tag vault
// alone. It is for tests.
package vaulttest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// EnvServer names a server that was built before.
const EnvServer = "FAILOVER_VAULT_SERVER"

var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(EnvServer); path != "" {
		return path, nil
	}
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(here), "server")
	h := sha256.New()
	for _, n := range []string{"main.go", "go.mod"} {
		b, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "failover-tests", "vaultserver-"+hex.EncodeToString(h.Sum(nil)[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &buildError{string(out), err}
	}
	return path, nil
})

type buildError struct {
	out string
	err error
}

func (e *buildError) Error() string { return e.err.Error() + "\n" + e.out }

// Server is a Vault that runs.
type Server struct {
	Address, Token, CA string
	t                  testing.TB
	cmd                *exec.Cmd
	in                 io.Closer
	client             *http.Client
}

// Start gives a Vault, unsealed and empty, until the test ends. Options are those of the server: -tls, -raw.
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Skipf("the Vault for tests is not built: %v", err)
	}
	s := &Server{t: t, cmd: exec.CommandContext(t.Context(), path, options...), client: &http.Client{}}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.cmd.Stderr = in, os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the Vault for tests said nothing: %v", err)
	}
	if err := json.Unmarshal(line, s); err != nil {
		t.Fatal(err)
	}
	if s.CA != "" {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(s.CA))
		s.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	}
	return s
}

// Stop ends it.
func (s *Server) Stop() {
	_ = s.in.Close()
	_ = s.cmd.Wait()
}

// Seal seals it.
func (s *Server) Seal() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		s.t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); s.status("GET", "/v1/sys/health") != http.StatusServiceUnavailable; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			s.t.Fatal("it is not sealed")
		}
	}
}

func (s *Server) status(method, path string) int {
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.Address+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

// Write sends a request as root and gives what came back. headers come in pairs.
func (s *Server) Write(method, path string, body any, headers ...string) map[string]any {
	s.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.Address+"/v1/"+path, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", s.Token)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 400 {
		s.t.Fatalf("%s %s: %s %s %v", method, path, res.Status, text, err)
	}
	out := map[string]any{}
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			s.t.Fatal(err)
		}
	}
	return out
}

// KV mounts a KV engine of a version.
func (s *Server) KV(mount, version string) {
	s.t.Helper()
	s.Write("POST", "sys/mounts/"+mount, map[string]any{"type": "kv", "options": map[string]string{"version": version}})
	until := time.Now().Add(10 * time.Second)
	for v2 := version == "2"; v2; { // it upgrades itself for a moment, and refuses writes meanwhile
		if time.Now().After(until) {
			s.t.Fatal("the KV engine does not become ready")
		}
		req, _ := http.NewRequestWithContext(s.t.Context(), "POST", s.Address+"/v1/"+mount+"/data/ready", strings.NewReader(`{"data":{}}`))
		req.Header.Set("X-Vault-Token", s.Token)
		res, err := s.client.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = res.Body.Close()
		v2 = res.StatusCode == http.StatusBadRequest
	}
}

// Put keeps a secret in a KV engine.
func (s *Server) Put(mount, version, path string, fields map[string]string) {
	s.t.Helper()
	if version == "2" {
		s.Write("POST", mount+"/data/"+path, map[string]any{"data": fields})
		return
	}
	s.Write("POST", mount+"/"+path, fields)
}

// Policy makes one that may read a path.
func (s *Server) Policy(name, path string) {
	s.t.Helper()
	s.Write("PUT", "sys/policies/acl/"+name, map[string]string{"policy": `path "` + path + `" { capabilities = ["read"] }`})
}

// PKI mounts a PKI engine with a root and an intermediate, and a role for shop.test and dripstat's names. It gives the root,
// PEM.
func (s *Server) PKI(mount, role string, more map[string]any) string {
	s.t.Helper()
	data := func(method, path string, body any) map[string]any {
		d, _ := s.Write(method, path, body)["data"].(map[string]any)
		return d
	}
	for _, m := range []string{mount, mount + "-root"} {
		s.Write("POST", "sys/mounts/"+m, map[string]any{"type": "pki", "config": map[string]string{"max_lease_ttl": "8760h"}})
	}
	root := data("POST", mount+"-root/root/generate/internal", map[string]any{"common_name": "the root", "ttl": "8000h", "key_type": "ec"})["certificate"].(string)
	csr := data("POST", mount+"/intermediate/generate/internal", map[string]any{"common_name": "the intermediate", "key_type": "ec"})["csr"]
	signed := data("POST", mount+"-root/root/sign-intermediate", map[string]any{"csr": csr, "ttl": "7000h", "format": "pem_bundle"})["certificate"]
	s.Write("POST", mount+"/intermediate/set-signed", map[string]any{"certificate": signed})
	r := map[string]any{"allowed_domains": []string{"shop.test", "dripstat.test", "dripstat.com"}, "allow_subdomains": true, "allow_bare_domains": true, "max_ttl": "720h"}
	for k, v := range more {
		r[k] = v
	}
	s.Write("POST", mount+"/roles/"+role, r)
	return root
}
