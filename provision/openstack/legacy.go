package openstack

import (
	"context"

	"github.com/dripstat/failover/provision"
)

// The networks of every account of Rackspace's first cloud.
// https://docs.rackspace.com/docs/cloud-servers/api-operations/networks-extension
const (
	publicNet  = "00000000-0000-0000-0000-000000000000"
	serviceNet = "11111111-1111-1111-1111-111111111111"
)

// legacyNetworks are those two, under both names that are in use, and the account's own.
func (r *reader) legacyNetworks(ctx context.Context) {
	c := r.c
	r.read(ctx, "network", "networks", func(ctx context.Context) (func(*provision.Inventory), error) {
		s, err := c.service(ctx, "compute")
		if err != nil {
			return nil, err
		}
		var got struct {
			Networks []struct {
				ID    string `json:"id"`
				Label string `json:"label"`
			} `json:"networks"`
		}
		err = s.get(ctx, "list networks", s.url("os-networksv2"), &got)
		return func(i *provision.Inventory) {
			i.Networks = []provision.Network{
				{ID: publicNet, Name: "public", Shared: true, Active: true, IPv4: true, IPv6: true, Free: -1},
				{ID: publicNet, Name: "PublicNet", Shared: true, Active: true, IPv4: true, IPv6: true, Free: -1},
				{ID: serviceNet, Name: "private", Shared: true, Active: true, IPv4: true, Free: -1},
				{ID: serviceNet, Name: "ServiceNet", Shared: true, Active: true, IPv4: true, Free: -1},
			}
			for _, n := range got.Networks {
				if n.ID != publicNet && n.ID != serviceNet {
					i.Networks = append(i.Networks, provision.Network{ID: n.ID, Name: n.Label, Active: true, IPv4: true, Free: -1})
				}
			}
			c.mu.Lock()
			c.nets[publicNet], c.nets[serviceNet] = "public", "private"
			c.mu.Unlock()
		}, err
	})
}
