package exec

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/secretstest"
)

// A folder of files, and cat, stand for a password manager.
func TestBackend(t *testing.T) {
	put := func(dir string) func(*testing.T, string, []byte, []byte) bool {
		return func(t *testing.T, path string, chain, key []byte) bool {
			write(t, filepath.Join(dir, path), bytes.Join([][]byte{chain, key}, []byte("\n")))
			write(t, filepath.Join(dir, path+".chain"), chain)
			write(t, filepath.Join(dir, path+".key"), key)
			doc, err := json.Marshal(map[string]any{"fields": []map[string]string{{"name": "crt", "value": string(chain)}, {"name": "key", "value": string(key)}}})
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, path+".json"), doc)
			return true
		}
	}
	for name, s := range map[string]Store{
		"PEM":          {Run: []string{"cat", "{path}"}},
		"two commands": {Chain: []string{"cat", "{path}.chain"}, Key: []string{"cat", "{path}.key"}},
		"JSON":         {Run: []string{"cat", "{path}.json"}, ChainField: []string{"fields.name=crt.value"}, KeyField: "fields.name=key.value"},
	} {
		t.Run(name, func(t *testing.T) {
			secretstest.Run(t, func(t *testing.T) secretstest.Subject {
				s := s
				s.Dir = t.TempDir()
				return secretstest.Subject{Backend: &s, Put: put(s.Dir), Lose: func(*testing.T) {
					for _, w := range [][]string{s.Run, s.Chain} {
						if len(w) > 0 {
							w[0] = "no-such-command-anywhere"
						}
					}
					t.Cleanup(func() {
						for _, w := range [][]string{s.Run, s.Chain} {
							if len(w) > 0 {
								w[0] = "cat"
							}
						}
					})
				}}
			})
		})
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// script writes a program of the test's own.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	return path
}

func TestOutputErrors(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("a private key, as it were, of some length"))
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"code and words":        {"echo 'entry not found in vault ops' >&2; exit 6", []string{"tool ended with exit status 6", "it said: entry not found in vault ops"}},
		"its own output on 2":   {"echo hunter2hunter2; echo bad: hunter2hunter2 >&2; exit 1", []string{"it said: bad: (secret)"}},
		"a key on 2":            {"echo '-----BEGIN PRIVATE KEY-----' >&2; echo " + secret + " >&2; exit 1", []string{"it said: (secret)"}},
		"a token on 2":          {"echo token=hvs.x9 and " + secret + " >&2; exit 1", []string{"token=(secret) and (secret)"}},
		"nothing":               {"exit 0", []string{"tool printed nothing"}},
		"too much":              {"head -c 2000000 /dev/zero | tr '\\0' a", []string{"more than 1024 KiB"}},
		"killed":                {"kill -9 $$", []string{"signal: killed"}},
		"no end":                {"echo waiting >&2; exec sleep 60", []string{"did not end within 300ms", "it said: waiting"}},
		"no end of a child":     {"sleep 60 & exec sleep 60", []string{"did not end within"}},
		"words are no shell's":  {"test \"$1\" = '$(id); `id` *' || exit 9; echo seen >&2; exit 3", []string{"exit status 3", "seen"}},
		"input is empty":        {"read x; echo \"got <$x>\" >&2; exit 1", []string{"got <>"}},
		"escapes of a terminal": {"printf '\\033[31mred\\033[0m' >&2; exit 1", []string{"it said: [31mred[0m"}},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			limit := 300 * time.Millisecond
			if !strings.HasPrefix(name, "no end") {
				limit = time.Minute
			}
			_, err := Output(t.Context(), Command{Words: []string{script(t, c.body), "$(id); `id` *"}, Timeout: limit})
			if err == nil || !secrets.Elsewhere(err) {
				t.Fatalf("%v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v; want %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "hvs") || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("it shows too much: %v", err)
			}
			if time.Since(began) > 10*time.Second {
				t.Errorf("it took %s", time.Since(began))
			}
		})
	}
	if _, err := Output(t.Context(), Command{Words: []string{"./tool"}, Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "not on this machine") {
		t.Error(err)
	}
	if _, err := Output(t.Context(), Command{}); err == nil {
		t.Error("no command was run")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Output(ctx, Command{Words: []string{"true"}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What a command prints shows nowhere, though it be neither PEM nor JSON.
func TestPrintedShowsNowhere(t *testing.T) {
	for _, body := range []string{"echo hunter2hunter2", `echo '{"hunter2hunter2hunter2hunter2hunter2hunter2hunter2": "hunter2"}'`, `echo '{"chain": "hunter2", "key": "hunter2"}'`, "echo '{hunter2'"} {
		_, err := (&Store{Run: []string{script(t, body)}}).Certificate(t.Context(), "edge")
		if err == nil || secrets.Elsewhere(err) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", body, err)
		}
	}
	_, err := (&Store{Run: []string{script(t, `echo '{"cert": "x"}'`)}}).Certificate(t.Context(), "edge")
	if err == nil || !strings.Contains(err.Error(), `no field "chain"; it has cert`) || !strings.Contains(secrets.HintOf(err), "chain_field") {
		t.Errorf("%v; %s", err, secrets.HintOf(err))
	}
}

func TestBoundedLeavesNoCopies(t *testing.T) {
	w := &bounded{max: 1 << 20}
	_, _ = w.Write([]byte("secret"))
	first := w.b
	_, _ = w.Write(bytes.Repeat([]byte("x"), 64<<10))
	if bytes.Contains(first[:6], []byte("secret")) || !bytes.HasPrefix(w.b, []byte("secret")) {
		t.Error("a copy is left behind")
	}
}
