package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision/store"
	"github.com/dripstat/failover/provision/store/storetest"
)

var _ store.Store = (*Store)(nil)

func open(t *testing.T) *Store {
	t.Helper()
	s := New(filepath.Join(t.TempDir(), "state"))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestNewTouchesNothing(t *testing.T) {
	s := open(t)
	if keys, err := s.List(t.Context(), ""); err != nil || keys != nil {
		t.Errorf("%v, %v", keys, err)
	}
	if _, err := s.Read(t.Context(), "a/b"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, err := os.Stat(s.Dir()); err == nil {
		t.Error("the folder was made by reading")
	}
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() storetest.Store {
		dir := t.TempDir()
		return func() storetest.Store {
			s := New(dir)
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
	})
}

func TestAppend(t *testing.T) {
	s, ctx := open(t), t.Context()
	const k = "shop/runs/01.jsonl"
	for i := range 3 {
		if err := s.Append(ctx, k, fmt.Appendf(nil, "line %d\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	if b, _ := s.Read(ctx, k); string(b) != "line 0\nline 1\nline 2\n" {
		t.Errorf("%q", b)
	}
	if err := s.Swap(ctx, "shop/lease.json", nil, []byte("x")); err != nil {
		t.Fatal(err)
	}
	keys, err := s.List(ctx, "shop/")
	if d := cmp.Diff([]string{"shop/lease.json", k}, keys); d != "" || err != nil {
		t.Errorf("keys (-want +got): %v\n%s", err, d)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, p := range []string{s.Path(k), s.Path("shop/lease.json")} {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", p, st.Mode(), err)
		}
	}
	if st, err := os.Stat(filepath.Dir(s.Path(k))); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", st.Mode(), err)
	}
}

// What a crash left of a line is cut before the next is written.
func TestAppendCutsATornLine(t *testing.T) {
	for _, tt := range []struct{ left, want string }{
		{"one\ntw", "one\nnew\n"}, {"on", "new\n"}, {"one\n", "one\nnew\n"}, {"", "new\n"},
	} {
		s := open(t)
		p := s.Path("runs/01.jsonl")
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(tt.left), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(t.Context(), "runs/01.jsonl", []byte("new\n")); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(p); string(b) != tt.want {
			t.Errorf("after %q: %q, want %q", tt.left, b, tt.want)
		}
	}
}

func TestReadOnlyFolder(t *testing.T) {
	if os.Getuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("nothing is read-only to this user")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	s := New(dir)
	if err := s.Append(t.Context(), "shop/runs/01.jsonl", []byte("x\n")); !errors.Is(err, os.ErrPermission) {
		t.Errorf("append: %v", err)
	}
	if err := s.Swap(t.Context(), "shop/lease.json", nil, []byte("x")); !errors.Is(err, os.ErrPermission) {
		t.Errorf("swap: %v", err)
	}
}

// A lock that another holds is waited for only as long as the context allows.
func TestSwapWaitsNoLongerThanItsContext(t *testing.T) {
	s := open(t)
	if err := s.Swap(t.Context(), "k", nil, []byte("x")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Swap(ctx, "k", []byte("x"), []byte("y")); err == nil {
		t.Skip("the lock was free, and a free lock needs no wait")
	} else if b, _ := s.Read(t.Context(), "k"); string(b) != "x" || !strings.Contains(err.Error(), "lock") {
		t.Errorf("%q, %v", b, err)
	}
}

// A line that another process has torn since this one opened the file is not joined: whoever writes there
// now is another, and this one stops.
func TestAppendAfterAnothersTornLine(t *testing.T) {
	s := New(t.TempDir())
	defer s.Close()
	if err := s.Append(t.Context(), "a/b", []byte("one\n")); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.Path("a/b"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("tor")
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), "a/b", []byte("two\n")); !errors.Is(err, store.ErrChanged) {
		t.Fatal(err)
	}
	next := New(s.Dir()) // whoever takes it up next cuts it away
	defer next.Close()
	if err := next.Append(t.Context(), "a/b", []byte("two\n")); err != nil {
		t.Fatal(err)
	}
	if b, err := next.Read(t.Context(), "a/b"); err != nil || string(b) != "one\ntwo\n" {
		t.Errorf("%q %v", b, err)
	}
}
