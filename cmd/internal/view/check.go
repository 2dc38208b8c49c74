package view

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// Check is what failover check found.
type Check struct {
	Service, Plan string
	Places        []provision.Place
	Regions       []provision.Verdict
}

// Refused reports whether a run would be refused somewhere; strict: or would have to be warned.
func (c Check) Refused(strict bool) bool {
	warns := func(f provision.Finding) bool { return f.Weight == provision.Warn }
	return slices.ContainsFunc(c.Regions, func(v provision.Verdict) bool { return !v.Works || strict && slices.ContainsFunc(v.Findings, warns) }) ||
		strict && slices.ContainsFunc(c.Places, func(p provision.Place) bool { return !p.Works || slices.ContainsFunc(p.Findings, warns) })
}

// WriteCheck shows the places of each certificate, then the regions.
func WriteCheck(w io.Writer, l *Look, c Check) {
	_, _ = fmt.Fprintf(w, "%s\n", l.sides(l.bold.Render("failover check "+c.Service), l.dim.Render(c.Plan)))
	last := ""
	for _, p := range c.Places {
		name := "certificate " + p.Certificate
		if p.Region != "" {
			name += " in " + p.Region
		}
		if name != last {
			_, _ = fmt.Fprintf(w, "\n%s\n", l.bold.Render(name))
			last = name
		}
		mark, style := "✓", l.good
		what := ""
		if p.Issue {
			what = "to be issued"
		}
		if p.NotAfter != nil {
			what = fmt.Sprintf("until %s, SHA-256 %.16s", p.NotAfter.UTC().Format(time.DateOnly), p.Fingerprint)
		}
		if !p.Works {
			mark, style = "✗", l.bad
		}
		_, _ = fmt.Fprintf(w, "  %s %s  %s\n", style.Render(mark), pad(p.Source, 18), what)
		for _, f := range p.Findings {
			_, _ = fmt.Fprintf(w, "      %s\n", l.wrap("      ", f.What))
			if f.Hint != "" {
				_, _ = fmt.Fprintf(w, "      next: %s\n", l.wrap("            ", f.Hint))
			}
		}
	}
	_, _ = fmt.Fprintln(w)
	for _, v := range c.Regions {
		style, says := l.good, fmt.Sprintf("a run would begin: %d checks ok", v.Checks)
		if !v.Works {
			style, says = l.bad, "a run would be refused"
		}
		var from []string
		for cert, source := range v.Sources {
			from = append(from, cert+" from "+source)
		}
		slices.Sort(from)
		if v.Works && len(from) > 0 {
			says += "; certificate " + strings.Join(from, ", ")
		}
		_, _ = fmt.Fprintf(w, "%s  %s\n", style.Render(pad(v.Region, 7)), l.wrap("         ", says))
		WriteFindings(w, l, slices.DeleteFunc(slices.Clone(v.Findings), func(f provision.Finding) bool {
			return f.Check == "certificate" && f.Weight != provision.Refuse // said of the places above
		}))
	}
}
