package provision_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dripstat/failover"

// pkg is what go list says of one package of ours.
type pkg struct {
	ImportPath string
	Imports    []string // not those of tests
	Deps       []string
}

// list gives every package of this module by its path below it; "." is the module itself.
func list(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Deps", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			t.Fatalf("go list: %s", ee.Stderr)
		}
		t.Skipf("go list: %v", err) // a test binary that runs where there is no go
	}
	all := map[string]pkg{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(p.ImportPath, module+"/"); ok {
			all[name] = p
		}
	}
	if len(all) < 20 {
		t.Fatalf("go list names only %d packages of this module", len(all))
	}
	return all
}

// ours gives the packages of this module among paths.
func ours(paths []string) []string {
	var out []string
	for _, p := range paths {
		if name, ok := strings.CutPrefix(p, module+"/"); ok {
			out = append(out, name)
		}
	}
	return out
}

// mayImport is the law: imports point inward to provision, which imports only secrets; packages beside
// each other do not know each other, but for journal and lock, which stand on store, and adapters, which know
// their parent. templates and sandbox are pure. Only cmd knows everyone.
func mayImport(from, to string) bool {
	switch {
	case strings.HasSuffix(to, "test"): // what is for tests alone
		return strings.HasSuffix(from, "test")
	case strings.HasPrefix(from, "cmd/"):
		return to == "cmd/internal/cli" || to == "cmd/internal/view" || !strings.HasPrefix(to, "cmd/")
	case from == "secrets", from == "templates", from == "provision/sandbox":
		return false
	case strings.HasPrefix(from, "secrets/"):
		return to == "secrets" || from == "secrets/sops" && to == "secrets/exec" // sops is a command
	case from == "provision":
		return to == "secrets"
	case to == "provision", to == "secrets":
		return true
	case from == "provision/journal", from == "provision/lock":
		return to == "provision/store"
	case from == "provision/planfile", from == "provision/steps":
		return to == "templates"
	}
	parent := from[:strings.LastIndexByte(from, '/')]
	return parent != "provision" && to == parent
}

func TestImports(t *testing.T) {
	all := list(t)
	for from, p := range all {
		for _, to := range ours(p.Imports) {
			if !mayImport(from, to) {
				t.Errorf("%s imports %s", from, to)
			}
		}
	}
	// The law must be able to find a breach.
	for _, tt := range [][2]string{{"provision", "provision/steps"}, {"provision/engine", "provision/steps"}, {"provision/sandbox", "provision"},
		{"secrets", "provision"}, {"templates", "secrets"}, {"provision/dns", "provision/dns/rfc2136"}, {"provision/verify", "cmd/internal/view"}, {"cmd/internal/cli", "provision/rackspace/rackspacetest"}} {
		if mayImport(tt[0], tt[1]) {
			t.Errorf("%s may import %s", tt[0], tt[1])
		}
	}
}

// Some things of others are kept in one place each.
func TestForeignPackagesStayWhereTheyBelong(t *testing.T) {
	homes := map[string][]string{
		"github.com/hashicorp/hcl/v2":         {"provision/planfile"},
		"github.com/gophercloud/gophercloud/": {"provision/openstack", "provision/rackspace", "provision/rackspace/balancer", "provision/dns/designate", "provision/dns/clouddns", "secrets/barbican"},
		"github.com/charmbracelet/lipgloss":   {"cmd/internal/view"},
		"github.com/spf13/cobra":              {"cmd/internal/cli"},
		"github.com/libdns/":                  {"provision/dns/libdns"},
		"github.com/openbao/openbao/api":      {"secrets/vault"},
		"filippo.io/age":                      {"secrets/age", "cmd/internal/cli"},
		"github.com/mholt/acmez":              {"secrets/acme"},
		"github.com/letsencrypt/pebble":       {"secrets/acme/acmetest"},
	}
	used := map[string]bool{}
	for from, p := range list(t) {
		for _, imp := range p.Imports {
			for foreign, where := range homes {
				if strings.HasPrefix(imp, foreign) {
					used[foreign] = true
					if !slices.Contains(where, from) {
						t.Errorf("%s imports %s, which belongs to %s", from, imp, strings.Join(where, ", "))
					}
				}
			}
		}
	}
	for foreign := range homes {
		if !used[foreign] {
			t.Errorf("nothing imports %s: this test guards an empty house", foreign)
		}
	}
}

// What nouns and pure packages cannot do, they cannot do by accident: no network, no process, no files.
func TestPurePackages(t *testing.T) {
	all := list(t)
	for name, never := range map[string][]string{
		"provision/steps":   {"net", "os/exec", "net/http"},
		"provision/engine":  {"net", "net/http", "os/exec"},
		"provision/journal": {"net/http", "os/exec"},
	} {
		p, ok := all[name]
		if !ok {
			t.Errorf("there is no package %s", name)
		}
		for _, imp := range p.Imports {
			if slices.Contains(never, imp) {
				t.Errorf("%s imports %s", name, imp)
			}
		}
	}
}
