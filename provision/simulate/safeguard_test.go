package simulate

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/engine"
	"github.com/dripstat/failover/provision/steps"
)

// safeguard names one that is taken away, here and not in the product, to show that the simulation notices.
type safeguard string

const (
	intents  safeguard = "the record of what is about to be sent"
	looks    safeguard = "the look for the tag before a create"
	fences   safeguard = "the lease that is asked before every change"
	proofs   safeguard = "the proof before DNS"
	restores safeguard = "the restored names before anything is removed"
	homes    safeguard = "the proof of home before going back"
	drains   safeguard = "the wait for caches before anything is removed"
	teams    safeguard = "the lease in the shared store"
	merges   safeguard = "the merging of what a machine could not share"
	firsts   safeguard = "the proof of the first server before others are delivered to"
	chains   safeguard = "the journals of other runs when one is undone"
)

// TestSafeguards takes each safeguard away: within so many seeds it has to be missed.
func TestSafeguards(t *testing.T) {
	for _, tt := range []struct {
		without safeguard
		says    string
	}{
		{intents, "without a recorded intent"},
		{looks, "servers for one slot"},
		{fences, "without the lease"},
		{proofs, "has not proven"},
		{restores, "where no server of ours lives"},
		{homes, "home does not answer"},
		{drains, "caches may hold"},
		{teams, "without the lease"},
		{merges, "shared store lacks"},
		{firsts, "before the first one was proven"},
		{chains, "where no server of ours lives"},
	} {
		t.Run(string(tt.without), func(t *testing.T) {
			for seed := range uint64(missedWithin) {
				if r := play(t, seed, tt.without); slices.ContainsFunc(r.problems, func(p string) bool { return strings.Contains(p, tt.says) }) {
					t.Logf("missed at seed %d", seed)
					return
				}
			}
			t.Errorf("nothing noticed in %d seeds", missedWithin)
		})
	}
}

const missedWithin = 300

// recorder keeps intents from the journal.
func (s safeguard) recorder(r engine.Recorder) engine.Recorder {
	if s == intents {
		return forgetful{r}
	}
	return r
}

type forgetful struct{ engine.Recorder }

func (f forgetful) Append(ctx context.Context, e provision.Event) (provision.Event, error) {
	if e.Type == provision.StepIntent {
		return e, nil
	}
	return f.Recorder.Append(ctx, e)
}

func (s safeguard) lease(held func() error) func() error {
	if s == fences {
		return nil
	}
	return held
}

// handlers makes server.create believe that nothing is there until this process has sent something.
func (s safeguard) handlers(m map[provision.Kind]engine.Handler) {
	if s == looks {
		m[steps.ServerCreate] = &blind{Handler: m[steps.ServerCreate], sent: map[provision.StepID]bool{}}
	}
}

type blind struct {
	engine.Handler
	mu   sync.Mutex
	sent map[provision.StepID]bool
}

func (b *blind) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	b.mu.Lock()
	sent := b.sent[s.ID]
	b.mu.Unlock()
	if !sent {
		return provision.Status{State: provision.Absent}, nil
	}
	return b.Handler.Check(ctx, s, in)
}

func (b *blind) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	b.mu.Lock()
	b.sent[s.ID] = true
	b.mu.Unlock()
	return b.Handler.Do(ctx, s, in)
}

// graph lets DNS be moved without proofs.
func (s safeguard) graph(g provision.Graph) provision.Graph {
	if s != proofs {
		return g
	}
	return without(g, func(of, needed provision.Step) bool {
		return of.Kind == steps.DNSMove && needed.Kind == steps.ServiceProve
	})
}

// reverse lets things be removed before names are restored.
func (s safeguard) reverse(g provision.Graph) provision.Graph {
	if s != restores {
		return g
	}
	return without(g, func(of, needed provision.Step) bool {
		return of.Say.Stage == provision.StageRemove && needed.Say.Stage == provision.StageRestore
	})
}

// back lets names go home without proof, or things be removed before caches are empty.
func (s safeguard) back(g provision.Graph) provision.Graph {
	switch s {
	case homes:
		return without(g, func(of, needed provision.Step) bool {
			return of.Kind == steps.DNSRestore && needed.Kind == steps.ServiceProve
		})
	case drains:
		return without(g, func(of, needed provision.Step) bool {
			return of.Say.Stage == provision.StageRemove && needed.Kind == steps.DNSExpire
		})
	}
	return g
}

// others keeps what other runs did from an undoing.
func (s safeguard) others(journals [][]provision.Event) [][]provision.Event {
	if s == chains {
		return nil
	}
	return journals
}

// redeliver lets all servers of a block have a renewed certificate at once.
func (s safeguard) redeliver(g provision.Graph) provision.Graph {
	if s != firsts {
		return g
	}
	return without(g, func(of, needed provision.Step) bool {
		return of.Kind == steps.CertificateDeliver && (needed.Kind == steps.ServiceProve || needed.Kind == steps.LoginReplace)
	})
}

// without gives the graph with some needs left out.
func without(g provision.Graph, drop func(of, needed provision.Step) bool) provision.Graph {
	out := g
	out.Steps = slices.Clone(g.Steps)
	for i, s := range out.Steps {
		out.Steps[i].Needs = slices.DeleteFunc(slices.Clone(s.Needs), func(id provision.StepID) bool {
			needed, _ := g.Step(id)
			return drop(s, needed)
		})
	}
	return out
}
