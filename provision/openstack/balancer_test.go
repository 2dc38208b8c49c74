package openstack_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

// boxed is a cloud of the sandbox, and a certificate for it to end TLS with.
func boxed(t *testing.T, faults ...string) (*sandbox.Cloud, *openstack.Cloud, *secrets.Certificate, *x509.CertPool) {
	t.Helper()
	o := sandbox.Options{Boot: 100 * time.Millisecond, BalancerFlavors: []string{"large"}}
	for _, f := range faults {
		x, err := sandbox.ParseFault(f)
		if err != nil {
			t.Fatal(err)
		}
		o.Faults = append(o.Faults, x)
	}
	box, err := sandbox.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	c, err := openstack.New("main", provision.OpenStack{Entry: "sandbox"}, "ORD", openstack.Options{CloudsYAML: box.CloudsYAML("sandbox")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cert, pool := made(t)
	return box, c, cert, pool
}

// made gives a certificate of a new authority's.
func made(t *testing.T) (*secrets.Certificate, *x509.CertPool) {
	t.Helper()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.Issue("www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := secrets.ParseCertificate(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, ca.Pool()
}

// balancerIn are the arguments of balancer.create that a plan gives.
func balancerIn(run, network string) provision.Values {
	return provision.Values{"name": balancerName(run), "service": "test", "run": run, "slot": "edge-vip", "network": network, "subnet": "", "provider": "", "flavor": ""}
}

func balancerName(run string) string { return strings.ToLower("failover-test-" + run + "-edge-vip") }

// lbPart is one part of a load balancer, as a plan asks for it; of names the output that a later part needs.
type lbPart struct {
	kind provision.Kind
	of   string
	with provision.Values
}

// partsIn are the parts of a load balancer, in the order of their making.
func partsIn(container string) []lbPart {
	return []lbPart{
		{"pool.create", "pool", provision.Values{"algorithm": "least_connections", "member_protocol": "http"}},
		{"healthmonitor.create", "", provision.Values{"member_protocol": "http", "health": map[string]any{"path": "/health", "status": 200, "interval": 5, "timeout": 3, "rise": 2, "fall": 3, "host": "www.example.com"}}},
		{"listener.create", "listener", provision.Values{"listen": 443, "containers": []any{container}, "connection_limit": 100, "allowed_cidrs": []any{"0.0.0.0/0"}, "tls_versions": []any{"1.2", "1.3"}, "ecdsa": true}},
		{"listener.create", "plain", provision.Values{"listen": 80, "allowed_cidrs": []any{"0.0.0.0/0"}}},
		{"l7policy.create", "policy", provision.Values{"position": 1, "to": "https://www.example.com"}},
		{"l7rule.create", "", provision.Values{"compare": "EQUAL_TO", "value": "www.example.com"}},
	}
}

// parts makes, or finds, what is in a load balancer, and gives the ids.
func (p performer) parts(run, balancer, container string) map[string]string {
	p.Helper()
	ids := map[string]string{}
	for i, part := range partsIn(container) {
		in := part.with
		maps.Copy(in, provision.Values{"balancer": balancer, "name": balancerName(run) + "-" + strconv.Itoa(i), "service": "test", "run": run, "slot": "edge-vip", "again": false})
		switch part.kind {
		case "healthmonitor.create":
			in["pool"] = ids["pool"]
		case "listener.create":
			if part.of == "listener" {
				in["pool"] = ids["pool"]
			}
		case "l7policy.create":
			in["listener"] = ids["plain"]
		case "l7rule.create":
			in["policy"] = ids["policy"]
		}
		ids[part.of] = p.until(part.kind, in, provision.Done).Out.Text("id")
	}
	return ids
}

// renews brings another container to a listener, and removes the former one; it gives the arguments of the update.
func (p performer) renews(store provision.Values, kept provision.Status, balancer, listener string) provision.Values {
	p.Helper()
	next := maps.Clone(store)
	next["name"] = store.Text("name") + ".0123456789abcdef"
	to := p.until("certificate.store", next, provision.Done).Out.Text("container")
	update := provision.Values{"balancer": balancer, "listener": listener, "order": []any{"edge"}, "container edge": to, "ecdsa": true}
	if st, err := p.look("listener.update", update); err != nil || st.State != provision.Absent {
		p.Errorf("before it was sent: %+v %v", st, err)
	}
	p.until("listener.update", update, provision.Done)
	p.until("certificate.remove", provision.Values{"id": kept.Out["id"], "name": store["name"], "keep": next["name"], "run": store["run"], "slot": "edge-vip"}, provision.Done)
	if st, err := p.look("certificate.store", next); err != nil || st.State != provision.Done {
		p.Errorf("the new container: %+v %v", st, err)
	}
	return update
}

// performer is what a cloud's steps are performed with: cmd's engine, as far as one step goes.
type performer struct {
	*testing.T
	h      map[provision.Kind]openstack.Handler
	within time.Duration
}

func (p performer) look(kind provision.Kind, in provision.Values) (provision.Status, error) {
	in["cloud"] = "main"
	return p.h[kind].Check(p.Context(), provision.Step{ID: provision.StepID(kind), Kind: kind}, in)
}

func (p performer) do(kind provision.Kind, in provision.Values) error {
	in["cloud"] = "main"
	return p.h[kind].Do(p.Context(), provision.Step{ID: provision.StepID(kind), Kind: kind}, in)
}

// until looks until a state is seen, sending where nothing is there yet.
func (p performer) until(kind provision.Kind, in provision.Values, want provision.State) provision.Status {
	p.Helper()
	began, sent := time.Now(), time.Time{}
	for {
		st, err := p.look(kind, in)
		if err != nil {
			p.Fatalf("%s: %v", kind, err)
		}
		if st.State == want {
			return st
		}
		if time.Since(began) > p.within || st.State == provision.Failed {
			p.Fatalf("%s: %s (%s), wanted %s", kind, st.State, st.Seen, want)
		}
		if st.State == provision.Absent && time.Since(sent) > time.Second {
			sent = time.Now()
			if err := p.do(kind, in); err != nil && provision.ClassOf(err) == provision.Final {
				p.Fatalf("%s: %v", kind, err)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// conformsBalancing is what is assumed of octavia and barbican, whoever they are: on the sandbox here, on a real one under
// the tag openstack. It gives the load balancer's address while it is there.
func conformsBalancing(t *testing.T, c, other *openstack.Cloud, cert *secrets.Certificate, network string, within time.Duration, serves func(address string)) {
	keys := func(string) *secrets.Certificate { return cert }
	p := performer{t, openstack.Handlers(openstack.Clouds{"main": c}, keys), within}
	run := strings.ToUpper("01" + time.Now().Format("150405.000000000")[:10] + "TESTTESTTESTTE")
	run = strings.ReplaceAll(run, ".", "0")
	store := provision.Values{"certificate": "edge", "fingerprint": cert.Fingerprint(), "name": strings.ToLower("failover-test-" + run + "-edge-vip.edge"), "run": run, "slot": "edge-vip"}
	kept := p.until("certificate.store", store, provision.Done)
	in := balancerIn(run, network)
	lb := p.until("balancer.create", in, provision.Done)
	if lb.Out.Text("address") == "" || lb.Out.Text("port") == "" {
		t.Errorf("outputs: %v", lb.Out)
	}
	ids := p.parts(run, lb.Out.Text("id"), kept.Out.Text("container"))
	// Another process finds both by their names, and makes nothing.
	q := performer{t, openstack.Handlers(openstack.Clouds{"main": other}, keys), within}
	before := other.Writes()
	if got := q.until("balancer.create", in, provision.Done); got.Out["id"] != lb.Out["id"] {
		t.Errorf("found again: %v", got.Out)
	}
	if got := q.until("certificate.store", store, provision.Done); got.Out["container"] != kept.Out["container"] {
		t.Errorf("found again: %v", got.Out)
	}
	if got := q.parts(run, lb.Out.Text("id"), kept.Out.Text("container")); !maps.Equal(got, ids) {
		t.Errorf("found again: %v, made: %v", got, ids)
	}
	if n := other.Writes() - before; n != 0 {
		t.Errorf("%d requests to change something", n)
	}
	inv, err := other.Inventory(t.Context(), openstack.Query{Service: "test", Balancers: []provision.Balancer{{Name: "edge", Flavors: []string{"large"}}}})
	if err != nil || inv.Balancing == nil || len(inv.Balancing.Balancers) != 1 || string(inv.Balancing.Balancers[0].Run) != run || len(inv.Containers) != 1 {
		t.Errorf("inventory: %+v %+v %+v %v", inv.Balancing, inv.Containers, inv.Unread, err)
	}
	for _, name := range []string{"load_balancers", "listeners", "pools"} {
		if q, ok := inv.Quotas[name]; !ok || q.Used < 1 {
			t.Errorf("quota of %s: %+v", name, q)
		}
	}
	join := provision.Values{"balancer": lb.Out["id"], "pool": ids["pool"], "member_port": 8080, "subnets": map[string]any{}, "members web": []any{"192.0.2.11", "192.0.2.12"}}
	p.until("balancer.join", join, provision.Done)
	join["members web"] = []any{"192.0.2.12", "192.0.2.13"}
	if got := p.until("balancer.join", join, provision.Done); strings.Join(got.Out.List("members"), " ") != "192.0.2.12 192.0.2.13" {
		t.Errorf("members: %v", got.Out)
	}
	serves(lb.Out.Text("address"))
	renewed := p.renews(store, kept, lb.Out.Text("id"), ids["listener"])
	before = other.Writes()
	if q.until("listener.update", renewed, provision.Done); other.Writes() != before {
		t.Error("found again, it was changed")
	}

	// A container that is not there is refused, and told of.
	bad := provision.Values{"balancer": lb.Out["id"], "name": balancerName(run) + "-bad", "service": "test", "run": run, "slot": "edge-vip", "again": false, "pool": ids["pool"], "listen": 8443,
		"containers": []any{kept.Out.Text("container")[:len(kept.Out.Text("container"))-12] + "000000000000"}}
	err = p.do("listener.create", bad)
	if e := provision.AsError("", err); err == nil || e.Class != provision.Final || !strings.Contains(e.Said, "Could not retrieve certificate") || !strings.Contains(e.Hint, "docs/load-balancer.md") {
		t.Errorf("without its certificate: %v", err)
	}
	gone := provision.Values{"id": lb.Out["id"], "name": in["name"], "run": run, "slot": "edge-vip"}
	others := provision.Values{"id": lb.Out["id"], "name": "failover-test-other-edge-vip", "run": "01OTHER", "slot": "edge-vip"}
	if err := p.do("balancer.delete", others); err == nil {
		t.Error("the load balancer of another run was deleted")
	}
	p.until("balancer.delete", gone, provision.Done)
	if st, err := p.look("balancer.create", in); err != nil || st.State != provision.Absent {
		t.Errorf("after it was deleted: %+v %v", st, err)
	}
	p.until("certificate.remove", provision.Values{"id": kept.Out["id"], "name": store["name"], "run": run, "slot": "edge-vip"}, provision.Done)
}

func TestSandboxBalancing(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]string{"calm": nil, "busy": {"balancer-busy=3"}, "lost": {"balancer-reply-lost", "store-reply-lost", "part-reply-lost=6"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box, c, cert, roots := boxed(t, faults...)
			other, err := openstack.New("main", provision.OpenStack{Entry: "sandbox"}, "ORD", openstack.Options{CloudsYAML: box.CloudsYAML("sandbox")})
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			_, _, networks := box.Offers("ORD")
			conformsBalancing(t, c, other, cert, networks["public"], 20*time.Second, func(address string) {
				// It ends TLS as it should, and has nobody to hand the request to: no server is behind those addresses.
				client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
					DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
						_, port, _ := net.SplitHostPort(addr)
						return box.Dial(ctx, network, net.JoinHostPort(address, port))
					}}}
				res, err := client.Get("https://www.example.com/")
				if err != nil {
					t.Error(err)
					return
				}
				defer res.Body.Close()
				if _, _ = io.Copy(io.Discard, res.Body); res.StatusCode != 503 || res.TLS.PeerCertificates[0].DNSNames[0] != "www.example.com" {
					t.Errorf("%d with %v", res.StatusCode, res.TLS.PeerCertificates[0].DNSNames)
				}
			})
			if s := box.Snapshot(); len(s.Balancers)+len(s.KeyManager)+len(s.Ports) != 0 {
				t.Errorf("left: %+v %+v %+v", s.Balancers, s.KeyManager, s.Ports)
			}
		})
	}
}

// What octavia and barbican refuse is told in words that help.
func TestSandboxBalancingRefusals(t *testing.T) {
	t.Parallel()
	box, c, cert, _ := boxed(t)
	_, _, networks := box.Offers("ORD")
	h := openstack.Handlers(openstack.Clouds{"main": c}, func(string) *secrets.Certificate { return cert })
	p := performer{t, h, 10 * time.Second}
	p.until("certificate.store", provision.Values{"certificate": "edge", "fingerprint": cert.Fingerprint(), "name": "failover-x", "run": "01", "slot": "edge-vip"}, provision.Done)
	for name, change := range map[string]provision.Values{
		"Provider 'ovn' is not enabled.": {"provider": "ovn"},
		"Network none not found.":        {"network": "none"},
		"Invalid flavor_id.":             {"flavor": "none"},
	} {
		in := balancerIn("01TEST", networks["public"])
		for k, v := range change {
			in[k] = v
		}
		if err := p.do("balancer.create", in); err == nil || provision.ClassOf(err) != provision.Final || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v", change, err)
		}
	}
	lb := p.until("balancer.create", balancerIn("01AGAIN", networks["public"]), provision.Done)
	in := provision.Values{"balancer": lb.Out["id"], "name": "x", "service": "test", "run": "01AGAIN", "slot": "edge-vip", "again": false, "listen": 443, "containers": []any{""}}
	if err := p.do("listener.create", in); err == nil || provision.ClassOf(err) != provision.Final || !strings.Contains(err.Error(), "An SNI or default certificate con") {
		t.Errorf("without a certificate: %v", err)
	}
	wrong := provision.Values{"certificate": "edge", "fingerprint": "other", "name": "failover-y", "run": "01", "slot": "edge-vip"}
	if err := p.do("certificate.store", wrong); err == nil || !strings.Contains(err.Error(), "no longer in memory") {
		t.Errorf("a certificate that is not the judged one: %v", err)
	}
}

// A part that goes into ERROR fails its step; with again it is taken away and made anew, once.
func TestSandboxBalancingPartInError(t *testing.T) {
	t.Parallel()
	box, c, _, _ := boxed(t, "part-error=2")
	p := performer{t, openstack.Handlers(openstack.Clouds{"main": c}, nil), 20 * time.Second}
	_, _, networks := box.Offers("ORD")
	lb := p.until("balancer.create", balancerIn("01ERROR", networks["public"]), provision.Done)
	in := provision.Values{"balancer": lb.Out["id"], "name": "x", "service": "test", "run": "01ERROR", "slot": "edge-vip", "again": false, "algorithm": "round_robin", "member_protocol": "https"}
	first := p.until("pool.create", in, provision.Failed)
	in["again"] = true
	second := p.until("pool.create", in, provision.Failed)
	if first.Out["id"] == second.Out["id"] || !strings.Contains(second.Seen, "ERROR") {
		t.Errorf("first %+v, then %+v", first, second)
	}
	// Another process tries again.
	other, err := openstack.New("main", provision.OpenStack{Entry: "sandbox"}, "ORD", openstack.Options{CloudsYAML: box.CloudsYAML("sandbox")})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	q := performer{t, openstack.Handlers(openstack.Clouds{"main": other}, nil), 20 * time.Second}
	if got := q.until("pool.create", in, provision.Done); got.Out["id"] == second.Out["id"] {
		t.Errorf("the one in ERROR was taken for done: %+v", got)
	}
}
