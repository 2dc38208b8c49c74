package sandbox

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// Dial connects to a server or a load balancer of the sandbox as if it listened on its own address,
// and to its name server on port 53. A server that is not up,
// has no certificate yet, was deleted or is in a dark region refuses, as does
// every address of HomeServers; so does port 80. A private address is
// unreachable: it takes a floating IP, or a jump host. All else goes to a
// net.Dialer.
func (c *Cloud) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return c.dial(ctx, network, addr, "")
}

// dial is Dial, seen from the inside of a region when one is named.
func (c *Cloud) dial(ctx context.Context, network, addr, inside string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	ip, perr := netip.ParseAddr(host)
	if err != nil || perr != nil {
		return c.dialOut(ctx, network, addr, inside)
	}
	if port == "53" && host == c.nsIP() || c.opts.InMemory && addr == c.dnsAddr {
		if c.opts.InMemory {
			return c.dnsMem.dial()
		}
		return new(net.Dialer).DialContext(ctx, network, c.dnsAddr)
	}
	known := c.owns(ip) || c.vip(ip)
	if !known || c.base == 0 && port != "22" && port != "80" && port != "443" {
		return c.dialOut(ctx, network, addr, inside)
	}
	c.mu.Lock()
	region := c.regionOf(ip)
	private := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, c.base, 0, 0}), 16).Contains(ip)
	c.mu.Unlock()
	if region != "" {
		if err := c.awaitLight(ctx, region, addr); err != nil {
			if ctx.Err() != nil {
				err = &net.OpError{Op: "dial", Net: network, Err: err}
			}
			return nil, err
		}
	}
	if private && inside != region {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
	}
	l := c.target(ip, port)
	if l == nil && port != "22" && port != "80" && port != "443" && ip.IsLoopback() {
		return c.dialOut(ctx, network, addr, inside) // a port that something of this process has by its own number
	}
	if l == nil {
		return nil, refused(network, addr)
	}
	if m, ok := l.(*memListener); ok {
		return m.dial()
	}
	return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
}

func (c *Cloud) dialOut(ctx context.Context, network, addr, inside string) (net.Conn, error) {
	if inside != "" || c.opts.InMemory {
		return nil, refused(network, addr) // servers reach only each other; memory reaches nothing else
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// owns tells whether an address is the sandbox's to answer for.
func (c *Cloud) owns(ip netip.Addr) bool {
	if c.base == 0 {
		if ip == netip.MustParseAddr("127.0.0.1") {
			return true
		}
	} else if a := ip.As16(); ip.Is4() && a[12] == 127 && a[13] == c.base {
		return true
	}
	if ip.Is4() && netip.PrefixFrom(netip.AddrFrom4([4]byte{10, c.base, 0, 0}), 16).Contains(ip) {
		return true
	}
	return c.homeRegion(ip) != ""
}

// vip tells whether an address is an IPv6 one of a load balancer.
func (c *Cloud) vip(ip netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.balancers {
		if b.clb != nil && b.clb.v6 == ip && ip.IsValid() {
			return true
		}
	}
	return false
}

func (c *Cloud) homeRegion(ip netip.Addr) string {
	for region, list := range c.opts.HomeServers {
		if slices.Contains(list, ip.String()) {
			return region
		}
	}
	return ""
}

func (c *Cloud) regionOf(ip netip.Addr) string {
	if r := c.homeRegion(ip); r != "" {
		return r
	}
	if c.base == 0 {
		return ""
	}
	for _, n := range c.networks {
		if n.cidr.Contains(ip) {
			return n.region
		}
	}
	return ""
}

// has tells whether a port has an address, or a floating IP that leads to it.
func (c *Cloud) has(p *port, ip netip.Addr) bool {
	for _, f := range c.fips {
		if f.port == p.id && f.ip == ip {
			return true
		}
	}
	return p.ip == ip
}

// target finds the listener of the load balancer, or else of the newest server, that has the address.
func (c *Cloud) target(ip netip.Addr, port string) net.Listener {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep(now)
	for _, b := range c.balancersOf("") {
		if dark, _ := c.dark(b.region); !dark && b.serves(now) && (c.has(b.port, ip) || b.clb != nil && b.clb.v6 == ip) {
			return b.front.listener(port, ip.String())
		}
	}
	list := c.serverList("")
	slices.Reverse(list)
	for _, s := range list {
		if dark, _ := c.dark(s.region); dark || !s.sshUp(now) {
			continue
		}
		for _, p := range c.ports {
			if p.server != s.id {
				continue
			}
			if c.has(p, ip) {
				if l := s.machine.listener(port, ip.String()); l != nil {
					return l
				}
			}
		}
	}
	return nil
}
