package clouddns_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/dns"
	"github.com/dripstat/failover/provision/dns/clouddns"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/rackspace"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

const www = "www.shop.test."

func open(t *testing.T, r sandbox.Rackspace, records ...sandbox.Record) (*sandbox.Cloud, dns.Zone) {
	t.Helper()
	box, err := sandbox.Start(t.Context(), sandbox.Options{Rackspace: &r, DNSDelay: 100 * time.Millisecond, Zones: []sandbox.Zone{{Name: "shop.test.", Records: records}, {Name: "other.test."}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	return box, zone(t, box)
}

// zone is the domain as a process of its own sees it.
func zone(t *testing.T, box *sandbox.Cloud) dns.Zone {
	t.Helper()
	c := rackspace.Credentials{URLs: []string{box.RackspaceURL()}, Username: box.Username(), APIKey: secrets.NewValue([]byte(box.APIKey()))}
	x, err := openstack.New("rax", provision.OpenStack{}, "ORD", openstack.Options{Legacy: true,
		Identity: &openstack.Identity{Name: "the identity service", URLs: c.URLs, Login: c.Login, Catalog: c.Catalog}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return dns.Late(func(ctx context.Context) (dns.Zone, error) {
		sc, err := x.CloudDNS(ctx)
		if err != nil {
			return nil, err
		}
		return clouddns.New(sc, "shop.test"), nil
	})
}

func set(ttl int, values ...string) provision.RRset {
	return provision.RRset{Name: www, Type: "A", TTL: ttl, Values: values}
}

func record(s provision.RRset) sandbox.Record {
	return sandbox.Record{Name: s.Name, Type: s.Type, TTL: s.TTL, Values: s.Values}
}

// Every way from one set to another, in every form of the service's answers.
func TestSet(t *testing.T) {
	one, two, three := []string{"192.0.2.1"}, []string{"192.0.2.1", "192.0.2.2"}, []string{"198.51.100.7", "198.51.100.8", "198.51.100.9"}
	for _, form := range []sandbox.Rackspace{{}, {Old: true, Offset: true}, {Quick: true}} {
		for _, tt := range []struct {
			from, to []string
			writes   []string
		}{
			{one, three[:1], []string{"PUT"}},
			{two, three[:2], []string{"PUT"}},
			{two, three, []string{"PUT", "POST"}},
			{three, one, []string{"PUT", "DELETE"}},
			{two, one, []string{"DELETE"}},
			{nil, two, []string{"POST"}},
			{two, nil, []string{"DELETE"}},
		} {
			t.Run(fmt.Sprintf("%+v/%d-%d", form, len(tt.from), len(tt.to)), func(t *testing.T) {
				t.Parallel()
				var records []sandbox.Record
				if len(tt.from) > 0 {
					records = append(records, record(set(600, tt.from...)))
				}
				records = append(records, sandbox.Record{Name: "other.shop.test.", Type: "A", TTL: 600, Values: one}, sandbox.Record{Name: www, Type: "TXT", TTL: 600, Values: []string{`"kept"`}})
				box, z := open(t, form, records...)
				old, err := z.Get(t.Context(), www, "A")
				if err != nil || !dns.Same(old.Values, tt.from) || len(tt.from) > 0 && old.TTL != 600 {
					t.Fatalf("read %+v, %v", old, err)
				}
				if err := z.Set(t.Context(), old, set(300, tt.to...)); err != nil {
					t.Fatal(err)
				}
				got, err := z.Get(t.Context(), www, "A")
				if err != nil || !dns.Same(got.Values, tt.to) || len(tt.to) > 0 && got.TTL != 300 && len(tt.writes) == 1 && tt.writes[0] != "DELETE" {
					t.Errorf("it is %+v now, %v", got, err)
				}
				var writes []string
				for _, r := range box.Requests() {
					if r.Service == "clouddns" && r.Method != http.MethodGet {
						writes = append(writes, r.Method)
					}
				}
				if !slices.Equal(writes, tt.writes) && !slices.Equal(writes, append([]string{"PUT"}, tt.writes...)) {
					t.Errorf("by %q", writes)
				}
				for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
					served, err := dns.Ask(t.Context(), box.NameServer(), www, "A")
					if err == nil && dns.Same(served.Values, tt.to) {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("the name server gives %+v, %v", served, err)
					}
				}
				if other, err := z.Get(t.Context(), "other.shop.test.", "A"); err != nil || !dns.Same(other.Values, one) {
					t.Errorf("another record is %+v now, %v", other, err)
				}
			})
		}
	}
}

// A set that is not what was read is left as it is.
func TestChanged(t *testing.T) {
	box, z := open(t, sandbox.Rackspace{}, record(set(300, "192.0.2.9")))
	for _, old := range []provision.RRset{set(300, "192.0.2.1"), set(300), set(300, "192.0.2.9", "192.0.2.10"), set(900, "192.0.2.9")} {
		if err := z.Set(t.Context(), old, set(600, "198.51.100.7")); !errors.Is(err, dns.ErrChanged) {
			t.Errorf("in the place of %v: %v", old.Values, err)
		}
	}
	if n := box.Writes(); n != 0 {
		t.Errorf("%d writes", n)
	}
	if err := z.Set(t.Context(), set(300, "192.0.2.9"), set(60, "198.51.100.7")); err == nil || !strings.Contains(err.Error(), "below the 300 s") {
		t.Errorf("a TTL of 60: %v", err)
	}
}

// What a process left halfway is ended by the next one; what somebody else left there is not touched.
func TestHalfway(t *testing.T) {
	old, next := set(300, "192.0.2.1", "192.0.2.2"), set(300, "198.51.100.7")
	for _, tt := range []struct {
		have []string
		ours bool
	}{
		{[]string{"198.51.100.7", "192.0.2.2"}, true},
		{[]string{"192.0.2.1"}, false},                             // somebody took a dead server out
		{[]string{"198.51.100.7", "203.0.113.66"}, false},          // somebody put another in
		{[]string{"192.0.2.1", "192.0.2.2", "198.51.100.7"}, true}, // added, not taken yet
	} {
		_, z := open(t, sandbox.Rackspace{}, record(set(300, tt.have...)))
		if _, err := z.Get(t.Context(), www, "A"); err != nil {
			t.Fatal(err)
		}
		if got := z.(dns.Stepwise).Halfway(old, next, set(300, tt.have...)); got != tt.ours {
			t.Errorf("%v: halfway %t", tt.have, got)
		}
		err := z.Set(t.Context(), old, next)
		got, gerr := z.Get(t.Context(), www, "A")
		if tt.ours && (err != nil || !dns.Same(got.Values, next.Values)) || !tt.ours && (!errors.Is(err, dns.ErrChanged) || !dns.Same(got.Values, tt.have)) || gerr != nil {
			t.Errorf("%v became %v: %v, %v", tt.have, got.Values, err, gerr)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		fault string
		says  string // of the first attempt; empty: it succeeds
	}{
		{"dns-job-error", "the job ended in ERROR"},
		{"dns-job-slow=1s", ""},
		{"empty-body=2", ""},
		{"rate-limit=3", ""},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			box, z := open(t, sandbox.Rackspace{}, record(set(300, "192.0.2.1")))
			f, err := sandbox.ParseFault(tt.fault)
			if err == nil {
				err = box.SetFault(f)
			}
			if err != nil {
				t.Fatal(err)
			}
			next := set(300, "198.51.100.7")
			err = z.Set(t.Context(), set(300, "192.0.2.1"), next)
			if tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%v", err)
			}
			for tries := 0; err != nil && provision.ClassOf(err) == provision.Transient && tries < 5; tries++ { // as the engine does
				time.Sleep(max(provision.AsError("", err).After, 50*time.Millisecond))
				err = z.Set(t.Context(), set(300, "192.0.2.1"), next)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := z.Get(t.Context(), www, "A"); err != nil || !dns.Same(got.Values, next.Values) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// A delete of several that ends in the middle is gone on with.
func TestDeleteHalf(t *testing.T) {
	box, z := open(t, sandbox.Rackspace{}, record(set(300, "192.0.2.1", "192.0.2.2", "192.0.2.3")))
	if err := box.SetFault(sandbox.Fault{Name: "dns-delete-half"}); err != nil {
		t.Fatal(err)
	}
	old, next := set(300, "192.0.2.1", "192.0.2.2", "192.0.2.3"), set(300, "198.51.100.7")
	if err := z.Set(t.Context(), old, next); provision.ClassOf(err) != provision.Transient || !strings.Contains(err.Error(), "One or more items") {
		t.Fatalf("%v", err)
	}
	if err := z.Set(t.Context(), old, next); err != nil {
		t.Fatal(err)
	}
	if got, err := z.Get(t.Context(), www, "A"); err != nil || !dns.Same(got.Values, next.Values) {
		t.Errorf("%+v, %v", got, err)
	}
}

// A set that is to go, of which half went, goes at the second attempt.
func TestDeleteHalfOfAll(t *testing.T) {
	box, z := open(t, sandbox.Rackspace{}, record(set(300, "192.0.2.1", "192.0.2.2")))
	if err := box.SetFault(sandbox.Fault{Name: "dns-delete-half"}); err != nil {
		t.Fatal(err)
	}
	old, next := set(300, "192.0.2.1", "192.0.2.2"), set(300)
	if err := z.Set(t.Context(), old, next); provision.ClassOf(err) != provision.Transient {
		t.Fatalf("%v", err)
	}
	have, err := z.Get(t.Context(), www, "A")
	if err != nil || len(have.Values) != 1 || !z.(dns.Stepwise).Halfway(old, next, have) {
		t.Fatalf("%+v, %v", have, err)
	}
	if z.(dns.Stepwise).Halfway(old, next, set(300, "192.0.2.1", "203.0.113.66")) {
		t.Error("what somebody else put there is to go as well")
	}
	if err := z.Set(t.Context(), old, next); err != nil {
		t.Fatal(err)
	}
	if got, err := z.Get(t.Context(), www, "A"); err != nil || len(got.Values) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUnknownDomain(t *testing.T) {
	box, err := sandbox.Start(t.Context(), sandbox.Options{Rackspace: &sandbox.Rackspace{}, Zones: []sandbox.Zone{{Name: "other.test."}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	if _, err := zone(t, box).Get(t.Context(), www, "A"); err == nil || provision.ClassOf(err) != provision.Final || !strings.Contains(err.Error(), "no such domain in this account") {
		t.Errorf("%v", err)
	}
}

// A change that was accepted is seen until it is done, by whoever looks; one of another name is nobody's to wait for.
func TestBusy(t *testing.T) {
	for _, old := range []bool{false, true} {
		box, z := open(t, sandbox.Rackspace{Old: old}, record(set(300, "192.0.2.1")))
		if err := box.SetFault(sandbox.Fault{Name: "dns-job-slow", Arg: "1s"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := z.Set(ctx, set(300, "192.0.2.1"), set(300, "198.51.100.7")); provision.ClassOf(err) != provision.Unknown {
			t.Fatalf("%v", err)
		}
		next := zone(t, box).(dns.Stepwise)
		if busy, err := next.Busy(t.Context(), www, "A"); err != nil || !strings.Contains(busy, "earlier change") {
			t.Errorf("%q, %v", busy, err)
		}
		if busy, err := next.Busy(t.Context(), "api."+www, "A"); err != nil || busy != "" {
			t.Errorf("%q, %v", busy, err)
		}
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			busy, err := next.Busy(t.Context(), www, "A")
			if err != nil || time.Now().After(end) {
				t.Fatalf("%q, %v", busy, err)
			}
			if busy == "" {
				break
			}
		}
		if got, err := next.Get(t.Context(), www, "A"); err != nil || !dns.Same(got.Values, []string{"198.51.100.7"}) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// A set that was moved by half is restored, and what somebody else put there stays.
func TestRestoreFromHalfway(t *testing.T) {
	old, moved := set(300, "192.0.2.1"), []string{"198.51.100.7", "198.51.100.8"}
	for _, tt := range []struct {
		have []string
		ours bool
	}{
		{[]string{"198.51.100.7"}, true},
		{[]string{"192.0.2.1", "198.51.100.8"}, true},
		{[]string{"203.0.113.66"}, false},
		{[]string{"198.51.100.7", "203.0.113.66"}, false},
	} {
		_, z := open(t, sandbox.Rackspace{}, record(set(300, tt.have...)))
		h := dns.Restore(dns.Zones{"public": z})
		s, in := provision.Step{ID: "restore"}, provision.Values{"zone": "public", "old": old, "ttl": 300, "values": moved}
		st, err := h.Check(t.Context(), s, in)
		if tt.ours && (err != nil || st.State != provision.Absent) || !tt.ours && (err == nil || !strings.Contains(err.Error(), "someone else")) {
			t.Errorf("%v: %+v, %v", tt.have, st, err)
		}
		err = h.Do(t.Context(), s, in)
		got, gerr := z.Get(t.Context(), www, "A")
		if tt.ours && (err != nil || !dns.Same(got.Values, old.Values)) || !tt.ours && (err == nil || !dns.Same(got.Values, tt.have)) || gerr != nil {
			t.Errorf("%v became %v: %v, %v", tt.have, got.Values, err, gerr)
		}
	}
}
