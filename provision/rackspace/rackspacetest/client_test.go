package rackspacetest_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/rackspace/rackspacetest"
	"github.com/dripstat/failover/secrets"
)

// What failover's packages send is what the fixtures have, or the replay refuses it; what they make of each answer is in the tests below.
// There is one that is given each.
func TestClient(t *testing.T) {
	t.Run("identity", testIdentity)
	t.Run("flex", testFlex)
	t.Run("images", testImages)
	t.Run("servers", testServers)
	t.Run("dns", testDNS)
	t.Run("balancers", testBalancers)
	for _, a := range load(t) {
		each(a, func(key string, e *rackspacetest.Exchange, _ rackspacetest.Answer) {
			if unsent := e != nil && e.Unsent != ""; answered[key] == unsent {
				t.Errorf("%s: given to a client %v", key, answered[key])
			}
		})
	}
}

// fails checks what an error says, and what it means.
func fails(t *testing.T, err error, class provision.Class, says string) *provision.Error {
	t.Helper()
	var pe *provision.Error
	if !errors.As(err, &pe) || pe.Class != class || !strings.Contains(pe.Error(), says) {
		t.Errorf("%v (%s), want %q (%s)", err, provision.ClassOf(err), says, class)
		return &provision.Error{}
	}
	return pe
}

func fine(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%v: %s", err, provision.ClassOf(err))
	}
}

func testIdentity(t *testing.T) {
	const with, account, password = "identity: log in with an API key", "identity: log in with an API key, for an account", "identity: log in with a password"
	client(t, "both forms of a token", func(t *testing.T, r *replay) {
		x := r.cloud(credentials())
		fine(t, x.Connect(t.Context()))
		if got, err := x.Regions(t.Context()); err != nil || !slices.Equal(got, []string{"DFW", "ORD"}) {
			t.Errorf("%q %v", got, err)
		}
		r.from(with, "a token whose end has an offset")
		x = r.cloud(credentials())
		fine(t, x.Connect(t.Context()))
		if got, err := x.Regions(t.Context()); err != nil || !slices.Equal(got, []string{"ORD"}) { // the first generation, nova and what is before production are none
			t.Errorf("%q %v", got, err)
		}
		for name, client := range map[string]func() (string, error){
			"https://dns.api.rackspacecloud.com/v1.0/123456/":               func() (string, error) { sc, err := x.CloudDNS(t.Context()); return sc.Endpoint, err },
			"https://ord.loadbalancers.api.rackspacecloud.com/v1.0/123456/": func() (string, error) { sc, err := x.CloudLoadBalancers(t.Context()); return sc.Endpoint, err },
		} {
			if got, err := client(); err != nil || got != name {
				t.Errorf("%s, %v, want %s", got, err, name)
			}
		}
	})
	client(t, "both names of DNS", func(t *testing.T, r *replay) {
		for _, answer := range []string{"a token, and DNS by the name of the samples", "a token, and DNS by the name of its document"} {
			r.from(with, answer)
			if sc, err := r.cloud(credentials()).CloudDNS(t.Context()); err != nil || sc.Endpoint != "https://dns.api.rackspacecloud.com/v1.0/123456/" {
				t.Errorf("%s: %v", answer, err)
			}
		}
	})
	client(t, "refused", func(t *testing.T, r *replay) {
		r.from(with, "refused")
		pe := fails(t, r.cloud(credentials()).Connect(t.Context()), provision.Final, "not accepted")
		if !strings.Contains(pe.Said, "Username or api key is invalid") || strings.Contains(pe.Error(), "made-up-key") || r.asked(with, "refused") != 1 {
			t.Errorf("%v, asked %d times", pe, r.asked(with, "refused"))
		}
	})
	client(t, "an account", func(t *testing.T, r *replay) {
		c := credentials()
		c.Account = "123456"
		fine(t, r.cloud(c).Connect(t.Context()))
		r.from(account, "another's account")
		fails(t, r.cloud(c).Connect(t.Context()), provision.Final, "'999999' is not valid")
	})
	client(t, "a password", func(t *testing.T, r *replay) {
		c := credentials()
		c.APIKey, c.Password = secrets.Value{}, secrets.NewValue([]byte("made-up"))
		fine(t, r.cloud(c).Connect(t.Context()))
		r.from(password, "refused")
		fails(t, r.cloud(c).Connect(t.Context()), provision.Final, "Unable to authenticate user")
	})
	client(t, "too many", func(t *testing.T, r *replay) {
		r.next(with, "any: too many requests")
		fine(t, r.cloud(credentials()).Connect(t.Context()))
	})
}

func testFlex(t *testing.T) {
	const in = "flex: log in to a region"
	open := func(t *testing.T, r *replay) *openstack.Cloud {
		t.Helper()
		x, err := openstack.New("flex", provision.OpenStack{AuthURLs: []string{"https://keystone.api.{region}.rackspacecloud.com/v3"}, Username: "ops", Password: secrets.NewValue([]byte("made-up-key")),
			Project: "123456_Flex", Domain: "rackspace_cloud_domain"}, "DFW3", openstack.Options{RoundTripper: r.transport(), Env: func(string) (string, bool) { return "", false }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(x.Close)
		return x
	}
	client(t, "one refusal is not believed", func(t *testing.T, r *replay) {
		r.next(in, "refused")
		x := open(t, r)
		fine(t, x.Connect(t.Context()))
		if got, err := x.Regions(t.Context()); err != nil || !slices.Equal(got, []string{"DFW3"}) || r.sent[0].Host != "keystone.api.dfw3.rackspacecloud.com" {
			t.Errorf("%q %v at %s", got, err, r.sent[0].Host)
		}
		r.from(in, "refused")
		fails(t, open(t, r).Connect(t.Context()), provision.Final, "not accepted")
		if n := r.asked(in, "refused"); n != 3 {
			t.Errorf("refused %d times", n)
		}
	})
}

func testImages(t *testing.T) {
	const list, named = "images: list images", "images: look for an image by its name"
	want := func(w provision.ImageWant) openstack.Query {
		return openstack.Query{Service: "shop", Servers: []provision.Server{{Name: "web", Image: w}}}
	}
	client(t, "by a pattern", func(t *testing.T, r *replay) {
		r.next(list, "any: too many requests")
		r.next(list, "any: away")
		r.next(list, "a page that is not the last")
		inv, err := r.cloud(credentials()).Inventory(t.Context(), want(provision.ImageWant{Pattern: "*"}))
		got := inv.Images["web"]
		if err != nil || len(inv.Unread) > 0 || len(got) != 2 {
			t.Fatalf("%+v %v %v", got, inv.Unread, err)
		}
		i := slices.IndexFunc(got, func(i provision.Image) bool { return i.Name == "Debian 12 (Bookworm)" })
		if i < 0 || got[i].Classes != "*,!onmetal,!onmetal2" || got[i].MinDiskGB != 10 || got[i].MinRAMMB != 256 || got[i].Status != "active" || got[i].Created.Year() != 2029 {
			t.Errorf("%+v", got)
		}
		last := r.sent[len(r.sent)-1]
		for _, q := range r.sent {
			if strings.HasSuffix(q.URL.Path, "/images") {
				last = q
			}
		}
		if last.URL.Query().Get("marker") != "da3b75d9-3f4a-40e7-8a2c-bfab23927dea" || last.Host != "ord.images.api.rackspacecloud.com" {
			t.Errorf("%s %s", last.Host, last.URL)
		}
	})
	client(t, "by its name", func(t *testing.T, r *replay) {
		for answer, n := range map[string]int{"one": 1, "none": 0} {
			r.from(named, answer)
			inv, err := r.cloud(credentials()).Inventory(t.Context(), want(provision.ImageWant{Name: "Debian 12 (Bookworm)"}))
			if err != nil || len(inv.Unread) > 0 || len(inv.Images["web"]) != n {
				t.Errorf("%s: %+v %v %v", answer, inv.Images, inv.Unread, err)
			}
		}
	})
}

// last gives the latest request of a method to a path that ends so.
func (r *replay) last(method, end string) *http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range slices.Backward(r.sent) {
		if q.Method == method && strings.HasSuffix(q.URL.Path, end) {
			return q
		}
	}
	r.t.Errorf("no %s %s was sent", method, end)
	return &http.Request{}
}
