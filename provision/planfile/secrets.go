package planfile

import (
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// backends are the blocks of which a secrets block holds one.
func backends() []string {
	return strings.Fields(shapes("secrets").blocks)
}

func (d *decoder) secretStore(x *block) provision.SecretStore {
	s := provision.SecretStore{Name: x.label, Pos: pos(x.at)}
	var b *block
	for _, kind := range backends() {
		switch y := x.only(kind); {
		case y == nil:
		case b != nil:
			d.errorf(y.at, "keep one of them; a certificate may name several secrets blocks: from = [secrets.a, secrets.b]", "%s has more than one place", x.what)
		default:
			s.Kind, b = kind, y
		}
	}
	if b == nil {
		d.errorf(x.at, `add: age { file = "secrets.age" }`, "%s does not say where its secrets are", x.what)
		return s
	}
	s.Age = &provision.AgeStore{File: b.need("file"), Identity: b.text("identity", "")}
	return s
}

// usesPath reports whether a store keeps several certificates, under paths.
func usesPath(provision.SecretStore) bool { return true }

// ladder reads from and path of a certificate: one place or several, and where in each.
func (d *decoder) ladder(x *block, p provision.Plan) []secrets.Ref {
	var stores []string
	for _, t := range x.refs("from", "secrets") {
		stores = append(stores, t.name)
	}
	if len(stores) == 0 && x.has("from") && !d.failedAt(x.where("from")) {
		x.wrong("from", "add: "+example("certificate", "from"), "is empty")
	}
	v, given := x.value("path")
	paths := map[string]string{}
	switch text, ok := asText(v); {
	case !given:
	case ok:
		if text == "" {
			x.wrong("path", "add: "+example("certificate", "path"), "is empty")
			return refs(stores, paths)
		}
		for _, s := range stores {
			paths[s] = text
		}
	default:
		fields, ok := x.object("path", v, stores...)
		if !ok {
			return refs(stores, paths)
		}
		for s, f := range fields {
			text, ok := asText(f)
			if !ok || text == "" {
				d.errorf(x.keyRange("path", s), "", "path of %s has something for %s that is not a text", x.what, s)
				return refs(stores, paths)
			}
			paths[s] = text
		}
	}
	for _, s := range stores {
		st, _ := p.SecretStore(s)
		if paths[s] != "" || !usesPath(st) || x.has("path") && d.failedAt(x.where("path")) {
			continue
		}
		if given {
			x.wrong("path", "add: "+s+` = "edge" to it`, "does not say where it is in secrets.%s", s)
			continue
		}
		d.errorf(x.at, "add: "+example("certificate", "path"), "%s needs path", x.what)
		break
	}
	return refs(stores, paths)
}

func refs(stores []string, paths map[string]string) []secrets.Ref {
	var out []secrets.Ref
	for _, s := range slices.Compact(stores) {
		out = append(out, secrets.Ref{Store: s, Path: paths[s]})
	}
	return out
}
