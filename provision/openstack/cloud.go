package openstack

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/agext/levenshtein"
	"github.com/dripstat/failover/provision"
	"github.com/gophercloud/gophercloud/v2"
)

// Options is what the program knows and a plan does not say.
type Options struct {
	Env        func(string) (string, bool) // nil: os.LookupEnv
	CloudsYAML []byte                      // the text of clouds.yaml, instead of any file
	CACert     []byte                      // PEM certificates to trust besides those of the configuration
	Dir        string                      // relative paths are meant from here
	UserAgent  string
	Timeout    time.Duration // of one request, once it has a connection to go out on; 0: 30 s. Writes get twice that
	Log        *slog.Logger  // debug lines: method, path, status, time; nil: none
	// RoundTripper is below rate, repeats and timeouts, in the place of the network; for an imitation in memory.
	RoundTripper http.RoundTripper
	// Identity is how to log in where that is not keystone's v3; the configuration is not read then.
	Identity *Identity
	// Legacy says that it is Rackspace's first cloud: nova without microversions, availability zones and server groups,
	// networks that are two well-known ids, no security groups at boot and no quota of the network service.
	Legacy bool
	// Avoid names regions whose endpoints must not be called, whatever the catalog offers: the one being left.
	Avoid []string
}

// Cloud is one region of one cloud, as one user sees it. It is safe for concurrent use.
type Cloud struct {
	name   string
	region string
	avoid  []string
	legacy bool
	set    settings
	tr     *transport

	session once[*session]
	minor   once[int] // of the newest compute microversion 2.x

	mu        sync.Mutex
	watches   map[string]*watch   // by run
	gone      map[string]bool     // servers that we asked to be deleted
	nets      map[string]string   // network id to name, which is what addresses are listed under
	groups    map[string]string   // security groups that we made or saw: name to id
	made      map[string]made     // what was created just now
	lists     map[string]nameList // what Inventory saw just now
	balancers map[string]string   // that creates of ours were answered with: name to id
	remade    map[string]string   // parts in ERROR that this process has removed, to make them anew: part to id
	silence   map[string]silence  // of what is looked for to be deleted
	ports     shared[[]port]
	fips      shared[[]floatingIP]
	sgroups   shared[[]serverGroup]
}

// New reads the configuration of one cloud of the plan. It dials nothing.
func New(name string, cfg provision.OpenStack, region string, o Options) (*Cloud, error) {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	set, err := configure(cfg, region, o)
	if err != nil {
		return nil, provision.AsError("cloud."+name, err)
	}
	tr, err := newTransport(set, o)
	if err != nil {
		return nil, provision.AsError("cloud."+name, err)
	}
	nets := map[string]string{}
	if o.Legacy {
		nets[publicNet], nets[serviceNet] = "public", "private"
	}
	return &Cloud{
		name: name, region: region, avoid: o.Avoid, legacy: o.Legacy, set: set, tr: tr,
		watches: map[string]*watch{}, gone: map[string]bool{}, nets: nets, groups: map[string]string{},
		made: map[string]made{}, lists: map[string]nameList{}, silence: map[string]silence{}, balancers: map[string]string{}, remade: map[string]string{},
	}, nil
}

// Name is that of the plan's block.
func (c *Cloud) Name() string { return c.name }

// Region is the one that this Cloud was made for.
func (c *Cloud) Region() string { return c.region }

// Requests counts what was sent so far, repeats included.
func (c *Cloud) Requests() int64 { return c.tr.sent.Load() }

// Writes counts those that were sent to change something; asking for a token is not among them.
func (c *Cloud) Writes() int64 { return c.tr.writes.Load() }

// Close lets go of idle connections.
func (c *Cloud) Close() {
	if b, ok := c.tr.base.(interface{ CloseIdleConnections() }); ok {
		b.CloseIdleConnections()
	}
}

// RegionError says that the catalog has no compute service in the region that was asked for.
type RegionError struct {
	Region string
	Valid  []string
	At     string // the identity URL whose catalog it is, where each region has one of its own; else empty
}

// Error lists the valid regions.
func (e *RegionError) Error() string {
	s := fmt.Sprintf("there is no region %q", e.Region)
	if e.Region == "" {
		s = "no region was given"
	}
	if e.At != "" {
		s += " in the catalog of " + e.At
	}
	if len(e.Valid) == 0 {
		return s + ": the catalog names no compute service at all"
	}
	if m := meant(e.Region, e.Valid); m != "" {
		s += fmt.Sprintf(" (did you mean %q?)", m)
	}
	return s + "; valid: " + strings.Join(e.Valid, ", ")
}

// Connect authenticates, once for all callers. A region that the catalog does not know is a *RegionError.
func (c *Cloud) Connect(ctx context.Context) error {
	s, err := c.session.get(ctx, c.login)
	if err != nil {
		return err
	}
	valid := s.regions(c.set.iface)
	if !slices.Contains(valid, c.region) {
		e := &RegionError{Region: c.region, Valid: valid}
		if c.set.regional {
			e.At = strings.Join(c.set.urls, ", ")
		}
		return e
	}
	return nil
}

// Regions lists those in which the catalog has a compute service.
func (c *Cloud) Regions(ctx context.Context) ([]string, error) {
	s, err := c.session.get(ctx, c.login)
	if err != nil {
		return nil, err
	}
	return s.regions(c.set.iface), nil
}

// DNS gives a client for designate: the endpoint of this region, or of any other that need not be avoided.
func (c *Cloud) DNS(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return c.anywhere(ctx, "dns", "DNS service", "v2/")
}

// KeyManager gives a client for barbican, as DNS does for designate.
func (c *Cloud) KeyManager(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return c.anywhere(ctx, "key-manager", "key manager", "v1/")
}

// CloudDNS gives a client for Rackspace's DNS service, which belongs to no region.
func (c *Cloud) CloudDNS(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return c.anywhere(ctx, "rax:dns", "Cloud DNS", "")
}

// CloudLoadBalancers gives a client for Rackspace's load balancers of this region, and of no other.
func (c *Cloud) CloudLoadBalancers(ctx context.Context) (*gophercloud.ServiceClient, error) {
	if err := c.Connect(ctx); err != nil {
		return nil, err
	}
	s, _ := c.session.known()
	u, ok := s.endpoint("rax:load-balancer", c.region, c.set.iface)
	if !ok {
		return nil, &provision.Error{Thing: "cloud." + c.name, What: "the catalog has no Cloud Load Balancers in " + c.region, Class: provision.Final}
	}
	return s.client("rax:load-balancer", u, u), nil
}

// anywhere gives a client for a service that may be another region's.
func (c *Cloud) anywhere(ctx context.Context, service, called, version string) (*gophercloud.ServiceClient, error) {
	s, err := c.session.get(ctx, c.login)
	if err != nil {
		return nil, err
	}
	for _, r := range append([]string{c.region}, s.all(c.set.iface, service)...) {
		if r != c.region && slices.Contains(c.avoid, r) {
			continue
		}
		if u, ok := s.endpoint(service, r, c.set.iface); ok {
			return s.client(service, u, versioned(u, version)), nil
		}
	}
	return nil, &provision.Error{Thing: "cloud." + c.name, What: "the catalog has no " + called + " outside the regions to avoid", Class: provision.Final}
}

// meant finds the candidate that was most likely meant, or nothing.
func meant(got string, among []string) string {
	best, at := "", 1+len(got)/3
	for _, x := range among {
		if d := levenshtein.Distance(strings.ToLower(got), strings.ToLower(x), nil); d <= at && got != "" {
			best, at = x, d-1
		}
	}
	return best
}
