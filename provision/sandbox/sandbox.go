// Package sandbox is a small OpenStack that lives inside one process: two
// regions of nova, glance and neutron, one keystone, one designate with a real
// authoritative name server behind it, and servers that boot, print their host
// keys on a console, take files over real SSH and then serve real HTTPS with the
// certificate they were given. Clients reach it over HTTP, DNS, SSH and TLS, so
// the code that is used against it is the code that is used against a cloud.
//
// It imitates OpenStack Zed as a member of one project sees it: status codes,
// error bodies, microversions 2.1 to 2.93, PENDING and BUILD, quotas, and the
// faults listed by [Faults]. What it is held against is what a real one answered:
// provision/e2e/testdata/conformance.txt. It does not imitate: admin calls, roles
// (a reader may write), other projects, cinder's API, routers,
// resizing and rebuilding, several servers with one request, capacity of hosts (a
// host is never full), services that call each other (nova lives on when neutron is
// dark), record sets in ERROR, enforcement of security groups, IPv6, or a shell on
// the servers (ssh.go names the few commands that they know).
//
// A load balancer of octavia's really ends TLS at its address, with what barbican holds, and hands requests to members
// that answer its monitor. Not imitated of it: any request but those that make it whole, set its members, read and remove
// it; allowed_cidrs and connection_limit, which are kept and not enforced; counting answers until a member is well
// (one is enough, and it is asked for when there is a request to serve); session persistence, statistics, failover. Of barbican: orders,
// ACLs and roles (octavia reads everything), other plugins, expiry.
//
// It never prints a secret, writes nothing to disk, sends nothing off this
// machine, and imports nothing of this module.
package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Options say what the sandbox holds and how fast it is. The zero value is
// usable: two regions, no DNS zone, no fault.
type Options struct {
	Regions        []string // default IAD and ORD
	Zones          []Zone   // DNS zones that exist from the start
	Images         []Image  // beside debian-11, debian-12, ubuntu-22.04, ubuntu-24.04 and rocky-9
	Flavors        []Flavor // beside m1.small to m1.16xlarge and v1.4xlarge, whose disk is 0
	Networks       []string // beside public (external, shared, pluggable) and private (wants a floating IP)
	SecurityGroups []string // names of groups beside default; they let nothing in
	AZs            []string // availability zones of each region; default az1 and az2

	BalancerFlavors []string // flavors of load balancers; default none
	Hosts           int      // hypervisors of each region; default 256. Only anti-affinity can exhaust them

	// HomeServers are the addresses, by region, that served before: the sandbox
	// did not boot them and nothing answers there, but Dial knows that they are
	// not somebody else's machines.
	HomeServers map[string][]string

	Users     []string   // users and groups of the servers beside those of their user-data: what a setup script makes
	Commands  [][]string // that the servers know beside their own; they do nothing
	Keystores []string   // passwords that services on the servers were told; others are in keystore.password

	Faults []Fault

	Latency  time.Duration // added to every API request; default 0
	Boot     time.Duration // from POST /servers to ACTIVE; default 1.5 s
	SSHDelay time.Duration // from ACTIVE to sshd and to the host keys on the console; default 500 ms
	DNSDelay time.Duration // from designate's 202 to the name server's new answer, and to ACTIVE; default 300 ms
	TokenTTL time.Duration // life of a keystone token; default 1 h

	BalancerDelay time.Duration // from POST /loadbalancers to ACTIVE, a quarter of it for a change; default Boot

	Quota Quota

	Addr string // where the APIs and the name server listen; default 127.0.0.1

	// InMemory opens no socket at all: the APIs are reached through
	// [Cloud.RoundTripper] and everything else through [Cloud.Dial]. It is what
	// a testing/synctest bubble needs, where a goroutine in a system call would
	// keep the clock from moving.
	InMemory bool

	// Rackspace makes it that company's first cloud.
	Rackspace *Rackspace
	// Standing are load balancers that it has from the start.
	Standing []Standing
	// Flex makes it that company's OpenStack Flex: an identity service for each region. Not beside Rackspace.
	Flex bool

	single bool // for tests: behave as where only 127.0.0.1 exists
	// TLS lets the APIs speak HTTPS, HTTP/2 too, as public clouds do; clients need CACert. Not with InMemory.
	TLS bool
}

// Zone is a DNS zone to seed; Name ends in a dot.
type Zone struct {
	Name    string
	Records []Record
}

// Record is one RRset; Name is fully qualified and ends in a dot, TTL is in seconds.
type Record struct {
	Name   string
	Type   string
	TTL    int
	Values []string
}

// Image is a bootable image. Arch defaults to x86_64, DefaultUser to debian.
type Image struct {
	Name        string
	MinDiskGB   int
	MinRAMMB    int
	Arch        string
	DefaultUser string
	Classes     string    // Rackspace's flavor_classes: which classes of flavors it may run on, as in "*,!onmetal"
	Created     time.Time // default: the day before the sandbox started
}

// Flavor is a size of server. A DiskGB of 0 means boot from volume.
type Flavor struct {
	Name   string
	VCPUs  int
	RAMMB  int
	DiskGB int
	ID     string // default: a new one
	Class  string // Rackspace's, as in general1
}

// Quota holds the limits of the one project. A zero field takes the default,
// a negative one means no limit, as in nova and neutron.
type Quota struct {
	Instances          int // 500
	Cores              int // 4000
	RAMMB              int // 16 TiB
	KeyPairs           int // 100
	ServerGroups       int // 20
	ServerGroupMembers int // 50
	FloatingIPs        int // 500
	Ports              int // 1000
	SecurityGroups     int // 20
	SecurityGroupRules int // 200
	RecordSetRecords   int // 500
	LoadBalancers      int // 50
	Listeners          int // 100
	Pools              int // 100
	Members            int // 500
}

func orInt(p *int, def int) {
	if *p == 0 {
		*p = def
	}
}

func orDur(p *time.Duration, def time.Duration) {
	if *p == 0 {
		*p = def
	}
}

func (o *Options) defaults() {
	if len(o.Regions) == 0 {
		o.Regions = []string{"IAD", "ORD"}
		if o.Flex {
			o.Regions = []string{"IAD3", "DFW3", "SJC3"}
		}
	}
	if len(o.AZs) == 0 {
		o.AZs = []string{"az1", "az2"}
		if o.Flex {
			o.AZs = o.AZs[:1]
		}
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1"
	}
	orInt(&o.Hosts, 256)
	orDur(&o.Boot, 1500*time.Millisecond)
	orDur(&o.SSHDelay, 500*time.Millisecond)
	orDur(&o.DNSDelay, 300*time.Millisecond)
	orDur(&o.TokenTTL, time.Hour)
	q := &o.Quota
	if o.Rackspace != nil { // https://docs.rackspace.com/docs/cloud-servers/general-api-info/limits: what an account begins with
		orInt(&q.Instances, 100)
		orInt(&q.Cores, -1)
		orInt(&q.RAMMB, 128<<10)
		orInt(&q.LoadBalancers, 25)
		orInt(&q.Members, 25) // of one load balancer
	}
	orInt(&q.Instances, 500)
	orInt(&q.Cores, 4000)
	orInt(&q.RAMMB, 16<<20)
	orInt(&q.KeyPairs, 100)
	orInt(&q.ServerGroups, 20)
	orInt(&q.ServerGroupMembers, 50)
	orInt(&q.FloatingIPs, 500)
	orInt(&q.Ports, 1000)
	orInt(&q.SecurityGroups, 20)
	orInt(&q.SecurityGroupRules, 200)
	orInt(&q.RecordSetRecords, 500)
	orInt(&q.LoadBalancers, 50)
	orInt(&q.Listeners, 100)
	orInt(&q.Pools, 100)
	orInt(&q.Members, 500)
	orDur(&o.BalancerDelay, o.Boot)
}

// Cloud is a running sandbox. Its methods may be called from any goroutine.
type Cloud struct {
	opts     Options
	started  time.Time
	username string
	password string
	appCred  struct{ id, name, secret string }
	project  string // keystone's id of the one project
	user     string // keystone's id of the one user
	account  string // Rackspace's number of the one account
	apiKey   string
	tsig     struct{ name, secret string }

	ctx    context.Context // ends at Close: what hangs, sleeps or serves stops with it
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed sync.Once

	tls      *tls.Config // nil: the APIs speak plain HTTP
	caPEM    []byte
	services []*service
	byHost   map[string]*service // host:port → service
	claim    net.Listener        // holds our /16 against other sandboxes of this machine
	base     byte                // the A of 127.A.0.0/16; 0 where only 127.0.0.1 can be bound
	dnsAddr  string
	dnsSrv   []*dns.Server
	dnsMem   *memListener

	log requestLog

	mu sync.Mutex // guards everything below
	model
	faults  map[string]*faultState
	written map[string]json.RawMessage // catalogs, by realm
	light   chan struct{}              // closed, and replaced, when a region's darkness changes
}

// Start brings the sandbox up and returns once every API and the name server
// answer. It closes itself when ctx ends.
func Start(ctx context.Context, o Options) (*Cloud, error) {
	o.defaults()
	if len(o.Regions) > 8 {
		return nil, fmt.Errorf("sandbox: %d regions: at most 8 have room in one /16", len(o.Regions))
	}
	c := &Cloud{
		opts: o, started: time.Now(), username: "demo", password: secret(),
		project: hexID(), user: hexID(),
		byHost: map[string]*service{}, faults: map[string]*faultState{}, light: make(chan struct{}), written: map[string]json.RawMessage{},
	}
	if o.Rackspace != nil || o.Flex {
		c.account, c.apiKey = "123456", secret()
	}
	c.appCred.id, c.appCred.name, c.appCred.secret = hexID(), "failover", secret()
	c.tsig.name, c.tsig.secret = "failover.", tsigSecret()
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := c.claimAddresses(); err != nil {
		return nil, err
	}
	err := c.seed()
	if o.TLS && !o.InMemory {
		err = errors.Join(err, c.secure())
	}
	for _, f := range o.Faults {
		err = errors.Join(err, c.SetFault(f))
	}
	if err == nil {
		err = c.listen()
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	context.AfterFunc(ctx, func() { c.Close() })
	return c, nil
}

func (c *Cloud) listen() error {
	shared := []*service{
		c.newService("keystone", "", keystoneRoutes, keystoneError),
		c.newService("designate", "", designateRoutes, designateError),
	}
	c.services = shared
	regions := c.opts.Regions
	if c.opts.Rackspace != nil {
		c.services, regions = c.rackspaceServices(), nil
	}
	if c.opts.Flex {
		c.services = c.flexServices()
	}
	for _, r := range regions {
		c.services = append(c.services,
			c.newService("nova", r, novaRoutes, novaError),
			c.newService("glance", r, glanceRoutes, glanceError),
			c.newService("neutron", r, neutronRoutes, neutronError))
	}
	for _, r := range c.opts.Regions {
		c.services = append(c.services,
			c.newService("octavia", r, octaviaRoutes, octaviaError),
			c.newService("barbican", r, barbicanRoutes, barbicanError))
	}
	for i, s := range c.services {
		if c.opts.InMemory {
			s.addr = net.JoinHostPort(c.opts.Addr, fmt.Sprint(5000+i))
		} else if err := s.open(); err != nil {
			return err
		}
		c.byHost[s.addr] = s
		for region, room := range s.rooms {
			room.addr = s.addr + "/" + region
		}
	}
	c.relight()
	return c.startDNS()
}

// Close stops every listener, connection and goroutine of the sandbox and waits
// for them. It may be called more than once.
func (c *Cloud) Close() error {
	c.closed.Do(func() {
		c.cancel()
		c.stopDNS()
		c.mu.Lock()
		for _, s := range c.services {
			s.shut()
		}
		for _, s := range c.servers {
			s.machine.stop()
		}
		for _, b := range c.balancers {
			b.front.stop()
		}
		c.mu.Unlock()
		if c.claim != nil {
			c.claim.Close()
		}
	})
	c.wg.Wait()
	return nil
}

// AuthURL is keystone's address, with /v3; FlexURL where each region has one.
func (c *Cloud) AuthURL() string { return c.url("keystone", "") + "/v3" }

// CloudsYAML returns a clouds.yaml with one entry of each name, or one named
// sandbox. It holds the throwaway password of this sandbox. No region is named
// in it: the caller says which.
func (c *Cloud) CloudsYAML(entries ...string) []byte {
	if len(entries) == 0 {
		entries = []string{"sandbox"}
	}
	url := c.AuthURL()
	if c.opts.Flex { // what other clients call it: https://opendev.org/openstack/openstacksdk/src/branch/master/openstack/config/loader.py
		url = strings.ReplaceAll(c.FlexURL(), "{region}", "{region_name}")
	}
	var b bytes.Buffer
	b.WriteString("clouds:\n")
	for _, e := range entries {
		fmt.Fprintf(&b, `  %q:
    auth:
      auth_url: %s
      username: %s
      password: %s
      project_name: %[5]s
      user_domain_name: %[6]s
      project_domain_name: %[6]s
    identity_api_version: 3
`, e, url, c.username, c.password, c.projectName(), c.domain())
	}
	return b.Bytes()
}

// ApplicationCredential is an application credential of the same user, for
// those who would rather log in with one.
func (c *Cloud) ApplicationCredential() (id, secret string) { return c.appCred.id, c.appCred.secret }

// Regions are the names of the regions, in the order they were given.
func (c *Cloud) Regions() []string { return slices.Clone(c.opts.Regions) }

func (c *Cloud) url(name, region string) string {
	for _, s := range c.services {
		if room := s.rooms[region]; s.name == name && room != nil {
			return c.scheme() + room.addr
		}
		if s.name == name && s.region == region {
			return c.scheme() + s.addr
		}
	}
	return ""
}

func (c *Cloud) scheme() string {
	if c.tls != nil {
		return "https://"
	}
	return "http://"
}

// CACert is the PEM certificate that clients of the APIs must trust; empty without Options.TLS.
func (c *Cloud) CACert() []byte { return c.caPEM }

// secure makes the certificate that every API presents.
func (c *Cloud) secure() error {
	ca, err := NewCA()
	if err != nil {
		return err
	}
	chain, key, err := ca.Issue(c.opts.Addr)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(chain, key)
	c.caPEM, c.tls = ca.PEM(), &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	return err
}

// Handlers are the APIs by host:port, for whoever wants to serve them in
// another way.
func (c *Cloud) Handlers() map[string]http.Handler {
	m := map[string]http.Handler{}
	for h, s := range c.byHost {
		m[h] = s
	}
	return m
}

func randBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails since Go 1.24
	return b
}

func secret() string { return hex.EncodeToString(randBytes(16)) }

// hexID is the form of keystone's identifiers.
func hexID() string { return hex.EncodeToString(randBytes(16)) }

// uuid is the form of everybody else's.
func uuid() string {
	b := randBytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func fqdn(s string) string { return strings.ToLower(dns.Fqdn(s)) }
