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

// SecretStore is where certificates are kept. Kind is the backend's folder below secrets/.
type SecretStore struct {
	Name string
	Pos  Pos
	Kind string // "age"; which of these is set
	Age  *AgeStore
	Exec *ExecStore
	File *FileStore
	Env  *EnvStore
	SOPS *SOPSStore
	// Vault is HashiCorp's Vault or OpenBao.
	Vault *VaultStore
	// Barbican is OpenStack's key manager.
	Barbican *BarbicanStore
	// ACME is an authority that issues.
	ACME *ACMEStore
}

// AgeStore is a bundle sealed with age.
type AgeStore struct {
	File       string   // path of the bundle
	Identity   string   // path of an identity file; empty: FAILOVER_AGE_IDENTITY, then the terminal
	Recipients []string // for whom it is made where there is none yet; none: Identity
}

// ACMEStore is a directory of ACME (RFC 8555) that issues by DNS-01, and where the result is sealed.
type ACMEStore struct {
	Directory string // URL
	Email     string
	CA        string // path of a PEM file, of the directory's own TLS
	Seal      string // secrets block (age)
	KeyType   string // p256, p384, rsa2048, rsa3072, rsa4096
	Chain     string // common name of the root to prefer
	Renew     time.Duration
	KID       string // of an external account
	HMAC      secrets.Value
}

// VaultPKI is a PKI engine of a Vault that issues, and where the result is sealed.
type VaultPKI struct {
	Mount   string
	Role    string
	TTL     time.Duration // 0: the role's
	Issue   bool          // Vault makes the key; else it signs a request for one that is made here
	KeyType string        // as of ACMEStore; empty: what the role wants
	Seal    string        // secrets block (age)
	Renew   time.Duration
}

// ExecStore is commands that print certificates. {path} in a word is the path that a certificate has there.
type ExecStore struct {
	Run        []string // prints chain and key, or JSON that holds them
	Chain, Key []string // instead: one prints the chain, one the key
	ChainField []string // of JSON
	KeyField   string
	Timeout    time.Duration
}

// FileStore is PEM files in the open. {path} in a name is the path that a certificate has there.
type FileStore struct {
	Chain string
	Key   string // empty: Chain holds the key too
}

// EnvStore is environment variables, with PEM or base64. {path} in a name is the path, as a part of such a name.
type EnvStore struct {
	Chain string
	Key   string // empty: Chain holds the key too
}

// SOPSStore is a file that the user's own sops decrypts. {path} in it and in fields is the path.
type SOPSStore struct {
	File       string
	ChainField []string
	KeyField   string
	Timeout    time.Duration
}

// BarbicanStore is the key manager of a cloud, of the region that is gone to, or of any other that need not be avoided.
// Chain and Key name two secrets, with {path} for a certificate's path; both empty: the path is a certificate container.
type BarbicanStore struct {
	Cloud      string
	Chain, Key string
}

// VaultStore is a KV engine of a Vault. What is empty is taken from the environment (BAO_ADDR, VAULT_ADDR and their like).
type VaultStore struct {
	Addresses  []string // tried in turn
	Namespace  string
	CA         string // path of a PEM file
	Mount      string
	Version    int // 0: found out
	ChainField []string
	KeyField   string
	Login      VaultLogin
	PKI        *VaultPKI // issue instead of reading
}

// VaultLogin is how Vault is logged in to. Method is the block's name; empty: Token, else the environment's.
type VaultLogin struct {
	Method   string // approle, userpass, jwt, kubernetes
	Mount    string
	Token    secrets.Value // of Vault's own; of jwt, what somebody else has signed
	File     string        // that holds the token of jwt or kubernetes
	Role     string        // role_id of approle
	Username string
	Secret   secrets.Value // secret_id or password
	Wrapped  bool          // Secret is a response-wrapping token
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
