package rackspacetest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
)

const run = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

// steps are what a run does with a cloud.
func steps(x *openstack.Cloud) map[provision.Kind]openstack.Handler {
	return openstack.Handlers(openstack.Clouds{"rax": x}, nil)
}

// with are a step's arguments.
func with(pairs ...any) provision.Values {
	v := provision.Values{"cloud": "rax"}
	for i := 0; i < len(pairs); i += 2 {
		v[pairs[i].(string)] = pairs[i+1]
	}
	return v
}

func testServers(t *testing.T) {
	const flavors, list, show, create, volume, remove = "servers: list flavors", "servers: list servers", "servers: show a server", "servers: create a server", "servers: create a server that boots from a volume", "servers: delete a server"
	const pairs, keypair = "servers: list key pairs", "servers: import a key pair"
	step := provision.Step{ID: "server/web-1"}
	web := with("name", "failover-shop-web-1", "run", run, "service", "shop", "slot", "web-1", "image", "0d5bcbc7-b066-4217-83f4-7111a60a399a", "flavor", "io1-30", "user_data", "#cloud-config\n", "config_drive", true)

	client(t, "preflight", func(t *testing.T, r *replay) {
		r.next(flavors, "a page that is not the last")
		r.next(list, "a page that is not the last")
		inv, err := r.cloud(credentials()).Inventory(t.Context(), openstack.Query{Service: "shop"})
		if err != nil || len(inv.Unread) > 0 {
			t.Fatalf("%v %v", inv.Unread, err)
		}
		if f := inv.Flavors; len(f) != 2 || f[1].ID != "performance2-60" || f[1].Class != "performance2" || f[1].RAMMB != 61440 || f[1].VCPUs != 16 || f[1].DiskGB != 40 || f[1].Disabled {
			t.Errorf("%+v", inv.Flavors)
		}
		for name, want := range map[string]provision.Quota{"ram": {Limit: 66560, Used: 16896}, "instances": {Limit: 100, Used: 3}, "keypairs": {Limit: 100, Used: 1}} {
			if inv.Quotas[name] != want {
				t.Errorf("%s: %+v", name, inv.Quotas[name])
			}
		}
		if q, ok := inv.Quotas["cores"]; ok && q.Limit >= 0 {
			t.Errorf("cores: %+v", q)
		}
		for _, name := range []string{"public", "PublicNet", "private", "ServiceNet", "inner"} {
			if !slices.ContainsFunc(inv.Networks, func(n provision.Network) bool { return n.Name == name }) {
				t.Errorf("no network %s", name)
			}
		}
		if s := inv.Servers; len(s) != 1 || s[0].Slot != "web-1" || s[0].Run != run || !slices.Contains(s[0].Addresses, "192.0.2.87") || !slices.Equal(inv.KeyPairs, []string{"failover-shop-run"}) {
			t.Errorf("%+v %q", inv.Servers, inv.KeyPairs)
		}
		if q := r.last("GET", "/servers/detail"); q.URL.Query().Get("marker") != "5bccf43e-35fa-4d65-9390-2b2d6b23ec89" || q.Host != "ord.servers.api.rackspacecloud.com" {
			t.Errorf("%s %s", q.Host, q.URL)
		}
	})
	client(t, "key pairs", func(t *testing.T, r *replay) {
		x := r.cloud(credentials())
		h, key := steps(x), provision.Step{ID: "keypair/web"}
		in, out := with("name", "failover-shop-run", "run", run, "public_key", r.plain["public_key"]), with("name", "failover-shop-run", "run", run)
		r.next(pairs, "none")
		if st, err := h[openstack.KeypairCreate].Check(t.Context(), key, in); err != nil || st.State != provision.Absent {
			t.Errorf("%+v %v", st, err)
		}
		r.next(keypair, "one of that name is there")
		fails(t, h[openstack.KeypairCreate].Do(t.Context(), key, in), provision.Final, "it is in conflict with what is there")
		fine(t, h[openstack.KeypairCreate].Do(t.Context(), key, in))
		h = steps(r.cloud(credentials())) // another process, which remembers nothing
		if st, err := h[openstack.KeypairCreate].Check(t.Context(), key, in); err != nil || st.State != provision.Done {
			t.Errorf("%+v %v", st, err)
		}
		if st, err := h[openstack.KeypairCreate].Check(t.Context(), key, with("name", "failover-shop-run", "run", run, "public_key", "ssh-ed25519 AAAA")); err != nil || st.State != provision.Failed {
			t.Errorf("%+v %v", st, err)
		}
		if st, err := h[openstack.KeypairDelete].Check(t.Context(), key, out); err != nil || st.State != provision.Absent {
			t.Errorf("%+v %v", st, err)
		}
		fine(t, h[openstack.KeypairDelete].Do(t.Context(), key, out))
		r.from(pairs, "none")
		if st, err := h[openstack.KeypairDelete].Check(t.Context(), key, out); err != nil || st.State != provision.Done {
			t.Errorf("%+v %v", st, err)
		}
	})
	client(t, "a server comes up", func(t *testing.T, r *replay) {
		h := steps(r.cloud(credentials()))[openstack.ServerCreate]
		r.next(list, "none")
		for _, tt := range []struct {
			answer string
			state  provision.State
			seen   string
		}{
			{"", provision.Absent, ""},
			{"one that is built", provision.Working, "BUILD (spawning)"},
			{"one that Rackspace is at work on", provision.Working, "rackconnect_automation_status is DEPLOYING"},
			{"one that Rackspace has done its work on", provision.Done, ""},
			{"one that is ACTIVE", provision.Done, ""},
		} {
			if tt.answer != "" {
				r.next(list, tt.answer)
			}
			st, err := h.Check(t.Context(), step, web)
			if err != nil || st.State != tt.state || !strings.Contains(st.Seen, tt.seen) {
				t.Errorf("%s: %+v %v", tt.answer, st, err)
			}
			if tt.answer == "" {
				fine(t, h.Do(t.Context(), step, web))
			}
			if tt.answer == "one that is ACTIVE" {
				for name, want := range map[string]string{"id": "4b963871-f591-4b7d-b05f-7c0286e3c50f", "ipv4": "192.0.2.87", "ipv6": "2001:db8:780e:510:7e32:e3ee:ff04:ddc8", "fixed": "10.180.19.16", "address": "192.0.2.87"} {
					if got := st.Out.Text(name); got != want {
						t.Errorf("%s is %q", name, got)
					}
				}
			}
			time.Sleep(2 * time.Second) // lists are held for one
		}
	})
	client(t, "with a key, on named networks, from a volume", func(t *testing.T, r *replay) {
		h := steps(r.cloud(credentials()))[openstack.ServerCreate]
		in := with("name", "n", "run", run, "service", "shop", "slot", "web-1", "image", "i", "flavor", "io1-30", "key", "failover-shop-run", "config_drive", true, "user_data", "x",
			"networks", []any{"00000000-0000-0000-0000-000000000000", "11111111-1111-1111-1111-111111111111"})
		fine(t, h.Do(t.Context(), step, in))
		in = with("name", "n", "run", run, "service", "shop", "slot", "web-1", "image", "i", "flavor", "compute1-15", "volume_gb", 100, "key", "failover-shop-run", "config_drive", true, "user_data", "x")
		fine(t, h.Do(t.Context(), step, in))
		if n := r.asked(volume, "accepted"); n != 1 {
			t.Errorf("%d from a volume", n)
		}
	})
	client(t, "refused", func(t *testing.T, r *replay) {
		h := steps(r.cloud(credentials()))[openstack.ServerCreate]
		for answer, says := range map[string]string{"over quota, as of 2014": "over quota", "over quota, as of 2015": "over quota", "any: over a limit of the account": "over the account's limit"} {
			r.next(create, answer)
			fails(t, h.Do(t.Context(), step, web), provision.Final, says)
		}
		r.next(create, "any: too many requests, in seconds")
		if e := fails(t, h.Do(t.Context(), step, web), provision.Transient, "too many requests"); e.After != time.Second {
			t.Errorf("again after %s", e.After)
		}
		r.next(create, "any: broken")
		fails(t, h.Do(t.Context(), step, web), provision.Unknown, "Fault!")
	})
	client(t, "readings are repeated", func(t *testing.T, r *replay) {
		for _, answer := range []string{"any: too many requests, with a date", "any: too many requests, in seconds", "any: the token has ended", "any: broken", "any: away"} {
			r.next(list, answer)
			h := steps(r.cloud(credentials()))[openstack.ServerCreate]
			if st, err := h.Check(t.Context(), step, web); err != nil || st.State != provision.Done {
				t.Errorf("%s: %+v %v", answer, st, err)
			}
		}
	})
	client(t, "in ERROR", func(t *testing.T, r *replay) {
		r.next(list, "one that failed")
		r.next(show, "one that failed")
		st, err := steps(r.cloud(credentials()))[openstack.ServerCreate].Check(t.Context(), step, web)
		if err != nil || st.State != provision.Failed || !strings.Contains(st.Seen, "Could not find image") {
			t.Errorf("%+v %v", st, err)
		}
	})
	client(t, "deleted", func(t *testing.T, r *replay) {
		in := with("id", "4b963871-f591-4b7d-b05f-7c0286e3c50f", "run", run, "slot", "web-1")
		for _, answer := range []string{"as the table says", "as the text says"} {
			r.from(list, "one that is ACTIVE")
			r.from(show, "one that is ACTIVE")
			r.next(remove, answer)
			h := steps(r.cloud(credentials()))[openstack.ServerDelete]
			if st, err := h.Check(t.Context(), step, in); err != nil || st.State != provision.Absent {
				t.Errorf("%+v %v", st, err)
			}
			fine(t, h.Do(t.Context(), step, in))
			r.from(list, "none")
			time.Sleep(2 * time.Second)
			if st, err := h.Check(t.Context(), step, in); err != nil || st.State != provision.Working {
				t.Errorf("%+v %v", st, err)
			}
			r.from(show, "none")
			if st, err := h.Check(t.Context(), step, in); err != nil || st.State != provision.Done {
				t.Errorf("%+v %v", st, err)
			}
		}
	})
}
