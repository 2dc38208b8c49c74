package age

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/secretstest"
)

func issued(t *testing.T) (*Store, string) {
	t.Helper()
	with := &Store{Dir: t.TempDir(), File: "issued.age"}
	id, public, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(with.Dir, "id.txt"), id.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	with.Identity = "id.txt"
	with.Env = func(string) (string, bool) { return "", false }
	return with, public
}

func TestSealed(t *testing.T) {
	s, public := issued(t)
	path := filepath.Join(s.Dir, s.File)
	if v, err := s.Item(t.Context(), "order"); err != nil || !v.IsZero() {
		t.Fatalf("of no file: %v", err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("it was made by looking")
	}
	chain, key := secretstest.NewCA(t).Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
	put := func(x ...secrets.Entry) {
		t.Helper()
		if err := s.Put(t.Context(), x...); err != nil {
			t.Fatal(err)
		}
	}
	put(secrets.Entry{Name: "order", Item: secrets.NewValue([]byte("one"))})
	put(secrets.Entry{Name: "order", Item: secrets.NewValue([]byte("two"))}, secrets.Entry{Name: "edge", Chain: chain, Key: secrets.NewValue(key)})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("%v %v", info, err)
	}
	again := &Store{File: s.File, Identity: s.Identity, Dir: s.Dir}
	if v, err := again.Item(t.Context(), "order"); err != nil || string(v.Bytes()) != "two" {
		t.Errorf("%q %v", v.Bytes(), err)
	}
	if _, err := again.Certificate(t.Context(), "edge"); err != nil {
		t.Error(err)
	}
	ids, err := again.Identities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if list, err := List(path, ids...); err != nil || len(list) != 1 { // what failover seal shows, and keeps
		t.Errorf("%v %v", list, err)
	}
	if err := Add(path, "other", chain, key, nil, ids); err != nil {
		t.Fatal(err)
	}
	if v, err := again.Item(t.Context(), "order"); err != nil || string(v.Bytes()) != "two" {
		t.Errorf("after failover seal: %q %v", v.Bytes(), err)
	}
	b, err := OpenFile(path, ids...)
	if err != nil || len(b.Recipients()) != 1 || b.Recipients()[0] != public {
		t.Errorf("%v %v", b.Recipients(), err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secretstest.Silent(t, key, string(raw))
}

// Several that seal at once lose nothing of each other.
func TestSealedAtOnce(t *testing.T) {
	s, _ := issued(t)
	var wg sync.WaitGroup
	names := strings.Split("abcdefgh", "")
	for _, n := range names {
		wg.Go(func() {
			other := &Store{File: s.File, Identity: s.Identity, Dir: s.Dir}
			if err := other.Put(t.Context(), secrets.Entry{Name: n, Item: secrets.NewValue([]byte(n))}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, n := range names {
		if v, err := s.Item(t.Context(), n); err != nil || string(v.Bytes()) != n {
			t.Errorf("%s: %q %v", n, v.Bytes(), err)
		}
	}
}

// For whom a file is made, and what keeps it from being made or written.
func TestSealedFor(t *testing.T) {
	_, spare, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	s, public := issued(t)
	s.For = []string{public, spare}
	if err := s.Put(t.Context(), secrets.Entry{Name: "x", Item: secrets.NewValue([]byte("y"))}); err != nil {
		t.Fatal(err)
	}
	s.For = nil // it remembers
	if err := s.Put(t.Context(), secrets.Entry{Name: "x", Item: secrets.NewValue([]byte("z"))}); err != nil {
		t.Fatal(err)
	}
	ids, _ := s.Identities(t.Context())
	if b, err := OpenFile(filepath.Join(s.Dir, s.File), ids...); err != nil || len(b.Recipients()) != 2 {
		t.Errorf("%v", err)
	}
	for name, c := range map[string]struct {
		spoil func(s *Store)
		says  string
	}{
		"no identity": {func(s *Store) { s.Identity = "" }, "no identity to open it with"},
		"no folder":   {func(s *Store) { s.File = "away/issued.age" }, "the folder of away/issued.age is not there"},
		"a file for others": {func(s *Store) {
			s.For = []string{spare}
			_ = s.Put(t.Context(), secrets.Entry{Name: "x", Item: secrets.NewValue([]byte("y"))})
			s.For = nil
		}, "sealed for other identities"},
		"a wrong recipient":   {func(s *Store) { s.For = []string{"age1nonsense"} }, "is not a recipient"},
		"something else":      {func(s *Store) { _ = os.WriteFile(filepath.Join(s.Dir, s.File), []byte("PK\x03\x04"), 0o600) }, "this is not an age file"},
		"a file of passwords": {func(s *Store) { _ = os.WriteFile(filepath.Join(s.Dir, s.Identity), []byte("hunter2hunter2\n"), 0o600) }, "that is not an identity"},
	} {
		s, _ := issued(t)
		c.spoil(s)
		err := s.Ready(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
