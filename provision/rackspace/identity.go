package rackspace

import (
	"context"

	"github.com/gophercloud/gophercloud/v2"
	tokens2 "github.com/gophercloud/gophercloud/v2/openstack/identity/v2/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// Login gets a token from an identity service of version 2.0. pc has no token yet. Errors are gophercloud's.
// https://docs.rackspace.com/docs/cloud-identity/api-reference/token-operations
func (c Credentials) Login(ctx context.Context, pc *gophercloud.ProviderClient, url string) (gophercloud.AuthResult, error) {
	sc := &gophercloud.ServiceClient{ProviderClient: pc, Endpoint: url, Type: "identity"}
	r := tokens2.Create(ctx, sc, c)
	if r.Err != nil {
		return nil, r.Err
	}
	return r, nil
}

// ToTokenV2CreateMap is the body of a login. tenantId stands beside the credentials, as in the document's examples; its
// table of parameters draws it inside.
func (c Credentials) ToTokenV2CreateMap() (map[string]any, error) {
	auth := map[string]any{}
	if c.APIKey.IsZero() {
		auth["passwordCredentials"] = map[string]any{"username": c.Username, "password": string(c.Password.Bytes())}
	} else {
		auth["RAX-KSKEY:apiKeyCredentials"] = map[string]any{"username": c.Username, "apiKey": string(c.APIKey.Bytes())}
	}
	if c.Account != "" {
		auth["tenantId"] = c.Account
	}
	return map[string]any{"auth": auth}, nil
}

// CanReauth is false: whoever holds the token logs in again, once for all that were refused.
func (Credentials) CanReauth() bool { return false }

// Catalog gives what a login's answer offers, in the form of version 3, and the account. Of what is called compute,
// the first generation ("cloudServers", without a region) is left out: no server of a plan can be made there. The time at
// which the token ends is not looked at: it comes in two forms, of which gophercloud knows one, and a 401 tells it as well.
func (Credentials) Catalog(r gophercloud.AuthResult) ([]tokens.CatalogEntry, string, error) {
	var got struct {
		Access struct {
			Token struct {
				Tenant struct{ ID string } `json:"tenant"`
			} `json:"token"`
			Catalog []tokens2.CatalogEntry `json:"serviceCatalog"`
		} `json:"access"`
	}
	body, _ := r.(tokens2.CreateResult)
	if err := body.ExtractInto(&got); err != nil {
		return nil, "", err
	}
	var out []tokens.CatalogEntry
	for _, e := range got.Access.Catalog {
		if e.Type == "compute" && e.Name != "cloudServersOpenStack" {
			continue
		}
		entry := tokens.CatalogEntry{Name: e.Name, Type: e.Type}
		for _, p := range e.Endpoints {
			for iface, u := range map[string]string{"public": p.PublicURL, "internal": p.InternalURL} {
				if u != "" {
					entry.Endpoints = append(entry.Endpoints, tokens.Endpoint{Region: p.Region, RegionID: p.Region, Interface: iface, URL: u})
				}
			}
		}
		out = append(out, entry)
	}
	return out, got.Access.Token.Tenant.ID, nil
}
