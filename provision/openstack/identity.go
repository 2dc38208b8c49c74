package openstack

import (
	"context"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// Identity is how a cloud is logged in to: keystone's v3, or what whoever makes a Cloud gives instead.
type Identity struct {
	Name    string   // for messages: "keystone"
	Version string   // "v3"
	Source  string   // where the credentials came from
	Check   string   // what to look at where they are refused: "user, password, project and domain"
	URLs    []string // tried in turn
	Once    bool     // the credentials are a token, which brings no other
	// Login gets a token from one of the URLs. pc has none yet. Errors are gophercloud's.
	Login func(ctx context.Context, pc *gophercloud.ProviderClient, url string) (gophercloud.AuthResult, error)
	// Catalog takes a login's answer apart: what the token may be used at, and for which project.
	Catalog func(gophercloud.AuthResult) (catalog []tokens.CatalogEntry, project string, err error)
}

// keystone is the Identity of everything but what another one was given for.
func keystone(opts gophercloud.AuthOptions, scoped bool) Identity {
	return Identity{Name: "keystone", Version: "v3", Check: "user, password, project and domain", Once: opts.TokenID != "",
		Login: func(ctx context.Context, pc *gophercloud.ProviderClient, url string) (gophercloud.AuthResult, error) {
			sc := &gophercloud.ServiceClient{ProviderClient: pc, Endpoint: url, Type: "identity"}
			if opts.TokenID != "" {
				// A token that is scoped already is taken as it is: many may not be rescoped.
				sc.SetToken(opts.TokenID)
				r := tokens.Get(ctx, sc, opts.TokenID)
				if r.Err != nil {
					return nil, r.Err
				}
				if cat, err := r.ExtractServiceCatalog(); !scoped || err == nil && len(cat.Entries) > 0 {
					return r, nil
				}
				sc.SetToken("")
			}
			o := opts
			r := tokens.Create(ctx, sc, &o)
			if r.Err != nil {
				return nil, r.Err
			}
			return r, nil
		},
		Catalog: func(r gophercloud.AuthResult) ([]tokens.CatalogEntry, string, error) {
			// All at once, and not by the result's own methods: each of those takes the whole catalog apart again.
			var got struct {
				Token struct {
					Catalog []tokens.CatalogEntry `json:"catalog"`
					Project struct{ ID string }   `json:"project"`
				} `json:"token"`
			}
			var body gophercloud.Result
			switch r := r.(type) {
			case tokens.CreateResult:
				body = r.Result
			case tokens.GetResult:
				body = r.Result
			}
			err := body.ExtractInto(&got)
			return got.Token.Catalog, got.Token.Project.ID, err
		},
	}
}
