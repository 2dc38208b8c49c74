package planfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// secretsPlan parses secrets and certificate blocks of a small plan.
func secretsPlan(t *testing.T, name, text string) (provision.Plan, error) {
	t.Helper()
	rest := "service = \"shop\"\nstep \"s\" {\n  run = [\"true\"]\n}\n"
	if strings.HasSuffix(name, ".json") {
		return Parse(map[string][]byte{"a.hcl": []byte(rest), name: []byte(text)}, t.TempDir(), Options{Env: noEnv})
	}
	return Parse(map[string][]byte{name: []byte(rest + text)}, t.TempDir(), Options{Env: noEnv})
}

const twoStores = "secrets \"a\" {\n  age {\n    file = \"a.age\"\n  }\n}\nsecrets \"b\" {\n  age {\n    file = \"b.age\"\n  }\n}\n"

func certificateOf(lines string) string {
	return twoStores + "certificate \"edge\" {\n  names = [\"www.shop.test\"]\n" + lines + "}\n"
}

func TestLadder(t *testing.T) {
	for lines, want := range map[string][]secrets.Ref{
		"  from = secrets.a\n  path = \"edge\"\n":                                        {{Store: "a", Path: "edge"}},
		"  from = [secrets.b, secrets.a]\n  path = \"edge\"\n":                           {{Store: "b", Path: "edge"}, {Store: "a", Path: "edge"}},
		"  from = [secrets.b, secrets.a]\n  path = { a = \"edge\", b = \"tls/edge\" }\n": {{Store: "b", Path: "tls/edge"}, {Store: "a", Path: "edge"}},
		"  from = [secrets[\"a\"]]\n  path = { a = \"edge\" }\n":                         {{Store: "a", Path: "edge"}},
	} {
		p, err := secretsPlan(t, "failover.hcl", certificateOf(lines))
		if err != nil {
			t.Errorf("%s%s", lines, shown(err, false, 100))
			continue
		}
		if d := cmp.Diff(want, p.Certificates[0].From); d != "" {
			t.Errorf("%s(-want +got):\n%s", lines, d)
		}
	}
	p, err := secretsPlan(t, "b.hcl.json", `{"secrets": {"a": {"age": {"file": "a.age"}}, "b": {"age": {"file": "b.age"}}},
		"certificate": {"edge": {"from": ["secrets.a", "${secrets.b}"], "path": {"a": "x", "b": "y"}, "names": "www.shop.test"}}}`)
	if err != nil {
		t.Fatal(shown(err, false, 100))
	}
	if d := cmp.Diff([]secrets.Ref{{Store: "a", Path: "x"}, {Store: "b", Path: "y"}}, p.Certificates[0].From); d != "" {
		t.Errorf("JSON (-want +got):\n%s", d)
	}
}

func TestLadderMistakes(t *testing.T) {
	for lines, want := range map[string][]string{
		"  from = secrets.a\n":                                                  {`certificate "edge" needs path`, `add: path = "edge"`},
		"  from = [secrets.a, secrets.a]\n  path = \"edge\"\n":                  {"secrets.a is there twice", "take it out"},
		"  from = []\n  path = \"edge\"\n":                                      {"from of certificate \"edge\" is empty"},
		"  from = [secrets.a, secrets.c]\n  path = \"edge\"\n":                  {`there is no secrets "c"`},
		"  from = \"a\"\n  path = \"edge\"\n":                                   {"takes a reference, not a text", "write secrets.a, without quotes"},
		"  from = [secrets.a, secrets.b]\n  path = { a = \"edge\" }\n":          {"does not say where it is in secrets.b", `add: b = "edge"`},
		"  from = [secrets.a, secrets.b]\n  path = { a = \"e\", bb = \"e\" }\n": {`path of certificate "edge" has no "bb"`, `did you mean "b"?`},
		"  from = secrets.a\n  path = [\"edge\"]\n":                             {"must be a text or an object"},
		"  from = secrets.a\n  path = \"\"\n":                                   {"path of certificate \"edge\" is empty"},
		"  from = secrets.a\n  path = { a = \"\" }\n":                           {"has something for a that is not a text"},
	} {
		_, err := secretsPlan(t, "failover.hcl", certificateOf(lines))
		if err == nil {
			t.Errorf("accepted:\n%s", lines)
			continue
		}
		text := shown(err, false, 100)
		for _, w := range append(want, "failover.hcl line ") {
			if !strings.Contains(text, w) {
				t.Errorf("%s\ngives:\n%s\nwant %q", lines, text, w)
			}
		}
		if n := strings.Count(text, "error: "); n != 1 {
			t.Errorf("%s\ngives %d errors:\n%s", lines, n, text)
		}
	}
}
