package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Rackspace's OpenStack Flex: an OpenStack of today with an identity service in each region, which knows that region alone and whose tokens
// are good nowhere else; no designate; an external network that servers cannot be put into; and names that differ from one
// region to the next. Beside it stand the identity service of Rackspace's first cloud and its Cloud DNS, for the same user and API key.
//
// The real ones have hosts of their own (keystone.api.dfw3.rackspacecloud.com). Here they share one address, and the first part of a
// path is the region. An application credential works at each of them here; a real one is known to the keystone that made it.
//
// No account there was ever at hand. Sources: https://github.com/rackerlabs/genestack (docs/, base-helm-configs/keystone) and
// https://github.com/rackerlabs/keystone-rxt.

// flexNets are there from the start: PUBLICNET is everybody's; the other one the project has made, as each must.
var flexNets = []string{"PUBLICNET", "private"}

// flexImages are a region's. Both spellings are in use.
func flexImages(region string) []Image {
	sep := "-"
	if region == "SJC3" {
		sep = " "
	}
	return []Image{
		{Name: "Debian" + sep + "12", MinDiskGB: 3, MinRAMMB: 512},
		{Name: "Ubuntu" + sep + "24.04", MinDiskGB: 4, MinRAMMB: 1024, DefaultUser: "ubuntu"},
		{Name: "Rocky" + sep + "9", MinDiskGB: 10, MinRAMMB: 1024, DefaultUser: "rocky"},
	}
}

// flexFlavors are a region's: gp.GENERATION.VCPUS.GIB.
func flexFlavors(region string) []Flavor {
	generation := 5
	if region == "SJC3" {
		generation = 0
	}
	var out []Flavor
	for _, size := range [][2]int{{2, 4}, {4, 8}, {4, 16}, {8, 16}, {8, 32}, {16, 64}} {
		out = append(out, Flavor{Name: fmt.Sprintf("gp.%d.%d.%d", generation, size[0], size[1]), VCPUs: size[0], RAMMB: size[1] << 10, DiskGB: 40})
	}
	return out
}

// flexServices are what no region has, with a keystone for each region behind one address.
func (c *Cloud) flexServices() []*service {
	door := c.newService("keystone", "", nil, keystoneError)
	door.rooms = map[string]*service{}
	for _, r := range c.opts.Regions {
		door.rooms[r] = c.newService("keystone", r, keystoneRoutes, keystoneError)
	}
	return []*service{door, c.newService("identity", "", identityRoutes, identityError), c.newService("clouddns", "", cloudDNSRoutes, cloudDNSError)}
}

// room gives the service that a request is for, and the request as it sees it; nil where there is none.
func (s *service) room(r *http.Request) (*service, *http.Request) {
	region, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	room := s.rooms[region]
	if room == nil {
		return nil, nil
	}
	u := *r.URL
	u.Path, u.RawPath = strings.TrimPrefix(u.Path, "/"+region), ""
	r = r.WithContext(r.Context())
	r.URL = &u
	return room, r
}

// realm is where the tokens that a service gives or takes are good; empty: everywhere.
func (s *service) realm() string {
	switch {
	case !s.c.opts.Flex:
		return ""
	case s.region != "":
		return s.region
	}
	return firstCloud
}

// firstCloud is the realm of what stands of that one beside Flex.
const firstCloud = "first cloud"

// good finds a token that is good for the service that was asked; nil: there is none.
func (k *call) good(id string) *token {
	if t := k.c.tokens[id]; t != nil && t.realm == k.s.realm() && k.now.Before(t.expires) {
		return t
	}
	return nil
}

// domain and projectName are what a login is scoped to.
func (c *Cloud) domain() string {
	if c.opts.Flex {
		return "rackspace_cloud_domain"
	}
	return "Default"
}

func (c *Cloud) projectName() string {
	if c.opts.Flex {
		return c.account + "_Flex"
	}
	return "demo"
}

// first gives the options of Rackspace's first cloud; those of none where it is another one.
func (c *Cloud) first() Rackspace {
	if c.opts.Rackspace == nil {
		return Rackspace{}
	}
	return *c.opts.Rackspace
}

// FlexURL is the identity URL of every region, with "{region}" where its name belongs; empty where the sandbox is not Flex.
func (c *Cloud) FlexURL() string {
	if !c.opts.Flex {
		return ""
	}
	return c.url("keystone", "") + "/{region}/v3"
}

// Project is the name of the one project.
func (c *Cloud) Project() string { return c.projectName() }

// Domain is the name of the domain of user and project.
func (c *Cloud) Domain() string { return c.domain() }

// unique gives what some region has, each name once.
func unique[T any](of func(region string) []T, name func(T) string) []T {
	seen := map[string]T{}
	for _, region := range []string{"", "SJC3"} {
		for _, x := range of(region) {
			seen[name(x)] = x
		}
	}
	var out []T
	for _, n := range slices.Sorted(maps.Keys(seen)) {
		out = append(out, seen[n])
	}
	return out
}
