package provision

import (
	"net/netip"
	"time"
)

// Inventory is what one region of a cloud was seen to offer, read without changing anything. Lists are
// complete; what could not be read is in Unread and its list is nil.
type Inventory struct {
	Cloud   string // name of the plan's block
	Region  string
	Regions []string // all that the catalog names

	Images         map[string][]Image // for each Server block of this cloud: candidates for its image, newest first
	Flavors        []Flavor
	Zones          []string // availability zones that are up
	Networks       []Network
	SecurityGroups []NamedID
	Quotas         map[string]Quota // instances, cores, ram (MiB), server_groups, floatingip, security_group, keypairs, load_balancers, listeners, pools
	KeyPairs       []string
	ServerGroups   []NamedID
	Servers        []Live        // those that carry this service's tag
	Balancing      *Balancing    // nil where the plan has no load balancer there, or it could not be read
	Containers     []NamedID     // of the key manager, that carry a name of ours; nil as Balancing
	Skew           time.Duration // the cloud's clock less this machine's, as far as an HTTP Date header tells
	Local          netip.Addr    // this machine's end of the connection to the compute API
	Remote         netip.Addr    // the other end
	UserDataMax    int           // bytes before base64
	Unread         []Finding
}

// Image as glance describes it.
type Image struct {
	ID, Name     string
	Status       string
	MinDiskGB    int
	MinRAMMB     int
	SizeBytes    int64
	Architecture string
	Classes      string // Rackspace's flavor_classes: classes of flavors that it runs on, as in "*,!onmetal"; empty: any
	Created      time.Time
}

// Flavor as nova describes it.
type Flavor struct {
	ID, Name string
	VCPUs    int
	RAMMB    int
	DiskGB   int
	Disabled bool
	Arch     string // from extra specs, where they say
	Class    string // Rackspace's, as in io1
}

// Network as neutron describes it. Free counts IPv4 addresses; -1 when the user may not know.
type Network struct {
	ID, Name string
	External bool
	Shared   bool
	Active   bool
	IPv4     bool
	IPv6     bool
	Free     int
	Subnets  []Subnet // as far as the user may see them
}

// NamedID is anything known by a name and an id.
type NamedID struct{ ID, Name string }

// Quota of one thing. Limit -1 means none.
type Quota struct{ Limit, Used int }

// Live is a server that exists.
type Live struct {
	ID, Name, Status string
	Service          string
	Run              RunID
	Slot             string
	Addresses        []string
}

// Facts is what preflight knows when it refuses nothing: the plan's wishes, resolved for one region.
type Facts struct {
	Region       string
	At           time.Time
	Checks       int // how many were made
	Servers      map[string]ServerFacts
	Balancers    map[string]BalancerFacts
	Certificates map[string]CertificateFacts
	Records      map[string]RecordFacts // by RecordKey
	Operator     string                 // "me", as a CIDR; empty when no rule needs it
	Findings     []Finding
}

// ServerFacts are the resolved wishes of one Server block.
type ServerFacts struct {
	Image    Image
	Rungs    []Rung
	Networks []Network
	Floating *Network
	Groups   []NamedID
	UserData []byte // rendered: text, before gzip and base64
	Hedge    int    // what the plan says, or none where the quota leaves no room for it
	// Balancers are the networks, as CIDRs, that load balancers which have it as a member ask it from.
	Balancers []string
}

// Rung is one attempt: a flavor in a zone ("" lets the cloud choose).
type Rung struct {
	Flavor Flavor
	Zone   string
}

// CertificateFacts say which certificate will be delivered. No key is here.
type CertificateFacts struct {
	Fingerprint string // SHA-256 of the leaf, hex
	Subject     string
	Names       []string
	NotAfter    time.Time
	Algorithm   string // of the key: "RSA", "ECDSA"
	Source      string // "secrets.sealed"
	// Issue says how it is made by the run; nil where it is there already. The fields above but Names and Source are then
	// empty.
	Issue *IssueFacts
}

// IssueFacts say how a certificate is made that is nowhere yet.
type IssueFacts struct {
	Store, Path string // the secrets block, and where in what it seals
	By          string // who issues, for people
	Sealed      string // the file that it is sealed into, as the plan names it
	Why         string // what is wrong with the one that is kept; empty where there is none
	Challenges  []Challenge
}

// Challenge is where an authority looks for the proof that a name is ours.
type Challenge struct {
	For         string   // what it asks for: "_acme-challenge.www.shop.test."
	Zone        string   // the dns block
	Name        string   // the TXT set: For, or what For is an alias of
	NameServers []string // that answer, host:port
}

// RRset is a record set: all records of one name and type.
type RRset struct {
	Name   string   `json:"name"` // with the final dot
	Type   string   `json:"type"`
	TTL    int      `json:"ttl"` // seconds
	Values []string `json:"values"`
}

// RecordFacts are what DNS says today.
type RecordFacts struct {
	Old         RRset    // from the provider; no Values: it does not exist
	Served      []RRset  // what each of NameServers answered, in their order
	NameServers []string // host:port
}

// RecordKey is the key of Facts.Records: "collector.dripstat.com./A".
func RecordKey(fqdn, typ string) string { return fqdn + "/" + typ }

// Refused reports whether any finding refuses.
func (f Facts) Refused() bool {
	for _, x := range f.Findings {
		if x.Weight == Refuse {
			return true
		}
	}
	return false
}

// Tags that every created thing carries, as metadata where there is metadata and as tags where there are
// tags, so that it is found without a journal.
const (
	TagService = "failover_service"
	TagRun     = "failover_run"
	TagSlot    = "failover_slot"
)
