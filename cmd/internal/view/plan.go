package view

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// Head is the first line of everything: who, where to, from which file.
type Head struct {
	Service, Region, Home, Plan string
	Purpose                     string
	Sandbox                     bool
	Following                   bool // from elsewhere: ^C does nothing to the run
	Glance                      bool // it is shown once: there is nothing to press ^C at
}

func (h Head) title() string {
	switch h.Purpose {
	case "", "failover":
		return fmt.Sprintf("failover %s → %s", h.Service, h.Region)
	case "back":
		return fmt.Sprintf("failover back %s from %s", h.Service, h.Region)
	}
	return fmt.Sprintf("failover %s %s in %s", h.Purpose, h.Service, h.Region)
}

// WritePlan shows what a run would do: the very graph that the engine would run.
func WritePlan(w io.Writer, l *Look, h Head, g provision.Graph, f provision.Facts) {
	var b strings.Builder
	warns := 0
	for _, x := range f.Findings {
		if x.Weight == provision.Warn {
			warns++
		}
	}
	var head []string
	if h.Home != "" {
		head = append(head, "home "+h.Home)
	}
	if h.Plan != "" {
		head = append(head, h.Plan)
	}
	if f.Checks > 0 { // an undo has no preflight
		checks := fmt.Sprintf("%d checks ok", f.Checks)
		if warns > 0 {
			checks += fmt.Sprintf(", %d %s", warns, plural(warns, "warning"))
		}
		head = append(head, checks)
	}
	right := strings.Join(head, " · ")
	title := l.bold.Render(h.title())
	if len([]rune(h.title()))+len([]rune(right))+4 > l.Width {
		fmt.Fprintf(&b, "%s\n%s\n\n", title, l.dim.Render(right))
	} else {
		fmt.Fprintf(&b, "%s\n\n", l.sides(title, l.dim.Render(right)))
	}
	lines := planLines(g)
	thing := 0
	for _, x := range lines {
		thing = max(thing, len([]rune(x.things)))
	}
	thing = min(thing, 26)
	for i, x := range lines {
		left := fmt.Sprintf(" %2d  %s  %s  ", i+1, l.bold.Render(pad(string(x.stage), 7)), pad(x.things, thing))
		indent := strings.Repeat(" ", 14)
		expect := ""
		if x.expect >= 2*time.Second { // moments are not worth a reader's eye
			expect = l.dim.Render(about(x.expect))
		}
		line := left + x.detail
		switch {
		case plainWidth(x.things) > thing || plainWidth(line)+plainWidth(expect)+1 > l.Width:
			fmt.Fprintf(&b, "%s\n%s%s\n", strings.TrimRight(l.sides(strings.TrimRight(left, " "), expect), " "), indent, l.wrap(indent, x.detail))
		case expect == "":
			fmt.Fprintln(&b, line)
		default:
			fmt.Fprintln(&b, l.sides(line, expect))
		}
	}
	fmt.Fprintln(&b)
	WriteFindings(&b, l, f.Findings)
	if len(f.Findings) > 0 {
		fmt.Fprintln(&b)
	}
	_, _ = io.WriteString(w, b.String())
}

// WriteDryEnd closes a dry run.
func WriteDryEnd(w io.Writer, l *Look, h Head, g provision.Graph) {
	what := "A run started now serves from " + h.Region
	switch g.Purpose {
	case "deliver":
		what = "A run started now has delivered it"
	case "abandon", "back":
		what = "Begun now, it is done"
	}
	text := fmt.Sprintf("%s in %s. Nothing was changed.", what, about(Expect(g)))
	_, _ = fmt.Fprintln(w, l.wrap("", text))
}

// WriteFindings shows each finding with its place and its remedy.
func WriteFindings(w io.Writer, l *Look, fs []provision.Finding) {
	for _, f := range fs {
		style := l.dim
		label := "note"
		switch f.Weight {
		case provision.Refuse:
			style, label = l.bad, "refused"
		case provision.Warn:
			style, label = l.alert, "warning"
		}
		text := f.String()
		if p := f.Pos.String(); p != "" && f.Weight != provision.Noted {
			text += " (" + p + ")"
		}
		fmt.Fprintf(w, "%s  %s\n", style.Render(pad(label, 7)), l.wrap("         ", text))
		if f.Hint != "" {
			fmt.Fprintf(w, "         next: %s\n", l.wrap("               ", f.Hint))
		}
	}
}

// planLine is one line of the plan: like steps together.
type planLine struct {
	stage  provision.Stage
	things string
	detail string
	expect time.Duration
}

// planLines folds steps of one stage that say the same into one line, in the order of stages.
func planLines(g provision.Graph) []planLine {
	type group struct {
		planLine
		list []string
	}
	var groups []*group
	for _, stage := range provision.Stages {
		byDetail := map[string]*group{}
		var quiet time.Duration
		for _, s := range g.Steps {
			if s.Say.Stage != stage {
				continue
			}
			if s.Say.Detail == "" { // a part of what the stage's next line says
				quiet = max(quiet, time.Duration(s.Expect))
				continue
			}
			x := byDetail[s.Say.Detail]
			if x == nil {
				x = &group{planLine: planLine{stage: stage, detail: s.Say.Detail}}
				byDetail[s.Say.Detail] = x
				groups = append(groups, x)
			}
			if !slices.Contains(x.list, s.Say.Thing) {
				x.list = append(x.list, s.Say.Thing)
			}
			x.expect = max(x.expect, quiet+time.Duration(s.Expect))
		}
	}
	out := make([]planLine, len(groups))
	for i, x := range groups {
		out[i] = x.planLine
		out[i].things = fold(x.list)
	}
	return out
}

// fold shortens a long list: "collector-1 … collector-200 (200)".
func fold(list []string) string {
	if len(list) <= 3 {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s … %s (%d)", list[0], list[len(list)-1], len(list))
}

// Expect is the usual time along the longest way through the graph.
func Expect(g provision.Graph) time.Duration {
	end := map[provision.StepID]time.Duration{}
	order, err := g.Order()
	if err != nil {
		return 0
	}
	var longest time.Duration
	for _, id := range order {
		s, _ := g.Step(id)
		var from time.Duration
		for _, n := range s.Needs {
			from = max(from, end[n])
		}
		end[id] = from + time.Duration(s.Expect)
		longest = max(longest, end[id])
	}
	return longest
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
