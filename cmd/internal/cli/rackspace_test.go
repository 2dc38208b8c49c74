package cli

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/templates"
)

// newRackspace is a bench with the plan of --sandbox=rackspace.
func newRackspace(t *testing.T, r sandbox.Rackspace, faults []string, edits ...string) *bench {
	t.Helper()
	src := string(templates.SandboxPlan("rackspace"))
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(src, edits[i]) {
			t.Fatalf("the plan does not hold %q", edits[i])
		}
		src = strings.ReplaceAll(src, edits[i], edits[i+1])
	}
	return newBenchOn(t, src, "collector.dripstat.test", sandbox.Options{Rackspace: &r}, faults)
}

// guarded fails unless every server has the certificate, for root alone.
func (b *bench) guarded() {
	b.t.Helper()
	servers := b.cloud.Snapshot().Servers
	for _, s := range servers {
		data, mode, owner, err := b.cloud.ReadFile(s.ID, templates.CertificatePath("edge", false))
		if err != nil || !bytes.Contains(data, bytes.TrimSpace(b.key)) || mode&0o077 != 0 || owner != "root:root" {
			b.t.Errorf("the certificate of %s: %v, mode %s, of %s", s.Name, err, mode, owner)
		}
	}
	if len(servers) == 0 {
		b.t.Error("there is no server")
	}
}

// The night on Rackspace's first cloud, whole, with the region that is left dark, and undone; on both sides of what its documents
// contradict each other in, and with answers that it is known to give.
func TestNightOnRackspace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rax    sandbox.Rackspace
		faults []string
	}{
		"as documented last":  {sandbox.Rackspace{}, []string{"region-dark=IAD:hang"}},
		"as documented first": {sandbox.Rackspace{Offset: true, Old: true}, []string{"region-dark=IAD:refuse"}},
		"quick jobs":          {sandbox.Rackspace{Quick: true}, nil},
		"ill":                 {sandbox.Rackspace{}, []string{"rate-limit=9", "empty-body=5", "reply-lost"}},
		"managed":             {sandbox.Rackspace{Managed: 1500 * time.Millisecond, RackConnect: "UNPROCESSABLE"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newRackspace(t, tt.rax, tt.faults)
			before := b.cloud.Snapshot()
			b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--dry-run")
			if n := b.cloud.Writes(); n != 0 {
				t.Errorf("a dry run sent %d writing requests", n)
			}
			b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes", "--json")
			b.serves()
			b.guarded()
			for _, r := range b.cloud.Requests() {
				if r.Region == "IAD" {
					t.Errorf("the region that is left was asked: %s %s", r.Method, r.Path)
				}
			}
			if waited := strings.Contains(b.out.String(), "ACTIVE (rackconnect_automation_status is DEPLOYING)"); waited != (tt.rax.Managed > 0) {
				t.Errorf("it waited for Rackspace's automation: %v", waited)
			}
			b.must(exitDone, "abandon", "--yes")
			b.asBefore(before)
		})
	}
}

// A server whose automation fails is not used.
func TestAutomationFails(t *testing.T) {
	t.Parallel()
	b := newRackspace(t, sandbox.Rackspace{Managed: 100 * time.Millisecond, RackConnect: "FAILED"}, nil, `flavor      = ["io1-60", "io1-30", "general1-8"]`, `flavor = "io1-30"`)
	b.must(exitFailed, "--region", "ORD", "--sandbox=rackspace", "--yes")
	if !strings.Contains(b.err.String(), "rackconnect_automation_status is FAILED") {
		t.Errorf("it does not say why:\n%s", b.err.String())
	}
	if got := b.served().Values; !slices.Equal(got, []string{homeAddress}) {
		t.Errorf("the name was moved to %v", got)
	}
}

// A machine that presents another key than the one that the run has put into its user-data gets nothing.
func TestImpostorOnRackspace(t *testing.T) {
	t.Parallel()
	b := newRackspace(t, sandbox.Rackspace{}, []string{"wrong-host-key=2"})
	b.must(exitFailed, "--region", "ORD", "--sandbox=rackspace", "--yes")
	if !strings.Contains(b.err.String(), "REFUSED: the server presents another host key than the run has given it") {
		t.Errorf("it does not say so:\n%s", b.err.String())
	}
	for _, s := range b.cloud.Snapshot().Servers {
		if _, _, _, err := b.cloud.ReadFile(s.ID, templates.CertificatePath("edge", false)); err == nil {
			t.Errorf("%s has the certificate", s.Name)
		}
	}
}

// What that cloud cannot hold is refused before anything is made, with the reason.
func TestRackspaceRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edits []string
		says  string
	}{
		"memory of the account": {[]string{"count       = 2", "count = 3"}, "the plan needs 184320 MiB of memory, 0 of 131072 are used"},
		"class of the image": {[]string{`"Debian 12*"`, `"OnMetal*"`},
			"flavor 60 GB I/O v1 is of the class io1, and image OnMetal - Debian 12 (Bookworm) says that it runs on onmetal (its flavor_classes)"},
		"no disk":  {[]string{`["io1-60", "io1-30", "general1-8"]`, `"memory1-30"`}, "flavor 30 GB Memory v1 has no disk and the plan names no volume"},
		"own keys": {[]string{`template    = "tls-proxy"`, `user_data = "#cloud-config\nssh_keys: {}\n"`, `vars        = { upstream = "127.0.0.1:8080" }`, ""}, "user-data brings SSH host keys of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newRackspace(t, sandbox.Rackspace{}, nil, tt.edits...)
			b.must(exitRefused, "--region", "ORD", "--sandbox=rackspace", "--yes")
			if got := strings.Join(strings.Fields(b.err.String()), " "); !strings.Contains(got, tt.says) {
				t.Errorf("%s", b.err.String())
			}
			if n := b.cloud.Writes(); n != 0 {
				t.Errorf("%d writing requests", n)
			}
		})
	}
}

// A giant box of a class without a disk boots from a volume.
func TestVolumeOnRackspace(t *testing.T) {
	t.Parallel()
	b := newRackspace(t, sandbox.Rackspace{}, nil, `["io1-60", "io1-30", "general1-8"]`, "\"compute1-60\"\n  volume {\n    size = \"100GB\"\n  }")
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes")
	b.serves()
	if v := b.cloud.Snapshot().Volumes; len(v) != 2 {
		t.Errorf("%d volumes", len(v))
	}
}

// The process is killed where the server's identity changes, and around what only a tag or a job can tell; another one goes on.
func TestKilledOnRackspace(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) *processes {
		t.Helper()
		return (&processes{bench: newRackspace(t, sandbox.Rackspace{}, nil, ns...)}).serve()
	}
	whole := start(t)
	r := whole.want(exitDone, nil, "--region", "ORD", "--yes", "--json")
	whole.serves()
	at := map[string]int{}
	for _, e := range eventsOf(t, r.out) {
		if name := string(e.Kind) + " " + string(e.Type); at[name] == 0 && e.Seq > 0 {
			at[name] = e.Seq
		}
	}
	for i, name := range []string{"server.create step.intent", "server.create step.sent", "hostkey.rotate step.intent", "hostkey.rotate step.sent", "hostkey.rotate step.done", "dns.move step.intent", "dns.move step.sent"} {
		if at[name] == 0 {
			t.Errorf("no record %q in a whole run", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			before := p.cloud.Snapshot()
			p.killedAt(at[name], time.Duration(i%2)*4*time.Millisecond, "--region", "ORD", "--yes")
			p.want(exitDone, nil, "resume")
			p.serves()
			p.guarded()
			if i%2 == 0 {
				p.want(exitDone, nil, "abandon", "--yes")
				p.asBefore(before)
			}
		})
	}
}

// Back, from a second run to where the first one had left the name, up to the TTL of 300 s that would be waited out then.
func TestBackOnRackspace(t *testing.T) {
	t.Parallel()
	p := (&processes{bench: newRackspace(t, sandbox.Rackspace{}, nil, ns...)}).serve()
	p.want(exitDone, nil, "--region", "ORD", "--yes")
	home := p.served().Values
	p.want(exitDone, nil, "--region", "IAD", "--yes")
	if away := p.served().Values; slices.Equal(home, away) {
		t.Fatalf("%v, then %v", home, away)
	}
	cmd, wait := p.start(nil, "back", "--yes", "--json")
	for deadline := time.Now().Add(20 * time.Second); !slices.Equal(p.served().Values, home); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("served %v, wanted %v", p.served().Values, home)
			break
		}
	}
	p.no(cmd.Process.Kill())
	if r := wait(); strings.Contains(r.out, "step.failed") {
		t.Errorf("%s", r.out)
	}
}

// A renewed certificate is delivered to servers whose host keys no console shows: by the keys that the run has given them.
func TestDeliverOnRackspace(t *testing.T) {
	t.Parallel()
	b := newRackspace(t, sandbox.Rackspace{}, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes")
	want := b.renew("collector.dripstat.test")
	b.must(exitDone, "deliver", "--yes")
	b.guarded()
	if got := b.presents(); !slices.Equal(got, []string{want}) {
		t.Errorf("the servers present %v, wanted %s", got, want)
	}
}

// The plan that failover init writes for that cloud does what it says, but for the reader's own names. Its credentials are in no variable here.
func TestStarterOnRackspace(t *testing.T) {
	t.Parallel()
	src := string(templates.Starter("rackspace", "shop"))
	for _, e := range [][2]string{{`file = "secrets.age"`, "file = \"secrets.age\"\n    identity = \"identity.txt\""}, {`  path  = "edge"`, "  path = \"edge\"\n  ca = file(\"ca.pem\")"}} {
		if !strings.Contains(src, e[0]) {
			t.Fatalf("the starter does not hold %q", e[0])
		}
		src = strings.Replace(src, e[0], e[1], 1)
	}
	b := newBenchOn(t, src, "www.example.com", sandbox.Options{Rackspace: &sandbox.Rackspace{}}, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes")
	b.guarded()
	for _, r := range b.cloud.Snapshot().Served {
		if r.Name == "www.example.com." && r.Type == "A" && len(r.Values) != 2 {
			t.Errorf("%+v", r)
		}
	}
}

// A sandbox is of one kind; a plan for the other is not run in it, and is told how it would be.
func TestSandboxOfTheOtherKind(t *testing.T) {
	t.Parallel()
	b := newRackspace(t, sandbox.Rackspace{}, nil)
	b.app.box = nil
	b.must(exitUsage, "--region", "ORD", "--sandbox", "--yes")
	if !strings.Contains(b.err.String(), "failover --sandbox=rackspace --plan FILE") {
		t.Errorf("%s", b.err.String())
	}
	b.must(exitUsage, "--region", "ORD", "--sandbox=nebula", "--yes")
	if !strings.Contains(b.err.String(), "there are openstack, rackspace and flex") {
		t.Errorf("%s", b.err.String())
	}
}

// Where a cloud has no console, one private key is in user-data: the throwaway host key, which is good for nothing once it has been
// replaced. Neither it nor the key that replaces it, nor the certificate's, is anywhere else.
func TestThrowawayKeyIsInUserDataAlone(t *testing.T) {
	if apart(t) {
		return
	}
	tmp := t.TempDir() // not parallel: the environment is the process's
	for _, k := range []string{"TMPDIR", "HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(k, tmp)
	}
	b := newRackspace(t, sandbox.Rackspace{}, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--dry-run", "--json")
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes", "--json")
	events := b.events()
	run := string(events[len(events)-1].Run)
	keys, first := secretsOf(t, b.key), needles{}
	derived := func(n needles, what, label string) ssh.PublicKey {
		t.Helper()
		seed, err := hkdf.Key(sha256.New, b.key, []byte(run), label, ed25519.SeedSize)
		b.no(err)
		n.forms(what, seed)
		n.within(what, seed)
		s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
		b.no(err)
		return s.PublicKey()
	}
	derived(keys, "login seed", "failover login key v1")
	for _, slot := range []string{"collector-1", "collector-2"} {
		own := derived(keys, "own host key of "+slot, "failover host key v1 "+slot)
		derived(first, slot, "failover first host key v1 "+slot)
		shown := false
		for _, e := range events {
			keys, _ := e.Out["host_keys"].([]any)
			shown = shown || e.Type == provision.StepDone && e.Step == provision.StepID("hostkey/"+slot) && len(keys) == 1 && keys[0] == strings.TrimSpace(string(ssh.MarshalAuthorizedKey(own)))
		}
		if !shown {
			t.Fatalf("the host key of %s is not derived as this test thinks; it would look for the wrong one", slot)
		}
	}
	b.sweep(keys, tmp, []string{"identity.txt"}, 1)
	sent := map[string]bool{}
	for _, r := range b.cloud.Requests() {
		for _, hit := range first.in(r.Body, 2) {
			slot, _, _ := strings.Cut(hit, " ")
			sent[slot] = true
			if r.Method != "POST" || !strings.HasSuffix(r.Path, "/servers") {
				t.Errorf("%s %s holds the first host key of %s", r.Method, r.Path, hit)
			}
		}
	}
	if len(sent) != 2 { // and it is there: to be silent because nothing was sent would prove nothing
		t.Errorf("user-data of %v holds the first host key", sent)
	}
	for where, text := range map[string]string{"standard output": b.out.String(), "standard error": b.err.String()} {
		if hits := first.in([]byte(text), 2); len(hits) > 0 {
			t.Errorf("%s holds the first host key of %v", where, hits)
		}
	}
	for _, dir := range []string{b.dir, tmp} {
		b.no(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if hits := first.in(text, 2); len(hits) > 0 {
				t.Errorf("%s holds the first host key of %v", path, hits)
			}
			return err
		}))
	}
}

// within adds what bytes look like somewhere inside base64, as in the PEM of OpenSSH: at each of its three alignments, without the
// characters at either end that belong to neighbours, too.
func (n needles) within(name string, secret []byte) {
	for i := range 3 {
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, i), secret...))
		n[name+" in PEM, at "+string(rune('0'+i))] = []byte(text[(i*8+5)/6 : len(text)-2])
	}
}
