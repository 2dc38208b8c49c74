package planfile

import (
	"strings"
	"testing"
	"time"

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

func TestBackends(t *testing.T) {
	const cert = "certificate \"edge\" {\n  from = secrets.x\n  names = [\"www.shop.test\"]\n"
	for block, want := range map[string]provision.SecretStore{
		"exec {\n run = [\"op\", \"read\", \"{path}\"]\n chain_field = [\"a.b\", \"c\"]\n key_field = \"d\"\n timeout = \"30s\"\n}": {Kind: "exec",
			Exec: &provision.ExecStore{Run: []string{"op", "read", "{path}"}, ChainField: []string{"a.b", "c"}, KeyField: "d", Timeout: 30 * time.Second}},
		"exec {\n chain = [\"a\", \"{path}\"]\n key = \"b\"\n}": {Kind: "exec", Exec: &provision.ExecStore{Chain: []string{"a", "{path}"}, Key: []string{"b"}, Timeout: 10 * time.Second}},
		"vault {\n}": {Kind: "vault", Vault: &provision.VaultStore{Mount: "secret"}},
		"vault {\n address = \"https://a\"\n namespace = \"n\"\n ca = \"ca.pem\"\n mount = \"kv\"\n version = 1\n chain_field = \"c\"\n key_field = \"k\"\n jwt {\n role = \"r\"\n file = \"f\"\n mount = \"ci\"\n}\n}": {Kind: "vault",
			Vault: &provision.VaultStore{Addresses: []string{"https://a"}, Namespace: "n", CA: "ca.pem", Mount: "kv", Version: 1, ChainField: []string{"c"}, KeyField: "k",
				Login: provision.VaultLogin{Method: "jwt", Mount: "ci", Role: "r", File: "f"}}},
		"file {\n chain = \"{path}.pem\"\n}":                   {Kind: "file", File: &provision.FileStore{Chain: "{path}.pem"}},
		"env {\n chain = \"C_{path}\"\n key = \"K_{path}\"\n}": {Kind: "env", Env: &provision.EnvStore{Chain: "C_{path}", Key: "K_{path}"}},
		"sops {\n file = \"a.yaml\"\n chain_field = \"tls.crt\"\n}": {Kind: "sops",
			SOPS: &provision.SOPSStore{File: "a.yaml", ChainField: []string{"tls.crt"}, Timeout: 10 * time.Second}},
	} {
		p, err := secretsPlan(t, "failover.hcl", "secrets \"x\" {\n"+block+"\n}\n"+cert+"path = \"edge\"\n}\n")
		if err != nil {
			t.Errorf("%s\n%s", block, shown(err, false, 100))
			continue
		}
		want.Name, want.Pos = "x", p.Secrets[0].Pos
		if d := cmp.Diff(want, p.Secrets[0], cmp.Comparer(func(a, b secrets.Value) bool { return string(a.Bytes()) == string(b.Bytes()) })); d != "" {
			t.Errorf("%s\n(-want +got):\n%s", block, d)
		}
		if _, err := secretsPlan(t, "failover.hcl", "secrets \"x\" {\n"+block+"\n}\n"+cert+"}\n"); err == nil || !strings.Contains(err.Error(), "needs path") {
			t.Errorf("%s\nwithout a path: %v", block, err)
		}
	}
	// Without {path} there is one certificate, and no path to give.
	for _, block := range []string{"exec {\n run = [\"op\"]\n}", "file {\n chain = \"a.pem\"\n key = \"a.key\"\n}", "env {\n chain = \"A\"\n}", "sops {\n file = \"a.yaml\"\n chain_field = \"c\"\n key_field = \"k\"\n}"} {
		if _, err := secretsPlan(t, "failover.hcl", "secrets \"x\" {\n"+block+"\n}\n"+cert+"}\n"); err != nil {
			t.Errorf("%s\n%s", block, shown(err, false, 100))
		}
	}
}

func TestBackendMistakes(t *testing.T) {
	for block, want := range map[string][]string{
		"":                         {`secrets "x" does not say where its secrets are`},
		"file {\n}":                {"needs chain", "fullchain.pem"},
		"file {\n chain = \"\"\n}": {"chain of file of secrets \"x\" is empty"},
		"age {\n file = \"a\"\n}\nenv {\n chain = \"A\"\n}": {"has more than one place", "from = [secrets.a, secrets.b]"},
		"vaultt {\n}":                               {`has no block "vaultt"`},
		"exec {\n}":                                 {"has no command", `add: run = ["pass"`},
		"exec {\n run = []\n}":                      {"must begin with a command"},
		"exec {\n run = \"pass show x\"\n}":         {"no shell takes it apart"},
		"exec {\n run = [\"a\"]\n key = [\"b\"]\n}": {"beside other commands"},
		"exec {\n chain = [\"a\"]\n}":               {"chain of exec of secrets \"x\" needs key beside it"},
		"exec {\n key = [\"a\"]\n}":                 {"needs chain beside it"},
		"exec {\n chain = [\"a\"]\n key = [\"b\"]\n key_field = \"k\"\n}": {"is for run"},
		"exec {\n run = [\"a\"]\n chain_field = \"a..b\"\n}":              {"empty name between its dots"},
		"exec {\n run = [\"a\"]\n chain_field = []\n}":                    {"chain_field of exec of secrets \"x\" is empty"},
		"exec {\n run = [\"a\"]\n timeout = \"1ms\"\n}":                   {"must be from 1s to 10m"},
		"env {\n chain = \"TLS-CHAIN\"\n}":                                {`is "TLS-CHAIN", which is not the name of a variable`, `chain = "TLS_CHAIN"`},
		"env {\n chain = \"9A\"\n}":                                       {"not the name of a variable"},
		"vault {\n address = \"vault:8200\"\n}":                           {`has "vault:8200", which is not https://HOST:PORT`},
		"vault {\n address = [\"https://a\", \"https://a\"]\n}":           {"twice"},
		"vault {\n version = 3\n}":                                        {"must be a whole number from 1 to 2"},
		"vault {\n mount = \"/\"\n}":                                      {"mount of vault of secrets \"x\" is empty"},
		"vault {\n token = \"hunter2hunter2\"\n userpass {\n username = \"a\"\n password = \"hunter2hunter2\"\n}\n}": {"has more than one way to log in"},
		"vault {\n approle {\n secret_id = \"hunter2hunter2\"\n}\n}":                                                 {"needs role_id", "vault read auth/approle"},
		"vault {\n approle {\n role_id = \"a\"\n wrapped = true\n}\n}":                                               {"needs secret_id beside it"},
		"vault {\n jwt {\n role = \"a\"\n}\n}":                                                                       {"needs one of token and file"},
		"barbican {\n}":                                                                                              {"needs cloud", "cloud = cloud.main"},
		"barbican {\n cloud = cloud.mian\n}":                                                                         {`there is no cloud "mian"`},
		"sops {\n key_field = \"k\"\n}":                                                                              {"needs file", "secrets.enc.yaml"},
		"sops {\n file = \"a\"\n key_field = \".k\"\n}":                                                              {"empty name between its dots"},
	} {
		_, err := secretsPlan(t, "failover.hcl", "secrets \"x\" {\n"+block+"\n}\n")
		if err == nil {
			t.Errorf("accepted:\n%s", block)
			continue
		}
		text := shown(err, false, 200)
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s\nshows a secret:\n%s", block, text)
		}
		for _, w := range append(want, "failover.hcl line ") {
			if !strings.Contains(text, w) {
				t.Errorf("%s\ngives:\n%s\nwant %q", block, text, w)
			}
		}
		if n := strings.Count(text, "error: "); n != 1 {
			t.Errorf("%s\ngives %d errors:\n%s", block, n, text)
		}
	}
}
