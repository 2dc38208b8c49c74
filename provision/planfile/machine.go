package planfile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/dripstat/failover/provision"
)

// image is a text, or { name = PATTERN, newest = true }.
func (x *block) image() provision.ImageWant {
	v, ok := x.value("image")
	if !ok {
		return provision.ImageWant{}
	}
	if s, ok := asText(v); ok {
		if strings.TrimSpace(s) == "" {
			x.wrong("image", "", "is empty")
		}
		if strings.ContainsAny(s, "*?") && s != Placeholder {
			x.wrong("image", fmt.Sprintf(`image = { name = %s, newest = true }`, x.show("image", s)), "is a pattern")
		}
		return provision.ImageWant{Name: s}
	}
	w := provision.ImageWant{}
	newest := false
	f, ok := x.object("image", v, "name", "newest")
	if !ok {
		return w
	}
	name, isText := asText(f["name"])
	if f["name"] == cty.NilVal || !isText || name == "" {
		x.wrong("image", `image = { name = "debian-12-*", newest = true }`, "needs a name")
		return w
	}
	if n := f["newest"]; n != cty.NilVal && n.IsKnown() {
		if n.Type() != cty.Bool {
			x.wrong("image", "", "has a newest that is neither true nor false")
			return w
		}
		newest = n.True()
	}
	if newest {
		if _, err := path.Match(name, ""); err != nil {
			x.wrong("image", "", "has a pattern that is not one")
		}
		return provision.ImageWant{Pattern: name}
	}
	if strings.ContainsAny(name, "*?") && name != Placeholder {
		x.wrong("image", "newest = true", "has a pattern for a name, and does not say which of the images")
	}
	return provision.ImageWant{Name: name}
}

// object gives the fields of an object that may hold only these. A null field is absent.
func (x *block) object(attr string, v cty.Value, names ...string) (map[string]cty.Value, bool) {
	if !v.IsKnown() || v.IsNull() || !v.Type().IsObjectType() && !v.Type().IsMapType() {
		x.wrong(attr, "add: "+example(x.kind, attr), "must be a text or an object")
		return nil, false
	}
	out := map[string]cty.Value{}
	good := true
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		n := k.AsString()
		if !contains(names, n) {
			x.d.errorf(x.keyRange(attr, n), meant(n, names), "%s of %s has no %q", attr, x.what, n)
			good = false
			continue
		}
		if !e.IsNull() {
			out[n] = e
		}
	}
	return out, good
}

// flavors is a text, an object, or a list of both: a ladder.
func (x *block) flavors() []provision.FlavorWant {
	v, ok := x.value("flavor")
	if !ok {
		return nil
	}
	if !v.IsKnown() {
		return []provision.FlavorWant{{Name: Placeholder}}
	}
	rungs := []cty.Value{v}
	if v.Type().IsTupleType() || v.Type().IsListType() || v.Type().IsSetType() {
		rungs = v.AsValueSlice()
	}
	if len(rungs) == 0 {
		x.wrong("flavor", "add: "+example("server", "flavor"), "is empty")
	}
	var out []provision.FlavorWant
	for i, r := range rungs {
		w, ok := x.flavor(r, i)
		if !ok {
			continue
		}
		if slices.Contains(out, w) && w.Name != Placeholder {
			x.wrongItem("flavor", i, "take it out", "has the same twice")
		}
		out = append(out, w)
	}
	return out
}

func (x *block) flavor(v cty.Value, i int) (w provision.FlavorWant, ok bool) {
	if s, isText := asText(v); isText {
		if s == "" {
			x.wrongItem("flavor", i, "", "has an empty name")
		}
		return provision.FlavorWant{Name: s}, s != ""
	}
	f, ok := x.object("flavor", v, "vcpus", "ram", "disk", "largest")
	if !ok {
		return w, false
	}
	for n, e := range f {
		if !e.IsKnown() {
			return provision.FlavorWant{Name: Placeholder}, true
		}
		switch n {
		case "vcpus":
			n, err := wholeOf(e)
			if err != nil || n < 1 || n > 4096 {
				x.wrongItem("flavor", i, "", "has vcpus that are not a whole number from 1 to 4096")
				ok = false
			}
			w.VCPUs = n
		case "ram":
			s, _ := asText(e)
			b, err := size(s)
			if err != nil {
				x.wrongItem("flavor", i, `ram = "60GiB"`, "has ram that %v", err)
				ok = false
			}
			w.RAMMB = mebibytes(b)
		case "disk":
			s, _ := asText(e)
			b, err := size(s)
			if err != nil {
				x.wrongItem("flavor", i, `disk = "40GB"`, "has a disk that %v", err)
				ok = false
			}
			w.DiskGB = gigabytes(b, s)
		case "largest":
			if e.Type() != cty.Bool {
				x.wrongItem("flavor", i, "", "has a largest that is neither true nor false")
				ok = false
				continue
			}
			w.Largest = e.True()
		}
	}
	if ok && w == (provision.FlavorWant{}) {
		x.wrongItem("flavor", i, `{ vcpus = 8, ram = "32GiB" }`, "has an object that asks for nothing")
		ok = false
	}
	return w, ok
}

func (x *block) gigabytes(attr string, v cty.Value) int {
	s, _ := asText(v)
	b, err := size(s)
	if err != nil {
		x.wrong(attr, attr+` = "40GB"`, "%v", err)
		return 0
	}
	return gigabytes(b, s)
}
