package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/templates"
)

// balanced gives the plan that `failover init --load-balancer` writes, with the bench's own certificate.
func balanced(t *testing.T, edits ...string) string {
	t.Helper()
	edits = append([]string{`file = "secrets.age"`, "file     = \"secrets.age\"\n    identity = \"identity.txt\"", `names = ["www.example.com"]`, "names = [\"www.example.com\"]\n  ca    = file(\"ca.pem\")"}, edits...)
	src := string(templates.BalancerStarter("openstack", "shop"))
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(src, edits[i]) {
			t.Fatalf("the plan does not hold %q", edits[i])
		}
		src = strings.ReplaceAll(src, edits[i], edits[i+1])
	}
	return src
}

func balancerBench(t *testing.T, faults []string, edits ...string) *bench {
	t.Helper()
	return newBenchOf(t, balanced(t, edits...), "www.example.com", sandbox.Quota{}, faults)
}

// inside puts the servers and the load balancer on a private network, as most clouds want it.
var inside = []string{`networks = ["public"]`, "networks    = [\"private\"]\n  floating_ip = \"public\"", `  # floating_ip   = "public"     # where that address is not public`, `  floating_ip = "public"`}

// ask asks the name at an address of the sandbox, as a client of the service would.
func (b *bench) ask(rawURL, address string) *http.Response {
	b.t.Helper()
	ca, err := os.ReadFile(b.path("ca.pem"))
	b.no(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c := &http.Client{Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(addr)
			return b.cloud.Dial(ctx, network, net.JoinHostPort(address, port))
		}}}
	res, err := c.Get(rawURL)
	b.no(err)
	return res
}

func TestBalancer(t *testing.T) {
	t.Parallel()
	for name, edits := range map[string][]string{"public": nil, "inside": inside} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := balancerBench(t, nil, edits...)
			before := b.cloud.Snapshot()
			b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
			if n := b.cloud.Writes(); n != 0 {
				t.Errorf("a dry run sent %d writing requests", n)
			}
			b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
			made := b.cloud.Snapshot()
			if len(made.Balancers) != 1 || len(made.Servers) != 2 || len(made.Balancers[0].Members) != 2 || len(made.KeyManager) != 4 {
				t.Fatalf("%+v\n%+v", made.Balancers, made.KeyManager)
			}
			at := made.Balancers[0].Address
			if name == "inside" {
				for _, f := range made.FloatingIPs {
					if strings.Contains(f.Description, "edge-vip") {
						at = f.Address
					}
				}
			}
			if got := b.cloud.Snapshot(); !slices.ContainsFunc(got.Served, func(r sandbox.RRset) bool {
				return r.Name == "www.example.com." && slices.Equal(r.Values, []string{at})
			}) {
				t.Errorf("the name does not give the load balancer's address %s: %+v", at, got.Served)
			}
			b.traffic(at)
			for _, s := range made.Servers {
				if _, _, _, err := b.cloud.ReadFile(s.ID, "/run/failover/tls/edge.pem"); err == nil {
					t.Errorf("%s has a certificate", s.Name)
				}
			}
			b.must(exitDone, "abandon", "--yes")
			b.asBefore(before)
		})
	}
}

// The page's plan, as printed.
func TestPlanOfTheBalancerPage(t *testing.T) {
	t.Parallel()
	b := newBenchOf(t, fence(t, read(t, "docs", "load-balancer.md"), "hcl"), "collector.dripstat.com", sandbox.Quota{}, nil)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	if s := b.cloud.Snapshot(); len(s.Balancers) != 1 || len(s.Balancers[0].Members) != 2 {
		t.Errorf("%+v", s.Balancers)
	}
}

// traffic looks at what a load balancer of the sandbox does with requests.
func (b *bench) traffic(at string) {
	t := b.t
	t.Helper()
	served := map[string]bool{}
	for range 4 {
		res := b.ask("https://www.example.com/health", at)
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 || !strings.Contains(string(body), "serves /health") {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		served[res.Header.Get("X-Served-By")] = true
	}
	if len(served) != 2 {
		t.Errorf("served by %v", served)
	}
	res := b.ask("http://www.example.com/a?b=c", at)
	if got := res.Header.Get("Location"); res.StatusCode != 301 || got != "https://www.example.com/a?b=c" {
		t.Errorf("plain HTTP: %d, to %s", res.StatusCode, got)
	}
	if res := b.ask("http://other.example.com/", at); res.StatusCode != 503 {
		t.Errorf("a name that is not the service's: %d", res.StatusCode)
	}
}

// Members are proven before they join, the load balancer before DNS moves, and it is made while the servers boot.
func TestBalancerOrder(t *testing.T) {
	t.Parallel()
	b := balancerBench(t, nil, inside...)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	at, done := map[provision.StepID]int{}, map[provision.StepID]int{}
	for i, e := range b.events() {
		switch e.Type {
		case provision.StepIntent:
			at[e.Step] = i
		case provision.StepDone:
			done[e.Step] = i
		}
	}
	for _, pair := range [][2]provision.StepID{{"certificate/edge", "store/edge/edge"}, {"store/edge/edge", "balancer/edge"}, {"prove/web-1", "members/edge"}, {"prove/web-2", "members/edge"},
		{"balancer/edge", "address/edge-vip"}, {"members/edge", "prove/edge-vip"}, {"prove/edge-vip", "move/www.example.com/A"}} {
		begun, ok := at[pair[1]]
		if !ok {
			begun = done[pair[1]]
		}
		if done[pair[0]] == 0 || begun < done[pair[0]] {
			t.Errorf("%s did not wait for %s", pair[1], pair[0])
		}
	}
	g := b.events()[0].Graph // what it waits for, not how fast this machine is
	seen := map[provision.StepID]bool{}
	var waits func(id provision.StepID)
	waits = func(id provision.StepID) {
		s, ok := g.Step(id)
		if !ok || seen[id] {
			return
		}
		seen[id] = true
		if s.Kind == steps.ServerCreate {
			t.Errorf("the load balancer waits for %s", id)
		}
		for _, n := range s.Needs {
			waits(n)
		}
	}
	waits("balancer/edge")
	if len(seen) < 3 {
		t.Errorf("only %v were looked at", seen)
	}
}

func TestBalancerFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault string
		code  int
		says  string
	}{
		{"balancer-error", exitDone, "ERROR: octavia does not tell why"},
		{"balancer-error=2", exitFailed, "ERROR: octavia does not tell why"},
		{"part-error", exitDone, "its pool is in ERROR: octavia does not tell why"},
		{"part-error=2", exitFailed, "its pool is in ERROR: octavia does not tell why"},
		{"part-reply-lost=3", exitDone, ""},
		{"balancer-reply-lost", exitDone, ""},
		{"store-reply-lost", exitDone, ""},
		{"balancer-busy=2", exitDone, "it is being changed"},
		{"balancer-slow=2s", exitDone, "PENDING_CREATE"},
		{"reply-lost=2", exitDone, ""},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			b := balancerBench(t, []string{tt.fault}, inside...)
			before := b.cloud.Snapshot()
			b.must(tt.code, "--region", "ORD", "--sandbox", "--yes")
			if !strings.Contains(b.err.String(), tt.says) {
				t.Errorf("it does not say %q:\n%s", tt.says, b.err.String())
			}
			s := b.cloud.Snapshot()
			if tt.code == exitDone && (len(s.Balancers) != 1 || len(s.KeyManager) != 4 || len(s.Balancers[0].Members) != 2) {
				t.Errorf("%+v\n%+v", s.Balancers, s.KeyManager)
			}
			b.must(exitDone, "abandon", "--yes")
			b.asBefore(before)
		})
	}
}

// What octavia is at work on cannot be removed: the run says so, and once octavia is done all goes.
func TestBalancerStuck(t *testing.T) {
	t.Parallel()
	b := balancerBench(t, []string{"balancer-slow=12s"}, `  terminate = certificate.edge # or several: the client's name (SNI) chooses`, "  terminate = certificate.edge\n  timeout   = \"10s\"", "count  = 2", "count  = 1")
	before := b.cloud.Snapshot()
	b.must(exitFailed, "--region", "ORD", "--sandbox", "--yes")
	if !strings.Contains(b.err.String(), "PENDING_CREATE") {
		t.Errorf("it does not say what was seen:\n%s", b.err.String())
	}
	b.must(exitDone, "abandon", "--yes")
	b.asBefore(before)
}

// The private key leaves to the servers' key manager alone, in one request, and is gone from there after abandon.
func TestPrivateKeyOfABalancer(t *testing.T) {
	t.Parallel()
	b := balancerBench(t, []string{"balancer-busy"}, inside...)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	b.must(exitDone, "status", "--json")
	b.must(exitDone, "abandon", "--yes", "--json")
	keys, sent := secretsOf(t, b.key), 0
	maps.DeleteFunc(keys, func(_ string, form []byte) bool {
		return strings.Contains(strings.ReplaceAll(string(b.chain), "\n", ""), string(form))
	}) // a key's PEM ends with its public half
	for _, r := range b.cloud.Requests() {
		hits := keys.in(append([]byte(r.Query+"\n"), r.Body...), 2)
		if r.Service == "barbican" && r.Region == "ORD" && r.Method == http.MethodPost && r.Path == "/v1/secrets" && len(hits) > 0 {
			sent++
			continue
		}
		for _, hit := range hits {
			t.Errorf("%s %s %s holds the private key (%s)", r.Service, r.Method, r.Path, hit)
		}
	}
	if sent != 1 {
		t.Errorf("the key was stored %d times", sent)
	}
	for _, text := range []string{b.out.String(), b.err.String()} {
		for _, hit := range keys.in([]byte(text), 2) {
			t.Errorf("the output holds the private key (%s)", hit)
		}
	}
}

// severalBench has a second certificate, of another authority, for the load balancer.
func severalBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.Issue("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"ca.pem": ca.PEM(), "chain.pem": chain, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second := fmt.Sprintf("secrets \"disk\" {\n  file {\n    chain = \"%[1]s/chain.pem\"\n    key   = \"%[1]s/key.pem\"\n  }\n}\n\n"+
		"certificate \"api\" {\n  from  = secrets.disk\n  names = [\"api.example.com\"]\n  ca    = file(\"%[1]s/ca.pem\")\n}\n\nload_balancer \"edge\" {", dir)
	return balancerBench(t, nil, `load_balancer "edge" {`, second, `terminate = certificate.edge # or several: the client's name (SNI) chooses`, `terminate = [certificate.edge, certificate.api]`)
}

func TestBalancerSeveralCertificates(t *testing.T) {
	t.Parallel()
	b := severalBench(t)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	for _, s := range b.graphOf(provision.RunStarted).Steps {
		if s.ID == "prove/edge-vip" && s.With["also"].Is == nil {
			t.Error("the second certificate is not proven")
		}
	}
	at := b.cloud.Snapshot().Balancers[0].Address
	for name, first := range map[string]string{"www.example.com": "www.example.com", "api.example.com": "api.example.com", "": "www.example.com"} {
		raw, err := b.cloud.Dial(t.Context(), "tcp", at+":443")
		b.no(err)
		conn := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // which one is presented is what is looked at
		b.no(conn.HandshakeContext(t.Context()))
		if got := conn.ConnectionState().PeerCertificates[0].DNSNames; !slices.Equal(got, []string{first}) {
			t.Errorf("asked for %q, it presents %v", name, got)
		}
		conn.Close()
	}
	if n := len(b.cloud.Snapshot().KeyManager); n != 8 {
		t.Errorf("%d things in the key manager", n)
	}
	if res := b.ask("http://api.example.com/x", at); res.Header.Get("Location") != "https://api.example.com/x" {
		t.Errorf("plain HTTP of the second name goes to %s", res.Header.Get("Location"))
	}
}

// Where not all servers are waited for, the first make the load balancer serve, and the others join it.
func TestBalancerQuorum(t *testing.T) {
	t.Parallel()
	b := balancerBench(t, []string{"slow-boot=3s:1"}, `  # need   = 1 `, "  need   = 1\n  hedge  = 1\n  #", "count  = 2", "count  = 2")
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	var first, all []string
	for _, e := range b.events() {
		if e.Type == provision.StepDone && e.Kind == steps.BalancerJoin {
			if e.Step == "members/edge" {
				first = e.Out.List("members")
			} else {
				all = e.Out.List("members")
			}
		}
	}
	s := b.cloud.Snapshot()
	if len(first) != 1 || len(all) != 2 || len(s.Balancers[0].Members) != 2 || len(s.Servers) != 2 {
		t.Errorf("first %v, then %v; %+v; %d servers", first, all, s.Balancers, len(s.Servers))
	}
	b.traffic(s.Balancers[0].Address)
}

// balancerProcesses is a bench whose commands can be killed.
func balancerProcesses(t *testing.T) *processes {
	t.Helper()
	edits := slices.Concat(inside, []string{`service = "shop"`, "variable \"ns\" {\n  default = \"127.0.0.1:1\"\n}\nservice = \"shop\"", `zone = "example.com"`, "zone = \"example.com\"\n  name_servers = [var.ns]",
		`cloud = "main"`, `cloud = "sandbox"`})
	return (&processes{bench: balancerBench(t, nil, edits...)}).serve()
}

// whole fails unless the run has made everything once.
func (b *bench) whole() {
	b.t.Helper()
	s := b.cloud.Snapshot()
	if len(s.Balancers) != 1 || len(s.Servers) != 2 || len(s.KeyManager) != 4 || len(s.FloatingIPs) != 3 || len(s.Balancers[0].Members) != 2 {
		b.t.Errorf("%+v %+v %d servers, %d floating addresses", s.Balancers, s.KeyManager, len(s.Servers), len(s.FloatingIPs))
	}
}

// A run that died anywhere comes to the same end, and can be undone.
func TestBalancerKilled(t *testing.T) {
	t.Parallel()
	for _, at := range []int{7, 12, 17, 24, 30, 36, 44} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			p := balancerProcesses(t)
			before := p.cloud.Snapshot()
			p.killedAt(at, 0, "--region", "ORD", "--yes")
			p.want(exitDone, nil, "resume")
			p.whole()
			p.want(exitDone, nil, "abandon", "--yes")
			p.asBefore(before)
		})
	}
}

func TestBalancerBack(t *testing.T) {
	t.Parallel()
	b := balancerBench(t, nil, append(slices.Clone(inside), "ttl  = 60", "ttl  = 1", `regions = ["ORD", "DFW"]`, `regions = ["ORD", "DFW", "IAD"]`)...)
	b.must(exitDone, "--region", "IAD", "--sandbox", "--yes")
	home := b.cloud.Snapshot()
	b.must(exitDone, "--region", "DFW", "--sandbox", "--yes")
	b.must(exitDone, "back", "--yes", "--remove")
	got := b.cloud.Snapshot()
	if d := cmp.Diff(home.Balancers, got.Balancers); d != "" {
		t.Errorf("load balancers (-home +now):\n%s", d)
	}
	if d := cmp.Diff(home.KeyManager, got.KeyManager); d != "" {
		t.Errorf("key managers (-home +now):\n%s", d)
	}
}

func TestBalancerRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		quota sandbox.Quota
		edits []string
		says  string
	}{
		{sandbox.Quota{Listeners: 1}, nil, "the plan needs 2 listeners of load balancers, 0 of 1 are used"},
		{sandbox.Quota{}, []string{`  # network       = "private"    # of its own address; otherwise the members' first`, `  provider = "ovn"`}, `ORD has no provider "ovn" of load balancers`},
	} {
		b := newBenchOf(t, balanced(t, tt.edits...), "www.example.com", tt.quota, nil)
		b.must(exitRefused, "--region", "ORD", "--sandbox", "--yes")
		if text := strings.Join(strings.Fields(b.err.String()), " "); !strings.Contains(text, tt.says) {
			t.Errorf("it does not say %q:\n%s", tt.says, text)
		}
		if n := b.cloud.Writes(); n != 0 {
			t.Errorf("%d writing requests", n)
		}
	}
}

// The journal is lost: the run is taken up, or removed, by names and tags.
func TestBalancerAdopted(t *testing.T) {
	t.Parallel()
	for _, at := range []int{13, 36} {
		for _, command := range []string{"resume", "abandon"} {
			t.Run(fmt.Sprint(command, at), func(t *testing.T) {
				t.Parallel()
				p := balancerProcesses(t)
				before := p.cloud.Snapshot()
				p.killedAt(at, 0, "--region", "ORD", "--yes")
				p.lose()
				p.want(exitDone, nil, command, "--adopt", "--region", "ORD", "--yes")
				if command == "resume" {
					p.whole()
					p.want(exitDone, nil, "abandon", "--yes")
				}
				p.asBefore(before, butTTLs)
			})
		}
	}
}
