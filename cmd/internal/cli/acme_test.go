package cli

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/acme/acmetest"
)

// authority edits the built-in plan: its certificate is kept nowhere, and issued by ACME.
var authority = []string{`service = "dripstat"`, "variable \"directory\" {\n  default = \"https://127.0.0.1:1/dir\"\n}\n\nservice = \"dripstat\"",
	`from  = secrets.sandbox`, `from  = secrets.le`, `certificate "edge" {`, `secrets "issued" {
  age {
    file     = "issued.age"
    identity = "identity.txt"
  }
}

secrets "le" {
  acme {
    directory    = var.directory
    ca           = "directory.pem"
    email        = "ops@dripstat.test"
    terms_agreed = true
    seal         = secrets.issued
  }
}

certificate "edge" {`}

// issuing starts a Pebble that looks for challenges at the bench's name server, and lets the plan know it.
func (b *bench) issuing(o acmetest.Options) *acmetest.Server {
	b.t.Helper()
	o.NameServer = b.cloud.NameServer()
	ca := acmetest.Start(b.t, o)
	text, err := os.ReadFile(b.path("failover.hcl"))
	b.no(err)
	b.no(os.WriteFile(b.path("failover.hcl"), bytes.ReplaceAll(text, []byte("https://127.0.0.1:1/dir"), []byte(ca.Directory)), 0o600))
	b.no(os.WriteFile(b.path("directory.pem"), ca.CA, 0o600))
	b.no(os.WriteFile(b.path("ca.pem"), ca.Root(0), 0o600))
	return ca
}

// challenges gives the TXT sets of the sandbox's zones.
func (b *bench) challenges() map[string][]string {
	out := map[string][]string{}
	for _, r := range b.cloud.Snapshot().Served {
		if r.Type == "TXT" {
			out[r.Name] = r.Values
		}
	}
	return out
}

func (b *bench) noChallenges() {
	b.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); len(b.challenges()) > 0; time.Sleep(10 * time.Millisecond) { // the name server follows
		if time.Now().After(deadline) {
			b.t.Fatalf("TXT sets are left: %v", b.challenges())
		}
	}
}

// issued gives the output of the step that sealed the certificate.
func (b *bench) issued() provision.Values {
	var out provision.Values
	for _, e := range b.events() {
		if e.Type == provision.StepDone && e.Step == "issue/edge" {
			out = e.Out
		}
	}
	return out
}

// A certificate that is nowhere is had during the run, by a proof in the plan's own zone, and the next run takes what was
// sealed.
func TestIssuedDuringTheRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, authority...)
	ca := b.issuing(acmetest.Options{})
	b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
	says := flat(b.out.String())
	for _, want := range []string{"ordered from 127.0.0.1:", "validated and made by 127.0.0.1:", "issued during the run, sealed into issued.age", "_acme-challenge.collector.dripstat.test", "TXT, until the certificate is issued",
		"secrets.le keeps none: it is issued during the run"} {
		if !strings.Contains(says, want) {
			t.Errorf("the dry run does not say %q:\n%s", want, b.out.String())
		}
	}
	if ca.Orders()+ca.Accounts() > 0 || b.cloud.Writes() > 0 {
		t.Error("a dry run has changed something")
	}
	b.must(exitDone, "check", "--region", "ORD")
	if out := b.out.String(); !strings.Contains(out, "to be issued") {
		t.Errorf("the check says\n%s", out)
	}
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	b.serves()
	b.certified()
	b.noChallenges()
	if s, print := b.sourceOf("edge"), b.issued().Text("fingerprint"); s != "secrets.le" || len(print) != 64 || !strings.HasPrefix(b.issued().Text("sealed"), "issued.age on ") {
		t.Errorf("from %q, %v", s, b.issued())
	}
	orders := ca.Orders()
	b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
	if !strings.Contains(flat(b.out.String()), "from secrets.le, expires in 89 days") {
		t.Errorf("the next dry run says\n%s", b.out.String())
	}
	b.must(exitDone, "abandon", "--yes")
	b.must(exitDone, "--region", "IAD", "--sandbox", "--yes")
	if ca.Orders() != orders {
		t.Errorf("%d orders, then %d", orders, ca.Orders())
	}
}

// The next place is taken where the authority is not reached; nothing is ordered.
func TestAuthorityIsAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, append(slices.Clone(authority), "from  = secrets.le", "from  = [secrets.le, secrets.sandbox]")...)
	b.must(exitRefused, "check", "--region", "ORD", "--strict")
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	if s := b.sourceOf("edge"); s != "secrets.sandbox" {
		t.Errorf("from %q", s)
	}
}

// Every reason why an authority gives nothing ends the run before a server is made, says what it is, and abandon leaves no
// trace of it in the zone.
func TestAuthorityRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		instead func(*bench) func(http.ResponseWriter, *http.Request) bool
		options acmetest.Options
		code    int
		says    []string
		left    int
	}{
		"its rate is limited": {instead: func(*bench) func(http.ResponseWriter, *http.Request) bool { return acmetest.Limited("86400") },
			code: exitFailed, says: []string{"limits the rate of orders until", "too many certificates already issued", "take another place of the certificate"}},
		"it wants an external account": {options: acmetest.Options{External: true}, code: exitRefused, says: []string{"wants an external account", "external_account {"}},
		"it does not find the proof": {instead: func(b *bench) func(http.ResponseWriter, *http.Request) bool {
			drop := b.drop()
			return func(_ http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/chalZ/") { // somebody takes it away in the last moment
					drop()
				}
				return false
			}
		}, code: exitFailed, says: []string{"does not take the proof of collector.dripstat.test (invalid)", "Error retrieving TXT records", "abandon this run"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil, authority...)
			ca := b.issuing(c.options)
			if c.instead != nil {
				ca.Instead = c.instead(b)
			}
			before := b.cloud.Snapshot()
			b.must(c.code, "--region", "any", "--sandbox", "--yes")
			out := flat(b.err.String())
			for _, want := range c.says {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, b.err.String())
				}
			}
			if n := len(b.cloud.Snapshot().Servers); n > 0 {
				t.Errorf("%d servers were made", n)
			}
			if c.code != exitFailed {
				return
			}
			if n := ca.Orders(); n != 1 {
				t.Errorf("%d orders: another region was tried", n)
			}
			b.must(exitDone, "abandon", "--yes")
			b.noChallenges()
			b.asBefore(before)
		})
	}
}

// put lets a name hold something else, as a person at the provider would.
func (b *bench) put(name, typ string, values ...string) {
	b.t.Helper()
	z := b.site().zones["public"]
	old, err := z.Get(b.t.Context(), name, typ)
	b.no(err)
	b.no(z.Set(b.t.Context(), old, provision.RRset{Name: name, Type: typ, TTL: 60, Values: values}))
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if rr, _ := b.cloud.Serves(name, typ); slices.Equal(rr.Values, values) {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatal("the name server does not follow")
		}
	}
}

// drop gives a function that takes every challenge out of the zone, as another hand would.
func (b *bench) drop() func() {
	z := b.site().zones["public"]
	return func() {
		for name := range b.challenges() {
			old, err := z.Get(context.Background(), name, "TXT")
			if err == nil && len(old.Values) > 0 {
				_ = z.Set(context.Background(), old, provision.RRset{Name: name, Type: "TXT"})
			}
		}
		for deadline := time.Now().Add(5 * time.Second); len(b.challenges()) > 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// What others keep at the name of a challenge stays, and a challenge is led along an alias.
func TestChallengeBesideOthers(t *testing.T) {
	t.Parallel()
	for name, provider := range map[string]string{"designate": "designate {\n    cloud = cloud.main\n  }", "rfc2136": "rfc2136 {\n    server = \"127.0.0.1\"\n    key    = \"k\"\n    secret = \"c2VjcmV0\"\n  }"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil, append(slices.Clone(authority), `names = ["collector.dripstat.test"]`, `names = ["collector.dripstat.test", "*.dripstat.test"]`,
				"designate {\n    cloud = cloud.main\n  }", provider)...)
			b.put("_acme-challenge.collector.dripstat.test.", "CNAME", "proofs.dripstat.test.")
			b.put("proofs.dripstat.test.", "TXT", `"another's"`)
			ca := b.issuing(acmetest.Options{})
			var busy atomic.Int32
			ca.Instead = func(w http.ResponseWriter, r *http.Request) bool { // it is busy for a moment, and says so
				return strings.HasSuffix(r.URL.Path, "/order-plz") && busy.Add(1) < 3 && acmetest.Limited("1")(w, r)
			}
			b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
			b.serves()
			want := map[string][]string{"proofs.dripstat.test.": {`"another's"`}}
			for deadline := time.Now().Add(5 * time.Second); !maps.EqualFunc(b.challenges(), want, slices.Equal); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("left: %v", b.challenges())
				}
			}
			if n := ca.Finalized(); n != 1 || busy.Load() < 3 {
				t.Errorf("%d certificates, after %d requests for an order", n, busy.Load())
			}
			b.put("_acme-challenge.dripstat.test.", "CNAME", "proofs.elsewhere.test.")
			b.no(os.Remove(b.path("issued.age")))
			b.must(exitRefused, "--region", "ORD", "--sandbox", "--dry-run")
			if out := flat(b.out.String() + b.err.String()); !strings.Contains(out, "no dns block of the plan holds proofs.elsewhere.test, which _acme-challenge.dripstat.test is an alias of") {
				t.Errorf("it says\n%s", out)
			}
		})
	}
}

// The process is killed at each record of what has the certificate issued, and resumed by another: there is one order and one
// certificate, whichever record it was.
func TestKilledWhileIssuing(t *testing.T) {
	t.Parallel()
	whole := newProcesses(t, nil, slices.Concat(quick, authority)...)
	whole.issuing(acmetest.Options{})
	r := whole.want(exitDone, nil, "--region", "ORD", "--yes", "--json")
	whole.serves()
	var at []int
	for _, e := range eventsOf(t, r.out) {
		for _, of := range []string{"order/", "challenge/", "validate/", "finalize/", "issue/", "unchallenge/", "certificate/"} {
			if strings.HasPrefix(string(e.Step), of) {
				at = append(at, e.Seq)
			}
		}
	}
	if len(at) < 18 {
		t.Fatalf("only %d records", len(at))
	}
	for i, n := range at {
		if os.Getenv("FAILOVER_KILL") != "all" && i%5 != 1 {
			continue
		}
		t.Run(string(rune('a'+i)), func(t *testing.T) {
			t.Parallel()
			p := newProcesses(t, nil, slices.Concat(quick, authority)...)
			ca := p.issuing(acmetest.Options{})
			before := p.cloud.Snapshot()
			p.killedAt(n, 0, "--region", "ORD", "--yes")
			p.want(exitDone, nil, "resume")
			p.serves()
			p.certified()
			p.noChallenges()
			if ca.Finalized() != 1 {
				t.Errorf("%d certificates were issued", ca.Finalized())
			}
			if i%10 == 1 {
				p.want(exitDone, nil, "abandon", "--yes")
				p.asBefore(before)
			}
		})
	}
}

// A run that died with its values in the zone is abandoned: they go, and what another keeps there stays. The next run goes on
// with its order.
func TestAbandonWhileIssuing(t *testing.T) {
	t.Parallel()
	whole := newProcesses(t, nil, slices.Concat(quick, authority)...)
	whole.issuing(acmetest.Options{})
	at := map[provision.EventType]int{}
	for _, e := range eventsOf(t, whole.want(exitDone, nil, "--region", "ORD", "--yes", "--json").out) {
		if strings.HasPrefix(string(e.Step), "challenge/") {
			at[e.Type] = e.Seq
		}
	}
	for _, typ := range []provision.EventType{provision.StepSent, provision.StepDone} {
		t.Run(string(typ), func(t *testing.T) {
			t.Parallel()
			p := newProcesses(t, nil, slices.Concat(quick, authority)...)
			ca := p.issuing(acmetest.Options{})
			p.put("_acme-challenge.collector.dripstat.test.", "TXT", `"another's"`)
			before := p.cloud.Snapshot()
			p.killedAt(at[typ], 0, "--region", "ORD", "--yes")
			if n := len(p.challenges()["_acme-challenge.collector.dripstat.test."]); typ == provision.StepDone && n != 2 {
				t.Fatalf("%d values are there", n)
			}
			p.want(exitDone, nil, "abandon", "--yes")
			p.asBefore(before)
			n := ca.Orders()
			p.want(exitDone, nil, "--region", "ORD", "--yes")
			p.serves()
			if ca.Orders() != n || ca.Finalized() != 1 {
				t.Errorf("%d orders, then %d; %d certificates", n, ca.Orders(), ca.Finalized())
			}
		})
	}
}

// A run that is resumed where the sealed file is not says which file to bring, and goes on once it is there.
func TestResumeWithoutWhatWasSealed(t *testing.T) {
	b := newBench(t, []string{"slow-boot=2s"}, authority...) // not parallel: the signal goes to the whole process
	b.issuing(acmetest.Options{})
	b.interrupt()
	b.no(os.Rename(b.path("issued.age"), b.path("away.age")))
	b.must(exitFailed, "resume")
	if out := flat(b.err.String()); !strings.Contains(out, "it was issued for this run and sealed into issued.age on ") || !strings.Contains(out, "bring that file here, then: failover resume") {
		t.Errorf("it says\n%s", b.err.String())
	}
	b.no(os.Rename(b.path("away.age"), b.path("issued.age")))
	b.must(exitDone, "resume", "--json")
	b.serves()
}

// A CAA record that does not allow the authority is warned of, where it is: at the name or above it.
func TestCAAIsSaidBefore(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, append(slices.Clone(authority), `names = ["collector.dripstat.test"]`, `names = ["collector.dripstat.test", "*.dripstat.test"]`)...)
	b.issuing(acmetest.Options{})
	const wild, plain = `*.dripstat.test: a CAA record of dripstat.test`, `collector.dripstat.test: a CAA record of dripstat.test`
	for _, c := range []struct {
		values []string
		warns  []string
		not    []string
	}{
		{[]string{`0 issue "digicert.com"`, `0 issue "letsencrypt.org; validationmethods=dns-01"`}, []string{wild + " lets digicert.com, letsencrypt.org issue alone", plain, `0 issue "pebble.test"`}, nil},
		{[]string{`0 issue "Pebble.test; accounturi=x"`}, nil, []string{wild, plain}},
		{[]string{`0 issue "pebble.test"`, `0 issuewild ";"`}, []string{wild + " lets nobody issue"}, []string{plain}},
		{[]string{`0 iodef "mailto:a@b.c"`}, nil, []string{wild, plain}},
	} {
		b.put("dripstat.test.", "CAA", c.values...)
		from := len(b.out.String())
		b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
		out := flat(b.out.String()[from:])
		for _, w := range c.warns {
			if !strings.Contains(out, w) {
				t.Errorf("%v: it does not say %q:\n%s", c.values, w, out)
			}
		}
		for _, w := range c.not {
			if strings.Contains(out, w) {
				t.Errorf("%v: it says %q:\n%s", c.values, w, out)
			}
		}
	}
}

// What is delivered again is what is sealed, old or not: nothing is issued. What somebody else has renewed is sealed over it, and
// the former key still lets us in.
func TestDeliverWhatWasIssued(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, append(slices.Clone(authority), "seal         = secrets.issued", "seal         = secrets.issued\n    renew        = \"3650d\"")...)
	ca := b.issuing(acmetest.Options{})
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	n, old := ca.Orders(), b.presents()
	b.must(exitDone, "deliver", "--yes")
	if ca.Orders() != n || !slices.Equal(b.presents(), old) {
		t.Errorf("%d orders, then %d; %v, then %v", n, ca.Orders(), old, b.presents())
	}
	other, err := sandbox.NewCA()
	b.no(err)
	b.seal("issued.age", other)
	b.no(os.WriteFile(b.path("ca.pem"), append(ca.Root(0), other.PEM()...), 0o600))
	b.must(exitDone, "deliver", "--yes")
	if now := b.presents(); ca.Orders() != n || slices.Equal(now, old) || len(now) != 1 {
		t.Errorf("%d orders, then %d; %v, then %v", n, ca.Orders(), old, now)
	}
	b.no(os.Remove(b.path("issued.age")))
	b.must(exitRefused, "deliver", "--yes")
	if out := flat(b.err.String()); !strings.Contains(out, "nothing that was issued is sealed here") {
		t.Errorf("it says\n%s", out)
	}
}

// An authority elsewhere is not asked by a rehearsal.
func TestRehearsalDoesNotAskAnAuthority(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, append(slices.Clone(authority), "from  = secrets.le", "from  = [secrets.le, secrets.sandbox]")...)
	b.env["FAILOVER_VAR_directory"] = "https://acme.example.com/directory"
	began := time.Now()
	b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
	if out := flat(b.out.String()); !strings.Contains(out, "cannot see the sandbox's DNS") || !strings.Contains(out, "from secrets.sandbox") || time.Since(began) > 4*time.Second {
		t.Errorf("it says\n%s", b.out.String())
	}
}

// The key that is made for a certificate that is issued, and the account's, are in nothing that is sent, to the authority
// either, printed, or written but sealed.
func TestIssuedKeyLeavesOnlyOverSSH(t *testing.T) {
	if apart(t) {
		return
	}
	tmp := t.TempDir() // not parallel: the environment is the process's
	for _, k := range []string{"TMPDIR", "HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(k, tmp)
	}
	b := newBench(t, nil, authority...)
	ca := b.issuing(acmetest.Options{})
	var mu sync.Mutex
	var sent [][]byte
	ca.Instead = func(_ http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		b.no(err)
		r.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, append([]byte(r.URL.String()+"\n"), body...))
		return false
	}
	b.no(os.Remove(b.path("secrets.age")))
	b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	b.must(exitDone, "status", "--json")
	sealed := b.site().stores["issued"].(secrets.Sealed)
	c, err := sealed.Certificate(t.Context(), "edge")
	b.no(err)
	keys := secretsOf(t, c.Key().Bytes())
	account, err := sealed.Item(t.Context(), "acme account "+ca.Directory)
	b.no(err)
	keys.forms("account", account.Bytes())
	if len(keys) < 15 || len(account.Bytes()) < 100 || len(sent) < 10 {
		t.Fatalf("%d forms are looked for, in %d requests", len(keys), len(sent))
	}
	b.sweep(keys, tmp, nil, 1)
	lines := strings.Split(strings.TrimSpace(string(c.Key().Bytes())), "\n")
	delete(keys, "PEM line "+lines[len(lines)-2][:4]) // the last of a P-256 key is of its public half (RFC 5915), which a request for a certificate holds
	if len(keys) < 14 {
		t.Fatalf("only %d forms are left", len(keys))
	}
	for _, s := range sent {
		for _, hit := range keys.in(s, 2) {
			t.Errorf("a request to the authority holds a private key (%s)", hit)
		}
	}
	for _, s := range b.cloud.Snapshot().Servers {
		if got, _, _, err := b.cloud.ReadFile(s.ID, "/run/failover/tls/edge.pem"); err != nil || len(keys.in(got, 0)) == 0 {
			t.Errorf("%s has no key: %v", s.Name, err)
		}
	}
}
