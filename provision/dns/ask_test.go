package dns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/dripstat/failover/provision"
)

// nameServer answers by UDP and TCP on one port of loopback.
func nameServer(t *testing.T, h func(network string, w dns.ResponseWriter, r *dns.Msg)) string {
	t.Helper()
	for range 20 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil { // someone else has that port
			_ = pc.Close()
			continue
		}
		for network, s := range map[string]*dns.Server{"udp": {PacketConn: pc}, "tcp": {Listener: ln}} {
			up := make(chan struct{})
			s.NotifyStartedFunc = func() { close(up) }
			s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) { h(network, w, r) })
			done := make(chan struct{})
			go func() { defer close(done); _ = s.ActivateAndServe() }()
			<-up
			t.Cleanup(func() { _ = s.Shutdown(); <-done })
		}
		return ln.Addr().String()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return ""
}

// answer replies with records and a code.
func answer(w dns.ResponseWriter, r *dns.Msg, code int, rrs ...string) {
	m := new(dns.Msg)
	m.SetRcode(r, code)
	for _, s := range rrs {
		rr, err := dns.NewRR(s)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	_ = w.WriteMsg(m)
}

func TestAsk(t *testing.T) {
	var tcp atomic.Int64
	server := nameServer(t, func(network string, w dns.ResponseWriter, r *dns.Msg) {
		if network == "tcp" {
			tcp.Add(1)
		}
		if r.RecursionDesired {
			t.Error("an authoritative server is asked to recurse")
		}
		switch r.Question[0].Name {
		case "two.shop.test.":
			answer(w, r, dns.RcodeSuccess, "two.shop.test. 300 A 203.0.113.9", "two.shop.test. 60 A 203.0.113.10", "two.shop.test. 60 A 203.0.113.9", "other.shop.test. 1 A 203.0.113.1")
		case "case.shop.test.":
			answer(w, r, dns.RcodeSuccess, "CASE.shop.test. 60 A 203.0.113.9")
		case "alias.shop.test.":
			answer(w, r, dns.RcodeSuccess, "alias.shop.test. 60 CNAME Two.shop.test.", "two.shop.test. 60 A 203.0.113.9")
		case "six.shop.test.":
			answer(w, r, dns.RcodeSuccess, "six.shop.test. 60 AAAA 2001:DB8::0001")
		case "none.shop.test.":
			answer(w, r, dns.RcodeNameError)
		case "empty.shop.test.":
			answer(w, r, dns.RcodeSuccess)
		case "refused.shop.test.":
			answer(w, r, dns.RcodeRefused)
		case "broken.shop.test.":
			answer(w, r, dns.RcodeServerFailure)
		case "long.shop.test.":
			m := new(dns.Msg)
			m.SetReply(r)
			if network == "udp" {
				m.Truncated = true
			} else {
				for i := range 200 {
					rr, _ := dns.NewRR(fmt.Sprintf("long.shop.test. 60 A 203.0.113.%d", i))
					m.Answer = append(m.Answer, rr)
				}
			}
			_ = w.WriteMsg(m)
		}
	})
	for _, tt := range []struct {
		name, typ string
		ttl       int
		values    []string
		err       string
	}{
		{"two.shop.test.", "A", 60, []string{"203.0.113.10", "203.0.113.9"}, ""},
		{"two.shop.test", "A", 60, []string{"203.0.113.10", "203.0.113.9"}, ""}, // without the final dot
		{"case.shop.test.", "A", 60, []string{"203.0.113.9"}, ""},
		{"alias.shop.test.", "CNAME", 60, []string{"Two.shop.test."}, ""},
		{"alias.shop.test.", "A", 0, nil, ""}, // what an alias leads to is not at the name
		{"six.shop.test.", "AAAA", 60, []string{"2001:db8::1"}, ""},
		{"none.shop.test.", "A", 0, nil, ""},
		{"empty.shop.test.", "A", 0, nil, ""},
		{"refused.shop.test.", "A", 0, nil, "answers REFUSED for refused.shop.test."},
		{"broken.shop.test.", "A", 0, nil, "answers SERVFAIL for broken.shop.test."},
		{"two.shop.test.", "BOGUS", 0, nil, `"BOGUS" is no record type`},
	} {
		t.Run(tt.name+tt.typ, func(t *testing.T) {
			set, err := Ask(t.Context(), server, tt.name, tt.typ)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("%v, want %q", err, tt.err)
			}
			want := provision.RRset{Name: strings.TrimSuffix(tt.name, ".") + ".", Type: tt.typ, TTL: tt.ttl, Values: tt.values}
			if d := cmp.Diff(want, set); d != "" {
				t.Errorf("set (-want +got):\n%s", d)
			}
		})
	}
	before := tcp.Load()
	if set, err := Ask(t.Context(), server, "long.shop.test.", "A"); err != nil || len(set.Values) != 200 || tcp.Load() != before+1 {
		t.Errorf("what is truncated: %d values, %d questions by TCP, %v", len(set.Values), tcp.Load()-before, err)
	}
}

// Silence is an error, in the time that the context allows.
func TestAskSilence(t *testing.T) {
	server := nameServer(t, func(string, dns.ResponseWriter, *dns.Msg) {})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := Ask(ctx, server, "www.shop.test.", "A")
	if err == nil || provision.ClassOf(err) != provision.Transient || !strings.Contains(err.Error(), "name server "+server+" does not answer") || time.Since(began) > 3*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// A server behind a filter that drops UDP is asked by TCP.
func TestAskWhenUDPIsLost(t *testing.T) {
	server := nameServer(t, func(network string, w dns.ResponseWriter, r *dns.Msg) {
		if network == "tcp" {
			answer(w, r, dns.RcodeSuccess, "www.shop.test. 60 A 203.0.113.9")
		}
	})
	if set, err := Ask(t.Context(), server, "www.shop.test.", "A"); err != nil || len(set.Values) != 1 {
		t.Errorf("%v, %v", set, err)
	}
}

func TestSame(t *testing.T) {
	for _, tt := range []struct {
		a, b []string
		want bool
	}{
		{nil, []string{}, true},
		{[]string{"a", "b"}, []string{"b", "a"}, true},
		{[]string{"Host.example.com."}, []string{"host.example.com."}, true},
		{[]string{"a"}, []string{"a", "b"}, false},
		{[]string{"a"}, nil, false},
	} {
		a := slices.Clone(tt.a)
		if got := Same(tt.a, tt.b); got != tt.want || !slices.Equal(a, tt.a) {
			t.Errorf("Same(%v, %v) = %v", tt.a, tt.b, got)
		}
	}
}

// Whatever a name server sends: reading it does not panic, and gives sorted values without doubles.
func FuzzRead(f *testing.F) {
	for _, rrs := range [][]string{
		{"www.shop.test. 60 A 203.0.113.9", "www.shop.test. 60 A 203.0.113.9"}, {"www.shop.test. 60 CNAME a."}, {"www.shop.test. 60 AAAA ::1"},
		{"www.shop.test. 60 NS ns1.shop.test."}, {`www.shop.test. 60 TXT "a\"b"`}, {"www.shop.test. 60 MX 10 mx."}, nil,
	} {
		m := new(dns.Msg)
		m.SetQuestion("www.shop.test.", dns.TypeA)
		m.Response, m.Compress = true, true
		for _, s := range rrs {
			rr, err := dns.NewRR(s)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		for _, typ := range []string{"A", "AAAA", "CNAME", "NS", "TXT", "MX", "SOA", "SRV", "OPT", "ANY"} {
			for _, name := range []string{"www.shop.test.", "."} {
				set := Read(m, name, typ)
				if !slices.IsSorted(set.Values) || len(slices.Compact(slices.Clone(set.Values))) != len(set.Values) {
					t.Fatalf("%s %s: %q", name, typ, set.Values)
				}
				if len(set.Values) == 0 && set.TTL != 0 || set.Name != name || set.Type != typ {
					t.Fatalf("%+v", set)
				}
			}
		}
	})
}
