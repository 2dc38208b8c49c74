package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
)

// fake is a keystone and a nova on one address, as far as these tests need them.
type fake struct {
	*httptest.Server
	mux    *http.ServeMux
	mu     sync.Mutex
	tokens atomic.Int64
	seen   []string
	hook   func(w http.ResponseWriter, r *http.Request) bool
}

func newFake(t *testing.T) *fake {
	f := &fake{mux: http.NewServeMux()}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.Method+" "+r.URL.Path)
		hook := f.hook
		f.mu.Unlock()
		if hook != nil && hook(w, r) {
			return
		}
		if r.URL.Path != "/id/v3/auth/tokens" && r.Header.Get("X-Auth-Token") != fmt.Sprint("t", f.tokens.Load()) {
			http.Error(w, `{"error": {"message": "The request you have made requires authentication."}}`, 401)
			return
		}
		f.mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	f.mux.HandleFunc("POST /id/v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Subject-Token", fmt.Sprint("t", f.tokens.Add(1)))
		w.WriteHeader(201)
		ep := func(region, path string) map[string]any {
			return map[string]any{"interface": "public", "region": region, "region_id": region, "url": f.URL + path}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{
			"expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "project": map[string]any{"id": "p1"},
			"catalog": []any{
				map[string]any{"type": "compute", "endpoints": []any{ep("ORD", "/compute/v2.1"), ep("IAD", "/iad/v2.1")}},
				map[string]any{"type": "network", "endpoints": []any{ep("ORD", "/net")}},
				map[string]any{"type": "dns", "endpoints": []any{ep("IAD", "/dns-iad"), ep("DFW", "/dns-dfw/v2")}},
			}}})
	})
	f.mux.HandleFunc("GET /compute/v2.1/{$}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"version": {"version": "2.93", "min_version": "2.1"}}`)
	})
	return f
}

func (f *fake) cloud(t *testing.T, urls ...string) *Cloud {
	t.Helper()
	if len(urls) == 0 {
		urls = []string{f.URL + "/id"}
	}
	c, err := New("main", provision.OpenStack{}, "ORD", Options{Timeout: 5 * time.Second, Avoid: []string{"IAD"},
		Env: env("OS_AUTH_URL", strings.Join(urls, ","), "OS_USERNAME", "u", "OS_PASSWORD", "hunter2", "OS_PROJECT_NAME", "p")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (f *fake) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.seen {
		if s == what {
			n++
		}
	}
	return n
}

func (f *fake) set(h func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = h
}

func TestConnect(t *testing.T) {
	f := newFake(t)
	c := f.cloud(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := c.Connect(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := c.Requests(); n != 1 || c.Writes() != 0 {
		t.Errorf("%d requests, %d writes: a login is one round trip, shared", n, c.Writes())
	}
	sc, err := c.DNS(t.Context())
	if err != nil || sc.ResourceBase != f.URL+"/dns-dfw/v2/" {
		t.Errorf("DNS must not come from the region to avoid: %+v %v", sc, err)
	}
	c.region = "ODR"
	var re *RegionError
	if err := c.Connect(t.Context()); !errors.As(err, &re) || !strings.Contains(err.Error(), `did you mean "ORD"?`) || !strings.Contains(err.Error(), "IAD, ORD") {
		t.Errorf("%v", err)
	}
}

// TestIdentityURLs: a URL that hangs is joined by the next after 3 s, one that refuses at once.
func TestIdentityURLs(t *testing.T) {
	f := newFake(t)
	gone := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-gone }))
	defer hung.Close()
	defer close(gone)
	for _, tt := range []struct {
		first  string
		atMost time.Duration
	}{{"http://127.0.0.1:1", time.Second}, {hung.URL, hedge + time.Second}} {
		t0 := time.Now()
		if err := f.cloud(t, tt.first, f.URL+"/id").Connect(t.Context()); err != nil || time.Since(t0) > tt.atMost {
			t.Errorf("%s: %v after %v", tt.first, err, time.Since(t0))
		}
	}
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, `{"error": {"message": "no hunter2, token: gAAAA"}}`, 401)
		return true
	})
	err := f.cloud(t).Connect(t.Context())
	if err == nil || provision.ClassOf(err) != provision.Final || strings.Contains(err.Error(), "gAAAA") || !strings.Contains(err.Error(), "keystone") {
		t.Errorf("%v", err)
	}
	if err := f.cloud(t, "http://127.0.0.1:1").Connect(t.Context()); provision.ClassOf(err) != provision.Transient {
		t.Errorf("%v", err)
	}
}

// TestReauthentication: a token that ends in mid-run is renewed once for all, and nothing is sent twice to effect.
func TestReauthentication(t *testing.T) {
	f := newFake(t)
	var made atomic.Int64
	f.mux.HandleFunc("POST /compute/v2.1/os-keypairs", func(w http.ResponseWriter, r *http.Request) {
		made.Add(1)
		w.WriteHeader(201)
		_, _ = io.WriteString(w, `{}`)
	})
	c := f.cloud(t)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, _ := c.session.known()
	s.pc.SetToken("expired")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := c.createKeypair(t.Context(), keypairArgs{Name: fmt.Sprint("k", i), PublicKey: "ssh-ed25519 AAAA"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 20 || f.tokens.Load() > 3 {
		t.Errorf("%d made, %d tokens", made.Load(), f.tokens.Load())
	}
}

// TestReadsRepeatWritesDoNot also shows the gate: after a 429 nobody speaks before its time.
func TestReadsRepeatWritesDoNot(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("GET /compute/v2.1/os-server-groups", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"server_groups": []}`) })
	f.mux.HandleFunc("POST /compute/v2.1/servers", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(202)
		_, _ = io.WriteString(w, `{"server": {"id": "s1"}}`)
	})
	c := f.cloud(t)
	if _, _, err := c.compute(t.Context(), mvTags); err != nil {
		t.Fatal(err)
	}
	var left atomic.Int64
	fail := func(n int64, method string, answer func(w http.ResponseWriter)) {
		left.Store(n)
		f.set(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != method || left.Add(-1) < 0 {
				return false
			}
			answer(w)
			return true
		})
	}
	code := func(n int, header ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			http.Error(w, `{"overLimit": {"message": "slow down", "code": 413}}`, n)
		}
	}
	cutOff := func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }
	for _, answer := range []func(http.ResponseWriter){code(500), code(502), cutOff, code(429, "Reply-After", "0")} {
		fail(2, "GET", answer)
		if _, err := c.listServerGroups(t.Context()); err != nil {
			t.Errorf("a read is repeated: %v", err)
		}
	}
	fail(99, "GET", code(500))
	if _, err := c.listServerGroups(t.Context()); provision.ClassOf(err) != provision.Transient {
		t.Errorf("%v", err)
	}

	a := serverArgs{Name: "a", Run: "R", Slot: "s", UserData: "secret"}
	for _, tt := range []struct {
		answer func(http.ResponseWriter)
		class  provision.Class
		after  time.Duration
	}{
		{code(500), provision.Unknown, 0}, {code(502), provision.Unknown, 0}, {cutOff, provision.Unknown, 0},
		{code(429, "Retry-After", "0.1"), provision.Transient, 100 * time.Millisecond}, {code(413, "Retry-After", "0.1"), provision.Transient, 100 * time.Millisecond},
		{code(413), provision.Final, 0}, {code(503), provision.Transient, 0}, {code(400), provision.Final, 0}, {code(409), provision.Final, 0},
	} {
		before := f.count("POST /compute/v2.1/servers")
		fail(1, "POST", tt.answer)
		err := c.createServer(t.Context(), a)
		if n := f.count("POST /compute/v2.1/servers") - before; n != 1 {
			t.Errorf("%v: sent %d times", err, n)
		}
		var pe *provision.Error
		if !errors.As(err, &pe) || pe.Class != tt.class || pe.After != tt.after {
			t.Errorf("%+v, want %s %v", pe, tt.class, tt.after)
		}
	}

	fail(1, "POST", code(429, "Retry-After", "1"))
	_ = c.createServer(t.Context(), a)
	t0 := time.Now()
	if _, err := c.listServerGroups(t.Context()); err != nil || time.Since(t0) < 800*time.Millisecond {
		t.Errorf("the gate held for %v: %v", time.Since(t0), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body) // the server sees that a client has gone only once it has read all
		<-r.Context().Done()
		return true
	})
	if err := c.createServer(ctx, a); provision.ClassOf(err) != provision.Unknown || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestOldCompute: what the cloud's microversion has not is done without.
func TestOldCompute(t *testing.T) {
	f := newFake(t)
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		switch v := r.Header.Get("X-OpenStack-Nova-API-Version"); {
		case r.URL.Path == "/compute/v2.1/":
			_, _ = io.WriteString(w, `{"version": {"version": "2.25"}}`)
		case v != "" && v > "2.25":
			http.Error(w, `{"computeFault": {"message": "Version is not supported"}}`, 406)
		default:
			return false
		}
		return true
	})
	var body map[string]map[string]any
	f.mux.HandleFunc("GET /compute/v2.1/flavors/detail", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"flavors": [{"id": "1", "name": "f", "vcpus": 2, "ram": 1024, "disk": 0}]}`)
	})
	f.mux.HandleFunc("GET /compute/v2.1/servers/detail", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("marker") == "" {
			_, _ = io.WriteString(w, `{"servers": [{"id": "x", "status": "ACTIVE", "metadata": {}}], "servers_links": [{"rel": "next", "href": "http://elsewhere/"}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"servers": [{"id": "y", "status": "ACTIVE", "metadata": {"failover_service": "svc", "failover_run": "R", "failover_slot": "s"},
			"addresses": {"net": [{"addr": "10.0.0.5", "OS-EXT-IPS:type": "fixed"}, {"addr": "203.0.113.5", "OS-EXT-IPS:type": "floating"}]}}]}`)
	})
	f.mux.HandleFunc("POST /compute/v2.1/servers", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&body)
		w.WriteHeader(202)
		_, _ = io.WriteString(w, `{"server": {"id": "z"}}`)
	})
	c := f.cloud(t)
	inv, err := c.Inventory(t.Context(), Query{Service: "svc"})
	if err != nil || len(inv.Flavors) != 1 || len(inv.Servers) != 1 || inv.Servers[0].ID != "y" {
		t.Errorf("%+v %v", inv, err)
	}
	if len(inv.Unread) == 0 || inv.Networks != nil || inv.Zones != nil {
		t.Errorf("what was refused is told: %v", inv.Unread)
	}
	a := serverArgs{Service: "svc", Run: "R", Slot: "s", Name: "n"}
	st, err := c.checkServer(t.Context(), a)
	if err != nil || st.State != provision.Done || st.Out.Text("address") != "203.0.113.5" || len(st.Out.List("addresses")) != 2 {
		t.Errorf("%+v %v", st, err)
	}
	if err := c.createServer(t.Context(), a); err != nil || body["server"]["tags"] != nil || body["server"]["networks"] != nil {
		t.Errorf("%v %v", body, err)
	}
	if m, _ := body["server"]["metadata"].(map[string]any); m["failover_run"] != "R" {
		t.Errorf("%v", body)
	}
}

func TestPick(t *testing.T) {
	c := &Cloud{gone: map[string]bool{"dead": true}}
	m := map[string]string{"failover_slot": "s"}
	list := []server{
		{ID: "young", Status: "ACTIVE", Created: "2026-01-02", Metadata: m}, {ID: "old", Status: "BUILD", Created: "2026-01-01", Metadata: m},
		{ID: "broken", Status: "ERROR", Created: "2025-01-01", Metadata: m}, {ID: "dead", Status: "ERROR", Metadata: m},
		{ID: "going", Status: "ACTIVE", Task: "deleting", Metadata: m}, {ID: "tagged", Status: "ACTIVE", Created: "2026-01-03", Tags: []string{"failover_slot=s"}},
		{ID: "other", Status: "ACTIVE", Metadata: map[string]string{"failover_slot": "t"}},
	}
	s, note, ok := c.pick(list, "s")
	if !ok || s.ID != "old" || !strings.Contains(note, "4 servers carry this slot") {
		t.Errorf("%s %q", s.ID, note)
	}
	if s, note, ok := c.pick(list, "t"); !ok || s.ID != "other" || note != "" {
		t.Error(s, note)
	}
	if _, _, ok := c.pick(list, "u"); ok {
		t.Error("found none")
	}
}

// TestCancelledBetweenReads: a read that is given up while it waits to be repeated gives an error and no answer. net/http writes a line to
// stderr where it gets both, in the middle of what a person reads.
func TestCancelledBetweenReads(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	tr, err := newTransport(settings{}, Options{RoundTripper: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked++
		time.AfterFunc(10*time.Millisecond, cancel)
		return &http.Response{StatusCode: 503, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://nova.test/servers", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if resp != nil {
		resp.Body.Close()
	}
	if resp != nil || !errors.Is(err, context.Canceled) || asked != 1 {
		t.Errorf("%v, %v after %d requests", resp, err, asked)
	}
}
