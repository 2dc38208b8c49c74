package planfile

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	os.Exit(m.Run())
}

func update() bool { return flag.Lookup("update").Value.String() == "true" }

// canaryEnv knows one variable, whose value must be seen nowhere.
func canaryEnv(n string) (string, bool) { return "canary-environment", n == "CANARY" }

func noEnv(string) (string, bool) { return "", false }

func shown(err error, color bool, width int) string {
	var b bytes.Buffer
	Write(&b, err, color, width)
	return b.String()
}

func TestGoldenDiagnostics(t *testing.T) {
	list, err := filepath.Glob("testdata/*.hcl")
	if err != nil || len(list) < 5 {
		t.Fatal(list, err)
	}
	for _, path := range list {
		t.Run(filepath.Base(path), func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(map[string][]byte{"failover.hcl": src}, "testdata", Options{Env: canaryEnv})
			var ds Diagnostics
			if !errors.As(err, &ds) || len(ds) == 0 {
				t.Fatalf("no diagnostics: %v", err)
			}
			for _, d := range ds {
				if d.Pos.Line == 0 || d.Pos.File == "" {
					t.Errorf("without a place: %s", d)
				}
			}
			got := shown(err, false, 80)
			if strings.Contains(got+err.Error(), "canary") {
				t.Errorf("a secret is shown:\n%s", got)
			}
			want := strings.TrimSuffix(path, ".hcl") + ".want"
			if update() {
				if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(b), got); d != "" {
				t.Error(d)
			}
			for _, width := range []int{0, 1, 20, 40, 200} {
				if x := shown(ds, true, width); strings.Contains(x, "canary") || !strings.Contains(x, "\x1b[1;31merror:") {
					t.Errorf("at width %d:\n%s", width, x)
				}
			}
		})
	}
}

func TestThreeMistakesAtOnce(t *testing.T) {
	_, err := Load("testdata/three.hcl", Options{Env: noEnv})
	var ds Diagnostics
	if !errors.As(err, &ds) || len(ds) != 3 {
		t.Fatalf("%v", err)
	}
	for i, line := range []int{12, 15, 16} {
		if ds[i].Pos.Line != line || ds[i].Hint == "" {
			t.Errorf("%s; want line %d and a hint", ds[i], line)
		}
	}
}

func TestWriteOtherErrors(t *testing.T) {
	_, err := Load("testdata/none.hcl", Options{})
	got := shown(err, false, 80)
	if !strings.Contains(got, "error: there is no plan at testdata/none.hcl") || !strings.Contains(got, "next: failover init") {
		t.Error(got)
	}
	if _, err := Load(t.TempDir(), Options{}); err == nil || !strings.Contains(err.Error(), "holds no *.hcl file") {
		t.Error(err)
	}
}

func TestWriteIsSafeForTerminals(t *testing.T) {
	_, err := Parse(map[string][]byte{"a\x1b[2J.hcl": []byte("service = \"x\x1b[31m\"\n\tnope\x1b[0m = 1\n\xff\xfe = 2\n")}, ".", Options{Env: noEnv})
	if err == nil {
		t.Fatal("it was taken")
	}
	if got := shown(err, false, 80); strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}

// TestMasking puts a secret into a line in every way that it can be there, beside a mistake that shows the line.
func TestMasking(t *testing.T) {
	for name, c := range map[string]struct{ file, src, keeps string }{
		"a mistake beside it":     {"f.hcl", "cloud \"a\" {\n openstack { password = \"canary\" }\n}\nservice { password = \"canary\" }", "openstack"},
		"no quotes":               {"f.hcl", "password = canary", "password ="},
		"one quote":               {"f.hcl", "password = \"canary", "password ="},
		"over two lines":          {"f.hcl", "password = \"x\ncanary\"\n", ""},
		"heredoc":                 {"f.hcl", "password = <<EOT\ncanary ${nope}\nEOT\n", ""},
		"open heredoc":            {"f.hcl", "password = <<EOT\ncanary\n", ""},
		"a call":                  {"f.hcl", "password = nope(\"canary\")", "password = nope("},
		"a default":               {"f.hcl", "password = env(\"X\", \"canary\", 3)", "env(\"X\""},
		"in an object":            {"f.hcl", "service = { api_token = \"canary\" }", "service = { api_token ="},
		"in an object over lines": {"f.hcl", "service = {\n  secret =\n \"canary\"\n}", ""},
		"JSON":                    {"f.json", `{"service": "x", "cloud": {"a": {"openstack": {"password": "canary", "nope": 1}}}}`, `"nope": 1`},
		"JSON broken":             {"f.json", `{"service": "x", "cloud": {"a": {"openstack": {"password": "canary" "nope": 1}}}}`, `"password": (secret)`},
		"JSON list":               {"f.json", "{\"password\": [\n\"canary\"\n], \"x\": 1}", ""},
		"JSON variable":           {"f.json", `{"service": "a b", "variable": {"v": {"sensitive": true, "default": "canary", "x": 1}}}`, `"x": 1`},
		"variable":                {"f.hcl", "variable \"v\" {\n sensitive = true\n default = [\"canary\", nope]\n}", "default ="},
		"variable used":           {"f.hcl", "service = \"a ${var.v}\"\nvariable \"v\" {\n sensitive = true\n default = \"canary\"\n}", "service ="},
		"TSIG":                    {"f.hcl", "dns \"a\" {\n rfc2136 { secret = \"canary\" }\n nope = 1\n}", "nope = 1"},
		"several in a line":       {"f.hcl", "token = \"canary\" password = \"canary\"", "token ="},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(map[string][]byte{c.file: []byte(c.src)}, ".", Options{Env: noEnv})
			if err == nil {
				t.Fatal("it was taken")
			}
			got := shown(err, false, 120) + err.Error()
			if strings.Contains(got, "canary") {
				t.Errorf("it is shown:\n%s", got)
			}
			if !strings.Contains(got, c.keeps) {
				t.Errorf("too much is masked:\n%s", got)
			}
		})
	}
}

// TestAbsurdPlans: what no person writes is refused soon, whatever it is.
func TestAbsurdPlans(t *testing.T) {
	const n = 10_000
	for name, src := range map[string]string{
		"control characters": "e" + strings.Repeat("\v", n) + strings.Repeat("v\\", n),
		"blocks":             strings.Repeat("a{\n", n), "parentheses": "a=" + strings.Repeat("(", n), "templates": "a=\"" + strings.Repeat("${\"", n),
		"passwords": strings.Repeat("password=\"\n", n/4), "large": strings.Repeat("# x\n", n*30),
	} {
		for _, file := range []string{"f.hcl", "f.json"} {
			_, err := Parse(map[string][]byte{file: []byte(src)}, ".", Options{Env: noEnv})
			var ds Diagnostics
			if !errors.As(err, &ds) || len(ds) > mostDiagnostics {
				t.Errorf("%s as %s: %d diagnostics", name, file, len(ds))
			}
			if _, err := Format(file, []byte(src)); err == nil && name != "large" {
				t.Errorf("%s as %s was laid out", name, file)
			}
		}
	}
}

// Which variable a secret is missing from is said; what may be a secret that somebody took for the name of one is not.
func TestUnsetSecret(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"RAX_API_KEY", "the environment variable RAX_API_KEY is not set"},
		{"hunter2", "the value of a secret attribute is not valid"},
	} {
		src := "cloud \"rax\" {\n  rackspace {\n    username = \"ops\"\n    api_key  = env(\"" + tt.name + "\")\n  }\n}\n"
		_, err := Parse(map[string][]byte{"failover.hcl": []byte(src)}, "testdata", Options{Env: noEnv})
		var ds Diagnostics
		if !errors.As(err, &ds) || !slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Summary == tt.want }) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
