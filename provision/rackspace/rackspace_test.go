package rackspace_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/rackspace"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

func start(t *testing.T, o sandbox.Options) *sandbox.Cloud {
	t.Helper()
	if o.Rackspace == nil {
		o.Rackspace = &sandbox.Rackspace{}
	}
	c, err := sandbox.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func key(c *sandbox.Cloud) rackspace.Credentials {
	return rackspace.Credentials{Source: "the plan", URLs: []string{c.RackspaceURL()}, Username: c.Username(), APIKey: secrets.NewValue([]byte(c.APIKey()))}
}

// cloud is a region as failover sees it, logged in to with these credentials.
func cloud(t *testing.T, c rackspace.Credentials, region string) *openstack.Cloud {
	t.Helper()
	x, err := openstack.New("rax", provision.OpenStack{}, region, openstack.Options{Legacy: true, Identity: &openstack.Identity{Name: "the identity service", Version: "v2.0",
		Source: c.Source, Check: "username and api_key", URLs: c.URLs, Login: c.Login, Catalog: c.Catalog}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

// Both ways of saying when a token ends, with the account beside the key or without.
func TestLogin(t *testing.T) {
	for _, offset := range []bool{false, true} {
		box := start(t, sandbox.Options{Regions: []string{"DFW", "ORD"}, Rackspace: &sandbox.Rackspace{Offset: offset}})
		with := key(box)
		with.Account = box.Account()
		for _, c := range []rackspace.Credentials{key(box), with} {
			x := cloud(t, c, "ORD")
			if err := x.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			// The first generation's compute has no region, and is nobody's to choose.
			if got, err := x.Regions(t.Context()); err != nil || !slices.Equal(got, []string{"DFW", "ORD"}) {
				t.Errorf("regions %q, %v", got, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	box := start(t, sandbox.Options{})
	wrong, other := key(box), key(box)
	wrong.APIKey = secrets.NewValue([]byte("0123456789abcdef0123456789abcdef"))
	other.Account = "999999"
	password := key(box)
	password.APIKey, password.Password = secrets.Value{}, secrets.NewValue([]byte("hunter2"))
	for name, tt := range map[string]struct {
		c    rackspace.Credentials
		says string
	}{
		"key":      {wrong, "Username or api key is invalid"},
		"account":  {other, "'999999' is not valid"},
		"password": {password, "Unable to authenticate user"},
	} {
		err := cloud(t, tt.c, "ORD").Connect(t.Context())
		var pe *provision.Error
		if !errors.As(err, &pe) || !strings.Contains(pe.Said, tt.says) || pe.Hint != "check username and api_key in the plan" {
			t.Errorf("%s: %#v", name, err)
		}
		if strings.Contains(err.Error(), "0123456789abcdef") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the secret is in %v", name, err)
		}
	}
	if err := cloud(t, key(box), "SYD").Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "valid: IAD, ORD") {
		t.Errorf("a region that is not there: %v", err)
	}
}

// A token that ends in the middle brings one login more, whoever asked first.
func TestTokenEnds(t *testing.T) {
	box := start(t, sandbox.Options{TokenTTL: time.Second})
	x := cloud(t, key(box), "ORD")
	if err := x.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond)
	errs := make(chan error)
	for range 8 {
		go func() {
			_, err := x.Inventory(context.WithoutCancel(t.Context()), openstack.Query{Service: "shop"})
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	logins := 0
	for _, r := range box.Requests() {
		if r.Method == "POST" && r.Path == "/v2.0/tokens" {
			logins++
		}
	}
	if logins != 2 {
		t.Errorf("%d logins", logins)
	}
}

// What is read before a run: nothing that the cloud does not have is asked for, and nothing is missed.
func TestInventory(t *testing.T) {
	box := start(t, sandbox.Options{})
	x := cloud(t, key(box), "ORD")
	inv, err := x.Inventory(t.Context(), openstack.Query{Service: "shop", Servers: []provision.Server{{Name: "web", Image: provision.ImageWant{Name: "debian-12"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range inv.Unread {
		t.Errorf("not read: %+v", f)
	}
	if len(inv.Flavors) == 0 || len(inv.Images["web"]) != 1 || inv.Quotas["instances"].Limit == 0 {
		t.Errorf("%+v", inv)
	}
	for _, want := range []string{"public", "PublicNet", "private", "ServiceNet"} {
		if !slices.ContainsFunc(inv.Networks, func(n provision.Network) bool { return n.Name == want }) {
			t.Errorf("no network %s", want)
		}
	}
	for _, r := range box.Requests() {
		if r.Status >= 400 {
			t.Errorf("%s %s was answered %d", r.Method, r.Path, r.Status)
		}
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	none := func(string) (string, bool) { return "", false }
	env := func(pairs ...string) func(string) (string, bool) {
		return func(k string) (string, bool) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == k {
					return pairs[i+1], true
				}
			}
			return "", false
		}
	}
	if _, err := rackspace.Find(rackspace.Credentials{}, rackspace.Options{Env: none, Home: home}); err == nil || !strings.Contains(err.Error(), ".rackspace_cloud_credentials") {
		t.Errorf("nothing at all: %v", err)
	}
	file := filepath.Join(home, ".rackspace_cloud_credentials")
	if err := os.WriteFile(file, []byte("; pyrax\n[keystone]\nusername = no\n[rackspace_cloud]\nusername = filed\napi_key = k1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan := rackspace.Credentials{Username: "planned", APIKey: secrets.NewValue([]byte("k0"))}
	for name, tt := range map[string]struct {
		said                      rackspace.Credentials
		o                         rackspace.Options
		user, secret, source, url string
	}{
		"file":        {rackspace.Credentials{}, rackspace.Options{Env: none, Home: home}, "filed", "k1", file, rackspace.Endpoint},
		"environment": {rackspace.Credentials{}, rackspace.Options{Env: env("RAX_USERNAME", "u", "RAX_API_KEY", "k2"), Home: home}, "u", "k2", "the environment", rackspace.Endpoint},
		"older names": {rackspace.Credentials{}, rackspace.Options{Env: env("RS_USERNAME", "u", "RS_API_KEY", "k3", "RS_AUTH_URL", "https://id.test/v2.0"), Home: home}, "u", "k3", "the environment", "https://id.test/v2.0/"},
		"plan":        {plan, rackspace.Options{Env: env("RAX_USERNAME", "u", "RAX_API_KEY", "k2"), Home: home}, "planned", "k0", "the plan", rackspace.Endpoint},
		"London":      {plan, rackspace.Options{Env: none, Home: home, Region: "LON"}, "planned", "k0", "the plan", rackspace.EndpointUK},
	} {
		c, err := rackspace.Find(tt.said, tt.o)
		if err != nil || c.Username != tt.user || string(c.APIKey.Bytes()) != tt.secret || c.Source != tt.source || !slices.Equal(c.URLs, []string{tt.url}) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	half := rackspace.Credentials{Username: "u"}
	if _, err := rackspace.Find(half, rackspace.Options{Env: none, Home: home}); err == nil || !strings.Contains(err.Error(), "no API key") {
		t.Errorf("a name without a key: %v", err)
	}
}
