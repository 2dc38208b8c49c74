package planfile

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// balancer decodes a load_balancer block, and once more for each region that the plan says something different for.
// The plan's certificates and servers are decoded by then.
func (d *decoder) balancer(x *block, p provision.Plan) provision.Balancer {
	b := d.oneBalancer(x, p, "")
	if len(x.label) > 40 {
		d.errorf(x.at, "40 characters at most", "the name of %s is too long", x.what)
	}
	for _, r := range x.blocks["region"] {
		if !d.knownRegion(r, p) {
			continue
		}
		o := d.oneBalancer(x.over(r), p, r.label)
		o.Pos = pos(r.at)
		differs(&b, r.label, o)
	}
	for _, m := range b.Members { // what members say for one region is what is not said of the load balancer there
		s, _ := p.Server(m)
		for region := range s.In {
			if b.In[region] == nil {
				differs(&b, region, d.oneBalancer(x, p, region))
			}
		}
	}
	return b
}

func (d *decoder) oneBalancer(x *block, p provision.Plan, region string) provision.Balancer {
	b := provision.Balancer{
		Name: x.label, Pos: pos(x.at), Cloud: x.ref("cloud", "cloud"), MemberProtocol: x.oneOf("member_protocol", "http", "http", "https"),
		Network: x.text("network", ""), Subnet: x.text("subnet", ""), FloatingIP: x.text("floating_ip", ""),
		Listen: x.whole("listen", 443, 1, 65535), RedirectHTTP: true, ConnectionLimit: x.whole("connection_limit", 0, 1, 1<<30), PerIP: x.whole("connection_limit_per_ip", 0, 1, 100000),
		AllowedCIDRs: x.cidrs("allowed_cidrs"), TLSVersions: x.texts("tls_versions"),
		Algorithm: x.oneOf("algorithm", "round_robin", "round_robin", "least_connections", "source_ip"),
		Provider:  x.text("provider", ""), Flavors: x.texts("flavor"),
		Timeout: x.time("timeout", 5*time.Minute, time.Second, 10*time.Second, 24*time.Hour),
	}
	if x.has("redirect_http") {
		b.RedirectHTTP = x.flag("redirect_http")
	}
	if d.existing(x, &b); b.RedirectHTTP && b.Listen == 80 {
		x.wrong("listen", "redirect_http = false, or another port", "is 80, which is the port that redirect_http answers on")
	}
	for i, v := range b.TLSVersions {
		if valid := []string{"1.2", "1.3"}; v != Placeholder && !slices.Contains(valid, v) {
			x.wrongItem("tls_versions", i, `tls_versions = ["1.2", "1.3"]`, "has %s; older ones than TLS 1.2 are broken", x.show("tls_versions", v))
		}
	}
	for _, t := range x.refs("members", "server") {
		b.Members = append(b.Members, t.name)
	}
	for _, t := range x.refs("terminate", "certificate") {
		b.Terminate = append(b.Terminate, t.name)
	}
	for attr, list := range map[string]int{"members": len(b.Members), "terminate": len(b.Terminate)} {
		if x.has(attr) && list == 0 && !d.failedAt(x.where(attr)) {
			x.wrong(attr, "add: "+example(x.kind, attr), "is empty")
		}
	}
	first := d.members(x, &b, p, region)
	b.MemberPort = x.whole("member_port", memberPort(b, first), 1, 65535)
	b.Health = d.health(x, b, first)
	if r := x.only("ready"); r != nil {
		var names []string
		for _, c := range b.Terminate {
			cert, _ := p.Certificate(c)
			names = append(names, cert.Names...)
		}
		b.Ready = d.ready(r, names, firstOf(b.Terminate), b.Listen)
	}
	switch c, ok := p.Cloud(b.Cloud); {
	case c.Rackspace != nil:
		d.cloudBalancer(x, b, p)
	case ok && b.Existing != nil && !d.failedAt(x.where("existing")):
		x.wrong("existing", "take it out: a new one is made", "is given, and failover takes servers into a load balancer that is there on Rackspace's first cloud alone")
	case ok && b.PerIP > 0 && !d.failedAt(x.where("connection_limit_per_ip")):
		x.wrong("connection_limit_per_ip", "connection_limit = 20000, which counts all clients together", "is given, and the load balancers of OpenStack count no clients apart")
	}
	return b
}

func differs(b *provision.Balancer, region string, o provision.Balancer) {
	if b.In == nil {
		b.In = map[string]*provision.Balancer{}
	}
	b.In[region] = &o
}

func firstOf(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

// members refuses servers of another cloud, and gives what the first that says so answers by itself.
func (d *decoder) members(x *block, b *provision.Balancer, p provision.Plan, region string) *provision.Ready {
	var ready *provision.Ready
	for i, m := range b.Members {
		s, ok := p.Server(m)
		if !ok {
			continue
		}
		if o := s.In[region]; o != nil {
			s = *o
		}
		if s.Cloud != b.Cloud && s.Cloud != "" && b.Cloud != "" {
			x.wrongItem("members", i, "a load balancer and its members are in one cloud", "has server %q, which is in cloud.%s", m, s.Cloud)
		}
		if ready == nil {
			ready = s.Ready
		}
	}
	return ready
}

// memberPort is where members are asked when the plan does not say: where they are proven, else where the protocol is
// usually spoken.
func memberPort(b provision.Balancer, ready *provision.Ready) int {
	if ready != nil && ready.URL != "" && ready.URL != Placeholder {
		return readyPort(ready)
	}
	if b.MemberProtocol == "https" {
		return 443
	}
	return 80
}

// health is how members are watched; what the plan does not say is asked as their own proof is.
func (d *decoder) health(x *block, b provision.Balancer, ready *provision.Ready) provision.Health {
	h := provision.Health{Path: "/", Status: 200, Interval: 5 * time.Second, Timeout: 3 * time.Second, Rise: 2, Fall: 3}
	if ready != nil {
		if u, err := url.Parse(ready.URL); err == nil && u.Path != "" {
			h.Path = u.EscapedPath()
		}
		h.Status = ready.Status
	}
	y := x.only("health")
	if y == nil {
		return h
	}
	h = provision.Health{
		Path: y.text("path", h.Path), Status: y.whole("status", h.Status, 100, 599),
		Interval: y.time("interval", h.Interval, time.Second, time.Second, time.Hour),
		Timeout:  y.time("timeout", h.Timeout, time.Second, time.Second, time.Hour),
		Rise:     y.whole("rise", h.Rise, 1, 10), Fall: y.whole("fall", h.Fall, 1, 10),
	}
	if !strings.HasPrefix(h.Path, "/") && h.Path != Placeholder {
		y.wrong("path", `path = "/health"`, "is %s, which does not begin with a slash", y.show("path", h.Path))
	}
	if h.Interval%time.Second != 0 || h.Timeout%time.Second != 0 {
		d.errorf(y.at, `interval = "5s"`, "interval and timeout of %s must be whole seconds", y.what)
	}
	if h.Timeout > h.Interval {
		d.errorf(y.at, `interval = "5s" and timeout = "3s"`, "timeout of %s is longer than its interval", y.what)
	}
	return h
}

// oneOf is a text out of a few.
func (b *block) oneOf(name, def string, valid ...string) string {
	s := b.text(name, def)
	if s != Placeholder && !slices.Contains(valid, s) {
		b.wrong(name, meant(s, valid), "is %s", b.show(name, s))
		return def
	}
	return s
}

// cidrs is a list of networks; an address is a network of one.
func (b *block) cidrs(name string) []string {
	var out []string
	for i, s := range b.texts(name) {
		if s == Placeholder {
			continue
		}
		a, err := netip.ParseAddr(s)
		if err == nil {
			s = netip.PrefixFrom(a, a.BitLen()).String()
		} else if !addressOrCIDR(s) {
			b.wrongItem(name, i, name+` = ["203.0.113.0/24"]`, "has %s, which is neither an address nor a network", b.show(name, s))
			continue
		}
		if strings.Contains(s, ":") {
			b.wrongItem(name, i, "its address is IPv4", "has %s, which is IPv6", b.show(name, s))
			continue
		}
		out = append(out, s)
	}
	return out
}

// letIn opens the members' port to their load balancers, in every server block that leaves it to us who may come in.
func (d *decoder) letIn(p *provision.Plan) {
	for i := range p.Servers {
		s := &p.Servers[i]
		if c, _ := p.Cloud(s.Cloud); c.Rackspace != nil { // it has no groups to let anybody in by
			continue
		}
		for _, b := range p.BalancersOf(s.Name) {
			d.letInto(s, b, "")
			for region, o := range s.In {
				in := b
				if x := b.In[region]; x != nil {
					in = *x
				}
				d.letInto(o, in, region)
			}
		}
	}
}

func (d *decoder) letInto(s *provision.Server, b provision.Balancer, region string) {
	if r := (provision.OpenRule{Protocol: "tcp", Port: b.MemberPort, PortMax: b.MemberPort, From: "balancers"}); d.opens[s.Name+"/"+region] && !slices.Contains(s.Open, r) {
		s.Open = append(s.Open, r)
	}
}

// plainMembers refuses a proof without TLS for what is no member of a load balancer: nothing would prove it to a client.
func (d *decoder) plainMembers(p provision.Plan) {
	for _, s := range p.Servers {
		if !s.Ready.Plain() || len(p.BalancersOf(s.Name)) > 0 || d.failedAt(d.rangeOf(s.Pos)) {
			continue
		}
		d.errorf(d.rangeOf(s.Pos), `https = "https://..."; or load_balancer "NAME" { members = server.`+s.Name+` ... }`,
			"server %q is asked over plain http, and is no member of a load balancer", s.Name)
	}
}
