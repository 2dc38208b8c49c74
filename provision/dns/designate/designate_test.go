package designate

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/dns"
	"github.com/gophercloud/gophercloud/v2"
)

// api is designate with one zone and at most one record set.
type api struct {
	mu   sync.Mutex
	set  map[string]any
	sent []string
	code int // of the next write
	most int // values in a set; 0: not for our eyes
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent = append(a.sent, r.Method)
	reply := func(code int, v any) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch {
	case r.Method != http.MethodGet && a.code != 0:
		reply(a.code, map[string]any{"code": a.code, "type": "duplicate_recordset", "message": "Duplicate RecordSet"})
	case r.URL.Path == "/v2/zones":
		zones := []any{map[string]any{"id": "z1", "name": "example.com.", "ttl": 3600}}
		if n := r.URL.Query().Get("name"); n != "" && n != "example.com." {
			zones = nil
		}
		reply(200, map[string]any{"zones": zones})
	case r.URL.Path == "/v2/zones/z1/nameservers":
		reply(200, map[string]any{"nameservers": []any{map[string]any{"hostname": "ns1.example.net.", "priority": 1}}})
	case r.URL.Path == "/v2/quotas":
		if a.most == 0 {
			reply(403, map[string]any{"code": 403, "type": "forbidden", "message": "Forbidden"})
			return
		}
		reply(200, map[string]any{"zones": 10, "recordset_records": a.most})
	case r.Method == http.MethodGet:
		sets := []any{map[string]any{"id": "w", "name": "x.www.example.com.", "type": "A", "records": []string{"192.0.2.99"}}} // what a pattern would find
		if a.set != nil {
			sets = append(sets, a.set)
		}
		reply(200, map[string]any{"recordsets": sets})
	case r.Method == http.MethodDelete:
		a.set["action"], a.set["status"] = "DELETE", "PENDING"
		reply(202, a.set)
	default:
		var in map[string]any
		_ = json.NewDecoder(r.Body).Decode(&in)
		if a.set == nil || r.Method == http.MethodPost {
			a.set = map[string]any{"id": "r1"}
		}
		for k, v := range in {
			a.set[k] = v
		}
		a.set["status"], a.set["action"] = "PENDING", "UPDATE"
		reply(202, a.set)
	}
}

func TestZone(t *testing.T) {
	a := &api{}
	srv := httptest.NewServer(a)
	defer srv.Close()
	sc := &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{}, Endpoint: srv.URL + "/", ResourceBase: srv.URL + "/v2/", Type: "dns"}
	z := New(sc, "example.com")
	ctx := t.Context()
	if len(a.sent) != 0 {
		t.Error("New sent something")
	}
	set := func(ttl int, v ...string) provision.RRset {
		return provision.RRset{Name: "www.example.com.", Type: "A", TTL: ttl, Values: v}
	}
	state := func(want provision.State) {
		t.Helper()
		if st, err := z.Settled(ctx, "www.example.com.", "A"); err != nil || st.State != want {
			t.Errorf("%+v %v, want %s", st, err, want)
		}
	}
	if got, err := z.Get(ctx, "www.example.com.", "A"); err != nil || len(got.Values) != 0 {
		t.Error(got, err)
	}
	state(provision.Done)
	if err := z.Set(ctx, set(0), set(60, "192.0.2.2", "192.0.2.1")); err != nil {
		t.Error(err)
	}
	state(provision.Working)
	got, err := z.Get(ctx, "www.example.com.", "A")
	if err != nil || got.TTL != 60 || !slices.Equal(got.Values, []string{"192.0.2.1", "192.0.2.2"}) {
		t.Error(got, err)
	}
	for _, old := range []provision.RRset{set(0), set(61, "192.0.2.1", "192.0.2.2"), set(60, "192.0.2.1")} {
		if err := z.Set(ctx, old, set(60, "192.0.2.3")); !errors.Is(err, dns.ErrChanged) {
			t.Errorf("%v: %v", old, err)
		}
	}
	a.set["ttl"], a.set["status"] = nil, "ERROR"
	state(provision.Working)
	if got, _ = z.Get(ctx, "www.example.com.", "A"); got.TTL != 3600 {
		t.Errorf("a TTL of null is the zone's: %v", got)
	}
	a.sent = nil
	if err := z.Set(ctx, got, set(60, "192.0.2.3")); err != nil || strings.Join(a.sent, " ") != "PUT" {
		t.Error("a reading of a moment ago was not used", err, a.sent)
	}
	a.sent = nil // it counts once: what is compared next is read afresh
	if err := z.Set(ctx, set(60, "192.0.2.9"), set(60, "192.0.2.3")); !errors.Is(err, dns.ErrChanged) || strings.Join(a.sent, " ") != "GET" {
		t.Error(err, a.sent)
	}
	if err := z.Set(ctx, set(60, "192.0.2.3"), set(0)); err != nil {
		t.Error(err)
	}
	if got, _ = z.Get(ctx, "www.example.com.", "A"); len(got.Values) != 0 {
		t.Errorf("one that is being deleted: %v", got)
	}
	a.code = 409
	if err := z.Set(ctx, set(0), set(60, "192.0.2.3")); provision.ClassOf(err) != provision.Transient {
		t.Error(err)
	}
	a.set = nil
	if err := z.Set(ctx, set(0), set(60, "192.0.2.3")); !errors.Is(err, dns.ErrChanged) {
		t.Error(err)
	}
	for code, class := range map[int]provision.Class{400: provision.Final, 403: provision.Final, 429: provision.Transient, 500: provision.Unknown} {
		a.code = code
		if err := z.Set(ctx, set(0), set(60, "192.0.2.3")); provision.ClassOf(err) != class || !strings.Contains(err.Error(), "designate: Duplicate RecordSet") {
			t.Error(code, err)
		}
	}
	if ns, err := z.NameServers(ctx); err != nil || !slices.Equal(ns, []string{"ns1.example.net"}) {
		t.Error(ns, err)
	}
	if n, err := z.MostValues(ctx); err == nil {
		t.Error("a limit that may not be read is", n)
	}
	for most, want := range map[int]int{20: 20, -1: 0} {
		a.most = most
		if n, err := z.MostValues(ctx); n != want || err != nil {
			t.Error(most, n, err)
		}
	}
	_, err = New(sc, "example.org").Get(ctx, "www.example.org.", "A")
	var pe *provision.Error
	if !errors.As(err, &pe) || !strings.Contains(pe.Hint, "example.com") {
		t.Errorf("%v", err)
	}
}
