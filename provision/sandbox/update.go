package sandbox

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// dnsUpdate performs an RFC 2136 update: prerequisites first, then all of the
// changes or none. What it changes is what designate shows: there is one model.
// Only signed updates are taken.
// https://www.rfc-editor.org/rfc/rfc2136#section-3
func (c *Cloud) dnsUpdate(r *dns.Msg, tsig error) int {
	switch {
	case r.IsTsig() == nil:
		return dns.RcodeRefused
	case tsig != nil:
		return dns.RcodeNotAuth
	case len(r.Question) != 1 || r.Question[0].Qtype != dns.TypeSOA:
		return dns.RcodeFormatError
	}
	z, now := c.zones[fqdn(r.Question[0].Name)], time.Now()
	if z == nil {
		return dns.RcodeNotAuth
	}
	z.settle(now)
	if rcode := z.prerequisites(r.Answer); rcode != dns.RcodeSuccess {
		return rcode
	}
	next := map[rrKey]*rrData{} // the RRsets that the update touches, as they will be
	get := func(key rrKey) *rrData {
		if _, ok := next[key]; !ok {
			next[key] = z.wanted(key)
		}
		return next[key]
	}
	for _, rr := range r.Ns {
		h := rr.Header()
		key := rrKey{fqdn(h.Name), dns.TypeToString[h.Rrtype]}
		if !dns.IsSubDomain(z.name, key.name) {
			return dns.RcodeNotZone
		}
		apex := key.name == z.name && (h.Rrtype == dns.TypeSOA || h.Rrtype == dns.TypeNS)
		switch h.Class {
		case dns.ClassINET: // add
			if h.Rrtype == dns.TypeANY || h.Rrtype == dns.TypeSOA {
				return dns.RcodeFormatError
			}
			d := get(key)
			if d == nil || h.Rrtype == dns.TypeCNAME {
				d = &rrData{}
			}
			d.ttl = int(h.Ttl)
			if v := rdata(rr); !slices.Contains(d.values, v) {
				d.values = append(d.values, v)
			}
			next[key] = d
		case dns.ClassANY: // delete an RRset, or all of a name
			if h.Ttl != 0 {
				return dns.RcodeFormatError
			}
			if h.Rrtype != dns.TypeANY {
				if !apex {
					get(key)
					next[key] = nil
				}
				continue
			}
			for _, rs := range z.sets {
				if rs.name == key.name && (key.name != z.name || rs.kind != "SOA" && rs.kind != "NS") {
					next[rrKey{rs.name, rs.kind}] = nil
				}
			}
			for n := range next {
				if n.name == key.name {
					next[n] = nil
				}
			}
		case dns.ClassNONE: // delete one record
			if h.Ttl != 0 {
				return dns.RcodeFormatError
			}
			if d := get(key); d != nil && !apex {
				v := dataOf(rr)
				d.values = slices.DeleteFunc(d.values, func(x string) bool { return x == v })
				if len(d.values) == 0 {
					next[key] = nil
				}
			}
		default:
			return dns.RcodeFormatError
		}
	}
	for key, d := range next {
		c.put(z, key, d, now)
	}
	return dns.RcodeSuccess
}

// dataOf is rdata for a record whose class is not IN.
func dataOf(rr dns.RR) string {
	cp := dns.Copy(rr)
	cp.Header().Class = dns.ClassINET
	return rdata(cp)
}

// wanted is the RRset as designate has it.
func (z *zone) wanted(key rrKey) *rrData {
	rs := z.find(key)
	if rs == nil {
		return nil
	}
	return &rrData{rs.ttlOr(z.ttl), slices.Clone(rs.values)}
}

func (z *zone) inUse(name string) bool {
	for _, rs := range z.sets {
		if rs.name == name && !rs.gone {
			return true
		}
	}
	return false
}

func (z *zone) prerequisites(list []dns.RR) int {
	exact := map[rrKey][]string{}
	for _, rr := range list {
		h := rr.Header()
		key := rrKey{fqdn(h.Name), dns.TypeToString[h.Rrtype]}
		if h.Ttl != 0 {
			return dns.RcodeFormatError
		}
		if !dns.IsSubDomain(z.name, key.name) {
			return dns.RcodeNotZone
		}
		name, kind := z.inUse(key.name), z.find(key) != nil
		switch {
		case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY && !name:
			return dns.RcodeNameError
		case h.Class == dns.ClassANY && h.Rrtype != dns.TypeANY && !kind:
			return dns.RcodeNXRrset
		case h.Class == dns.ClassNONE && h.Rrtype == dns.TypeANY && name:
			return dns.RcodeYXDomain
		case h.Class == dns.ClassNONE && h.Rrtype != dns.TypeANY && kind:
			return dns.RcodeYXRrset
		case h.Class == dns.ClassINET:
			exact[key] = append(exact[key], rdata(rr))
		case h.Class != dns.ClassANY && h.Class != dns.ClassNONE:
			return dns.RcodeFormatError
		}
	}
	for key, values := range exact {
		d := z.wanted(key)
		if d == nil {
			return dns.RcodeNXRrset
		}
		slices.Sort(values)
		slices.Sort(d.values)
		if !slices.Equal(values, d.values) {
			return dns.RcodeNXRrset
		}
	}
	return dns.RcodeSuccess
}

// put makes an RRset what d says; nil deletes it.
func (c *Cloud) put(z *zone, key rrKey, d *rrData, now time.Time) {
	rs := z.find(key)
	switch {
	case d == nil && rs == nil:
		return
	case d == nil:
		rs.last = c.submit(z, key, nil, now, false)
		delete(z.sets, rs.id)
		z.settle(now)
		return
	case rs == nil:
		rs = &rrset{id: uuid(), name: key.name, kind: key.kind, created: now, order: c.nextOrder()}
		z.sets[rs.id] = rs
	default:
		rs.updated = now
	}
	ttl := d.ttl
	rs.ttl, rs.values, rs.version, rs.action = &ttl, d.values, rs.version+1, "NONE"
	rs.last = c.submit(z, key, d, now, false)
	z.settle(now)
}
