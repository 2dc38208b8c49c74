package provision

import (
	"net/netip"
	"strings"
	"time"
)

// Balancer is one load_balancer block: a load balancer of the target region, where TLS ends, so that no server has the
// key. It says nothing that only one kind of cloud could do.
type Balancer struct {
	Name            string
	Pos             Pos
	Cloud           string
	Existing        *Existing // one that is there is used; nil: a new one is made
	Members         []string  // names of Server blocks
	MemberPort      int
	MemberProtocol  string   // "http"; or "https": encrypted on the way to the members too
	Terminate       []string // names of Certificate blocks; the first is for clients that ask for no name of another
	Network         string   // of its address: name or id; empty: the members' first
	Subnet          string   // of its address, name or id; empty: the cloud chooses
	FloatingIP      string   // name of an external network; empty: its own address is public
	Listen          int      // port where TLS is answered
	RedirectHTTP    bool     // port 80 sends to it
	ConnectionLimit int      // of all clients together; 0: none
	PerIP           int      // connections of one client at once; 0: any number
	AllowedCIDRs    []string // who may come in; empty: everybody
	TLSVersions     []string // "1.2", "1.3"; empty: what the cloud allows
	Algorithm       string   // "round_robin", "least_connections", "source_ip"
	Provider        string   // empty: the cloud's default
	Flavors         []string // a ladder; empty: the provider's default
	Health          Health
	Ready           *Ready
	Timeout         time.Duration // until it is there, for one attempt

	// In holds, for each region that the plan says something different for, the whole block with that applied.
	In map[string]*Balancer
}

// Existing says which load balancer of the target region is used, in the place of a new one.
type Existing struct {
	Name   string // or id; empty: the one that has Member
	Member string // address of a member that the run's servers take the place of; empty: none
}

// Health is how a load balancer asks its members whether they are well.
type Health struct {
	Path     string
	Status   int
	Interval time.Duration // whole seconds
	Timeout  time.Duration // whole seconds
	Rise     int           // good answers in a row until a member gets traffic
	Fall     int           // bad ones until it gets none
}

// balancerRef begins a reference to a load_balancer block.
const balancerRef = "load_balancer."

// Ref is how a plan names the block: "load_balancer.edge". No Server block has such a name.
func (b Balancer) Ref() string { return balancerRef + b.Name }

// Slot is what the load balancer's things are tagged with. Slots of servers end in a number.
func (b Balancer) Slot() string { return b.Name + "-vip" }

// Balancer finds a block by name.
func (p Plan) Balancer(name string) (Balancer, bool) {
	return find(p.Balancers, name, func(b Balancer) string { return b.Name })
}

// BalancersOf gives those of which a server block is a member.
func (p Plan) BalancersOf(server string) []Balancer {
	var out []Balancer
	for _, b := range p.Balancers {
		for _, m := range b.Members {
			if m == server {
				out = append(out, b)
			}
		}
	}
	return out
}

// Plain reports whether what is asked is not encrypted: it says that a member of a load balancer answers, and proves
// nothing to a client.
func (r *Ready) Plain() bool { return r != nil && strings.HasPrefix(r.URL, "http://") }

// BalancerFacts are the resolved wishes of one Balancer block.
type BalancerFacts struct {
	Network       Network
	Subnet        string            // id, or empty
	MemberSubnets map[string]string // by Server block: id of the subnet that its members are reached on, where it is not the load balancer's own network
	Floating      *Network
	Rungs         []NamedID // flavors; empty: the default alone
	Standing      *Standing // the one that is there; nil: a new one is made
}

// Standing is a load balancer that was there before the run, as it was read.
type Standing struct {
	ID, Name, Status string
	Protocol         string // "HTTP"
	IPv4, IPv6       string // public; empty: none
	TLSPort          int    // where TLS ends; 0: nowhere
	Plain            bool   // it answers plain HTTP too
	Fingerprint      string // SHA-256 of the certificate that TLS ends with, hex; empty: none, or it is not shown
	Members          []StandingMember
}

// StandingMember is a member of one.
type StandingMember struct {
	ID        string `json:"id"`
	Address   string `json:"address"`
	Port      int    `json:"port"`
	Condition string `json:"condition"` // "ENABLED", "DISABLED" or "DRAINING"
}

// Same reports whether it is the same member of one load balancer.
func (m StandingMember) Same(other StandingMember) bool { return m.ID == other.ID }

// Replaced gives the members that the run's servers take the place of.
func (x Existing) Replaced(s Standing) []StandingMember {
	var out []StandingMember
	for _, m := range s.Members {
		if x.Member != "" && SameAddress(m.Address, x.Member) {
			out = append(out, m)
		}
	}
	return out
}

// SameAddress compares addresses however they are written; names are compared as they are.
func SameAddress(x, y string) bool {
	a, aerr := netip.ParseAddr(x)
	b, berr := netip.ParseAddr(y)
	return x == y || aerr == nil && berr == nil && a.Unmap() == b.Unmap()
}

// Balancing is what a region offers of load balancers.
type Balancing struct {
	Providers []string  // nil: not for this user to know
	Flavors   []NamedID // those that are enabled
	Balancers []Live    // those that carry a name of ours; no Slot
	Members   int       // the most that one of them may have; 0: not known
	// Standing are those that an Existing is about, by the block's name: none, the one, or several that it could mean.
	Standing map[string][]Standing
}

// Stands gives the load balancer that a block is to use; nil where there is none, or more than one is meant.
func (o *Balancing) Stands(block string) *Standing {
	if o == nil || len(o.Standing[block]) != 1 {
		return nil
	}
	return &o.Standing[block][0]
}

// Subnet as neutron describes it.
type Subnet struct {
	ID, Name string
	Version  int
	CIDR     string
}
