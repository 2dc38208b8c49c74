package planfile

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dripstat/failover/templates"
)

// examples gives the fenced blocks of one language, with their lines.
func examples(t *testing.T, path, language string) (texts []string, lines []int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inside, n := false, 0
	for l := range strings.Lines(string(b)) {
		n++
		switch {
		case !inside && strings.TrimSpace(l) == "```"+language:
			inside = true
			texts, lines = append(texts, ""), append(lines, n)
		case inside && strings.TrimSpace(l) == "```":
			inside = false
		case inside:
			texts[len(texts)-1] += l
		}
	}
	return texts, lines
}

// TestExamplesOfTheDocs loads every example: one with a service by itself, the others beside the first
// plan of plan-language.md, as its page says.
func TestExamplesOfTheDocs(t *testing.T) {
	dir := t.TempDir()
	for n, b := range map[string][]byte{"setup.sh": []byte("#!/bin/sh\n"), "ca.pem": caPEM(t), "vault-ca.pem": caPEM(t), "own.tmpl": []byte("#!/bin/sh\necho {{quote .Vars.greeting}} from {{.Region}} >/etc/motd\n")} {
		if err := os.WriteFile(filepath.Join(dir, n), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	language := "../../docs/plan-language.md"
	base, _ := examples(t, language, "hcl")
	pages, err := filepath.Glob("../../docs/secrets/*.md")
	if err != nil || len(pages) < 4 {
		t.Fatalf("%d pages on backends, %v", len(pages), err)
	}
	for _, page := range append(pages, language, "../../docs/templates.md", "../../docs/rackspace.md") {
		texts, lines := examples(t, page, "hcl")
		if len(texts) < 3 && !strings.Contains(page, "secrets") && !strings.Contains(page, "rackspace") || len(texts) < 1 {
			t.Fatalf("%s has %d examples", page, len(texts))
		}
		for i, text := range texts {
			name := fmt.Sprintf("%s line %d", filepath.Base(page), lines[i])
			files := map[string][]byte{name: []byte(text)}
			if !regexp.MustCompile(`(?m)^service\s*=`).MatchString(text) {
				files["base.hcl"] = []byte(base[0])
				if strings.Contains(page, "rackspace") { // another load balancer than that of the page's own plan
					files["base.hcl"] = withoutBlocks(texts[1], "load_balancer")
				}
				if strings.Contains(page, "secrets") {
					files["base.hcl"] = withoutBlocks(base[0], "secrets", "certificate")
					if strings.Contains(text, "\nserver ") { // where the certificate ends is the page's to say, too
						files["base.hcl"] = withoutBlocks(string(files["base.hcl"]), "server")
					}
				}
			}
			if _, err := Parse(files, dir, Options{Env: noEnv, Offline: true}); err != nil {
				t.Error(shown(err, false, 100))
			}
			if f, err := Format(name, []byte(text)); err != nil || string(f) != text {
				t.Errorf("%s is not laid out as failover fmt does", name)
			}
		}
	}
	texts, lines := examples(t, language, "json")
	for i, text := range texts {
		if _, err := Parse(map[string][]byte{fmt.Sprintf("line %d.json", lines[i]): []byte(text)}, dir, Options{Env: noEnv, Offline: true}); err != nil {
			t.Error(shown(err, false, 100))
		}
	}
}

// withoutBlocks takes blocks of some kinds out of a plan: the page of a backend brings its own.
func withoutBlocks(plan string, kinds ...string) []byte {
	return regexp.MustCompile(`(?ms)^(`+strings.Join(kinds, "|")+`) .*?^}\n`).ReplaceAll([]byte(plan), nil)
}

// TestDocsNameEverything: no attribute, block, function or variable of a template is missing from the docs.
func TestDocsNameEverything(t *testing.T) {
	b, err := os.ReadFile("../../docs/plan-language.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	var walk func(kind, prefix string)
	walk = func(kind, prefix string) {
		s := shapes(kind)
		attrs, required := fields(s.attrs)
		for _, n := range attrs {
			cell := n
			if required[n] {
				cell = "**" + n + "**"
			}
			if !regexp.MustCompile(`(?m)^\|.*`+regexp.QuoteMeta(cell)).MatchString(page) && kind != "store.file" {
				t.Errorf("%s of %s is not in a table of docs/plan-language.md", cell, kind)
			}
		}
		blocks, _ := fields(s.blocks)
		for _, n := range blocks {
			if n != "region" {
				walk(prefix+n, prefix+n+".")
			}
		}
	}
	walk("plan", "")
	for _, f := range functionNames() {
		if !strings.Contains(page, "`"+f+"(") {
			t.Errorf("the function %s is not in docs/plan-language.md", f)
		}
	}
	b, err = os.ReadFile("../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range templates.Names() {
		_, rest, _ := strings.Cut(string(b), "<!-- vars "+n+" -->\n")
		got, _, _ := strings.Cut(rest, "<!-- end -->")
		want := "\n| variable | default | meaning |\n|---|---|---|\n"
		for _, v := range templates.Vars(n) {
			want += strings.ReplaceAll(fmt.Sprintf("| `%s` | %s | %s |\n", v.Name, v.Default, v.Help), "|  |", "| |")
		}
		want += "\n"
		if got != want {
			t.Errorf("docs/templates.md on %s should say\n%s", n, want)
		}
	}
}
