package provision

import (
	"fmt"
	"time"

	"github.com/dripstat/failover/secrets"
)

// Pos is a place in a plan file, for messages. Line and Column count from 1; 0 means unknown.
type Pos struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String gives "failover.hcl:31", or nothing where the place is unknown.
func (p Pos) String() string {
	if p.File == "" {
		return ""
	}
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Plan is what a team declared, before anything was asked of a cloud. planfile makes it; nothing changes
// it afterwards. Names are those of the blocks; a reference such as server.collector is kept as "collector".
type Plan struct {
	Files  []string // as read, in order
	Dir    string   // relative paths of the plan are meant from here
	Digest string   // SHA-256 of the files, hex

	Service  string
	Home     string
	Regions  []string
	Operator string // "me" in open rules: an address or CIDR; empty: found out
	Store    Store

	Clouds       []Cloud
	Secrets      []SecretStore
	Certificates []Certificate
	Servers      []Server
	Balancers    []Balancer
	Zones        []Zone
	Hooks        []Hook
}

// Store says where journals and leases are kept.
type Store struct {
	Dir  string // file store; empty: the user's state directory
	Etcd *Etcd  // beside it, what a team shares
}

// Etcd is a cluster that keeps journals and leases for everyone.
type Etcd struct {
	Endpoints     []string // URLs
	CA, Cert, Key string   // PEM files
	Username      string
	Password      secrets.Value
	Prefix        string // of every key; empty: "failover/"
}

// Cloud is one set of credentials. Exactly one of the pointers is set.
type Cloud struct {
	Name      string
	Pos       Pos
	OpenStack *OpenStack
	Rackspace *Rackspace
}

// Rackspace names credentials of Rackspace's first cloud: a user with an API key or a password. Where nothing is given they
// are found in the environment, or in the file that Rackspace's own tools read.
type Rackspace struct {
	Username string
	APIKey   secrets.Value
	Password secrets.Value
	Account  string   // its number; empty: what the user belongs to
	AuthURLs []string // tried in turn; empty: Rackspace's own
}

// OpenStack names credentials: an entry of clouds.yaml, or OS_* variables where Entry is empty and
// nothing else is given, or the fields themselves. Fields that are given override the entry's.
type OpenStack struct {
	Entry    string   // name in clouds.yaml
	AuthURLs []string // tried in turn
	CACert   string   // path of a PEM file
	Username string
	Password secrets.Value
	Project  string
	Domain   string // of user and project

	ApplicationCredentialID     string
	ApplicationCredentialSecret secrets.Value
	Interface                   string // public (default), internal, admin
}

// Certificate is a chain and key that servers present.
type Certificate struct {
	Name    string
	Pos     Pos
	From    []secrets.Ref // a ladder: the next where one cannot be reached
	Names   []string      // DNS names that it must cover
	CA      string        // PEM text of extra roots that clients of this service trust; empty: the system's alone
	Warn    time.Duration
	Persist bool     // on a disk of the server, not in /run
	Reload  string   // systemd unit to reload once it is there; empty: failover-proxy.service for tls-proxy, none otherwise
	Command []string // to run on the server once it is there, instead of Reload
}

// Server is one block: Count servers that are alike.
type Server struct {
	Name           string
	Pos            Pos
	Cloud          string
	Count          int
	Need           int // proven servers that are enough to move, the rest join later; 0: Count
	Hedge          int // servers more than Count; the first Count that are proven stay, the others are deleted
	Image          ImageWant
	Flavors        []FlavorWant // a ladder: the next when there is no room
	Zones          []string     // availability zones, a ladder within each flavor; empty: the cloud chooses
	Networks       []string     // names or ids
	FloatingIP     string       // name of an external network; empty: fixed addresses are public
	Spread         bool         // no two on one hypervisor
	SecurityGroups []string     // existing, by name
	Open           []OpenRule   // a group made for the run; empty: none is made
	KeepSSH        bool         // leave 22 open after delivery
	ConfigDrive    bool
	Volume         Volume // where the flavor has no disk
	Metadata       map[string]string
	Template       string            // "tls-proxy", "plain", or a path
	TemplateText   string            // what the file at Template holds; empty for a built-in
	UserData       string            // raw, instead of a template
	Vars           map[string]string // of the template
	Certificate    string            // name, or empty
	Deliver        *Delivery         // where it ends, as far as the plan says; nil: the certificate's own words, see Delivery
	SSH            SSH
	Ready          *Ready
	Timeout        time.Duration // from create to ACTIVE, of one attempt

	// In holds, for each region that the plan says something different for, the whole block with that applied.
	In map[string]*Server
}

// ImageWant names an image by id or exact name, or the newest whose name matches Pattern (path.Match).
type ImageWant struct {
	Name    string // name or id
	Pattern string
}

// String gives what the plan says.
func (w ImageWant) String() string {
	if w.Pattern != "" {
		return "newest " + w.Pattern
	}
	return w.Name
}

// FlavorWant names a flavor, or what is needed of one: the smallest that satisfies, or the largest with Largest.
type FlavorWant struct {
	Name    string
	VCPUs   int
	RAMMB   int
	DiskGB  int
	Largest bool
}

// String gives what the plan says.
func (w FlavorWant) String() string {
	if w.Name != "" {
		return w.Name
	}
	s := "smallest"
	if w.Largest {
		s = "largest"
	}
	return fmt.Sprintf("%s with %d vCPU, %d MiB, %d GB disk or more", s, w.VCPUs, w.RAMMB, w.DiskGB)
}

// Volume is what to boot from where a flavor brings no disk.
type Volume struct {
	SizeGB int
	Type   string
}

// OpenRule lets traffic in. From is "any", "me", "balancers" (the networks of the load balancers that the server is a
// member of), an address or a CIDR.
type OpenRule struct {
	Protocol string // tcp, udp, icmp
	Port     int    // 0 for icmp
	PortMax  int    // the same as Port, or the end of a range
	From     string
}

// SSH says how a certificate gets onto the server.
type SSH struct {
	User string // "debian"
	Port int    // 22
	Via  string // jump host: user@host[:port]
}

// Ready is what a server must answer before DNS may name it.
type Ready struct {
	URL       string // https://name[:port]/path, asked at the address under this name; http:// for members of a load balancer
	Status    int
	Body      string // substring that the body must hold; empty: any
	Within    time.Duration
	Successes int    // in a row
	CA        string // PEM text of extra roots; empty: the certificate's CA
}

// Hook is a step of the user's own, run on the operator's machine.
type Hook struct {
	Name    string
	Pos     Pos
	Run     []HookArg
	After   []string // addresses: "server.collector", "dns.public", "step.warm"
	Before  []string
	Timeout time.Duration
}

// HookArg is a literal word, or the addresses of a Server block or of a Balancer (its Ref), each a word of its own.
type HookArg struct {
	Text        string
	AddressesOf string
}

// For gives the plan as it is for one region: the overrides for it applied.
func (p Plan) For(region string) Plan {
	out := p
	out.Servers = make([]Server, len(p.Servers))
	for i, s := range p.Servers {
		if o := s.In[region]; o != nil {
			s = *o
		}
		s.In = nil
		out.Servers[i] = s
	}
	out.Balancers = make([]Balancer, len(p.Balancers))
	for i, b := range p.Balancers {
		if o := b.In[region]; o != nil {
			b = *o
		}
		b.In = nil
		out.Balancers[i] = b
	}
	return out
}

// Server finds a block by name.
func (p Plan) Server(name string) (Server, bool) {
	return find(p.Servers, name, func(s Server) string { return s.Name })
}

// Certificate finds a block by name.
func (p Plan) Certificate(name string) (Certificate, bool) {
	return find(p.Certificates, name, func(c Certificate) string { return c.Name })
}

// Cloud finds a block by name.
func (p Plan) Cloud(name string) (Cloud, bool) {
	return find(p.Clouds, name, func(c Cloud) string { return c.Name })
}

// Zone finds a dns block by name.
func (p Plan) Zone(name string) (Zone, bool) {
	return find(p.Zones, name, func(z Zone) string { return z.Name })
}

// SecretStore finds a block by name.
func (p Plan) SecretStore(name string) (SecretStore, bool) {
	return find(p.Secrets, name, func(s SecretStore) string { return s.Name })
}

func find[T any](list []T, name string, nameOf func(T) string) (T, bool) {
	for _, x := range list {
		if nameOf(x) == name {
			return x, true
		}
	}
	var zero T
	return zero, false
}

// Pooled reports whether the run can do without some of the block's servers.
func (s Server) Pooled() bool { return s.Enough() < s.Count || s.Hedge > 0 }

// Enough gives how many proven servers let DNS move: Need, or all of Count.
func (s Server) Enough() int {
	if s.Need > 0 {
		return s.Need
	}
	return s.Count
}

// Slots gives the names of a block's servers, those of the hedge too: "collector-1", "collector-2".
func (s Server) Slots() []string {
	out := make([]string, s.Count+s.Hedge)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%d", s.Name, i+1)
	}
	return out
}
