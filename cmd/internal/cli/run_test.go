package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
)

func TestDryRunSendsNoWritingRequest(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, rich...)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
	if n := b.cloud.Writes(); n != 0 {
		t.Errorf("a dry run sent %d writing requests", n)
	}
	if len(b.cloud.Requests()) < 5 {
		t.Errorf("only %d requests: preflight cannot have read the cloud", len(b.cloud.Requests()))
	}
	if !strings.Contains(b.out.String(), "Nothing was changed.") {
		t.Errorf("it does not say so:\n%s", b.out.String())
	}
	if _, err := os.Stat(b.path("state")); err == nil {
		t.Error("a dry run wrote a journal")
	}
}

// What a dry run prints is the very value that the run performs, but for the run's own id.
func TestDryRunShowsTheGraphThatRuns(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, rich...)
	b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run", "--json")
	list := b.events()
	if last := list[len(list)-1]; last.Type != provision.Planned {
		t.Errorf("the last event is %q", last.Type)
	}
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	want, got := b.graphOf(provision.Planned), b.graphOf(provision.RunStarted)
	if d := cmp.Diff(normal(t, want), normal(t, got)); d != "" {
		t.Errorf("dry run and run differ (-dry +run):\n%s", d)
	}
	done := map[provision.StepID]bool{}
	for _, e := range b.events() {
		if e.Type == provision.StepDone {
			done[e.Step] = true
		}
	}
	for _, s := range want.Steps {
		if !done[s.ID] {
			t.Errorf("step %s of the dry run was not done by the run", s.ID)
		}
	}
	if len(done) != len(want.Steps) {
		t.Errorf("the run did %d steps, the dry run showed %d", len(done), len(want.Steps))
	}
}

var ulids = regexp.MustCompile(`(?i)\b01[0-9a-hjkmnp-tv-z]{24}\b`)

// normal is a graph as text, without the run's id.
func normal(t *testing.T, g provision.Graph) string {
	t.Helper()
	b, err := json.MarshalIndent(g, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	out := ulids.ReplaceAllString(string(b), "RUN")
	if out == string(b) {
		t.Fatal("no run id was found in the graph")
	}
	return out
}

// No call to the region that is being left is awaited.
func TestRunTakesNoLongerWhileHomeHangs(t *testing.T) {
	t.Parallel()
	alive, dark := newBench(t, nil), newBench(t, []string{"region-dark=IAD:hang"})
	took := func(b *bench) <-chan time.Duration {
		c := make(chan time.Duration, 1)
		go func() {
			began := time.Now()
			if code := b.do("--region", "ORD", "--sandbox", "--yes"); code != exitDone {
				t.Errorf("exit %d\n%s", code, b.err.String())
			}
			c <- time.Since(began)
		}()
		return c
	}
	// Side by side, so that both see the same load of this machine; who waits for a region that hangs waits for 3 s at least, each time.
	a, d := took(alive), took(dark)
	ta, td := <-a, <-d
	if td > ta+time.Second+ta/2 {
		t.Errorf("with home hanging the run took %s, with it alive %s", td, ta)
	}
	for _, r := range dark.cloud.Requests() {
		if r.Region == "IAD" {
			t.Errorf("the home region was asked: %s %s", r.Method, r.Path)
		}
	}
}

// A create whose reply was lost is looked for by its tag: there is never a second server in a slot.
func TestLostReplyMakesNoSecondServer(t *testing.T) {
	t.Parallel()
	b := newBench(t, []string{"reply-lost=2"})
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	slots := map[string]int{}
	for _, s := range b.cloud.Snapshot().Servers {
		slots[s.Metadata[provision.TagSlot]]++
	}
	if d := cmp.Diff(map[string]int{"collector-1": 1, "collector-2": 1}, slots); d != "" {
		t.Errorf("servers by slot (-want +got):\n%s", d)
	}
	creates := 0
	for _, r := range b.cloud.Requests() {
		if r.Service == "nova" && r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/servers") {
			creates++
		}
	}
	if creates != 2 {
		t.Errorf("%d requests to create a server were sent, want 2", creates)
	}
}

func TestRunClosesPort22AndLeavesOnlyWhatItSays(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	before := b.cloud.Snapshot()
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
	var ports []string
	for _, r := range b.rules("ORD") {
		if r.Direction == "ingress" && r.RemoteGroup == "" {
			ports = append(ports, r.Ethertype+" "+r.Protocol+" "+string(r.Min))
		}
	}
	slices.Sort(ports)
	want := []string{"IPv4 tcp 443", "IPv4 tcp 80", "IPv6 tcp 443", "IPv6 tcp 80"}
	if d := cmp.Diff(want, ports); d != "" {
		t.Errorf("rules that let in (-want +got):\n%s", d)
	}
	opened := slices.ContainsFunc(b.cloud.Requests(), func(r sandbox.Request) bool {
		return strings.Contains(r.Path, "security-group-rules") && bytes.Contains(r.Body, []byte(`"port_range_min":22`))
	})
	if !opened {
		t.Error("port 22 was never open: this test proves nothing")
	}
	after := b.cloud.Snapshot()
	count := func(s sandbox.Snapshot) map[string]int {
		return map[string]int{"servers": len(s.Servers), "ports": len(s.Ports), "keypairs": len(s.KeyPairs), "groups": len(s.SecurityGroups),
			"server groups": len(s.ServerGroups), "floating": len(s.FloatingIPs), "volumes": len(s.Volumes), "records": len(s.Designate)}
	}
	was := count(before)
	was["servers"] += 2
	was["ports"] += 2
	was["keypairs"]++
	was["groups"]++
	if d := cmp.Diff(was, count(after)); d != "" {
		t.Errorf("what is there after the run (-want +got):\n%s", d)
	}
	for _, s := range after.Servers {
		if s.Region != "ORD" || s.Status != "ACTIVE" || s.Metadata[provision.TagRun] == "" || s.Metadata[provision.TagService] != "dripstat" {
			t.Errorf("server without its tags, or elsewhere: %+v", s)
		}
	}
}

type rule struct {
	Direction   string      `json:"direction"`
	Protocol    string      `json:"protocol"`
	Min         json.Number `json:"port_range_min"`
	Ethertype   string      `json:"ethertype"`
	RemoteGroup string      `json:"remote_group_id"`
}

// rules reads a region's security group rules through the API, as an auditor would.
func (b *bench) rules(region string) []rule {
	b.t.Helper()
	id, secret := b.cloud.ApplicationCredential()
	body := `{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"id":"` + id + `","secret":"` + secret + `"}}}}`
	res, err := http.Post(b.cloud.AuthURL()+"/auth/tokens", "application/json", strings.NewReader(body))
	b.no(err)
	defer res.Body.Close()
	var tok struct {
		Token struct {
			Catalog []struct {
				Type      string
				Endpoints []struct{ Region, Interface, URL string }
			}
		}
	}
	b.no(json.NewDecoder(res.Body).Decode(&tok))
	for _, s := range tok.Token.Catalog {
		for _, e := range s.Endpoints {
			if s.Type != "network" || e.Region != region || e.Interface != "public" {
				continue
			}
			req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, strings.TrimSuffix(strings.TrimSuffix(e.URL, "/"), "/v2.0")+"/v2.0/security-group-rules", nil)
			b.no(err)
			req.Header.Set("X-Auth-Token", res.Header.Get("X-Subject-Token"))
			r, err := http.DefaultClient.Do(req)
			b.no(err)
			defer r.Body.Close()
			text, err := io.ReadAll(r.Body)
			b.no(err)
			var out struct {
				Rules []rule `json:"security_group_rules"`
			}
			if err := json.Unmarshal(text, &out); err != nil || len(out.Rules) == 0 {
				b.t.Fatalf("rules of %s: %v: %s", region, err, text)
			}
			return out.Rules
		}
	}
	b.t.Fatalf("the catalog has no network endpoint in %s", region)
	return nil
}

// world is a snapshot without what may differ: serials.
func world(s sandbox.Snapshot) sandbox.Snapshot {
	soa := func(r sandbox.RRset) bool { return r.Type == "SOA" }
	s.Designate, s.Served = slices.DeleteFunc(slices.Clone(s.Designate), soa), slices.DeleteFunc(slices.Clone(s.Served), soa)
	return s
}

func TestAbandonLeavesTheWorldAsItWas(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		faults []string
		edits  []string
		code   int
	}{
		{"after a run that was done", nil, rich, exitDone},
		{"after one that failed", []string{"wrong-host-key=1"}, rich, exitFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, tt.faults, tt.edits...)
			before := b.cloud.Snapshot()
			b.must(tt.code, "--region", "ORD", "--sandbox", "--yes")
			if n := len(b.cloud.Snapshot().Servers); n != 2 {
				t.Fatalf("%d servers after the run", n)
			}
			b.must(exitUsage, "abandon") // nobody to ask
			b.must(exitDone, "abandon", "--dry-run")
			if n := len(b.cloud.Snapshot().Servers); n != 2 {
				t.Fatalf("%d servers after a dry run of abandon", n)
			}
			b.must(exitDone, "abandon", "--yes")
			deadline := time.Now().Add(5 * time.Second) // the name server follows designate
			for {
				d := cmp.Diff(world(before), world(b.cloud.Snapshot()))
				if d == "" {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("abandon left something (-before +after):\n%s\n%s", d, b.err.String())
				}
				time.Sleep(20 * time.Millisecond)
			}
			if code := b.do("status", "01"); code != exitUsage || !strings.Contains(b.err.String(), "2 runs begin with 01") {
				t.Errorf("a beginning that two runs have: exit %d\n%s", code, b.err.String())
			}
		})
	}
}

// ^C stops safely: exit 4, the line to type next, and resume finishes the work.
func TestInterruptedRunIsResumed(t *testing.T) {
	b := newBench(t, []string{"slow-boot=2s"}) // not parallel: the signal goes to the whole process
	code := make(chan int)
	go func() { code <- b.do("--region", "ORD", "--sandbox", "--yes") }()
	deadline := time.Now().Add(20 * time.Second)
	for len(b.cloud.Snapshot().Servers) < 2 {
		if time.Now().After(deadline) {
			t.Fatalf("no servers\n%s", b.err.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.no(syscall.Kill(os.Getpid(), syscall.SIGINT))
	if got := <-code; got != exitStopped {
		t.Fatalf("exit %d, want %d\n%s", got, exitStopped, b.err.String())
	}
	m := regexp.MustCompile(`failover resume (\w+)`).FindStringSubmatch(b.err.String())
	if m == nil {
		t.Fatalf("no resume line:\n%s", b.err.String())
	}
	if rr := b.served(); rr.Values[0] != homeAddress {
		t.Errorf("the name was moved by a stopped run: %v", rr.Values)
	}
	b.must(exitDone, "resume", m[1])
	s := b.cloud.Snapshot()
	var want []string
	for _, v := range s.Servers {
		want = append(want, v.Addresses...)
	}
	slices.Sort(want)
	if len(want) != 2 || !slices.Equal(want, b.served().Values) {
		t.Errorf("the name gives %v, the servers are at %v", b.served().Values, want)
	}
	b.must(exitUsage, "resume", m[1]) // it is done
	b.must(exitDone, "runs")
	b.must(exitDone, "status", m[1])
	if out := b.out.String(); !strings.Contains(out, "done") || !strings.Contains(out, "collector.dripstat.test serves from ORD") {
		t.Errorf("runs and status:\n%s", out)
	}
}

// served is what the name server answers for the name.
func (b *bench) served() sandbox.RRset {
	b.t.Helper()
	for _, r := range b.cloud.Snapshot().Served {
		if r.Name == "collector.dripstat.test." && r.Type == "A" {
			slices.Sort(r.Values)
			return r
		}
	}
	b.t.Fatal("the name is not served")
	return sandbox.RRset{}
}
