package openstack

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// balancing reads what load balancers want, where the plan has one in this cloud.
func (r *reader) balancing(ctx context.Context, q Query, project string) {
	if len(q.Balancers) == 0 {
		return
	}
	c := r.c
	r.read(ctx, "load balancer", "load balancers of this service", func(ctx context.Context) (func(*provision.Inventory), error) {
		all, err := c.listBalancers(ctx)
		if err != nil {
			return nil, err
		}
		mine, err := c.ours(ctx, all, q.Service)
		return func(i *provision.Inventory) {
			offers(i).Balancers = mine
			count(i, "load_balancers", len(all))
		}, err
	})
	r.read(ctx, "load balancer", "providers of load balancers", func(ctx context.Context) (func(*provision.Inventory), error) {
		s, err := c.service(ctx, "load-balancer")
		if err != nil {
			return nil, err
		}
		var got struct {
			Providers []struct {
				Name string `json:"name"`
			} `json:"providers"`
		}
		err = s.get(ctx, "list providers of load balancers", s.url("providers"), &got)
		return func(i *provision.Inventory) {
			for _, p := range got.Providers {
				offers(i).Providers = append(offers(i).Providers, p.Name)
			}
		}, err
	})
	if slices.ContainsFunc(q.Balancers, func(b provision.Balancer) bool { return len(b.Flavors) > 0 }) {
		r.read(ctx, "load balancer", "flavors of load balancers", func(ctx context.Context) (func(*provision.Inventory), error) {
			s, err := c.service(ctx, "load-balancer")
			if err != nil {
				return nil, err
			}
			type flavor struct {
				ID, Name string
				Enabled  bool
			}
			all, err := collect(ctx, s, "list flavors of load balancers", "flavors", "flavors", func(f flavor) string { return f.ID })
			return func(i *provision.Inventory) {
				offers(i).Flavors = []provision.NamedID{}
				for _, f := range all {
					if f.Enabled {
						offers(i).Flavors = append(offers(i).Flavors, provision.NamedID{ID: f.ID, Name: f.Name})
					}
				}
			}, err
		})
	}
	for _, kind := range []string{"listeners", "pools"} {
		r.read(ctx, "quota", kind+" of load balancers", func(ctx context.Context) (func(*provision.Inventory), error) {
			s, err := c.service(ctx, "load-balancer")
			if err != nil {
				return nil, err
			}
			all, err := collect(ctx, s, "list "+kind, kind, kind, func(x provision.NamedID) string { return x.ID }, "fields", "id")
			return func(i *provision.Inventory) { count(i, kind, len(all)) }, err
		})
	}
	r.read(ctx, "quota", "quotas of load balancers", func(ctx context.Context) (func(*provision.Inventory), error) {
		s, err := c.service(ctx, "load-balancer")
		if err != nil {
			return nil, err
		}
		var got struct {
			Quota map[string]*int `json:"quota"`
		}
		err = s.get(ctx, "read quotas of load balancers", s.url("quotas/"+url.PathEscape(project)), &got)
		return func(i *provision.Inventory) {
			for name, keys := range map[string][]string{"load_balancers": {"loadbalancer", "load_balancer"}, "listeners": {"listener"}, "pools": {"pool"}} {
				for _, k := range keys {
					if n := got.Quota[k]; n != nil {
						i.Quotas[name] = provision.Quota{Limit: *n, Used: i.Quotas[name].Used}
						break
					}
				}
			}
		}, err
	})
	r.read(ctx, "key manager", "containers of the key manager", func(ctx context.Context) (func(*provision.Inventory), error) {
		s, err := c.service(ctx, "key-manager")
		if err != nil {
			return nil, err
		}
		all, err := containers(ctx, s)
		return func(i *provision.Inventory) {
			i.Containers = []provision.NamedID{}
			for _, x := range all {
				if strings.HasPrefix(x.Name, ourPrefix(q.Service)) {
					i.Containers = append(i.Containers, provision.NamedID{ID: idOf(x.Container), Name: x.Name})
				}
			}
		}, err
	})
}

// offers is what the region has of load balancers.
func offers(i *provision.Inventory) *provision.Balancing {
	if i.Balancing == nil {
		i.Balancing = &provision.Balancing{}
	}
	return i.Balancing
}

// uncounted marks a quota of which only the use is known so far.
const uncounted = -2

// count notes the use of a quota, whichever of limit and use is read first.
func count(i *provision.Inventory, name string, used int) {
	q, ok := i.Quotas[name]
	if !ok {
		q.Limit = uncounted
	}
	q.Used = used
	i.Quotas[name] = q
}

// ourPrefix begins the names that steps gives; the run's id follows.
func ourPrefix(service string) string { return strings.ToLower("failover-" + service + "-") }

// ours gives those that carry a name of ours, with their addresses. The run is in the name.
func (c *Cloud) ours(ctx context.Context, all []balancer, service string) ([]provision.Live, error) {
	prefix := ourPrefix(service)
	out := []provision.Live{}
	var fips []floatingIP
	for _, b := range all {
		rest, ok := strings.CutPrefix(b.Name, prefix)
		if !ok || b.going() {
			continue
		}
		run, _, _ := strings.Cut(rest, "-")
		if fips == nil {
			var err error
			if fips, err = c.listFloating(ctx); err != nil {
				return nil, err
			}
		}
		l := provision.Live{ID: b.ID, Name: b.Name, Status: b.Status, Service: service, Run: provision.RunID(strings.ToUpper(run)), Addresses: []string{b.Address}}
		for _, f := range fips {
			if f.Port != "" && f.Port == b.Port {
				l.Addresses = append(l.Addresses, f.Address)
			}
		}
		out = append(out, l)
	}
	return out, nil
}
