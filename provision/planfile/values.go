package planfile

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/gocty"

	"github.com/dripstat/failover/secrets"
)

// eval gives an expression's value. References are refused here: they are names, not values.
func (d *decoder) eval(e hcl.Expression, what string, secret bool) (cty.Value, bool) {
	ok := true
	for _, t := range e.Variables() {
		root := t.RootName()
		switch {
		case root == "var":
			ok = d.checkVar(t, secret) && ok
		case secret:
			d.errorf(t.SourceRange(), `write it in quotes, or better, take it from the environment: env("NAME")`, "the value of a secret attribute is not valid")
			ok = false
		case contains(kinds(), root) && len(t) > 1:
			d.errorf(t.SourceRange(), "references stand alone, in attributes that take them: docs/plan-language.md#references", "a reference to a %s has no value to use in %s", root, what)
			ok = false
		case len(t) == 1:
			d.errorf(t.SourceRange(), unquoted(root), "%q is not known in %s", root, what)
			ok = false
		default:
			d.errorf(t.SourceRange(), meant(root, append(kinds(), "var")), "%q is not known in %s", root, what)
			ok = false
		}
	}
	if !ok {
		return cty.NilVal, false
	}
	v, diags := e.Value(&hcl.EvalContext{Variables: map[string]cty.Value{"var": cty.ObjectVal(d.vars)}, Functions: d.funcs})
	d.addHCL(diags, what, secret)
	return v, !diags.HasErrors()
}

func (d *decoder) checkVar(t hcl.Traversal, secret bool) bool {
	n := ""
	if len(t) > 1 {
		if a, ok := t[1].(hcl.TraverseAttr); ok {
			n = a.Name
		}
	}
	if n == "" {
		d.errorf(t.SourceRange(), "var.NAME", "this names no variable")
		return false
	}
	if _, ok := d.vars[n]; ok {
		return true
	}
	if contains(d.labels["variable"], n) { // its own block has already been refused
		return false
	}
	hint := fmt.Sprintf("declare it: variable %q { default = ... }", n)
	if m := nearest(n, d.labels["variable"]); m != "" {
		hint = fmt.Sprintf("did you mean var.%s?", m)
	}
	d.errorf(t.SourceRange(), hint, "there is no variable %q", n)
	return false
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// value gives an attribute's value, unmarked; ok is false where it is not given, null or wrong.
func (b *block) value(name string) (cty.Value, bool) {
	a := b.attrs[name]
	if a == nil {
		return cty.NilVal, false
	}
	v, ok := b.d.eval(a.Expr, name+" of "+b.what, secretName(name))
	if !ok {
		return cty.NilVal, false
	}
	v, marks := v.UnmarkDeep()
	b.marked[name] = len(marks) > 0 || secretName(name)
	if v.IsNull() {
		return cty.NilVal, false
	}
	return v, true
}

// show is a value as messages may show it.
func (b *block) show(name, s string) string {
	if b.marked[name] {
		return hidden
	}
	if r := []rune(s); len(r) > 60 {
		s = string(r[:59]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

func (b *block) wrong(name, hint, format string, a ...any) {
	b.d.errorf(b.where(name), hint, "%s of %s %s", name, b.what, fmt.Sprintf(format, a...))
}

// wrongItem is wrong with the place of one element of a list.
func (b *block) wrongItem(name string, i int, hint, format string, a ...any) {
	at := b.where(name)
	if x := b.attrs[name]; x != nil {
		if list, diags := hcl.ExprList(x.Expr); !diags.HasErrors() && i < len(list) {
			at = list[i].Range()
		}
	}
	b.d.errorf(at, hint, "%s of %s %s", name, b.what, fmt.Sprintf(format, a...))
}

// asText converts to text; a list or an object is not one.
func asText(v cty.Value) (string, bool) {
	if !v.IsKnown() {
		return Placeholder, true
	}
	if v.IsNull() || !v.Type().IsPrimitiveType() {
		return "", false
	}
	s, err := convert.Convert(v, cty.String)
	if err != nil || s.IsNull() {
		return "", false
	}
	return s.AsString(), true
}

func (b *block) text(name, def string) string {
	v, ok := b.value(name)
	if !ok {
		return def
	}
	s, ok := asText(v)
	if !ok {
		b.wrong(name, `write it in quotes: `+name+` = "..."`, "must be one text")
		return def
	}
	return s
}

// need is text that must not be empty.
func (b *block) need(name string) string {
	s := b.text(name, "")
	if s == "" && b.has(name) && !b.d.failedAt(b.where(name)) {
		b.wrong(name, "add: "+example(b.kind, name), "is empty")
	}
	return s
}

func (d *decoder) failedAt(r hcl.Range) bool {
	for _, x := range d.diags {
		if x.Pos.File == r.Filename && x.Pos.Line >= r.Start.Line && x.Pos.Line <= r.End.Line {
			return true
		}
	}
	return false
}

// said reports whether a word has been complained of: what follows from it is not said too.
func (d *decoder) said(word string) bool {
	for _, x := range d.diags {
		if strings.Contains(x.Summary, word) {
			return true
		}
	}
	return false
}

// texts is a list; a single text is a list of one.
func (b *block) texts(name string) []string {
	v, ok := b.value(name)
	if !ok {
		return nil
	}
	if s, ok := asText(v); ok {
		return []string{s}
	}
	if !v.CanIterateElements() || v.Type().IsObjectType() || v.Type().IsMapType() {
		b.wrong(name, name+` = ["...", "..."]`, "must be a list of texts")
		return nil
	}
	var out []string
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		s, ok := asText(e)
		if !ok {
			b.wrong(name, name+` = ["...", "..."]`, "must be a list of texts")
			return nil
		}
		out = append(out, s)
	}
	return out
}

func (b *block) whole(name string, def, min, max int) int {
	v, ok := b.value(name)
	if !ok || !v.IsKnown() {
		return def
	}
	n, err := wholeOf(v)
	if err != nil || n < min || n > max {
		b.wrong(name, "", "must be a whole number from %d to %d", min, max)
		return def
	}
	return n
}

func wholeOf(v cty.Value) (int, error) {
	if v.IsNull() || !v.Type().IsPrimitiveType() {
		return 0, fmt.Errorf("not a number")
	}
	v, err := convert.Convert(v, cty.Number)
	if err != nil {
		return 0, err
	}
	var n int
	return n, gocty.FromCtyValue(v, &n)
}

func (b *block) flag(name string) bool {
	v, ok := b.value(name)
	if !ok || !v.IsKnown() {
		return false
	}
	if v.Type().IsPrimitiveType() {
		if c, err := convert.Convert(v, cty.Bool); err == nil && !c.IsNull() {
			return c.True()
		}
	}
	b.wrong(name, "", "must be true or false")
	return false
}

// time is a text with a unit, or a number of unit.
func (b *block) time(name string, def, unit, min, max time.Duration) time.Duration {
	v, ok := b.value(name)
	if !ok || !v.IsKnown() {
		return def
	}
	var t time.Duration
	var n int
	var err error
	s, isText := asText(v)
	switch {
	case !isText:
		err = fmt.Errorf(`must be a time such as "5m"`)
	case strings.Trim(strings.TrimSpace(s), "0123456789") == "" && unit > 0:
		n, err = wholeOf(v)
		t = time.Duration(n) * unit
		if err != nil || n > 1<<30 {
			err = fmt.Errorf("is out of range")
		}
	default:
		if t, err = duration(s); err != nil {
			err = fmt.Errorf("is %s, which %w", b.show(name, s), err)
		}
	}
	if err == nil && (t < min || t > max) {
		err = fmt.Errorf("must be from %s to %s", short(min), short(max))
	}
	if err != nil {
		b.wrong(name, "", "%v", err)
		return def
	}
	return t
}

func short(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	for _, end := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, end) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func (b *block) secret(name string) secrets.Value {
	s := b.text(name, "")
	if s == "" {
		return secrets.Value{}
	}
	b.d.withhold(s)
	return secrets.NewValue([]byte(s))
}

// texted is an object whose values are texts; lists are joined with commas. A region's override is laid
// over the server's own, key by key. unset holds the keys that only the environment knows.
func (b *block) texted(name string) (out map[string]string, unset map[string]bool) {
	unset = map[string]bool{}
	if low := b.under[name]; low != nil {
		lower := *b
		lower.under = nil
		lower.attrs = map[string]*hcl.Attribute{name: low}
		out, unset = lower.texted(name)
	}
	v, ok := b.value(name)
	if !ok {
		return out, unset
	}
	if !v.IsKnown() {
		return out, unset
	}
	if !v.Type().IsObjectType() && !v.Type().IsMapType() {
		b.wrong(name, name+` = { key = "value" }`, "must be an object")
		return out, unset
	}
	if out == nil {
		out = map[string]string{}
	}
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		key := k.AsString()
		delete(unset, key)
		if e.IsNull() {
			delete(out, key)
			continue
		}
		s, ok := asText(e)
		if !ok && e.CanIterateElements() && !e.Type().IsObjectType() && !e.Type().IsMapType() {
			var parts []string
			ok = true
			for in := e.ElementIterator(); in.Next() && ok; {
				_, x := in.Element()
				var p string
				p, ok = asText(x)
				parts = append(parts, p)
			}
			s = strings.Join(parts, ",")
		}
		if !ok {
			b.d.errorf(b.keyRange(name, key), "", "%q in %s of %s must be a text, a number, true or false, or a list of these", key, name, b.what)
			continue
		}
		if !e.IsWhollyKnown() {
			unset[key] = true
		}
		out[key] = s
	}
	return out, unset
}

// keyRange is the place of one key of an object, for messages.
func (b *block) keyRange(name, key string) hcl.Range {
	for _, a := range []*hcl.Attribute{b.attrs[name], b.under[name]} {
		if a == nil {
			continue
		}
		pairs, diags := hcl.ExprMap(a.Expr)
		if diags.HasErrors() {
			continue
		}
		for _, p := range pairs {
			k, diags := p.Key.Value(nil)
			if !diags.HasErrors() && k.Type() == cty.String && k.IsKnown() && !k.IsNull() && k.AsString() == key {
				return p.Key.Range()
			}
		}
	}
	return b.where(name)
}
