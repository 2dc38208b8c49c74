package cli

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
)

func pooled(extra string) []string {
	return []string{"  count       = 2", extra, `within = "60s"`, `within = "20s"`}
}

// left gives the addresses of the servers that are there, and fails where a slot has two.
func (b *bench) left() []string {
	b.t.Helper()
	var out []string
	slots := map[string]bool{}
	for _, s := range b.cloud.Snapshot().Servers {
		if slot := s.Metadata[provision.TagSlot]; s.TaskState != "deleting" {
			if slots[slot] {
				b.t.Errorf("two servers in slot %s", slot)
			}
			slots[slot] = true
			out = append(out, s.Addresses...)
		}
	}
	slices.Sort(out)
	return out
}

// One more server than needed is made; the slowest is not waited for, and is deleted after the cutover.
func TestHedge(t *testing.T) {
	t.Parallel()
	b := newBench(t, []string{"slow-boot=1h:1"}, pooled("  count       = 2\n  hedge = 1")...)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	served, left := b.served().Values, b.left()
	if len(served) != 2 || !slices.Equal(served, left) {
		t.Errorf("the name gives %v, servers are at %v\n%s", served, left, b.err.String())
	}
	if out := b.err.String(); !strings.Contains(out, "given up: not needed") {
		t.Errorf("it does not say what became of the third\n%s", out)
	}
	b.must(exitDone, "abandon", "--yes")
	if left := b.left(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// The name moves as soon as two of three are proven, and the third joins.
func TestQuorum(t *testing.T) {
	t.Parallel()
	b := newBench(t, []string{"slow-boot=3s:1"}, pooled("  count       = 3\n  need = 2")...)
	done := make(chan int)
	go func() { done <- b.do("--region", "ORD", "--sandbox", "--yes") }()
	var seen []int
	for code := -1; code < 0; {
		select {
		case code = <-done:
			if code != exitDone {
				t.Fatalf("exit %d\n%s", code, b.err.String())
			}
		case <-time.After(20 * time.Millisecond):
		}
		if n := len(b.served().Values); len(seen) == 0 || seen[len(seen)-1] != n {
			seen = append(seen, n)
		}
	}
	if !slices.Equal(seen, []int{1, 2, 3}) {
		t.Errorf("the name gave %v addresses in turn", seen)
	}
	if served, left := b.served().Values, b.left(); len(served) != 3 || !slices.Equal(served, left) {
		t.Errorf("the name gives %v, servers are at %v\n%s", served, left, b.err.String())
	}
	b.must(exitDone, "abandon", "--yes")
	if got := b.served().Values; !slices.Equal(got, []string{homeAddress}) {
		t.Errorf("abandoned, the name gives %v", got)
	}
}

// One of three fails for good: the others serve, what is there of it is removed, and the summary names it.
func TestQuorumWithoutOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, []string{"wrong-host-key=1"}, pooled("  count       = 3\n  need = 2")...)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	if served, left := b.served().Values, b.left(); len(served) != 2 || !slices.Equal(served, left) {
		t.Errorf("the name gives %v, servers are at %v\n%s", served, left, b.err.String())
	}
	if out := b.err.String(); !strings.Contains(out, "without collector-") {
		t.Errorf("the summary does not name what failed\n%s", out)
	}
}

// Fewer than are needed can be had: the run fails at once, says so, and moves nothing.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	b := newBench(t, []string{"wrong-host-key=2"}, pooled("  count       = 3\n  need = 2")...)
	b.must(exitFailed, "--region", "ORD", "--sandbox", "--yes")
	if out := b.err.String(); !strings.Contains(out, "no more than 1 can be") {
		t.Errorf("it does not say how many are short\n%s", out)
	}
	if got := b.served().Values; !slices.Equal(got, []string{homeAddress}) {
		t.Errorf("the name gives %v", got)
	}
}

// A run with a hedge whose journal is lost is adopted: those that serve go on to, and what is made anew beside them goes.
func TestAdoptWithAHedge(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, pooled("  count       = 2\n  hedge = 1")...)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	before := b.served().Values
	b.no(os.RemoveAll(b.path("state")))
	b.must(exitDone, "resume", "--adopt", "--region", "ORD", "--yes")
	served, left := b.served().Values, b.left()
	if !slices.Equal(served, before) || !slices.Equal(served, left) {
		t.Errorf("the name gave %v, gives %v, servers are at %v\n%s", before, served, left, b.err.String())
	}
}
