package cli

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/templates"
)

// cloudBalancedPlan is the plan that `failover init --cloud rackspace --load-balancer` writes, with the bench's own certificate.
func cloudBalancedPlan(t *testing.T, edits ...string) string {
	t.Helper()
	edits = append([]string{`file = "secrets.age"`, "file     = \"secrets.age\"\n    identity = \"identity.txt\"", `names = ["www.example.com"]`, "names = [\"www.example.com\"]\n  ca    = file(\"ca.pem\")",
		"{\n    username = env(\"RAX_USERNAME\")\n    api_key  = env(\"RAX_API_KEY\")\n  }", "{}"}, edits...)
	src := string(templates.BalancerStarter("rackspace", "shop"))
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(src, edits[i]) {
			t.Fatalf("the plan does not hold %q", edits[i])
		}
		src = strings.ReplaceAll(src, edits[i], edits[i+1])
	}
	return src
}

// cloudBalanced is a bench with that plan, and an RSA key.
func cloudBalanced(t *testing.T, o sandbox.Options, faults []string, edits ...string) *bench {
	t.Helper()
	if o.Rackspace == nil {
		o.Rackspace = &sandbox.Rackspace{}
	}
	return newBenchKeyed(t, cloudBalancedPlan(t, edits...), "www.example.com", o, faults, (*sandbox.CA).IssueRSA)
}

// fronted fails unless the run has made everything once, the name leads there, and it does with requests what it should.
func (b *bench) fronted() sandbox.BalancerState {
	t := b.t
	t.Helper()
	s := b.cloud.Snapshot()
	if len(s.Balancers) != 1 || len(s.Servers) != 2 || len(s.Balancers[0].Members) != 2 || len(s.Balancers[0].Idle) != 0 || s.Balancers[0].Status != "ACTIVE" {
		t.Fatalf("%+v, %d servers", s.Balancers, len(s.Servers))
	}
	x := s.Balancers[0]
	if !slices.ContainsFunc(s.Served, func(r sandbox.RRset) bool {
		return r.Name == "www.example.com." && r.Type == "A" && slices.Equal(r.Values, []string{x.Address})
	}) {
		t.Errorf("the name does not give the load balancer's address %s: %+v", x.Address, s.Served)
	}
	for _, m := range x.Members {
		if !strings.HasPrefix(m, "10.") {
			t.Errorf("member %s is not reached on the network inside the region", m)
		}
	}
	served := map[string]bool{}
	for range 4 {
		res := b.ask("https://www.example.com/health", x.Address)
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 || !strings.Contains(string(body), "serves /health") {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		served[res.Header.Get("X-Served-By")] = true
	}
	if len(served) != 2 {
		t.Errorf("served by %v", served)
	}
	if res := b.ask("http://www.example.com/a?b=c", x.Address); res.StatusCode != 301 || res.Header.Get("Location") != "https://www.example.com/a?b=c" {
		t.Errorf("plain HTTP: %d, to %s", res.StatusCode, res.Header.Get("Location"))
	}
	for _, s := range s.Servers {
		if _, _, _, err := b.cloud.ReadFile(s.ID, "/run/failover/tls/edge.pem"); err == nil {
			t.Errorf("%s has a certificate", s.Name)
		}
	}
	return x
}

// The other night on Rackspace's first cloud: the load balancer of the region that is left is dark with it, and a new one in ORD takes its place.
func TestBalancerOnRackspace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rax    sandbox.Rackspace
		faults []string
	}{
		"as documented last":  {sandbox.Rackspace{}, []string{"region-dark=IAD:hang"}},
		"as documented first": {sandbox.Rackspace{Offset: true, Old: true}, []string{"region-dark=IAD:refuse"}},
		"texts":               {sandbox.Rackspace{Texts: true, Quick: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := cloudBalanced(t, sandbox.Options{Rackspace: &tt.rax}, tt.faults)
			before := b.cloud.Snapshot()
			b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--dry-run")
			if n := b.cloud.Writes(); n != 0 {
				t.Errorf("a dry run sent %d writing requests", n)
			}
			b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes")
			b.fronted()
			for _, r := range b.cloud.Requests() {
				if r.Region == "IAD" {
					t.Errorf("the region that is left was asked: %s %s", r.Method, r.Path)
				}
			}
			b.must(exitDone, "abandon", "--yes")
			b.asBefore(before)
		})
	}
}

func TestBalancerOnRackspaceFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		faults []string
		code   int
		says   string
	}{
		{[]string{"balancer-error"}, exitDone, "ERROR: Rackspace does not tell why"},
		{[]string{"balancer-error=2"}, exitFailed, "only Rackspace's support can help"},
		{[]string{"balancer-reply-lost"}, exitDone, ""},
		{[]string{"balancer-reply-empty"}, exitDone, "its answer cannot be read"},
		{[]string{"store-reply-lost"}, exitDone, ""},
		{[]string{"part-reply-lost=4"}, exitDone, ""},
		{[]string{"balancer-busy=3"}, exitDone, "it is being changed"},
		{[]string{"balancer-slow=2s"}, exitDone, "BUILD"},
		{[]string{"rate-limit=9", "empty-body=4", "reply-lost"}, exitDone, ""},
		{[]string{"balancer-delete-half"}, exitDone, ""},
	} {
		t.Run(strings.Join(tt.faults, ","), func(t *testing.T) {
			t.Parallel()
			b := cloudBalanced(t, sandbox.Options{}, tt.faults)
			before := b.cloud.Snapshot()
			b.must(tt.code, "--region", "ORD", "--sandbox=rackspace", "--yes")
			if text := strings.Join(strings.Fields(b.err.String()), " "); !strings.Contains(text, tt.says) {
				t.Errorf("it does not say %q:\n%s", tt.says, b.err.String())
			}
			if tt.code == exitDone {
				b.fronted()
			}
			b.must(exitDone, "abandon", "--yes")
			b.asBefore(before)
		})
	}
}

// What is asked for beside TLS is there before it is gone on with.
func TestBalancerOnRackspaceWithEverything(t *testing.T) {
	t.Parallel()
	b := cloudBalanced(t, sandbox.Options{}, nil, "  # tls_versions            = ", "  tls_versions            = ", "  # connection_limit_per_ip = 100", "  connection_limit_per_ip = 100",
		"    to   = load_balancer.edge\n  }", "    to   = load_balancer.edge\n  }\n\n  record \"www6\" {\n    name = \"www\"\n    type = \"AAAA\"\n    ttl  = 300\n    to   = load_balancer.edge\n  }")
	before := b.cloud.Snapshot()
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes", "--json")
	x := b.fronted()
	v6 := ""
	for _, r := range b.cloud.Snapshot().Served {
		if r.Name == "www.example.com." && r.Type == "AAAA" {
			v6 = r.Values[0]
		}
	}
	if res := b.ask("https://www.example.com/health", v6); res.StatusCode != 200 {
		t.Errorf("over IPv6, at %s: %d", v6, res.StatusCode)
	}
	sent := map[string]string{}
	for _, r := range b.cloud.Requests() {
		if r.Service == "clb" && r.Method != "GET" {
			_, what, _ := strings.Cut(strings.TrimPrefix(r.Path, "/v1.0/"+b.cloud.Account()+"/loadbalancers"), x.ID)
			sent[r.Method+what] += string(r.Body)
		}
	}
	for where, want := range map[string]string{"POST": `"connectionThrottle":{"maxConnectionRate":0,"maxConnections":100`, "PUT/ssltermination": `"securityProtocolName":"TLS_11","securityProtocolStatus":"DISABLED"`,
		"POST/nodes": `"condition":"DRAINING"`, "PUT": `{"loadBalancer":{"httpsRedirect":true}}`} {
		if !strings.Contains(sent[where], want) {
			t.Errorf("%s: %s", where, sent[where])
		}
	}
	b.must(exitDone, "abandon", "--yes")
	b.asBefore(before)
}

// Who may come in is told as it is made, and read back; there is no IPv6 address that nothing keeps anybody from.
func TestAccessListOnRackspace(t *testing.T) {
	t.Parallel()
	b := cloudBalanced(t, sandbox.Options{}, nil, `  # allowed_cidrs           = ["203.0.113.0/24"]`, `  allowed_cidrs = ["203.0.113.0/24", "127.0.0.0/8"]`)
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes")
	b.fronted()
	if !slices.ContainsFunc(b.cloud.Requests(), func(r sandbox.Request) bool {
		return r.Method == "POST" && strings.Contains(string(r.Body), `"accessList":[{"address":"0.0.0.0/0","type":"DENY"},{"address":"203.0.113.0/24","type":"ALLOW"},{"address":"127.0.0.0/8","type":"ALLOW"}]`) &&
			strings.Contains(string(r.Body), `"virtualIps":[{"ipVersion":"IPV4","type":"PUBLIC"}]`)
	}) {
		t.Error("the access list was not asked for, with an IPv4 address alone")
	}
}

// TLS on another port, and nothing else: plain HTTP is not answered at all.
func TestNoPlainHTTPOnRackspace(t *testing.T) {
	t.Parallel()
	b := cloudBalanced(t, sandbox.Options{}, nil, "  terminate = certificate.edge\n", "  terminate = certificate.edge\n  listen = 8443\n  redirect_http = false\n", "https://www.example.com/health", "https://www.example.com:8443/health")
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes")
	x := b.cloud.Snapshot().Balancers[0]
	if !slices.Equal(x.Listen, []int{8443}) {
		t.Errorf("it listens on %v", x.Listen)
	}
	if res := b.ask("https://www.example.com:8443/health", x.Address); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
}

// Where not all servers are waited for, the first make the load balancer serve, and the others join it.
func TestBalancerOnRackspaceQuorum(t *testing.T) {
	t.Parallel()
	b := cloudBalanced(t, sandbox.Options{}, []string{"slow-boot=3s:1"}, `  # need = 1 `, "  need = 1\n  hedge  = 1\n  #")
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes")
	b.fronted()
}

// cloudProcesses is a bench whose commands can be killed.
func cloudProcesses(t *testing.T) *processes {
	t.Helper()
	return (&processes{bench: cloudBalanced(t, sandbox.Options{}, nil, `service = "shop"`, "variable \"ns\" {\n  default = \"127.0.0.1:1\"\n}\nservice = \"shop\"",
		`zone = "example.com"`, "zone = \"example.com\"\n  name_servers = [var.ns]")}).serve()
}

// Back, from a second run to where the first one had left the name, at its load balancer, up to the TTL of 300 s that would be waited out then.
func TestBackToABalancerOnRackspace(t *testing.T) {
	t.Parallel()
	p := cloudProcesses(t)
	named := func() []string {
		for _, r := range p.cloud.Snapshot().Served {
			if r.Name == "www.example.com." && r.Type == "A" {
				return r.Values
			}
		}
		return nil
	}
	p.want(exitDone, nil, "--region", "ORD", "--yes")
	home := named()
	p.want(exitDone, nil, "--region", "IAD", "--yes")
	if away := named(); slices.Equal(home, away) {
		t.Fatalf("%v, then %v", home, away)
	}
	cmd, wait := p.start(nil, "back", "--yes", "--json")
	for deadline := time.Now().Add(20 * time.Second); !slices.Equal(named(), home); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("served %v, wanted %v", named(), home)
			break
		}
	}
	p.no(cmd.Process.Kill())
	if r := wait(); strings.Contains(r.out, "step.failed") {
		t.Errorf("%s", r.out)
	}
}

// The process is killed around each change of the load balancer, and around what only a name or the balancer itself can tell; another
// one goes on, or removes it.
func TestBalancerOnRackspaceKilled(t *testing.T) {
	t.Parallel()
	start := cloudProcesses
	whole := start(t)
	r := whole.want(exitDone, nil, "--region", "ORD", "--yes", "--json")
	whole.fronted()
	at := map[string]int{}
	for _, e := range eventsOf(t, r.out) {
		if name := string(e.Kind) + " " + string(e.Type); strings.HasPrefix(name, "cloudbalancer.") && at[name] == 0 && e.Seq > 0 {
			at[name] = e.Seq
		}
	}
	if len(at) < 15 { // five kinds, each with its intent, its answer and its end
		t.Fatalf("only %v", at)
	}
	for name, seq := range at {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			before := p.cloud.Snapshot()
			p.killedAt(seq, time.Duration(seq%3)*3*time.Millisecond, "--region", "ORD", "--yes")
			switch seq % 3 {
			case 0: // its journal is lost as well
				p.lose()
				p.want(exitDone, nil, "resume", "--adopt", "--region", "ORD", "--yes")
				p.fronted()
			case 1:
				p.want(exitDone, nil, "resume")
				p.fronted()
				p.want(exitDone, nil, "abandon", "--yes")
				p.asBefore(before)
			default:
				p.want(exitDone, nil, "abandon", "--yes")
				p.asBefore(before)
			}
		})
	}
}

// What those load balancers cannot hold is refused before anything is made, with the reason.
// A renewed certificate gets to the load balancer of a run that is over, in the place of the former one, and nothing else is changed.
func TestDeliverToABalancerOnRackspace(t *testing.T) {
	t.Parallel()
	for name, texts := range map[string]bool{"as documented": false, "texts": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := cloudBalanced(t, sandbox.Options{Rackspace: &sandbox.Rackspace{Texts: texts}}, nil, "  # tls_versions            = ", "  tls_versions            = ")
			before := b.cloud.Snapshot()
			b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes")
			for range 2 {
				writes := b.cloud.Writes()
				want := b.renewKeyed("www.example.com", (*sandbox.CA).IssueRSA)
				b.must(exitDone, "deliver", "--dry-run")
				if b.cloud.Writes() != writes {
					t.Fatal("a dry run writes")
				}
				b.must(exitDone, "deliver", "--yes", "--json")
				if got := b.atVIP("www.example.com"); got != want {
					t.Errorf("it presents %s, want %s", got, want)
				}
				if n := b.cloud.Writes() - writes; n != 1 {
					t.Errorf("%d writing requests", n)
				}
			}
			g := b.graphOf(provision.RunStarted)
			var kinds []string
			for _, s := range g.Steps {
				kinds = append(kinds, string(s.Kind))
			}
			if want := []string{"certificate.fetch", "cloudbalancer.terminate", "service.prove"}; !slices.Equal(kinds, want) {
				t.Errorf("steps %v, want %v", kinds, want)
			}
			writes := b.cloud.Writes()
			b.must(exitDone, "deliver", "--yes")
			if said := flat(b.err.String()); !strings.Contains(said, "it is the one that load balancer edge has already") || !strings.Contains(said, "The load balancers of run") || b.cloud.Writes() != writes {
				t.Errorf("%d writing requests\n%s", b.cloud.Writes()-writes, b.err.String())
			}
			b.renew("www.example.com")
			b.must(exitRefused, "deliver", "--yes")
			if !strings.Contains(flat(b.err.String()), "take RSA keys alone") || b.cloud.Writes() != writes {
				t.Errorf("%s", b.err.String())
			}
			b.must(exitDone, "abandon", string(g.Of), "--yes")
			b.asBefore(before)
		})
	}
}

// A delivery that died anywhere comes to the same end.
func TestDeliverToABalancerOnRackspaceKilled(t *testing.T) {
	t.Parallel()
	for _, at := range []int{3, 4, 5, 6} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			p := cloudProcesses(t)
			p.want(exitDone, nil, "--region", "ORD", "--yes")
			want := p.renewKeyed("www.example.com", (*sandbox.CA).IssueRSA)
			p.killedAt(at, 0, "deliver", "--yes")
			p.want(exitDone, nil, "resume")
			if got := p.atVIP("www.example.com"); got != want {
				t.Errorf("it presents %s, want %s", got, want)
			}
			p.fronted()
		})
	}
}

func TestBalancerOnRackspaceRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		quota sandbox.Quota
		issue func(*sandbox.CA, ...string) ([]byte, []byte, error)
		says  string
	}{
		"ECDSA":   {sandbox.Quota{}, (*sandbox.CA).Issue, `certificate "edge" has an ECDSA key, and Rackspace's load balancers take RSA keys alone`},
		"members": {sandbox.Quota{Members: 1}, (*sandbox.CA).IssueRSA, "it would have 2 members, and in this account a load balancer has 1 at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := cloudBalancedPlan(t)
			b := newBenchKeyed(t, src, "www.example.com", sandbox.Options{Rackspace: &sandbox.Rackspace{}, Quota: tt.quota}, nil, tt.issue)
			b.must(exitRefused, "--region", "ORD", "--sandbox=rackspace", "--yes")
			if text := strings.Join(strings.Fields(b.err.String()), " "); !strings.Contains(text, tt.says) {
				t.Errorf("it does not say %q:\n%s", tt.says, b.err.String())
			}
			if n := b.cloud.Writes(); n != 0 {
				t.Errorf("%d writing requests", n)
			}
		})
	}
}

// The private key leaves to the load balancer alone, in one request, and no answer, event or file repeats it.
func TestPrivateKeyOfACloudBalancer(t *testing.T) {
	if apart(t) {
		return
	}
	tmp := t.TempDir() // not parallel: the environment is the process's
	for _, k := range []string{"TMPDIR", "HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(k, tmp)
	}
	b := cloudBalanced(t, sandbox.Options{}, []string{"balancer-busy"})
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes", "--json")
	b.must(exitDone, "status", "--json")
	b.must(exitDone, "abandon", "--yes", "--json")
	keys, sent := secretsOf(t, b.key), 0
	block, _ := pem.Decode(b.key)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	b.no(err)
	own := key.(*rsa.PrivateKey)
	keys.forms("PKCS #1", x509.MarshalPKCS1PrivateKey(own))
	keys.forms("exponent", own.D.Bytes())
	for i, p := range own.Primes {
		keys.forms("prime "+string(rune('1'+i)), p.Bytes())
	}
	for line := range strings.Lines(string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(own)}))) {
		if line = strings.TrimSpace(line); len(line) > 40 && !strings.HasPrefix(line, "-----") {
			keys["PKCS #1 line "+line[:6]] = []byte(line)
		}
	}
	flat := strings.ReplaceAll(string(b.chain), "\n", "")
	maps.DeleteFunc(keys, func(_ string, form []byte) bool { return strings.Contains(flat, string(form)) }) // its modulus is public
	if len(keys) < 40 {
		t.Fatalf("only %d forms are looked for", len(keys))
	}
	for _, r := range b.cloud.Requests() {
		hits := keys.in(append([]byte(r.Query+"\n"), r.Body...), 2)
		if r.Service == "clb" && r.Region == "ORD" && r.Method == http.MethodPut && strings.HasSuffix(r.Path, "/ssltermination") && len(hits) > 0 {
			if r.Status < 300 { // what was refused because it was being changed, too, went over TLS to the same place
				sent++
			}
			continue
		}
		for _, hit := range hits {
			t.Errorf("%s %s %s holds the private key (%s)", r.Service, r.Method, r.Path, hit)
		}
	}
	if sent != 1 {
		t.Errorf("the key was taken %d times", sent)
	}
	for where, text := range map[string]string{"standard output": b.out.String(), "standard error": b.err.String()} {
		for _, hit := range keys.in([]byte(text), 2) {
			t.Errorf("%s holds the private key (%s)", where, hit)
		}
	}
	files := 0
	for _, dir := range []string{b.dir, tmp} {
		b.no(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			for _, hit := range keys.in(text, 2) {
				t.Errorf("%s holds the private key (%s)", path, hit)
			}
			files++
			return err
		}))
	}
	if files < 5 {
		t.Errorf("%d files were looked into", files)
	}
}
