//go:build openstack

package openstack_test

// These tests want a cloud: OS_CLIENT_CONFIG_FILE and OS_CLOUD as usual, and FAILOVER_TEST_REGION, _IMAGE,
// _FLAVOR, _NETWORK; _TOOBIG names a flavor that no host can hold, _FLOATING an external network,
// _ZONE a DNS zone and _DNS the host:port of its name server. What is not set is skipped.

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
	"golang.org/x/crypto/ssh"
)

func setting(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv("FAILOVER_TEST_" + name)
	if v == "" {
		t.Skip("FAILOVER_TEST_" + name + " is not set")
	}
	return v
}

func cloud(t *testing.T) *openstack.Cloud {
	t.Helper()
	o := openstack.Options{UserAgent: "failover-test"}
	if testing.Verbose() && os.Getenv("FAILOVER_TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c, err := openstack.New("main", provision.OpenStack{}, setting(t, "REGION"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// rig performs steps as the engine would, and says how long each took.
type rig struct {
	*testing.T
	c *openstack.Cloud
	h map[provision.Kind]openstack.Handler
}

func (r rig) look(kind provision.Kind, in provision.Values) (provision.Status, error) {
	in["cloud"] = "main"
	return r.h[kind].Check(r.Context(), provision.Step{ID: provision.StepID(kind), Kind: kind}, in)
}

func (r rig) do(kind provision.Kind, in provision.Values) error {
	in["cloud"] = "main"
	return r.h[kind].Do(r.Context(), provision.Step{ID: provision.StepID(kind), Kind: kind}, in)
}

func (r rig) wait(kind provision.Kind, in provision.Values, want provision.State, within time.Duration) provision.Status {
	r.Helper()
	for t0, last := time.Now(), ""; ; {
		st, err := r.look(kind, in)
		if err != nil {
			r.Fatalf("%s: %v", kind, err)
		}
		if st.Seen != last {
			last = st.Seen
			r.Logf("%7.2fs %s %s: %s", time.Since(t0).Seconds(), kind, st.State, st.Seen)
		}
		if st.State == want {
			r.Logf("%7.2fs %s %s %v", time.Since(t0).Seconds(), kind, st.State, st.Out)
			return st
		}
		if st.State != provision.Working || time.Since(t0) > within {
			r.Fatalf("%s: %s (%s), wanted %s", kind, st.State, st.Seen, want)
		}
		time.Sleep(max(st.Again, 10*time.Millisecond))
	}
}

// step runs one: absent, do, done; then again, done at once.
func (r rig) step(kind provision.Kind, in provision.Values) provision.Values {
	r.Helper()
	if st, err := r.look(kind, in); err != nil || st.State != provision.Absent {
		r.Fatalf("%s before: %+v %v", kind, st, err)
	}
	t0 := time.Now()
	if err := r.do(kind, in); err != nil {
		r.Fatalf("%s: %v", kind, err)
	}
	r.Logf("%7.2fs %s sent", time.Since(t0).Seconds(), kind)
	return r.wait(kind, in, provision.Done, 3*time.Minute).Out
}

func publicKey(t *testing.T) string {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

func TestRealInventory(t *testing.T) {
	c := cloud(t)
	q := openstack.Query{Service: "test", Servers: []provision.Server{
		{Name: "byname", Image: provision.ImageWant{Name: setting(t, "IMAGE")}},
		{Name: "bypattern", Image: provision.ImageWant{Pattern: setting(t, "IMAGE")[:2] + "*"}},
		{Name: "none", Image: provision.ImageWant{Name: "no-such-image"}},
	}}
	t0 := time.Now()
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("connect %v", time.Since(t0))
	t0 = time.Now()
	inv, err := c.Inventory(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("inventory %v, %d requests", time.Since(t0), c.Requests())
	t.Logf("%+v", inv)
	if len(inv.Unread) > 0 {
		t.Errorf("unread: %v", inv.Unread)
	}
	if len(inv.Images["byname"]) == 0 || len(inv.Images["bypattern"]) == 0 || len(inv.Images["none"]) != 0 {
		t.Errorf("images: %v", inv.Images)
	}
	if len(inv.Flavors) == 0 || len(inv.Zones) == 0 || len(inv.Networks) == 0 || len(inv.SecurityGroups) == 0 || len(inv.Regions) == 0 || !inv.Local.IsValid() {
		t.Error("something is missing")
	}
	for _, k := range []string{"instances", "cores", "ram", "server_groups", "floatingip", "security_group", "keypairs"} {
		if inv.Quotas[k].Limit == 0 {
			t.Errorf("quota %s: %v", k, inv.Quotas[k])
		}
	}
	byID, err := c.Inventory(t.Context(), openstack.Query{Servers: []provision.Server{{Name: "x", Image: provision.ImageWant{Name: inv.Images["byname"][0].ID}}}})
	if err != nil || len(byID.Images["x"]) != 1 {
		t.Errorf("by id: %v %v", byID.Images, err)
	}
}

func TestRealRegion(t *testing.T) {
	setting(t, "REGION")
	c, err := openstack.New("main", provision.OpenStack{}, "NOPE", openstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Connect(t.Context())
	var re *openstack.RegionError
	if !errors.As(err, &re) || !slices.Contains(re.Valid, setting(t, "REGION")) {
		t.Fatalf("%v", err)
	}
	t.Log(err)
}

func TestRealSteps(t *testing.T) {
	c := cloud(t)
	r := rig{t, c, openstack.Handlers(openstack.Clouds{"main": c}, nil)}
	inv, err := c.Inventory(t.Context(), openstack.Query{Service: "test", Servers: []provision.Server{{Name: "s", Image: provision.ImageWant{Name: setting(t, "IMAGE")}}}})
	if err != nil {
		t.Fatal(err)
	}
	run := fmt.Sprintf("01TEST%020d", time.Now().UnixNano())
	flavor := func(name string) string {
		for _, f := range inv.Flavors {
			if f.Name == name {
				return f.ID
			}
		}
		t.Fatalf("no flavor %s", name)
		return ""
	}
	network := ""
	for _, n := range inv.Networks {
		if n.Name == setting(t, "NETWORK") {
			network = n.ID
		}
	}
	undo := func(kind provision.Kind, in provision.Values) {
		if st, err := r.look(kind, in); err != nil || st.State == provision.Failed {
			t.Errorf("%s: %v %v", kind, st, err)
		} else if st.State == provision.Absent {
			if err := r.do(kind, in); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		r.wait(kind, in, provision.Done, time.Minute)
	}

	key := r.step("keypair.create", provision.Values{"name": "failover-" + run, "public_key": publicKey(t)})
	defer undo("keypair.delete", provision.Values{"name": key["name"]})
	rules := []any{
		map[string]any{"protocol": "tcp", "port_min": 443, "port_max": 443, "cidr": "any"},
		map[string]any{"protocol": "tcp", "port_min": 22, "port_max": 22, "cidr": "192.0.2.7/32"},
		map[string]any{"protocol": "icmp", "port_min": 0, "port_max": 0, "cidr": "any"},
	}
	groupIn := provision.Values{"name": "failover-" + run, "description": "test", "rules": rules, "run": run, "slot": ""}
	group := r.step("group.create", groupIn)
	defer undo("group.delete", provision.Values{"id": group["id"]})
	time.Sleep(3100 * time.Millisecond) // past what is remembered: the cloud must say the same
	if got := r.wait("group.create", groupIn, provision.Done, 0); got.Out["id"] != group["id"] {
		t.Errorf("group found again: %v", got)
	}
	r.step("group.close", provision.Values{"group": group["id"], "port": 22})
	sg := r.step("servergroup.create", provision.Values{"name": "failover-" + run, "policy": "anti-affinity"})
	defer undo("servergroup.delete", provision.Values{"id": sg["id"]})

	in := provision.Values{"name": "test-1", "service": "test", "run": run, "slot": "test-1", "image": inv.Images["s"][0].ID,
		"flavor": flavor(setting(t, "FLAVOR")), "flavor_name": setting(t, "FLAVOR"), "volume_gb": 0, "volume_type": "", "zone": os.Getenv("FAILOVER_TEST_AZ"),
		"networks": []any{network}, "key": key["name"], "groups": []any{group["name"]}, "servergroup": sg["id"],
		"user_data": "#cloud-config\n{}\n", "config_drive": true, "metadata": map[string]any{"who": "test"}, "want_floating": false}
	srv := r.step("server.create", in)
	del := provision.Values{"id": srv["id"], "run": run}
	defer undo("server.delete", del)

	// Another process finds it by its tags.
	c2 := cloud(t)
	r2 := rig{t, c2, openstack.Handlers(openstack.Clouds{"main": c2}, nil)}
	if st := r2.wait("server.create", in, provision.Done, 0); st.Out["id"] != srv["id"] {
		t.Errorf("found again: %v", st.Out)
	}
	inv2, err := c2.Inventory(t.Context(), openstack.Query{Service: "test"})
	if err != nil || !slices.ContainsFunc(inv2.Servers, func(l provision.Live) bool { return l.ID == srv["id"] && string(l.Run) == run && l.Slot == "test-1" }) {
		t.Errorf("inventory: %v %v", inv2.Servers, err)
	}
	if err := r2.do("server.delete", provision.Values{"id": srv["id"], "run": "01OTHER"}); err == nil {
		t.Error("deleted a server of another run")
	} else {
		t.Log(err)
	}

	st, err := r.look("console.hostkeys", provision.Values{"server": srv["id"]})
	t.Logf("console: %+v %v", st, err)
	if err != nil {
		t.Error(err)
	}

	if net := os.Getenv("FAILOVER_TEST_FLOATING"); net != "" {
		for _, n := range inv.Networks {
			if n.Name == net {
				ip := r.step("floatingip.create", provision.Values{"server": srv["id"], "network": n.ID, "run": run, "slot": "test-1"})
				undo("floatingip.delete", provision.Values{"id": ip["id"]})
			}
		}
	}

	if big := os.Getenv("FAILOVER_TEST_TOOBIG"); big != "" {
		in := mapsWith(in, provision.Values{"slot": "test-2", "name": "test-2", "flavor": flavor(big), "flavor_name": big, "servergroup": ""})
		if st, err := r.look("server.create", in); err != nil || st.State != provision.Absent {
			t.Errorf("before: %v %v", st, err)
		}
		if err := r.do("server.create", in); err != nil {
			t.Fatal(err)
		}
		st := r.wait("server.create", in, provision.Failed, time.Minute)
		if !strings.Contains(st.Seen, "No valid host") {
			t.Errorf("seen %q", st.Seen)
		}
		undo("server.delete", provision.Values{"id": st.Out["id"], "run": run})
		if st, err := r.look("server.create", in); err != nil || st.State != provision.Absent {
			t.Errorf("after it was cleared away: %+v %v", st, err)
		}
	}
	t.Logf("%d requests, %d of them writes", c.Requests(), c.Writes())
}

func mapsWith(a, b provision.Values) provision.Values {
	out := provision.Values{}
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		out[k] = v
	}
	return out
}

// TestRealRefusals: what the cloud says is told, and classed.
func TestRealRefusals(t *testing.T) {
	c := cloud(t)
	r := rig{t, c, openstack.Handlers(openstack.Clouds{"main": c}, nil)}
	in := provision.Values{"name": "bad", "service": "test", "run": "01BAD", "slot": "bad-1", "image": "0000", "flavor": "no-such", "flavor_name": "",
		"volume_gb": 0, "volume_type": "", "zone": "", "networks": []any{}, "key": "", "groups": []any{}, "servergroup": "",
		"user_data": strings.Repeat("SECRET", 12000), "config_drive": false, "metadata": map[string]any{}, "want_floating": false}
	err := r.do("server.create", in)
	if err == nil || provision.ClassOf(err) != provision.Final || strings.Contains(err.Error(), "U0VDUkVU") {
		t.Errorf("%v", err)
	}
	t.Log(err)
	in["user_data"] = ""
	if err = r.do("server.create", in); err == nil || provision.ClassOf(err) != provision.Final {
		t.Errorf("%v", err)
	}
	t.Log(err)
	c2, err := openstack.New("main", provision.OpenStack{Project: "nope"}, setting(t, "REGION"), openstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = c2.Connect(ctx)
	if err == nil || provision.ClassOf(err) != provision.Final {
		t.Errorf("%v", err)
	}
	t.Log(err)
}
