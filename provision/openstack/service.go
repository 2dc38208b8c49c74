package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/dripstat/failover/provision"
	"github.com/gophercloud/gophercloud/v2"
)

// Compute microversions, as minor numbers of 2.x, each asked for where the cloud has it.
const (
	mvBase        = 1
	mvTagFilter   = 26 // servers?tags=
	mvAutoNetwork = 37 // networks must be named, or "auto"
	mvTags        = 52 // tags at create
	mvExtraSpecs  = 61 // flavors/detail shows extra_specs
	mvPolicy      = 64 // a server group has one policy
	mvVolumeType  = 67 // block_device_mapping_v2 takes volume_type
)

// service is one API of the region. Its methods give *provision.Error.
type service struct {
	*gophercloud.ServiceClient
	name string // "nova"
}

func (s *session) client(kind, endpoint, base string) *gophercloud.ServiceClient {
	return &gophercloud.ServiceClient{ProviderClient: s.pc, Endpoint: endpoint, ResourceBase: base, Type: kind}
}

var versionTail = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`/v\d+(\.\d+)?/$`) })

// versioned gives the root of one version of an API, whether the catalog's URL names a version or not.
func versioned(u, version string) string {
	if t := versionTail().FindString(u); t != "" {
		u = strings.TrimSuffix(u, t) + "/"
	}
	return u + version
}

func (c *Cloud) service(ctx context.Context, kind string) (service, error) {
	names := map[string]string{"compute": "nova", "image": "glance", "network": "neutron", "load-balancer": "octavia", "key-manager": "barbican"}
	if err := c.Connect(ctx); err != nil {
		return service{}, err
	}
	s, _ := c.session.known()
	u, ok := s.endpoint(kind, c.region, c.set.iface)
	if !ok {
		return service{}, &provision.Error{Thing: "cloud." + c.name, What: fmt.Sprintf("the catalog has no %s service in %s", kind, c.region), Class: provision.Final}
	}
	base := u
	switch kind {
	case "compute":
		if !strings.Contains(u, "/v2") {
			base = u + "v2.1/"
		}
	case "network":
		base = versioned(u, "v2.0/")
	case "image":
		base = versioned(u, "v2/")
	case "load-balancer":
		base = versioned(u, "v2/") + "lbaas/"
	case "key-manager":
		base = versioned(u, "v1/")
	}
	return service{s.client(kind, u, base), names[kind]}, nil
}

// newest asks the compute API, once, for its newest microversion.
func (c *Cloud) newest(ctx context.Context) (int, error) {
	if c.legacy {
		return mvBase, nil
	}
	return c.minor.get(ctx, func(ctx context.Context) (int, error) {
		s, err := c.service(ctx, "compute")
		if err != nil {
			return 0, err
		}
		root := s.ResourceBaseURL() // .../v2.1/ or .../v2.1/{project}/
		if i := strings.Index(root, "/v2"); i >= 0 {
			if j := strings.IndexByte(root[i+1:], '/'); j >= 0 {
				root = root[:i+1+j+1]
			}
		}
		var v struct {
			Version struct {
				Version string `json:"version"`
			} `json:"version"`
		}
		if err := s.get(ctx, "read the versions of the compute API", root, &v); err != nil {
			return 0, err
		}
		if _, m, ok := strings.Cut(v.Version.Version, "."); ok {
			if n, err := strconv.Atoi(m); err == nil {
				return max(n, mvBase), nil
			}
		}
		return mvBase, nil
	})
}

// compute gives the compute API at the wanted microversion, or at the newest that the cloud has.
func (c *Cloud) compute(ctx context.Context, want int) (service, int, error) {
	s, err := c.service(ctx, "compute")
	if err != nil {
		return s, 0, err
	}
	n, err := c.newest(ctx)
	if err != nil {
		return s, 0, err
	}
	return s.at(min(n, want)), min(n, want), nil
}

func (s service) at(minor int) service {
	sc := *s.ServiceClient
	if sc.Microversion = ""; minor > mvBase {
		sc.Microversion = "2." + strconv.Itoa(minor)
	}
	return service{&sc, s.name}
}

// hopeful reads at a microversion before it is known whether the cloud has it, which saves a round trip on
// every cloud of this decade; an older one says 406 and is asked again.
func (c *Cloud) hopeful(ctx context.Context, want int, read func(s service, minor int) error) error {
	s, err := c.service(ctx, "compute")
	if err != nil {
		return err
	}
	if n, ok := c.minor.known(); ok {
		want = min(want, n)
	}
	if c.legacy {
		want = mvBase
	}
	if err = read(s.at(want), want); !errors.Is(err, errVersion) {
		return err
	}
	s, minor, err := c.compute(ctx, want)
	if err != nil {
		return err
	}
	return read(s, minor)
}

// url joins a path, whose parts are escaped already, to the API's root.
func (s service) url(path string) string { return s.ResourceBaseURL() + path }

func (s service) get(ctx context.Context, what, url string, out any) error {
	_, err := s.ServiceClient.Get(ctx, url, out, &gophercloud.RequestOpts{OkCodes: []int{200, 203}})
	return explain(s.name, http.MethodGet, what, err)
}

func (s service) post(ctx context.Context, what, url string, body, out any) error {
	return s.write(ctx, http.MethodPost, what, url, body, out)
}

func (s service) put(ctx context.Context, what, url string, body, out any) error {
	return s.write(ctx, http.MethodPut, what, url, body, out)
}

func (s service) write(ctx context.Context, method, what, url string, body, out any) error {
	o := &gophercloud.RequestOpts{OkCodes: []int{200, 201, 202, 204}, JSONBody: body, KeepResponseBody: true}
	resp, err := s.Request(ctx, method, url, o)
	if err != nil {
		return explain(s.name, method, what, err)
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		// It was accepted; what it made has to be looked for.
		return &provision.Error{What: what + ": the answer of " + s.name + " cannot be read", Class: provision.Unknown}
	}
	return nil
}

// remove deletes; what is gone already is no error.
func (s service) remove(ctx context.Context, what, url string) error {
	_, err := s.ServiceClient.Delete(ctx, url, &gophercloud.RequestOpts{OkCodes: []int{200, 202, 204, 404}})
	return explain(s.name, http.MethodDelete, what, err)
}

// missing reads; 404 is an answer.
func (s service) missing(ctx context.Context, what, url string, out any) (bool, error) {
	_, err := s.ServiceClient.Get(ctx, url, out, &gophercloud.RequestOpts{OkCodes: []int{200, 203}})
	if status(err) == 404 {
		return true, nil
	}
	return false, explain(s.name, http.MethodGet, what, err)
}

// query makes "?a=b&c=d" of pairs.
func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return "?" + v.Encode()
}
