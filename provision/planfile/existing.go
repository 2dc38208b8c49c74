package planfile

import (
	"net/netip"

	"github.com/dripstat/failover/provision"
)

// existing decodes which load balancer is used where none is to be made: a text is its name or id; an object may say, too, which
// member of it the servers take the place of. Such a load balancer keeps the settings that it has: nothing may be said of them beside it. What a
// plan says of them for other regions does not count where a region block names one.
func (d *decoder) existing(x *block, b *provision.Balancer) {
	v, ok := x.value("existing")
	if !ok {
		return
	}
	b.Existing = &provision.Existing{Name: Placeholder}
	for _, name := range []string{"redirect_http", "connection_limit_per_ip", "allowed_cidrs", "tls_versions", "algorithm", "health"} {
		if !x.own(name) || d.failedAt(x.where(name)) {
			continue
		}
		what, at := name+" of "+x.what, x.where(name)
		if y := x.only(name); y != nil {
			what, at = y.what, y.at
		}
		d.errorf(at, "take it out, and set it there; or take existing out: a new load balancer is made", "%s is given beside existing, which keeps the settings that it has", what)
	}
	b.RedirectHTTP, b.PerIP, b.AllowedCIDRs, b.TLSVersions = false, 0, nil, nil
	if !v.IsKnown() {
		return
	}
	var e provision.Existing
	if e.Name, ok = asText(v); !ok {
		f, ok := x.object("existing", v, "name", "member")
		if !ok {
			return
		}
		for key, into := range map[string]*string{"name": &e.Name, "member": &e.Member} {
			v, given := f[key]
			if !given {
				continue
			}
			if *into, ok = asText(v); !ok {
				x.wrong("existing", "", "has a %s that is not a text", key)
				return
			}
		}
	}
	if _, err := netip.ParseAddr(e.Member); e.Member != "" && e.Member != Placeholder && err != nil {
		x.wrong("existing", `existing = { member = "10.181.4.7" }`, "has a member that is not an address: %s", x.show("existing", e.Member))
		return
	}
	if e.Name == "" && e.Member == "" {
		x.wrong("existing", example(x.kind, "existing"), "names none")
		return
	}
	b.Existing = &e
}
