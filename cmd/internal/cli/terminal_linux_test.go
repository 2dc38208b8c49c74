package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/dripstat/failover/provision/lock"
	"github.com/dripstat/failover/provision/store/file"
)

// echoes reports whether a terminal shows what is typed.
func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	var now syscall.Termios
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&now))); e != 0 {
		t.Error(e)
	}
	return now.Lflag&syscall.ECHO != 0
}

// terminal gives the bench a person: a pseudo-terminal that commands read from and write to. What they write
// goes to the bench's standard error, and answer types a line once they have asked for it.
func (b *bench) terminal() (answer func(question, line string)) {
	b.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		b.t.Skip(err)
	}
	b.t.Cleanup(func() { _ = master.Close() })
	ioctl := func(req uintptr, arg *int32) {
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), req, uintptr(unsafe.Pointer(arg))); e != 0 {
			b.t.Fatal(e)
		}
	}
	var n, unlocked int32
	ioctl(syscall.TIOCSPTLCK, &unlocked)
	ioctl(syscall.TIOCGPTN, &n)
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	b.no(err)
	b.keyboard = master
	b.t.Cleanup(func() { _ = tty.Close() })
	b.app.In, b.app.Err = tty, tty
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			_, _ = b.err.Write(buf[:n])
		}
	}()
	return func(question, line string) {
		b.t.Helper()
		re := regexp.MustCompile(question)
		for deadline := time.Now().Add(20 * time.Second); !re.MatchString(b.err.String()); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				b.t.Errorf("nobody asked %q:\n%s", question, b.err.String())
				return
			}
		}
		if strings.HasPrefix(question, "Passphrase") && echoes(b.t, tty) {
			b.t.Errorf("%q is there, and what is typed is shown", question)
		}
		if _, err := fmt.Fprintln(master, line); err != nil {
			b.t.Error(err)
		}
	}
}

// told fails unless the terminal comes to show a pattern.
func (b *bench) told(pattern string) {
	b.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(5 * time.Second); !re.MatchString(b.err.String()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Errorf("it does not say %q:\n%s", pattern, b.err.String())
			return
		}
	}
}

// asked runs a command whose one question is answered.
func (b *bench) asked(want int, question, line string, args ...string) {
	b.t.Helper()
	b.err.mu.Lock()
	b.err.b.Reset()
	b.err.mu.Unlock()
	answer := b.terminal()
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer(question, line)
	}()
	b.must(want, args...)
	<-done
}

// A person is asked before anything is changed; everything but a yes is a no.
func TestConsent(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, no := range []string{"", "n", "maybe", "yess"} {
		b.asked(exitUsage, `Start now\? .*\[y/N\] `, no, "--region", "ORD", "--sandbox")
		b.told("nothing was touched")
	}
	if n := b.cloud.Writes(); n != 0 {
		t.Errorf("%d writing requests were sent after a no", n)
	}
	b.asked(exitDone, `Start now\?`, "y", "--region", "ORD", "--sandbox")
	b.serves()
}

// booting waits until a process only waits for its servers: it writes no record then, and holds no file.
func (b *bench) booting(cmd *exec.Cmd) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if files, _ := filepath.Glob(b.path("state/dripstat/runs/*.jsonl")); len(files) == 1 {
			if text, _ := os.ReadFile(files[0]); strings.Count(string(text), `"type":"step.sent","step":"server/`) == 2 {
				time.Sleep(200 * time.Millisecond)
				return
			}
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			b.t.Fatal("no servers")
		}
	}
}

// The lock of a run that is at work is taken by typing the service's name, and by nothing else.
func TestTakeOverAtATerminal(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, []string{"slow-boot=1500ms"})
	b := p.bench
	first, wait := p.start(nil, "--region", "ORD", "--yes")
	b.booting(first)
	for _, no := range []string{"", "y", "yes", "dripsta"} {
		b.asked(exitLocked, "Type dripstat to take it over", no, "resume")
		b.told("locked by .*, run 01")
	}
	b.asked(exitDone, `(?s)locked by .*If you take the lock over, it stops before its next change.*Type dripstat`, "dripstat", "resume")
	b.told("took the lock over from .*, who was at work")
	r := wait()
	if r.code != exitStopped || !strings.Contains(r.err, "the lock was taken over by") || !strings.Contains(r.err, "failover status --follow") {
		t.Errorf("the one who lost it: exit %d\n%s", r.code, r.err)
	}
	b.serves()
}

// At a terminal the way back ends with a question: are the replacements to go as well?
func TestBackAsks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		yes    string
		region []string
	}{{"n", []string{"IAD", "IAD", "ORD", "ORD"}}, {"y", []string{"ORD", "ORD"}}} {
		t.Run(tt.yes, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil, "ttl  = 60", "ttl  = 1")
			b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
			home := b.served().Values
			b.must(exitDone, "--region", "IAD", "--sandbox", "--yes")
			answer := b.terminal()
			done := make(chan struct{})
			go func() {
				defer close(done)
				answer(`Go back home from run \w+\? \[y/N\] `, "y")
				answer(`Remove the replacements of run \w+ now\? .*\[y/N\] `, tt.yes)
			}()
			b.must(exitDone, "back")
			<-done
			if tt.yes == "y" {
				b.told("Nothing of run .* is left")
			} else {
				b.told("The replacements still run; remove them: failover abandon")
			}
			if got := b.served().Values; !slices.Equal(got, home) {
				t.Errorf("served %v, want %v", got, home)
			}
			var regions []string
			for _, s := range b.cloud.Snapshot().Servers {
				regions = append(regions, s.Region)
			}
			if slices.Sort(regions); !slices.Equal(regions, tt.region) {
				t.Errorf("servers in %v, want %v", regions, tt.region)
			}
		})
	}
}

// A laptop sleeps in the middle of a run, for longer than its lease lives: whoever comes meanwhile gets the lock, and
// the run sends nothing when it wakes up. That the lease is over is told by its file, not waited for.
func TestSleepingRunLosesTheLock(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, []string{"slow-boot=1500ms"})
	b := p.bench
	cmd, wait := p.start(nil, "--region", "ORD", "--yes")
	b.booting(cmd)
	b.no(cmd.Process.Signal(syscall.SIGSTOP))
	st := file.New(b.path("state"))
	h, expired, err := lock.Show(t.Context(), st, "dripstat")
	if err != nil || h == nil || expired {
		t.Fatalf("%+v, %t, %v", h, expired, err)
	}
	b.must(exitLocked, "resume")
	b.expire(st, *h)
	b.must(exitDone, "resume") // the process lives: only the expiry gives the lock
	b.serves()
	writes := b.cloud.Writes()
	b.no(cmd.Process.Signal(syscall.SIGCONT))
	r := wait()
	if r.code != exitStopped || !strings.Contains(r.err, "lock") {
		t.Errorf("the one that slept: exit %d\n%s", r.code, r.err)
	}
	if n := b.cloud.Writes(); n != writes {
		t.Errorf("it sent %d writing requests when it woke up", n-writes)
	}
	b.serves()
}

// expire puts the end of a lease into the past.
func (b *bench) expire(st *file.Store, h lock.Holder) {
	b.t.Helper()
	old, err := st.Read(b.t.Context(), lock.Key("dripstat"))
	b.no(err)
	h.Expires = time.Now().Add(-time.Second)
	next, err := json.Marshal(h)
	b.no(err)
	b.no(st.Swap(b.t.Context(), lock.Key("dripstat"), old, next))
}
