package sandbox

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Snapshot is everything there is at one moment, in order of creation, for tests
// that compare before and after.
type Snapshot struct {
	Servers        []ServerState
	Ports          []PortState
	KeyPairs       []KeyPairState
	SecurityGroups []GroupState // with each region's own "default"
	ServerGroups   []GroupState
	FloatingIPs    []FloatingIPState
	Volumes        []VolumeState
	Balancers      []BalancerState
	KeyManager     []KeyState // secrets and containers
	Designate      []RRset    // as designate shows them, with the zones' SOA and NS
	Served         []RRset    // as the name server answers
}

// ServerState is a server; one that is being deleted is still there.
type ServerState struct {
	ID, Name, Region, Status, TaskState string
	Flavor, Image, KeyName, Zone        string
	HostID, Group                       string
	Metadata                            map[string]string
	Tags                                []string
	Addresses                           []string // fixed, then floating
	Created                             time.Time
}

// PortState is a neutron port.
type PortState struct{ ID, Region, Network, Server, Address string }

// KeyPairState is a nova key pair.
type KeyPairState struct{ Region, Name, PublicKey string }

// GroupState is a security group (Detail: its description) or a server group
// (Detail: its policy).
type GroupState struct {
	ID, Region, Name, Detail string
	Tags, Members            []string
	Rules                    []string // of a security group, of what comes in: "tcp 22-22 127.0.0.1/32"
}

// FloatingIPState is a floating IP; Port is empty when it leads nowhere.
type FloatingIPState struct {
	ID, Region, Address, Port, Description string
	Tags                                   []string
}

// BalancerState is a load balancer; one that is being deleted is still there. Address is its own, without a floating one.
type BalancerState struct {
	ID, Region, Name, Status, Address string
	Port                              string // neutron's, which a floating IP leads to
	Listen                            []int
	Parts                             []string // "listener 443", "pool", "healthmonitor", "l7policy" and "l7rule HOST", sorted
	Containers                        []string // ids of those that its listeners end TLS with
	Members                           []string // address:port of the first pool's
	Idle                              []string // those of them that get no traffic
	Tags                              []string
}

// KeyState is a secret or a container of the key manager; payloads are not shown.
type KeyState struct{ ID, Region, Name, Kind string }

// VolumeState is a volume that a server was booted from.
type VolumeState struct {
	ID, Region, Server string
	SizeGB             int
}

// RRset is a record set; TTL is in seconds, Status empty for what is served.
type RRset struct {
	Zone, Name, Type string
	TTL              int
	Values           []string
	Status           string
	Leaving          bool // designate is deleting it
}

// Offers gives the ids of what a region has from the start, by name.
func (c *Cloud) Offers(region string) (images, flavors, networks map[string]string) {
	images, flavors, networks = map[string]string{}, map[string]string{}, map[string]string{}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.regions[region]
	if r == nil {
		return images, flavors, networks
	}
	for _, i := range r.images {
		images[i.Name] = i.id
	}
	for _, f := range r.flavors {
		flavors[f.Name] = f.id
	}
	for _, n := range c.networks {
		if n.region == region {
			networks[n.name] = n.id
		}
	}
	return images, flavors, networks
}

// Serves returns what the name server answers now; false where it has no such record.
func (c *Cloud) Serves(name, kind string) (RRset, bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, z := range c.zones {
		z.settle(now)
		if d, ok := z.served[rrKey{name, kind}]; ok {
			return RRset{Zone: z.name, Name: name, Type: kind, TTL: d.ttl, Values: slices.Clone(d.values)}, true
		}
	}
	return RRset{}, false
}

// Snapshot returns the state of now.
func (c *Cloud) Snapshot() (s Snapshot) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep(now)
	for _, v := range c.serverList("") {
		st := v.at(now)
		o := ServerState{ID: v.id, Name: v.name, Region: v.region, Status: st.status, TaskState: st.task, Flavor: v.flavor.Name,
			Image: v.bootImage.Name, Zone: v.az, HostID: v.hostID(c.project), Group: v.group,
			Metadata: maps.Clone(v.metadata), Tags: slices.Clone(v.tags), Created: v.created}
		if v.key != nil {
			o.KeyName = v.key.name
		}
		if !st.placed {
			o.HostID = ""
		}
		var floating []string
		for _, p := range c.portList(v.region) {
			if p.server != v.id || !st.networked {
				continue
			}
			o.Addresses = append(o.Addresses, p.ip.String())
			for _, f := range c.fipList(v.region) {
				if f.port == p.id {
					floating = append(floating, f.ip.String())
				}
			}
		}
		o.Addresses = append(o.Addresses, floating...)
		s.Servers = append(s.Servers, o)
	}
	for _, p := range c.portList("") {
		s.Ports = append(s.Ports, PortState{p.id, p.region, c.networks[p.network].name, p.server, p.ip.String()})
	}
	for _, p := range c.keypairList("") {
		s.KeyPairs = append(s.KeyPairs, KeyPairState{p.region, p.name, p.public})
	}
	for _, g := range c.groupsOf("") {
		s.SecurityGroups = append(s.SecurityGroups, GroupState{ID: g.id, Region: g.region, Name: g.name, Detail: g.description, Tags: slices.Clone(g.tags), Rules: g.incoming()})
	}
	for _, g := range c.groupList("") {
		s.ServerGroups = append(s.ServerGroups, GroupState{ID: g.id, Region: g.region, Name: g.name, Detail: g.policy, Members: slices.Clone(g.members)})
	}
	for _, f := range c.fipList("") {
		s.FloatingIPs = append(s.FloatingIPs, FloatingIPState{f.id, f.region, f.ip.String(), f.port, f.description, slices.Clone(f.tags)})
	}
	for _, b := range c.balancersOf("") {
		o := BalancerState{ID: b.id, Region: b.region, Name: b.name, Status: b.at(now), Address: b.port.ip.String(), Port: b.port.id, Tags: slices.Clone(b.tags)}
		for _, l := range b.listeners {
			o.Listen = append(o.Listen, l.port)
			o.Parts = append(o.Parts, "listener "+itoa(l.port))
			for _, href := range l.containers {
				o.Containers = append(o.Containers, href[strings.LastIndexByte(href, '/')+1:])
			}
			for _, p := range l.policies {
				o.Parts = append(o.Parts, "l7policy")
				for _, r := range p.rules {
					o.Parts = append(o.Parts, "l7rule "+r.value)
				}
			}
		}
		for _, p := range b.pools {
			if o.Parts = append(o.Parts, "pool"); p.monitor != nil && (b.clb == nil || b.clb.monitor != nil) {
				o.Parts = append(o.Parts, "healthmonitor")
			}
		}
		slices.Sort(o.Parts)
		for _, p := range b.pools[:min(1, len(b.pools))] {
			for _, m := range p.members {
				o.Members = append(o.Members, m.hostPort())
				if m.down {
					o.Idle = append(o.Idle, m.hostPort())
				}
			}
		}
		s.Balancers = append(s.Balancers, o)
	}
	for _, x := range c.secretsOf("") {
		s.KeyManager = append(s.KeyManager, KeyState{x.id, x.region, x.name, "secret"})
	}
	for _, x := range c.containersOf("") {
		s.KeyManager = append(s.KeyManager, KeyState{x.id, x.region, x.name, "container"})
	}
	for _, v := range c.volumes {
		s.Volumes = append(s.Volumes, VolumeState{v.id, v.region, v.server, v.sizeGB})
	}
	slices.SortFunc(s.Volumes, func(a, b VolumeState) int { return cmp.Compare(a.ID, b.ID) })
	for _, z := range c.zoneList() {
		z.settle(now)
		for _, rs := range z.list() {
			status := "ACTIVE"
			if rs.last.pending(now) {
				status = "PENDING"
			}
			s.Designate = append(s.Designate, RRset{z.name, rs.name, rs.kind, rs.ttlOr(z.ttl), slices.Clone(rs.values), status, rs.gone})
		}
		for key, d := range z.served {
			s.Served = append(s.Served, RRset{Zone: z.name, Name: key.name, Type: key.kind, TTL: d.ttl, Values: slices.Clone(d.values)})
		}
	}
	slices.SortFunc(s.Served, func(a, b RRset) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
	})
	return s
}

// incoming lists what a group lets in.
func (g *secGroup) incoming() (out []string) {
	for _, r := range g.rules {
		if r.direction == "ingress" {
			out = append(out, fmt.Sprintf("%v %v-%v %v", str(r.protocol), intp(r.portMin), intp(r.portMax), str(r.remotePrefix)))
		}
	}
	return out
}
