//go:build !windows

package file

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dripstat/failover/provision/store"
)

// work does what a run does with its store, as far as files go.
func work(t *testing.T, dir, run string) error {
	t.Helper()
	s := New(dir)
	defer s.Close()
	ctx := t.Context()
	old, err := s.Read(ctx, "shop/lease.json")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := s.Swap(ctx, "shop/lease.json", old, []byte(run)); err != nil {
		return err
	}
	key := "shop/runs/" + run + ".jsonl"
	if _, err := s.Read(ctx, "shop/runs/01.jsonl"); err != nil && run != "01" {
		return err
	}
	if err := errors.Join(s.Append(ctx, key, []byte("one\n")), s.Append(ctx, "shop/runs/01.jsonl", []byte("two\n")), s.Append(ctx, "shop/runs/aside.jsonl", []byte("x\n"))); err != nil {
		return err
	}
	return s.Aside("shop/runs/aside.jsonl", "forks/"+run)
}

// What is made is its user's alone, whatever the umask lets; in a folder that was made for a group it is that group's.
func TestModes(t *testing.T) {
	for name, tt := range map[string]struct{ root, dir, file fs.FileMode }{
		"private":            {0o700, 0o700, 0o600},
		"open to read":       {0o755, 0o700, 0o600},
		"not handed on":      {0o770, 0o700, 0o600},
		"a group's":          {0o770 | fs.ModeSetgid, 0o770 | fs.ModeSetgid, 0o660},
		"a group's to read":  {0o750 | fs.ModeSetgid, 0o700, 0o600},
		"everyone's to read": {0o775 | fs.ModeSetgid, 0o770 | fs.ModeSetgid, 0o660},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, tt.root)); err != nil {
				t.Fatal(err)
			}
			if err := work(t, dir, "01"); err != nil {
				t.Fatal(err)
			}
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || path == dir {
					return err
				}
				st, err := d.Info()
				if err != nil {
					return err
				}
				have, want := st.Mode()&(fs.ModePerm|fs.ModeSetgid), tt.file
				if d.IsDir() {
					have, want = have&^(tt.root&fs.ModeSetgid&^tt.dir), tt.dir // a folder's setgid is handed on by the system
				}
				if have != want {
					t.Errorf("%s is %v, want %v", path, have, want)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// asUser makes this test binary do work as somebody else.
const asUser = "FAILOVER_TEST_WORK"

// Two people of one machine, in one group beside their own, share a folder that was made for it. A third does not.
func TestGroupShares(t *testing.T) {
	if dir := os.Getenv(asUser); dir != "" {
		syscall.Umask(0o077)
		if err := work(t, dir, os.Getenv(asUser+"_RUN")); err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Getuid() != 0 {
		t.Skip("only root can be two people")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	place, err := os.MkdirTemp("", "store") // t.TempDir is below a folder of root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(place) })
	const group = 61000
	if err := errors.Join(os.Chown(place, 0, group), os.Chmod(place, 0o770|fs.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(place, "tool")
	b, err := os.ReadFile(exe)
	if err = errors.Join(err, os.WriteFile(tool, b, 0o755), os.Chmod(tool, 0o755)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(place, "store")
	if err := errors.Join(os.Mkdir(dir, 0o770), os.Chmod(dir, 0o770|fs.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	for _, who := range []struct {
		uid uint32
		run string
		in  bool
	}{{61001, "01", true}, {61002, "02", true}, {61001, "03", true}, {61003, "04", false}} {
		cmd := exec.Command(tool, "-test.run=^TestGroupShares$")
		cmd.Dir = "/"
		cmd.Env = []string{asUser + "=" + dir, asUser + "_RUN=" + who.run}
		cred := &syscall.Credential{Uid: who.uid, Gid: who.uid}
		if who.in {
			cred.Groups = []uint32{group}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) {
			t.Skip("this root may not be anybody else")
		}
		if (err == nil) != who.in {
			t.Errorf("user %d, run %s: %v\n%s", who.uid, who.run, err, out)
		}
	}
}
