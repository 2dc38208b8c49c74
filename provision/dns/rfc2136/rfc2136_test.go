package rfc2136

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/dns"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

var _ dns.Zone = (*Zone)(nil)

const www = "www.shop.test."

func start(t *testing.T) *sandbox.Cloud {
	t.Helper()
	c, err := sandbox.Start(t.Context(), sandbox.Options{Zones: []sandbox.Zone{{Name: "shop.test.", Records: []sandbox.Record{
		{Name: www, Type: "A", TTL: 300, Values: []string{"203.0.113.10"}},
		{Name: "alias.shop.test.", Type: "CNAME", TTL: 300, Values: []string{"www.shop.test."}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func config(c *sandbox.Cloud) provision.RFC2136 {
	key, algo, secret := c.TSIG()
	return provision.RFC2136{Server: c.NameServer(), KeyName: key, Algorithm: algo, Secret: secrets.NewValue([]byte(secret))}
}

func open(t *testing.T, c provision.RFC2136) *Zone {
	t.Helper()
	z, err := New("shop.test", c)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func set(typ string, ttl int, values ...string) provision.RRset {
	return provision.RRset{Name: www, Type: typ, TTL: ttl, Values: values}
}

// Making, changing and removing a set, each in one message; the primary serves it at once.
func TestSet(t *testing.T) {
	z := open(t, config(start(t)))
	have := set("A", 300, "203.0.113.10")
	for _, next := range []provision.RRset{
		set("A", 60, "203.0.113.10"),                 // a lower TTL
		set("A", 60, "198.51.100.1", "198.51.100.2"), // other values, more of them
		set("A", 60, "198.51.100.1"),                 // fewer
		set("A", 0),                                  // none
		set("A", 120, "198.51.100.3"),                // there again
	} {
		if err := z.Set(t.Context(), have, next); err != nil {
			t.Fatalf("%v → %v: %v", have, next, err)
		}
		got, err := z.Get(t.Context(), www, "A")
		if d := cmp.Diff(next, got); len(next.Values) > 0 && d != "" || len(got.Values) != len(next.Values) || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
		have = next
	}
	// Another type of the same name is not touched by it.
	if err := z.Set(t.Context(), set("AAAA", 0), set("AAAA", 60, "2001:db8::1")); err != nil {
		t.Fatal(err)
	}
	if got, _ := z.Get(t.Context(), www, "A"); len(got.Values) != 1 {
		t.Errorf("A is %v", got)
	}
	if st, err := z.Settled(t.Context(), www, "A"); st.State != provision.Done || err != nil {
		t.Error(st, err)
	}
}

// What someone else changed in between is noticed by the server itself, and nothing is overwritten.
func TestPrerequisitesCatchAForeignChange(t *testing.T) {
	c := start(t)
	z, other := open(t, config(c)), open(t, config(c))
	old := set("A", 300, "203.0.113.10")
	if err := other.Set(t.Context(), old, set("A", 300, "192.0.2.66")); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ old, next provision.RRset }{
		"another value":            {old, set("A", 60, "198.51.100.1")},
		"a value less":             {set("A", 300, "192.0.2.66", "192.0.2.67"), set("A", 60, "198.51.100.1")},
		"there, though it was not": {set("A", 0), set("A", 60, "198.51.100.1")},
		"not there, though it was": {set("AAAA", 300, "2001:db8::1"), set("AAAA", 60, "2001:db8::2")},
	} {
		if err := z.Set(t.Context(), tt.old, tt.next); !errors.Is(err, dns.ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, _ := z.Get(t.Context(), www, "A"); !slices.Equal(got.Values, []string{"192.0.2.66"}) {
		t.Errorf("it was overwritten: %v", got)
	}
}

func TestRefusals(t *testing.T) {
	c := start(t)
	good := config(c)
	_, _, secret := c.TSIG()
	other := strings.Repeat("A", 43) + "="
	for _, tt := range []struct {
		name string
		edit func(r *provision.RFC2136)
		zone string
		err  string
	}{
		{"a wrong secret", func(r *provision.RFC2136) { r.Secret = secrets.NewValue([]byte(other)) }, "shop.test", ""},
		{"an unknown key", func(r *provision.RFC2136) { r.KeyName = "nobody" }, "shop.test", ""},
		{"no key", func(r *provision.RFC2136) { r.KeyName = "" }, "shop.test", "REFUSED"},
		{"a zone of someone else", func(*provision.RFC2136) {}, "other.test", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good
			tt.edit(&r)
			z, err := New(tt.zone, r)
			if err != nil {
				t.Fatal(err)
			}
			err = z.Set(t.Context(), set("A", 300, "203.0.113.10"), set("A", 60, "198.51.100.1"))
			if err == nil || errors.Is(err, dns.ErrChanged) || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error: %v", err)
			}
			if got := provision.ClassOf(err); got != provision.Final {
				t.Errorf("class %q: %v", got, err)
			}
			for _, s := range []string{secret, other} {
				if strings.Contains(err.Error(), s) {
					t.Errorf("the error quotes the secret: %v", err)
				}
			}
		})
	}
	if got, _ := open(t, good).Get(t.Context(), www, "A"); !slices.Equal(got.Values, []string{"203.0.113.10"}) {
		t.Errorf("a refused update changed it: %v", got)
	}
	if _, err := New("shop.test", provision.RFC2136{Server: "x", Algorithm: "hmac-md5"}); err == nil || !strings.Contains(err.Error(), "hmac-sha256") {
		t.Errorf("hmac-md5: %v", err)
	}
	bad := good
	bad.Secret = secrets.NewValue([]byte("%%" + secret))
	if _, err := New("shop.test", bad); err == nil || !strings.Contains(err.Error(), "not base64") || strings.Contains(err.Error(), secret) {
		t.Errorf("a secret that is not base64: %v", err)
	}
	if err := open(t, good).Set(t.Context(), set("A", 300, "203.0.113.10"), set("A", 60, "no address")); err == nil {
		t.Error("a value that is no address was sent")
	}
}

// A connection that was refused changed nothing; of a reply that never came nobody knows.
func TestClasses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := make(chan struct{})
	go func() {
		defer close(silent)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = c.Read(make([]byte, 512))
		_ = c.Close() // the update was read, the answer never sent
	}()
	z := open(t, provision.RFC2136{Server: ln.Addr().String(), KeyName: "k", Secret: secrets.NewValue([]byte("QUJD"))})
	began := time.Now()
	err = z.Set(t.Context(), set("A", 300, "203.0.113.10"), set("A", 60, "198.51.100.1"))
	if got := provision.ClassOf(err); got != provision.Unknown || time.Since(began) > 5*time.Second {
		t.Errorf("no answer: class %q, %v", got, err)
	}
	_ = ln.Close()
	<-silent
	err = z.Set(t.Context(), set("A", 300, "203.0.113.10"), set("A", 60, "198.51.100.1"))
	if got := provision.ClassOf(err); got != provision.Transient {
		t.Errorf("refused: class %q, %v", got, err)
	}
}

func TestNameServers(t *testing.T) {
	c := start(t)
	got, err := open(t, config(c)).NameServers(t.Context())
	if err != nil || len(got) == 0 || strings.HasSuffix(got[0], ".") {
		t.Errorf("%v, %v", got, err)
	}
	z, _ := New("other.test", config(c))
	if got, err := z.NameServers(t.Context()); err == nil {
		t.Errorf("a zone that is not there: %v", got)
	}
}
