package openstack

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
)

const userDataMax = 49149 // nova takes 65535 characters of base64

// Query says what an Inventory is for.
type Query struct {
	Service string
	Servers []provision.Server // the blocks that this cloud is to make

	Balancers []provision.Balancer // of the same
}

// reader collects what the requests of one Inventory find.
type reader struct {
	c       *Cloud
	at      time.Time
	servers bool // there are servers to make
	wg      sync.WaitGroup
	mu      sync.Mutex
	inv     provision.Inventory
	unread  []unread
}

// unread is one thing that could not be read, and why.
type unread struct {
	check, what string
	err         *provision.Error
}

// read runs one request beside the others. f gives what to do with its result, under the lock.
func (r *reader) read(ctx context.Context, check, what string, f func(context.Context) (func(*provision.Inventory), error)) {
	r.wg.Go(func() {
		keep, err := f(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil {
			r.unread = append(r.unread, unread{check, what, provision.AsError("", err)})
			return
		}
		keep(&r.inv)
	})
}

// findings tells what could not be read, one finding for all that has the same reason: a service that is
// away is said once. What a server cannot be made without refuses.
func (r *reader) findings() []provision.Finding {
	slices.SortFunc(r.unread, func(a, b unread) int { return cmp.Compare(a.what, b.what) })
	var out []provision.Finding
	at := map[string]int{}
	for _, u := range r.unread {
		why := u.err.Error()
		if _, reason, ok := strings.Cut(why, ": "); ok { // without the name of the request
			why = reason
		}
		why = strings.TrimSuffix(why, ": "+context.DeadlineExceeded.Error())
		if why == context.DeadlineExceeded.Error() || why == "it was not sent" {
			why = "there was no answer in time"
		}
		i, ok := at[why]
		if !ok {
			i = len(out)
			at[why] = i
			out = append(out, provision.Finding{Weight: provision.Warn, Check: u.check, Thing: "cloud." + r.c.name, Hint: u.err.Hint, What: why + "; could not be read in " + r.c.region + ": " + u.what})
		} else {
			out[i].What += ", " + u.what
		}
		if u.check == "load balancer" || u.check == "key manager" {
			out[i].Weight, out[i].Check = provision.Refuse, u.check
		}
		if r.servers && (u.check == "flavor" || u.check == "image" || u.check == "network") {
			out[i].Weight, out[i].Check = provision.Refuse, u.check
		}
	}
	return out
}

// Inventory reads everything that preflight asks about, in one wave of requests, and changes nothing. What
// cannot be read, in the time that ctx gives, is told in Unread; only a failed login, an unknown region or a cancelled
// ctx is an error.
func (c *Cloud) Inventory(ctx context.Context, q Query) (provision.Inventory, error) {
	if err := c.Connect(ctx); err != nil {
		return provision.Inventory{}, err
	}
	s, _ := c.session.known()
	r := &reader{c: c, at: time.Now(), servers: len(q.Servers) > 0, inv: provision.Inventory{
		Cloud: c.name, Region: c.region, Regions: s.regions(c.set.iface), Quotas: map[string]provision.Quota{}, UserDataMax: userDataMax,
	}}
	r.read(ctx, "clock", "the compute API's root", func(ctx context.Context) (func(*provision.Inventory), error) {
		_, err := c.newest(ctx)
		return func(*provision.Inventory) {}, err
	})
	r.compute(ctx, q)
	r.images(ctx, q)
	if c.legacy {
		r.legacyNetworks(ctx)
	} else {
		r.network(ctx, s.project)
		r.balancing(ctx, q, s.project)
	}
	r.wg.Wait()
	r.inv.Unread = r.findings()
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return r.inv, provision.AsError("cloud."+c.name, &provision.Error{What: "reading " + c.region + " was ended", Err: err, Class: provision.Unknown})
	}
	r.usage()
	c.tr.mu.Lock()
	r.inv.Skew = c.tr.skew.val
	c.tr.mu.Unlock()
	if u, ok := s.endpoint("compute", c.region, c.set.iface); ok {
		if u, err := url.Parse(u); err == nil {
			r.inv.Local, r.inv.Remote = c.tr.ends(u.Scheme + "://" + u.Host)
		}
	}
	return r.inv, nil
}

// ends gives the addresses of the latest connection to a host.
func (t *transport) ends(key string) (local, remote netip.Addr) {
	t.mu.Lock()
	h := t.hosts[key]
	t.mu.Unlock()
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.local, h.remote
}

func (r *reader) compute(ctx context.Context, q Query) {
	c := r.c
	r.read(ctx, "flavor", "flavors", func(ctx context.Context) (func(*provision.Inventory), error) {
		var list []provision.Flavor
		err := c.hopeful(ctx, mvExtraSpecs, func(s service, _ int) (err error) {
			list, err = listFlavors(ctx, s)
			return err
		})
		return func(i *provision.Inventory) { i.Flavors = list }, err
	})
	if !c.legacy {
		r.read(ctx, "zone", "availability zones", func(ctx context.Context) (func(*provision.Inventory), error) {
			s, err := c.service(ctx, "compute")
			if err != nil {
				return nil, err
			}
			var got struct {
				Zones []struct {
					Name  string `json:"zoneName"`
					State struct {
						Available bool `json:"available"`
					} `json:"zoneState"`
				} `json:"availabilityZoneInfo"`
			}
			err = s.get(ctx, "list availability zones", s.url("os-availability-zone"), &got)
			return func(i *provision.Inventory) {
				i.Zones = []string{}
				for _, z := range got.Zones {
					if z.State.Available && z.Name != "internal" {
						i.Zones = append(i.Zones, z.Name)
					}
				}
			}, err
		})
	}
	r.read(ctx, "quota", "compute quotas", func(ctx context.Context) (func(*provision.Inventory), error) {
		s, err := c.service(ctx, "compute")
		if err != nil {
			return nil, err
		}
		var got struct {
			Limits struct {
				Absolute map[string]int `json:"absolute"`
			} `json:"limits"`
		}
		err = s.get(ctx, "read compute limits", s.url("limits"), &got)
		return func(i *provision.Inventory) {
			a := got.Limits.Absolute
			for name, k := range map[string][2]string{
				"instances": {"maxTotalInstances", "totalInstancesUsed"}, "cores": {"maxTotalCores", "totalCoresUsed"},
				"ram": {"maxTotalRAMSize", "totalRAMUsed"}, "server_groups": {"maxServerGroups", "totalServerGroupsUsed"},
				"keypairs": {"maxTotalKeypairs", ""},
			} {
				if limit, ok := a[k[0]]; ok {
					i.Quotas[name] = provision.Quota{Limit: limit, Used: a[k[1]]}
				}
			}
		}, err
	})
	r.read(ctx, "quota", "key pairs", func(ctx context.Context) (func(*provision.Inventory), error) {
		s, err := c.service(ctx, "compute")
		if err != nil {
			return nil, err
		}
		var got struct {
			Keypairs []struct {
				Keypair struct {
					Name string `json:"name"`
				} `json:"keypair"`
			} `json:"keypairs"`
		}
		err = s.get(ctx, "list key pairs", s.url("os-keypairs"), &got)
		names := map[string]bool{}
		for _, k := range got.Keypairs {
			names[k.Keypair.Name] = true
		}
		return func(i *provision.Inventory) {
			c.saw(KeypairCreate, r.at, names)
			i.KeyPairs = slices.Sorted(maps.Keys(names))
			i.Quotas["keypairs used"] = provision.Quota{Used: len(names)} // folded in by usage
		}, err
	})
	if !c.legacy {
		r.read(ctx, "quota", "server groups", func(ctx context.Context) (func(*provision.Inventory), error) {
			list, err := c.listServerGroups(ctx)
			names := map[string]bool{}
			for _, g := range list {
				names[g.Name] = true
			}
			return func(i *provision.Inventory) {
				c.saw(ServerGroupCreate, r.at, names)
				for _, g := range list {
					i.ServerGroups = append(i.ServerGroups, provision.NamedID{ID: g.ID, Name: g.Name})
				}
			}, err
		})
	}
	r.read(ctx, "server", "servers of this service", func(ctx context.Context) (func(*provision.Inventory), error) {
		var list []server
		err := c.hopeful(ctx, mvTags, func(s service, minor int) (err error) {
			list, err = listServers(ctx, s, minor >= mvTags, "failover")
			return err
		})
		return func(i *provision.Inventory) {
			i.Servers = []provision.Live{}
			names := map[string]bool{}
			for _, s := range list {
				names[s.Metadata[provision.TagRun]+"/"+s.Metadata[provision.TagSlot]] = true
				if s.going() || s.Metadata[provision.TagService] == "" || q.Service != "" && s.Metadata[provision.TagService] != q.Service {
					continue
				}
				i.Servers = append(i.Servers, c.live(s))
			}
			c.saw(ServerCreate, r.at, names)
		}, err
	})
}

func (c *Cloud) live(s server) provision.Live {
	l := provision.Live{ID: s.ID, Name: s.Name, Status: s.Status, Service: s.Metadata[provision.TagService],
		Run: provision.RunID(s.Metadata[provision.TagRun]), Slot: s.Metadata[provision.TagSlot]}
	for _, name := range c.order(s, nil) {
		for _, a := range s.Addresses[name] {
			l.Addresses = append(l.Addresses, a.Addr)
		}
	}
	return l
}

// usage joins what two requests told about one quota.
func (r *reader) usage() {
	q := r.inv.Quotas
	if u, ok := q["keypairs used"]; ok {
		if k, ok := q["keypairs"]; ok {
			q["keypairs"] = provision.Quota{Limit: k.Limit, Used: u.Used}
		}
		delete(q, "keypairs used")
	}
	if g, ok := q["security_group"]; ok && g.Used < 0 {
		q["security_group"] = provision.Quota{Limit: g.Limit, Used: len(r.inv.SecurityGroups)}
	}
	for name, x := range q {
		if x.Limit == uncounted {
			delete(q, name)
		}
	}
	if len(q) == 0 {
		r.inv.Quotas = nil
	}
}

// listFlavors reads all pages.
func listFlavors(ctx context.Context, s service) ([]provision.Flavor, error) {
	out := []provision.Flavor{}
	marker := ""
	for {
		q := []string{"limit", "1000"}
		if marker != "" {
			q = append(q, "marker", marker)
		}
		var page struct {
			Flavors []struct {
				ID       string            `json:"id"`
				Name     string            `json:"name"`
				VCPUs    int               `json:"vcpus"`
				RAM      int               `json:"ram"`
				Disk     int               `json:"disk"`
				Disabled bool              `json:"OS-FLV-DISABLED:disabled"`
				Extra    map[string]string `json:"extra_specs"`
				Legacy   struct {
					Class string `json:"class"`
				} `json:"OS-FLV-WITH-EXT-SPECS:extra_specs"` // https://docs.rackspace.com/docs/cloud-servers/flavors
			} `json:"flavors"`
			Links []struct {
				Rel string `json:"rel"`
			} `json:"flavors_links"`
		}
		if err := s.get(ctx, "list flavors", s.url("flavors/detail"+query(q...)), &page); err != nil {
			return nil, err
		}
		for _, f := range page.Flavors {
			out = append(out, provision.Flavor{ID: f.ID, Name: f.Name, VCPUs: f.VCPUs, RAMMB: f.RAM, DiskGB: f.Disk, Disabled: f.Disabled, Arch: arch(f.Extra), Class: f.Legacy.Class})
		}
		more := false
		for _, l := range page.Links {
			more = more || l.Rel == "next"
		}
		if !more || len(page.Flavors) == 0 {
			return out, nil
		}
		marker = page.Flavors[len(page.Flavors)-1].ID
	}
}

// arch reads a flavor's extra specs; operators in front ("s== aarch64") are left out.
func arch(extra map[string]string) string {
	for _, k := range []string{"hw_architecture", "hw:architecture", "capabilities:cpu_arch", "capabilities:cpu_info:arch", "cpu_arch", "architecture"} {
		if w := strings.Fields(extra[k]); len(w) > 0 {
			return strings.ToLower(w[len(w)-1])
		}
	}
	for k, v := range extra {
		if a, ok := strings.CutPrefix(k, "trait:COMPUTE_ARCH_"); ok && v == "required" {
			return strings.ToLower(a)
		}
	}
	return ""
}
