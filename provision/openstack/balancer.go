package openstack

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// balancerArgs are those of balancer.create.
type balancerArgs struct {
	Cloud           string   `json:"cloud"`
	Name            string   `json:"name"`
	Service         string   `json:"service"`
	Run             string   `json:"run"`
	Slot            string   `json:"slot"`
	Network         string   `json:"network"`
	Subnet          string   `json:"subnet"`
	Provider        string   `json:"provider"`
	Flavor          string   `json:"flavor"`
	Listen          int      `json:"listen"`
	Containers      []string `json:"containers"`
	ConnectionLimit int      `json:"connection_limit"`
	AllowedCIDRs    []string `json:"allowed_cidrs"`
	TLSVersions     []string `json:"tls_versions"`
	ECDSA           bool     `json:"ecdsa"` // a key of a certificate is
	Algorithm       string   `json:"algorithm"`
	MemberProtocol  string   `json:"member_protocol"`
	Redirect        *struct {
		Port  int      `json:"port"`
		Names []string `json:"names"`
	} `json:"redirect"`
	Health struct {
		Path     string `json:"path"`
		Status   int    `json:"status"`
		Interval int    `json:"interval"` // seconds
		Timeout  int    `json:"timeout"`
		Rise     int    `json:"rise"`
		Fall     int    `json:"fall"`
		Host     string `json:"host"`
	} `json:"health"`
}

// balancer is octavia's load balancer.
// https://docs.openstack.org/api-ref/load-balancer/v2/#show-load-balancer-details
type balancer struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Status    string   `json:"provisioning_status"`
	Operating string   `json:"operating_status"`
	Address   string   `json:"vip_address"`
	Port      string   `json:"vip_port_id"`
	Provider  string   `json:"provider"`
	Created   string   `json:"created_at"`
	Tags      []string `json:"tags"`
	Pools     []struct {
		ID string `json:"id"`
	} `json:"pools"`
}

// pending says that octavia works on it: whatever is asked of it meanwhile is answered 409.
func (b balancer) pending() bool { return strings.HasPrefix(b.Status, "PENDING_") }

// going says that it is deleted or about to be.
func (b balancer) going() bool { return b.Status == "PENDING_DELETE" || b.Status == "DELETED" }

func (c *Cloud) listBalancers(ctx context.Context, pairs ...string) ([]balancer, error) {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return nil, err
	}
	return collect(ctx, s, "list load balancers", "loadbalancers", "loadbalancers", func(b balancer) string { return b.ID }, pairs...)
}

// named gives the load balancers of a name, which holds the run's ULID, those that serve or may yet serve first.
func (c *Cloud) namedBalancers(ctx context.Context, name string) ([]balancer, error) {
	all, err := c.listBalancers(ctx, "name", name)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(b balancer) bool { return b.Name != name })
	slices.SortStableFunc(all, func(x, y balancer) int {
		return cmp.Or(boolCompare(x.Status == "ERROR", y.Status == "ERROR"), cmp.Compare(x.Created, y.Created), cmp.Compare(x.ID, y.ID))
	})
	return all, nil
}

// readBalancer reads one; ok is false where there is none.
func (c *Cloud) readBalancer(ctx context.Context, id string) (b balancer, ok bool, err error) {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return b, false, err
	}
	var got struct {
		Balancer balancer `json:"loadbalancer"`
	}
	none, err := s.missing(ctx, "read load balancer "+id, s.url("loadbalancers/"+url.PathEscape(id)), &got)
	return got.Balancer, !none && err == nil, err
}

func (c *Cloud) checkBalancer(ctx context.Context, a balancerArgs) (provision.Status, error) {
	all, err := c.namedBalancers(ctx, a.Name)
	if err != nil {
		return provision.Status{}, err
	}
	all = slices.DeleteFunc(all, balancer.going)
	if len(all) == 0 {
		// A list that is empty does not undo an answer: the load balancer itself is asked for.
		b, ok, err := c.answered(ctx, a.Name)
		if err != nil || !ok {
			return provision.Status{State: provision.Absent}, err
		}
		all = append(all, b)
	}
	b := all[0]
	// The id goes along from the first: an attempt that runs out of time is cleared away by it.
	st := provision.Status{State: provision.Working, Out: provision.Values{"id": b.ID}, Seen: b.Status, Again: pace}
	switch {
	case b.Status == "ERROR":
		st.State, st.Again = provision.Failed, 0
		st.Seen = "ERROR: octavia does not tell why; its provider is " + first(b.Provider, "unknown")
	case b.Status == "ACTIVE" && (b.Address == "" || len(b.Pools) == 0):
		st.Seen = "ACTIVE (not whole yet)"
	case b.Status == "ACTIVE":
		if left, err := c.leftPending(ctx, b); err != nil {
			return provision.Status{Out: st.Out, Again: pace}, err
		} else if left > halfMade {
			st.State, st.Again = provision.Failed, 0
			st.Seen = "octavia made it and left its pool in PENDING_CREATE, which no change ends: docs/load-balancer.md#what-the-cloud-must-have"
			break
		} else if left > 0 {
			st.Seen = "ACTIVE, its pool PENDING_CREATE"
			break
		}
		return done(provision.Values{"id": b.ID, "address": b.Address, "port": b.Port, "pool": b.Pools[0].ID})
	}
	return st, nil
}

// halfMade is how long a load balancer may be ACTIVE while its parts are not: they become so in one step.
const halfMade = 20 * time.Second

// leftPending gives since when a load balancer is ACTIVE and its pool still to be made; 0 where that is made. The API of
// Octavia 11 hands a fully populated create to its worker before all of it is in the database; a worker that is faster makes
// the load balancer alone, and its parts stay as they are. Seen on the rig of provision/e2e/openstack, each time.
// https://opendev.org/openstack/octavia/src/branch/stable/zed/octavia/api/v2/controllers/load_balancer.py (post)
func (c *Cloud) leftPending(ctx context.Context, b balancer) (time.Duration, error) {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return 0, err
	}
	var got struct {
		Pool struct {
			Status string `json:"provisioning_status"`
		} `json:"pool"`
	}
	if err := s.get(ctx, "read the pool of load balancer "+b.ID, s.url("pools/"+url.PathEscape(b.Pools[0].ID)), &got); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if got.Pool.Status != "PENDING_CREATE" {
		delete(c.halves, b.ID)
		return 0, nil
	}
	if c.halves[b.ID].IsZero() {
		c.halves[b.ID] = time.Now()
	}
	return max(time.Since(c.halves[b.ID]), time.Nanosecond), nil
}

// answered gives the load balancer that a create of this process was answered with, unless it is gone.
func (c *Cloud) answered(ctx context.Context, name string) (balancer, bool, error) {
	c.mu.Lock()
	id := c.balancers[name]
	c.mu.Unlock()
	if id == "" {
		return balancer{}, false, nil
	}
	b, ok, err := c.readBalancer(ctx, id)
	return b, ok && !b.going(), err
}

// createBalancer makes the load balancer with its listeners, pool, health monitor and redirects by one request: all or
// nothing, and one change of state to wait for instead of one for each part. Members join later.
// https://docs.openstack.org/api-ref/load-balancer/v2/#creating-a-fully-populated-load-balancer
func (c *Cloud) createBalancer(ctx context.Context, a balancerArgs) error {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return err
	}
	if len(a.Containers) == 0 {
		return &provision.Error{What: "load balancer " + a.Slot + " has no certificate", Class: provision.Final}
	}
	var out struct {
		Balancer balancer `json:"loadbalancer"`
	}
	if err := s.post(ctx, "create load balancer "+a.Slot, s.url("loadbalancers"), map[string]any{"loadbalancer": a.body()}, &out); err != nil {
		return certificateNotRead(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.balancers[a.Name] = out.Balancer.ID
	return nil
}

// certificateNotRead explains what octavia says when it may not read a container: it reads it as its own user, whom it
// gives access with the token of ours.
// https://opendev.org/openstack/octavia/src/branch/stable/zed/octavia/certificates/common/auth/barbican_acl.py
func certificateNotRead(err error) error {
	var e *provision.Error
	if err == nil {
		return nil
	}
	if e = provision.AsError("", err); strings.Contains(e.Said, "Could not retrieve certificate") {
		e.Hint = "octavia must be able to read the key manager of this region, and this user to give it access: docs/load-balancer.md#what-the-cloud-must-have"
		return e
	}
	return err
}

// tags are what every part carries.
func (a balancerArgs) tags() []string {
	return []string{"failover", provision.TagService + "=" + a.Service, provision.TagRun + "=" + a.Run, provision.TagSlot + "=" + a.Slot}
}

func (a balancerArgs) body() map[string]any {
	lb := map[string]any{"name": a.Name, "description": describeFor("made by failover for "+a.Service, a.Run, a.Slot), "tags": a.tags(),
		"vip_network_id": a.Network, "listeners": a.listeners()}
	if a.Subnet != "" {
		lb["vip_subnet_id"] = a.Subnet
	}
	if a.Provider != "" {
		lb["provider"] = a.Provider
	}
	if a.Flavor != "" {
		lb["flavor_id"] = a.Flavor
	}
	return lb
}

func (a balancerArgs) listeners() []any {
	https := map[string]any{"name": a.Name + "-https", "tags": a.tags(), "protocol": "TERMINATED_HTTPS", "protocol_port": a.Listen,
		"default_tls_container_ref": a.Containers[0], "default_pool": a.pool(),
		"insert_headers": map[string]any{"X-Forwarded-For": "true", "X-Forwarded-Port": "true", "X-Forwarded-Proto": "true"}}
	if len(a.Containers) > 1 {
		https["sni_container_refs"] = a.Containers[1:]
	}
	if len(a.TLSVersions) > 0 {
		var versions []string
		for _, v := range a.TLSVersions {
			versions = append(versions, "TLSv"+v)
		}
		https["tls_versions"] = versions
	}
	if a.ECDSA {
		https["tls_ciphers"] = ciphers
	}
	out := []any{https}
	if a.Redirect != nil {
		out = append(out, map[string]any{"name": a.Name + "-http", "tags": a.tags(), "protocol": "HTTP", "protocol_port": a.Redirect.Port, "l7policies": a.policies()})
	}
	for _, l := range out {
		if l := l.(map[string]any); len(a.AllowedCIDRs) > 0 {
			l["allowed_cidrs"] = a.AllowedCIDRs
		}
	}
	if a.ConnectionLimit > 0 {
		https["connection_limit"] = a.ConnectionLimit
	}
	return out
}

// ciphers are Mozilla's intermediate ones without DHE. Octavia's own default has none for ECDSA keys below TLS 1.3, so that
// a client of TLS 1.2 would be turned away.
// https://opendev.org/openstack/octavia/src/branch/stable/zed/octavia/common/constants.py (CIPHERS_OWASP_SUITE_B)
// https://wiki.mozilla.org/Security/Server_Side_TLS
const ciphers = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:" +
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" +
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

// policies send each name to itself over TLS: REDIRECT_PREFIX keeps the path, and there is no action that keeps the host.
func (a balancerArgs) policies() []any {
	out := []any{}
	for i, name := range a.Redirect.Names {
		to := "https://" + name
		if a.Listen != 443 {
			to += ":" + strconv.Itoa(a.Listen)
		}
		rule := map[string]any{"type": "HOST_NAME", "compare_type": "EQUAL_TO", "value": name}
		if a.Redirect.Port != 80 {
			rule["compare_type"], rule["value"] = "STARTS_WITH", name+":"
		}
		out = append(out, map[string]any{"name": a.Name + "-" + strconv.Itoa(i+1), "tags": a.tags(), "action": "REDIRECT_PREFIX", "redirect_prefix": to,
			"redirect_http_code": 301, "position": i + 1, "rules": []any{rule}})
	}
	return out
}

// pool speaks HTTP to its members. A listener that ends TLS takes no other kind of pool; tls_enabled encrypts it anew.
func (a balancerArgs) pool() map[string]any {
	h := map[string]any{"name": a.Name, "tags": a.tags(), "type": "HTTP", "http_method": "GET", "url_path": a.Health.Path, "expected_codes": strconv.Itoa(a.Health.Status),
		"delay": a.Health.Interval, "timeout": a.Health.Timeout, "max_retries": a.Health.Rise, "max_retries_down": a.Health.Fall}
	if a.Health.Host != "" {
		h["http_version"], h["domain_name"] = 1.1, a.Health.Host
	}
	p := map[string]any{"name": a.Name, "tags": a.tags(), "protocol": "HTTP", "lb_algorithm": strings.ToUpper(a.Algorithm), "healthmonitor": h}
	if a.MemberProtocol == "https" {
		p["tls_enabled"], h["type"] = true, "HTTPS"
		// null is the cloud's default. Left out, octavia fails with 500: within a load balancer it looks them up unasked.
		// https://opendev.org/openstack/octavia/src/branch/stable/zed/octavia/db/prepare.py (create_pool)
		p["tls_ciphers"], p["tls_versions"], p["alpn_protocols"] = nil, nil, nil
	}
	return p
}

// busy is for what has to wait until octavia has done what it is about.
func busy(b balancer) provision.Status {
	return provision.Status{State: provision.Working, Seen: b.Status, Again: pace / 2}
}

// broken is for a load balancer that went into ERROR after it had been there.
func broken(b balancer) (provision.Status, error) {
	return provision.Status{State: provision.Failed, Seen: fmt.Sprintf("load balancer %s is in %s", b.Name, b.Status)}, nil
}
