package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	agelib "filippo.io/age"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/planfile"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets/age"
	"github.com/dripstat/failover/templates"
)

// bench is a sandbox that outlives the commands that are run in it, with a plan, a sealed certificate and
// a folder for journals.
type bench struct {
	t     *testing.T
	dir   string
	cloud *sandbox.Cloud
	app   *App
	key   []byte // PEM of the sealed private key; it lies on no disk
	chain []byte
	env   map[string]string

	keyboard *os.File // of the terminal
	arranged int      // requests that had come before what is looked at

	out, err buffer
}

// buffer is written by views from several goroutines while the test reads.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newBench starts a fast sandbox for the built-in plan, edited by pairs of old and new text.
func newBench(t *testing.T, faults []string, edits ...string) *bench {
	t.Helper()
	return newBenchWith(t, sandbox.Quota{}, faults, edits...)
}

// newBenchWith does so with quotas.
func newBenchWith(t *testing.T, quota sandbox.Quota, faults []string, edits ...string) *bench {
	t.Helper()
	src := string(templates.SandboxPlan("openstack"))
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(src, edits[i]) {
			t.Fatalf("the plan does not hold %q", edits[i])
		}
		src = strings.ReplaceAll(src, edits[i], edits[i+1])
	}
	return newBenchOf(t, src, "collector.dripstat.test", quota, faults)
}

// newBenchOf does so for any plan, with a certificate for one name.
func newBenchOf(t *testing.T, src, host string, quota sandbox.Quota, faults []string) *bench {
	t.Helper()
	return newBenchOn(t, src, host, sandbox.Options{Quota: quota}, faults)
}

// newBenchOn does so for any sandbox.
func newBenchOn(t *testing.T, src, host string, o sandbox.Options, faults []string) *bench {
	t.Helper()
	return newBenchKeyed(t, src, host, o, faults, (*sandbox.CA).Issue)
}

// newBenchKeyed does so with a certificate for any kind of key.
func newBenchKeyed(t *testing.T, src, host string, o sandbox.Options, faults []string, issue func(*sandbox.CA, ...string) ([]byte, []byte, error)) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	b.env = map[string]string{"FAILOVER_STATE_DIR": filepath.Join(b.dir, "state"), "TERM": "dumb",
		"KEYSTORE_PASSWORD": "the-plan's-own-7f3a", "VAULT_ROLE_ID": "not yet", "VAULT_SECRET_ID": "not yet", "VAULT_ADDR": "https://not.yet"} // a plan that names them is read before there is a Vault
	ca, err := sandbox.NewCA()
	b.no(err)
	chain, key, err := issue(ca, host)
	b.no(err)
	b.key, b.chain = bytes.Clone(key), bytes.Clone(chain)
	id, err := agelib.GenerateX25519Identity()
	b.no(err)
	for name, text := range map[string]string{"failover.hcl": src, "ca.pem": string(ca.PEM()), "vault-ca.pem": string(ca.PEM()), "identity.txt": id.String() + "\n"} {
		b.no(os.WriteFile(b.path(name), []byte(text), 0o600))
	}
	b.no(age.Add(b.path("secrets.age"), "edge", chain, key, []agelib.Recipient{id.Recipient()}, []agelib.Identity{id}))
	in, err := os.Open(os.DevNull)
	b.no(err)
	t.Cleanup(func() { _ = in.Close() })
	b.app = &App{In: in, Out: &b.out, Err: &b.err, LookEnv: func(k string) (string, bool) { v, ok := b.env[k]; return v, ok }}
	plan, err := planfile.Load(b.path("failover.hcl"), planfile.Options{Env: b.app.LookEnv, Rehearsal: true})
	b.no(err)
	o.Boot, o.SSHDelay, o.DNSDelay = 300*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	for _, f := range faults {
		fault, err := sandbox.ParseFault(f)
		b.no(err)
		o.Faults = append(o.Faults, fault)
	}
	b.app.box = &box{dir: b.dir, kept: true}
	b.app.box.seed(&o, plan)
	b.cloud, err = sandbox.Start(t.Context(), o)
	b.no(err)
	t.Cleanup(func() { _ = b.cloud.Close() })
	if o.Rackspace != nil || o.Flex {
		t.Cleanup(b.covered)
	}
	if b.cloud.SingleAddress() {
		t.Skip("this machine has only 127.0.0.1 on loopback")
	}
	b.app.box.cloud = b.cloud
	return b
}

func (b *bench) no(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// do runs a command line and gives its exit code.
func (b *bench) do(args ...string) int {
	b.t.Helper()
	root := newRoot(b.app)
	root.SetArgs(append(args, "--plan", b.path("failover.hcl")))
	root.SetOut(&b.out)
	root.SetErr(&b.err)
	return b.app.exitCode(root.ExecuteContext(b.t.Context()))
}

// must runs a command line that has to end with a code.
func (b *bench) must(want int, args ...string) {
	b.t.Helper()
	if got := b.do(args...); got != want {
		b.t.Fatalf("failover %s: exit %d, want %d\n%s\n%s", strings.Join(args, " "), got, want, b.out.String(), b.err.String())
	}
}

// events parses what --json printed so far, among lines for people.
func (b *bench) events() []provision.Event {
	b.t.Helper()
	var out []provision.Event
	for line := range strings.Lines(b.out.String()) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var e provision.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			b.t.Fatalf("not an event: %q: %v", line, err)
		}
		out = append(out, e)
	}
	return out
}

// graphOf gives the graph of the last event of a type.
func (b *bench) graphOf(typ provision.EventType) provision.Graph {
	b.t.Helper()
	var g *provision.Graph
	for _, e := range b.events() {
		if e.Type == typ && e.Graph != nil {
			g = e.Graph
		}
	}
	if g == nil {
		b.t.Fatalf("no event %q with a graph in\n%s", typ, b.out.String())
	}
	return *g
}

// rich makes the built-in plan use everything that leaves something behind.
var rich = []string{
	`networks    = ["public"]`, "networks    = [\"private\"]\n  floating_ip = \"public\"\n  spread      = true",
}

// Runs wait most of their time: more of them than there are cores may go on at once.
func TestMain(m *testing.M) {
	if what := os.Getenv(childPanic); what != "" {
		noCore()
		os.Exit(panics(what))
	}
	if os.Getenv(childSocket) != "" {
		os.Exit(child())
	}
	if f := flag.Lookup("test.parallel"); f != nil {
		_ = f.Value.Set("20")
	}
	os.Exit(m.Run())
}
