package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

type token struct {
	id      string
	method  string
	issued  time.Time
	expires time.Time
	audit   string
	realm   string // where it is good
}

const domainID = "default"

var keystoneRoutes = []route{
	on("!GET /", keystoneVersions),
	on("!GET /v3", keystoneV3),
	on("!POST /v3/auth/tokens", tokenIssue),
	on("GET /v3/auth/tokens", tokenShow),
	on("DELETE /v3/auth/tokens", tokenRevoke),
	on("GET /v3/auth/catalog", func(k *call) (int, any) {
		return 200, obj{"catalog": k.catalog(), "links": obj{"self": k.self("/v3/auth/catalog")}}
	}),
	on("GET /v3/auth/projects", func(k *call) (int, any) {
		return 200, obj{"projects": []obj{k.c.projectView()}, "links": obj{"self": k.self("/v3/auth/projects"), "previous": nil, "next": nil}}
	}),
	on("GET /v3/regions", regionList),
	on("GET /v3/regions/{id}", func(k *call) (int, any) {
		for _, r := range k.regions() {
			if r == k.vars["id"] {
				return 200, obj{"region": k.regionView(r)}
			}
		}
		return k.err(404, "Could not find region: %s.", k.vars["id"])
	}),
	on("GET /v3/projects/{id}", func(k *call) (int, any) {
		if k.vars["id"] == k.c.project {
			return 200, obj{"project": k.c.projectView()}
		}
		return keystoneForbidden(k, "identity:get_project")
	}),
	on("GET /v3/projects", func(k *call) (int, any) { return keystoneForbidden(k, "identity:list_projects") }),
	on("GET /v3/users", func(k *call) (int, any) { return keystoneForbidden(k, "identity:list_users") }),
	on("GET /v3/roles", func(k *call) (int, any) { return keystoneForbidden(k, "identity:list_roles") }),
	on("GET /v3/services", func(k *call) (int, any) { return keystoneForbidden(k, "identity:list_services") }),
	on("GET /v3/endpoints", func(k *call) (int, any) { return keystoneForbidden(k, "identity:list_endpoints") }),
}

func keystoneError(_ *call, status int, msg string) any {
	return obj{"error": obj{"code": status, "title": http.StatusText(status), "message": msg}}
}

func keystoneForbidden(k *call, rule string) (int, any) {
	return k.err(403, "You are not authorized to perform the requested action: %s.", rule)
}

func keystoneV3Doc(k *call) obj {
	return obj{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []obj{{"rel": "self", "href": k.c.scheme() + k.Host + "/v3/"}},
		"media-types": []obj{{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

func keystoneVersions(k *call) (int, any) {
	return 300, obj{"versions": obj{"values": []obj{keystoneV3Doc(k)}}}
}

func keystoneV3(k *call) (int, any) { return 200, obj{"version": keystoneV3Doc(k)} }

func (k *call) regionView(id string) obj {
	return obj{"id": id, "description": "", "parent_region_id": nil, "links": obj{"self": k.self("/v3/regions/" + id)}}
}

func regionList(k *call) (int, any) {
	list := []obj{}
	for _, r := range k.regions() {
		list = append(list, k.regionView(r))
	}
	return 200, obj{"regions": list, "links": obj{"self": k.self("/v3/regions"), "previous": nil, "next": nil}}
}

func (c *Cloud) projectView() obj {
	return obj{"id": c.project, "name": c.projectName(), "domain_id": domainID, "enabled": true, "is_domain": false,
		"description": "", "parent_id": domainID, "tags": []string{}, "options": obj{}}
}

// regions are those that the identity service which was asked knows.
func (k *call) regions() []string {
	if k.region != "" {
		return []string{k.region}
	}
	return k.c.opts.Regions
}

// catalog has every service in every region. Designate is one service with one
// address: it is no part of a region and lives on when a region is dark.
// It never changes once the services have addresses.
func (k *call) catalog() json.RawMessage {
	c, of := k.c, k.s.realm()
	if c.written[of] == nil {
		entries := c.entries(k.regions())
		if k.s.name == "identity" {
			entries = c.rackspaceEntries()
		}
		c.written[of], _ = json.Marshal(entries)
	}
	return c.written[of]
}

func (c *Cloud) entries(regions []string) []obj {
	type entry struct{ kind, name, path string }
	var list []obj
	for _, e := range []entry{
		{"identity", "keystone", "/v3"}, {"compute", "nova", "/v2.1"}, {"image", "glance", ""},
		{"network", "neutron", ""}, {"dns", "designate", ""}, {"load-balancer", "octavia", ""}, {"key-manager", "barbican", ""},
	} {
		var eps []obj
		for _, r := range regions {
			u := c.url(e.name, r)
			if u == "" {
				u = c.url(e.name, "")
			}
			if u == "" { // it has no such service
				continue
			}
			for _, i := range []string{"public", "internal"} {
				eps = append(eps, obj{"id": stableID(e.kind, i, r), "interface": i, "region": r, "region_id": r, "url": u + e.path})
			}
		}
		if eps == nil {
			continue
		}
		list = append(list, obj{"id": stableID(e.kind), "type": e.kind, "name": e.name, "endpoints": eps})
	}
	return list
}

// stableID is an identifier that is the same in every catalog.
func stableID(of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "/")))
	return hex.EncodeToString(sum[:16])
}

// tokenIssue takes the three methods that the project needs. All failures read
// alike, so that nobody learns which half of a password was wrong.
func tokenIssue(k *call) (int, any) {
	type named struct{ ID, Name string }
	var in struct {
		Auth struct {
			Identity struct {
				Methods  []string
				Password struct {
					User struct {
						ID, Name, Password string
						Domain             named
					}
				}
				Token struct{ ID string }
				AC    struct {
					ID, Name, Secret string
					User             named
				} `json:"application_credential"`
			}
			Scope any
		}
	}
	c := k.c
	if err := k.decode(&in); err != nil || len(in.Auth.Identity.Methods) == 0 {
		return k.err(400, "Expecting to find identity in auth. The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.")
	}
	method, id, ok := in.Auth.Identity.Methods[0], in.Auth.Identity, false
	switch method {
	case "password":
		u := id.Password.User
		ok = (u.Password == c.password || c.opts.Flex && u.Password == c.apiKey) && (u.ID == c.user ||
			u.Name == c.username && (u.Domain.ID == domainID || u.Domain.Name == c.domain()))
	case "token":
		ok = k.good(id.Token.ID) != nil
	case "application_credential":
		ok = id.AC.Secret == c.appCred.secret && (id.AC.ID == c.appCred.id ||
			id.AC.Name == c.appCred.name && (id.AC.User.ID == c.user || id.AC.User.Name == c.username))
	}
	if ok {
		ok = c.scoped(in.Auth.Scope)
	}
	if !ok {
		k.header.Set("WWW-Authenticate", `Keystone uri="`+k.keystone()+`/v3"`)
		return k.err(401, "The request you have made requires authentication.")
	}
	t := &token{id: "gAAAAAB" + secret() + secret(), method: method, issued: k.now, expires: k.now.Add(c.opts.TokenTTL), audit: hexID()[:22], realm: k.s.realm()}
	c.tokens[t.id] = t
	k.header.Set("X-Subject-Token", t.id)
	return 201, k.tokenView(t)
}

// scoped accepts the one project, by id or by name, and no scope at all: the
// project is the user's default one.
func (c *Cloud) scoped(scope any) bool {
	s, ok := scope.(map[string]any)
	if !ok {
		return scope == nil
	}
	p, ok := s["project"].(map[string]any)
	return ok && (p["id"] == c.project || p["name"] == c.projectName())
}

func (k *call) tokenView(t *token) obj {
	c := k.c
	const micros = "2006-01-02T15:04:05.000000Z"
	roles := []obj{}
	for _, r := range []string{"member", "reader"} {
		roles = append(roles, obj{"id": r, "name": r})
	}
	return obj{"token": obj{
		"methods": []string{t.method}, "audit_ids": []string{t.audit},
		"issued_at": t.issued.UTC().Format(micros), "expires_at": t.expires.UTC().Format(micros),
		"user": obj{"id": c.user, "name": c.username, "password_expires_at": nil,
			"domain": obj{"id": domainID, "name": c.domain()}},
		"project":   obj{"id": c.project, "name": c.projectName(), "domain": obj{"id": domainID, "name": c.domain()}},
		"is_domain": false, "roles": roles, "catalog": k.catalog(),
	}}
}

func tokenShow(k *call) (int, any) {
	id := k.Header.Get("X-Subject-Token")
	t := k.good(id)
	if t == nil {
		return k.err(404, "Could not find token: The token is invalid or expired.")
	}
	k.header.Set("X-Subject-Token", id)
	return 200, k.tokenView(t)
}

func tokenRevoke(k *call) (int, any) {
	if t := k.good(k.Header.Get("X-Subject-Token")); t != nil {
		delete(k.c.tokens, t.id)
	}
	return 204, nil
}
