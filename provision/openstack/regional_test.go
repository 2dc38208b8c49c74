package openstack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is an identity service's.
func answer(r *http.Request, code int, body string) *http.Response {
	return &http.Response{StatusCode: code, ProtoMajor: 1, ProtoMinor: 1, Request: r, Body: io.NopCloser(strings.NewReader(body)),
		Header: http.Header{"Content-Type": {"application/json"}, "X-Subject-Token": {"t"}}}
}

// ofRegion is a cloud whose regions have an identity service each.
func ofRegion(t *testing.T, url, region string, f roundTrip) *Cloud {
	t.Helper()
	c, err := New("flex", provision.OpenStack{AuthURLs: []string{url}, Username: "u", Password: secrets.NewValue([]byte("p")), Project: "q"}, region,
		Options{Env: env(), RoundTripper: f})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const flexURL = "https://keystone.api.{region}.rackspacecloud.com/v3"

// TestOneRefusalIsNotBelieved of Rackspace's keystone, which says the same while what it asks itself is away; a second one is, before the user
// is locked out.
func TestOneRefusalIsNotBelieved(t *testing.T) {
	const ok = `{"token": {"project": {"id": "p"}, "catalog": [{"type": "compute", "endpoints": [{"interface": "public", "region_id": "DFW3", "url": "https://nova/v2.1"}]}]}}`
	for _, tt := range []struct {
		url           string
		refused, want int64
		fails         bool
	}{{flexURL, 1, 2, false}, {flexURL, 9, 2, true}, {"https://identity.example/{region}/v3", 9, 1, true}} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int64
			c := ofRegion(t, tt.url, "DFW3", func(r *http.Request) (*http.Response, error) {
				if asked.Add(1) <= tt.refused {
					return answer(r, 401, `{"error": {"message": "The request you have made requires authentication."}}`), nil
				}
				return answer(r, 201, ok), nil
			})
			err := c.Connect(t.Context())
			if (err != nil) != tt.fails || asked.Load() != tt.want {
				t.Errorf("%s, refused %d times: asked %d times, %v", tt.url, tt.refused, asked.Load(), err)
			}
			var pe *provision.Error
			if errors.As(err, &pe) && strings.Contains(pe.Hint, "Rackspace's keystone") != (tt.url == flexURL) {
				t.Errorf("%s: hint %q", tt.url, pe.Hint)
			}
		})
	}
}

// TestRegionThatIsNone: what a wrong name of a region comes to, where it is part of a host and where the host does not mind.
func TestRegionThatIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ofRegion(t, flexURL, "DWF3", func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "keystone.api.dwf3.rackspacecloud.com", IsNotFound: true}}
		})
		err := c.Connect(t.Context())
		var pe *provision.Error
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), "log in at https://keystone.api.dwf3.rackspacecloud.com/v3/") || pe.Hint != "is DWF3 a region of this cloud? Its name is in the URL, which is from the plan" {
			t.Errorf("%v; hint: %+v", err, pe)
		}
	})
	c := ofRegion(t, flexURL, "dfw3", func(r *http.Request) (*http.Response, error) {
		return answer(r, 201, fmt.Sprintf(`{"token": {"catalog": [{"type": "compute", "endpoints": [{"interface": "public", "region_id": "DFW3", "url": "https://%s/v2.1"}]}]}}`, r.URL.Host)), nil
	})
	err := c.Connect(t.Context())
	var re *RegionError
	if !errors.As(err, &re) || err.Error() != `there is no region "dfw3" in the catalog of https://keystone.api.dfw3.rackspacecloud.com/v3/ (did you mean "DFW3"?); valid: DFW3` {
		t.Errorf("%v", err)
	}
}
