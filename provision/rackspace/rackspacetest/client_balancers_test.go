package rackspacetest_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/rackspace/balancer"
	"github.com/dripstat/failover/secrets"
)

// front is a region's load balancers, and what a run does with them.
func (r *replay) front() (*balancer.Region, map[provision.Kind]balancer.Handler, *secrets.Certificate) {
	r.t.Helper()
	cert, err := secrets.ParseCertificate([]byte(r.plain["chain"]), []byte(r.plain["pkcs8"]))
	if err != nil {
		r.t.Fatal(err)
	}
	x := balancer.New(r.cloud(credentials()).CloudLoadBalancers)
	return x, balancer.Handlers(balancer.Regions{"rax": x}, func(string) *secrets.Certificate { return cert }), cert
}

func testBalancers(t *testing.T) {
	const list, show, create, nodes, add = "balancers: list load balancers", "balancers: show a load balancer", "balancers: create a load balancer", "balancers: list nodes", "balancers: add nodes"
	const tls, end, remove, redirect = "balancers: how TLS ends", "balancers: end TLS", "balancers: delete a load balancer", "balancers: send plain HTTP to HTTPS"
	step := provision.Step{ID: "balancer/edge"}
	const name = "failover-shop-run-edge-vip"
	want := with("name", name, "run", run, "service", "shop", "slot", "edge-vip", "port", 80, "algorithm", "least_connections",
		"health", map[string]any{"path": "/health", "status": 200, "interval": 10, "timeout": 5, "fall": 3})
	all := maps.Clone(want)
	maps.Copy(all, with("connection_limit_per_ip", 100, "allowed_cidrs", []any{"203.0.113.0/24"}, "health", map[string]any{"path": "/health", "status": 200, "interval": 10, "timeout": 5, "fall": 3, "host": "www.example.com"}))
	state := func(t *testing.T, h balancer.Handler, in provision.Values, state provision.State, seen string) provision.Status {
		t.Helper()
		st, err := h.Check(t.Context(), step, in)
		if err != nil || st.State != state || !strings.Contains(st.Seen, seen) {
			t.Errorf("%+v %v, want %v %q", st, err, state, seen)
		}
		return st
	}

	client(t, "preflight", func(t *testing.T, r *replay) {
		for _, answer := range []string{"one, its id a number", "one, its id a text"} {
			r.next(list, answer)
			x, _, _ := r.front()
			inv := provision.Inventory{Cloud: "rax", Region: "ORD"}
			x.Inventory(t.Context(), "shop", nil, &inv)
			if o := inv.Balancing; o == nil || len(o.Balancers) != 1 || o.Balancers[0].ID != "2200" || o.Balancers[0].Addresses[0] != "192.0.2.18" || o.Members != 25 ||
				inv.Quotas["load_balancers"] != (provision.Quota{Limit: 25, Used: 1}) || len(inv.Unread) > 0 {
				t.Errorf("%+v %+v", inv, inv.Balancing)
			}
		}
		if q := r.last("GET", "/loadbalancers"); q.Host != "ord.loadbalancers.api.rackspacecloud.com" {
			t.Error(q.Host)
		}
	})
	client(t, "made, with all", func(t *testing.T, r *replay) {
		for _, answer := range []string{"building, its id a number", "building, its id a text"} {
			_, hs, _ := r.front()
			h := hs[balancer.Create]
			r.from(list, "none")
			state(t, h, all, provision.Absent, "")
			r.next(create, answer)
			fine(t, h.Do(t.Context(), step, all))
			// A list that is behind does not undo the answer.
			if st := state(t, h, all, provision.Done, ""); st.Out.Text("id") != "2200" || st.Out.Text("ipv4") != "192.0.2.18" {
				t.Errorf("%+v", st.Out)
			}
			r.from(list, "one, its id a number")
			state(t, h, all, provision.Done, "")
		}
		_, hs, _ := r.front() // and without what may be left out
		r.from(list, "none")
		fine(t, hs[balancer.Create].Do(t.Context(), step, want))
	})
	client(t, "made, and not with all", func(t *testing.T, r *replay) {
		_, hs, _ := r.front()
		h := hs[balancer.Create]
		for _, tt := range []struct{ what, exchange, set, answer string }{
			{"access list", "balancers: show the access list", "balancers: add to the access list", "accepted"},
			{"health monitor", "balancers: show the health monitor", "balancers: set the health monitor", "accepted"},
			{"connection throttle", "balancers: show the connection throttle", "balancers: set the connection throttle", "as its document says"},
			{"connection throttle", "balancers: show the connection throttle", "balancers: set the connection throttle", "as others are"},
		} {
			r.from(tt.exchange, "none")
			state(t, h, all, provision.Absent, "without its "+tt.what)
			r.next(tt.set, tt.answer)
			fine(t, h.Do(t.Context(), step, all))
			r.from(tt.exchange, "as it was asked for")
		}
		state(t, h, all, provision.Done, "")
		v6 := maps.Clone(want)
		v6["ipv6"] = true
		state(t, h, v6, provision.Absent, "without its IPv6 address")
		fine(t, h.Do(t.Context(), step, v6))
		if n := r.asked("balancers: add an IPv6 address", "its id a number"); n != 1 {
			t.Errorf("asked for %d times", n)
		}
	})
	client(t, "not made", func(t *testing.T, r *replay) {
		_, hs, _ := r.front()
		r.from(list, "none")
		for answer, says := range map[string]string{"over the account's limit": "over the account's limit", "out of addresses": "Out of virtual IPs", "not without a node": "Must provide at least 1 node"} {
			r.next(create, answer)
			fails(t, hs[balancer.Create].Do(t.Context(), step, want), provision.Final, says)
		}
		r.next(create, "any: broken")
		fails(t, hs[balancer.Create].Do(t.Context(), step, want), provision.Unknown, "Cloud load balancers is down")
	})
	client(t, "members", func(t *testing.T, r *replay) {
		_, hs, _ := r.front()
		in := with("balancer", "2200", "member_port", 8080, "members", []any{"10.2.2.3", "10.2.2.4"})
		for _, answer := range []string{"accepted, their ids numbers", "accepted, their ids texts"} {
			r.from(nodes, "none")
			state(t, hs[balancer.Attach], in, provision.Absent, "")
			r.next(add, answer)
			fine(t, hs[balancer.Attach].Do(t.Context(), step, in))
		}
		r.next(add, "they are there")
		fails(t, hs[balancer.Attach].Do(t.Context(), step, in), provision.Transient, "they are there already")
		r.next(add, "too many")
		fails(t, hs[balancer.Attach].Do(t.Context(), step, in), provision.Final, "Nodes must not exceed 25")
		for answer, member := range map[string]provision.Values{
			"their ids numbers": in, "their ids texts": with("balancer", "2200", "member_port", 8080, "members", []any{"10.2.2.3"})} {
			r.from(nodes, answer)
			state(t, hs[balancer.Attach], member, provision.Done, "")
			one := maps.Clone(member)
			one["number"] = 1
			state(t, hs[balancer.Enable], one, provision.Absent, "DRAINING")
			fine(t, hs[balancer.Enable].Do(t.Context(), step, one))
			if q := r.last("PUT", "/nodes/185"); q.URL.Path != "/v1.0/123456/loadbalancers/2200/nodes/185" {
				t.Error(q.URL)
			}
		}
		r.from(nodes, "their ids numbers")
		in["number"] = 2
		state(t, hs[balancer.Enable], in, provision.Done, "") // it is, whatever the monitor says
		in["number"] = 1
		r.next("balancers: change a node's condition", "there is no such node")
		fails(t, hs[balancer.Enable].Do(t.Context(), step, in), provision.Final, "it is not there")
	})
	client(t, "one that was there", func(t *testing.T, r *replay) {
		for answer, listed := range map[string]string{"this one": "their ids numbers", "this one, its id a text": "their ids texts"} {
			x, _, _ := r.front()
			r.from("balancers: who has a node, once it has one", answer)
			r.from(nodes, listed)
			r.from(show, "ACTIVE, as the sample shows it")
			r.from(tls, "as the sample shows it")
			inv := provision.Inventory{Cloud: "rax", Region: "ORD"}
			x.Inventory(t.Context(), "shop", []provision.Balancer{{Name: "edge", Existing: &provision.Existing{Member: "10.2.2.3"}}}, &inv)
			if s := inv.Balancing.Stands("edge"); s == nil || s.ID != "2200" || s.Protocol != "HTTP" || s.IPv4 == "" || s.TLSPort != 443 || s.Plain || s.Fingerprint == "" || len(s.Members) == 0 || s.Members[0].ID != "185" {
				t.Errorf("%s: %+v %+v", answer, inv.Balancing, inv.Unread)
			}
			r.next("balancers: who has a node", "none")
			inv = provision.Inventory{Cloud: "rax", Region: "ORD"}
			x.Inventory(t.Context(), "shop", []provision.Balancer{{Name: "edge", Existing: &provision.Existing{Member: "10.9.9.9"}}}, &inv)
			if got, read := inv.Balancing.Standing["edge"]; len(got) > 0 || !read {
				t.Errorf("%+v", got)
			}
		}
		_, hs, cert := r.front()
		state(t, hs[balancer.Use], with("id", "2200", "name", "shop-edge"), provision.Done, "")
		r.from(nodes, "their ids numbers")
		was := with("balancer", "2200", "nodes", []any{map[string]any{"id": "186", "address": "10.2.2.4", "port": 8080, "condition": "ENABLED"}})
		state(t, hs[balancer.Disable], was, provision.Absent, "")
		fine(t, hs[balancer.Disable].Do(t.Context(), step, was))
		state(t, hs[balancer.Restore], was, provision.Done, "") // it still shows that it was not changed
		out := with("balancer", "2200", "member_port", 8080, "members", []any{"10.2.2.4"})
		state(t, hs[balancer.Detach], out, provision.Absent, "")
		r.next("balancers: delete nodes", "one is not there")
		fails(t, hs[balancer.Detach].Do(t.Context(), step, out), provision.Transient, "not a part of your loadbalancer")
		r.next("balancers: delete nodes", "accepted")
		fine(t, hs[balancer.Detach].Do(t.Context(), step, out))
		no := with("balancer", "2200", "fingerprint", cert.Fingerprint(), "nodes", []any{map[string]any{"id": "185"}, map[string]any{"id": "186"}})
		r.from(tls, "as the sample shows it")
		state(t, hs[balancer.Unterminate], no, provision.Absent, "")
		fine(t, hs[balancer.Unterminate].Do(t.Context(), step, no))
		r.next(tls+" before it does", "none")
		state(t, hs[balancer.Unterminate], no, provision.Done, "")
	})
	client(t, "TLS", func(t *testing.T, r *replay) {
		for _, answer := range []string{"as its document says", "as the service's code says"} {
			_, hs, cert := r.front()
			in, change := with("balancer", "2200", "certificate", "edge", "fingerprint", cert.Fingerprint(), "port", 443), with("balancer", "2200")
			r.next(tls+" before it does", "none")
			state(t, hs[balancer.Terminate], in, provision.Absent, "")
			r.next(end, answer)
			fine(t, hs[balancer.Terminate].Do(t.Context(), step, in))
			for _, shown := range []string{"as the sample shows it", "with its versions", "its truth values texts"} {
				r.next(tls, shown)
				state(t, hs[balancer.Terminate], in, provision.Done, "")
			}
			r.from(tls, "as the sample shows it") // which tells nothing of versions: that it was accepted counts
			state(t, hs[balancer.Versions], change, provision.Absent, "")
			r.next("balancers: turn old versions of TLS off", answer)
			fine(t, hs[balancer.Versions].Do(t.Context(), step, change))
			state(t, hs[balancer.Versions], change, provision.Done, "")
			_, fresh, _ := r.front()
			r.from(tls, "with its versions")
			state(t, fresh[balancer.Versions], change, provision.Done, "")
		}
		_, hs, cert := r.front()
		in := with("balancer", "2200", "certificate", "edge", "fingerprint", cert.Fingerprint(), "port", 443)
		r.next(end, "not valid")
		if e := fails(t, hs[balancer.Terminate].Do(t.Context(), step, in), provision.Final, ""); strings.Contains(e.Error(), "private key does not match") {
			t.Errorf("what is said of a key is repeated: %v", e)
		}
	})
	client(t, "a redirection", func(t *testing.T, r *replay) {
		in := with("balancer", "2200")
		for _, shown := range []string{"ACTIVE, as the sample shows it", "ACTIVE, with its redirection", "ACTIVE, its truth values texts"} {
			_, hs, _ := r.front()
			r.from(show, shown)
			state(t, hs[balancer.Redirect], in, provision.Absent, "")
			fine(t, hs[balancer.Redirect].Do(t.Context(), step, in))
			told := shown != "ACTIVE, as the sample shows it" // what is shown counts for more than that it was accepted
			state(t, hs[balancer.Redirect], in, map[bool]provision.State{false: provision.Done, true: provision.Absent}[told], "")
		}
		_, hs, _ := r.front()
		r.next(redirect, "not while TLS does not end there")
		fails(t, hs[balancer.Redirect].Do(t.Context(), step, in), provision.Final, "HTTPS Redirect is only available")
		for answer, says := range map[string]string{"any: it is being changed": "it is being changed", "any: it is being changed, in the documents' words": "it is being changed",
			"any: too many requests, in a header": "too many requests", "any: too many requests, in the body": "too many requests", "any: away": "not available", "any: away, and its body says broken": "not available"} {
			r.next(redirect, answer)
			if e := fails(t, hs[balancer.Redirect].Do(t.Context(), step, in), provision.Transient, says); strings.Contains(says, "many") && (e.After < time.Second || e.After > 3*time.Second) {
				t.Errorf("%s: after %s", answer, e.After)
			}
		}
		for _, answer := range []string{"any: the token has ended", "any: the token has ended, with a body"} {
			r.next(redirect, answer)
			fine(t, hs[balancer.Redirect].Do(t.Context(), step, in)) // after another login
		}
		if n := r.asked("identity: log in with an API key", "a token"); n != 6 {
			t.Errorf("%d logins", n)
		}
		for _, answer := range []string{"building", "building, by another word"} {
			r.from(show, answer)
			state(t, hs[balancer.Redirect], in, provision.Working, "")
		}
		r.from(show, "in ERROR")
		state(t, hs[balancer.Redirect], in, provision.Failed, "only Rackspace's support can change it")
	})
	client(t, "readings are repeated", func(t *testing.T, r *replay) {
		in := with("id", "2200", "name", name, "run", run, "slot", "edge-vip")
		for _, answer := range []string{"nothing", "any: too many requests, in a header", "any: the token has ended", "any: broken", "any: away", "any: away, and its body says broken"} {
			r.next(list, answer)
			_, hs, _ := r.front()
			state(t, hs[balancer.Delete], in, provision.Absent, "ACTIVE")
		}
		r.next(list, "any: too many requests, in the body") // nobody below reads bodies
		_, hs, _ := r.front()
		_, err := hs[balancer.Delete].Check(t.Context(), step, in)
		fails(t, err, provision.Transient, "too many requests")
	})
	client(t, "deleted", func(t *testing.T, r *replay) {
		in := with("id", "2200", "name", name, "run", run, "slot", "edge-vip")
		_, hs, _ := r.front()
		h := hs[balancer.Delete]
		state(t, h, in, provision.Absent, "ACTIVE")
		fine(t, h.Do(t.Context(), step, in))
		r.next(remove, "it is going")
		fine(t, h.Do(t.Context(), step, in))
		r.from(list, "none")
		for exchange, answers := range map[string][]string{show: {"none", "one that was deleted"}, "balancers: show what was deleted": {"404", "410"}} {
			for _, answer := range answers {
				r.next(exchange, answer)
				state(t, h, in, provision.Done, "")
			}
		}
	})
}
