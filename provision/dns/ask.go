package dns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dripstat/failover/provision"
)

// askFor bounds one question to one name server; a lost packet costs this much, then TCP is tried.
const askFor = 2 * time.Second

// Ask asks one name server (host or host:port) for one RRset, over UDP and, where that is truncated or
// stays without an answer, over TCP. NXDOMAIN and an empty answer give an RRset without Values; a
// CNAME at the name is given as such. REFUSED, SERVFAIL and silence are errors.
func Ask(ctx context.Context, server, name, typ string) (provision.RRset, error) {
	return ask(ctx, server, name, typ, false)
}

// AskResolver asks a recursive resolver as Ask asks a name server. The TTL that it gives is what is left of it
// in its cache.
func AskResolver(ctx context.Context, server, name, typ string) (provision.RRset, error) {
	return ask(ctx, server, name, typ, true)
}

func ask(ctx context.Context, server, name, typ string, recurse bool) (provision.RRset, error) {
	set := provision.RRset{Name: dns.Fqdn(name), Type: typ}
	qtype, ok := dns.StringToType[typ]
	if !ok {
		return set, fmt.Errorf("%q is no record type", typ)
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, "53")
	}
	m := new(dns.Msg)
	m.SetQuestion(set.Name, qtype)
	m.RecursionDesired = recurse
	m.SetEdns0(1232, false) // flag day 2020's size: larger answers come over TCP instead of in fragments
	r, err := exchange(ctx, "udp", server, m)
	if err != nil || r.Truncated {
		r, err = exchange(ctx, "tcp", server, m)
	}
	if err != nil {
		return set, &provision.Error{What: "name server " + server + " does not answer", Err: err, Class: provision.Transient}
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return set, &provision.Error{What: fmt.Sprintf("name server %s answers %s for %s", server, dns.RcodeToString[r.Rcode], set.Name), Class: provision.Transient}
	}
	return Read(r, set.Name, typ), nil
}

func exchange(ctx context.Context, network, server string, m *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	c := dns.Client{Net: network, Timeout: askFor}
	r, _, err := c.ExchangeContext(ctx, m, server)
	return r, err
}

// Read takes the RRset of one name and type out of an answer. Values come in presentation form, sorted
// and without doubles; the TTL is the lowest that was given.
func Read(r *dns.Msg, name, typ string) provision.RRset {
	set := provision.RRset{Name: name, Type: typ}
	for _, rr := range r.Answer {
		h := rr.Header()
		if !strings.EqualFold(h.Name, name) || dns.TypeToString[h.Rrtype] != typ {
			continue
		}
		if ttl := int(h.Ttl); len(set.Values) == 0 || ttl < set.TTL {
			set.TTL = ttl
		}
		set.Values = append(set.Values, value(rr))
	}
	slices.Sort(set.Values)
	set.Values = slices.Compact(set.Values)
	return set
}

// value is the record's data in presentation form.
func value(rr dns.RR) string {
	switch x := rr.(type) {
	case *dns.A:
		return x.A.String()
	case *dns.AAAA:
		return x.AAAA.String()
	case *dns.CNAME:
		return x.Target
	case *dns.NS:
		return x.Ns
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}

// Same reports whether two sets hold the same values, whatever their order and TTL.
func Same(a, b []string) bool {
	x, y := slices.Clone(a), slices.Clone(b)
	for i := range x {
		x[i] = strings.ToLower(x[i])
	}
	for i := range y {
		y[i] = strings.ToLower(y[i])
	}
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}
