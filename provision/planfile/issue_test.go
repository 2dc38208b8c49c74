package planfile

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

const (
	issuedAge = "secrets \"issued\" {\n age {\n file = \"issued.age\"\n}\n}\n"
	acmeLines = "directory = \"https://acme.example.com/directory\"\n terms_agreed = true\n seal = secrets.issued\n"
	shopZone  = "cloud \"main\" {\n openstack {\n}\n}\ndns \"public\" {\n zone = \"shop.test\"\n designate {\n cloud = cloud.main\n}\n}\n"
)

func acmeBlock(lines string) string {
	return issuedAge + "secrets \"le\" {\n acme {\n" + lines + "}\n}\n"
}

func pkiBlock(lines string) string {
	return issuedAge + "secrets \"x\" {\n vault {\n pki {\n" + lines + "}\n}\n}\n"
}

func TestPKI(t *testing.T) {
	for lines, want := range map[string]provision.VaultPKI{
		"role = \"web\"\n seal = secrets.issued\n": {Role: "web", Seal: "issued", Mount: "pki"},
		"role = \"web\"\n seal = secrets.issued\n mount = \"ca\"\n mode = \"issue\"\n ttl = \"72h\"\n renew = 2\n": {Role: "web", Seal: "issued", Mount: "ca", Issue: true, TTL: 72 * time.Hour, Renew: 2 * day},
		"role = \"web\"\n seal = secrets.issued\n mode = \"sign\"\n key_type = \"rsa2048\"\n":                      {Role: "web", Seal: "issued", Mount: "pki", KeyType: "rsa2048"},
	} {
		p, err := secretsPlan(t, "failover.hcl", pkiBlock(lines)+"certificate \"edge\" {\n from = secrets.x\n path = \"edge\"\n names = [\"www.shop.test\"]\n}\n")
		if err != nil {
			t.Errorf("%s\n%s", lines, shown(err, false, 100))
			continue
		}
		if d := cmp.Diff(want, *p.Secrets[1].Vault.PKI); d != "" {
			t.Errorf("%s\n(-want +got):\n%s", lines, d)
		}
	}
}

func TestACME(t *testing.T) {
	same := cmp.Comparer(func(a, b secrets.Value) bool { return string(a.Bytes()) == string(b.Bytes()) })
	for lines, want := range map[string]provision.ACMEStore{
		acmeLines: {Directory: "https://acme.example.com/directory", Seal: "issued", KeyType: "p256"},
		acmeLines + "email = \"a@b.c\"\n ca = \"ca.pem\"\n key_type = \"rsa4096\"\n chain = \"Root X1\"\n renew = 20\n external_account {\n kid = \"k\"\n hmac = \"hunter2\"\n}\n": {
			Directory: "https://acme.example.com/directory", Seal: "issued", KeyType: "rsa4096", Email: "a@b.c", CA: "ca.pem", Chain: "Root X1", Renew: 20 * day, KID: "k", HMAC: secrets.NewValue([]byte("hunter2"))},
		acmeLines + "renew = \"36h\"\n": {Directory: "https://acme.example.com/directory", Seal: "issued", KeyType: "p256", Renew: 36 * time.Hour},
	} {
		p, err := secretsPlan(t, "failover.hcl", acmeBlock(lines)+shopZone+"certificate \"edge\" {\n from = secrets.le\n path = \"edge\"\n names = [\"www.shop.test\", \"*.Shop.test\", \"shop.test\"]\n}\n")
		if err != nil {
			t.Errorf("%s\n%s", lines, shown(err, false, 100))
			continue
		}
		if d := cmp.Diff(want, *p.Secrets[1].ACME, same); d != "" {
			t.Errorf("%s\n(-want +got):\n%s", lines, d)
		}
	}
}

func TestIssuerMistakes(t *testing.T) {
	edge := func(name string) string {
		return "certificate \"edge\" {\n from = secrets.le\n path = \"edge\"\n names = [\"" + name + "\"]\n}\n"
	}
	for text, want := range map[string][]string{
		acmeBlock("directory = \"https://a\"\n terms_agreed = true\n"):                                                                           {"needs seal", `secrets "issued" { age`},
		acmeBlock("directory = \"https://a\"\n seal = secrets.issued\n"):                                                                         {"needs terms_agreed", "once you have read the terms"},
		acmeBlock("directory = \"https://a\"\n seal = secrets.issued\n terms_agreed = false\n"):                                                  {"terms_agreed of acme of secrets \"le\" is false"},
		acmeBlock("terms_agreed = true\n seal = secrets.issued\n"):                                                                               {"needs directory", "acme-v02.api.letsencrypt.org"},
		acmeBlock("directory = \"http://a/dir\"\n terms_agreed = true\n seal = secrets.issued\n"):                                                {`is "http://a/dir", which is not an https URL`},
		acmeBlock("directory = \"https://a\"\n terms_agreed = true\n seal = secrets.isued\n"):                                                    {`there is no secrets "isued"`, "did you mean secrets.issued?"},
		acmeBlock("directory = \"https://a\"\n terms_agreed = true\n seal = secrets.le\n"):                                                       {"seal of acme of secrets \"le\" is secrets.le, which is acme: only age seals"},
		acmeBlock(acmeLines + "key_type = \"p265\"\n"):                                                                                           {`key_type of acme of secrets "le" is "p265"`, `did you mean "p256"?`},
		acmeBlock(acmeLines + "email = \"ops\"\n"):                                                                                               {`is "ops", which is not an address`},
		acmeBlock(acmeLines + "external_account {\n kid = \"a\"\n}\n"):                                                                           {"needs hmac", `hmac = env("EAB_HMAC")`},
		acmeBlock(acmeLines + "external_account {\n hmac = \"hunter2hunter2\"\n}\n"):                                                             {"needs kid"},
		acmeBlock(acmeLines + "external_account {\n kid = \"a\"\n hmac = [\"hunter2hunter2\"]\n}\n"):                                             {"must be one text"},
		acmeBlock(acmeLines) + shopZone + edge("www.other.test"):                                                                                 {`has "www.other.test", which lies in no dns block of the plan`, "add a dns block for its zone"},
		acmeBlock(acmeLines) + shopZone + edge("myshop.test"):                                                                                    {"lies in no dns block"},
		pkiBlock("role = \"web\"\n"):                                                                                                             {"needs seal"},
		pkiBlock("seal = secrets.issued\n"):                                                                                                      {"needs role"},
		pkiBlock("role = \"web\"\n seal = secrets.x\n"):                                                                                          {"is secrets.x, which is vault: only age seals"},
		pkiBlock("role = \"web\"\n seal = secrets.issued\n mode = \"isue\"\n"):                                                                   {`mode of pki of vault of secrets "x" is "isue"`, `did you mean "issue"?`},
		pkiBlock("role = \"web\"\n seal = secrets.issued\n mode = \"issue\"\n key_type = \"p256\"\n"):                                            {"is for mode = \"sign\""},
		pkiBlock("role = \"web\"\n seal = secrets.issued\n mount = \"/\"\n"):                                                                     {"mount of pki of vault of secrets \"x\" is empty"},
		pkiBlock("role = \"web\"\n seal = secrets.issued\n ttl = \"1s\"\n"):                                                                      {"ttl of pki of vault"},
		pkiBlock("role = \"web\"\n seal = secrets.issued\n}\n mount = \"kv\"\n userpass {\n username = \"a\"\n password = \"hunter2hunter2\"\n"): {"is of a KV engine, and pki issues", "write it into pki"},
		acmeBlock(acmeLines) + shopZone + edge("www.shop.test") + strings.ReplaceAll(edge("www.shop.test"), `"edge" {`, `"two" {`):               {`path of certificate "two" is where certificate "edge" is sealed, too: secrets.issued`, `path = "two"`},
		shopZone: {"has no record"}, // without ACME
		"secrets \"issued\" {\n age {\n file = \"a\"\n recipients = [\"AGE-SECRET-KEY-1HUNTER2HUNTER2\"]\n}\n}\n": {"does not begin with age1"},
	} {
		_, err := secretsPlan(t, "failover.hcl", text)
		if err == nil {
			t.Errorf("accepted:\n%s", text)
			continue
		}
		got := shown(err, false, 300)
		for _, w := range append(want, "failover.hcl line ") {
			if !strings.Contains(got, w) {
				t.Errorf("%s\ngives:\n%s\nwant %q", text, got, w)
			}
		}
		if strings.Contains(strings.ToLower(got), "hunter2") {
			t.Errorf("a secret is shown:\n%s", got)
		}
		if n := strings.Count(got, "error: "); n != 1 {
			t.Errorf("%s\ngives %d errors:\n%s", text, n, got)
		}
	}
}
