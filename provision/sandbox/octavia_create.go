package sandbox

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

type monitorInput struct {
	Name, Type string
	Method     string   `json:"http_method"`
	Path       string   `json:"url_path"`
	Codes      string   `json:"expected_codes"`
	Version    *float64 `json:"http_version"`
	Host       string   `json:"domain_name"`
	Delay      int
	Timeout    int
	Rise       int `json:"max_retries"`
	Fall       int `json:"max_retries_down"`
	Tags       []string
}

type poolInput struct {
	Name, Protocol string
	Algorithm      string          `json:"lb_algorithm"`
	TLS            bool            `json:"tls_enabled"`
	Ciphers        json.RawMessage `json:"tls_ciphers"` // of these only whether they are there
	Versions       json.RawMessage `json:"tls_versions"`
	ALPN           json.RawMessage `json:"alpn_protocols"`
	Tags           []string
	Monitor        *monitorInput `json:"healthmonitor"`
	Members        []memberInput
}

type policyInput struct {
	Name, Action string
	Tags         []string
	Prefix       string `json:"redirect_prefix"`
	URL          string `json:"redirect_url"`
	Code         int    `json:"redirect_http_code"`
	Position     int
	Rules        []lbRule
}

type listenerInput struct {
	Name, Protocol string
	Port           int `json:"protocol_port"`
	Tags           []string
	Default        string            `json:"default_tls_container_ref"`
	SNI            []string          `json:"sni_container_refs"`
	Pool           *poolInput        `json:"default_pool"`
	Policies       []policyInput     `json:"l7policies"`
	Headers        map[string]string `json:"insert_headers"`
	Limit          *int              `json:"connection_limit"`
	CIDRs          []string          `json:"allowed_cidrs"`
	Versions       []string          `json:"tls_versions"`
	Ciphers        string            `json:"tls_ciphers"`
}

type balancerInput struct {
	Name, Description, Provider string
	Network                     string `json:"vip_network_id"`
	Subnet                      string `json:"vip_subnet_id"`
	Flavor                      string `json:"flavor_id"`
	Tags                        []string
	Listeners                   []listenerInput
}

// balancerCreate takes a load balancer with all that is in it, as octavia's "fully populated" create does: all or nothing.
// https://docs.openstack.org/api-ref/load-balancer/v2/#creating-a-fully-populated-load-balancer
func balancerCreate(k *call) (int, any) {
	c := k.c
	var in struct {
		Balancer *balancerInput `json:"loadbalancer"`
	}
	dec := json.NewDecoder(bytes.NewReader(k.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil || in.Balancer == nil {
		if err != nil && strings.Contains(err.Error(), "unknown field") {
			return k.err(400, "Unknown attribute: %s", strings.Trim(err.Error()[strings.LastIndexByte(err.Error(), ' ')+1:], `"`))
		}
		return k.malformed()
	}
	a := *in.Balancer
	b := &balancer{id: uuid(), region: k.region, name: a.Name, description: a.Description, provider: a.Provider, flavor: a.Flavor, tags: a.Tags,
		created: k.now, updated: k.now, order: c.nextOrder()}
	if b.provider == "" {
		b.provider = "amphora"
	}
	n := c.networkOf(k.region, a.Network)
	switch {
	case a.Network == "" && a.Subnet == "":
		return k.err(400, "Validation failure: VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id.")
	case n == nil:
		return k.err(400, "Network %s not found.", a.Network)
	case a.Subnet != "" && a.Subnet != n.subnet:
		return k.err(400, "Validation failure: Supplied VIP network_id does not contain the supplied subnet_id.")
	case !slices.ContainsFunc(providers, func(p [2]string) bool { return p[0] == b.provider }):
		return k.err(400, "Provider '%s' is not enabled.", b.provider)
	case a.Flavor != "" && !slices.ContainsFunc(c.opts.BalancerFlavors, func(f string) bool { return flavorID(k.region, f) == a.Flavor }):
		return k.err(400, "Validation failure: Invalid flavor_id.")
	}
	q, listeners, pools := c.opts.Quota, 0, 0
	for _, o := range c.balancersOf(k.region) {
		listeners, pools = listeners+len(o.listeners), pools+len(o.pools)
	}
	if q.LoadBalancers >= 0 && len(c.balancersOf(k.region)) >= q.LoadBalancers {
		return k.err(403, "Quota has been met for resources: Load Balancer")
	}
	for _, l := range a.Listeners {
		x, status, val := k.listener(b, l)
		if x == nil {
			return status, val
		}
		if slices.ContainsFunc(b.listeners, func(o *lbListener) bool { return o.port == x.port }) {
			return k.err(409, "Another Listener on this Load Balancer is already using protocol %s and protocol_port %d", x.protocol, x.port)
		}
		b.listeners = append(b.listeners, x)
	}
	if q.Pools >= 0 && pools+len(b.pools) > q.Pools {
		return k.err(403, "Quota has been met for resources: Pool")
	}
	if q.Listeners >= 0 && listeners+len(b.listeners) > q.Listeners {
		return k.err(403, "Quota has been met for resources: Listener")
	}
	b.network, b.subnet = n.id, n.subnet
	if b.port = c.newPort(n, "octavia-lb-"+b.id, k.now); b.port == nil {
		return k.err(409, "No more IP addresses available on network %s.", n.id)
	}
	b.front = newFront(c, b)
	c.balancers[b.id] = b
	for _, l := range b.listeners {
		for _, href := range l.containers {
			x := c.containers[href[strings.LastIndexByte(href, '/')+1:]]
			x.consumers = append(x.consumers, obj{"name": "Octavia", "URL": "loadbalancer/" + b.id})
		}
	}
	b.busy, b.busyWith = k.now.Add(c.opts.BalancerDelay), "PENDING_CREATE"
	if f := c.faults["balancer-slow"]; f != nil {
		b.busy = k.now.Add(f.d)
	}
	b.half = c.take("balancer-half")
	if c.take("balancer-stuck") {
		b.busy = k.now.AddDate(10, 0, 0)
	}
	b.failed = c.take("balancer-error")
	k.lose = c.take("balancer-reply-lost")
	return 201, obj{"loadbalancer": k.balancerView(b, true)}
}

// listener makes one, with its pool, which joins b's.
func (k *call) listener(b *balancer, in listenerInput) (*lbListener, int, any) {
	refuse := func(status int, f string, a ...any) (*lbListener, int, any) {
		status, fault := k.err(status, f, a...)
		return nil, status, fault
	}
	l := &lbListener{id: uuid(), name: in.Name, protocol: in.Protocol, port: in.Port, limit: -1, cidrs: in.CIDRs, headers: in.Headers, versions: in.Versions, tags: in.Tags}
	if in.Limit != nil {
		l.limit = *in.Limit
	}
	terminated := in.Protocol == "TERMINATED_HTTPS"
	switch {
	case !terminated && in.Protocol != "HTTP":
		return refuse(400, "%s is not a valid option for protocol", in.Protocol)
	case in.Port < 1 || in.Port > 65535:
		return refuse(400, "Invalid input for field/attribute protocol_port. Value: '%d'. Value should be greater or equal to 1", in.Port)
	case !terminated && (in.Default != "" || len(in.SNI) > 0):
		return refuse(400, "Validation failure: Certificate container references are only allowed on TERMINATED_HTTPS protocol listeners.")
	case terminated && in.Default == "" && len(in.SNI) == 0:
		return refuse(400, "Validation failure: An SNI or default certificate container reference must be provided for TERMINATED_HTTPS protocol listeners.")
	}
	var bad []string
	for _, href := range append([]string{in.Default}, in.SNI...) {
		if href == "" {
			continue
		}
		cert, err := k.c.certificateOf(k.region, href)
		if err != nil {
			bad = append(bad, "'"+href+"'")
		}
		l.containers, l.certs = append(l.containers, href), append(l.certs, cert)
	}
	if len(bad) > 0 {
		return refuse(400, "Could not retrieve certificate: [%s]", strings.Join(bad, ", "))
	}
	for i, p := range in.Policies {
		if p.Action != "REDIRECT_PREFIX" && p.Action != "REDIRECT_TO_URL" && p.Action != "REJECT" {
			return refuse(400, "Invalid L7 Policy action specified: %s", p.Action)
		}
		if p.Action == "REDIRECT_PREFIX" && p.Prefix == "" {
			return refuse(400, "Invalid L7 Policy arguments: redirect_prefix must not be None")
		}
		l.policies = append(l.policies, lbPolicy{id: uuid(), name: p.Name, action: p.Action, prefix: p.Prefix, url: p.URL, code: p.Code, position: max(p.Position, i+1), rules: p.Rules})
	}
	if in.Pool == nil {
		return l, 0, nil
	}
	p, msg := newPool(*in.Pool, k.now)
	switch {
	case in.Pool.TLS && (in.Pool.Ciphers == nil || in.Pool.Versions == nil || in.Pool.ALPN == nil): // null is there, and means the default
		return refuse(500, "'tls_ciphers'")
	case msg != "":
		return refuse(400, "%s", msg)
	case p.protocol != "HTTP":
		return refuse(400, "Validation failure: The pool protocol '%s' is invalid while the listener protocol is '%s'.", p.protocol, l.protocol)
	}
	l.pool, b.pools = p, append(b.pools, p)
	return l, 0, nil
}

func newPool(in poolInput, now time.Time) (*lbPool, string) {
	p := &lbPool{id: uuid(), name: in.Name, protocol: in.Protocol, algorithm: in.Algorithm, tls: in.TLS, tags: in.Tags}
	switch {
	case in.Name == "":
		return p, "Validation failure: Pools must be named when creating a fully populated loadbalancer."
	case !slices.Contains([]string{"ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"}, in.Algorithm):
		return p, "Invalid input for field/attribute lb_algorithm. Value: '" + in.Algorithm + "'. Value should be one of: ROUND_ROBIN, LEAST_CONNECTIONS, SOURCE_IP, SOURCE_IP_PORT"
	}
	if m := in.Monitor; m != nil {
		if m.Rise < 1 || m.Rise > 10 || m.Fall > 10 || m.Type != "HTTP" && m.Type != "HTTPS" || !strings.HasPrefix(m.Path, "/") {
			return p, "Invalid input for field/attribute healthmonitor."
		}
		if m.Host != "" && (m.Version == nil || *m.Version != 1.1) {
			return p, "Validation failure: http_version must be 1.1 when domain_name is set."
		}
		p.monitor = &lbMonitor{id: uuid(), name: m.Name, kind: m.Type, path: m.Path, codes: m.Codes, host: m.Host, delay: m.Delay, timeout: m.Timeout, rise: m.Rise, fall: m.Fall}
	}
	for _, m := range in.Members {
		p.members = append(p.members, &lbMember{id: uuid(), name: m.Name, address: m.Address, port: m.Port, subnet: m.Subnet, weight: 1, created: now})
	}
	return p, ""
}

// certificateOf reads a container as octavia does: the chain and the key, which must belong together.
func (c *Cloud) certificateOf(region, href string) (tls.Certificate, error) {
	x := c.containers[href[strings.LastIndexByte(href, '/')+1:]]
	if x == nil || x.region != region || x.kind != "certificate" {
		return tls.Certificate{}, errors.New("no such container")
	}
	chain := slices.Concat(c.part(x, "certificate"), []byte("\n"), c.part(x, "intermediates"))
	return tls.X509KeyPair(chain, c.part(x, "private_key"))
}
