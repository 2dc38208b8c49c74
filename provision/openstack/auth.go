package openstack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

const (
	hedge        = 3 * time.Second // an identity URL that has not answered by then gets company
	loginTries   = 3
	loginTimeout = 60 * time.Second
)

// session is what a token brought.
type session struct {
	pc      *gophercloud.ProviderClient
	catalog []tokens.CatalogEntry
	project string
}

// login gets a token and the catalog that comes with it: one round trip, no discovery of versions.
func (c *Cloud) login(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	r, err := c.race(ctx)
	if err != nil {
		return nil, err
	}
	catalog, project, err := c.set.identity.Catalog(r)
	if err != nil && len(catalog) == 0 {
		return nil, &provision.Error{Thing: "cloud." + c.name, What: "the identity service's answer holds no catalog: " + cut(scrub(err.Error())), Class: provision.Final}
	}
	s := &session{pc: c.provider(), catalog: catalog, project: project}
	if len(s.catalog) == 0 {
		return nil, &provision.Error{Thing: "cloud." + c.name, What: "the token has no catalog: it is not scoped to a project",
			Hint: "give project_name (or project_id) in " + c.set.source, Class: provision.Final}
	}
	if err := s.pc.SetTokenAndAuthResult(r); err != nil {
		return nil, &provision.Error{Thing: "cloud." + c.name, What: "the identity service gave no token", Class: provision.Final}
	}
	if !c.set.identity.Once {
		s.pc.ReauthFunc = func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, loginTimeout)
			defer cancel()
			r, err := c.race(ctx)
			if err != nil {
				return err
			}
			return s.pc.SetTokenAndAuthResult(r)
		}
	}
	return s, nil
}

func (c *Cloud) provider() *gophercloud.ProviderClient {
	pc := &gophercloud.ProviderClient{HTTPClient: c.tr.client()}
	pc.UseTokenLock()
	return pc
}

// race asks the identity URLs in turn: the next one as soon as one fails, or beside it once it hangs. The
// first token wins. Refused credentials end it: the others would say the same.
func (c *Cloud) race(ctx context.Context) (gophercloud.AuthResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		r    gophercloud.AuthResult
		code int
		err  error
	}
	answers := make(chan answer, len(c.set.urls))
	next, running := 0, 0
	begin := func() {
		u := c.set.urls[next]
		next++
		running++
		go func() {
			r, code, err := c.token(ctx, u)
			answers <- answer{r, code, err}
		}()
	}
	begin()
	var firstErr error
	for {
		var late <-chan time.Time
		if next < len(c.set.urls) {
			late = time.After(hedge)
		}
		select {
		case a := <-answers:
			running--
			if a.err == nil {
				return a.r, nil
			}
			if firstErr == nil {
				firstErr = a.err
			}
			switch {
			case a.code == 400 || a.code == 401 || a.code == 403:
				return nil, a.err
			case next < len(c.set.urls):
				begin()
			case running == 0:
				return nil, firstErr
			}
		case <-late:
			begin()
		}
	}
}

// token asks one identity URL, again where the failure may pass: a token too many does no harm.
func (c *Cloud) token(ctx context.Context, url string) (r gophercloud.AuthResult, code int, err error) {
	for try := 1; ; try++ {
		r, err = c.set.identity.Login(ctx, c.provider(), url)
		if err == nil {
			return r, 0, nil
		}
		code = status(err)
		e := provision.AsError("cloud."+c.name, explain(c.set.identity.Name, http.MethodGet, "log in at "+url, err))
		switch code {
		case 0:
			if c.set.regional && e.Hint == "" {
				e.Hint = fmt.Sprintf("is %s a region of this cloud? Its name is in the URL, which is from %s", c.region, c.set.source)
			}
		case 401:
			e.Hint = "check " + c.set.identity.Check + " in " + c.set.source
			if proxied(url) {
				e.Hint += "; or type it again: Rackspace's keystone says so, too, while the service that it asks itself does not answer"
				if try == 1 && sleep(ctx, time.Second) == nil {
					continue
				}
			}
		case 404:
			e.What, e.Said = "log in at "+url+": no identity service "+c.set.identity.Version+" is there", ""
		}
		if e.Class == provision.Final || try == loginTries || len(c.set.urls) > 1 {
			return r, code, e
		}
		if sleep(ctx, max(e.After, time.Duration(try)*300*time.Millisecond)) != nil {
			return r, code, e
		}
	}
}

// proxied reports whether a keystone asks Rackspace's older identity service for each password. It answers 401 where that one
// is too slow or cannot be reached, so one 401 is not believed; it locks a user out after six, so no more than one is asked again.
// https://github.com/rackerlabs/keystone-rxt/blob/main/keystone_rxt/rackspace.py (_return_rxt_roles), security_compliance in
// https://github.com/rackerlabs/genestack/blob/main/base-helm-configs/keystone/keystone-helm-overrides.yaml
func proxied(identity string) bool {
	u, err := url.Parse(identity)
	return err == nil && strings.HasPrefix(u.Hostname(), "keystone.") && strings.HasSuffix(u.Hostname(), ".rackspacecloud.com")
}

// endpoint finds a service's URL in a region; where the wanted interface has none, public will do.
func (s *session) endpoint(service, region, iface string) (string, bool) {
	for _, i := range slices.Compact([]string{iface, "public"}) {
		for _, e := range s.catalog {
			if !slices.Contains(serviceTypes(service), e.Type) {
				continue
			}
			for _, p := range e.Endpoints {
				if p.Interface == i && (p.RegionID == region || p.Region == region) {
					return gophercloud.NormalizeURL(p.URL), true
				}
			}
		}
	}
	return "", false
}

// all lists the regions that have a service.
func (s *session) all(iface, service string) []string {
	var out []string
	for _, e := range s.catalog {
		if !slices.Contains(serviceTypes(service), e.Type) {
			continue
		}
		for _, p := range e.Endpoints {
			if p.Interface == iface || p.Interface == "public" {
				out = append(out, first(p.RegionID, p.Region))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *session) regions(iface string) []string { return s.all(iface, "compute") }

// serviceTypes are the names that catalogs use for one service.
func serviceTypes(service string) []string {
	switch service {
	case "compute":
		return []string{"compute", "computev21"}
	case "image":
		return []string{"image", "imagev2"}
	case "network":
		return []string{"network", "networking"}
	case "dns":
		return []string{"dns", "dnsv2"}
	case "rax:dns": // the first in samples of catalogs, the other in https://docs.rackspace.com/reference/cloud-dns-service-access-endpoints
		return []string{"rax:dns", "managedDNS"}
	}
	return []string{service}
}
