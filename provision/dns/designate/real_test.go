//go:build openstack

package designate_test

// See provision/openstack/real_test.go for the variables.

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/dns"
	"github.com/dripstat/failover/provision/dns/designate"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/gophercloud/gophercloud/v2"
	mdns "github.com/miekg/dns"
)

func dig(t *testing.T, server, name string) []string {
	t.Helper()
	m := new(mdns.Msg)
	m.SetQuestion(name, mdns.TypeA)
	r, err := mdns.Exchange(m, server)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, a := range r.Answer {
		out = append(out, fmt.Sprint(a.Header().Ttl, " ", a.(*mdns.A).A))
	}
	slices.Sort(out)
	return out
}

func TestRealZone(t *testing.T) {
	region, zone, server := os.Getenv("FAILOVER_TEST_REGION"), os.Getenv("FAILOVER_TEST_ZONE"), os.Getenv("FAILOVER_TEST_DNS")
	if region == "" || zone == "" {
		t.Skip("FAILOVER_TEST_REGION and _ZONE are not set")
	}
	ctx := t.Context()
	c, err := openstack.New("main", provision.OpenStack{}, region, openstack.Options{Avoid: []string{"IAD"}})
	if err != nil {
		t.Fatal(err)
	}
	sc, err := c.DNS(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The zone itself is not failover's to make: the test makes it where it is missing.
	if _, err := designate.New(sc, zone).NameServers(ctx); err != nil {
		t.Log(err)
		if _, err := sc.Post(ctx, sc.ServiceURL("zones"), map[string]any{"name": zone + ".", "email": "a@" + zone}, nil, &gophercloud.RequestOpts{OkCodes: []int{201, 202}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
	}
	z := designate.New(sc, zone)
	ns, err := z.NameServers(ctx)
	if err != nil || len(ns) == 0 {
		t.Fatal(ns, err)
	}
	t.Log(ns)
	name := fmt.Sprintf("t%d.%s.", time.Now().UnixNano(), zone)
	settle := func() {
		t.Helper()
		for t0 := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			st, err := z.Settled(ctx, name, "A")
			if err != nil || st.State == provision.Failed || time.Since(t0) > 20*time.Second {
				t.Fatalf("%+v %v", st, err)
			}
			if st.State == provision.Done {
				t.Logf("%v settled: %s", time.Since(t0).Round(time.Millisecond), st.Seen)
				return
			}
		}
	}
	set := func(values ...string) provision.RRset {
		return provision.RRset{Name: name, Type: "A", TTL: 60, Values: values}
	}
	change := func(old, next provision.RRset, want ...string) {
		t.Helper()
		t0 := time.Now()
		if err := z.Set(ctx, old, next); err != nil {
			t.Fatal(err)
		}
		t.Logf("%v sent", time.Since(t0).Round(time.Millisecond))
		got, err := z.Get(ctx, name, "A")
		if err != nil || !slices.Equal(got.Values, next.Values) || len(next.Values) > 0 && got.TTL != next.TTL {
			t.Fatalf("got %+v %v, want %+v", got, err, next)
		}
		if server == "" {
			return
		}
		for time.Since(t0) < 10*time.Second {
			if slices.Equal(dig(t, server, name), want) {
				t.Logf("%v served: %v", time.Since(t0).Round(time.Millisecond), want)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("served: %v, want %v", dig(t, server, name), want)
	}
	none := provision.RRset{Name: name, Type: "A"}
	if got, err := z.Get(ctx, name, "A"); err != nil || len(got.Values) != 0 {
		t.Fatal(got, err)
	}
	one, two := set("192.0.2.1"), set("192.0.2.2", "192.0.2.3")
	change(none, one, "60 192.0.2.1")
	change(one, two, "60 192.0.2.2", "60 192.0.2.3") // while it may still be PENDING
	settle()
	if err := z.Set(ctx, one, none); !errors.Is(err, dns.ErrChanged) {
		t.Fatal(err)
	}
	if err := z.Set(ctx, none, one); !errors.Is(err, dns.ErrChanged) {
		t.Fatal(err)
	}
	short := two
	short.TTL = 5
	change(two, short, "5 192.0.2.2", "5 192.0.2.3")
	settle()
	err = z.Set(ctx, short, set("not-an-address"))
	if err == nil || provision.ClassOf(err) != provision.Final {
		t.Error(err)
	}
	t.Log(err)
	change(short, none)
	settle()
	if _, err := designate.New(sc, "absent."+zone+".example").Get(ctx, name, "A"); err == nil || !strings.Contains(err.Error(), "no such zone") {
		t.Error(err)
	} else {
		t.Log(err, err.(*provision.Error).Hint)
	}
	if region == "ORD" {
		t.Logf("%d requests", c.Requests())
	}
}
