package planfile

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// target is what a reference names.
type target struct{ kind, name string }

func (t target) String() string { return t.kind + "." + t.name }

// traversal reads an expression as a static reference. In JSON it may be "cloud.main" or "${cloud.main}".
func traversal(e hcl.Expression) (hcl.Traversal, bool) {
	if t, diags := hcl.AbsTraversalForExpr(e); !diags.HasErrors() {
		return t, true
	}
	if !isJSON(e.Range().Filename) {
		return nil, false
	}
	s, ok := literal(e)
	if !ok {
		return nil, false
	}
	inner, ok := strings.CutPrefix(strings.TrimSpace(s), "${")
	if !ok {
		return nil, false
	}
	inner, ok = strings.CutSuffix(inner, "}")
	if !ok {
		return nil, false
	}
	t, diags := hclsyntax.ParseTraversalAbs([]byte(strings.TrimSpace(inner)), e.Range().Filename, e.Range().Start)
	return t, !diags.HasErrors()
}

// literal gives a text that is written out; of JSON, without reading templates.
func literal(e hcl.Expression) (string, bool) {
	if len(e.Variables()) > 0 && !isJSON(e.Range().Filename) {
		return "", false
	}
	v, diags := e.Value(nil)
	if diags.HasErrors() || v == cty.NilVal || v.IsMarked() || !v.IsKnown() || v.IsNull() || v.Type() != cty.String {
		return "", false
	}
	return v.AsString(), true
}

// refer resolves a reference to one of kinds. tail is the one attribute that may follow the name ("addresses").
func (d *decoder) refer(e hcl.Expression, what string, tail string, kinds ...string) (target, bool) {
	form := kinds[0] + ".NAME"
	if names := d.labels[kinds[0]]; len(names) > 0 {
		form = kinds[0] + "." + names[0]
	}
	t, ok := traversal(e)
	if !ok {
		if s, ok := literal(e); ok {
			if !strings.Contains(s, ".") {
				s = kinds[0] + "." + s
			}
			if contains(d.labels[kinds[0]], strings.TrimPrefix(s, kinds[0]+".")) {
				form = s
			}
			d.errorf(e.Range(), fmt.Sprintf("write %s, without quotes", form), "%s takes a reference, not a text", what)
			return target{}, false
		}
		d.errorf(e.Range(), "write "+form, "%s takes a reference", what)
		return target{}, false
	}
	root := t.RootName()
	if !contains(kinds, root) {
		hint := "write " + form
		if contains(d.labels[kinds[0]], root) {
			hint = fmt.Sprintf("write %s.%s", kinds[0], root)
		} else if n := nearest(root, kinds); n != "" {
			hint = fmt.Sprintf("did you mean %s?", n)
			if a, ok := second(t); ok && contains(d.labels[n], a) {
				hint = fmt.Sprintf("did you mean %s.%s?", n, a)
			}
		}
		d.errorf(e.Range(), hint, "%s takes a reference to a %s", what, strings.Join(kinds, ", a "))
		return target{}, false
	}
	n, ok := second(t)
	if !ok {
		d.errorf(e.Range(), "write "+form, "this reference names no %s", root)
		return target{}, false
	}
	rest := ""
	if len(t) > 2 {
		rest = "?"
		if a, ok := t[2].(hcl.TraverseAttr); ok && len(t) == 3 {
			rest = a.Name
		}
	}
	if !contains(d.labels[root], n) {
		hint := fmt.Sprintf("declare it: %s %q { ... }", root, n)
		if m := nearest(n, d.labels[root]); m != "" {
			hint = fmt.Sprintf("did you mean %s.%s?", root, m)
		} else if len(d.labels[root]) > 0 {
			hint = fmt.Sprintf("the plan has %s.%s", root, strings.Join(d.labels[root], ", "+root+"."))
		}
		d.errorf(e.Range(), hint, "there is no %s %q", root, n)
		return target{}, false
	}
	if rest != tail {
		want := root + "." + n
		if tail != "" {
			want += "." + tail
		}
		d.errorf(e.Range(), "write "+want, "this reference does not end as it should")
		return target{}, false
	}
	return target{root, n}, true
}

// second is the word behind the first dot, or in ["..."].
func second(t hcl.Traversal) (string, bool) {
	if len(t) < 2 {
		return "", false
	}
	switch s := t[1].(type) {
	case hcl.TraverseAttr:
		return s.Name, true
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && s.Key.IsKnown() && !s.Key.IsNull() {
			return s.Key.AsString(), true
		}
	}
	return "", false
}

// ref is an attribute that takes one reference of one kind.
func (b *block) ref(name, kind string) string {
	a := b.attrs[name]
	if a == nil {
		return ""
	}
	t, _ := b.d.refer(a.Expr, name+" of "+b.what, "", kind)
	return t.name
}

// refs is an attribute that takes one reference or a list of them.
func (b *block) refs(name string, kinds ...string) []target {
	a := b.attrs[name]
	if a == nil {
		return nil
	}
	list, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() {
		list = []hcl.Expression{a.Expr}
	}
	var out []target
	seen := map[target]bool{}
	for _, e := range list {
		t, ok := b.d.refer(e, name+" of "+b.what, "", kinds...)
		if !ok {
			continue
		}
		if seen[t] {
			b.d.errorf(e.Range(), "take it out", "%s is there twice", t)
		}
		seen[t] = true
		out = append(out, t)
	}
	return out
}
