package sandbox

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// model is the whole state. Nothing in it moves by itself: what a server or a
// record set is at some moment follows from when it was made and what time it
// is, so that no goroutine is needed and a fake clock works.
type model struct {
	tokens   map[string]*token
	regions  map[string]*region
	keypairs map[string]*keypair // nova's key pairs belong to a user, but each region has its own nova
	servers  map[string]*server
	groups   map[string]*serverGroup
	networks map[string]*network
	ports    map[string]*port
	secgrps  map[string]*secGroup
	fips     map[string]*floatingIP
	volumes  map[string]*volume
	zones    map[string]*zone // by name

	balancers  map[string]*balancer
	secrets    map[string]*secretItem
	containers map[string]*keyContainer
	clbGone    map[int]bool // numbers of Rackspace's load balancers that were deleted
	order      int          // creations so far: lists are in order of creation
}

type region struct {
	name    string
	index   int
	images  []*image
	flavors []*flavor
}

type image struct {
	Image
	id string
}

type flavor struct {
	Flavor
	id string
}

type keypair struct {
	region, name, public, fingerprint string
	created                           time.Time
	order                             int
}

type serverGroup struct {
	id, region, name, policy string
	members                  []string
	order                    int
}

type volume struct {
	id, region, server string
	sizeGB             int
	deleteWithServer   bool
}

type network struct {
	id, region, name, subnet string
	external                 bool
	cidr                     netip.Prefix
	next                     netip.Addr
	tags                     []string
}

type port struct {
	id, region, network, name string
	ip                        netip.Addr
	mac                       string
	server                    string // "" for a port that nobody uses
	owned                     bool   // nova made it and takes it along when the server goes
	groups                    []string
	tags                      []string
	created                   time.Time
	order                     int
}

type floatingIP struct {
	id, region, network, port string
	ip                        netip.Addr
	description               string
	tags                      []string
	created                   time.Time
	order                     int
}

type secGroup struct {
	id, region, name, description string
	rules                         []*secRule
	tags                          []string
	created                       time.Time
	order                         int
}

func (c *Cloud) nextOrder() int {
	c.order++
	return c.order
}

// ofRegion returns the values of m that belong to a region, oldest first.
func ofRegion[T any](m map[string]T, region string, at func(T) (string, int)) []T {
	var list []T
	for _, v := range m {
		if r, _ := at(v); region == "" || r == region {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, func(a, b T) int {
		_, x := at(a)
		_, y := at(b)
		return cmp.Compare(x, y)
	})
	return list
}

func (c *Cloud) serverList(region string) []*server {
	return ofRegion(c.servers, region, func(s *server) (string, int) { return s.region, s.order })
}

func (c *Cloud) portList(region string) []*port {
	return ofRegion(c.ports, region, func(p *port) (string, int) { return p.region, p.order })
}

func (c *Cloud) seed() error {
	c.model = model{
		tokens: map[string]*token{}, regions: map[string]*region{}, keypairs: map[string]*keypair{},
		servers: map[string]*server{}, groups: map[string]*serverGroup{}, networks: map[string]*network{},
		ports: map[string]*port{}, secgrps: map[string]*secGroup{}, fips: map[string]*floatingIP{},
		volumes: map[string]*volume{}, zones: map[string]*zone{},
		balancers: map[string]*balancer{}, secrets: map[string]*secretItem{}, containers: map[string]*keyContainer{}, clbGone: map[int]bool{},
	}
	yesterday := c.started.Add(-24 * time.Hour)
	for i, name := range c.opts.Regions {
		r := &region{name: name, index: i}
		c.regions[name] = r
		for n, im := range slices.Concat(c.opts.images(name), c.opts.Images) {
			if im.Arch == "" {
				im.Arch = "x86_64"
			}
			if im.DefaultUser == "" {
				im.DefaultUser = "debian"
			}
			if im.Created.IsZero() {
				im.Created = yesterday.Add(time.Duration(n) * time.Minute)
			}
			r.images = append(r.images, &image{Image: im, id: uuid()})
		}
		for _, f := range slices.Concat(c.opts.flavors(name), c.opts.Flavors) {
			id := f.ID
			if id == "" {
				id = uuid()
			}
			r.flavors = append(r.flavors, &flavor{Flavor: f, id: id})
		}
		for n, net := range append(c.opts.networks(), c.opts.Networks...) {
			if n >= 8 {
				return fmt.Errorf("too many networks: 8 have room in a region's part of the /16")
			}
			// Each network of each region has a /22 of its own inside 127.A.0.0/16.
			cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{127, c.base, byte(i*32 + n*4), 0}), 22)
			if n == 1 {
				cidr = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, c.base, byte(i * 4), 0}), 22)
			}
			id := uuid()
			c.networks[id] = &network{id: id, region: name, name: net, subnet: uuid(),
				external: n == 0, cidr: cidr, next: cidr.Addr().Next().Next()}
		}
		def := &secGroup{id: uuid(), region: name, name: "default", description: "Default security group", created: c.started, order: c.nextOrder()}
		for _, eth := range []string{"IPv4", "IPv6"} {
			def.rules = append(def.rules,
				&secRule{id: uuid(), group: def.id, direction: "egress", ethertype: eth},
				&secRule{id: uuid(), group: def.id, direction: "ingress", ethertype: eth, remoteGroup: &def.id})
		}
		c.secgrps[def.id] = def
		for _, g := range c.opts.SecurityGroups {
			own := &secGroup{id: uuid(), region: name, name: g, created: c.started, order: c.nextOrder()}
			c.secgrps[own.id] = own
		}
	}
	if err := c.seedBalancers(); err != nil {
		return err
	}
	for _, z := range c.opts.Zones {
		if err := c.addZone(z); err != nil {
			return err
		}
	}
	return nil
}

// Builtin gives the names of the images, flavors and networks that regions have, whatever these options add. With Flex not each
// region has all of them.
func (o Options) Builtin() (images, flavors, networks []string) {
	for _, i := range unique(o.images, func(i Image) string { return i.Name }) {
		images = append(images, i.Name)
	}
	for _, f := range unique(o.flavors, func(f Flavor) string { return f.Name }) {
		flavors = append(flavors, f.Name)
		if f.ID != "" {
			flavors = append(flavors, f.ID)
		}
	}
	networks = o.networks()
	if o.Rackspace != nil {
		networks = append(networks, "PublicNet", "ServiceNet")
	}
	return images, flavors, networks
}

func (o Options) networks() []string {
	if o.Flex {
		return slices.Clone(flexNets)
	}
	return []string{"public", "private"}
}

func (o Options) images(region string) []Image {
	switch {
	case o.Flex:
		return flexImages(region)
	case o.Rackspace != nil:
		return slices.Concat(defaultImages, rackspaceImages)
	}
	return defaultImages
}

func (o Options) flavors(region string) []Flavor {
	switch {
	case o.Flex:
		return flexFlavors(region)
	case o.Rackspace != nil:
		return rackspaceFlavors
	}
	return defaultFlavors
}

var defaultImages = []Image{
	{Name: "debian-11", MinDiskGB: 3},
	{Name: "debian-12", MinDiskGB: 3, MinRAMMB: 512},
	{Name: "ubuntu-22.04", MinDiskGB: 4, MinRAMMB: 512, DefaultUser: "ubuntu"},
	{Name: "ubuntu-24.04", MinDiskGB: 4, MinRAMMB: 1024, DefaultUser: "ubuntu"},
	{Name: "rocky-9", MinDiskGB: 10, MinRAMMB: 1024, DefaultUser: "rocky"},
}

var defaultFlavors = []Flavor{
	{Name: "m1.small", VCPUs: 1, RAMMB: 2 << 10, DiskGB: 20},
	{Name: "m1.medium", VCPUs: 2, RAMMB: 4 << 10, DiskGB: 40},
	{Name: "m1.large", VCPUs: 4, RAMMB: 8 << 10, DiskGB: 80},
	{Name: "m1.xlarge", VCPUs: 8, RAMMB: 16 << 10, DiskGB: 160},
	{Name: "m1.2xlarge", VCPUs: 8, RAMMB: 32 << 10, DiskGB: 160},
	{Name: "m1.4xlarge", VCPUs: 16, RAMMB: 64 << 10, DiskGB: 160},
	{Name: "m1.8xlarge", VCPUs: 32, RAMMB: 128 << 10, DiskGB: 160},
	{Name: "m1.16xlarge", VCPUs: 64, RAMMB: 256 << 10, DiskGB: 160},
	{Name: "v1.4xlarge", VCPUs: 16, RAMMB: 64 << 10, DiskGB: 0},
}

// freeIP is the next address of a network that no port and no floating IP has.
// It goes round, so that an address is not given again at once.
func (c *Cloud) freeIP(n *network) (netip.Addr, bool) {
	if c.base == 0 && n.cidr.Addr().IsLoopback() {
		return netip.MustParseAddr("127.0.0.1"), true
	}
	used := map[netip.Addr]bool{}
	for _, p := range c.ports {
		used[p.ip] = true
	}
	for _, f := range c.fips {
		used[f.ip] = true
	}
	for range 1 << 10 {
		ip := n.next
		n.next = n.next.Next()
		if !n.cidr.Contains(n.next.Next()) { // the last address is the broadcast one
			n.next = n.cidr.Addr().Next().Next()
		}
		if !used[ip] {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

func (c *Cloud) networkOf(region, id string) *network {
	if n := c.networks[id]; n != nil && n.region == region {
		return n
	}
	return nil
}

func (c *Cloud) newPort(n *network, name string, at time.Time) *port {
	ip, ok := c.freeIP(n)
	if !ok {
		return nil
	}
	b := randBytes(3)
	p := &port{id: uuid(), region: n.region, network: n.id, name: name, ip: ip,
		mac: fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", b[0], b[1], b[2]), created: at, order: c.nextOrder()}
	c.ports[p.id] = p
	return p
}

// sweep takes away what is gone by now.
func (c *Cloud) sweep(now time.Time) {
	for _, s := range c.servers {
		if !s.deleted.IsZero() && !now.Before(s.deleted.Add(s.deletion)) {
			c.removeServer(s)
		}
	}
	for _, b := range c.balancers {
		if !b.deleted.IsZero() && !now.Before(b.deleted.Add(c.opts.BalancerDelay/2)) {
			c.removeBalancer(b)
		}
	}
}

func (c *Cloud) removeServer(s *server) {
	s.machine.stop()
	delete(c.servers, s.id)
	for _, p := range c.ports {
		if p.server != s.id {
			continue
		}
		if p.owned {
			c.removePort(p)
		} else {
			p.server = ""
		}
	}
	for _, v := range c.volumes {
		if v.server == s.id {
			if v.server = ""; v.deleteWithServer {
				delete(c.volumes, v.id)
			}
		}
	}
	for _, g := range c.groups {
		g.members = slices.DeleteFunc(g.members, func(id string) bool { return id == s.id })
	}
}

func (c *Cloud) removePort(p *port) {
	delete(c.ports, p.id)
	for _, f := range c.fips {
		if f.port == p.id {
			f.port = ""
		}
	}
}

// claimPort is where a sandbox holds its /16 against others on the machine.
const claimPort = "64127"

// claimAddresses picks a /16 of 127.0.0.0/8 that no other sandbox uses. Linux
// answers on all of 127/8; where only 127.0.0.1 exists (macOS), base stays 0.
func (c *Cloud) claimAddresses() error {
	if c.opts.single {
		return nil
	}
	if c.opts.InMemory {
		c.base = 1 + randBytes(1)[0]%250
		return nil
	}
	probe, err := net.Listen("tcp", "127.213.7.1:0")
	if err != nil {
		return nil //nolint:nilerr // only 127.0.0.1 can be bound here: SingleAddress
	}
	probe.Close()
	for range 500 {
		a := 1 + randBytes(1)[0]%250
		if c.claim, err = net.Listen("tcp", fmt.Sprintf("127.%d.255.254:%s", a, claimPort)); err == nil {
			c.base = a
			return nil
		}
	}
	return fmt.Errorf("no free /16 in 127.0.0.0/8: %w", err)
}

// SingleAddress tells that this machine has only 127.0.0.1, so that all servers
// share it. Dial then reaches, of all of them, the one that was created last
// and listens, and a plan of several servers can be tried only one at a time.
func (c *Cloud) SingleAddress() bool { return c.base == 0 }
