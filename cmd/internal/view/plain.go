package view

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
)

// Plain writes a line for each thing that happened: for logs, pipes and dumb terminals.
type Plain struct {
	out  io.Writer
	look *Look
	head Head

	mu   sync.Mutex
	m    *Model
	said map[provision.StepID]string // the last error of a step that was shown
	// slots that were said to be given up
	spared map[string]bool
}

// NewPlain gives the view of a run that is about to begin.
func NewPlain(out io.Writer, look *Look, h Head, m *Model) *Plain {
	return &Plain{out: out, look: look, head: h, m: m, said: map[provision.StepID]string{}, spared: map[string]bool{}}
}

// Tell writes what changed.
func (p *Plain) Tell(e provision.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.m.Add(e)
	at := took(e.Time.Sub(p.m.Began))
	line := func(f string, a ...any) { _, _ = fmt.Fprintf(p.out, "%11s  %s\n", at, fmt.Sprintf(f, a...)) }
	s := p.m.steps[e.Step]
	switch e.Type {
	case provision.RunStarted: // a log that is cut off says what it is of
		line("run %s of %s: %s", e.Run.Short(), e.Time.Local().Format("2006-01-02 15:04:05 MST"), p.head.title())
	case provision.RunResumed:
		line("run %s goes on, %s: %s", e.Run.Short(), e.Time.Local().Format("2006-01-02 15:04:05 MST"), p.head.title())
	case provision.StepIntent:
		if e.Attempt > 1 {
			line("%s: attempt %d", e.Step, e.Attempt)
		}
	case provision.StepSeen:
		if seen := strings.TrimPrefix(e.Seen, string(e.Step)+": "); seen != p.said[e.Step] { // an error is told when it is answered
			line("%s: %s", e.Step, seen)
		}
	case provision.StepDone:
		line("%s: %s (%s)", e.Step, strings.TrimSuffix("done, "+p.look.past(s), ", "), took(time.Duration(e.Took*float64(time.Second))))
	case provision.StepFailed:
		line("%s: FAILED: %s", e.Step, trouble(e))
	case provision.StepCleared:
		if s != nil && s.Undo.Kind != "" {
			line("%s: what the attempt left is removed", e.Step)
		}
	case provision.StepSkipped:
		if s != nil && !p.spared[s.Slot] { // a line for each slot is enough
			p.spared[s.Slot] = true
			line("%s: given up: %s", s.Slot, e.Message)
		}
	case provision.Stopping:
		line("stopping: nothing new is begun")
	case provision.Note, provision.LeaseTaken:
		line("%s", e.Message)
	}
}

// trouble is the error of a step's event without the step's name, which begins the line already.
func trouble(e provision.Event) string {
	return strings.TrimPrefix(e.Error.Error(), string(e.Step)+": ")
}

// End writes the summary.
func (p *Plain) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m.Ended.IsZero() { // it was only looked at
		return
	}
	_, _ = fmt.Fprintln(p.out)
	WriteSummary(p.out, p.look, p.head, p.m)
}
