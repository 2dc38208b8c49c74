package sandbox

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cloudLB is what Rackspace's Cloud Load Balancers (v1.0) know of a load balancer beyond what serves: front and listeners are
// made of it anew with each change.
//
// https://docs.rackspace.com/docs/cloud-load-balancers/v1; messages are those that its clients were tested with
// (https://github.com/rackerlabs/otter/blob/master/otter/test/cloud_client/test_clb.py).
type cloudLB struct {
	number              int
	protocol, algorithm string
	port, timeout       int
	v6                  netip.Addr // the virtual address beside b.port's
	nodes               []*cloudNode
	monitor             *cloudMonitor
	throttle            obj
	access              []obj
	metadata            []obj
	redirect            bool
	tls                 *cloudTLS
}

type cloudNode struct {
	id              int
	condition, kind string
	weight          int
	member          *lbMember
}

type cloudMonitor struct {
	Type     string `json:"type"`
	Path     string `json:"path,omitempty"`
	Status   string `json:"statusRegex,omitempty"`
	Body     string `json:"bodyRegex,omitempty"`
	Host     string `json:"hostHeader,omitempty"`
	Delay    int    `json:"delay"`
	Timeout  int    `json:"timeout"`
	Attempts int    `json:"attemptsBeforeDeactivation"`
}

type cloudTLS struct {
	certificate, intermediate string
	cert                      tls.Certificate
	port                      int
	enabled, only             bool
	off                       map[string]bool // versions
}

var clbVersions = []string{"TLS_10", "TLS_11"}

func clbRoutes() []route {
	var list []route
	add := func(pattern string, do handler) {
		r := on(pattern, func(k *call) (int, any) {
			if k.vars["account"] != k.c.account {
				return k.err(401, "Invalid authentication token. Please renew")
			}
			return do(k)
		})
		list = append(list, r)
	}
	// with finds the load balancer of the path; write wants it to be one that may be changed now.
	with := func(write bool, do func(*call, *balancer) (int, any)) handler {
		return func(k *call) (int, any) {
			b, status, val := k.cloudBalancer()
			if b == nil {
				return status, val
			}
			if write {
				if s := b.at(k.now); s != "ACTIVE" || k.c.take("balancer-busy") {
					return k.immutable(b, s)
				}
			}
			return do(k, b)
		}
	}
	const all, one = "/v1.0/{account}/loadbalancers", "/v1.0/{account}/loadbalancers/{id}"
	add("GET "+all, clbList)
	add("POST "+all, clbCreate)
	add("DELETE "+all, clbDeleteMany)
	add("GET "+all+"/absolutelimits", func(k *call) (int, any) {
		q := k.c.opts.Quota
		return 200, obj{"absolute": []obj{{"name": "IPV6_LIMIT", "value": 25}, {"name": "LOADBALANCER_LIMIT", "value": q.LoadBalancers},
			{"name": "BATCH_DELETE_LIMIT", "value": 10}, {"name": "ACCESS_LIST_LIMIT", "value": 100}, {"name": "NODE_LIMIT", "value": q.Members}}}
	})
	add("GET "+all+"/protocols", func(*call) (int, any) {
		return 200, obj{"protocols": []obj{{"name": "HTTP", "port": 80}, {"name": "HTTPS", "port": 443}, {"name": "TCP", "port": 0}}}
	})
	add("GET "+all+"/algorithms", func(*call) (int, any) {
		list := []obj{}
		for _, a := range clbAlgorithms {
			list = append(list, obj{"name": a})
		}
		return 200, obj{"algorithms": list}
	})
	add("GET "+one, with(false, func(k *call, b *balancer) (int, any) { return 200, obj{"loadBalancer": k.clbView(b, true)} }))
	add("PUT "+one, with(true, clbUpdate))
	add("DELETE "+one, func(k *call) (int, any) {
		b, status, val := k.cloudBalancer()
		if b == nil {
			return status, val
		}
		return k.clbDelete(b)
	})
	add("GET "+one+"/nodes", with(false, func(k *call, b *balancer) (int, any) { return 200, obj{"nodes": k.nodeViews(b.clb.nodes)} }))
	add("POST "+one+"/nodes", with(true, nodesAdd))
	add("DELETE "+one+"/nodes", with(true, nodesDelete))
	add("PUT "+one+"/nodes/{node}", with(true, nodeUpdate))
	add("DELETE "+one+"/nodes/{node}", with(true, nodesDelete))
	add("GET "+one+"/accesslist", with(false, func(_ *call, b *balancer) (int, any) { return 200, obj{"accessList": clbItems(b)} }))
	add("POST "+one+"/accesslist", with(true, accessAdd))
	add("GET "+one+"/healthmonitor", with(false, func(_ *call, b *balancer) (int, any) {
		if b.clb.monitor == nil {
			return 200, obj{"healthMonitor": obj{}}
		}
		return 200, obj{"healthMonitor": b.clb.monitor}
	}))
	add("PUT "+one+"/healthmonitor", with(true, monitorPut))
	add("GET "+one+"/connectionthrottle", with(false, func(_ *call, b *balancer) (int, any) {
		return 200, obj{"connectionThrottle": b.clb.throttle}
	}))
	add("PUT "+one+"/connectionthrottle", with(true, throttlePut))
	add("GET "+one+"/ssltermination", with(false, terminationShow))
	add("PUT "+one+"/ssltermination", with(true, terminationPut))
	add("DELETE "+one+"/ssltermination", with(true, func(k *call, b *balancer) (int, any) {
		b.clb.tls, b.clb.redirect = nil, false
		k.clbChange(b)
		return 200, nil
	}))
	add("GET "+one+"/virtualips", with(false, func(k *call, b *balancer) (int, any) { return 200, obj{"virtualIps": k.vipViews(b)} }))
	add("POST "+one+"/virtualips", with(true, vipAdd))
	add("GET "+one+"/metadata", with(false, func(_ *call, b *balancer) (int, any) { return 200, obj{"metadata": b.clb.metadata} }))
	return list
}

var clbAlgorithms = []string{"LEAST_CONNECTIONS", "RANDOM", "ROUND_ROBIN", "WEIGHTED_LEAST_CONNECTIONS", "WEIGHTED_ROUND_ROBIN"}

// clbError is flat; what is not valid is listed apart.
func clbError(_ *call, status int, msg string) any {
	if m, ok := strings.CutPrefix(msg, "validation: "); ok {
		return obj{"validationErrors": obj{"messages": []string{m}}, "message": "Validation Failure", "code": status, "details": "The object is not valid"}
	}
	return obj{"message": msg, "code": status, "details": ""}
}

func (k *call) immutable(b *balancer, status string) (int, any) {
	if status == "ACTIVE" {
		status = "PENDING_UPDATE"
	}
	return k.err(422, "Load Balancer '%d' has a status of '%s' and is considered immutable.", b.clb.number, status)
}

// cloudBalancer finds that of the path. One that was deleted is 404, or 410 in what clients have seen too.
func (k *call) cloudBalancer() (*balancer, int, any) {
	for _, b := range k.c.balancersOf(k.region) {
		if b.clb != nil && strconv.Itoa(b.clb.number) == k.vars["id"] {
			return b, 0, nil
		}
	}
	if n, err := strconv.Atoi(k.vars["id"]); err == nil && k.c.clbGone[n] && k.c.opts.Rackspace.Old {
		status, val := k.err(410, "The loadbalancer is marked as deleted.")
		return nil, status, val
	}
	status, val := k.err(404, "Load balancer not found.")
	return nil, status, val
}

// number is an id as the sandbox is to write them: the documents have numbers, and texts among them.
func (k *call) number(n int) any {
	if k.c.opts.Rackspace.Texts {
		return strconv.Itoa(n)
	}
	return n
}

func (k *call) truth(v bool) any {
	if k.c.opts.Rackspace.Texts {
		return strconv.FormatBool(v)
	}
	return v
}

func (k *call) moment(t time.Time) obj {
	if k.c.opts.Rackspace.Offset {
		return obj{"time": t.In(time.FixedZone("", -5*3600)).Format("2006-01-02T15:04:05-07:00")}
	}
	return obj{"time": stamp(t)}
}

// clbView shows one: nodes are not in a list, and metadata is nowhere but in its own place.
func (k *call) clbView(b *balancer, full bool) obj {
	x := b.clb
	v := obj{"id": k.number(x.number), "name": b.name, "protocol": x.protocol, "port": x.port, "algorithm": x.algorithm, "status": b.at(k.now), "timeout": x.timeout,
		"virtualIps": k.vipViews(b), "created": k.moment(b.created), "updated": k.moment(b.updated)}
	if !full {
		v["nodeCount"] = len(x.nodes)
		return v
	}
	v["nodes"], v["cluster"], v["halfClosed"] = k.nodeViews(x.nodes), obj{"name": "c1." + strings.ToLower(b.region) + "1"}, k.truth(false)
	v["connectionLogging"], v["contentCaching"] = obj{"enabled": k.truth(false)}, obj{"enabled": k.truth(false)}
	v["sourceAddresses"] = obj{"ipv6Public": "2001:db8:79f1:1::1/64", "ipv4Servicenet": "10.183.252.25", "ipv4Public": "198.51.100.25"}
	if !k.c.opts.Rackspace.Old { // not in the documents' sample
		v["httpsRedirect"] = k.truth(x.redirect)
	}
	if len(x.throttle) > 0 {
		v["connectionThrottle"] = x.throttle
	}
	if len(x.access) > 0 {
		v["accessList"] = clbItems(b)
	}
	if x.monitor != nil {
		v["healthMonitor"] = x.monitor
	}
	return v
}

func clbItems(b *balancer) []obj {
	if b.clb.access == nil {
		return []obj{}
	}
	return b.clb.access
}

func (k *call) vipViews(b *balancer) []obj {
	out := []obj{{"id": k.number(b.clb.number + 100000), "address": b.port.ip.String(), "type": "PUBLIC", "ipVersion": "IPV4"}}
	if b.clb.v6.IsValid() {
		out = append(out, obj{"id": k.number(b.clb.number + 9000000), "address": b.clb.v6.StringExpanded(), "type": "PUBLIC", "ipVersion": "IPV6"})
	}
	return out
}

func (k *call) nodeViews(nodes []*cloudNode) []obj {
	out := []obj{}
	for _, n := range nodes {
		status := "ONLINE" // from the first, whether it was asked or not
		if !n.member.checked.IsZero() && !n.member.well {
			status = "OFFLINE"
		}
		out = append(out, obj{"id": k.number(n.id), "address": n.member.address, "port": n.member.port, "condition": n.condition, "status": status, "weight": n.weight, "type": n.kind})
	}
	return out
}

// clbList begins a page with the marker, as the documents say, or behind it, as most others do.
func clbList(k *call) (int, any) {
	q := k.URL.Query()
	var all []*balancer
	for _, b := range k.c.balancersOf(k.region) {
		if b.clb == nil || q.Get("name") != "" && b.name != q.Get("name") {
			continue
		}
		if a := q.Get("nodeaddress"); a != "" && !slices.ContainsFunc(b.clb.nodes, func(n *cloudNode) bool { return n.member.address == a }) {
			continue
		}
		all = append(all, b)
	}
	limit := 100
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 && n < limit {
		limit = n
	}
	if m, err := strconv.Atoi(q.Get("marker")); err == nil {
		all = slices.DeleteFunc(all, func(b *balancer) bool { return b.clb.number < m || k.c.opts.Rackspace.Old && b.clb.number == m })
	}
	list := []obj{}
	for _, b := range all[:min(limit, len(all))] {
		list = append(list, k.clbView(b, false))
	}
	return 200, obj{"loadBalancers": list}
}

// unwrap decodes what stands below a root, or without one: a client that knows the service leaves it out.
// https://github.com/apache/libcloud/blob/trunk/libcloud/loadbalancer/drivers/rackspace.py
func (k *call) unwrap(root string, v any) error {
	var in map[string]json.RawMessage
	if err := k.decode(&in); err != nil {
		return err
	}
	if inner, ok := in[root]; ok {
		return json.Unmarshal(inner, v)
	}
	return json.Unmarshal(k.body, v)
}

// clbChange makes the listeners anew of what is to serve, and the load balancer PENDING_UPDATE for a while. With part-reply-lost nobody
// is told that the change was taken.
func (k *call) clbChange(b *balancer) {
	k.change(b)
	b.build()
	k.lose = k.lose || k.c.take("part-reply-lost")
}

const connects = "CONNECT" // a kind of health monitor

func (b *balancer) build() {
	x := b.clb
	pool := &lbPool{lbPart: lbPart{id: "nodes", name: b.name}, protocol: "HTTP", algorithm: x.algorithm}
	// One without a health monitor looks whether a member listens.
	// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/nodes
	pool.monitor = &lbMonitor{kind: connects, delay: 10, timeout: 10}
	if m := x.monitor; m != nil && m.Type == "HTTP" {
		pool.monitor = &lbMonitor{kind: m.Type, path: m.Path, status: m.Status, host: m.Host, delay: m.Delay, timeout: m.Timeout, fall: m.Attempts}
	}
	for _, n := range x.nodes {
		m := *n.member
		m.down = n.condition != "ENABLED"
		n.member = &m // others may be serving with the one of before
		pool.members = append(pool.members, n.member)
	}
	headers := map[string]string{"X-Forwarded-For": "true", "X-Forwarded-Port": "true"}
	b.pools, b.listeners = []*lbPool{pool}, nil
	secure := x.tls != nil && x.tls.enabled
	if !secure || !x.tls.only || x.redirect {
		b.listeners = append(b.listeners, &lbListener{protocol: "HTTP", port: x.port, pool: pool, headers: headers, limit: -1, redirect: secure && x.redirect})
	}
	if secure {
		b.listeners = append(b.listeners, &lbListener{protocol: "TERMINATED_HTTPS", port: x.tls.port, pool: pool, headers: headers, limit: -1, certs: []tls.Certificate{x.tls.cert}})
	}
	slices.SortFunc(b.listeners, func(a, c *lbListener) int { return cmp.Compare(c.port, a.port) })
}

// clbDelete is accepted at once, and takes its time. With balancer-delete-half it ends in ERROR, and must be asked for again.
func (k *call) clbDelete(b *balancer) (int, any) {
	if s := b.at(k.now); s != "ACTIVE" && s != "ERROR" || k.c.take("balancer-busy") {
		return k.immutable(b, s)
	}
	b.front.stop()
	if k.c.take("balancer-delete-half") {
		b.busy, b.busyWith, b.failed = k.now.Add(k.c.opts.BalancerDelay/2), "PENDING_DELETE", true
		return 202, nil
	}
	b.deleted = k.now
	return 202, nil
}

// clbDeleteMany takes ten at most.
func clbDeleteMany(k *call) (int, any) {
	ids := k.URL.Query()["id"]
	if len(ids) == 0 || len(ids) > 10 {
		return k.err(400, "validation: Must provide between 1 and 10 load balancer ids.")
	}
	var all []*balancer
	for _, id := range ids {
		k.vars["id"] = id
		b, status, val := k.cloudBalancer()
		if b == nil {
			return status, val
		}
		all = append(all, b)
	}
	for _, b := range all {
		if status, val := k.clbDelete(b); status != 202 {
			return status, val
		}
	}
	return 202, nil
}
