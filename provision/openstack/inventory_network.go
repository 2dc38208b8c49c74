package openstack

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/dripstat/failover/provision"
)

type network struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Status   string   `json:"status"`
	Up       bool     `json:"admin_state_up"`
	Shared   bool     `json:"shared"`
	External bool     `json:"router:external"`
	Subnets  []string `json:"subnets"`
}

type subnet struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Network string `json:"network_id"`
	Version int    `json:"ip_version"`
	CIDR    string `json:"cidr"`
}

// free is one network of network-ip-availabilities; the numbers of an IPv6 subnet pass 2^64.
type free struct {
	Network string `json:"network_id"`
	Subnets []struct {
		Version int         `json:"ip_version"`
		Total   json.Number `json:"total_ips"`
		Used    json.Number `json:"used_ips"`
	} `json:"subnet_ip_availability"`
}

func (f free) ipv4() int {
	n := 0
	for _, s := range f.Subnets {
		total, err1 := s.Total.Int64()
		used, err2 := s.Used.Int64()
		if s.Version == 4 && err1 == nil && err2 == nil {
			n += int(total - used)
		}
	}
	return n
}

func (r *reader) network(ctx context.Context, project string) {
	c := r.c
	r.read(ctx, "network", "networks", func(ctx context.Context) (func(*provision.Inventory), error) { return c.networks(ctx) })
	r.read(ctx, "group", "security groups", func(ctx context.Context) (func(*provision.Inventory), error) {
		s, err := c.service(ctx, "network")
		if err != nil {
			return nil, err
		}
		list, err := collect(ctx, s, "list security groups", "security-groups", "security_groups", func(g group) string { return g.ID },
			"fields", "id", "fields", "name", "fields", "project_id")
		return func(i *provision.Inventory) {
			i.SecurityGroups = []provision.NamedID{}
			names, own := map[string]bool{}, map[string]bool{}
			for _, g := range list {
				own[g.Name] = own[g.Name] || g.Project == project
			}
			for _, g := range list {
				if own[g.Name] && g.Project != project {
					continue // an administrator sees every project's "default"
				}
				i.SecurityGroups = append(i.SecurityGroups, provision.NamedID{ID: g.ID, Name: g.Name})
				names[g.Name] = true
			}
			c.saw(GroupCreate, r.at, names)
		}, err
	})
	r.read(ctx, "quota", "network quotas", func(ctx context.Context) (func(*provision.Inventory), error) { return c.networkQuotas(ctx, project) })
}

// networks asks for networks, subnets and free addresses at once. The last is for administrators on many
// clouds; not to know it is no failure.
func (c *Cloud) networks(ctx context.Context) (func(*provision.Inventory), error) {
	s, err := c.service(ctx, "network")
	if err != nil {
		return nil, err
	}
	subnets := make(chan []subnet, 1)
	frees := make(chan []free, 1)
	var subErr error
	go func() {
		list, err := collect(ctx, s, "list subnets", "subnets", "subnets", func(x subnet) string { return x.ID },
			"fields", "id", "fields", "name", "fields", "network_id", "fields", "ip_version", "fields", "cidr")
		subErr = err
		subnets <- list
	}()
	go func() {
		var got struct {
			List []free `json:"network_ip_availabilities"`
		}
		if s.get(ctx, "read free addresses", s.url("network-ip-availabilities"), &got) != nil {
			got.List = nil
		}
		frees <- got.List
	}()
	nets, err := collect(ctx, s, "list networks", "networks", "networks", func(x network) string { return x.ID })
	subs, fr := <-subnets, <-frees
	if err == nil {
		err = subErr
	}
	if err != nil {
		return nil, err
	}
	return func(i *provision.Inventory) {
		i.Networks = []provision.Network{}
		for _, n := range nets {
			x := provision.Network{ID: n.ID, Name: n.Name, External: n.External, Shared: n.Shared, Active: n.Up && n.Status == "ACTIVE", Free: -1}
			seen := false
			for _, s := range subs {
				if s.Network == n.ID {
					seen = true
					x.IPv4, x.IPv6 = x.IPv4 || s.Version == 4, x.IPv6 || s.Version == 6
					x.Subnets = append(x.Subnets, provision.Subnet{ID: s.ID, Name: s.Name, Version: s.Version, CIDR: s.CIDR})
				}
			}
			if !seen && n.External && len(n.Subnets) > 0 {
				x.IPv4 = true // subnets of an external network are hidden from those who do not own it
			}
			for _, f := range fr {
				if f.Network == n.ID {
					x.Free = f.ipv4()
				}
			}
			i.Networks = append(i.Networks, x)
			c.mu.Lock()
			c.nets[n.ID] = n.Name
			c.mu.Unlock()
		}
	}, nil
}

// networkQuotas reads limits with use, or limits alone where the cloud is older.
func (c *Cloud) networkQuotas(ctx context.Context, project string) (func(*provision.Inventory), error) {
	s, err := c.service(ctx, "network")
	if err != nil {
		return nil, err
	}
	names := []string{"floatingip", "security_group", "security_group_rule", "port"}
	var full struct {
		Quota map[string]struct{ Limit, Used, Reserved int } `json:"quota"`
	}
	if err := s.get(ctx, "read network quotas", s.url("quotas/"+url.PathEscape(project)+"/details.json"), &full); err == nil {
		return func(i *provision.Inventory) {
			for _, n := range names {
				if q, ok := full.Quota[n]; ok {
					i.Quotas[n] = provision.Quota{Limit: q.Limit, Used: q.Used + q.Reserved}
				}
			}
		}, nil
	}
	var plain struct {
		Quota map[string]int `json:"quota"`
	}
	err = s.get(ctx, "read network quotas", s.url("quotas/"+url.PathEscape(project)), &plain)
	return func(i *provision.Inventory) {
		for _, n := range names {
			if q, ok := plain.Quota[n]; ok {
				used := 0
				if n == "security_group" {
					used = -1 // counted by usage
				}
				i.Quotas[n] = provision.Quota{Limit: q, Used: used}
			}
		}
	}, err
}
