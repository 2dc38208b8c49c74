package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/acme/acmetest"
)

// atVIP gives what a load balancer presents to a client that asks for a name, over real TLS, verified by what the plan trusts.
func (b *bench) atVIP(name string) string {
	b.t.Helper()
	s := b.cloud.Snapshot()
	at := s.Balancers[0].Address
	for _, f := range s.FloatingIPs {
		if f.Port == s.Balancers[0].Port {
			at = f.Address
		}
	}
	raw, err := b.cloud.Dial(b.t.Context(), "tcp", at+":443")
	b.no(err)
	defer raw.Close()
	ca, err := os.ReadFile(b.path("ca.pem"))
	b.no(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	conn := tls.Client(raw, &tls.Config{ServerName: name, RootCAs: roots})
	b.no(conn.HandshakeContext(b.t.Context()))
	return secrets.Fingerprint(conn.ConnectionState().PeerCertificates[0])
}

// kept gives the names of what is in the key manager, without the run's own part, and fails where a listener names what is not there.
func (b *bench) kept() []string {
	b.t.Helper()
	s := b.cloud.Snapshot()
	var out []string
	for _, k := range s.KeyManager {
		_, name, _ := strings.Cut(k.Name, "-vip.")
		out = append(out, k.Kind+" "+name)
	}
	for _, id := range s.Balancers[0].Containers {
		if !slices.ContainsFunc(s.KeyManager, func(k sandbox.KeyState) bool { return k.ID == id }) {
			b.t.Errorf("a listener names container %s, which is not there: %+v", id, s.KeyManager)
		}
	}
	slices.Sort(out)
	return out
}

// A renewed certificate gets to the load balancer of a run that is over, twice; the former one goes, no server is touched, and abandon
// leaves nothing.
func TestDeliverToABalancer(t *testing.T) {
	t.Parallel()
	b := balancerBench(t, nil, inside...)
	before := b.cloud.Snapshot()
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	old := b.atVIP("www.example.com")
	for range 2 {
		writes := b.cloud.Writes()
		want := b.renew("www.example.com")
		b.must(exitDone, "deliver", "--dry-run")
		if b.cloud.Writes() != writes {
			t.Fatal("a dry run writes")
		}
		b.must(exitDone, "deliver", "--yes", "--json")
		if got := b.atVIP("www.example.com"); got != want || got == old {
			t.Errorf("it presents %s, want %s", got, want)
		}
		short := "edge." + want[:16]
		if got, want := b.kept(), []string{"container " + short, "secret " + short + ".certificate", "secret " + short + ".intermediates", "secret " + short + ".private-key"}; !slices.Equal(got, want) {
			t.Errorf("in the key manager: %v, want %v", got, want)
		}
	}
	g := b.graphOf(provision.RunStarted)
	var kinds []string
	for _, s := range g.Steps {
		kinds = append(kinds, string(s.Kind))
	}
	if want := []string{"certificate.fetch", "certificate.store", "listener.update", "service.prove", "certificate.remove"}; !slices.Equal(kinds, want) {
		t.Errorf("steps %v, want %v", kinds, want)
	}
	// The same once more changes nothing.
	writes := b.cloud.Writes()
	b.must(exitDone, "deliver", "--yes")
	if !strings.Contains(flat(b.err.String()), "it is the one that load balancer edge has already") || b.cloud.Writes() != writes {
		t.Errorf("%d writing requests\n%s", b.cloud.Writes()-writes, b.err.String())
	}
	b.must(exitDone, "abandon", string(g.Of), "--yes")
	b.asBefore(before)
}

// Of several certificates one is renewed: the listener keeps the others, and the proof asks under each name.
func TestDeliverOneOfSeveralToABalancer(t *testing.T) {
	t.Parallel()
	b := severalBench(t)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	api := b.atVIPUnverified("api.example.com")
	want := b.renew("www.example.com")
	b.must(exitDone, "deliver", "--yes", "--certificate", "edge", "--json")
	if got := b.atVIP("www.example.com"); got != want {
		t.Errorf("it presents %s, want %s", got, want)
	}
	if got := b.atVIPUnverified("api.example.com"); got != api {
		t.Errorf("the other name is presented %s, want %s", got, api)
	}
	if n := len(b.kept()); n != 8 {
		t.Errorf("%d things in the key manager", n)
	}
	for _, s := range b.graphOf(provision.RunStarted).Steps {
		if s.Kind == steps.ServiceProve && s.With["also"].Is == nil {
			t.Error("the other name is not proven")
		}
	}
}

func (b *bench) atVIPUnverified(name string) string {
	b.t.Helper()
	raw, err := b.cloud.Dial(b.t.Context(), "tcp", b.cloud.Snapshot().Balancers[0].Address+":443")
	b.no(err)
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // it is only looked at
	b.no(conn.HandshakeContext(b.t.Context()))
	return secrets.Fingerprint(conn.ConnectionState().PeerCertificates[0])
}

// Where the load balancer does not come to serve with it, the former certificate is there yet, and the delivery is gone on with.
func TestDeliverToABalancerKeepsTheFormer(t *testing.T) {
	t.Parallel()
	b := balancerBench(t, nil, `within = "5m"`, `within = "4s"`)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	want := b.renew("www.example.com")
	b.cloud.Ail("web-1", 503)
	b.cloud.Ail("web-2", 503)
	b.must(exitFailed, "deliver", "--yes")
	if n := len(b.kept()); n != 8 {
		t.Errorf("%d things in the key manager, where both certificates are to be", n)
	}
	b.cloud.Ail("web-1", 0)
	b.cloud.Ail("web-2", 0)
	b.must(exitDone, "resume")
	if got := b.atVIP("www.example.com"); got != want || len(b.kept()) != 4 {
		t.Errorf("it presents %s, want %s; %v", got, want, b.kept())
	}
}

// A delivery that died anywhere comes to the same end.
func TestDeliverToABalancerKilled(t *testing.T) {
	t.Parallel()
	for _, at := range []int{3, 5, 7, 9, 11} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			p := balancerProcesses(t)
			before := p.cloud.Snapshot()
			p.want(exitDone, nil, "--region", "ORD", "--yes")
			want := p.renew("www.example.com")
			p.killedAt(at, 0, "deliver", "--yes")
			p.want(exitDone, nil, "resume")
			if got := p.atVIP("www.example.com"); got != want || len(p.kept()) != 4 {
				t.Errorf("it presents %s, want %s; %v", got, want, p.kept())
			}
			p.want(exitDone, nil, "abandon", "--yes")
			p.asBefore(before)
		})
	}
}

// A delivery that died is not gone on with once its run is undone: it would leave a private key where nobody removes it any more.
func TestDeliverOfAnAbandonedRun(t *testing.T) {
	t.Parallel()
	p := balancerProcesses(t)
	before := p.cloud.Snapshot()
	p.want(exitDone, nil, "--region", "ORD", "--yes")
	p.renew("www.example.com")
	p.killedAt(3, 0, "deliver", "--yes")
	p.want(exitDone, nil, "abandon", "--yes")
	r := p.want(exitUsage, nil, "resume")
	if says := "its servers are gone, or going"; !strings.Contains(flat(r.err), says) {
		t.Errorf("it does not say %q:\n%s", says, r.err)
	}
	p.asBefore(before)
}

// A certificate that is issued during the run ends on the load balancer like any other, and can be delivered again.
func TestIssuedForABalancer(t *testing.T) {
	t.Parallel()
	b := balancerBench(t, nil, `from  = secrets.sealed`, authority[3], authority[4], strings.Replace(authority[5], "var.directory", `"https://127.0.0.1:1/dir"`, 1))
	ca := b.issuing(acmetest.Options{CommonName: true})
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	if got, want := b.atVIP("www.example.com"), b.issued().Text("fingerprint"); got != want || want == "" {
		t.Errorf("it presents %s, issued was %s", got, want)
	}
	b.noChallenges()
	b.must(exitDone, "deliver", "--yes")
	if n := ca.Orders(); n != 1 {
		t.Errorf("%d orders", n)
	}
}
