package sandbox

import (
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

func tsigSecret() string { return base64.StdEncoding.EncodeToString(randBytes(32)) }

// NameServer is where the authoritative name server listens, by UDP and by TCP.
// It serves the zones of Options. Their NS records name a server whose address,
// with port 53, Dial leads here too.
func (c *Cloud) NameServer() string { return c.dnsAddr }

// TSIG is the key that RFC 2136 updates must be signed with.
func (c *Cloud) TSIG() (keyName, algorithm, secretBase64 string) {
	return c.tsig.name, dns.HmacSHA256, c.tsig.secret
}

func (c *Cloud) startDNS() error {
	server := func() *dns.Server {
		return &dns.Server{
			Handler:    dns.HandlerFunc(c.serveDNS),
			TsigSecret: map[string]string{c.tsig.name: c.tsig.secret},
			// The default refuses UPDATE.
			MsgAcceptFunc: func(h dns.Header) dns.MsgAcceptAction {
				if h.Bits&(1<<15) != 0 {
					return dns.MsgIgnore
				}
				return dns.MsgAccept
			},
			ReadTimeout: 2 * time.Second,
		}
	}
	tcp, udp := server(), server()
	if c.opts.InMemory {
		c.dnsAddr = net.JoinHostPort(c.opts.Addr, "5053")
		c.dnsMem = newMemListener(c.dnsAddr)
		tcp.Listener = c.dnsMem
		c.runDNS(tcp)
		return nil
	}
	var err error
	for range 20 {
		// Both protocols want the same port, and only asking shows whether it is free.
		if tcp.Listener, err = net.Listen("tcp", net.JoinHostPort(c.opts.Addr, "0")); err != nil {
			return err
		}
		c.dnsAddr = tcp.Listener.Addr().String()
		if udp.PacketConn, err = net.ListenPacket("udp", c.dnsAddr); err == nil {
			break
		}
		tcp.Listener.Close()
	}
	if err != nil {
		return err
	}
	c.runDNS(tcp)
	c.runDNS(udp)
	return nil
}

func (c *Cloud) runDNS(s *dns.Server) {
	up := make(chan struct{})
	s.NotifyStartedFunc = func() { close(up) }
	c.dnsSrv = append(c.dnsSrv, s)
	c.wg.Go(func() { s.ActivateAndServe() })
	<-up // Shutdown before the start would leave it running
}

func (c *Cloud) stopDNS() {
	for _, s := range c.dnsSrv {
		s.Shutdown()
	}
}

func (c *Cloud) serveDNS(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	c.mu.Lock()
	if r.Opcode == dns.OpcodeUpdate {
		m.Question = r.Question
		m.Rcode = c.dnsUpdate(r, w.TsigStatus())
	} else {
		c.dnsQuery(r, m)
	}
	c.mu.Unlock()
	if o := r.IsEdns0(); o != nil {
		m.SetEdns0(1232, false)
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size := dns.MinMsgSize
		if o := r.IsEdns0(); o != nil {
			size = min(max(int(o.UDPSize()), dns.MinMsgSize), 1232)
		}
		m.Truncate(size)
	}
	if t := r.IsTsig(); t != nil && w.TsigStatus() == nil {
		m.SetTsig(t.Hdr.Name, t.Algorithm, 300, time.Now().Unix())
	}
	w.WriteMsg(m)
}

func (z *zone) rrs(key rrKey) (list []dns.RR) {
	d := z.served[key]
	for _, v := range d.values {
		if rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", key.name, d.ttl, key.kind, v)); err == nil {
			list = append(list, rr)
		}
	}
	return list
}

func (c *Cloud) soa(z *zone) dns.RR {
	rr, _ := dns.NewRR(fmt.Sprintf("%s 3600 IN SOA %s", z.name, z.soaText(c.nsNames(z)[0])))
	return rr
}

// dnsQuery answers from what is served, with the SOA where there is nothing
// (RFC 2308), and refuses names of others.
func (c *Cloud) dnsQuery(r, m *dns.Msg) {
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 {
		m.Rcode = dns.RcodeNotImplemented
		return
	}
	q := r.Question[0]
	name, kind := fqdn(q.Name), dns.TypeToString[q.Qtype]
	z := c.zoneOf(name)
	if z == nil || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR || q.Qclass != dns.ClassINET {
		m.Rcode = dns.RcodeRefused
		return
	}
	z.settle(time.Now())
	m.Authoritative = true
	for hops := 0; hops < 8; hops++ { // a chain of CNAMEs within the zone
		if kind == "SOA" && name == z.name {
			m.Answer = append(m.Answer, c.soa(z))
			return
		}
		if rrs := z.rrs(rrKey{name, kind}); rrs != nil {
			m.Answer = append(m.Answer, rrs...)
			return
		}
		cname := z.rrs(rrKey{name, "CNAME"})
		if cname == nil {
			break
		}
		m.Answer = append(m.Answer, cname...)
		name = fqdn(cname[0].(*dns.CNAME).Target)
		if !dns.IsSubDomain(z.name, name) {
			return
		}
	}
	m.Ns = append(m.Ns, c.soa(z))
	if !z.exists(name) {
		m.Rcode = dns.RcodeNameError
	}
}

// exists tells whether a name has records, or lies above one that has (RFC 8020).
func (z *zone) exists(name string) bool {
	for key := range z.served {
		if key.name == name || strings.HasSuffix(key.name, "."+name) {
			return true
		}
	}
	return false
}
