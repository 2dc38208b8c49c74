package cli

import (
	"errors"
	"slices"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
)

// makes reports whether something of the plan is made in a cloud; without servers in the plan, whether there might have been.
func (s *site) makes(cloud string) bool {
	return slices.ContainsFunc(s.plan.Servers, func(x provision.Server) bool { return x.Cloud == cloud }) ||
		slices.ContainsFunc(s.plan.Balancers, func(x provision.Balancer) bool { return x.Cloud == cloud }) ||
		len(s.plan.Servers)+len(s.plan.Balancers) == 0
}

// idle reports whether nothing of the plan needs a cloud in this region, so that it is not even logged in to: its identity service may be that of a
// region which it does not have.
func (s *site) idle(cloud string) bool {
	return !s.makes(cloud) &&
		!slices.ContainsFunc(s.plan.Zones, func(z provision.Zone) bool {
			d, c := z.Provider.Designate, z.Provider.CloudDNS
			return d != nil && d.Cloud == cloud || c != nil && c.Cloud == cloud
		}) &&
		!slices.ContainsFunc(s.plan.Secrets, func(x provision.SecretStore) bool { return x.Barbican != nil && x.Barbican.Cloud == cloud })
}

// elsewhere reports whether a cloud is right not to have the region: it keeps zones or keys, and nothing is made in it there.
func (s *site) elsewhere(cloud string, err error) bool {
	var unknown *openstack.RegionError
	return errors.As(err, &unknown) && !s.makes(cloud)
}
