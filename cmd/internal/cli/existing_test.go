package cli

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision/sandbox"
)

// The home server's address on the network inside the region: nothing answers there any more.
const deadMember = "10.181.4.7"

// existing is a bench whose servers go into a load balancer that ORD had before.
func existing(t *testing.T, faults []string, which string, edits ...string) *bench {
	t.Helper()
	edits = append([]string{"  cloud     = cloud.rax\n  members ", "  cloud     = cloud.rax\n  existing  = " + which + "\n  members "}, edits...)
	return cloudBalanced(t, sandbox.Options{Standing: []sandbox.Standing{
		{Region: "ORD", Name: "shop-edge", Members: []string{deadMember + ":8080"}},
		{Region: "ORD", Name: "other", Members: []string{"10.181.9.9:80"}},
		{Region: "ORD", Name: "other"},
	}}, faults, edits...)
}

// joined fails unless the servers of the run, and nobody else, serve behind the load balancer that was there, and the name leads to it.
func (b *bench) joined() {
	t := b.t
	t.Helper()
	s := b.cloud.Snapshot()
	s.Balancers = slices.DeleteFunc(s.Balancers, func(x sandbox.BalancerState) bool { return x.Region != "ORD" })
	if len(s.Balancers) != 3 || len(s.Servers) != 2 {
		t.Fatalf("%d load balancers, %d servers", len(s.Balancers), len(s.Servers))
	}
	x := s.Balancers[0]
	if len(x.Members) != 3 || !slices.Equal(x.Idle, []string{deadMember + ":8080"}) || x.Status != "ACTIVE" {
		t.Errorf("%+v", x)
	}
	if !slices.ContainsFunc(s.Served, func(r sandbox.RRset) bool {
		return r.Name == "www.example.com." && r.Type == "A" && slices.Equal(r.Values, []string{x.Address})
	}) {
		t.Errorf("the name does not give %s: %+v", x.Address, s.Served)
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
	if res := b.ask("http://www.example.com/health", x.Address); res.StatusCode != 200 {
		t.Errorf("plain HTTP, which it answered before: %d", res.StatusCode)
	}
}

// Servers take the place of a dead member in a load balancer that is there; and leave it as it was.
func TestExistingBalancer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		which  string
		faults []string
	}{
		"by the dead member":   {`{ member = "` + deadMember + `" }`, nil},
		"by name and member":   {`{ name = "shop-edge", member = "` + deadMember + `" }`, []string{"part-reply-lost=6", "balancer-busy=3"}},
		"with lost requests":   {`{ member = "` + deadMember + `" }`, []string{"rate-limit=9", "empty-body=4", "reply-lost"}},
		"with a lost key":      {`{ member = "` + deadMember + `" }`, []string{"store-reply-lost"}},
		"the region is dark":   {`{ member = "` + deadMember + `" }`, []string{"region-dark=IAD:hang"}},
		"more than are wanted": {`{ member = "` + deadMember + `" }`, []string{"slow-boot=3s:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var edits []string
			if name == "more than are wanted" {
				edits = []string{`  # need = 1 `, "  need = 1\n  hedge  = 1\n  #"}
			}
			b := existing(t, tt.faults, tt.which, edits...)
			before := b.cloud.Snapshot()
			b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--dry-run")
			if n := b.cloud.Writes(); n != 0 {
				t.Errorf("a dry run sent %d writing requests", n)
			}
			b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes")
			b.joined()
			b.must(exitDone, "abandon", "--yes")
			b.asBefore(before)
		})
	}
}

// Without a dead member nobody's traffic is stopped: those that were members go on beside the new ones.
func TestExistingBalancerByName(t *testing.T) {
	t.Parallel()
	b := existing(t, nil, `"shop-edge"`)
	before := b.cloud.Snapshot()
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes")
	if x := b.cloud.Snapshot().Balancers[0]; len(x.Members) != 3 || len(x.Idle) != 0 {
		t.Errorf("%+v", x)
	}
	if text := strings.Join(strings.Fields(b.out.String()+b.err.String()), " "); !strings.Contains(text, "has 1 member that stays as it is") {
		t.Errorf("%s", text)
	}
	b.must(exitDone, "abandon", "--yes")
	b.asBefore(before)
}

// What it had of TLS is replaced, with a warning; the same certificate is not sent again.
func TestExistingBalancerWithTLS(t *testing.T) {
	t.Parallel()
	b := existing(t, nil, `"shop-edge"`)
	before := b.cloud.Snapshot()
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes", "--json")
	first := string(b.events()[0].Run)
	sent := func() (n int) {
		for _, r := range b.cloud.Requests() {
			if r.Method == "PUT" && strings.HasSuffix(r.Path, "/ssltermination") {
				n++
			}
		}
		return n
	}
	if n := sent(); n != 1 {
		t.Fatalf("%d certificates were sent", n)
	}
	middle := b.cloud.Snapshot()
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes") // beside the first
	if n := sent(); n != 1 {
		t.Errorf("%d certificates were sent: the second was there already", n)
	}
	b.must(exitDone, "abandon", "--yes")
	b.asBefore(middle)

	want := b.renewKeyed("www.example.com", (*sandbox.CA).IssueRSA)
	b.must(exitDone, "deliver", first, "--yes")
	if got := b.atVIP("www.example.com"); got != want {
		t.Errorf("it presents %s, want %s", got, want)
	}
	b.renewKeyed("www.example.com", (*sandbox.CA).IssueRSA)
	b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--dry-run")
	if text := strings.Join(strings.Fields(b.out.String()+b.err.String()), " "); !strings.Contains(text, "it is replaced, and failover abandon cannot bring it back") {
		t.Errorf("%s", text)
	}
	b.must(exitDone, "abandon", first, "--yes") // there was none before the first run, whose certificate was renewed since
	b.asBefore(before)
}

// Two runs at the same one, undone in either order: the one that serves keeps the name, the certificate and the traffic, though the other brought or
// stopped them; and in the end everything is as it was before both.
func TestExistingBalancerTwice(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		which string
		first bool // is undone first
	}{
		"by name, the first one first":            {`"shop-edge"`, true},
		"by name, the second one first":           {`"shop-edge"`, false},
		"by the dead member, the first one first": {`{ member = "` + deadMember + `" }`, true},
		"by the dead member, the second first":    {`{ member = "` + deadMember + `" }`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := existing(t, nil, tt.which)
			before := b.cloud.Snapshot()
			var runs [2]string
			for i := range runs {
				b.must(exitDone, "--region", "ORD", "--sandbox=rackspace", "--yes", "--json")
				events := b.events()
				runs[i] = string(events[len(events)-1].Run)
			}
			if tt.first {
				slices.Reverse(runs[:])
			}
			b.must(exitDone, "abandon", runs[1], "--yes")
			x := b.cloud.Snapshot().Balancers[0]
			idle := 0
			if strings.Contains(tt.which, "member") {
				idle = 1
			}
			if len(x.Members) != 3 || len(x.Idle) != idle || !slices.Equal(x.Listen, []int{443, 80}) {
				t.Errorf("%+v", x)
			}
			if set := b.cloud.Snapshot().Served; !slices.ContainsFunc(set, func(r sandbox.RRset) bool { return slices.Contains(r.Values, x.Address) }) {
				t.Errorf("the name was taken from the run that serves: %+v", set)
			}
			b.must(exitDone, "abandon", runs[0], "--yes")
			b.asBefore(before)
		})
	}
}

// What cannot be meant, or cannot serve, is refused before anything is made.
func TestExistingBalancerRefused(t *testing.T) {
	t.Parallel()
	for which, says := range map[string]string{
		`"nobody"`:                  `ORD has no load balancer named "nobody"`,
		`"other"`:                   `ORD has 2 load balancers named "other"`,
		`{ member = "10.181.4.8" }`: `ORD has no load balancer with a member at 10.181.4.8`,
		`{ name = "shop-edge", member = "10.181.4.8" }`: `has no member at 10.181.4.8`,
	} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			b := existing(t, nil, which)
			b.must(exitRefused, "--region", "ORD", "--sandbox=rackspace", "--yes")
			if text := strings.Join(strings.Fields(b.out.String()+b.err.String()), " "); !strings.Contains(text, says) {
				t.Errorf("it does not say %q:\n%s", says, text)
			}
			if n := b.cloud.Writes(); n != 0 {
				t.Errorf("%d writing requests", n)
			}
		})
	}
}

// The process is killed around each change; another goes on, or leaves the load balancer as it was, with its journal or without.
func TestExistingBalancerKilled(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) *processes {
		return (&processes{bench: existing(t, nil, `{ member = "`+deadMember+`" }`, `service = "shop"`, "variable \"ns\" {\n  default = \"127.0.0.1:1\"\n}\nservice = \"shop\"",
			`zone = "example.com"`, "zone = \"example.com\"\n  name_servers = [var.ns]")}).serve()
	}
	whole := start(t)
	r := whole.want(exitDone, nil, "--region", "ORD", "--yes", "--json")
	whole.joined()
	at := map[string]int{}
	for _, e := range eventsOf(t, r.out) {
		if name := string(e.Kind) + " " + string(e.Type); strings.HasPrefix(name, "cloudbalancer.") && at[name] == 0 && e.Seq > 0 {
			at[name] = e.Seq
		}
	}
	if len(at) < 12 {
		t.Fatalf("only %v", at)
	}
	for name, seq := range at {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			before := p.cloud.Snapshot()
			p.killedAt(seq, time.Duration(seq%3)*3*time.Millisecond, "--region", "ORD", "--yes")
			// What nobody knows is not put back: whether there was a certificate before, and what traffic the dead member had.
			left := func() {
				if s := p.cloud.Snapshot(); len(s.Servers) > 0 || !slices.Equal(s.Balancers[0].Members, []string{deadMember + ":8080"}) {
					t.Errorf("%d servers, members %v", len(s.Servers), s.Balancers[0].Members)
				}
			}
			time.Sleep(300 * time.Millisecond) // what was on its way has arrived
			switch tagged := len(p.cloud.Snapshot().Servers) > 0; {
			case !tagged && (seq%4 == 0 || seq%4 == 3): // a load balancer that is there carries no run: nothing is found by it
				p.lose()
				p.want(exitUsage, nil, "abandon", "--adopt", "--region", "ORD", "--yes")
			case seq%4 == 0: // its journal is lost as well
				p.lose()
				p.want(exitDone, nil, "resume", "--adopt", "--region", "ORD", "--yes")
				p.joined()
				p.want(exitDone, nil, "abandon", "--yes")
				left()
			case seq%4 == 3:
				p.lose()
				p.want(exitDone, nil, "abandon", "--adopt", "--region", "ORD", "--yes")
				left()
			case seq%4 == 1:
				p.want(exitDone, nil, "resume")
				p.joined()
				p.want(exitDone, nil, "abandon", "--yes")
				p.asBefore(before)
			default:
				p.want(exitDone, nil, "abandon", "--yes")
				p.asBefore(before)
			}
		})
	}
}
