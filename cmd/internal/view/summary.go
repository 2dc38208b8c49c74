package view

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// WriteSummary is the last screen: what serves now and from where, how long each phase took, the way back.
func WriteSummary(w io.Writer, l *Look, h Head, m *Model) {
	var b strings.Builder
	total := took(m.Ended.Sub(m.Began))
	title, verb, home := "", " serves from ", " is back"
	if len(m.moved()) > 1 {
		verb, home = " serve from ", " are back"
	}
	switch {
	case m.Outcome == provision.OutcomeDone && m.Graph.Purpose == "abandon":
		title = l.good.Render("Nothing of run " + m.Graph.Of.Short() + " is left")
	case m.Outcome == provision.OutcomeDone && m.Graph.Purpose == "back" && m.Graph.Home == "":
		title = l.good.Render(m.names() + home + " where it was before")
	case m.Outcome == provision.OutcomeDone && m.Graph.Purpose == "back":
		title = l.good.Render(m.names() + home + " at " + m.Graph.Home)
	case m.Outcome == provision.OutcomeDone && m.Graph.Purpose == "deliver":
		title = l.good.Render(m.receivers() + " of run " + m.Graph.Of.Short() + " have it")
	case m.Outcome == provision.OutcomeDone && m.names() != "":
		title = l.good.Render(m.names() + verb + h.Region)
	case m.Outcome == provision.OutcomeDone:
		title = l.good.Render("Done in " + h.Region)
	case m.Outcome == provision.OutcomeStopped:
		title = l.alert.Render("Stopped; nothing is lost")
	default:
		title = l.bad.Render("Failed")
	}
	fmt.Fprintln(&b, l.sides(title, l.bold.Render(total)))
	l.servers(&b, m)
	l.without(&b, m)
	var ps []string
	for _, p := range m.phases() {
		ps = append(ps, p.Name+" "+took(p.Took))
	}
	if len(ps) > 0 {
		fmt.Fprintf(&b, "  %s\n", l.wrap("  ", strings.Join(ps, " · ")))
	}
	for _, n := range m.Notes {
		fmt.Fprintf(&b, "  %s\n", l.wrap("  ", n))
	}
	said := ""
	for _, mv := range m.moves() {
		stale := fmt.Sprintf("Some resolvers may hold the old answer for %s until %s (%d s from the move).",
			mv.name, mv.stale.Local().Format("15:04:05"), int(mv.stale.Sub(mv.moved)/time.Second))
		if mv.done && !mv.lost && mv.stale.After(m.Ended) && m.Graph.Purpose == "failover" && stale != said {
			fmt.Fprintf(&b, "  %s\n", l.wrap("  ", stale))
			said = stale
		}
		switch {
		case !mv.done || m.Graph.Purpose != "failover":
		case mv.lost:
			fmt.Fprintf(&b, "  %s\n", l.wrap("  ", fmt.Sprintf("What %s %s was before the run is not known: its journal was lost.", mv.name, mv.typ)))
		default:
			fmt.Fprintf(&b, "  %s\n", l.wrap("  ", fmt.Sprintf("%s %s was %s", mv.name, mv.typ, orNone(mv.old))))
		}
	}
	for _, s := range m.Graph.Steps {
		for _, stale := range m.steps[s.ID].out.List("stale") {
			fmt.Fprintf(&b, "  %s\n", l.wrap("  ", stale))
		}
	}
	l.ways(&b, h, m)
	_, _ = io.WriteString(w, b.String())
}

func orNone(v []string) string {
	if len(v) == 0 {
		return "not there before"
	}
	if len(v) > 4 {
		return strings.Join(v[:4], ", ") + fmt.Sprintf(" and %d more", len(v)-4)
	}
	return strings.Join(v, ", ")
}

func (l *Look) servers(b *strings.Builder, m *Model) {
	sv := m.servers()
	if m.Graph.Purpose != "failover" {
		return
	}
	for _, s := range m.balancers() {
		fmt.Fprintf(b, "  %s  %s  %s\n", pad(s.slot, 16), pad(s.address, 15), l.dim.Render(s.flavor))
	}
	for i, s := range sv {
		if i == 12 && len(sv) > 14 {
			fmt.Fprintf(b, "  and %d more: failover status %s\n", len(sv)-i, m.Run.Short())
			return
		}
		fmt.Fprintf(b, "  %s  %s  %s\n", pad(s.slot, 16), pad(s.address, 15), l.dim.Render(s.flavor))
	}
}

// without names the servers that failed where the others were enough.
func (l *Look) without(b *strings.Builder, m *Model) {
	told := map[string]bool{}
	for _, s := range m.Graph.Steps {
		if how, why := m.lost(s.Slot); how == failed && !told[s.Slot] && m.Outcome == provision.OutcomeDone {
			told[s.Slot] = true
			fmt.Fprintf(b, "  %s\n", l.wrap("  ", l.alert.Render("without "+s.Slot)+": "+why.err.Error()))
		}
	}
}

// receivers names what a certificate was delivered to.
func (m *Model) receivers() string {
	switch {
	case !m.does("listener.update") && !m.does("cloudbalancer.terminate"):
		return "The servers"
	case !m.does("certificate.deliver"):
		return "The load balancers"
	}
	return "The servers and load balancers"
}

// does reports whether the run has steps of a kind.
func (m *Model) does(kind provision.Kind) bool {
	return slices.ContainsFunc(m.Graph.Steps, func(s provision.Step) bool { return s.Kind == kind })
}

// ways says what to type next.
func (l *Look) ways(b *strings.Builder, h Head, m *Model) {
	run := m.Run.Short()
	switch {
	case h.Sandbox: // there is nothing to go on with: it ends with this process
		fmt.Fprintln(b, "  This was the sandbox: it is gone, with all that was in it.")
	case m.Graph.Purpose == "deliver":
		if m.Outcome != provision.OutcomeDone {
			what := "Leave it as it is"
			if m.does("group.open") {
				what = "Close SSH again, and leave the rest as it is"
			}
			fmt.Fprintf(b, "  Go on: failover resume %s\n  %s: failover abandon %s\n", run, what, run)
		}
	case m.Graph.Purpose != "failover":
		if m.Outcome != provision.OutcomeDone {
			fmt.Fprintf(b, "  Go on: failover %s %s\n", m.Graph.Purpose, m.Graph.Of.Short())
		} else if m.Graph.Purpose == "back" && !m.removes() {
			fmt.Fprintf(b, "  The replacements still run; remove them: failover abandon %s\n", m.Graph.Of.Short())
		}
	case m.Outcome == provision.OutcomeDone && slices.ContainsFunc(m.moves(), func(mv move) bool { return mv.lost }):
		fmt.Fprintf(b, "  Way back: point the name home at your DNS provider, then remove what was made: failover abandon %s\n", run)
	case m.Outcome == provision.OutcomeDone && m.names() == "": // there is nothing to take home
		fmt.Fprintf(b, "  Undo: failover abandon %s\n", run)
	case m.Outcome == provision.OutcomeDone:
		fmt.Fprintf(b, "  Way back: failover back %s\n  Undo:     failover abandon %s\n", run, run)
	default:
		fmt.Fprintf(b, "  Go on: failover resume %s\n  Undo:  failover abandon %s\n", run, run)
	}
}

// removes reports whether the graph removes what a run made.
func (m *Model) removes() bool {
	for _, s := range m.Graph.Steps {
		if s.Say.Stage == provision.StageRemove {
			return true
		}
	}
	return false
}

// WriteOpen lists what a run that has ended left undone.
func WriteOpen(w io.Writer, l *Look, m *Model) {
	if m.Outcome == provision.OutcomeDone {
		return
	}
	name := 0
	for _, r := range m.rows {
		name = max(name, min(plainWidth(r.thing), 30))
	}
	for _, r := range m.rows {
		if s, _ := m.rowState(r); s != done && s != spared {
			_, _ = fmt.Fprintln(w, l.row(m, r, m.Ended, name))
		}
	}
}

// moved gives the names that were moved, each once: one may have records of two types.
func (m *Model) moved() []string {
	var out []string
	for _, mv := range m.moves() {
		if mv.done && !slices.Contains(out, mv.name) {
			out = append(out, mv.name)
		}
	}
	return out
}

func (m *Model) names() string { return fold(m.moved()) }

// WriteError shows an error as three lines: what on which thing, who said what, what to type next.
func WriteError(w io.Writer, l *Look, e *provision.Error) {
	text := e.What
	if e.Thing != "" {
		text = e.Thing + ": " + text
	}
	fmt.Fprintf(w, "%s %s\n", l.bad.Render("error:"), l.wrap("       ", text))
	if e.Said != "" {
		fmt.Fprintf(w, "  said: %s\n", l.wrap("        ", e.Said))
	}
	if e.Hint != "" {
		fmt.Fprintf(w, "  next: %s\n", l.wrap("        ", e.Hint))
	}
}
