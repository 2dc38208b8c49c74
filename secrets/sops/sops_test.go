package sops

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/secretstest"
)

// real gives the true sops with an age key of the test's own, or skips.
func real(t *testing.T) (command, recipient string) {
	t.Helper()
	command, err := exec.LookPath("sops")
	if err != nil {
		t.Skip("sops is not on this machine: go install github.com/getsops/sops/v3/cmd/sops@v3.9.4")
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOPS_AGE_KEY", id.String())
	return command, id.Recipient().String()
}

// encrypt writes a document as a person would keep it.
func encrypt(t *testing.T, command, recipient, file string, doc any) {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), command, "--encrypt", "--age", recipient, "--input-type", "json", "--output-type", "yaml", "/dev/stdin")
	cmd.Stdin = strings.NewReader(string(b))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBackend(t *testing.T) {
	secretstest.Run(t, func(t *testing.T) secretstest.Subject {
		command, recipient := real(t)
		dir := t.TempDir()
		return secretstest.Subject{
			Backend: &Store{File: "tls.yaml", Dir: dir},
			Put: func(t *testing.T, path string, chain, key []byte) bool {
				encrypt(t, command, recipient, filepath.Join(dir, "tls.yaml"), map[string]any{path: map[string]string{"chain": string(chain), "key": string(key)}})
				return true
			},
			Lose: func(t *testing.T) { t.Setenv("SOPS_AGE_KEY", "") }, // as on a machine that has no key
		}
	})
}

// A program that takes the same words as sops stands in for it where it is about the words.
func TestWords(t *testing.T) {
	chain, key := secretstest.NewCA(t).Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
	doc, err := json.Marshal(map[string]any{"prod": map[string]any{"tls/www.shop": map[string]string{"crt": string(chain), "pem": string(key)}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"doc.json": string(doc), "prod.yaml": "encrypted",
		"sops": "#!/bin/sh\n[ \"$*\" = \"--decrypt --output-type json " + filepath.Join(dir, "prod.yaml") + "\" ] || { echo \"$*\" >&2; exit 9; }\nexec cat doc.json\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil { //nolint:gosec // one of them is run
			t.Fatal(err)
		}
	}
	s := &Store{File: "prod.yaml", Dir: dir, Command: filepath.Join(dir, "sops"), ChainField: []string{"prod.{path}.crt"}, KeyField: "prod.{path}.pem"}
	if c, err := s.Certificate(t.Context(), "tls/www.shop"); err != nil || c.Leaf.DNSNames[0] != "www.example.test" {
		t.Error(err)
	}
	if _, err := s.Certificate(t.Context(), "tls/absent"); !secrets.Elsewhere(err) || !strings.Contains(err.Error(), `no field "tls/absent" in "prod"; it has tls/www.shop`) {
		t.Error(err)
	}
	s.File = "{path}.yaml"
	if _, err := s.Certificate(t.Context(), "dev"); !secrets.Elsewhere(err) || !strings.Contains(err.Error(), "dev.yaml cannot be read") {
		t.Error(err)
	}
	s.Command = "no-such-sops"
	if _, err := s.Certificate(t.Context(), "prod"); !secrets.Elsewhere(err) || !strings.Contains(err.Error(), "no-such-sops is not on this machine") {
		t.Error(err)
	}
}
