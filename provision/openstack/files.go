package openstack

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
	"go.yaml.in/yaml/v4"
)

// tree is a mapping of YAML. Scalars are kept as they were written: a password 0123 is no number.
type tree map[string]any

func (t tree) text(key string) string {
	s, _ := t[key].(string)
	return s
}

func (t tree) under(key string) tree {
	x, _ := t[key].(tree)
	return x
}

func (t tree) keys() []string {
	out := make([]string, 0, len(t))
	for k := range t {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// over gives t with everything that top says put over it.
func (t tree) over(top tree) tree {
	out := tree{}
	for k, v := range t {
		out[k] = v
	}
	for k, v := range top {
		a, ok1 := out[k].(tree)
		b, ok2 := v.(tree)
		if ok1 && ok2 {
			v = a.over(b)
		}
		out[k] = v
	}
	return out
}

func parse(text []byte) (tree, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, err
	}
	v, err := plain(&n, 0)
	if err != nil {
		return nil, err
	}
	t, ok := v.(tree)
	if !ok && v != nil && v != "" {
		return nil, fmt.Errorf("it is not a mapping")
	}
	return t, nil
}

func plain(n *yaml.Node, deep int) (any, error) {
	if deep > 20 {
		return nil, fmt.Errorf("line %d: nested too deeply", n.Line)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return nil, nil
		}
		return plain(n.Content[0], deep)
	case yaml.AliasNode:
		return plain(n.Alias, deep+1)
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := plain(c, deep+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case yaml.MappingNode:
		out, base := tree{}, tree{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := plain(n.Content[i+1], deep+1)
			if err != nil {
				return nil, err
			}
			if m, ok := v.(tree); ok && n.Content[i].Value == "<<" {
				base = base.over(m)
				continue
			}
			out[n.Content[i].Value] = v
		}
		return base.over(out), nil
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", nil
		}
		return n.Value, nil
	}
	return nil, nil
}

// read gives the first file of that name in the usual places, and where it was; none is no error.
func read(env, name string, o Options) (tree, string, error) {
	paths := places(name, o)
	if p, ok := o.Env(env); env != "" && ok && p != "" {
		paths = []string{p}
		if _, err := os.Stat(p); err != nil {
			return nil, p, &provision.Error{What: env + ": " + err.Error(), Class: provision.Final}
		}
	}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, p, &provision.Error{What: err.Error(), Class: provision.Final}
		}
		t, err := parse(text)
		if err != nil {
			return nil, p, &provision.Error{What: p + ": " + err.Error(), Class: provision.Final}
		}
		return t, p, nil
	}
	return nil, "", nil
}

func places(name string, o Options) []string {
	dirs := []string{"."}
	if o.Dir != "" && o.Dir != "." {
		dirs = []string{o.Dir, "."}
	}
	if x, ok := o.Env("XDG_CONFIG_HOME"); ok && x != "" {
		dirs = append(dirs, filepath.Join(x, "openstack"))
	}
	if h, ok := o.Env("HOME"); ok && h != "" {
		dirs = append(dirs, filepath.Join(h, ".config", "openstack"))
	} else if h, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(h, ".config", "openstack"))
	}
	dirs = append(dirs, "/etc/openstack")
	var out []string
	for _, d := range dirs {
		for _, ext := range []string{".yaml", ".yml"} {
			out = append(out, filepath.Join(d, name+ext))
		}
	}
	return out
}

// entries reads clouds.yaml and secure.yaml, merged, and says where the first was.
func entries(o Options) (tree, string, error) {
	if o.CloudsYAML != nil {
		t, err := parse(o.CloudsYAML)
		if err != nil {
			return nil, "", &provision.Error{What: "clouds.yaml: " + err.Error(), Class: provision.Final}
		}
		return t.under("clouds"), "clouds.yaml", nil
	}
	t, path, err := read("OS_CLIENT_CONFIG_FILE", "clouds", o)
	if err != nil {
		return nil, path, err
	}
	secure, _, err := read("OS_CLIENT_SECURE_FILE", "secure", o)
	if err != nil {
		return nil, path, err
	}
	// secure.yaml adds to entries; it makes none of its own.
	out := tree{}
	for name, v := range t.under("clouds") {
		e, _ := v.(tree)
		out[name] = e.over(secure.under("clouds").under(name))
	}
	return out, path, nil
}

func fromFiles(entry string, o Options) (bare, error) {
	all, path, err := entries(o)
	if err != nil {
		return bare{}, err
	}
	if path == "" {
		return bare{}, &provision.Error{What: fmt.Sprintf("no clouds.yaml was found, and the plan uses its entry %q", entry),
			Hint: "looked for: " + strings.Join(places("clouds", o), ", ") + "; or set OS_CLIENT_CONFIG_FILE", Class: provision.Final}
	}
	e := all.under(entry)
	if e == nil {
		hint := path + " has: " + strings.Join(all.keys(), ", ")
		if m := meant(entry, all.keys()); m != "" {
			hint = fmt.Sprintf("did you mean %q? ", m) + hint
		}
		return bare{}, &provision.Error{What: fmt.Sprintf("%s has no entry %q", path, entry), Hint: hint, Class: provision.Final}
	}
	if profile := first(e.text("profile"), e.text("cloud")); profile != "" && o.CloudsYAML == nil {
		public, where, err := read("", "clouds-public", o)
		if err != nil {
			return bare{}, err
		}
		p := public.under("public-clouds").under(profile)
		if p == nil && where != "" {
			return bare{}, &provision.Error{What: fmt.Sprintf("%s: entry %q uses profile %q, which %s does not have", path, entry, profile, where), Class: provision.Final}
		}
		e = p.over(e)
	}
	b := bare{source: fmt.Sprintf("%s, entry %q", path, entry), top: e, auth: e.under("auth")}
	if b.auth == nil {
		b.auth = tree{}
	}
	b.dir = filepath.Dir(path)
	if o.CloudsYAML != nil {
		b.dir = o.Dir
	}
	return b, nil
}

// available says which entries could have been named.
func available(o Options) string {
	all, path, err := entries(o)
	if err != nil || len(all) == 0 {
		return "write clouds.yaml, or source an openrc file"
	}
	return fmt.Sprintf("%s has the entries %s: name one in the plan, or set OS_CLOUD", path, strings.Join(all.keys(), ", "))
}
