package openstack

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dripstat/failover/provision"
)

// partArgs are those that all parts of a load balancer have in common. Again says that one which went into ERROR is to be made anew.
type partArgs struct {
	Cloud    string `json:"cloud"`
	Balancer string `json:"balancer"`
	Name     string `json:"name"`
	Service  string `json:"service"`
	Run      string `json:"run"`
	Slot     string `json:"slot"`
	Again    bool   `json:"again"`
}

func (a partArgs) common() partArgs { return a }

func (a partArgs) tags() []string { return ourTags(a.Service, a.Run, a.Slot) }

// piece is one part of a load balancer. Octavia makes each by a request of its own, and takes none that holds another one.
type piece interface {
	common() partArgs
	// is gives where octavia lists such parts, what it calls one and several of them, and what one is to people.
	is() (path, one, many, what string)
	// on reports whether one of the part's name is on what this one is for.
	on(p part) bool
	body() map[string]any
}

// part is what octavia tells of any of them.
// https://docs.openstack.org/api-ref/load-balancer/v2/
type part struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	Status    string  `json:"provisioning_status"`
	Listener  string  `json:"listener_id"` // of a policy
	Value     string  `json:"value"`       // of a rule, which has no name
	Balancers []idRef `json:"loadbalancers"`
	Pools     []idRef `json:"pools"` // of a health monitor
}

type idRef struct {
	ID string `json:"id"`
}

func among(list []idRef, id string) bool { return slices.Contains(list, idRef{id}) }

// findPart gives the part of a name, which holds the run's ULID: one that serves or may yet serve before one in ERROR.
func findPart(ctx context.Context, s service, a piece) (part, bool, error) {
	path, _, many, what := a.is()
	var pairs []string
	if _, rule := a.(ruleArgs); !rule {
		pairs = []string{"name", a.common().Name}
	}
	all, err := collect(ctx, s, "look for "+what, path, many, func(p part) string { return p.ID }, pairs...)
	if err != nil {
		return part{}, false, err
	}
	all = slices.DeleteFunc(all, func(p part) bool { return !a.on(p) || p.Status == "PENDING_DELETE" || p.Status == "DELETED" })
	slices.SortStableFunc(all, func(x, y part) int { return boolCompare(x.Status == "ERROR", y.Status == "ERROR") })
	if len(all) == 0 {
		return part{}, false, nil
	}
	return all[0], true, nil
}

// checkPart looks at the load balancer first: while that is PENDING its parts may not be changed.
func checkPart[A piece](c *Cloud, ctx context.Context, a A) (provision.Status, error) {
	common := a.common()
	st, ready, err := c.changeable(ctx, common.Balancer)
	if err != nil || !ready {
		return st, err
	}
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return provision.Status{}, err
	}
	p, ok, err := findPart(ctx, s, a)
	_, _, _, what := a.is()
	switch {
	case err != nil:
		return provision.Status{}, err
	case !ok:
		return absent()
	case p.Status == "ACTIVE":
		return done(provision.Values{"id": p.ID})
	case p.Status == "ERROR" && common.Again && c.mayRemake(what+common.Name, p.ID):
		return provision.Status{State: provision.Absent, Seen: "ERROR"}, nil
	case p.Status == "ERROR":
		return provision.Status{State: provision.Failed, Out: provision.Values{"id": p.ID}, Seen: what + " is in ERROR: octavia does not tell why"}, nil
	}
	return provision.Status{State: provision.Working, Seen: what + ": " + p.Status, Again: pace / 2}, nil
}

// mayRemake reports whether a part in ERROR is the first that this process takes away.
func (c *Cloud) mayRemake(key, id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.remade[key]
	return was == "" || was == id
}

// makePart makes a part, or removes the one in ERROR that stands in its place.
func makePart[A piece](c *Cloud, ctx context.Context, a A) error {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return err
	}
	common := a.common()
	path, one, _, what := a.is()
	if common.Again {
		if p, ok, err := findPart(ctx, s, a); err != nil {
			return err
		} else if ok && p.Status == "ERROR" {
			if err := s.remove(ctx, "remove "+what+", which is in ERROR", s.url(path+"/"+url.PathEscape(p.ID))); err != nil {
				return err
			}
			c.mu.Lock()
			c.remade[what+common.Name] = p.ID
			c.mu.Unlock()
			return &provision.Error{What: what + ": the one in ERROR is removed first", Class: provision.Transient, After: pace / 2}
		}
	}
	return certificateNotRead(s.post(ctx, "make "+what, s.url(path), map[string]any{one: a.body()}, &struct{}{}))
}

// certificateNotRead explains what octavia says when it may not read a container: it reads it as its own user, whom it
// gives access with the token of ours.
// https://opendev.org/openstack/octavia/src/branch/stable/zed/octavia/certificates/common/auth/barbican_acl.py
func certificateNotRead(err error) error {
	if err == nil {
		return nil
	}
	if e := provision.AsError("", err); strings.Contains(e.Said, "Could not retrieve certificate") {
		e.Hint = "octavia must be able to read the key manager of this region, and this user to give it access; and the certificate must have a common name: docs/load-balancer.md#what-the-cloud-must-have"
		return e
	}
	return err
}

// poolArgs are those of pool.create. The pool speaks HTTP: a listener that ends TLS takes no other kind; tls_enabled encrypts it anew.
type poolArgs struct {
	partArgs
	Algorithm      string `json:"algorithm"`
	MemberProtocol string `json:"member_protocol"`
}

func (a poolArgs) is() (path, one, many, what string) { return "pools", "pool", "pools", "its pool" }

func (a poolArgs) on(p part) bool { return p.Name == a.Name && among(p.Balancers, a.Balancer) }

func (a poolArgs) body() map[string]any {
	p := map[string]any{"loadbalancer_id": a.Balancer, "name": a.Name, "tags": a.tags(), "protocol": "HTTP", "lb_algorithm": strings.ToUpper(a.Algorithm)}
	if a.MemberProtocol == "https" {
		p["tls_enabled"] = true
	}
	return p
}

// monitorArgs are those of healthmonitor.create.
type monitorArgs struct {
	partArgs
	Pool           string `json:"pool"`
	MemberProtocol string `json:"member_protocol"`
	Health         struct {
		Path     string `json:"path"`
		Status   int    `json:"status"`
		Interval int    `json:"interval"` // seconds
		Timeout  int    `json:"timeout"`
		Rise     int    `json:"rise"`
		Fall     int    `json:"fall"`
		Host     string `json:"host"`
	} `json:"health"`
}

func (a monitorArgs) is() (path, one, many, what string) {
	return "healthmonitors", "healthmonitor", "healthmonitors", "its health monitor"
}

func (a monitorArgs) on(p part) bool { return p.Name == a.Name && among(p.Pools, a.Pool) }

func (a monitorArgs) body() map[string]any {
	h := map[string]any{"pool_id": a.Pool, "name": a.Name, "tags": a.tags(), "type": "HTTP", "http_method": "GET", "url_path": a.Health.Path,
		"expected_codes": strconv.Itoa(a.Health.Status), "delay": a.Health.Interval, "timeout": a.Health.Timeout, "max_retries": a.Health.Rise, "max_retries_down": a.Health.Fall}
	if a.Health.Host != "" {
		h["http_version"], h["domain_name"] = 1.1, a.Health.Host
	}
	if a.MemberProtocol == "https" {
		h["type"] = "HTTPS"
	}
	return h
}

// listenerArgs are those of listener.create; without containers it is one of plain HTTP.
type listenerArgs struct {
	partArgs
	Pool            string   `json:"pool"`
	Listen          int      `json:"listen"`
	Containers      []string `json:"containers"` // the default first
	ConnectionLimit int      `json:"connection_limit"`
	AllowedCIDRs    []string `json:"allowed_cidrs"`
	TLSVersions     []string `json:"tls_versions"`
	ECDSA           bool     `json:"ecdsa"` // a key of a certificate is
}

func (a listenerArgs) is() (path, one, many, what string) {
	return "listeners", "listener", "listeners", "its listener on port " + strconv.Itoa(a.Listen)
}

func (a listenerArgs) on(p part) bool { return p.Name == a.Name && among(p.Balancers, a.Balancer) }

func (a listenerArgs) body() map[string]any {
	l := map[string]any{"loadbalancer_id": a.Balancer, "name": a.Name, "tags": a.tags(), "protocol": "HTTP", "protocol_port": a.Listen}
	if len(a.AllowedCIDRs) > 0 {
		l["allowed_cidrs"] = a.AllowedCIDRs
	}
	if a.ConnectionLimit > 0 {
		l["connection_limit"] = a.ConnectionLimit
	}
	if len(a.Containers) == 0 {
		return l
	}
	l["protocol"], l["default_pool_id"], l["default_tls_container_ref"] = "TERMINATED_HTTPS", a.Pool, a.Containers[0]
	l["insert_headers"] = map[string]any{"X-Forwarded-For": "true", "X-Forwarded-Port": "true", "X-Forwarded-Proto": "true"}
	if len(a.Containers) > 1 {
		l["sni_container_refs"] = a.Containers[1:]
	}
	if len(a.TLSVersions) > 0 {
		versions := make([]string, 0, len(a.TLSVersions))
		for _, v := range a.TLSVersions {
			versions = append(versions, "TLSv"+v)
		}
		l["tls_versions"] = versions
	}
	if a.ECDSA {
		l["tls_ciphers"] = ciphers
	}
	return l
}

// ciphers are Mozilla's intermediate ones without DHE. Octavia's own default has none for ECDSA keys below TLS 1.3, so that
// a client of TLS 1.2 would be turned away.
// https://opendev.org/openstack/octavia/src/branch/stable/zed/octavia/common/constants.py (CIPHERS_OWASP_SUITE_B)
// https://wiki.mozilla.org/Security/Server_Side_TLS
const ciphers = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:" +
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" +
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

// policyArgs are those of l7policy.create: one that sends a name to itself over TLS. REDIRECT_PREFIX keeps the path, and there is no
// action that keeps the host.
type policyArgs struct {
	partArgs
	Listener string `json:"listener"`
	Position int    `json:"position"`
	To       string `json:"to"`
}

func (a policyArgs) is() (path, one, many, what string) {
	return "l7policies", "l7policy", "l7policies", "its policy " + strconv.Itoa(a.Position)
}

func (a policyArgs) on(p part) bool { return p.Name == a.Name && p.Listener == a.Listener }

func (a policyArgs) body() map[string]any {
	return map[string]any{"listener_id": a.Listener, "name": a.Name, "tags": a.tags(), "action": "REDIRECT_PREFIX", "redirect_prefix": a.To,
		"redirect_http_code": 301, "position": a.Position}
}

// ruleArgs are those of l7rule.create. A rule has no name, and is one of its policy.
type ruleArgs struct {
	partArgs
	Policy  string `json:"policy"`
	Compare string `json:"compare"`
	Value   string `json:"value"`
}

func (a ruleArgs) is() (path, one, many, what string) {
	return "l7policies/" + url.PathEscape(a.Policy) + "/rules", "rule", "rules", "the rule for " + a.Value
}

func (a ruleArgs) on(p part) bool { return p.Value == a.Value }

func (a ruleArgs) body() map[string]any {
	return map[string]any{"tags": a.tags(), "type": "HOST_NAME", "compare_type": a.Compare, "value": a.Value}
}
