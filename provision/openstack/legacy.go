package openstack

import (
	"context"
	"strings"

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
		}, err
	})
}

// automation says whether what Rackspace itself does to a new server has ended. Managed accounts have
// rax_service_level_automation, those with RackConnect rackconnect_automation_status; a server without them is nobody's
// to wait for. Until then packages are installed, and addresses change. UNPROCESSABLE is as good as done: nothing was attempted,
// for example because the dedicated machines stand in another region, as they do after a failover.
// https://docs-ospc.rackspace.com/support/how-to/rackconnect/how-to-programmatically-determine-the-rackconnect-v20-automation-status-of-your-cloud
// and https://github.com/openstack/heat/blob/stable/kilo/contrib/rackspace/rackspace/resources/cloud_server.py
func (s server) automation() (provision.State, string) {
	for _, a := range []struct{ key, failed, done string }{
		{"rackconnect_automation_status", "FAILED", "DEPLOYED UNPROCESSABLE"},
		{"rax_service_level_automation", "Build Error", "Complete"},
	} {
		is, ok := s.Metadata[a.key]
		switch {
		case !ok || is != "" && strings.Contains(a.done, is):
		case is == a.failed:
			return provision.Failed, a.key + " is " + is
		default:
			return provision.Working, a.key + " is " + cut(is)
		}
	}
	return provision.Done, ""
}
