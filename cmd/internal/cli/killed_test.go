package cli

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/templates"
)

// quick makes the built-in plan's run short, with everything that it does.
var quick = []string{"ttl  = 60", "ttl  = 30"}

// The process is killed with SIGKILL at a record of the journal of a whole run (certificate, delivery, proof, DNS), and
// resumed by another: the end is the same, whichever record it was, and undoing leaves nothing. By default at some of them;
// with FAILOVER_KILL=all every one, right when it is told and a few milliseconds later, when
// what it announced is under way.
func TestKilledAtAnyRecord(t *testing.T) {
	t.Parallel()
	whole := newProcesses(t, nil, quick...)
	r := whole.want(exitDone, nil, "--region", "ORD", "--yes", "--json")
	whole.serves()
	last := 0
	for _, e := range eventsOf(t, r.out) {
		last = max(last, e.Seq)
	}
	if last < 30 {
		t.Fatalf("a whole run has %d records", last)
	}
	// The last record is the run's end: there is nothing to go on with.
	for n := 1; n < last; n++ {
		for i, delay := range []time.Duration{0, 4 * time.Millisecond} {
			if os.Getenv("FAILOVER_KILL") != "all" && n%9 != 4*i || delay > 0 && n == last-1 {
				continue
			}
			t.Run(fmt.Sprintf("%d+%s", n, delay), func(t *testing.T) {
				t.Parallel()
				p := newProcesses(t, nil, quick...)
				before := p.cloud.Snapshot()
				p.killedAt(n, delay, "--region", "ORD", "--yes")
				p.want(exitDone, nil, "resume")
				p.serves()
				p.certified()
				if n%2 == 0 {
					p.want(exitDone, nil, "abandon", "--yes")
					p.asBefore(before)
				}
			})
		}
	}
}

// certified fails unless every server has the certificate, for root alone, and port 22 is shut.
func (b *bench) certified() {
	b.t.Helper()
	for _, s := range b.cloud.Snapshot().Servers {
		data, mode, owner, err := b.cloud.ReadFile(s.ID, templates.CertificatePath("edge", false))
		if err != nil || !strings.Contains(string(data), "PRIVATE KEY") || mode&0o077 != 0 || owner != "root:root" {
			b.t.Errorf("the certificate of %s: %v, mode %s, of %s", s.Name, err, mode, owner)
		}
	}
	for _, r := range b.rules("ORD") {
		if r.Direction == "ingress" && string(r.Min) == "22" {
			b.t.Error("port 22 is open")
		}
	}
}

func eventsOf(t *testing.T, lines string) []provision.Event {
	t.Helper()
	var numbered []string
	for l := range strings.Lines(lines) {
		if strings.Contains(l, `"seq":`+strconv.Itoa(len(numbered)+1)+",") {
			numbered = append(numbered, l)
		}
	}
	out, err := journal.Parse([]byte(strings.Join(numbered, "")))
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clip(out)
}
