package age

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/secretstest"
)

func TestBackend(t *testing.T) {
	secretstest.Run(t, func(t *testing.T) secretstest.Subject {
		dir := t.TempDir()
		id, public := identity(t)
		if err := os.WriteFile(filepath.Join(dir, "id.txt"), []byte(id.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "secrets.age")
		return secretstest.Subject{
			Backend: &Store{File: "secrets.age", Identity: "id.txt", Dir: dir},
			Put: func(t *testing.T, path string, chain, key []byte) bool {
				// As if by another tool: failover seal refuses what does not belong together.
				b := &Bundle{c: content{Version: version, Recipients: []string{public}}}
				b.c.Entries = append(b.c.Entries, entry{path, slices.Clone(chain), slices.Clone(key), time.Now()})
				if err := b.write(file, []age.Recipient{id.Recipient()}); err != nil {
					t.Fatal(err)
				}
				return true
			},
			Lose: func(t *testing.T) {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// What cannot be opened here may be had elsewhere; what was changed may not.
func TestElsewhere(t *testing.T) {
	dir := t.TempDir()
	id, public := identity(t)
	rs, err := Recipients([]string{public}, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "secrets.age")
	seal(t, file, "edge", rs, id)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := identity(t)
	for name, c := range map[string]struct {
		env  string
		file []byte
		want bool
	}{
		"good":                 {id.String(), whole, false},
		"no identity":          {"", whole, true},
		"another identity":     {other.String(), whole, true},
		"cut off":              {id.String(), whole[:len(whole)-20], false},
		"something else":       {id.String(), []byte("PK\x03\x04"), false},
		"empty":                {id.String(), nil, false},
		"an identity of sorts": {"AGE-SECRET-KEY-1QQ", whole, true},
	} {
		if err := os.WriteFile(file, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		s := &Store{File: "secrets.age", Dir: dir, Env: func(string) (string, bool) { return c.env, true }}
		_, err := s.Certificate(t.Context(), "edge")
		if (err == nil) != (name == "good") || secrets.Elsewhere(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if name == "no identity" && !errors.Is(err, ErrNoIdentity) {
			t.Errorf("%v is not ErrNoIdentity", err)
		}
	}
}
