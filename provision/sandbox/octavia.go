package sandbox

import (
	"crypto/tls"
	"slices"
	"strconv"
	"strings"
	"time"
)

// balancer is a load balancer as octavia knows it; front is what listens.
type balancer struct {
	id, region, name, description string
	provider, flavor, network     string
	subnet                        string
	port                          *port
	tags                          []string
	listeners                     []*lbListener
	pools                         []*lbPool
	created, updated              time.Time
	busy                          time.Time // until then it is PENDING
	busyWith                      string
	failed                        bool // it is in ERROR from then on
	deleted                       time.Time
	order                         int
	front                         *front
	clb                           *cloudLB // of Rackspace's; nil: octavia's
}

// lbPart is what all parts have in common.
type lbPart struct {
	id, name string
	tags     []string
	born     time.Time
	failed   bool
}

// at gives a part's provisioning_status: the balancer's, but for what is being made, or went into ERROR.
func (p lbPart) at(b *balancer, now time.Time) string {
	s := b.at(now)
	switch {
	case s == "PENDING_UPDATE" && p.born.Equal(b.updated):
		return "PENDING_CREATE"
	case s == "ACTIVE" && p.failed:
		return "ERROR"
	}
	return s
}

func (k *call) newPart(name string, tags []string) lbPart {
	return lbPart{id: uuid(), name: name, tags: tags, born: k.now, failed: k.c.take("part-error")}
}

type lbListener struct {
	lbPart
	protocol   string
	port       int
	pool       *lbPool
	containers []string // hrefs, the default first
	certs      []tls.Certificate
	versions   []string
	limit      int
	cidrs      []string
	headers    map[string]string
	policies   []*lbPolicy
	redirect   bool // sends everybody to port 443, under whatever name they came
}

type lbPolicy struct {
	lbPart
	action, prefix, url string
	code, position      int
	rules               []*lbRule
}

type lbRule struct {
	lbPart
	kind, compare, key, value string
	invert                    bool
}

type lbPool struct {
	lbPart
	protocol, algorithm string
	tls                 bool
	monitor             *lbMonitor
	members             []*lbMember
}

type lbMonitor struct {
	lbPart
	kind, path, codes, host    string
	status                     string // in the place of codes: an expression
	delay, timeout, rise, fall int
}

type lbMember struct {
	id, name, address, subnet string
	port, weight              int
	down                      bool // admin_state_up is false
	created                   time.Time

	checked time.Time
	well    bool
}

// providers are those that a real one with amphorae lists.
var providers = [][2]string{{"amphora", "The Octavia Amphora driver."}, {"octavia", "Deprecated alias of the Octavia Amphora driver."}}

var octaviaRoutes = []route{
	on("!GET /", func(k *call) (int, any) {
		return 200, obj{"versions": []obj{{"id": "v2.26", "status": "CURRENT", "updated": "2021-12-14T00:00:00Z", "links": []obj{{"rel": "self", "href": k.self("/v2")}}}}}
	}),
	on("GET /v2/lbaas/loadbalancers", func(k *call) (int, any) {
		list := []obj{}
		for _, b := range k.c.balancersOf(k.region) {
			list = append(list, k.balancerView(b))
		}
		return k.list("loadbalancers", list)
	}),
	on("POST /v2/lbaas/loadbalancers", balancerCreate),
	on("GET /v2/lbaas/loadbalancers/{id}", func(k *call) (int, any) {
		b, status, val := k.balancer()
		if b == nil {
			return status, val
		}
		return 200, obj{"loadbalancer": k.balancerView(b)}
	}),
	on("DELETE /v2/lbaas/loadbalancers/{id}", balancerDelete),
	on("GET /v2/lbaas/listeners", func(k *call) (int, any) {
		return k.parts("listeners", func(b *balancer, add func(obj)) {
			for _, l := range b.listeners {
				add(k.listenerView(b, l))
			}
		})
	}),
	on("POST /v2/lbaas/listeners", listenerCreate),
	on("GET /v2/lbaas/listeners/{id}", func(k *call) (int, any) {
		b, l, status, val := k.lbListener(k.vars["id"])
		if l == nil {
			return status, val
		}
		return 200, obj{"listener": k.listenerView(b, l)}
	}),
	on("PUT /v2/lbaas/listeners/{id}", listenerUpdate),
	on("DELETE /v2/lbaas/listeners/{id}", listenerDelete),
	on("POST /v2/lbaas/healthmonitors", monitorCreate),
	on("DELETE /v2/lbaas/healthmonitors/{id}", monitorDelete),
	on("GET /v2/lbaas/healthmonitors", func(k *call) (int, any) {
		return k.parts("healthmonitors", func(b *balancer, add func(obj)) {
			for _, p := range b.pools {
				if p.monitor != nil {
					add(k.monitorView(b, p))
				}
			}
		})
	}),
	on("POST /v2/lbaas/l7policies", policyCreate),
	on("DELETE /v2/lbaas/l7policies/{id}", policyDelete),
	on("GET /v2/lbaas/l7policies", func(k *call) (int, any) {
		return k.parts("l7policies", func(b *balancer, add func(obj)) {
			for _, l := range b.listeners {
				for _, p := range l.policies {
					add(k.policyView(b, l, p))
				}
			}
		})
	}),
	on("POST /v2/lbaas/l7policies/{id}/rules", ruleCreate),
	on("DELETE /v2/lbaas/l7policies/{id}/rules/{rule}", ruleDelete),
	on("GET /v2/lbaas/l7policies/{id}/rules", func(k *call) (int, any) {
		b, _, p, status, val := k.lbPolicy(k.vars["id"])
		if p == nil {
			return status, val
		}
		list := []obj{}
		for _, r := range p.rules {
			list = append(list, k.ruleView(b, r))
		}
		return k.list("rules", list)
	}),
	on("POST /v2/lbaas/pools", poolCreate),
	on("DELETE /v2/lbaas/pools/{id}", poolDelete),
	on("GET /v2/lbaas/pools", func(k *call) (int, any) {
		return k.parts("pools", func(b *balancer, add func(obj)) {
			for _, p := range b.pools {
				add(k.poolView(b, p))
			}
		})
	}),
	on("GET /v2/lbaas/pools/{id}", func(k *call) (int, any) {
		b, p, status, val := k.pool()
		if p == nil {
			return status, val
		}
		return 200, obj{"pool": k.poolView(b, p)}
	}),
	on("GET /v2/lbaas/pools/{id}/members", func(k *call) (int, any) {
		b, p, status, val := k.pool()
		if p == nil {
			return status, val
		}
		list := []obj{}
		for _, m := range p.members {
			list = append(list, k.memberView(b, m))
		}
		return k.list("members", list)
	}),
	on("PUT /v2/lbaas/pools/{id}/members", membersPut),
	on("GET /v2/lbaas/providers", func(k *call) (int, any) {
		list := []obj{}
		for _, p := range providers {
			list = append(list, obj{"name": p[0], "description": p[1]})
		}
		return 200, obj{"providers": list}
	}),
	on("GET /v2/lbaas/flavors", func(k *call) (int, any) {
		list := []obj{}
		for _, name := range k.c.opts.BalancerFlavors {
			list = append(list, obj{"id": flavorID(k.region, name), "name": name, "description": "", "enabled": true, "flavor_profile_id": flavorID(k.region, "profile")})
		}
		return k.list("flavors", list)
	}),
	on("GET /v2/lbaas/quotas/{project}", func(k *call) (int, any) {
		q := k.c.opts.Quota
		return 200, obj{"quota": obj{"loadbalancer": q.LoadBalancers, "load_balancer": q.LoadBalancers, "listener": q.Listeners, "pool": q.Pools, "member": q.Members,
			"healthmonitor": -1, "health_monitor": -1, "l7policy": -1, "l7rule": -1}}
	}),
}

// flavorID is a flavor's id, which is a UUID.
func flavorID(region, name string) string {
	h := stableID("octavia flavor", region, name)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:32]
}

// octaviaError is WSME's form.
func octaviaError(_ *call, status int, msg string) any {
	code := "Client"
	if status >= 500 {
		code = "Server"
	}
	return obj{"faultcode": code, "faultstring": msg, "debuginfo": nil}
}

func (c *Cloud) balancersOf(region string) []*balancer {
	return ofRegion(c.balancers, region, func(b *balancer) (string, int) { return b.region, b.order })
}

// at gives provisioning_status.
func (b *balancer) at(now time.Time) string {
	switch {
	case !b.deleted.IsZero():
		return "PENDING_DELETE"
	case now.Before(b.busy):
		return b.busyWith
	case b.failed:
		return "ERROR"
	}
	return "ACTIVE"
}

// serves tells that it has a body: a change under way does not stop it.
func (b *balancer) serves(now time.Time) bool {
	s := b.at(now)
	return s == "ACTIVE" || s == "PENDING_UPDATE"
}

func (k *call) balancer() (*balancer, int, any) {
	if b := k.c.balancers[k.vars["id"]]; b != nil && b.region == k.region {
		return b, 0, nil
	}
	status, val := k.err(404, "Load Balancer %s not found.", k.vars["id"])
	return nil, status, val
}

func (k *call) pool() (*balancer, *lbPool, int, any) { return k.lbPool(k.vars["id"]) }

// mutable refuses what octavia refuses while it is at work; whatever changes a balancer asks first.
func (k *call) mutable(b *balancer) (int, any) {
	if strings.HasPrefix(b.at(k.now), "PENDING_") || k.c.take("balancer-busy") {
		return k.err(409, "Load Balancer %s is immutable and cannot be updated.", b.id)
	}
	return 0, nil
}

// change makes it PENDING_UPDATE for a while.
func (k *call) change(b *balancer) {
	b.busy, b.busyWith, b.updated = k.now.Add(k.c.opts.BalancerDelay/4), "PENDING_UPDATE", k.now
}

func (b *balancer) operating(now time.Time) string {
	switch b.at(now) {
	case "ACTIVE", "PENDING_UPDATE":
		return "ONLINE"
	case "ERROR":
		return "ERROR"
	}
	return "OFFLINE"
}

// balancerDelete begins the end: all that is in it goes along with cascade, and its address only once it is gone.
func balancerDelete(k *call) (int, any) {
	b, status, val := k.balancer()
	if b == nil {
		return status, val
	}
	if cascade, _ := strconv.ParseBool(k.URL.Query().Get("cascade")); !cascade && len(b.listeners)+len(b.pools) > 0 {
		return k.err(400, "Validation failure: Cannot delete Load Balancer %s - it has children", b.id)
	}
	if s := b.at(k.now); strings.HasPrefix(s, "PENDING_") || k.c.take("balancer-busy") {
		return k.err(409, "Invalid state %s of loadbalancer resource %s", s, b.id)
	}
	b.deleted = k.now
	b.front.stop()
	return 204, nil
}

func (c *Cloud) removeBalancer(b *balancer) {
	b.front.stop()
	delete(c.balancers, b.id)
	if b.clb != nil {
		c.clbGone[b.clb.number] = true
	}
	c.removePort(b.port)
	b.listeners = nil
	c.consume(b)
}

type memberInput struct {
	Name, Address string
	Port          int    `json:"protocol_port"`
	Subnet        string `json:"subnet_id"`
	Weight        *int
	Up            *bool `json:"admin_state_up"`
}

// membersPut makes the pool's members those of the request, and no others.
func membersPut(k *call) (int, any) {
	b, p, status, val := k.pool()
	if p == nil {
		return status, val
	}
	var in struct{ Members []memberInput }
	if k.decode(&in) != nil {
		return k.malformed()
	}
	additive, _ := strconv.ParseBool(k.URL.Query().Get("additive_only"))
	if status, val := k.mutable(b); status != 0 {
		return status, val
	}
	var members []*lbMember
	for _, m := range in.Members {
		if m.Subnet != "" && !k.hasSubnet(m.Subnet) {
			return k.err(404, "Subnet %s not found.", m.Subnet)
		}
		if m.Address == "" || m.Port < 1 || m.Port > 65535 {
			return k.err(400, "Invalid input for field/attribute protocol_port. Value: '%d'. Value should be greater or equal to 1", m.Port)
		}
		i := slices.IndexFunc(p.members, func(x *lbMember) bool { return x.address == m.Address && x.port == m.Port })
		x := &lbMember{id: uuid(), address: m.Address, port: m.Port, subnet: m.Subnet, created: k.now}
		if i >= 0 {
			x = p.members[i]
		}
		x.name, x.weight, x.down = m.Name, 1, m.Up != nil && !*m.Up
		if m.Weight != nil {
			x.weight = *m.Weight
		}
		members = append(members, x)
	}
	if q := k.c.opts.Quota.Members; q >= 0 && len(members) > q {
		return k.err(403, "Quota has been met for resources: Member")
	}
	if additive {
		for _, x := range p.members {
			if !slices.Contains(members, x) {
				members = append(members, x)
			}
		}
	}
	p.members = members
	k.change(b)
	return 202, nil
}

func (k *call) hasSubnet(id string) bool {
	return slices.ContainsFunc(k.c.netList(k.region), func(n *network) bool { return n.subnet == id })
}
