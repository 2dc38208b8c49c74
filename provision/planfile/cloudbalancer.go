package planfile

import (
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// What Rackspace's load balancers take. A name has the run's id in it.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/load-balancers
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/general-api-info/limits
const (
	cloudBalancerName  = 128
	cloudBalancerCIDRs = 100 // of an access list, one of which turns everybody else away
	cloudBalancerWait  = 300 * time.Second
)

// cloudBalancer refuses what Rackspace's Cloud Load Balancers cannot do, or what failover does not ask of them.
func (d *decoder) cloudBalancer(x *block, b provision.Balancer, p provision.Plan) {
	refuse := func(attr, hint, why string, a ...any) {
		if x.has(attr) && !d.failedAt(x.where(attr)) {
			x.wrong(attr, hint, why, a...)
		}
	}
	there := "on Rackspace's first cloud"
	for _, no := range [][2]string{
		{"network", "its address is public, and it is on both networks of the region"}, {"subnet", "its address is public, and it is on both networks of the region"},
		{"floating_ip", "its own address is public"}, {"provider", "there is one kind of load balancers alone"}, {"flavor", "load balancers have no sizes"},
	} {
		refuse(no[0], "take it out", "is given, and %s %s", there, no[1])
	}
	refuse("connection_limit", "connection_limit_per_ip = 100", "counts all clients together, and %s a load balancer counts those of each client", there)
	if b.MemberProtocol == "https" {
		refuse("member_protocol", "take it out; members are reached inside the region", "is https, and %s a load balancer that ends TLS speaks plain HTTP with its members", there)
	}
	if b.Algorithm == "source_ip" {
		refuse("algorithm", `algorithm = "least_connections"`, "is source_ip, and %s there are round_robin and least_connections", there)
	}
	if v := b.TLSVersions; len(v) > 0 && !slices.Contains(v, Placeholder) && (!slices.Contains(v, "1.2") || !slices.Contains(v, "1.3")) {
		refuse("tls_versions", `tls_versions = ["1.2", "1.3"], which turns the older ones off`, "is not both, and %s only versions before TLS 1.2 can be turned off", there)
	}
	if b.RedirectHTTP && b.Listen != 443 {
		refuse("listen", "listen = 443, or redirect_http = false", "is %d, and %s clients can be sent to port 443 alone", b.Listen, there)
	}
	if n := len(b.AllowedCIDRs); n >= cloudBalancerCIDRs {
		refuse("allowed_cidrs", "join networks that lie side by side", "has %d items, and %s an access list takes %d", n, there, cloudBalancerCIDRs-1)
	}
	if len(b.Terminate) > 1 && !d.failedAt(x.where("terminate")) {
		x.wrong("terminate", "one certificate with all the names, or a load_balancer block for each", "names %d certificates, and %s failover gives a load balancer one", len(b.Terminate), there)
	}
	if y := x.only("health"); y != nil {
		if y.has("rise") && !d.failedAt(y.where("rise")) {
			y.wrong("rise", "take it out", "is given, and %s one good answer brings a member back", there)
		}
		if b.Health.Timeout > cloudBalancerWait && !d.failedAt(y.where("timeout")) {
			y.wrong("timeout", `timeout = "300s" at most`, "is %s, and %s an answer is waited %s for at most", b.Health.Timeout, there, cloudBalancerWait)
		}
	}
	if n := len("failover-") + len(p.Service) + len("-01ARZ3NDEKTSV4RRFFQ69G5FAV-") + len(b.Slot()); n > cloudBalancerName && !d.failedAt(x.at) {
		d.errorf(x.at, "shorten service, or the name of the block", "%s would get a name of %d characters, and %s %d are taken: it holds the service, the run and the block", x.what, n, there, cloudBalancerName)
	}
	d.rsaAlone(x, b, p)
}

// rsaAlone refuses a certificate that would be issued for a key which those load balancers do not take.
func (d *decoder) rsaAlone(x *block, b provision.Balancer, p provision.Plan) {
	for _, name := range b.Terminate {
		c, _ := p.Certificate(name)
		for _, ref := range c.From {
			s, _ := p.SecretStore(ref.Store)
			kind := ""
			switch {
			case s.ACME != nil:
				kind = s.ACME.KeyType
			case s.Vault != nil && s.Vault.PKI != nil:
				kind = s.Vault.PKI.KeyType
			}
			if kind != "" && kind != Placeholder && !strings.HasPrefix(kind, "rsa") && !d.failedAt(x.where("terminate")) {
				x.wrong("terminate", `key_type = "rsa2048" in secrets "`+ref.Store+`"`, "is certificate %q, for which secrets.%s makes a key of type %s; Rackspace's load balancers take RSA keys alone", name, ref.Store, kind)
			}
		}
	}
}

// noIPv6 refuses an AAAA record to a load balancer that has no IPv6 address, or one that nobody is kept from.
func (d *decoder) noIPv6(x *block, r provision.Record, p provision.Plan) bool {
	for _, name := range r.Balancers {
		b, ok := p.Balancer(name)
		if !ok {
			continue
		}
		if c, _ := p.Cloud(b.Cloud); c.Rackspace == nil {
			x.wrong("type", `type = "A"`, "is AAAA, and the address of a load balancer is IPv4")
			return true
		}
		limited := len(b.AllowedCIDRs) > 0
		for _, o := range b.In {
			limited = limited || len(o.AllowedCIDRs) > 0
		}
		if limited {
			x.wrong("type", `type = "A", or take allowed_cidrs out`, "is AAAA, and load_balancer %q has allowed_cidrs, which keep nobody out who comes over IPv6", name)
			return true
		}
	}
	return false
}
