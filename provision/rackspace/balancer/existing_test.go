package balancer

import (
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// leafText is what is shown of a certificate, as JSON writes it.
func leafText(cert *secrets.Certificate) string {
	return strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Leaf.Raw})), "\n", `\n`)
}

// A load balancer that holds a member is found by the filter that is documented for it, or in what comes where that is not heeded.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/load-balancers
func TestStanding(t *testing.T) {
	cert := rsaCertificate(t)
	r := &recorded{t: t, answer: map[string]answer{
		"GET loadbalancers": {200, nil, `{"loadBalancers":[{"id":71,"name":"shop-edge","status":"ACTIVE"},{"id":"72","name":"71","status":"ACTIVE"},{"id":73,"name":"shop-edge","status":"PENDING_DELETE"},
			{"id":74,"name":"shop-edge","status":"ACTIVE"}]}`}, // the last is gone by the next look
		"GET loadbalancers/71":                {200, nil, `{"loadBalancer":{"id":71,"name":"shop-edge","protocol":"HTTP","port":80,"status":"ACTIVE","virtualIps":[{"address":"206.55.130.1","type":"PUBLIC","ipVersion":"IPV4"}]}}`},
		"GET loadbalancers/72":                {200, nil, `{"loadBalancer":{"id":"72","name":"71","protocol":"TCP","port":25,"status":"ACTIVE"}}`},
		"GET loadbalancers/71/nodes":          {200, nil, nodesSample},
		"GET loadbalancers/72/nodes":          {200, nil, `{"nodes":[]}`},
		"GET loadbalancers/71/ssltermination": {200, nil, `{"sslTermination":{"enabled":true,"securePort":443,"secureTrafficOnly":false,"certificate":"` + leafText(cert) + `"}}`},
	}}
	region := r.region()
	all, err := region.all(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := provision.Standing{ID: "71", Name: "shop-edge", Status: "ACTIVE", Protocol: "HTTP", IPv4: "206.55.130.1", TLSPort: 443, Plain: true, Fingerprint: cert.Fingerprint(),
		Members: []provision.StandingMember{{ID: "185", Address: "10.2.2.3", Port: 80, Condition: "DRAINING"}, {ID: "186", Address: "10.2.2.4", Port: 80, Condition: "ENABLED"}}}
	for _, e := range []provision.Existing{{Member: "10.2.2.3"}, {Name: "shop-edge"}, {Name: "71"}, {Name: "shop-edge", Member: "10.2.2.3"}} {
		got, err := region.standing(t.Context(), all, e)
		if d := cmp.Diff([]provision.Standing{want}, got); d != "" || err != nil {
			t.Errorf("%+v: %v (-want +got)\n%s", e, err, d)
		}
	}
	if got, err := region.standing(t.Context(), all, provision.Existing{Member: "10.2.2.9"}); err != nil || len(got) != 0 {
		t.Errorf("%+v %v", got, err)
	}
	var inv provision.Inventory
	region.Inventory(t.Context(), "shop", []provision.Balancer{{Name: "new"}, {Name: "edge", Existing: &provision.Existing{Member: "10.2.2.4"}}}, &inv)
	if s := inv.Balancing.Stands("edge"); s == nil || s.ID != "71" || inv.Balancing.Stands("new") != nil {
		t.Errorf("%+v", inv.Balancing)
	}
	// What could not be read is told once, and is not said to be nowhere.
	r.mu.Lock()
	r.answer["GET loadbalancers/71/nodes"] = answer{503, nil, ""}
	r.mu.Unlock()
	inv = provision.Inventory{}
	region.Inventory(t.Context(), "shop", []provision.Balancer{{Name: "edge", Existing: &provision.Existing{Name: "71"}}}, &inv)
	if _, read := inv.Balancing.Standing["edge"]; read || !slices.ContainsFunc(inv.Unread, func(f provision.Finding) bool { return f.Weight == provision.Refuse }) {
		t.Errorf("%+v %+v", inv.Balancing, inv.Unread)
	}
}

// What is undone in a load balancer that stays: only what the run did, and nothing where it is gone itself.
func TestLeaving(t *testing.T) {
	nodes := `{"nodes":[{"id":1,"address":"10.2.2.3","port":80,"condition":"ENABLED"},{"id":"2","address":"10.2.2.4","port":80,"condition":"DISABLED"},{"id":3,"address":"10.2.2.3","port":81,"condition":"ENABLED"},
		{"id":4,"address":"10.2.2.5","port":80,"condition":"DISABLED"}]}`
	active := `{"loadBalancer":{"id":71,"name":"shop-edge","status":"ACTIVE","virtualIps":[{"address":"206.55.130.1","type":"PUBLIC","ipVersion":"IPV4"}]}}`
	cert := rsaCertificate(t)
	r := &recorded{t: t, answer: map[string]answer{"GET loadbalancers/71": {200, nil, active}, "GET loadbalancers/71/nodes": {200, nil, nodes},
		"GET loadbalancers/71/ssltermination": {200, nil, `{"sslTermination":{"enabled":true,"securePort":443,"certificate":"` + leafText(cert) + `"}}`},
		"DELETE loadbalancers/71/nodes":       {202, nil, ""}, "PUT loadbalancers/71/nodes/1": {202, nil, ""}, "PUT loadbalancers/71/nodes/2": {202, nil, ""}, "DELETE loadbalancers/71/ssltermination": {200, nil, ""}}}
	h := Handlers(Regions{"rax": r.region()}, func(string) *secrets.Certificate { return cert })
	was := []any{map[string]any{"id": "1", "address": "10.2.2.3", "port": 80, "condition": "ENABLED"}, map[string]any{"id": "2", "address": "10.2.2.4", "port": 80, "condition": "DRAINING"},
		map[string]any{"id": "9", "address": "10.2.2.9", "port": 80, "condition": "ENABLED"}}
	all := []any{map[string]any{"id": "1"}, map[string]any{"id": "2"}, map[string]any{"id": "3"}, map[string]any{"id": "4"}}
	for _, tt := range []struct {
		kind provision.Kind
		in   provision.Values
		want provision.State
		sent string
	}{
		{Use, with("id", "71", "name", "shop-edge"), provision.Done, ""},
		{Detach, with("balancer", "71", "member_port", 80, "members", []any{"10.2.2.3"}, "also", []any{"10.2.2.5", "206.1.1.1"}), provision.Absent, "DELETE loadbalancers/71/nodes?id=1&id=4 "},
		{Detach, with("balancer", "71", "member_port", 80, "members", []any{"10.2.2.9"}), provision.Done, ""},
		{Detach, with("balancer", "72", "member_port", 80, "members", []any{"10.2.2.3"}), provision.Done, ""}, // it is gone
		{Disable, with("balancer", "71", "nodes", was), provision.Absent, `PUT loadbalancers/71/nodes/1 {"node":{"condition":"DISABLED"}}`},
		{Disable, with("balancer", "71", "nodes", was[1:]), provision.Done, ""},
		{Disable, with("balancer", "71", "nodes", was, "member_port", 80, "members", []any{"10.2.2.3"}), provision.Done, ""}, // the address is the run's own by now
		{Restore, with("balancer", "71", "nodes", was), provision.Absent, `PUT loadbalancers/71/nodes/2 {"node":{"condition":"DRAINING"}}`},
		{Restore, with("balancer", "71", "nodes", was[:1]), provision.Done, ""},
		{Unterminate, with("balancer", "71", "fingerprint", cert.Fingerprint(), "nodes", all), provision.Absent, "DELETE loadbalancers/71/ssltermination "},
		{Unterminate, with("balancer", "71", "fingerprint", strings.Repeat("0", 64), "also", []any{cert.Fingerprint()}, "nodes", all), provision.Absent, "DELETE loadbalancers/71/ssltermination "},
		{Unterminate, with("balancer", "71", "fingerprint", strings.Repeat("0", 64), "nodes", all), provision.Done, ""}, // somebody's else by now
		{Unterminate, with("balancer", "71", "fingerprint", cert.Fingerprint(), "nodes", all[:3]), provision.Done, ""},  // somebody has joined
		{Unterminate, with("balancer", "72", "fingerprint", cert.Fingerprint()), provision.Done, ""},
	} {
		r.sent = nil
		st, err := h[tt.kind].Check(t.Context(), provision.Step{}, tt.in)
		if err != nil || st.State != tt.want {
			t.Errorf("%s %v: %+v %v", tt.kind, tt.in, st, err)
			continue
		}
		if tt.want == provision.Absent {
			if err := h[tt.kind].Do(t.Context(), provision.Step{}, tt.in); err != nil || !slices.Equal(r.sent, []string{tt.sent}) {
				t.Errorf("%s: sent %q, want %q, %v", tt.kind, r.sent, tt.sent, err)
			}
		}
	}
	for _, status := range []string{"PENDING_UPDATE", "ERROR", "PENDING_DELETE"} {
		r.answer["GET loadbalancers/71"] = answer{200, nil, strings.ReplaceAll(active, "ACTIVE", status)}
		want := map[string]provision.State{"PENDING_UPDATE": provision.Working, "ERROR": provision.Failed, "PENDING_DELETE": provision.Done}[status]
		for kind, in := range map[provision.Kind]provision.Values{Detach: with("balancer", "71", "member_port", 80, "members", []any{"10.2.2.3"}), Restore: with("balancer", "71", "nodes", was),
			Unterminate: with("balancer", "71", "fingerprint", cert.Fingerprint())} {
			if st, err := h[kind].Check(t.Context(), provision.Step{}, in); err != nil || st.State != want {
				t.Errorf("%s of one in %s: %+v %v", kind, status, st, err)
			}
		}
	}
}

// More than ten are not deleted by one request; and somebody who was quicker is no failure.
func TestDetachMany(t *testing.T) {
	var nodes, members []string
	for i := range 12 {
		a := "10.2.3." + string(rune('a'+i))
		nodes, members = append(nodes, `{"id":`+string(rune('1'))+string(rune('0'+i%10))+string(rune('0'+i/10))+`,"address":"`+a+`","port":80,"condition":"ENABLED"}`), append(members, a)
	}
	r := &recorded{t: t, answer: map[string]answer{"GET loadbalancers/71/nodes": {200, nil, `{"nodes":[` + strings.Join(nodes, ",") + `]}`},
		"DELETE loadbalancers/71/nodes": {400, nil, `{"validationErrors":{"messages":["Node ids 100 are not a part of your loadbalancer"]},"message":"Validation Failure","code":400}`}}}
	h := Handlers(Regions{"rax": r.region()}, nil)
	err := h[Detach].Do(t.Context(), provision.Step{}, with("balancer", "71", "member_port", 80, "members", members))
	if err == nil || provision.ClassOf(err) != provision.Transient || len(r.sent) != 1 || strings.Count(r.sent[0], "id=") != 10 {
		t.Errorf("%v %q", err, r.sent)
	}
}
