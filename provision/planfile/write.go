package planfile

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dripstat/failover/provision"
)

// Write shows an error of Load to people: each diagnostic with its place, its line, a mark under what is
// meant, the cause, and what to type next. width 0 means 80.
func Write(w io.Writer, err error, color bool, width int) {
	if width <= 0 {
		width = 80
	}
	p := painter{w: w, color: color, width: max(width, 20)}
	var ds Diagnostics
	if !errors.As(err, &ds) {
		x := Diagnostic{Summary: err.Error()}
		var pe *provision.Error
		if errors.As(err, &pe) {
			x.Hint = pe.Hint
		}
		ds = Diagnostics{x}
	}
	for i, d := range ds {
		if i > 0 {
			p.line("")
		}
		p.diagnostic(d)
	}
}

type painter struct {
	w     io.Writer
	color bool
	width int
}

func (p painter) line(s string) { _, _ = fmt.Fprintln(p.w, s) }

func (p painter) paint(code, s string) string {
	if !p.color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p painter) diagnostic(d Diagnostic) {
	for i, l := range wrap(clean(d.Summary), p.width-7) {
		if i == 0 {
			p.line(p.paint("1;31", "error:") + " " + p.paint("1", l))
		} else {
			p.line("       " + p.paint("1", l))
		}
	}
	if d.Pos.File != "" {
		at := "  on " + clean(d.Pos.File)
		if d.Pos.Line > 0 {
			at += fmt.Sprintf(" line %d:", d.Pos.Line)
		}
		p.line(at)
	}
	if strings.TrimSpace(d.line) != "" {
		p.snippet(d)
	}
	for _, l := range wrap(clean(d.Detail), p.width-2) {
		p.line("  " + l)
	}
	for i, l := range wrap(clean(d.Hint), p.width-8) {
		head := "        "
		if i == 0 {
			head = "  " + p.paint("1;32", "next:") + " "
		}
		p.line(head + l)
	}
}

// snippet shows the line, from a little before the mark where it is long, and the mark under it.
func (p painter) snippet(d Diagnostic) {
	before, marked, after := clean(d.line[:d.start]), clean(d.line[d.start:d.end]), clean(d.line[d.end:])
	room := p.width - 10
	if n := utf8.RuneCountInString(before); n > room/2 {
		r := []rune(before)
		before = "…" + string(r[n-room/2:])
	}
	indent := len(before) - len(strings.TrimLeft(before, " "))
	if indent > 4 {
		before = before[indent-4:]
	}
	text := []rune(before + marked + after)
	if len(text) > room {
		text = append(text[:room-1], '…')
	}
	lead := utf8.RuneCountInString(before)
	n := max(1, min(utf8.RuneCountInString(marked), len(text)-lead))
	p.line(fmt.Sprintf("  %5d │ %s", d.Pos.Line, string(text)))
	p.line("        │ " + strings.Repeat(" ", lead) + p.paint("1;31", strings.Repeat("^", n)))
}

// clean makes text safe for a terminal: a plan must not move the cursor.
func clean(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\t", "  ")
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return ' '
		}
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(s) {
		switch {
		case line == "":
			line = w
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > width:
			lines = append(lines, line)
			line = w
		default:
			line += " " + w
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
