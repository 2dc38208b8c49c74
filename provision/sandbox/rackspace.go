package sandbox

import (
	"maps"
	"time"
)

// Rackspace makes the sandbox Rackspace's first OpenStack cloud instead of an OpenStack of today: an identity service of
// version 2.0 with API keys, and compute without microversions, tags, server groups or console text.
//
// No account there was ever at hand: this is what the documents say, and no live service was seen to do it.
type Rackspace struct {
	// Offset writes times as "-06:00" where the others end in Z: the documents show both.
	Offset bool
	// Old writes ids of Cloud DNS as numbers, as before its release 1.0.35; else they are texts. Where documents contradict each other
	// about a status, a header or a body, it is the other side too.
	Old bool
	// Managed lets servers be worked on after they are ACTIVE, as long as this, as those of managed accounts are; their metadata says so.
	Managed time.Duration
	// RackConnect is what rackconnect_automation_status becomes after that time: DEPLOYED, FAILED or UNPROCESSABLE; empty: not such an account.
	RackConnect string
	// Texts writes ids and truth values of load balancers as texts, as some samples of the documents do; else they are numbers and
	// true or false.
	Texts bool
	// Quick ends jobs of Cloud DNS in the very answer that begins them, as it may since then.
	Quick bool
}

// What every region there has: classes of flavors by their ids, of which compute1 and memory1 bring no disk, and images that
// say on which classes they run.
// https://docs.rackspace.com/docs/cloud-servers/flavors
var (
	rackspaceFlavors = []Flavor{
		{Name: "1 GB General Purpose v1", VCPUs: 1, RAMMB: 1 << 10, DiskGB: 20, ID: "general1-1", Class: "general1"},
		{Name: "2 GB General Purpose v1", VCPUs: 2, RAMMB: 2 << 10, DiskGB: 40, ID: "general1-2", Class: "general1"},
		{Name: "4 GB General Purpose v1", VCPUs: 4, RAMMB: 4 << 10, DiskGB: 80, ID: "general1-4", Class: "general1"},
		{Name: "8 GB General Purpose v1", VCPUs: 8, RAMMB: 8 << 10, DiskGB: 160, ID: "general1-8", Class: "general1"},
		{Name: "15 GB Compute v1", VCPUs: 8, RAMMB: 15 << 10, ID: "compute1-15", Class: "compute1"},
		{Name: "60 GB Compute v1", VCPUs: 32, RAMMB: 60 << 10, ID: "compute1-60", Class: "compute1"},
		{Name: "15 GB I/O v1", VCPUs: 4, RAMMB: 15 << 10, DiskGB: 40, ID: "io1-15", Class: "io1"},
		{Name: "30 GB I/O v1", VCPUs: 8, RAMMB: 30 << 10, DiskGB: 40, ID: "io1-30", Class: "io1"},
		{Name: "60 GB I/O v1", VCPUs: 16, RAMMB: 60 << 10, DiskGB: 40, ID: "io1-60", Class: "io1"},
		{Name: "90 GB I/O v1", VCPUs: 24, RAMMB: 90 << 10, DiskGB: 40, ID: "io1-90", Class: "io1"},
		{Name: "120 GB I/O v1", VCPUs: 32, RAMMB: 120 << 10, DiskGB: 40, ID: "io1-120", Class: "io1"},
		{Name: "30 GB Memory v1", VCPUs: 4, RAMMB: 30 << 10, ID: "memory1-30", Class: "memory1"},
		{Name: "240 GB Memory v1", VCPUs: 32, RAMMB: 240 << 10, ID: "memory1-240", Class: "memory1"},
		{Name: "OnMetal Compute v1", VCPUs: 20, RAMMB: 32 << 10, DiskGB: 32, ID: "onmetal-compute1", Class: "onmetal"},
	}
	rackspaceImages = []Image{
		{Name: "Debian 12 (Bookworm)", MinDiskGB: 20, MinRAMMB: 512, DefaultUser: "root", Classes: "*,!onmetal"},
		{Name: "Ubuntu 24.04 LTS (Noble Numbat)", MinDiskGB: 20, MinRAMMB: 512, DefaultUser: "root", Classes: "*,!onmetal"},
		{Name: "OnMetal - Debian 12 (Bookworm)", MinDiskGB: 20, MinRAMMB: 512, DefaultUser: "root", Classes: "onmetal"},
	}
)

// automation adds what the account's automation says of a server that is ACTIVE.
func (k *call) automation(s *server, st state, meta map[string]string) map[string]string {
	r := k.c.opts.Rackspace
	if r == nil || r.Managed == 0 || st.status != "ACTIVE" {
		return meta
	}
	out := map[string]string{}
	maps.Copy(out, meta)
	ready := !k.now.Before(s.created.Add(s.boot + r.Managed))
	out["rax_service_level_automation"] = map[bool]string{false: "In Progress", true: "Complete"}[ready]
	if r.RackConnect != "" {
		out["rackconnect_automation_status"] = map[bool]string{false: "DEPLOYING", true: r.RackConnect}[ready]
		if ready && r.RackConnect == "UNPROCESSABLE" {
			out["rackconnect_unprocessable_reason"] = "the server has no PrivateNet address"
		}
	}
	return out
}

// rackspaceServices are the APIs of that cloud.
func (c *Cloud) rackspaceServices() []*service {
	list := []*service{c.newService("identity", "", identityRoutes, identityError), c.newService("clouddns", "", cloudDNSRoutes, cloudDNSError)}
	for _, r := range c.opts.Regions {
		list = append(list,
			c.newService("nova", r, legacyRoutes(), novaError),
			c.newService("glance", r, glanceRoutes, glanceError),
			c.newService("neutron", r, neutronRoutes, neutronError),
			c.newService("clb", r, clbRoutes(), clbError))
	}
	return list
}

// legacyRoutes are nova's below a tenant's id, without what came after 2013.
func legacyRoutes() []route {
	var list []route
	for _, r := range novaRoutes {
		if len(r.path) < 2 || r.path[0] != "v2.1" || newer(r.path[1:]) {
			continue
		}
		r.path = append([]string{"v2", "{tenant}"}, r.path[1:]...)
		do := r.do
		r.do = func(k *call) (int, any) {
			if k.vars["tenant"] != k.c.account {
				return k.err(401, "Unauthorized")
			}
			return do(k)
		}
		list = append(list, r)
	}
	return append(list, on("GET /v2/{tenant}/os-networksv2", func(*call) (int, any) {
		return 200, obj{"networks": []obj{{"id": publicNet, "label": "public"}, {"id": serviceNet, "label": "private"}}}
	}))
}

// legacyNets puts the region's own networks in the place of the two ids that are the same everywhere; both are what a
// server gets where none is named.
// https://docs.rackspace.com/docs/cloud-servers/api-operations/servers/create-a-server
func (c *Cloud) legacyNets(region string, nets []novaNet) []novaNet {
	if len(nets) == 0 {
		nets = []novaNet{{UUID: publicNet}, {UUID: serviceNet}}
	}
	names := map[string]string{publicNet: "public", serviceNet: "private"}
	for i, n := range nets {
		for _, have := range c.networks {
			if have.region == region && have.name == names[n.UUID] {
				nets[i].UUID = have.id
			}
		}
	}
	return nets
}

// Networks of every account.
const (
	publicNet  = "00000000-0000-0000-0000-000000000000"
	serviceNet = "11111111-1111-1111-1111-111111111111"
)

func newer(path []string) bool {
	switch path[0] {
	case "os-server-groups", "os-availability-zone", "os-hypervisors", "os-quota-sets":
		return true
	case "flavors":
		return len(path) == 3 // extra specs have a place of their own there
	case "servers":
		return len(path) > 2 && (path[2] == "action" /* only the VNC console is documented */ || path[2] == "tags" || path[2] == "os-security-groups" || path[2] == "os-interface")
	}
	return false
}

var identityRoutes = []route{
	on("!GET /", func(k *call) (int, any) {
		return 200, obj{"versions": obj{"version": []obj{{"id": "v2.0", "status": "CURRENT", "updated": "2011-07-19T22:30:00Z"}}}}
	}),
	on("!POST /v2.0/tokens", identityLogin),
}

// identityFaults are the roots of the identity service's error bodies.
var identityFaults = map[int]string{400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod", 413: "overLimit"}

func identityError(_ *call, status int, msg string) any {
	name := identityFaults[status]
	if name == "" {
		name = "identityFault"
	}
	return obj{name: obj{"code": status, "message": msg}}
}

// identityLogin takes an API key or a password, and the account beside them or not.
// https://docs.rackspace.com/docs/cloud-identity/api-reference/token-operations
func identityLogin(k *call) (int, any) {
	var in struct {
		Auth struct {
			Key *struct {
				Username string `json:"username"`
				APIKey   string `json:"apiKey"`
			} `json:"RAX-KSKEY:apiKeyCredentials"`
			Password *struct {
				Username string `json:"username"`
				Password string `json:"password"`
			} `json:"passwordCredentials"`
			TenantID   string `json:"tenantId"`
			TenantName string `json:"tenantName"`
		} `json:"auth"`
	}
	if err := k.decode(&in); err != nil || in.Auth.TenantID != "" && in.Auth.TenantName != "" {
		return k.err(400, "Invalid json request body")
	}
	c, by := k.c, ""
	switch a := in.Auth; {
	case a.Key != nil && a.Key.Username == c.username && a.Key.APIKey == c.apiKey:
		by = "APIKEY"
	case a.Key != nil:
		return k.err(401, "Username or api key is invalid")
	case a.Password != nil && a.Password.Username == c.username && a.Password.Password == c.password:
		by = "PASSWORD"
	case a.Password != nil:
		return k.err(401, "Unable to authenticate user with credentials provided.")
	default:
		return k.err(400, "Invalid json request body")
	}
	if id := in.Auth.TenantID + in.Auth.TenantName; id != "" && id != c.account {
		return k.err(401, "Tenant with Name/Id: '%s' is not valid for User '%s'", id, c.username)
	}
	t := &token{id: secret(), method: by, issued: k.now, expires: k.now.Add(c.opts.TokenTTL), realm: k.s.realm()}
	c.tokens[t.id] = t
	ends := t.expires.UTC().Format("2006-01-02T15:04:05.000Z")
	if c.first().Offset {
		ends = t.expires.In(time.FixedZone("", -6*3600)).Format("2006-01-02T15:04:05.000-07:00")
	}
	return 200, obj{"access": obj{
		"token": obj{"id": t.id, "expires": ends, "tenant": obj{"id": c.account, "name": c.account}, "RAX-AUTH:authenticatedBy": []string{by}},
		"user": obj{"id": "10037", "name": c.username, "RAX-AUTH:defaultRegion": c.opts.Regions[0], "RAX-AUTH:domainId": c.account,
			"roles": []obj{{"id": "3", "name": "identity:user-admin", "description": "User Admin Role."}}},
		"serviceCatalog": k.catalog(),
	}}
}

// rackspaceEntries is the catalog of version 2.0, with what nobody should choose: compute of the first generation, which
// has no region.
func (c *Cloud) rackspaceEntries() []obj {
	list := []obj{{"name": "cloudServers", "type": "compute", "endpoints": []obj{{"tenantId": c.account, "publicURL": c.url("identity", "") + "/v1.0/" + c.account,
		"versionId": "1.0", "versionInfo": c.url("identity", "") + "/v1.0", "versionList": c.url("identity", "") + "/"}}}}
	list = append(list, obj{"name": "cloudDNS", "type": "rax:dns", "endpoints": []obj{{"tenantId": c.account, "publicURL": c.url("clouddns", "") + "/v1.0/" + c.account}}})
	for _, e := range []struct{ name, kind, service, path string }{
		{"cloudServersOpenStack", "compute", "nova", "/v2/" + c.account},
		{"cloudImages", "image", "glance", "/v2"},
		{"cloudNetworks", "network", "neutron", "/v2.0"},
		{"cloudLoadBalancers", "rax:load-balancer", "clb", "/v1.0/" + c.account},
	} {
		if c.opts.Flex { // nothing of the plan is made there
			break
		}
		var eps []obj
		for _, r := range c.opts.Regions {
			eps = append(eps, obj{"region": r, "tenantId": c.account, "publicURL": c.url(e.service, r) + e.path})
		}
		list = append(list, obj{"name": e.name, "type": e.kind, "endpoints": eps})
	}
	return list
}

// RackspaceURL is where the identity service is, and Username and APIKey what it takes.
func (c *Cloud) RackspaceURL() string { return c.url("identity", "") + "/v2.0/" }

// Username is the one user's name.
func (c *Cloud) Username() string { return c.username }

// APIKey is the throwaway key of that user, where the sandbox is Rackspace's cloud.
func (c *Cloud) APIKey() string { return c.apiKey }

// Account is the account's number there.
func (c *Cloud) Account() string { return c.account }
