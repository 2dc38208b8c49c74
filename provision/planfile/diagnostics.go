package planfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/dripstat/failover/provision"
)

// Diagnostic is one mistake.
type Diagnostic struct {
	Pos     provision.Pos
	Summary string // what is wrong, on which thing
	Detail  string // why, where the summary does not say it
	Hint    string // what to type

	line       string // the source line, secrets masked
	start, end int    // bytes of line that are marked
}

// String is one line, with its place.
func (d Diagnostic) String() string {
	s := d.Summary
	if d.Detail != "" {
		s += ": " + d.Detail
	}
	if d.Hint != "" {
		s += " (" + d.Hint + ")"
	}
	if p := d.Pos.String(); p != "" {
		s = p + ": " + s
	}
	return s
}

// Diagnostics are all mistakes of a plan, in the order of the files.
type Diagnostics []Diagnostic

// Error gives one line for each.
func (ds Diagnostics) Error() string {
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}

const mostDiagnostics = 100

func (d *decoder) errorf(at hcl.Range, hint, format string, a ...any) {
	d.add(at, fmt.Sprintf(format, a...), "", hint)
}

func (d *decoder) add(at hcl.Range, summary, detail, hint string) {
	if len(d.diags) >= mostDiagnostics {
		return // a file of another kind, most likely; nobody reads on
	}
	x := Diagnostic{Pos: pos(at), Summary: d.scrub(summary), Detail: d.scrub(detail), Hint: d.scrub(hint)}
	x.line, x.start, x.end = d.snippet(at)
	d.diags = append(d.diags, x)
}

func pos(r hcl.Range) provision.Pos {
	return provision.Pos{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column}
}

// finish puts the diagnostics in order and drops those that are said twice: a region's override decodes
// what it inherits a second time.
func (d *decoder) finish() error {
	slices.SortStableFunc(d.diags, func(a, b Diagnostic) int {
		if c := strings.Compare(a.Pos.File, b.Pos.File); c != 0 {
			return c
		}
		if c := a.Pos.Line - b.Pos.Line; c != 0 {
			return c
		}
		return a.Pos.Column - b.Pos.Column
	})
	d.diags = slices.CompactFunc(d.diags, func(a, b Diagnostic) bool { return a.Pos == b.Pos && a.Summary == b.Summary })
	return Diagnostics(d.diags)
}

// addHCL says what hcl found in this package's words. thing names the block; secret withholds all that
// hcl says about a value.
func (d *decoder) addHCL(diags hcl.Diagnostics, thing string, secret bool) {
	for _, x := range diags {
		if x.Severity != hcl.DiagError {
			continue
		}
		if len(d.diags) >= mostDiagnostics {
			return
		}
		var at hcl.Range
		if x.Subject != nil {
			at = *x.Subject
		}
		summary, detail, hint := translate(x, thing)
		if strings.HasPrefix(summary, "a text has no closing") && d.said(summary) {
			continue // the rest of the file is inside out from here on
		}
		if e := functionError(x); secret && !e.open {
			summary, detail, hint = "the value of a secret attribute is not valid", "", `write it in quotes, or better, take it from the environment: env("NAME")`
		}
		d.add(at, summary, detail, hint)
	}
}

// translate keeps hcl's own words where they are good.
func translate(x *hcl.Diagnostic, thing string) (summary, detail, hint string) {
	in := ""
	if thing != "" {
		in = " in " + thing
	}
	if e := functionError(x); e.what != "" {
		return e.what, "", e.hint
	}
	switch x.Summary {
	case "Invalid multi-line string", "Unterminated template string":
		return "a text has no closing quote", "", "close it with \" on the same line; longer text goes into a file, or between <<EOT and EOT"
	case "Missing newline after argument", "Extra characters after expression", "Invalid number literal":
		return "this line is not understood", x.Detail, "text needs quotes (within = \"5m\"), and each attribute a line of its own"
	case "Invalid expression", "Missing expression":
		return "a value is expected here", x.Detail, "text needs quotes: image = \"debian-12\""
	case "Argument or block definition required", "Invalid argument name", "Invalid block definition":
		return "an attribute or a block is expected here", x.Detail, "an attribute is name = value; a block is name { ... }, or name \"label\" { ... }"
	case "Unclosed configuration block":
		return "this block has no closing brace", x.Detail, "add a } on a line of its own"
	case "Invalid single-argument block definition":
		return "a block on one line holds one attribute only", x.Detail, "put each attribute on a line of its own"
	case "Attribute redefined", "Duplicate argument":
		return "this attribute is given twice" + in, x.Detail, "keep one of them"
	case "Call to unknown function":
		return firstSentence(x.Detail) + in, "", lastSentence(x.Detail, "functions: "+strings.Join(functionNames(), ", "))
	}
	return lowerFirst(x.Summary) + in, x.Detail, ""
}

func firstSentence(s string) string {
	a, _, _ := strings.Cut(s, ". ")
	return lowerFirst(strings.TrimSuffix(a, "."))
}

func lastSentence(s, otherwise string) string {
	_, b, ok := strings.Cut(s, ". ")
	if !ok {
		return otherwise
	}
	return lowerFirst(b)
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[1] >= 'A' && s[1] <= 'Z' { // an abbreviation
		return s
	}
	return strings.ToLower(s[:min(1, len(s))]) + s[min(1, len(s)):]
}
