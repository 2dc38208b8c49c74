package planfile

import (
	"strings"
	"testing"

	"github.com/dripstat/failover/templates"
)

// What the environment lacks of a cloud's credentials is not missed in a rehearsal; whatever else it lacks is.
func TestRehearsal(t *testing.T) {
	clouds := "step \"t\" {\n  run = [\"true\"]\n}\n" + "cloud \"a\" {\n  openstack {\n    auth_url = env(\"URL\")\n    username = env(\"U\")\n    password = \"x-${env(\"P\")}\"\n  }\n}\n" +
		"cloud \"b\" {\n  rackspace {\n    username = env(\"U\")\n    api_key  = env(\"P\")\n  }\n}\n"
	p := load(t, "service = \"x\"\n"+clouds, Options{Env: noEnv, Rehearsal: true})
	if a, b := p.Clouds[0].OpenStack, p.Clouds[1].Rackspace; a.Username != Placeholder || len(a.AuthURLs) != 1 || b.Username != Placeholder || b.APIKey.IsZero() {
		t.Errorf("%+v %+v", a, b)
	}
	if got := refused(t, "service = \"x\"\n"+clouds, Options{Env: noEnv}); !strings.Contains(got, "the environment variable P is not set") {
		t.Errorf("without one:\n%s", got)
	}
	got := refused(t, "service = env(\"SERVICE\")\n"+clouds+"step \"s\" {\n  run = [\"true\", env(\"AFTER\")]\n}\n", Options{Env: noEnv, Rehearsal: true})
	for _, want := range []string{"SERVICE", "AFTER"} {
		if !strings.Contains(got, "the environment variable "+want+" is not set") {
			t.Errorf("%s is not missed:\n%s", want, got)
		}
	}
	if strings.Contains(got, "variable U ") {
		t.Errorf("credentials are missed:\n%s", got)
	}
	for _, cloud := range []string{"openstack", "rackspace", "flex"} {
		if _, err := Parse(map[string][]byte{"failover.hcl": templates.Starter(cloud, "shop")}, t.TempDir(), Options{Env: noEnv, Rehearsal: true}); err != nil {
			t.Error(shown(err, false, 100))
		}
	}
}
