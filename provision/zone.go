package provision

import (
	"time"

	"github.com/dripstat/failover/secrets"
)

// Zone is one dns block.
type Zone struct {
	Name        string
	Pos         Pos
	Zone        string // "dripstat.com", without the final dot
	NameServers []string
	Resolvers   []string // asked at the end, host[:port]
	Provider    DNSProvider
	Records     []Record
	Within      time.Duration // until every name server agrees
}

// DNSProvider is exactly one of these.
type DNSProvider struct {
	Designate *Designate
	RFC2136   *RFC2136
	Route53   *Route53
	CloudDNS  *CloudDNS
}

// Kind gives the name that the plan language uses.
func (p DNSProvider) Kind() string {
	switch {
	case p.Designate != nil:
		return "designate"
	case p.RFC2136 != nil:
		return "rfc2136"
	case p.Route53 != nil:
		return "route53"
	case p.CloudDNS != nil:
		return "clouddns"
	}
	return ""
}

// Designate is OpenStack's DNS service, reached with the credentials of Cloud.
type Designate struct{ Cloud string }

// CloudDNS is Rackspace's DNS service, reached with the credentials of Cloud.
type CloudDNS struct{ Cloud string }

// LeastTTL is the lowest TTL of a record that the provider takes.
func (p DNSProvider) LeastTTL() time.Duration {
	if p.CloudDNS != nil {
		return 300 * time.Second // https://docs.rackspace.com/docs/cloud-dns/v1: "The TTL value must be 300 or greater"
	}
	return time.Second
}

// RFC2136 is a primary name server that takes signed updates.
type RFC2136 struct {
	Server    string // host[:port]
	KeyName   string
	Algorithm string // hmac-sha256 (default), hmac-sha512, ...
	Secret    secrets.Value
}

// Route53 is Amazon's; credentials come from its own environment and files.
type Route53 struct {
	ZoneID  string
	Profile string
}

// Record is one RRset that the run moves to Servers or Balancers.
type Record struct {
	Name string // block label
	Pos  Pos
	Host string        // relative to the zone, "@" or empty for the apex
	Type string        // A, AAAA, CNAME
	TTL  time.Duration // wanted while and after the run
	To   []string      // names of Server blocks
	// Balancers, beside To: names of Balancer blocks.
	Balancers []string
	// Values, instead of To: literal records (a CNAME's target).
	Values []string
	// Unproven says, in the plan's own words, that this name may be moved to servers that nothing has
	// proven: those without a ready block, or literal values.
	Unproven bool
}

// FQDN gives the record's full name with the final dot.
func (z Zone) FQDN(r Record) string {
	if r.Host == "" || r.Host == "@" {
		return z.Zone + "."
	}
	return r.Host + "." + z.Zone + "."
}
