package planfile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

func (d *decoder) zone(x *block, p provision.Plan) provision.Zone {
	z := provision.Zone{
		Name: x.label, Pos: pos(x.at), Zone: strings.ToLower(strings.TrimSuffix(x.need("zone"), ".")),
		NameServers: x.texts("name_servers"), Resolvers: x.texts("resolvers"),
		Within: x.time("within", 5*time.Minute, time.Second, time.Second, 24*time.Hour),
	}
	if strings.EqualFold(z.Zone, Placeholder) {
		z.Zone = Placeholder
	}
	if z.Zone != "" && z.Zone != Placeholder && (!dnsName(z.Zone) || strings.Contains(z.Zone, "*")) {
		x.wrong("zone", example("dns", "zone"), "is %s, which is not the name of a zone", x.show("zone", z.Zone))
	}
	for attr, list := range map[string][]string{"name_servers": z.NameServers, "resolvers": z.Resolvers} {
		for _, h := range list {
			if h != Placeholder && !hostPort(h) {
				x.wrong(attr, attr+` = ["ns1.example.com", "192.0.2.1:53"]`, "has %s, which is not host or host:port", x.show(attr, h))
			}
		}
	}
	given := 0
	if b := x.only("designate"); b != nil {
		given++
		z.Provider.Designate = &provision.Designate{Cloud: b.ref("cloud", "cloud")}
	}
	if b := x.only("clouddns"); b != nil {
		given++
		z.Provider.CloudDNS = &provision.CloudDNS{Cloud: b.ref("cloud", "cloud")}
	}
	d.keeper(x, z.Provider, p)
	if b := x.only("rfc2136"); b != nil {
		given++
		z.Provider.RFC2136 = d.rfc2136(b)
	}
	if b := x.only("route53"); b != nil {
		given++
		z.Provider.Route53 = &provision.Route53{ZoneID: b.text("zone_id", ""), Profile: b.text("profile", "")}
	}
	if given != 1 {
		d.errorf(x.at, "a dns block has exactly one of designate { ... }, clouddns { ... }, rfc2136 { ... } and route53 { ... }",
			"%s %s who keeps the zone", x.what, map[bool]string{true: "does not say", false: "says more than once"}[given == 0])
	}
	for _, r := range x.blocks["record"] {
		z.Records = append(z.Records, d.record(r, z, p))
	}
	if len(z.Records) == 0 && !d.issues { // one may be there for challenges alone
		d.errorf(x.at, `add: record "www" { type = "A"  to = server.NAME }, one attribute a line`, "%s has no record", x.what)
	}
	return z
}

func (d *decoder) rfc2136(b *block) *provision.RFC2136 {
	r := &provision.RFC2136{Server: b.need("server"), KeyName: b.need("key"), Algorithm: b.text("algorithm", "hmac-sha256"), Secret: b.secret("secret")}
	if r.Server != "" && r.Server != Placeholder && !hostPort(r.Server) {
		b.wrong("server", `server = "ns1.example.com:53"`, "is %s, which is not host or host:port", b.show("server", r.Server))
	}
	valid := []string{"hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}
	if a := strings.ToLower(strings.TrimSuffix(r.Algorithm, ".")); r.Algorithm != Placeholder {
		if r.Algorithm = a; !slices.Contains(valid, a) {
			b.wrong("algorithm", meant(a, valid), "is %s", b.show("algorithm", a))
		}
	}
	if s := r.Secret.Bytes(); len(s) > 0 && string(s) != Placeholder && !isBase64(string(s)) {
		b.wrong("secret", "", "is not base64, as TSIG keys are")
	}
	return r
}

func (d *decoder) record(x *block, z provision.Zone, p provision.Plan) provision.Record {
	r := provision.Record{
		Name: x.label, Pos: pos(x.at), Host: strings.ToLower(x.text("name", x.label)), Type: strings.ToUpper(x.text("type", "")),
		TTL: x.time("ttl", max(time.Minute, z.Provider.LeastTTL()), time.Second, time.Second, day), Values: x.texts("values"), Unproven: x.flag("unproven"),
	}
	if x.has("name") && strings.EqualFold(r.Host, Placeholder) {
		r.Host = Placeholder
	}
	for _, t := range x.refs("to", "server", "load_balancer") {
		if t.kind == "load_balancer" {
			r.Balancers = append(r.Balancers, t.name)
		} else {
			r.To = append(r.To, t.name)
		}
	}
	if h := r.Host; h != "@" && h != "" && h != Placeholder {
		zone := "." + z.Zone
		switch {
		case strings.HasSuffix(h, ".") || z.Zone != "" && strings.HasSuffix(h, zone):
			rel := strings.TrimSuffix(strings.TrimSuffix(h, "."), zone)
			d.errorf(x.where("name"), "name = "+x.show("name", rel), "the name of %s is relative to the zone", x.what)
		case !dnsName(h):
			d.errorf(x.where("name"), `name = "www", or name = "@" for the zone itself`, "the name of %s, %s, is not one that a zone can hold", x.what, x.show("name", h))
		}
	}
	if least := z.Provider.LeastTTL(); x.has("ttl") && r.TTL < least && !d.failedAt(x.where("ttl")) {
		x.wrong("ttl", fmt.Sprintf("ttl = %d", int(least/time.Second)), "is %d s; %s takes %d s at least", int(r.TTL/time.Second), z.Provider.Kind(), int(least/time.Second))
	}
	if r.TTL%time.Second != 0 {
		x.wrong("ttl", "", "must be whole seconds")
	}
	types := []string{"A", "AAAA", "CNAME"}
	if r.Type != "" && !strings.EqualFold(r.Type, Placeholder) && !slices.Contains(types, r.Type) {
		x.wrong("type", meant(r.Type, types), "is %s", x.show("type", r.Type))
		return r
	}
	switch {
	case x.has("to") && x.has("values"):
		x.wrong("values", "keep one of them", "is given beside to")
	case !x.has("to") && !x.has("values"):
		d.errorf(x.at, "add: to = server.NAME, or values = [\"...\"]", "%s does not say where to point", x.what)
	case r.Type == "AAAA" && d.noIPv6(x, r, p):
	case r.Type == "CNAME" && x.has("to"):
		x.wrong("to", `values = ["target.example.com"], or type = "A"`, "gives addresses, and a CNAME points to a name")
	case r.Type == "CNAME" && len(r.Values) != 1 && !d.failedAt(x.where("values")):
		x.wrong("values", `values = ["target.example.com"]`, "must be exactly one name for a CNAME")
	case r.Type == "CNAME" && (r.Host == "@" || r.Host == ""):
		x.wrong("type", `type = "A"`, "cannot be CNAME for the zone itself: its SOA and NS records live there")
	case x.has("values") && len(r.Values) == 0 && !d.failedAt(x.where("values")):
		x.wrong("values", "", "is empty")
	}
	if len(r.Values) > 0 && !r.Unproven && !x.has("to") && !x.has("unproven") {
		d.errorf(x.where("values"), "unproven = true says that this is meant", "%s points to what nothing proves", x.what)
	}
	for _, v := range r.Values {
		if v == Placeholder {
			continue
		}
		a, err := netip.ParseAddr(v)
		switch r.Type {
		case "A":
			if err != nil || !a.Is4() {
				x.wrong("values", "", "has %s, which is not an IPv4 address", x.show("values", v))
			}
		case "AAAA":
			if err != nil || !a.Is6() || a.Is4In6() {
				x.wrong("values", "", "has %s, which is not an IPv6 address", x.show("values", v))
			}
		case "CNAME":
			if err == nil || !dnsName(strings.TrimSuffix(v, ".")) {
				x.wrong("values", "", "has %s, which is not a DNS name", x.show("values", v))
			}
		}
	}
	return r
}

// proven refuses a record whose servers nothing proves, unless the plan says so in its own words.
func (d *decoder) proven(z provision.Zone, p provision.Plan) {
	for _, r := range z.Records {
		unproven := func(kind, name string, ready *provision.Ready, at provision.Pos) {
			switch {
			case r.Unproven || d.failedAt(d.rangeOf(at)) || d.said("ready"):
			case ready == nil:
				d.errorf(d.rangeOf(r.Pos), fmt.Sprintf("give %s %q a ready block; unproven = true says that DNS may point to what nothing has proven", kind, name),
					"record %q points to %s %q, which has no ready block", r.Name, kind, name)
			case ready.Plain():
				d.errorf(d.rangeOf(r.Pos), "to = load_balancer.NAME, or https in its ready block; unproven = true says that DNS may point to what nothing has proven",
					"record %q points to %s %q, which proves nothing over plain http", r.Name, kind, name)
			}
		}
		for _, to := range r.To {
			if s, ok := p.Server(to); ok {
				unproven("server", to, s.Ready, s.Pos)
			}
		}
		for _, to := range r.Balancers {
			if b, ok := p.Balancer(to); ok {
				unproven("load_balancer", to, b.Ready, b.Pos)
			}
		}
	}
}

// records refuses two blocks that would write the same record set, or a CNAME beside anything else.
func (d *decoder) records(p provision.Plan) {
	type at struct {
		typ string
		pos provision.Pos
	}
	seen := map[string][]at{}
	for _, z := range p.Zones {
		d.proven(z, p)
		for _, r := range z.Records {
			n := z.FQDN(r)
			if strings.Contains(n, Placeholder) {
				continue
			}
			for _, o := range seen[n][:min(1, len(seen[n]))] {
				switch {
				case o.typ == r.Type:
					d.errorf(d.rangeOf(r.Pos), "keep one of them; to takes a list: to = [server.a, server.b]", "%s %s is written twice; the other is at %s", strings.TrimSuffix(n, "."), r.Type, o.pos)
				case o.typ == "CNAME" || r.Type == "CNAME":
					d.errorf(d.rangeOf(r.Pos), "keep one of them", "%s has a CNAME and another record; the other is at %s", strings.TrimSuffix(n, "."), o.pos)
				}
			}
			seen[n] = append(seen[n], at{r.Type, r.Pos})
		}
	}
}
