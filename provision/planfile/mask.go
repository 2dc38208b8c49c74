package planfile

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// hidden is what a snippet shows instead of a secret literal.
const hidden = "(secret)"

type span struct{ from, to int }

// secretName reports whether an attribute of this name holds a secret.
func secretName(name string) bool {
	n := strings.ToLower(strings.Trim(name, `"`))
	for _, end := range []string{"password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "private_key", "hmac"} {
		if strings.HasSuffix(n, end) {
			return true
		}
	}
	return false
}

// mask finds, in one file, the bytes that no snippet may show: the values of attributes with a secret's
// name, wherever they are, and of sensitive variables. It works on the text, for a file that does not
// parse has no tree and shows snippets all the same; the tree, where there is one, adds to it.
func (d *decoder) mask(name string, f *hcl.File) {
	src := d.files[name]
	if d.masks == nil {
		d.masks = map[string][]span{}
	}
	spans := textSpans(src)
	if f != nil {
		if b, ok := f.Body.(*hclsyntax.Body); ok {
			spans = append(spans, treeSpans(b, false)...)
		} else {
			spans = append(spans, d.sensitiveJSON(f)...)
		}
	}
	spans = slices.DeleteFunc(spans, func(s span) bool { return s.from < 0 || s.to > len(src) || s.from >= s.to })
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	d.masks[name] = spans
	for _, s := range spans {
		d.withhold(strings.Trim(string(src[s.from:s.to]), "\", \t\r\n"))
	}
}

// textSpans goes by lines and by quotes.
func textSpans(src []byte) []span {
	var out []span
	head := regexp.MustCompile(`(?i)"?[a-z_0-9-]*(password|passwd|passphrase|secret|token|api_?key|private_key|hmac)"?[ \t]*[=:][ \t]*`)
	known := regexp.MustCompile(`^"?(\$\{)?(var\.[A-Za-z0-9_-]+|env\([ \t]*\\?"[A-Za-z0-9_]*\\?"[ \t]*\)|file\([ \t]*\\?"[^"]*\\?"[ \t]*\))\}?"?,?$`)
	call := regexp.MustCompile(`(env|file)\([ \t]*$`)
	for from := 0; ; {
		m := head.FindIndex(src[from:])
		if m == nil {
			return out
		}
		at := from + m[1]
		end := valueEnd(src, at)
		out = append(out, literalSpans(src, at, end, known, call)...)
		from = max(end, at)
		if from >= len(src) {
			return out
		}
	}
}

// valueEnd gives the end of the value that begins at i: of a heredoc or of a quoted text that goes on over
// lines, else of the line.
func valueEnd(src []byte, i int) int {
	line := len(src)
	if n := bytes.IndexByte(src[i:], '\n'); n >= 0 {
		line = i + n
	}
	rest := src[i:line]
	if bytes.HasPrefix(rest, []byte("<<")) {
		mark := bytes.TrimSpace(bytes.TrimLeft(rest[2:], "-"))
		for at := line; at < len(src); {
			next := len(src)
			if n := bytes.IndexByte(src[at+1:], '\n'); n >= 0 {
				next = at + 1 + n
			}
			if len(mark) > 0 && bytes.Equal(bytes.TrimSpace(src[at+1:next]), mark) {
				return at
			}
			at = next
		}
		return len(src)
	}
	if end := closed(rest); end > 0 { // the usual: one quoted text, and the line goes on, as it does in JSON
		return i + end
	}
	if bytes.Count(rest, []byte(`"`))%2 == 1 { // a quote that is not closed: all that follows may be the secret
		if n := bytes.IndexByte(src[min(line+1, len(src)):], '"'); n >= 0 {
			return line + 1 + n + 1
		}
		return len(src)
	}
	return line
}

// closed gives the end of a quoted text at the beginning of a line's rest, where what follows leaves no
// doubt that it is its end; else 0.
func closed(rest []byte) int {
	if len(rest) == 0 || rest[0] != '"' {
		return 0
	}
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '$', '%': // a template may hold quotes of its own
			if i+1 < len(rest) && rest[i+1] == '{' {
				return 0
			}
		case '"':
			next := bytes.TrimLeft(rest[i+1:], " \t\r")
			if len(next) == 0 || bytes.IndexByte([]byte(",}]#"), next[0]) >= 0 {
				return i + 1
			}
			return 0
		}
	}
	return 0
}

// literalSpans masks the quoted texts of src[from:to] but the names given to env, file and var; a value
// with neither quotes nor a call is a secret whose quotes were forgotten, and masked whole.
func literalSpans(src []byte, from, to int, known, call *regexp.Regexp) []span {
	v := src[from:to]
	t := bytes.TrimSpace(v)
	if len(t) == 0 {
		return nil
	}
	if known.Match(t) {
		return nil
	}
	if bytes.ContainsAny(t, "({") && !bytes.HasPrefix(t, []byte("<<")) && bytes.Count(t, []byte(`"`))%2 == 0 && !bytes.Contains(t, []byte(`\"`)) {
		var out []span
		for i := from; i < to; {
			a := bytes.IndexByte(src[i:to], '"')
			if a < 0 {
				break
			}
			a += i
			b := bytes.IndexByte(src[a+1:to], '"')
			if b < 0 {
				break
			}
			b += a + 1
			if !call.Match(src[from:a]) {
				out = append(out, span{a, b + 1})
			}
			i = b + 1
		}
		return out
	}
	return []span{{from, from + len(bytes.TrimRight(v, " \t\r\n"))}}
}

// treeSpans finds secrets that lie over several lines, or in objects, or in a sensitive variable.
func treeSpans(b *hclsyntax.Body, sensitive bool) []span {
	var out []span
	literals := func(e hclsyntax.Node) {
		_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
			switch x := n.(type) {
			case *hclsyntax.FunctionCallExpr:
				return nil
			case *hclsyntax.TemplateExpr:
				r := x.Range()
				out = append(out, span{r.Start.Byte, r.End.Byte})
			case *hclsyntax.LiteralValueExpr:
				r := x.Range()
				out = append(out, span{r.Start.Byte, r.End.Byte})
			}
			return nil
		})
	}
	for n, a := range b.Attributes {
		switch {
		case sensitive && n == "default":
			literals(a.Expr)
		case secretName(n):
			if _, isCall := a.Expr.(*hclsyntax.FunctionCallExpr); !isCall {
				literals(a.Expr)
			}
		default:
			_ = hclsyntax.VisitAll(a.Expr, func(n hclsyntax.Node) hcl.Diagnostics {
				if o, ok := n.(*hclsyntax.ObjectConsExpr); ok {
					for _, it := range o.Items {
						if k, diags := it.KeyExpr.Value(nil); !diags.HasErrors() && k.Type() == cty.String && k.IsKnown() && !k.IsNull() && secretName(k.AsString()) {
							if _, isCall := it.ValueExpr.(*hclsyntax.FunctionCallExpr); !isCall {
								literals(it.ValueExpr)
							}
						}
					}
				}
				return nil
			})
		}
	}
	for _, x := range b.Blocks {
		s := false
		if x.Type == "variable" {
			if a := x.Body.Attributes["sensitive"]; a != nil {
				v, diags := a.Expr.Value(nil)
				s = diags.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type() != cty.Bool || v.True()
			}
		}
		out = append(out, treeSpans(x.Body, s)...)
	}
	return out
}

// sensitiveJSON masks the defaults of sensitive variables of a JSON file.
func (d *decoder) sensitiveJSON(f *hcl.File) []span {
	var out []span
	c, _, _ := f.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "variable", LabelNames: []string{"name"}}}})
	for _, b := range c.Blocks {
		attrs, _ := b.Body.JustAttributes()
		s := attrs["sensitive"]
		if s == nil || attrs["default"] == nil {
			continue
		}
		if v, diags := s.Expr.Value(nil); !diags.HasErrors() && v.IsKnown() && v.Type() == cty.Bool && !v.IsNull() && v.False() {
			continue
		}
		r := attrs["default"].Expr.Range()
		out = append(out, span{r.Start.Byte, r.End.Byte})
	}
	return out
}

// withhold keeps s out of every message. Very short texts would blot out half of the words; they are kept
// out by what the messages are made of instead.
func (d *decoder) withhold(s string) {
	for _, v := range []string{s, strings.ToLower(s), strings.ToUpper(s), strings.TrimSpace(s)} {
		if len(v) >= 6 && !slices.Contains(d.withheld, v) && v != Placeholder {
			d.withheld = append(d.withheld, v)
		}
	}
}

func (d *decoder) scrub(s string) string {
	for _, w := range d.withheld {
		s = strings.ReplaceAll(s, w, hidden)
	}
	return s
}

// snippet gives the line at the beginning of r with its secrets masked, and which bytes of it are meant.
func (d *decoder) snippet(r hcl.Range) (line string, start, end int) {
	src, ok := d.files[r.Filename]
	if !ok || r.Start.Line < 1 || r.Start.Byte > len(src) || r.Start.Byte < 0 {
		return "", 0, 0
	}
	from := bytes.LastIndexByte(src[:r.Start.Byte], '\n') + 1
	to := len(src)
	if n := bytes.IndexByte(src[r.Start.Byte:], '\n'); n >= 0 {
		to = r.Start.Byte + n
	}
	// Of an endless line, what is near is enough; masks are by place in the file, so a cut hides no less.
	from, to = max(from, r.Start.Byte-2000), min(to, r.Start.Byte+2000)
	start, end = r.Start.Byte-from, min(r.End.Byte, to)-from
	if end < start {
		end = start
	}
	var b strings.Builder
	at := from
	oldStart, oldEnd := start+from, end+from
	for _, s := range d.masks[r.Filename] {
		a, z := max(s.from, at), min(s.to, to)
		if a >= z {
			continue
		}
		b.Write(src[at:a])
		shown := b.Len()
		b.WriteString(hidden)
		shift := len(hidden) - (z - a)
		switch { // keep the mark under what it marked
		case oldStart >= z:
			start += shift
		case oldStart > a:
			start = shown
		}
		switch {
		case oldEnd >= z:
			end += shift
		case oldEnd > a:
			end = shown + len(hidden)
		}
		at = z
	}
	b.Write(src[at:to])
	line = strings.TrimRight(b.String(), "\r")
	line = d.scrub(line)
	start = max(0, min(start, len(line)))
	end = max(start, min(end, len(line)))
	return line, start, end
}
