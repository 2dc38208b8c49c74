package sandbox

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// The parts of a load balancer: each is made by a request of its own, while the load balancer is ACTIVE, and makes it PENDING_UPDATE.

type poolInput struct {
	Name, Protocol string
	Balancer       string `json:"loadbalancer_id"`
	Algorithm      string `json:"lb_algorithm"`
	TLS            bool   `json:"tls_enabled"`
	Tags           []string
}

type monitorInput struct {
	Name, Type string
	Pool       string   `json:"pool_id"`
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

type listenerInput struct {
	Name, Protocol string
	Balancer       string `json:"loadbalancer_id"`
	Port           int    `json:"protocol_port"`
	Pool           string `json:"default_pool_id"`
	Tags           []string
	Default        string            `json:"default_tls_container_ref"`
	SNI            []string          `json:"sni_container_refs"`
	Headers        map[string]string `json:"insert_headers"`
	Limit          *int              `json:"connection_limit"`
	CIDRs          []string          `json:"allowed_cidrs"`
	Versions       []string          `json:"tls_versions"`
	Ciphers        string            `json:"tls_ciphers"`
}

type policyInput struct {
	Name, Action string
	Listener     string `json:"listener_id"`
	Tags         []string
	Prefix       string `json:"redirect_prefix"`
	URL          string `json:"redirect_url"`
	Code         int    `json:"redirect_http_code"`
	Position     int
}

type ruleInput struct {
	Type    string `json:"type"`
	Compare string `json:"compare_type"`
	Key     string `json:"key"`
	Value   string `json:"value"`
	Invert  bool   `json:"invert"`
	Tags    []string
}

// parts lists parts of all load balancers.
func (k *call) parts(name string, of func(b *balancer, add func(obj))) (int, any) {
	list := []obj{}
	for _, b := range k.c.balancersOf(k.region) {
		of(b, func(v obj) { list = append(list, v) })
	}
	return k.list(name, list)
}

func (k *call) lbPool(id string) (*balancer, *lbPool, int, any) {
	for _, b := range k.c.balancersOf(k.region) {
		for _, p := range b.pools {
			if p.id == id {
				return b, p, 0, nil
			}
		}
	}
	status, val := k.err(404, "Pool %s not found.", id)
	return nil, nil, status, val
}

func (k *call) lbListener(id string) (*balancer, *lbListener, int, any) {
	for _, b := range k.c.balancersOf(k.region) {
		for _, l := range b.listeners {
			if l.id == id {
				return b, l, 0, nil
			}
		}
	}
	status, val := k.err(404, "Listener %s not found.", id)
	return nil, nil, status, val
}

func (k *call) lbPolicy(id string) (*balancer, *lbListener, *lbPolicy, int, any) {
	for _, b := range k.c.balancersOf(k.region) {
		for _, l := range b.listeners {
			for _, p := range l.policies {
				if p.id == id {
					return b, l, p, 0, nil
				}
			}
		}
	}
	status, val := k.err(404, "L7 Policy %s not found.", id)
	return nil, nil, nil, status, val
}

// made ends the making of a part.
func (k *call) made(b *balancer, name string, view func() obj) (int, any) {
	k.change(b)
	k.lose = k.c.take("part-reply-lost")
	return 201, obj{name: view()}
}

func poolCreate(k *call) (int, any) {
	in, status, val := taken[poolInput](k, "pool")
	if status != 0 {
		return status, val
	}
	b := k.c.balancers[in.Balancer]
	switch {
	case b == nil || b.region != k.region:
		return k.err(404, "Load Balancer %s not found.", in.Balancer)
	case !slices.Contains([]string{"ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"}, in.Algorithm):
		return k.err(400, "Invalid input for field/attribute lb_algorithm. Value: '%s'. Value should be one of: ROUND_ROBIN, LEAST_CONNECTIONS, SOURCE_IP, SOURCE_IP_PORT", in.Algorithm)
	}
	n := 0
	for _, o := range k.c.balancersOf(k.region) {
		n += len(o.pools)
	}
	if q := k.c.opts.Quota.Pools; q >= 0 && n >= q {
		return k.err(403, "Quota has been met for resources: Pool")
	}
	if status, val := k.mutable(b); status != 0 {
		return status, val
	}
	p := &lbPool{lbPart: k.newPart(in.Name, in.Tags), protocol: in.Protocol, algorithm: in.Algorithm, tls: in.TLS}
	b.pools = append(b.pools, p)
	return k.made(b, "pool", func() obj { return k.poolView(b, p) })
}

func monitorCreate(k *call) (int, any) {
	in, status, val := taken[monitorInput](k, "healthmonitor")
	if status != 0 {
		return status, val
	}
	b, p, status, val := k.lbPool(in.Pool)
	switch {
	case p == nil:
		return status, val
	case in.Rise < 1 || in.Rise > 10 || in.Fall > 10 || in.Type != "HTTP" && in.Type != "HTTPS" || !strings.HasPrefix(in.Path, "/"):
		return k.err(400, "Invalid input for field/attribute healthmonitor.")
	case in.Host != "" && (in.Version == nil || *in.Version != 1.1):
		return k.err(400, "Validation failure: http_version must be 1.1 when domain_name is set.")
	case p.monitor != nil:
		return k.err(409, "This pool already has a health monitor")
	}
	if status, val := k.mutable(b); status != 0 {
		return status, val
	}
	p.monitor = &lbMonitor{lbPart: k.newPart(in.Name, in.Tags), kind: in.Type, path: in.Path, codes: in.Codes, host: in.Host, delay: in.Delay, timeout: in.Timeout, rise: in.Rise, fall: in.Fall}
	return k.made(b, "healthmonitor", func() obj { return k.monitorView(b, p) })
}

func listenerCreate(k *call) (int, any) {
	in, status, val := taken[listenerInput](k, "listener")
	if status != 0 {
		return status, val
	}
	b := k.c.balancers[in.Balancer]
	terminated := in.Protocol == "TERMINATED_HTTPS"
	switch {
	case b == nil || b.region != k.region:
		return k.err(404, "Load Balancer %s not found.", in.Balancer)
	case !terminated && in.Protocol != "HTTP":
		return k.err(400, "%s is not a valid option for protocol", in.Protocol)
	case in.Port < 1 || in.Port > 65535:
		return k.err(400, "Invalid input for field/attribute protocol_port. Value: '%d'. Value should be greater or equal to 1", in.Port)
	case !terminated && (in.Default != "" || len(in.SNI) > 0):
		return k.err(400, "Validation failure: Certificate container references are not allowed on %s protocol listeners.", in.Protocol)
	case terminated && in.Default == "" && len(in.SNI) == 0:
		return k.err(400, "Validation failure: An SNI or default certificate container reference must be provided for TERMINATED_HTTPS protocol listeners.")
	}
	n := 0
	for _, o := range k.c.balancersOf(k.region) {
		n += len(o.listeners)
	}
	if q := k.c.opts.Quota.Listeners; q >= 0 && n >= q {
		return k.err(403, "Quota has been met for resources: Listener")
	}
	l := &lbListener{protocol: in.Protocol, port: in.Port, limit: -1, cidrs: in.CIDRs, headers: in.Headers, versions: in.Versions}
	if in.Limit != nil {
		l.limit = *in.Limit
	}
	if in.Pool != "" {
		of, p, status, val := k.lbPool(in.Pool)
		switch {
		case p == nil || of != b:
			return status, val
		case p.protocol != "HTTP":
			return k.err(400, "Validation failure: The pool protocol '%s' is invalid while the listener protocol is '%s'.", p.protocol, l.protocol)
		}
		l.pool = p
	}
	if status, val := k.mutable(b); status != 0 {
		return status, val
	}
	if l.containers, l.certs, status, val = k.certificates(in.Default, in.SNI); status != 0 {
		return status, val
	}
	if slices.ContainsFunc(b.listeners, func(o *lbListener) bool { return o.port == l.port }) {
		return k.err(409, "Another Listener on this Load Balancer is already using protocol %s and protocol_port %d", l.protocol, l.port)
	}
	l.lbPart = k.newPart(in.Name, in.Tags)
	b.listeners = append(b.listeners, l)
	k.c.consume(b)
	return k.made(b, "listener", func() obj { return k.listenerView(b, l) })
}

// certificates reads containers, the default first.
func (k *call) certificates(first string, sni []string) (hrefs []string, certs []tls.Certificate, status int, val any) {
	var bad []string
	for _, href := range append([]string{first}, sni...) {
		if href == "" {
			continue
		}
		cert, err := k.c.certificateOf(k.region, href)
		if err != nil {
			bad = append(bad, "'"+href+"'")
		}
		hrefs, certs = append(hrefs, href), append(certs, cert)
	}
	if len(bad) > 0 {
		status, val = k.err(400, "Could not retrieve certificate: [%s]", strings.Join(bad, ", "))
	}
	return hrefs, certs, status, val
}

// consume tells barbican which containers a load balancer uses.
func (c *Cloud) consume(b *balancer) {
	for _, x := range c.containers {
		x.consumers = slices.DeleteFunc(x.consumers, func(o obj) bool { return strings.HasSuffix(fmt.Sprint(o["URL"]), b.id) })
	}
	for _, l := range b.listeners {
		for _, href := range l.containers {
			if x := c.containers[href[strings.LastIndexByte(href, '/')+1:]]; x != nil {
				x.consumers = append(x.consumers, obj{"name": "Octavia", "URL": "loadbalancer/" + b.id})
			}
		}
	}
}

// listenerUpdate takes the containers of one, both or none: what is not named stays.
func listenerUpdate(k *call) (int, any) {
	type update struct {
		Default *string   `json:"default_tls_container_ref"`
		SNI     *[]string `json:"sni_container_refs"`
		Ciphers string    `json:"tls_ciphers"`
	}
	in, status, val := taken[update](k, "listener")
	if status != 0 {
		return status, val
	}
	b, l, status, val := k.lbListener(k.vars["id"])
	switch {
	case l == nil:
		return status, val
	case l.protocol != "TERMINATED_HTTPS":
		return k.err(400, "Validation failure: Certificate container references are not allowed on %s protocol listeners.", l.protocol)
	}
	first, sni := l.containers[0], l.containers[1:]
	if in.Default != nil {
		first = *in.Default
	}
	if in.SNI != nil {
		sni = *in.SNI
	}
	hrefs, certs, status, val := k.certificates(first, sni)
	if status != 0 {
		return status, val
	}
	if status, val := k.mutable(b); status != 0 {
		return status, val
	}
	l.containers, l.certs = hrefs, certs
	k.c.consume(b)
	k.change(b)
	k.lose = k.c.take("part-reply-lost")
	return 200, obj{"listener": k.listenerView(b, l)}
}

// remove ends the removal of a part, which goes at once.
func (k *call) remove(b *balancer, status int, val any, without func()) (int, any) {
	if b == nil {
		return status, val
	}
	if status, val := k.mutable(b); status != 0 {
		return status, val
	}
	without()
	k.change(b)
	return 204, nil
}

func listenerDelete(k *call) (int, any) {
	b, l, status, val := k.lbListener(k.vars["id"])
	return k.remove(b, status, val, func() {
		b.listeners = slices.DeleteFunc(b.listeners, func(o *lbListener) bool { return o == l })
		k.c.consume(b)
	})
}

func poolDelete(k *call) (int, any) {
	b, p, status, val := k.lbPool(k.vars["id"])
	return k.remove(b, status, val, func() {
		b.pools = slices.DeleteFunc(b.pools, func(o *lbPool) bool { return o == p })
		for _, l := range b.listeners {
			if l.pool == p {
				l.pool = nil
			}
		}
	})
}

func monitorDelete(k *call) (int, any) {
	for _, b := range k.c.balancersOf(k.region) {
		for _, p := range b.pools {
			if p.monitor != nil && p.monitor.id == k.vars["id"] {
				return k.remove(b, 0, nil, func() { p.monitor = nil })
			}
		}
	}
	return k.err(404, "Health Monitor %s not found.", k.vars["id"])
}

func policyDelete(k *call) (int, any) {
	b, l, p, status, val := k.lbPolicy(k.vars["id"])
	return k.remove(b, status, val, func() {
		l.policies = slices.DeleteFunc(l.policies, func(o *lbPolicy) bool { return o == p })
	})
}

func ruleDelete(k *call) (int, any) {
	b, _, p, status, val := k.lbPolicy(k.vars["id"])
	return k.remove(b, status, val, func() {
		p.rules = slices.DeleteFunc(p.rules, func(o *lbRule) bool { return o.id == k.vars["rule"] })
	})
}

func policyCreate(k *call) (int, any) {
	in, status, val := taken[policyInput](k, "l7policy")
	if status != 0 {
		return status, val
	}
	b, l, status, val := k.lbListener(in.Listener)
	switch {
	case l == nil:
		return status, val
	case in.Action != "REDIRECT_PREFIX" && in.Action != "REDIRECT_TO_URL" && in.Action != "REJECT":
		return k.err(400, "Invalid L7 Policy action specified: %s", in.Action)
	case in.Action == "REDIRECT_PREFIX" && in.Prefix == "":
		return k.err(400, "Invalid L7 Policy arguments: redirect_prefix must not be None")
	}
	if status, val := k.mutable(b); status != 0 {
		return status, val
	}
	p := &lbPolicy{lbPart: k.newPart(in.Name, in.Tags), action: in.Action, prefix: in.Prefix, url: in.URL, code: in.Code, position: in.Position}
	if p.position < 1 {
		p.position = len(l.policies) + 1
	}
	l.policies = append(l.policies, p)
	return k.made(b, "l7policy", func() obj { return k.policyView(b, l, p) })
}

func ruleCreate(k *call) (int, any) {
	in, status, val := taken[ruleInput](k, "rule")
	if status != 0 {
		return status, val
	}
	b, _, p, status, val := k.lbPolicy(k.vars["id"])
	if p == nil {
		return status, val
	}
	if status, val := k.mutable(b); status != 0 {
		return status, val
	}
	r := &lbRule{lbPart: k.newPart("", in.Tags), kind: in.Type, compare: in.Compare, key: in.Key, value: in.Value, invert: in.Invert}
	p.rules = append(p.rules, r)
	return k.made(b, "rule", func() obj { return k.ruleView(b, r) })
}
