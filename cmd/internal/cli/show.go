package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
)

// refuse reports every finding and gives exit code 3.
func (a *App) refuse(plan provision.Plan, regions []string, fs []provision.Finding, json bool) error {
	if json {
		v := view.NewJSON(a.Out)
		for i := range fs {
			v.Tell(provision.Event{V: provision.EventVersion, Time: time.Now().UTC(), Type: provision.Found, Finding: &fs[i]})
		}
	} else {
		l := a.look(a.Err)
		_, _ = fmt.Fprintf(a.Err, "failover %s → %s: refused before anything was touched\n\n", plan.Service, strings.Join(regions, ", "))
		view.WriteFindings(a.Err, l, fs)
	}
	return &exitError{code: exitRefused, quiet: true, err: errors.New("preflight refused")}
}

// showPlan is what a dry run says, of any command.
func (a *App) showPlan(head view.Head, g provision.Graph, f provision.Facts, json bool) {
	if json {
		v := view.NewJSON(a.Out)
		now := time.Now().UTC()
		for i := range f.Findings {
			v.Tell(provision.Event{V: provision.EventVersion, Time: now, Type: provision.Found, Finding: &f.Findings[i]})
		}
		v.Tell(provision.Event{V: provision.EventVersion, Time: now, Type: provision.Planned, Graph: &g})
		return
	}
	l := a.look(a.Out)
	view.WritePlan(a.Out, l, head, g, f)
	view.WriteDryEnd(a.Out, l, head, g)
}
