package planfile

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/hashicorp/hcl/v2/json"
)

// Format gives the text as terraform fmt would lay it out. JSON is left as it is. A file that does not
// parse is an error, for laying out what is not understood may break it.
func Format(name string, src []byte) ([]byte, error) {
	d := &decoder{files: map[string][]byte{name: src}}
	if !d.reasonable(name) {
		return nil, d.finish()
	}
	if isJSON(name) {
		f, diags := json.Parse(src, name)
		d.mask(name, f)
		d.addHCL(diags, "", false)
	} else {
		f, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
		d.mask(name, f)
		d.addHCL(diags, "", false)
	}
	if len(d.diags) > 0 {
		return nil, d.finish()
	}
	if isJSON(name) {
		return src, nil
	}
	return hclwrite.Format(src), nil
}

// Names gives what a shell may complete: the regions and the servers that a plan names, as far as its text
// can be understood. It never fails.
func Names(path string) (regions, servers []string) {
	files, _, err := readAll(path)
	if err != nil {
		return nil, nil
	}
	add := func(list *[]string, s string) {
		if s != "" && !contains(*list, s) {
			*list = append(*list, s)
		}
	}
	names := make(map[string]string, len(files)) // by base name, for a stable order
	for n := range files {
		names[filepath.Base(n)] = n
	}
	home := ""
	for _, base := range sorted(names) {
		n := names[base]
		var f *hcl.File
		if isJSON(n) {
			f, _ = json.Parse(files[n], n)
		} else {
			f, _ = hclsyntax.ParseConfig(files[n], n, hcl.InitialPos)
		}
		if f == nil || f.Body == nil {
			continue
		}
		c, _, _ := f.Body.PartialContent(&hcl.BodySchema{
			Attributes: []hcl.AttributeSchema{{Name: "regions"}, {Name: "home"}},
			Blocks:     []hcl.BlockHeaderSchema{{Type: "server", LabelNames: []string{"name"}}},
		})
		if c == nil {
			continue
		}
		if a := c.Attributes["regions"]; a != nil {
			list, _ := hcl.ExprList(a.Expr)
			for _, e := range list {
				if s, ok := literal(e); ok {
					add(&regions, s)
				}
			}
		}
		if a := c.Attributes["home"]; a != nil {
			home, _ = literal(a.Expr)
		}
		for _, b := range c.Blocks {
			add(&servers, b.Labels[0])
		}
	}
	add(&regions, strings.TrimSpace(home))
	return regions, servers
}

// Find gives the plan that is meant where none is named: failover.hcl, or failover.hcl.json, in dir.
func Find(dir string) string {
	for _, n := range []string{"failover.hcl", "failover.hcl.json"} {
		p := filepath.Join(dir, n)
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return filepath.Join(dir, "failover.hcl")
}
