package sandbox

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/recordsets"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	"github.com/miekg/dns"
)

func TestParseFault(t *testing.T) {
	for _, h := range Faults() {
		name, _, _ := strings.Cut(strings.ReplaceAll(h.Name, "[", "="), "=")
		s := name
		switch name {
		case "slow-boot", "dns-lag", "balancer-slow", "dns-job-slow":
			s += "=2s"
		case "api-500", "empty-body":
			s += "=4"
		}
		f, err := ParseFault(s)
		if err != nil || f.Name != name || f.String() != s || h.Help == "" {
			t.Errorf("%s: %v %v", s, f, err)
		}
	}
	for s, words := range map[string]string{
		"nonsense":           `no fault is called "nonsense"; there are: no-valid-host, boot-error`,
		"slow-boot":          "slow-boot: time: invalid duration",
		"slow-boot=-1s":      "above zero",
		"rate-limit=0":       "at least 1",
		"no-valid-host=0":    "at least 1",
		"api-500":            "say every how many",
		"region-dark=IAD:no": ":refuse or :hang",
	} {
		if _, err := ParseFault(s); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if _, err := Start(t.Context(), Options{Faults: []Fault{{"region-dark", "MARS"}}}); err == nil || !strings.Contains(err.Error(), "no region MARS, only IAD, ORD") {
		t.Error(err)
	}
}

func TestNoValidHost(t *testing.T) {
	c := start(t, fast(), "no-valid-host=m1.medium")
	cl := connect(t, c, "ORD")
	o := cl.opts("a")
	if s := cl.wait(cl.create(o, "").ID, "ACTIVE"); s.Fault.Message != "" {
		t.Error(s.Fault)
	}
	o.FlavorRef = cl.flavor("m1.medium")
	s := cl.wait(cl.create(o, "").ID, "ERROR")
	if s.Fault.Message != noValidHost || s.Fault.Code != 500 || len(s.Addresses) != 0 || s.VmState != "error" {
		t.Errorf("%+v", s)
	}
	if err := servers.Delete(t.Context(), cl.nova, s.ID).ExtractErr(); err != nil {
		t.Error(err)
	}

	c = start(t, fast(), "no-valid-host")
	cl = connect(t, c, "ORD")
	o = cl.opts("b")
	for range 2 { // the first flavor tried is full, however often
		cl.wait(cl.create(o, "").ID, "ERROR")
	}
	o.FlavorRef = cl.flavor("m1.medium")
	cl.wait(cl.create(o, "").ID, "ACTIVE")

	c = start(t, fast(), "no-valid-host=1")
	cl = connect(t, c, "ORD")
	cl.wait(cl.create(cl.opts("c"), "").ID, "ERROR")
	cl.wait(cl.create(cl.opts("d"), "").ID, "ACTIVE")
}

func TestBootError(t *testing.T) {
	c := start(t, fast(), "boot-error")
	cl := connect(t, c, "ORD")
	first, second := cl.create(cl.opts("a"), ""), cl.create(cl.opts("b"), "")
	if s := cl.get(first.ID); s.Status != "BUILD" {
		t.Error(s.Status)
	}
	s := cl.wait(first.ID, "ERROR")
	if !strings.Contains(s.Fault.Message, "Exhausted all hosts available") || cl.console(s.ID) != "" {
		t.Errorf("%+v", s.Fault)
	}
	cl.wait(second.ID, "ACTIVE")
}

func TestReplyLost(t *testing.T) {
	c := start(t, fast(), "reply-lost")
	cl := connect(t, c, "ORD")
	_, err := cl.try(cl.opts("a"), "")
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset connection", err)
	}
	r := c.Requests()
	if last := r[len(r)-1]; last.Status != 202 || last.Method != "POST" || last.Service != "nova" || last.Region != "ORD" || c.Writes() != 1 {
		t.Errorf("%+v", last)
	}
	if l := c.Snapshot().Servers; len(l) != 1 || l[0].Tags[1] != "run-1" {
		t.Errorf("the server was not made: %+v", l)
	}
	cl.create(cl.opts("b"), "")
}

func TestRateLimitAndErrors(t *testing.T) {
	c := start(t, fast())
	cl := connect(t, c, "ORD")
	if err := c.SetFault(Fault{"rate-limit", "2"}); err != nil {
		t.Fatal(err)
	}
	var last error
	n := 0
	for range 6 {
		_, err := cl.nova.Get(t.Context(), cl.nova.ServiceURL("limits"), new(any), nil)
		if err != nil {
			n, last = n+1, err
		}
	}
	code(t, last, 429, `"retryAfter":"1"`)
	var e gophercloud.ErrUnexpectedResponseCode
	if n != 3 || !errors.As(last, &e) || e.ResponseHeader.Get("Retry-After") != "1" {
		t.Error(n, e.ResponseHeader)
	}
	c.ClearFaults()
	c.SetFault(Fault{"api-500", "1"})
	_, err := cl.nova.Get(t.Context(), cl.nova.ServiceURL("limits"), new(any), nil)
	code(t, err, 500, `"computeFault"`)
	c.ClearFaults()
	cl.create(cl.opts("a"), "")
}

func TestSlowBoot(t *testing.T) {
	c := start(t, fast(), "slow-boot=1h")
	cl := connect(t, c, "ORD")
	s := cl.create(cl.opts("a"), "")
	time.Sleep(100 * time.Millisecond)
	if got := cl.get(s.ID); got.Status != "BUILD" {
		t.Error(got.Status)
	}
}

func TestWrongHostKey(t *testing.T) {
	c := start(t, fast(), "key-mismatch")
	cl := connect(t, c, "ORD")
	key := cl.key("k")
	for i, want := range []error{errHostKey, nil} {
		s := cl.wait(cl.create(cl.opts("a"), "k").ID, "ACTIVE")
		known := cl.hostKeys(s.ID)
		sc, err := sshTo(t, c.Dial, addr(s, "public"), "debian", key, known)
		if want == nil && err != nil || want != nil && (err == nil || !strings.Contains(err.Error(), want.Error())) {
			t.Errorf("server %d: %v, want %v", i, err, want)
		}
		if err == nil {
			sc.Close()
		}
	}
}

func (cl *client) change(value string) {
	cl.t.Helper()
	rs := cl.rrset("collector.dripstat.test.", "A")
	_, err := recordsets.Update(cl.t.Context(), cl.designate, cl.zone().ID, rs.ID, recordsets.UpdateOpts{Records: []string{value}}).Extract()
	if err != nil {
		cl.t.Fatal(err)
	}
}

func TestDNSFaults(t *testing.T) {
	const name = "collector.dripstat.test."
	c := start(t, fast(), "dns-pending")
	cl := connect(t, c, "ORD")
	served := func() string { return answers(query(t, c, "udp", name, dns.TypeA)) }
	cl.change("127.1.1.1")
	time.Sleep(120 * time.Millisecond)
	if rs := cl.rrset(name, "A"); rs.Status != "PENDING" || served() != "300 203.0.113.10" {
		t.Error(rs.Status, served())
	}
	c.ClearFaults()
	cl.until("unstuck", func() bool { return served() == "300 127.1.1.1" && cl.rrset(name, "A").Status == "ACTIVE" })

	// A newer change that gets through is not undone by an older one that did not.
	c.SetFault(Fault{"dns-pending", ""})
	cl.change("127.1.1.2")
	c.mu.Lock()
	clear(c.faults)
	c.mu.Unlock()
	cl.change("127.1.1.3")
	cl.until("the newer", func() bool { return served() == "300 127.1.1.3" })
	c.ClearFaults()
	time.Sleep(80 * time.Millisecond)
	if served() != "300 127.1.1.3" {
		t.Error(served())
	}

	c.SetFault(Fault{"dns-pending", "150ms"})
	cl.change("127.1.1.4")
	time.Sleep(80 * time.Millisecond)
	if s := cl.rrset(name, "A").Status; s != "PENDING" {
		t.Error(s)
	}
	cl.until("the end of the wait", func() bool { return served() == "300 127.1.1.4" })

	c.ClearFaults()
	c.SetFault(Fault{"dns-lag", "1h"})
	cl.change("127.1.1.5")
	cl.until("ACTIVE", func() bool { return cl.rrset(name, "A").Status == "ACTIVE" })
	if served() != "300 127.1.1.4" {
		t.Error("no lag:", served())
	}
	c.ClearFaults()
	if rs := cl.rrset(name, "A"); rs.Status != "ACTIVE" {
		t.Error("clearing a lag made it", rs.Status)
	}
	cl.until("caught up", func() bool { return served() == "300 127.1.1.5" })
}

func TestRegionDark(t *testing.T) {
	c := start(t, fast())
	iad, ord := connect(t, c, "IAD"), connect(t, c, "ORD")
	s := iad.wait(iad.create(iad.opts("a"), "").ID, "ACTIVE")
	iad.hostKeys(s.ID)
	ip := addr(s, "public")
	try := func(region string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		r, err := http.DefaultClient.Do(must[*http.Request](t)(http.NewRequestWithContext(ctx, "GET", c.url("nova", region)+"/", nil)))
		if err == nil {
			r.Body.Close()
		}
		return err
	}
	dial := func(a string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		conn, err := c.Dial(ctx, "tcp", a)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dial("203.0.113.10:443"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error("home server:", err)
	}
	for _, tt := range []struct {
		fault string
		want  error
	}{{"region-dark", syscall.ECONNREFUSED}, {"region-dark=IAD:refuse", syscall.ECONNREFUSED}, {"region-dark=IAD:hang", context.DeadlineExceeded}} {
		f, _ := ParseFault(tt.fault)
		if err := c.SetFault(f); err != nil {
			t.Fatal(err)
		}
		if err := try("IAD"); !errors.Is(err, tt.want) {
			t.Errorf("%s: the API: %v", tt.fault, err)
		}
		for _, a := range []string{ip + ":22", "203.0.113.10:443"} {
			if err := dial(a); !errors.Is(err, tt.want) {
				t.Errorf("%s: %s: %v", tt.fault, a, err)
			}
		}
		if err := try("ORD"); err != nil {
			t.Error("ORD:", err)
		}
		if _, err := zones.List(ord.designate, nil).AllPages(t.Context()); err != nil {
			t.Error("designate is no part of a region:", err)
		}
		login(t, c)
		c.ClearFaults()
		if err := errors.Join(try("IAD"), dial(ip+":22")); err != nil {
			t.Errorf("%s: not back: %v", tt.fault, err)
		}
	}
}

func TestLatency(t *testing.T) {
	o := fast()
	o.Latency = 50 * time.Millisecond
	c := start(t, o)
	begin := time.Now()
	login(t, c)
	if d := time.Since(begin); d < o.Latency {
		t.Error(d)
	}
}
