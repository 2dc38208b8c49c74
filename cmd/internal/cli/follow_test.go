package cli

import (
	"slices"
	"testing"
	"time"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
)

// --follow ends with the code of the run that it follows.
func TestFollowEndsAsTheRun(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, []string{"wrong-host-key=1"})
	p.want(exitFailed, nil, "--region", "ORD", "--yes")
	p.want(exitFailed, nil, "status", "--follow")
	p.want(exitDone, nil, "status")
	p.want(exitDone, nil, "abandon", "--yes")
	p.want(exitDone, nil, "status", "--follow") // of the undoing

	p.cloud.ClearFaults()
	p.killedAt(8, 0, "--region", "ORD", "--yes")
	run := eventsOf(t, p.want(exitDone, nil, "status", "--json").out)[0].Run
	_, wait := p.start(nil, "status", string(run), "--follow", "--json") // by its name: it may begin to look when the undoing is the latest. Nobody is at work on it, until somebody undoes it
	p.want(exitDone, nil, "abandon", "--yes")
	if r := wait(); r.code != exitFailed {
		t.Errorf("follower of a run that was undone: exit %d\n%s", r.code, tail(r.err))
	}
	p.want(exitDone, nil, "--region", "ORD", "--yes")
	p.want(exitDone, nil, "status", "--follow")
}

// told is a view that keeps what it is told.
type told struct{ seen []string }

func (v *told) Tell(e provision.Event) { v.seen = append(v.seen, string(e.Step)+": "+e.Seen) }
func (v *told) End()                   {}

// How long the slowest step has been at work is told after ten seconds, and when that has doubled; of one that no record
// tells the beginning of, since what it needs was done.
func TestHeartbeat(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := provision.Graph{Steps: []provision.Step{{ID: "server/a", Kind: "server.create", Say: provision.Say{Stage: provision.StageCreate}},
		{ID: "hostkey/a", Kind: "console.hostkeys", Needs: []provision.StepID{"server/a"}, Say: provision.Say{Stage: provision.StageDeliver}}}}
	b := heartbeat{m: view.NewModel(g, "01RUN", began)}
	v := &told{}
	b.m.Add(provision.Event{Type: provision.StepIntent, Step: "server/a", Time: began.Add(time.Second)})
	for i := range 45 {
		b.tell(v, began.Add(time.Duration(i)*time.Second))
	}
	b.m.Add(provision.Event{Type: provision.StepDone, Step: "server/a", Time: began.Add(45 * time.Second)})
	for i := range 20 {
		b.tell(v, began.Add(time.Duration(45+i)*time.Second))
	}
	want := []string{"server/a: booting for 10s", "server/a: booting for 20s", "server/a: booting for 40s",
		"hostkey/a: waiting for its host key on the console for 10s"}
	if !slices.Equal(v.seen, want) {
		t.Errorf("told %q, want %q", v.seen, want)
	}
}
