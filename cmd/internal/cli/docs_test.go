package cli

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
)

const top = "../../.."

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{top}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestLinksOfTheDocs follows every relative link, headings too.
func TestLinksOfTheDocs(t *testing.T) {
	files := []string{filepath.Join(top, "README.md")}
	err := filepath.WalkDir(filepath.Join(top, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(withoutFences(string(b)), -1) {
			to, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			target := f
			if to != "" {
				target = filepath.Join(filepath.Dir(f), filepath.FromSlash(to))
			}
			text, err := os.ReadFile(target)
			if err != nil {
				if s, serr := os.Stat(target); serr != nil || !s.IsDir() {
					t.Errorf("%s: link %s: %v", f, m[1], err)
				}
				continue
			}
			if anchor != "" && !headings(string(text))[anchor] {
				t.Errorf("%s: link %s: there is no such heading", f, m[1])
			}
		}
	}
}

// TestTestsOfTheDocs are there: a promise whose test is gone is none.
func TestTestsOfTheDocs(t *testing.T) {
	have := map[string]bool{}
	test := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
	if err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range test.FindAllSubmatch(text, -1) {
			have[string(m[1])] = true
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, page := range []string{"security.md", "ARCHITECTURE.md", "reliability.md", "testing-on-openstack.md"} {
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`").FindAllStringSubmatch(read(t, "docs", page), -1) {
			if named++; !have[m[1]] {
				t.Errorf("docs/%s names %s, which is nowhere", page, m[1])
			}
		}
	}
	if named < 40 {
		t.Errorf("%d tests are named: they are not found", named)
	}
}

func withoutFences(s string) string {
	var out strings.Builder
	inside := false
	for l := range strings.Lines(s) {
		if strings.HasPrefix(strings.TrimSpace(l), "```") {
			inside = !inside
			continue
		}
		if !inside {
			out.WriteString(l)
		}
	}
	return out.String()
}

// headings gives the anchors that GitHub makes.
func headings(s string) map[string]bool {
	out := map[string]bool{}
	drop := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for l := range strings.Lines(withoutFences(s)) {
		if h := strings.TrimLeft(l, "#"); h != l && strings.HasPrefix(h, " ") {
			out[strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(h)), ""), " ", "-")] = true
		}
	}
	return out
}

// constants gives those of one type, by name, as a file declares them.
func constants(t *testing.T, path, typ string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(top, filepath.FromSlash(path)), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			id, _ := v.Type.(*ast.Ident)
			if typ != "" && (id == nil || id.Name != typ) {
				continue
			}
			for i, n := range v.Names {
				if i < len(v.Values) {
					if lit, ok := v.Values[i].(*ast.BasicLit); ok {
						out[n.Name] = strings.Trim(lit.Value, `"`)
					}
				}
			}
		}
	}
	return out
}

// TestEventsAreDescribed holds docs/json.md to provision/event.go: types, outcomes and fields.
func TestEventsAreDescribed(t *testing.T) {
	page := read(t, "docs", "json.md")
	types := constants(t, "provision/event.go", "EventType")
	if len(types) < 10 {
		t.Fatalf("found %d types of events", len(types))
	}
	for name, v := range types {
		if !strings.Contains(page, "### `"+v+"`") {
			t.Errorf("docs/json.md has no heading for %s (%s)", v, name)
		}
		if !strings.Contains(page, `"type":"`+v+`"`) {
			t.Errorf("docs/json.md has no example of %s", v)
		}
	}
	for _, v := range constants(t, "provision/event.go", "Outcome") {
		if !strings.Contains(page, "`"+v+"`") {
			t.Errorf("docs/json.md does not tell the outcome %s", v)
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[provision.Event](), reflect.TypeFor[provision.Graph](), reflect.TypeFor[provision.Step](),
		reflect.TypeFor[provision.Error](), reflect.TypeFor[provision.Finding](), reflect.TypeFor[provision.Say](), reflect.TypeFor[provision.Undo]()} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if name != "" && name != "-" && !strings.Contains(page, "`"+name+"`") {
				t.Errorf("docs/json.md does not describe the field %s of %s", name, typ)
			}
		}
	}
}

// TestExitCodesAreDescribed holds docs/exit-codes.md to app.go.
func TestExitCodesAreDescribed(t *testing.T) {
	page := read(t, "docs", "exit-codes.md")
	n := 0
	for name, v := range constants(t, "cmd/internal/cli/app.go", "") {
		code, err := strconv.Atoi(v)
		if err != nil || !strings.HasPrefix(name, "exit") {
			continue
		}
		n++
		if !strings.Contains(page, fmt.Sprintf("| `%d` |", code)) {
			t.Errorf("docs/exit-codes.md has no row for %d (%s)", code, name)
		}
	}
	if n < 6 {
		t.Errorf("found %d exit codes in app.go", n)
	}
}

// TestFindingsAreDescribed holds docs/preflight.md to the check words of the code.
func TestFindingsAreDescribed(t *testing.T) {
	page := read(t, "docs", "preflight.md")
	words := map[string]bool{}
	for _, p := range []struct{ glob, pattern string }{
		{"provision/preflight/*.go", `(?:j\.find\([^,]+, |refuse\(|Check: )"([a-z ]+)"`},
		{"provision/openstack/inventory*.go", `r\.read\(ctx, "([a-z ]+)"`},
	} {
		files, _ := filepath.Glob(filepath.Join(top, filepath.FromSlash(p.glob)))
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(p.pattern).FindAllStringSubmatch(string(b), -1) {
				words[m[1]] = true
			}
		}
	}
	if len(words) < 10 {
		t.Fatalf("found %d check words", len(words))
	}
	for w := range words {
		if !strings.Contains(page, "\n### "+w+"\n") {
			t.Errorf("docs/preflight.md has no heading for the check word %q", w)
		}
	}
}

// TestFaultsAreDescribed holds docs/sandbox.md to the sandbox.
func TestFaultsAreDescribed(t *testing.T) {
	page := read(t, "docs", "sandbox.md")
	for _, f := range sandbox.Faults() {
		name := strings.FieldsFunc(f.Name, func(r rune) bool { return r == '=' || r == '[' })[0]
		if !strings.Contains(page, "`"+name) {
			t.Errorf("docs/sandbox.md does not tell of the fault %s", name)
		}
	}
}
