package file

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

// A disk that is full in the middle of a line keeps nothing of that line, and all of those before. A limit
// on the size of files stands for the disk; it is set in a process of its own, since it cannot be lifted again.
func TestFullDiskKeepsWholeLines(t *testing.T) {
	if dir := os.Getenv("FILE_TEST_FULL"); dir != "" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 100, Max: 4096}); err != nil {
			t.Skip(err)
		}
		s := New(dir)
		line := append(bytes.Repeat([]byte("x"), 59), '\n')
		if err := s.Append(t.Context(), "k", line); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(t.Context(), "k", line); err == nil {
			t.Fatal("120 bytes went into 100")
		}
		if b, err := os.ReadFile(s.Path("k")); err != nil || !bytes.Equal(b, line) {
			t.Fatalf("what is kept: %q, %v", b, err)
		}
		// There is room again: the journal's next process goes on from there.
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: 4096}); err != nil {
			t.Fatal(err)
		}
		if err := New(dir).Append(t.Context(), "k", line); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(s.Path("k")); err != nil || len(b) != 120 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestFullDiskKeepsWholeLines$")
	cmd.Env = append(os.Environ(), "FILE_TEST_FULL="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
