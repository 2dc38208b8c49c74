//go:build etcd

// The store against real etcd members on loopback; needs Debian's etcd-server and no account:
//
//	go test -tags etcd ./provision/store/etcd/...

package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dripstat/failover/provision/store"
	"github.com/dripstat/failover/provision/store/etcd/etcdtest"
	"github.com/dripstat/failover/provision/store/storetest"
	"github.com/dripstat/failover/secrets"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := New(o)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	c := etcdtest.Start(t, 3, "http")
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) func() storetest.Store {
		prefix := fmt.Sprintf("test-%d", n.Add(1))
		return func() storetest.Store { return open(t, Options{Endpoints: c.Endpoints(), Prefix: prefix}) }
	})
}

// With a member gone, or its leader stalled, writes go on, and none is doubled.
func TestLosesAMember(t *testing.T) {
	c := etcdtest.Start(t, 3, "http")
	s := open(t, Options{Endpoints: c.Endpoints()})
	want := ""
	for i := range 60 {
		switch i {
		case 10:
			c.Members[0].Kill() // the one that is asked
		case 25:
			c.Restart(c.Members[0])
			c.Leader()
			time.Sleep(time.Second)
		case 30:
			c.Leader().Stop()
		}
		line := fmt.Sprintf("line %d\n", i)
		var err error
		for range 10 {
			if err = s.Append(t.Context(), "k", []byte(line)); !errors.Is(err, store.ErrAway) {
				break
			}
		}
		must(t, err)
		want += line
	}
	for _, m := range c.Members {
		m.Continue()
	}
	b, err := open(t, Options{Endpoints: c.Endpoints()}).Read(t.Context(), "k")
	if err != nil || string(b) != want {
		t.Errorf("%v\n%s", err, b)
	}
}

// Without a majority nothing is accepted, and the answer comes within the time limit.
func TestAwayIsToldInTime(t *testing.T) {
	c := etcdtest.Start(t, 3, "http")
	s := open(t, Options{Endpoints: c.Endpoints()})
	must(t, s.Append(t.Context(), "k", []byte("a\n")))
	c.Members[0].Stop()
	c.Members[1].Kill()
	began := time.Now()
	err := s.Append(t.Context(), "k", []byte("b\n"))
	if took := time.Since(began); !errors.Is(err, store.ErrAway) || took > requestTime+500*time.Millisecond {
		t.Fatalf("after %s: %v", took, err)
	}
	c.Members[0].Continue()
	c.Restart(c.Members[1])
	c.Leader()
	// It may have been carried out or not: the same again settles it, longer by what came meanwhile.
	for range 10 {
		if err = s.Append(t.Context(), "k", []byte("b\nc\n")); err == nil {
			break
		}
		time.Sleep(300 * time.Millisecond)
	}
	if b, _ := s.Read(t.Context(), "k"); err != nil || string(b) != "a\nb\nc\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestFence(t *testing.T) {
	c := etcdtest.Start(t, 1, "http")
	s, other := open(t, Options{Endpoints: c.Endpoints()}), open(t, Options{Endpoints: c.Endpoints()})
	ctx := t.Context()
	must(t, s.Swap(ctx, "lease", nil, []byte("alice 1")))
	s.Fence("lease", func(v []byte) bool { return strings.HasPrefix(string(v), "alice") })
	must(t, s.Append(ctx, "k", []byte("a\n")))
	must(t, s.Swap(ctx, "lease", []byte("alice 1"), []byte("alice 2"))) // a heartbeat
	must(t, s.Append(ctx, "k", []byte("b\n")))
	must(t, other.Swap(ctx, "lease", []byte("alice 2"), []byte("bob 1")))
	if err := s.Append(ctx, "k", []byte("c\n")); !errors.Is(err, store.ErrFenced) || !errors.Is(err, store.ErrChanged) {
		t.Errorf("an append behind the fence: %v", err)
	}
	if b, err := other.Read(ctx, "k"); string(b) != "a\nb\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// Users and their roles: wrong passwords are told as such, tokens that end are asked for again.
func TestUser(t *testing.T) {
	c := etcdtest.Start(t, 1, "http", "--auth-token-ttl", "1")
	api := func(path string, body any) {
		b, err := json.Marshal(body)
		must(t, err)
		resp, err := http.Post(c.Members[0].URL+path, "application/json", strings.NewReader(string(b)))
		must(t, err)
		defer resp.Body.Close()
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
			t.Fatalf("%s: %s", path, text)
		}
	}
	type m map[string]any
	api("/v3/auth/user/add", m{"name": "root", "password": "r"})
	api("/v3/auth/role/add", m{"name": "root"})
	api("/v3/auth/user/grant", m{"user": "root", "role": "root"})
	api("/v3/auth/user/add", m{"name": "failover", "password": "right"})
	api("/v3/auth/role/add", m{"name": "failover"})
	api("/v3/auth/role/grant", m{"name": "failover", "perm": m{"permType": "READWRITE", "key": []byte("failover/"), "range_end": []byte("failover0")}})
	api("/v3/auth/user/grant", m{"user": "failover", "role": "failover"})
	api("/v3/auth/enable", m{})

	if err := open(t, Options{Endpoints: c.Endpoints()}).Append(t.Context(), "k", []byte("x\n")); err == nil || errors.Is(err, store.ErrAway) {
		t.Errorf("without a name: %v", err)
	}
	wrong := open(t, Options{Endpoints: c.Endpoints(), Username: "failover", Password: secrets.NewValue([]byte("wrong"))})
	if err := wrong.Append(t.Context(), "k", []byte("x\n")); err == nil || errors.Is(err, store.ErrAway) || strings.Contains(err.Error(), "wrong\"") {
		t.Errorf("with a wrong password: %v", err)
	}
	s := open(t, Options{Endpoints: c.Endpoints(), Username: "failover", Password: secrets.NewValue([]byte("right"))})
	must(t, s.Append(t.Context(), "k", []byte("x\n")))
	time.Sleep(2500 * time.Millisecond)
	must(t, s.Append(t.Context(), "k", []byte("y\n")))
	must(t, s.Swap(t.Context(), "l", nil, []byte("z")))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ticks, err := s.Watch(ctx, "k")
	must(t, err)
	if _, ok := <-ticks; !ok {
		t.Error("the watch was refused")
	}
}
