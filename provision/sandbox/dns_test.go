package sandbox

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/recordsets"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	"github.com/miekg/dns"
)

func query(t testing.TB, c *Cloud, network, name string, kind uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, kind)
	r, _, err := (&dns.Client{Net: network}).Exchange(m, c.NameServer())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func answers(r *dns.Msg) string {
	var out []string
	for _, rr := range r.Answer {
		out = append(out, fmt.Sprintf("%d %s", rr.Header().Ttl, rdata(rr)))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestNameServer(t *testing.T) {
	c := start(t, fast())
	for _, tt := range []struct {
		name  string
		kind  uint16
		rcode int
		want  string
		soa   bool
	}{
		{"collector.dripstat.test.", dns.TypeA, dns.RcodeSuccess, "300 203.0.113.10", false},
		{"COLLECTOR.dripstat.test.", dns.TypeA, dns.RcodeSuccess, "300 203.0.113.10", false},
		{"collector.dripstat.test.", dns.TypeAAAA, dns.RcodeSuccess, "", true},
		{"www.dripstat.test.", dns.TypeA, dns.RcodeSuccess, "300 203.0.113.10, 60 collector.dripstat.test.", false},
		{"txt.dripstat.test.", dns.TypeTXT, dns.RcodeSuccess, `60 "v=1 a"`, false},
		{"nope.dripstat.test.", dns.TypeA, dns.RcodeNameError, "", true},
		{"dripstat.test.", dns.TypeNS, dns.RcodeSuccess, "3600 ns1.dripstat.test.", false},
		{"example.com.", dns.TypeA, dns.RcodeRefused, "", false},
		{"dripstat.test.", dns.TypeAXFR, dns.RcodeRefused, "", false},
	} {
		for _, network := range []string{"udp", "tcp"} {
			r := query(t, c, network, tt.name, tt.kind)
			if r.Rcode != tt.rcode || answers(r) != tt.want || tt.soa != (len(r.Ns) == 1) || r.Authoritative == (r.Rcode == dns.RcodeRefused) {
				t.Errorf("%s %s %s:\n%s", network, tt.name, dns.TypeToString[tt.kind], r)
			}
		}
	}
	// A client that follows the NS record arrives at the same server through Dial.
	ns := query(t, c, "udp", "ns1.dripstat.test.", dns.TypeA).Answer[0].(*dns.A).A.String()
	for _, network := range []string{"udp", "tcp"} {
		conn, err := c.Dial(t.Context(), network, net.JoinHostPort(ns, "53"))
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		m.SetQuestion("collector.dripstat.test.", dns.TypeA)
		if r, _, err := new(dns.Client).ExchangeWithConn(m, &dns.Conn{Conn: conn}); err != nil || answers(r) != "300 203.0.113.10" {
			t.Error(network, r, err)
		}
		conn.Close()
	}
}

func (cl *client) zone() zones.Zone {
	cl.t.Helper()
	p, err := zones.List(cl.designate, zones.ListOpts{Name: "dripstat.test."}).AllPages(cl.t.Context())
	if err != nil {
		cl.t.Fatal(err)
	}
	l, err := zones.ExtractZones(p)
	if err != nil || len(l) != 1 {
		cl.t.Fatal(l, err)
	}
	return l[0]
}

func (cl *client) rrset(name, kind string) recordsets.RecordSet {
	cl.t.Helper()
	p, err := recordsets.ListByZone(cl.designate, cl.zone().ID, recordsets.ListOpts{Name: name, Type: kind}).AllPages(cl.t.Context())
	if err != nil {
		cl.t.Fatal(err)
	}
	l, err := recordsets.ExtractRecordSets(p)
	if err != nil || len(l) != 1 {
		cl.t.Fatal(l, err)
	}
	return l[0]
}

func serial(t testing.TB, c *Cloud) uint32 {
	return query(t, c, "udp", "dripstat.test.", dns.TypeSOA).Answer[0].(*dns.SOA).Serial
}

func TestDesignate(t *testing.T) {
	c := start(t, fast())
	cl := connect(t, c, "ORD")
	ctx, z := t.Context(), cl.zone()
	before := serial(t, c)
	rs := cl.rrset("collector.dripstat.test.", "A")
	if rs.TTL != 300 || rs.Status != "ACTIVE" || rs.Records[0] != "203.0.113.10" {
		t.Errorf("%+v", rs)
	}
	ttl := 60
	up := must[*recordsets.RecordSet](t)(recordsets.Update(ctx, cl.designate, z.ID, rs.ID, recordsets.UpdateOpts{TTL: &ttl, Records: []string{"127.1.2.3", "127.1.2.4"}}).Extract())
	if up.Status != "PENDING" || up.Action != "UPDATE" || len(up.Records) != 2 {
		t.Errorf("%+v", up)
	}
	if got := answers(query(t, c, "udp", rs.Name, dns.TypeA)); got != "300 203.0.113.10" {
		t.Error("served before its time:", got)
	}
	cl.until("ACTIVE", func() bool { return cl.rrset(rs.Name, "A").Status == "ACTIVE" })
	if got := answers(query(t, c, "udp", rs.Name, dns.TypeA)); got != "60 127.1.2.3, 60 127.1.2.4" {
		t.Error(got)
	}
	if after := serial(t, c); after <= before || uint32(cl.zone().Serial) != after {
		t.Errorf("serial %d, was %d, designate says %d", after, before, cl.zone().Serial)
	}
	create := func(name, kind string, values ...string) error {
		_, err := recordsets.Create(ctx, cl.designate, z.ID, recordsets.CreateOpts{Name: name, Type: kind, Records: values}).Extract()
		return err
	}
	code(t, create("collector.dripstat.test.", "A", "127.0.0.1"), 409, "duplicate_recordset")
	code(t, create("new.dripstat.test", "A", "127.0.0.1"), 400, "invalid_object")
	code(t, create("new.example.com.", "A", "127.0.0.1"), 400, "invalid_recordset_location")
	code(t, create("new.dripstat.test.", "A", "not an address"), 400, "invalid_object")
	code(t, create("collector.dripstat.test.", "CNAME", "x."), 400, "CNAME recordsets may not share")
	if err := create("new.dripstat.test.", "A", "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	cl.until("served", func() bool { return answers(query(t, c, "tcp", "new.dripstat.test.", dns.TypeA)) == "3600 127.0.0.1" })
	rs = cl.rrset("new.dripstat.test.", "A")
	if err := recordsets.Delete(ctx, cl.designate, z.ID, rs.ID).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	cl.until("gone", func() bool {
		_, err := recordsets.Get(ctx, cl.designate, z.ID, rs.ID).Extract()
		return err != nil && query(t, c, "udp", rs.Name, dns.TypeA).Rcode == dns.RcodeNameError
	})
	soa := cl.rrset(z.Name, "SOA")
	_, err := recordsets.Update(ctx, cl.designate, z.ID, soa.ID, recordsets.UpdateOpts{TTL: &ttl}).Extract()
	code(t, err, 400, "not allowed")
	var all struct{ Recordsets []struct{ Name string } }
	if _, err := cl.designate.Get(ctx, cl.designate.ServiceURL("recordsets")+"?name=*.dripstat.test.&type=A", &all, nil); err != nil || len(all.Recordsets) != 2 {
		t.Error(all, err)
	}
	var ns struct{ Nameservers []struct{ Hostname string } }
	if _, err := cl.designate.Get(ctx, cl.designate.ServiceURL("zones", z.ID, "nameservers"), &ns, nil); err != nil || ns.Nameservers[0].Hostname != "ns1.dripstat.test." {
		t.Error(ns, err)
	}
}

func TestUpdate(t *testing.T) {
	c := start(t, fast())
	cl := connect(t, c, "ORD")
	name, alg, secret := c.TSIG()
	const host = "collector.dripstat.test."
	rr := func(s string) []dns.RR { return []dns.RR{must[dns.RR](t)(dns.NewRR(s))} }
	send := func(build func(m *dns.Msg), sign string) int {
		t.Helper()
		m := new(dns.Msg)
		m.SetUpdate("dripstat.test.")
		build(m)
		d := &dns.Client{Net: "tcp"}
		if sign != "" {
			m.SetTsig(name, alg, 300, time.Now().Unix())
			d.TsigSecret = map[string]string{name: sign}
		}
		r, _, err := d.Exchange(m, c.NameServer())
		if err != nil && r == nil {
			t.Fatal(err)
		}
		if err != nil && sign == secret {
			t.Fatal("reply is not signed: ", err)
		}
		return r.Rcode
	}
	served := func() string { return answers(query(t, c, "udp", host, dns.TypeA)) }
	before := serial(t, c)
	move := func(m *dns.Msg) {
		m.Used(rr(host + " 0 IN A 203.0.113.10"))
		m.RemoveRRset(rr(host + " 0 IN A 0.0.0.0"))
		m.Insert(rr(host + " 60 IN A 127.9.9.1"))
		m.Insert(rr(host + " 60 IN A 127.9.9.2"))
	}
	if got := send(move, ""); got != dns.RcodeRefused {
		t.Error("unsigned:", dns.RcodeToString[got])
	}
	if got := send(move, tsigSecret()); got != dns.RcodeNotAuth {
		t.Error("wrong key:", dns.RcodeToString[got])
	}
	if served() != "300 203.0.113.10" {
		t.Fatal(served())
	}
	if got := send(move, secret); got != dns.RcodeSuccess || served() != "60 127.9.9.1, 60 127.9.9.2" {
		t.Fatal(dns.RcodeToString[got], served())
	}
	if rs := cl.rrset(host, "A"); len(rs.Records) != 2 || rs.TTL != 60 || rs.Status != "ACTIVE" {
		t.Errorf("designate shows %+v", rs)
	}
	if after := serial(t, c); after <= before {
		t.Errorf("serial %d, was %d", after, before)
	}
	for what, tt := range map[string]struct {
		want  int
		build func(m *dns.Msg)
	}{
		"value no longer there": {dns.RcodeNXRrset, move},
		"RRset must exist":      {dns.RcodeNXRrset, func(m *dns.Msg) { m.RRsetUsed(rr("nope.dripstat.test. 0 IN A 0.0.0.0")) }},
		"RRset must not exist":  {dns.RcodeYXRrset, func(m *dns.Msg) { m.RRsetNotUsed(rr(host + " 0 IN A 0.0.0.0")) }},
		"name must exist":       {dns.RcodeNameError, func(m *dns.Msg) { m.NameUsed(rr("nope.dripstat.test. 0 IN A 0.0.0.0")) }},
		"name must not exist":   {dns.RcodeYXDomain, func(m *dns.Msg) { m.NameNotUsed(rr(host + " 0 IN A 0.0.0.0")) }},
		"outside":               {dns.RcodeNotZone, func(m *dns.Msg) { m.Insert(rr("a.example.com. 60 IN A 127.0.0.1")) }},
		"half of it is wrong": {dns.RcodeNotZone, func(m *dns.Msg) {
			m.RemoveName(rr(host + " 0 IN A 0.0.0.0"))
			m.Insert(rr("a.example.com. 60 IN A 127.0.0.1"))
		}},
	} {
		if got := send(tt.build, secret); got != tt.want {
			t.Errorf("%s: %s, want %s", what, dns.RcodeToString[got], dns.RcodeToString[tt.want])
		}
	}
	if served() != "60 127.9.9.1, 60 127.9.9.2" {
		t.Error("a refused update changed", served())
	}
	send(func(m *dns.Msg) { m.Remove(rr(host + " 0 IN A 127.9.9.1")) }, secret)
	if served() != "60 127.9.9.2" {
		t.Error(served())
	}
	send(func(m *dns.Msg) { m.RemoveName(rr(host + " 0 IN A 0.0.0.0")) }, secret)
	if r := query(t, c, "udp", host, dns.TypeA); r.Rcode != dns.RcodeNameError {
		t.Error(r)
	}
	send(func(m *dns.Msg) { m.Insert(rr("a.b.dripstat.test. 5 IN CNAME x.test.")) }, secret)
	if r := query(t, c, "udp", "b.dripstat.test.", dns.TypeA); r.Rcode != dns.RcodeSuccess {
		t.Error("an empty non-terminal is no NXDOMAIN")
	}
}

// A name server that lags takes over what is there when its time comes, not what was there in between.
func TestLaggingServerSkipsWhatIsHistory(t *testing.T) {
	key, began := rrKey{"www.shop.test.", "A"}, time.Now()
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	z := &zone{served: map[rrKey]rrData{key: {60, []string{"old"}}}, changes: []*change{
		{key: key, data: &rrData{60, []string{"new"}}, active: at(3), serve: at(8)},
		{key: key, data: &rrData{60, []string{"old"}}, active: at(7), serve: at(12)},
		{key: key, data: &rrData{60, []string{"newer"}}, active: at(9), serve: at(14)},
	}}
	for s, want := range []string{7: "old", 8: "old", 13: "old", 14: "newer"} {
		if want == "" {
			continue
		}
		if z.settle(at(s)); z.served[key].values[0] != want {
			t.Errorf("after %d s it serves %v, not %s", s, z.served[key].values, want)
		}
	}
}
