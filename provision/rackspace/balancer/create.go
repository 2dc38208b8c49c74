package balancer

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// createArgs are those of cloudbalancer.create.
type createArgs struct {
	Cloud        string   `json:"cloud"`
	Name         string   `json:"name"`
	Service      string   `json:"service"`
	Run          string   `json:"run"`
	Slot         string   `json:"slot"`
	Port         int      `json:"port"` // of plain HTTP
	Algorithm    string   `json:"algorithm"`
	PerIP        int      `json:"connection_limit_per_ip"`
	AllowedCIDRs []string `json:"allowed_cidrs"`
	IPv6         bool     `json:"ipv6"` // a record wants the address
	Health       struct {
		Path     string `json:"path"`
		Status   int    `json:"status"`
		Interval int    `json:"interval"` // seconds
		Timeout  int    `json:"timeout"`
		Fall     int    `json:"fall"`
		Host     string `json:"host"`
	} `json:"health"`
}

// monitor is the health monitor. The documents want a bodyRegex; that of a client that knows the service leaves it out where
// nothing is asked of the body.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/monitors
func (a createArgs) monitor() map[string]any {
	m := map[string]any{"type": "HTTP", "path": a.Health.Path, "statusRegex": fmt.Sprintf("^%d$", a.Health.Status), "bodyRegex": ".*",
		"delay": a.Health.Interval, "timeout": a.Health.Timeout, "attemptsBeforeDeactivation": a.Health.Fall}
	if a.Health.Host != "" {
		m["hostHeader"] = a.Health.Host
	}
	return m
}

// throttle limits the connections of one client. All four must be there the first time; but one has had no effect since v1.22, or
// they mean no limit.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/throttle-connections
func (a createArgs) throttle() map[string]any {
	return map[string]any{"maxConnections": a.PerIP, "minConnections": 0, "maxConnectionRate": 0, "rateInterval": 60}
}

// access turns everybody away but those who are allowed, which go first.
func (a createArgs) access() []item {
	if len(a.AllowedCIDRs) == 0 {
		return nil
	}
	out := []item{{"0.0.0.0/0", "DENY"}}
	for _, c := range a.AllowedCIDRs {
		out = append(out, item{c, "ALLOW"})
	}
	return out
}

// body asks for all that can be had at once: TLS cannot, and members come later. PUBLIC without a version gives an address of each
// kind, by the documents' table; most of their samples show one. An access list says nothing of IPv6, so there is to be none beside it.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/load-balancers
func (a createArgs) body() map[string]any {
	vip := map[string]any{"type": "PUBLIC"}
	lb := map[string]any{"name": a.Name, "protocol": "HTTP", "port": a.Port, "algorithm": strings.ToUpper(a.Algorithm), "virtualIps": []any{vip}, "healthMonitor": a.monitor(),
		"metadata": []any{map[string]any{"key": provision.TagService, "value": a.Service}, map[string]any{"key": provision.TagRun, "value": a.Run}, map[string]any{"key": provision.TagSlot, "value": a.Slot}}}
	if access := a.access(); access != nil {
		lb["accessList"], vip["ipVersion"] = access, "IPV4"
	}
	if a.PerIP > 0 {
		lb["connectionThrottle"] = a.throttle()
	}
	return lb
}

// own gives the load balancer of a name; ok is false where there is none. A list that is empty does not undo an answer.
func (r *Region) own(ctx context.Context, name string) (loadBalancer, bool, error) {
	all, err := r.named(ctx, name)
	if err != nil {
		return loadBalancer{}, false, err
	}
	for _, b := range all {
		if !b.going() {
			return b, true, nil
		}
	}
	r.mu.Lock()
	id := r.made[name]
	r.mu.Unlock()
	if id == "" || len(all) > 0 {
		return loadBalancer{}, false, nil
	}
	b, ok, err := r.read(ctx, id)
	return b, ok && !b.going(), err
}

func (r *Region) checkCreate(ctx context.Context, a createArgs) (provision.Status, error) {
	b, ok, err := r.own(ctx, a.Name)
	if err != nil || !ok {
		return provision.Status{State: provision.Absent}, err
	}
	// The id goes along from the first: an attempt that runs out of time is cleared away by it.
	st := provision.Status{State: provision.Working, Out: provision.Values{"id": string(b.ID)}, Seen: b.Status}
	v4, v6 := b.addresses()
	switch {
	case b.broken():
		st.State, st.Seen = provision.Failed, b.Status+": Rackspace does not tell why"
	case b.Status != active:
		st.Again = r.pace(a.Name)
	case v4 == "":
		st.Seen, st.Again = "ACTIVE, without an address yet", r.pace(a.Name)
	case v6 != "" && len(a.AllowedCIDRs) > 0:
		st.State, st.Seen = provision.Failed, "it was given an IPv6 address, "+v6+", which no access list keeps anybody from"
	default:
		lacks, err := r.lacks(ctx, a, b)
		if err != nil {
			return provision.Status{Out: st.Out}, err
		}
		if lacks != nil { // what was asked for at once was not all done
			st.State, st.Seen = provision.Absent, "ACTIVE, without its "+lacks.what
			return st, nil
		}
		r.over(a.Name)
		first := v4
		return done(provision.Values{"id": string(b.ID), "address": first, "ipv4": v4, "ipv6": v6})
	}
	return st, nil
}

// part is something that a load balancer is to have and has not.
type part struct {
	what, method string
	body         any
	path         []string
}

// lacks gives the first of what was asked for and is not there; nil where all is. The documents say that everything may be asked for as
// the load balancer is made; heat asks for its access list afterwards, and what would be open without it is worth a look.
// https://github.com/openstack/heat/blob/stable/mitaka/contrib/rackspace/rackspace/resources/cloud_loadbalancer.py
func (r *Region) lacks(ctx context.Context, a createArgs, b loadBalancer) (*part, error) {
	at := func(more ...string) []string {
		return append([]string{"loadbalancers", url.PathEscape(string(b.ID))}, more...)
	}
	if _, v6 := b.addresses(); a.IPv6 && v6 == "" {
		return &part{"IPv6 address", http.MethodPost, map[string]any{"type": "PUBLIC", "ipVersion": "IPV6"}, at("virtualips")}, nil
	}
	if access := a.access(); access != nil {
		var got struct {
			List []item `json:"accessList"`
		}
		if _, err := r.get(ctx, "read the access list", &got, nil, at("accesslist")...); err != nil {
			return nil, err
		}
		access = slices.DeleteFunc(access, func(i item) bool { return slices.ContainsFunc(got.List, i.same) })
		if len(access) > 0 {
			return &part{"access list", http.MethodPost, map[string]any{"accessList": access}, at("accesslist")}, nil
		}
	}
	var health struct {
		Monitor struct {
			Type string `json:"type"`
			Path string `json:"path"`
		} `json:"healthMonitor"`
	}
	if _, err := r.get(ctx, "read the health monitor", &health, nil, at("healthmonitor")...); err != nil {
		return nil, err
	}
	if health.Monitor.Type != "HTTP" || health.Monitor.Path != a.Health.Path {
		return &part{"health monitor", http.MethodPut, map[string]any{"healthMonitor": a.monitor()}, at("healthmonitor")}, nil
	}
	if a.PerIP > 0 {
		var got struct {
			Throttle struct {
				Max int `json:"maxConnections"`
			} `json:"connectionThrottle"`
		}
		if _, err := r.get(ctx, "read the connection throttle", &got, nil, at("connectionthrottle")...); err != nil {
			return nil, err
		}
		if got.Throttle.Max != a.PerIP {
			return &part{"connection throttle", http.MethodPut, map[string]any{"connectionThrottle": a.throttle()}, at("connectionthrottle")}, nil
		}
	}
	return nil, nil
}

// create asks for the load balancer, or for what the one that is there lacks.
func (r *Region) create(ctx context.Context, a createArgs) error {
	b, ok, err := r.own(ctx, a.Name)
	switch {
	case err != nil:
		return err
	case ok && b.Status == active:
		p, err := r.lacks(ctx, a, b)
		if err != nil || p == nil {
			return err
		}
		return r.write(ctx, p.method, "give load balancer "+a.Slot+" its "+p.what, p.body, nil, p.path...)
	case ok:
		return nil
	}
	var out struct {
		Balancer loadBalancer `json:"loadBalancer"`
	}
	if err := r.write(ctx, http.MethodPost, "create load balancer "+a.Slot, map[string]any{"loadBalancer": a.body()}, &out, "loadbalancers"); err != nil {
		return err
	}
	if out.Balancer.ID == "" {
		return &provision.Error{What: "create load balancer " + a.Slot + ": the answer of Cloud Load Balancers names none", Class: provision.Unknown}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made[a.Name] = out.Balancer.ID
	return nil
}
