package file

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/secretstest"
)

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBackend(t *testing.T) {
	for name, s := range map[string]Store{
		"two files": {Chain: "live/{path}/fullchain.pem", Key: "live/{path}/privkey.pem"},
		"one file":  {Chain: "{path}.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			secretstest.Run(t, func(t *testing.T) secretstest.Subject {
				s := s
				s.Dir = t.TempDir()
				return secretstest.Subject{Backend: &s,
					Put: func(t *testing.T, path string, chain, key []byte) bool {
						if s.Key == "" {
							write(t, s.at(s.Chain, path), append(key, chain...))
							return true
						}
						write(t, s.at(s.Chain, path), chain)
						write(t, s.at(s.Key, path), key)
						return true
					},
					Lose: func(t *testing.T) {
						if err := os.RemoveAll(s.Dir); err != nil {
							t.Fatal(err)
						}
					},
				}
			})
		})
	}
}

func TestRemarks(t *testing.T) {
	dir := t.TempDir()
	chain, key := secretstest.NewCA(t).Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
	write(t, filepath.Join(dir, "edge.pem"), chain)
	write(t, filepath.Join(dir, "edge.key"), key)
	s := &Store{Chain: "{path}.pem", Key: "{path}.key", Dir: dir}
	if got := s.Remarks("edge"); len(got) != 1 || !got[0].Warn || !strings.Contains(got[0].What, "in the open on this disk (edge.key)") {
		t.Errorf("%+v", got)
	}
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing here")
	}
	if err := os.Chmod(filepath.Join(dir, "edge.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := s.Remarks("edge"); len(got) != 2 || !strings.Contains(got[1].What, "edge.key has mode 0644") || got[1].Hint != "chmod 600 edge.key" {
		t.Errorf("%+v", got)
	}
}

func TestNoFileForUs(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "edge.pem"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Store{Chain: "edge.pem", Dir: dir}).Certificate(t.Context(), ""); !secrets.Elsewhere(err) || !strings.Contains(err.Error(), "edge.pem is not a file") {
		t.Error(err)
	}
	write(t, filepath.Join(dir, "big.pem"), make([]byte, maxFile+1))
	if _, err := (&Store{Chain: "big.pem", Dir: dir}).Certificate(t.Context(), ""); err == nil || secrets.Elsewhere(err) {
		t.Error(err)
	}
}
