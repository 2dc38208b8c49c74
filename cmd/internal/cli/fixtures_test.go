package cli

import (
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/dripstat/failover/provision/rackspace/rackspacetest"
	"github.com/dripstat/failover/provision/sandbox"
)

var fixtures = sync.OnceValues(rackspacetest.Load)

// covered fails the test where a request that it brought to one of Rackspace's clouds is in no fixture, or the status that it was answered
// with. It is called at the end of every test on such a sandbox: whoever sends something new there says first in which document it stands.
func (b *bench) covered() {
	b.t.Helper()
	apis, err := fixtures()
	b.no(err)
	for _, miss := range uncovered(apis, b.cloud.Requests()) {
		b.t.Errorf("%s (provision/rackspace/rackspacetest)", miss)
	}
}

// uncovered tells each thing once. What Flex has of an OpenStack of today is proven elsewhere.
func uncovered(apis map[string]*rackspacetest.API, requests []sandbox.Request) []string {
	at := map[string]*rackspacetest.API{}
	for _, a := range apis {
		at[a.Service] = a
	}
	flex := slices.ContainsFunc(requests, func(r sandbox.Request) bool { return r.Service == "keystone" })
	var out []string
	for _, r := range requests {
		login := r.Service == "identity" || r.Service == "keystone"
		if flex && !login && r.Service != "clouddns" || r.Service == "keystone" && (r.Status == 404 || r.Status == 429) { // a region that is not there has no host there; and any OpenStack limits rates
			continue
		}
		why := "no fixture is of the service " + r.Service
		if a := at[r.Service]; a != nil {
			query, _ := url.ParseQuery(r.Query)
			err := a.Covers(r.Method, r.Path, query, r.Body, !login, r.Status)
			if err == nil {
				continue
			}
			why = err.Error()
		}
		if !slices.Contains(out, why) {
			out = append(out, why)
		}
	}
	return out
}

// It can miss something: a body with a key more or less, or of another type, another parameter, another path, another answer.
func TestUncovered(t *testing.T) {
	t.Parallel()
	apis, err := fixtures()
	if err != nil {
		t.Fatal(err)
	}
	const base = "/v1.0/123456/loadbalancers/71"
	for name, r := range map[string]sandbox.Request{
		"":              {Service: "clb", Method: "PUT", Path: base + "/nodes/5", Body: []byte(`{"node":{"condition":"ENABLED"}}`), Status: 202},
		"a key more":    {Service: "clb", Method: "PUT", Path: base + "/nodes/5", Body: []byte(`{"node":{"condition":"ENABLED","port":80}}`), Status: 202},
		"a key less":    {Service: "clb", Method: "PUT", Path: base + "/nodes/5", Body: []byte(`{"node":{}}`), Status: 202},
		"another type":  {Service: "clb", Method: "PUT", Path: base + "/nodes/5", Body: []byte(`{"node":{"condition":1}}`), Status: 202},
		"a parameter":   {Service: "clb", Method: "GET", Path: base, Query: "verbose=1", Status: 200},
		"another path":  {Service: "clb", Method: "GET", Path: base + "/stats", Status: 200},
		"a method":      {Service: "clb", Method: "DELETE", Path: base + "/healthmonitor", Status: 202},
		"an answer":     {Service: "clb", Method: "GET", Path: base, Status: 418},
		"a service":     {Service: "neutron", Method: "GET", Path: "/v2.0/networks", Status: 200},
		"a value":       {Service: "clouddns", Method: "GET", Path: "/v1.0/123456/domains/7", Query: "showRecords=true&showSubdomains=false", Status: 200},
		"microversions": {Service: "nova", Method: "GET", Path: "/v2.1/servers/detail", Query: "limit=1000", Status: 200},
	} {
		if got := uncovered(apis, []sandbox.Request{r}); len(got) == 1 != (name != "") {
			t.Errorf("%s: %q", name, got)
		}
	}
}
