package planfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

func TestStore(t *testing.T) {
	rest := "service = \"shop\"\nstep \"s\" {\n  run = [\"true\"]\n}\n"
	env := func(string) (string, bool) { return "hunter2hunter2", true }
	load := func(store string) (provision.Plan, error) {
		return Parse(map[string][]byte{"failover.hcl": []byte(rest + store)}, t.TempDir(), Options{Env: env})
	}
	p, err := load("store {\n  file {\n    dir = \"state\"\n  }\n  etcd {\n    endpoints = [\"https://a:2379\", \"https://b:2379\"]\n    ca = \"ca.pem\"\n    username = \"me\"\n    password = env(\"P\")\n  }\n}\n")
	if err != nil {
		t.Fatal(shown(err, false, 100))
	}
	want := provision.Store{Dir: "state", Etcd: &provision.Etcd{Endpoints: []string{"https://a:2379", "https://b:2379"}, CA: "ca.pem",
		Username: "me", Password: secrets.NewValue([]byte("hunter2hunter2"))}}
	if d := cmp.Diff(want, p.Store, cmp.Comparer(func(a, b secrets.Value) bool { return string(a.Bytes()) == string(b.Bytes()) })); d != "" {
		t.Errorf("store (-want +got):\n%s", d)
	}
	for store, say := range map[string]string{
		"store {}\n":              "does not say where",
		"store {\n  etcd {}\n}\n": "endpoints",
		"store {\n  etcd {\n    endpoints = []\n  }\n}\n":                                                      "is empty",
		"store {\n  etcd {\n    endpoints = [\"etcd:2379\"]\n  }\n}\n":                                         "which is not https://HOST:PORT",
		"store {\n  etcd {\n    endpoints = [\"http://a:2379\"]\n    ca = \"ca.pem\"\n  }\n}\n":                "not encrypted",
		"store {\n  etcd {\n    endpoints = [\"https://a:2379\", \"https://a:2379\"]\n  }\n}\n":                "twice",
		"store {\n  etcd {\n    endpoints = [\"https://a:2379\"]\n    cert = \"c.pem\"\n  }\n}\n":              "needs key beside it",
		"store {\n  etcd {\n    endpoints = [\"https://a:2379\"]\n    password = \"hunter2hunter2\"\n  }\n}\n": "needs username beside it",
		"store {\n  etcd {\n    endpoints = [\"https://a:2379\"]\n    username = env(\"U\")\n  }\n}\n":         "needs password beside it",
		"store {\n  etcd {\n    endpoints = [\"https://a:2379\"]\n    prefix = \"/\"\n  }\n}\n":                "names nothing",
		"store {\n  etcd {\n    endpoints = [env(\"E\")]\n  }\n}\n":                                            "which is not https://HOST:PORT",
	} {
		_, err := load(store)
		if err == nil {
			t.Errorf("accepted:\n%s", store)
			continue
		}
		if text := shown(err, false, 100); !strings.Contains(text, say) || strings.Contains(text, "hunter2") {
			t.Errorf("%s\ngives:\n%s\nwant %q", store, text, say)
		}
	}
}
