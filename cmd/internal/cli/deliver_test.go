package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	agelib "filippo.io/age"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/age"
)

// renew makes another certificate of another authority, tells the plan of it, and seals it as `failover seal` does.
func (b *bench) renew(host string) (fingerprint string) {
	b.t.Helper()
	return b.renewKeyed(host, (*sandbox.CA).Issue)
}

// renewKeyed is renew with a key of a kind.
func (b *bench) renewKeyed(host string, issue func(*sandbox.CA, ...string) ([]byte, []byte, error)) (fingerprint string) {
	b.t.Helper()
	ca, err := sandbox.NewCA()
	b.no(err)
	chain, key, err := issue(ca, host)
	b.no(err)
	roots, err := os.ReadFile(b.path("ca.pem"))
	b.no(err)
	b.no(os.WriteFile(b.path("ca.pem"), append(roots, ca.PEM()...), 0o600))
	b.no(age.Add(b.path("secrets.age"), "edge", chain, key, nil, b.identities()))
	c, err := secrets.ParseCertificate(bytes.Clone(chain), bytes.Clone(key))
	b.no(err)
	b.key, b.chain = key, chain
	return c.Fingerprint()
}

func (b *bench) identities() []agelib.Identity {
	b.t.Helper()
	text, err := os.ReadFile(b.path("identity.txt"))
	b.no(err)
	id, err := agelib.ParseX25519Identity(strings.TrimSpace(string(text)))
	b.no(err)
	return []agelib.Identity{id}
}

// presents asks every server of the sandbox for the certificate that it serves.
func (b *bench) presents() []string {
	b.t.Helper()
	var out []string
	for _, s := range b.cloud.Snapshot().Servers {
		raw, err := b.cloud.Dial(b.t.Context(), "tcp", net.JoinHostPort(s.Addresses[0], "443"))
		b.no(err)
		conn := tls.Client(raw, &tls.Config{ServerName: "collector.dripstat.test", InsecureSkipVerify: true}) //nolint:gosec // it is only looked at
		b.no(conn.HandshakeContext(b.t.Context()))
		out = append(out, secrets.Fingerprint(conn.ConnectionState().PeerCertificates[0]))
		_ = conn.Close()
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// openPorts gives the rules of the run's groups that let SSH in.
func (b *bench) openPorts() (n int) {
	for _, g := range b.cloud.Snapshot().SecurityGroups {
		for _, r := range g.Rules {
			if strings.Contains(r, " 22-22 ") {
				n++
			}
		}
	}
	return n
}

// A certificate that was renewed, with another key, gets onto the servers of a run that is over, twice; each time the login key goes
// along, SSH is closed again, and nothing else changes.
func TestDeliver(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	old := b.presents()
	before := b.cloud.Snapshot()
	writes := b.cloud.Writes()
	for range 2 {
		want := b.renew("collector.dripstat.test")
		b.must(exitDone, "deliver", "--dry-run")
		if b.cloud.Writes() != writes {
			t.Fatal("a dry run writes")
		}
		b.must(exitDone, "deliver", "--yes", "--json")
		if got := b.presents(); !slices.Equal(got, []string{want}) || slices.Equal(got, old) {
			t.Errorf("they serve %v, want %s", got, want)
		}
		if n := b.openPorts(); n != 0 {
			t.Errorf("%d rules let SSH in", n)
		}
		if now := b.cloud.Writes(); now != writes+2 { // a rule, and its removal
			t.Errorf("%d writing requests", now-writes)
		} else {
			writes = now
		}
	}
	g := b.graphOf(provision.RunStarted)
	if g.Purpose != "deliver" || len(g.Steps) == 0 {
		t.Errorf("purpose %q, %d steps", g.Purpose, len(g.Steps))
	}
	after := b.cloud.Snapshot()
	if len(after.Servers) != len(before.Servers) || len(after.KeyPairs) != len(before.KeyPairs) {
		t.Error("something else has changed")
	}
	b.out.b.Reset()
	b.must(exitDone, "runs")
	if s := b.out.String(); strings.Count(s, " deliver to ") != 2 || strings.Count(s, " failover\n") != 1 {
		t.Errorf("runs:\n%s", s)
	}
	b.must(exitDone, "status")
	if s := flat(b.out.String()); !strings.Contains(s, "have it") {
		t.Errorf("status:\n%s", s)
	}
	// The same once more, as after a reboot: no other login key is needed.
	b.must(exitDone, "deliver", "--yes")
	if !strings.Contains(flat(b.err.String()), "has already, or had before a reboot") {
		t.Errorf("%s", b.err.String())
	}
	// The run itself is one like any other.
	b.must(exitDone, "abandon", "--yes")
	b.must(exitUsage, "deliver", g.Of.Short(), "--yes")
	if !strings.Contains(flat(b.err.String()), "was abandoned, or is being") {
		t.Errorf("%s", b.err.String())
	}
}

// Where the certificate that the servers have is kept nowhere any more, nobody gets in, and that is said before anything is touched. Where it is
// kept under another path, that may be named.
func TestDeliverNeedsTheFormer(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	chain, key := bytes.Clone(b.chain), bytes.Clone(b.key)
	old := b.presents()
	want := b.renew("collector.dripstat.test")
	b.no(age.Remove(b.path("secrets.age"), "edge.former", b.identities()))
	writes := b.cloud.Writes()
	b.must(exitRefused, "deliver", "--yes")
	if s := flat(b.err.String()); !strings.Contains(s, "let in only who has the certificate that they have now") || !strings.Contains(s, "--former PATH") {
		t.Errorf("%s", b.err.String())
	}
	b.no(age.Add(b.path("secrets.age"), "edge-2025", chain, key, nil, b.identities()))
	if b.cloud.Writes() != writes || !slices.Equal(b.presents(), old) {
		t.Error("it was touched")
	}
	b.must(exitDone, "deliver", "--yes", "--former", "edge-2025")
	if got := b.presents(); !slices.Equal(got, []string{want}) {
		t.Errorf("they serve %v", got)
	}
}

// What preflight would refuse is not delivered.
func TestDeliverJudges(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	old, writes := b.presents(), b.cloud.Writes()
	b.renew("other.dripstat.test")
	b.must(exitRefused, "deliver", "--yes")
	if s := flat(b.err.String()); !strings.Contains(s, "does not cover collector.dripstat.test") || b.cloud.Writes() != writes || !slices.Equal(b.presents(), old) {
		t.Errorf("%s", b.err.String())
	}
	b.must(exitUsage, "deliver", "--yes", "--certificate", "nope")
	b.must(exitUsage, "deliver") // nobody to ask
}

// The first server's proof fails: the others keep what they have, and the run can be gone on with once the cause is mended, or given up, which
// closes SSH.
func TestDeliverStopsAtTheFirst(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, `within = "60s"`, `within = "3s"`)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	old := b.presents()
	want := b.renew("collector.dripstat.test")
	b.cloud.Ail("collector-1", 503)
	b.must(exitFailed, "deliver", "--yes")
	b.cloud.Ail("collector-1", 0)
	if got := b.presents(); len(got) != 2 || !slices.Contains(got, old[0]) || !slices.Contains(got, want) {
		t.Errorf("they serve %v", got)
	}
	if n := b.openPorts(); n != 1 {
		t.Errorf("%d rules let SSH in", n)
	}
	b.must(exitDone, "resume")
	if got := b.presents(); !slices.Equal(got, []string{want}) || b.openPorts() != 0 {
		t.Errorf("they serve %v", got)
	}
}

// A delivery that is given up closes SSH; the run that it was for stays as it is.
func TestDeliverAbandoned(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, `within = "60s"`, `within = "3s"`)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	b.renew("collector.dripstat.test")
	b.cloud.Ail("collector-1", 503)
	latest := func() (run provision.RunID) {
		b.must(exitFailed, "deliver", "--yes", "--json")
		for _, e := range b.events() {
			run = e.Run
		}
		return run
	}
	first, run := latest(), latest() // which finds SSH open
	b.cloud.Ail("collector-1", 0)
	b.must(exitUsage, "resume", string(first))
	if says := "was followed by run " + run.Short(); !strings.Contains(b.err.String(), says) {
		t.Errorf("it does not say %q:\n%s", says, b.err.String())
	}
	b.must(exitDone, "abandon", string(run), "--yes")
	if n := b.openPorts(); n != 0 {
		t.Errorf("%d rules let SSH in", n)
	}
	if n := len(b.cloud.Snapshot().Servers); n != 2 {
		t.Errorf("%d servers are left", n)
	}
	b.must(exitDone, "deliver", "--yes") // half of the servers know the new key by now, or not: either does
	b.serves()
}

// Renewed with its own key, no former certificate is needed.
func TestDeliverWithTheSameKey(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	block, _ := pem.Decode(b.key)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	b.no(err)
	ca, err := sandbox.NewCA()
	b.no(err)
	chain, err := ca.Renew(key.(*ecdsa.PrivateKey), 90*24*time.Hour, "collector.dripstat.test")
	b.no(err)
	roots, err := os.ReadFile(b.path("ca.pem"))
	b.no(err)
	b.no(os.WriteFile(b.path("ca.pem"), append(roots, ca.PEM()...), 0o600))
	b.no(age.Add(b.path("secrets.age"), "edge", chain, b.key, nil, b.identities()))
	b.must(exitDone, "deliver", "--yes", "--json")
	g := b.graphOf(provision.RunStarted)
	for _, s := range g.Steps {
		if s.Kind == steps.LoginRecall || s.Kind == steps.LoginReplace {
			t.Errorf("step %s is not needed", s.ID)
		}
	}
	b.serves()
}

// Every layout can be renewed, in the place and form that the run gave it, whatever the plan says by now.
func TestDeliverKeepsThePlace(t *testing.T) {
	for _, e := range endings() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil, e.edits()...)
			b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
			want := b.renew("collector.dripstat.test")
			if !strings.Contains(e.block, "password") {
				text, err := os.ReadFile(b.path("failover.hcl"))
				b.no(err)
				b.no(os.WriteFile(b.path("failover.hcl"), bytes.Replace(text, []byte(e.block), nil, 1), 0o600))
			}
			b.must(exitDone, "deliver", "--yes")
			if got := b.presents(); !slices.Equal(got, []string{want}) {
				t.Errorf("they serve %v", got)
			}
		})
	}
}

// A journal that cannot be read may be that of a delivery, after which servers know another login key.
func TestDeliverAfterWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	b.renew("collector.dripstat.test")
	b.must(exitDone, "deliver", "--yes")
	journals, err := filepath.Glob(b.path("state/*/runs/*.jsonl"))
	b.no(err)
	if len(journals) != 2 {
		t.Fatalf("%q", journals)
	}
	b.no(os.WriteFile(journals[1], []byte("not a journal\n"), 0o600)) // ids sort by time
	b.must(exitDone, "deliver", "--dry-run")
	if text := strings.Join(strings.Fields(b.out.String()+b.err.String()), " "); !strings.Contains(text, "its journal cannot be read") {
		t.Errorf("%s", text)
	}
}
