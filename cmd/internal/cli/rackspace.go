package cli

import (
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/rackspace"
)

// rackspace gives how one cloud of the plan is logged in to: as it says, or in a sandbox as that sandbox wants.
func (s *site) rackspace(said provision.Rackspace, box *box) (*openstack.Identity, error) {
	c := rackspace.Credentials{URLs: said.AuthURLs, Username: said.Username, APIKey: said.APIKey, Password: said.Password, Account: said.Account}
	if box != nil {
		c = box.credentials()
	}
	c, err := rackspace.Find(c, rackspace.Options{Env: s.app.LookEnv, Region: s.region, Home: s.app.env("HOME")})
	if err != nil {
		return nil, err
	}
	return &openstack.Identity{Name: "the identity service", Version: "v2.0", Source: c.Source, Check: "username and api_key",
		URLs: c.URLs, Login: c.Login, Catalog: c.Catalog}, nil
}
