//go:build vault

package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/secrets/vault/vaulttest"
	"github.com/dripstat/failover/templates"
)

// pulling makes the built-in plan's servers fetch their certificate from Vault, and starts one.
func pulling(t *testing.T, faults []string, edits ...string) (*bench, *vaulttest.Server) {
	t.Helper()
	s := wrappingVault(t)
	ca := t.TempDir() + "/vault-ca.pem"
	if err := os.WriteFile(ca, []byte(s.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	token := s.Write("POST", "auth/token/create", map[string]any{"policies": []string{"edge"}, "ttl": "20m"})["auth"].(map[string]any)["client_token"].(string)
	b := newBench(t, faults, append([]string{
		sealedBlock, "  vault {\n    address = \"" + s.Address + "\"\n    ca      = \"" + ca + "\"\n    token   = \"" + token + "\"\n  }\n",
		"path  = \"edge\"", "path  = \"tls/edge\"",
		"certificate = certificate.edge\n", "certificate = certificate.edge\n\n  deliver {\n    by  = \"vault-wrap\"\n    ttl = \"5m\"\n  }\n",
		`open        = ["443/tcp from any", "80/tcp from any", "22/tcp from me"]` + "\n", "",
	}, edits...)...)
	b.no(os.Remove(b.path("secrets.age")))
	s.Put("secret", "2", "tls/edge", map[string]string{"chain": string(b.chain), "key": string(b.key)})
	return b, s
}

func wrappingVault(t *testing.T) *vaulttest.Server {
	t.Helper()
	for _, kv := range os.Environ() { // of whoever runs the tests
		if n, _, _ := strings.Cut(kv, "="); strings.HasPrefix(n, "VAULT_") || strings.HasPrefix(n, "BAO_") {
			t.Setenv(n, "")
		}
	}
	s := vaulttest.Start(t, "-tls")
	s.KV("secret", "2")
	s.Policy("edge", "secret/data/tls/edge")
	return s
}

// userData gives what was sent for each server that was asked for, unpacked, by the server's name.
func (b *bench) userData() map[string][]string {
	b.t.Helper()
	out := map[string][]string{}
	for _, r := range b.cloud.Requests() {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.Path, "/servers") {
			continue
		}
		var q struct {
			Server struct {
				Name string `json:"name"`
				Data []byte `json:"user_data"`
			} `json:"server"`
		}
		b.no(json.Unmarshal(r.Body, &q))
		text := q.Server.Data
		if z, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
			text, err = io.ReadAll(z)
			b.no(err)
		}
		out[q.Server.Name] = append(out[q.Server.Name], string(text))
	}
	return out
}

var tokenInPlan = regexp.MustCompile(`"token":"([^"]+)"`)

func (b *bench) tokens() map[string][]string {
	b.t.Helper()
	out := map[string][]string{}
	for name, texts := range b.userData() {
		for _, text := range texts {
			m := tokenInPlan.FindStringSubmatch(text)
			if m == nil || m[1] == templates.PullToken {
				b.t.Fatalf("%s was asked for without a token", name)
			}
			out[name] = append(out[name], m[1])
		}
	}
	return out
}

// Servers fetch their certificate from a real Vault, by a token each that is nowhere but in what was sent; the key is not even there.
func TestServersFetchFromVault(t *testing.T) {
	if apart(t) {
		return
	}
	tmp := t.TempDir()
	for _, k := range []string{"TMPDIR", "HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(k, tmp)
	}
	b, _ := pulling(t, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
	if out := flat(b.out.String()); !strings.Contains(out, "gives certificate edge and its key to whoever uses it first, within 5m0s") || !strings.Contains(out, "fetches certificate edge from Vault itself") {
		t.Errorf("the dry run does not say what it is:\n%s", b.out.String())
	}
	if n := len(b.userData()); n != 0 {
		t.Errorf("a dry run has asked for %d servers", n)
	}
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	b.serves()
	b.certified()
	if pairs := b.cloud.Snapshot().KeyPairs; len(pairs) != 0 {
		t.Errorf("there are login keys: %v", pairs)
	}
	keys := secretsOf(t, b.key)
	b.sweep(keys, tmp, nil, 1)
	tokens := b.tokens()
	if len(tokens["collector-1"]) != 1 || len(tokens["collector-2"]) != 1 || tokens["collector-1"][0] == tokens["collector-2"][0] {
		t.Fatalf("the tokens are %d and %d, and are to be one each", len(tokens["collector-1"]), len(tokens["collector-2"]))
	}
	for name, list := range tokens {
		n := needles{}
		n.forms("the token of "+name, []byte(list[0]))
		for where, text := range map[string]string{"standard output": b.out.String(), "standard error": b.err.String(), "the journal": b.journals()} {
			for _, hit := range n.in([]byte(text), 2) {
				t.Errorf("%s holds %s", where, hit)
			}
		}
	}
}

// journals gives all that is in the state folder.
func (b *bench) journals() string {
	b.t.Helper()
	var out strings.Builder
	b.no(filepath.WalkDir(b.path("state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		out.Write(text)
		return err
	}))
	if out.Len() < 1000 {
		b.t.Fatalf("the journals are %d bytes long", out.Len())
	}
	return out.String()
}

// Where a thief was first, that server raises the alarm, and its name is not moved to it.
func TestStolenTokenFailsTheServer(t *testing.T) {
	b, s := pulling(t, []string{"slow-boot=3s"})
	before := b.served().Values
	code := make(chan int)
	go func() { code <- b.do("--region", "ORD", "--sandbox", "--yes", "--json") }()
	for deadline := time.Now().Add(20 * time.Second); len(b.userData()["collector-2"]) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no servers\n%s", b.err.String())
		}
	}
	token := b.tokens()["collector-2"][0]
	thief := *s
	thief.Token = token
	loot, err := json.Marshal(thief.Write("POST", "sys/wrapping/unwrap", nil))
	b.no(err)
	if !bytes.Contains(loot, []byte("PRIVATE KEY")) {
		t.Fatal("the thief got nothing, and this test shows nothing")
	}
	if got := <-code; got != exitFailed {
		t.Fatalf("exit %d, want %d\n%s", got, exitFailed, b.out.String()+b.err.String())
	}
	var said *provision.Error
	for _, e := range b.events() {
		if e.Type == provision.StepFailed && e.Step == "pull/collector-2" {
			said = e.Error
		}
		if e.Type == provision.StepDone && (strings.HasPrefix(string(e.Step), "prove/collector-2") || e.Kind == steps.DNSMove) {
			t.Errorf("%s is done", e.Step)
		}
	}
	if said == nil || !strings.Contains(said.What, "ALARM") || !strings.Contains(said.Said, "was used before") || !strings.Contains(said.Hint, "revoke") || strings.Contains(b.out.String(), token) {
		t.Errorf("the run says\n%+v", said)
	}
	if got := b.served().Values; strings.Join(got, " ") != strings.Join(before, " ") {
		t.Errorf("the name serves %v, and served %v", got, before)
	}
}

// A run that goes on gives a token to a server that is not there yet, and to no other.
func TestResumeWrapsForNewServersAlone(t *testing.T) {
	b, _ := pulling(t, []string{"slow-boot=2s"})
	b.interrupt()
	was := b.tokens()
	if len(was["collector-1"]) != 1 || len(was["collector-2"]) != 1 {
		t.Fatalf("before: %v", was)
	}
	for _, s := range b.cloud.Snapshot().Servers { // somebody removes one meanwhile
		if s.Name == "collector-2" {
			h := b.site().handlers("")[steps.ServerDelete]
			b.no(h.Do(t.Context(), provision.Step{ID: "x", Kind: steps.ServerDelete}, provision.Values{"cloud": "main", "id": s.ID}))
		}
	}
	b.must(exitDone, "resume", "--json")
	b.serves()
	b.certified()
	now := b.tokens()
	if len(now["collector-1"]) != 1 || len(now["collector-2"]) != 2 || now["collector-2"][1] == was["collector-2"][0] {
		t.Errorf("tokens: %d for collector-1, %d for collector-2", len(now["collector-1"]), len(now["collector-2"]))
	}
}

// What a server has fetched itself is not delivered again: a run of such servers alone is refused, and in one of both kinds it is said which
// servers keep what they have.
func TestDeliverLeavesServersThatFetch(t *testing.T) {
	b, s := pulling(t, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	writes := b.cloud.Writes()
	for _, args := range [][]string{{"deliver", "--yes"}, {"deliver", "--dry-run"}, {"deliver", "--yes", "--certificate", "edge"}} {
		b.err.b.Reset()
		b.must(exitRefused, args...)
		if got := flat(b.err.String()); !strings.Contains(got, "collector-1, collector-2: fetched certificate edge from Vault themselves") || !strings.Contains(got, "failover --region ORD, and then: failover abandon ") ||
			strings.Contains(got, "is there to deliver to") {
			t.Errorf("%v:\n%s", args, b.err.String())
		}
	}
	b.must(exitUsage, "deliver", "--yes", "--certificate", "nope")
	if b.cloud.Writes() != writes {
		t.Error("something was changed")
	}

	text, err := os.ReadFile(b.path("failover.hcl"))
	b.no(err)
	b.no(os.WriteFile(b.path("failover.hcl"), append(text, `
server "admin" {
  cloud       = cloud.main
  image       = "debian-12"
  flavor      = "m1.4xlarge"
  networks    = ["public"]
  template    = "tls-proxy"
  vars        = { upstream = "127.0.0.1:8080" }
  certificate = certificate.edge
  ready {
    https  = "https://collector.dripstat.test/health"
    within = "60s"
  }
}
`...), 0o600))
	b.must(exitDone, "abandon", "--yes")
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	ca, err := sandbox.NewCA()
	b.no(err)
	chain, key, err := ca.Issue("collector.dripstat.test")
	b.no(err)
	roots, err := os.ReadFile(b.path("ca.pem"))
	b.no(err)
	b.no(os.WriteFile(b.path("ca.pem"), append(roots, ca.PEM()...), 0o600))
	s.Put("secret", "2", "tls/edge", map[string]string{"chain": string(chain), "key": string(key)})
	s.Put("secret", "2", "tls/former", map[string]string{"chain": string(b.chain), "key": string(b.key)})
	s.Policy("edge", "secret/data/tls/*")
	b.err.b.Reset()
	b.must(exitDone, "deliver", "--yes", "--former", "tls/former")
	if got := flat(b.err.String()); !strings.Contains(got, "collector-1, collector-2: fetched certificate edge from Vault themselves") {
		t.Errorf("%s", b.err.String())
	}
	if got := b.presents(); len(got) != 2 {
		t.Errorf("the servers present %v: one of them was to be renewed, and the others not", got)
	}
}

func init() { //nolint:gochecknoinits // of tests, and only under their tag
	morePages["vault-wrap"] = func(t *testing.T, b *bench) {
		s := wrappingVault(t)
		s.Put("secret", "2", "tls/edge", map[string]string{"chain": string(b.chain), "key": string(b.key)})
		s.Write("POST", "sys/auth/approle", map[string]string{"type": "approle"})
		s.Write("POST", "auth/approle/role/failover", map[string]any{"token_policies": "edge", "token_ttl": "20m"})
		b.env["VAULT_ROLE_ID"] = s.Write("GET", "auth/approle/role/failover/role-id", nil)["data"].(map[string]any)["role_id"].(string)
		b.env["VAULT_SECRET_ID"] = s.Write("POST", "auth/approle/role/failover/secret-id", nil)["data"].(map[string]any)["secret_id"].(string)
		b.env["VAULT_ADDR"] = s.Address
		b.no(os.WriteFile(b.path("vault-ca.pem"), []byte(s.CA), 0o600))
	}
}
