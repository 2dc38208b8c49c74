package balancer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

// recorded answers as a recording of the service would, by method and path below the account; what is not there is 404.
type recorded struct {
	t      *testing.T
	mu     sync.Mutex
	answer map[string]answer
	sent   []string // method, path and body of what would change something
}

type answer struct {
	status int
	header map[string]string
	body   string
}

func (r *recorded) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, _ := io.ReadAll(req.Body)
	path := strings.TrimPrefix(req.URL.Path, "/v1.0/1234/")
	if req.Method != http.MethodGet {
		asked := path
		if req.URL.RawQuery != "" {
			asked += "?" + req.URL.RawQuery
		}
		r.sent = append(r.sent, req.Method+" "+asked+" "+string(body))
	}
	a, ok := r.answer[req.Method+" "+path]
	if !ok {
		a = answer{status: 404, body: `{"message":"Load balancer not found.","code":404,"details":""}`}
	}
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func (r *recorded) region() *Region {
	srv := httptest.NewServer(r)
	r.t.Cleanup(srv.Close)
	return New(func(context.Context) (*gophercloud.ServiceClient, error) {
		return &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{}, Endpoint: srv.URL + "/v1.0/1234/"}, nil
	})
}

// The samples of the documents.
const (
	// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/load-balancers (list load balancers)
	listSample = `{"loadBalancers":[{"name":"lb-site1","id":71,"protocol":"HTTP","port":80,"algorithm":"RANDOM","status":"ACTIVE","nodeCount":3,
		"virtualIps":[{"id":403,"address":"206.55.130.1","type":"PUBLIC","ipVersion":"IPV4"}],"created":{"time":"2010-11-30T03:23:42Z"},"updated":{"time":"2010-11-30T03:23:44Z"}}]}`
	// The same page, create load balancer: two addresses, a truth value that is a text, an offset.
	createSample = `{"loadBalancer":{"name":"a-new-loadbalancer","id":2200,"port":80,"protocol":"HTTP","halfClosed":"false","algorithm":"RANDOM","status":"BUILD","timeout":30,
		"cluster":{"name":"host2_cluster1"},"nodes":[{"address":"10.1.1.1","id":2208,"port":80,"status":"ONLINE","condition":"ENABLED","weight":1}],
		"virtualIps":[{"address":"10.0.0.18","id":15,"type":"PUBLIC","ipVersion":"IPV4"},{"address":"fd24:f480:ce44:91bc:1af2:15ff:0000:0005","id":9000137,"type":"PUBLIC","ipVersion":"IPV6"}],
		"created":{"time":"2011-06-01T08:20:09-05:00"},"updated":{"time":"2011-06-01T08:20:09-05:00"},"connectionLogging":{"enabled":false},
		"sourceAddresses":{"ipv6Public":"2001:4801:79f1:1::1/64","ipv4Servicenet":"10.0.0.0","ipv4Public":"10.12.99.28"}}}`
	// The same page, show load balancer details: no httpsRedirect.
	detailSample = `{"loadBalancer":{"id":2000,"name":"sample-loadbalancer","protocol":"HTTP","port":80,"algorithm":"RANDOM","status":"ACTIVE","timeout":30,"connectionLogging":{"enabled":true},
		"virtualIps":[{"id":1000,"address":"206.10.10.210","type":"PUBLIC","ipVersion":"IPV4"}],
		"nodes":[{"id":1041,"address":"10.1.1.1","port":80,"condition":"ENABLED","status":"ONLINE"},{"id":1411,"address":"10.1.1.2","port":80,"condition":"ENABLED","status":"ONLINE"}],
		"sessionPersistence":{"persistenceType":"HTTP_COOKIE"},"connectionThrottle":{"minConnections":10,"maxConnections":100,"maxConnectionRate":50,"rateInterval":60},
		"cluster":{"name":"c1.dfw1"},"created":{"time":"2010-11-30T03:23:42Z"},"updated":{"time":"2010-11-30T03:23:44Z"}}}`
	// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/nodes (add node)
	nodesSample = `{"nodes":[{"address":"10.2.2.3","id":185,"port":80,"status":"ONLINE","condition":"DRAINING","weight":1,"type":"PRIMARY"},
		{"address":"10.2.2.4","id":"186","port":80,"status":"ONLINE","condition":"ENABLED","weight":1,"type":"SECONDARY"}]}`
)

func TestSamplesOfTheDocuments(t *testing.T) {
	var list struct {
		Balancers []loadBalancer `json:"loadBalancers"`
	}
	var made, shown struct {
		Balancer loadBalancer `json:"loadBalancer"`
	}
	for text, into := range map[string]any{listSample: &list, createSample: &made, detailSample: &shown} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	v4, v6 := made.Balancer.addresses()
	if list.Balancers[0].ID != "71" || made.Balancer.ID != "2200" || v4 != "10.0.0.18" || v6 != "fd24:f480:ce44:91bc:1af2:15ff:0:5" || shown.Balancer.Redirect != nil {
		t.Errorf("%+v %+v %+v: %s %s", list, made, shown, v4, v6)
	}
	var texts struct {
		Balancer loadBalancer `json:"loadBalancer"`
		Ends     termination  `json:"sslTermination"` // truth values as texts: the documents' own attribute request
	}
	if err := json.Unmarshal([]byte(`{"loadBalancer":{"id":"71","httpsRedirect":"true"},"sslTermination":{"enabled":"true","securePort":443,"secureTrafficOnly":"false"}}`), &texts); err != nil ||
		texts.Balancer.ID != "71" || !bool(*texts.Balancer.Redirect) || !bool(texts.Ends.Enabled) || bool(texts.Ends.Only) {
		t.Errorf("%+v %v", texts, err)
	}
}

// What errors mean, in the forms that clients of the service were tested with.
// https://github.com/rackerlabs/otter/blob/master/otter/test/cloud_client/test_clb.py
func TestErrors(t *testing.T) {
	soon := time.Now().Add(7 * time.Second).UTC()
	for name, tt := range map[string]struct {
		answer answer
		class  provision.Class
		after  bool
		says   string
	}{
		"busy":             {answer{422, nil, `{"message":"Load Balancer '71' has a status of 'PENDING_UPDATE' and is considered immutable.","code":422,"details":""}`}, provision.Transient, false, "it is being changed"},
		"building":         {answer{422, nil, `{"message":"Load Balancer '71' has a status of 'BUILD' and is considered immutable.","code":422}`}, provision.Transient, false, "it is being changed"},
		"documents' words": {answer{422, nil, `{"immutableEntity":{"code":422,"message":"The object at the specified URI is immutable and can not be overwritten."}}`}, provision.Transient, false, "it is being changed"},
		"not active":       {answer{422, nil, `{"message":"LoadBalancer is not ACTIVE","code":422}`}, provision.Transient, false, "it is being changed"},
		"twice":            {answer{422, nil, `{"message":"Duplicate nodes detected. One or more nodes already configured on load balancer.","code":422}`}, provision.Transient, false, "they are there already"},
		"being deleted":    {answer{422, nil, `{"message":"Load Balancer '71' has a status of 'PENDING_DELETE' and is considered immutable.","code":422}`}, provision.Final, false, "PENDING_DELETE"},
		"in error":         {answer{422, nil, `{"message":"Load Balancer '71' has a status of 'ERROR' and is considered immutable.","code":422}`}, provision.Final, false, "'ERROR'"},
		"deleted":          {answer{410, nil, `{"message":"The loadbalancer is marked as deleted.","code":410}`}, provision.Final, false, "it is not there"},
		"rate, header":     {answer{413, map[string]string{"Retry-After": "3"}, `{"overLimit":{"message":"OverLimit Retry...","code":413,"details":"Error Details..."}}`}, provision.Transient, true, "too many requests"},
		"rate, date":       {answer{413, map[string]string{"Retry-After": soon.Format(time.RFC3339)}, ``}, provision.Transient, true, "too many requests"},
		"rate, body":       {answer{413, nil, `{"overLimit":{"message":"OverLimit Retry...","code":413,"retryAfter":"` + soon.Format(time.RFC3339) + `","details":"Error Details..."}}`}, provision.Transient, true, "too many requests"},
		"rate, other name": {answer{413, nil, `{"overLimit":{"message":"OverLimit Retry...","code":413,"retryAt":"` + soon.Format(time.RFC3339) + `"}}`}, provision.Transient, true, "too many requests"},
		"account":          {answer{413, nil, `{"overLimit":{"code":413,"message":"Your account is currently over the limit so your request could not be processed."}}`}, provision.Final, false, "over the account's limit"},
		"nodes":            {answer{413, nil, `{"message":"Nodes must not exceed 25 per load balancer.","code":413}`}, provision.Final, false, "Nodes must not exceed 25"},
		"not valid":        {answer{400, nil, `{"validationErrors":{"messages":["Node ip is invalid. Please specify a valid ip."]},"message":"Validation Failure","code":400,"details":"The object is not valid"}`}, provision.Final, false, "Node ip is invalid"},
		"no addresses":     {answer{500, nil, `{"outOfVirtualIps":{"code":500,"message":"Out of virtual IPs. Please contact support so they can allocate more virtual IPs."}}`}, provision.Final, false, "Out of virtual IPs"},
		"broken":           {answer{500, nil, `{"loadBalancerFault":{"code":500,"message":"Something went wrong"}}`}, provision.Unknown, false, "Something went wrong"},
		"away":             {answer{503, nil, `{"serviceUnavailable":{"code":503,"message":"The Load balancing service is currently not available"}}`}, provision.Transient, false, "not available"},
		"proxy":            {answer{413, nil, `random repose error message`}, provision.Final, false, "over the account's limit"},
	} {
		r := &recorded{t: t, answer: map[string]answer{"PUT loadbalancers/71": tt.answer}}
		err := r.region().write(t.Context(), http.MethodPut, "change it", map[string]any{}, nil, "loadbalancers", "71")
		e := provision.AsError("", err)
		if err == nil || e.Class != tt.class || (e.After > 0) != tt.after || e.After > 8*time.Second || !strings.Contains(e.Error(), tt.says) {
			t.Errorf("%s: %s, after %s: %v", name, e.Class, e.After, err)
		}
	}
}

func with(pairs ...any) provision.Values {
	v := provision.Values{"cloud": "rax"}
	for i := 0; i < len(pairs); i += 2 {
		v[pairs[i].(string)] = pairs[i+1]
	}
	return v
}

// A name, what is shown of it, and what is done then.
func TestMembers(t *testing.T) {
	r := &recorded{t: t, answer: map[string]answer{"GET loadbalancers/2000": {200, nil, detailSample}, "GET loadbalancers/2000/nodes": {200, nil, nodesSample},
		"PUT loadbalancers/2000/nodes/185": {202, nil, ""}, "POST loadbalancers/2000/nodes": {202, nil, nodesSample}}}
	h := Handlers(Regions{"rax": r.region()}, nil)
	in := with("balancer", "2000", "member_port", 80, "members", []any{"10.2.2.3", "10.2.2.4"})
	if st, err := h[Attach].Check(t.Context(), provision.Step{}, in); err != nil || st.State != provision.Done {
		t.Errorf("both are nodes: %+v %v", st, err)
	}
	more := with("balancer", "2000", "member_port", 80, "members", []any{"10.2.2.3", "10.2.2.9"})
	if st, err := h[Attach].Check(t.Context(), provision.Step{}, more); err != nil || st.State != provision.Absent {
		t.Errorf("one is no node: %+v %v", st, err)
	}
	if err := h[Attach].Do(t.Context(), provision.Step{}, more); err != nil {
		t.Error(err)
	}
	for n, want := range map[int]provision.State{1: provision.Absent, 2: provision.Done, 3: provision.Done} {
		in["number"] = n
		if st, err := h[Enable].Check(t.Context(), provision.Step{}, in); err != nil || st.State != want {
			t.Errorf("member %d: %+v %v", n, st, err)
		}
	}
	in["number"] = 1
	if err := h[Enable].Do(t.Context(), provision.Step{}, in); err != nil {
		t.Error(err)
	}
	want := []string{`POST loadbalancers/2000/nodes {"nodes":[{"address":"10.2.2.9","condition":"DRAINING","port":80,"type":"PRIMARY"}]}`, // https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/nodes
		`PUT loadbalancers/2000/nodes/185 {"node":{"condition":"ENABLED"}}`}
	if !slices.Equal(r.sent, want) {
		t.Errorf("%q", r.sent)
	}
}

// Where what is shown of a load balancer does not name a setting, that the change was accepted counts.
func TestWhatIsNotShown(t *testing.T) {
	r := &recorded{t: t, answer: map[string]answer{"GET loadbalancers/2000": {200, nil, detailSample}, "PUT loadbalancers/2000": {202, nil, ""}, "PUT loadbalancers/2000/ssltermination": {200, nil, ""},
		"GET loadbalancers/2000/ssltermination": {200, nil, `{"sslTermination":{"enabled":true,"securePort":443,"secureTrafficOnly":true}}`}}}
	cert := rsaCertificate(t)
	h := Handlers(Regions{"rax": r.region()}, func(string) *secrets.Certificate { return cert })
	for kind, in := range map[provision.Kind]provision.Values{Redirect: with("balancer", "2000"), Versions: with("balancer", "2000"),
		Terminate: with("balancer", "2000", "certificate", "edge", "fingerprint", cert.Fingerprint(), "port", 443)} {
		if st, err := h[kind].Check(t.Context(), provision.Step{}, in); err != nil || st.State != provision.Absent {
			t.Errorf("%s before: %+v %v", kind, st, err)
		}
		if err := h[kind].Do(t.Context(), provision.Step{}, in); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if st, err := h[kind].Check(t.Context(), provision.Step{}, in); err != nil || st.State != provision.Done {
			t.Errorf("%s after: %+v %v", kind, st, err)
		}
	}
	for _, want := range []string{`PUT loadbalancers/2000 {"loadBalancer":{"httpsRedirect":true}}`,
		// https://docs.rackspace.com/docs/disable-tls1-for-cloud-load-balancers
		`PUT loadbalancers/2000/ssltermination {"sslTermination":{"securityProtocols":[{"securityProtocolName":"TLS_10","securityProtocolStatus":"DISABLED"},{"securityProtocolName":"TLS_11","securityProtocolStatus":"DISABLED"}]}}`} {
		if !slices.Contains(r.sent, want) {
			t.Errorf("%q was not sent", want)
		}
	}
}

// A refusal of the key is told without what it says: it might quote it.
func TestRefusedKey(t *testing.T) {
	cert := rsaCertificate(t)
	var said string
	r := &recorded{t: t, answer: map[string]answer{"PUT loadbalancers/71/ssltermination": {400, nil, `{"message":"the private key SECRET-QUOTED is not valid","code":400}`}}}
	h := Handlers(Regions{"rax": r.region()}, func(string) *secrets.Certificate { return cert })
	in := with("balancer", "71", "certificate", "edge", "fingerprint", cert.Fingerprint(), "port", 443)
	if err := h[Terminate].Do(t.Context(), provision.Step{}, in); err == nil || provision.ClassOf(err) != provision.Final {
		t.Error(err)
	} else {
		said = fmt.Sprintf("%v %+v", err, provision.AsError("", err))
	}
	if strings.Contains(said, "SECRET-QUOTED") {
		t.Error(said)
	}
	in["fingerprint"] = "another"
	if err := h[Terminate].Do(t.Context(), provision.Step{}, in); err == nil || !strings.Contains(err.Error(), "no longer in memory") {
		t.Errorf("a certificate that is not the judged one: %v", err)
	}
	// What was sent is what the documents show, and JSON.
	_, body, _ := strings.Cut(r.sent[0], "ssltermination ")
	var got struct {
		Ends map[string]any `json:"sslTermination"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if keys := slices.Sorted(func(yield func(string) bool) {
		for k := range got.Ends {
			if !yield(k) {
				return
			}
		}
	}); !slices.Equal(keys, []string{"certificate", "enabled", "intermediateCertificate", "privatekey", "securePort", "secureTrafficOnly"}) {
		t.Errorf("%q", keys)
	}
	if key, _ := got.Ends["privatekey"].(string); !strings.HasPrefix(key, "-----BEGIN RSA PRIVATE KEY-----\n") || !strings.HasSuffix(key, "-----END RSA PRIVATE KEY-----\n") {
		t.Error("the key is not in the form of the documents")
	}
}

// Only RSA keys are sent anywhere.
func TestOtherKeysStay(t *testing.T) {
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
	r := &recorded{t: t}
	h := Handlers(Regions{"rax": r.region()}, func(string) *secrets.Certificate { return cert })
	if err := h[Terminate].Do(t.Context(), provision.Step{}, with("balancer", "71", "certificate", "edge", "fingerprint", cert.Fingerprint(), "port", 443)); err == nil || !strings.Contains(err.Error(), "RSA") || len(r.sent) > 0 {
		t.Errorf("%v, sent %q", err, r.sent)
	}
}

func rsaCertificate(t *testing.T) *secrets.Certificate {
	t.Helper()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.IssueRSA("www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := secrets.ParseCertificate(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Both meanings of a marker, and more load balancers than a page holds.
func TestPages(t *testing.T) {
	for name, inclusive := range map[string]bool{"the documents": true, "others": false} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			from, list := 0, []map[string]any{}
			if _, err := fmt.Sscan(req.URL.Query().Get("marker"), &from); err == nil && !inclusive {
				from++
			}
			for n := max(from, 1); n <= 230 && len(list) < 100; n++ {
				list = append(list, map[string]any{"id": n, "name": fmt.Sprint("lb-", n), "status": "ACTIVE"})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"loadBalancers": list})
		}))
		defer srv.Close()
		r := New(func(context.Context) (*gophercloud.ServiceClient, error) {
			return &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{}, Endpoint: srv.URL + "/"}, nil
		})
		if all, err := r.all(t.Context(), nil); err != nil || len(all) != 230 {
			t.Errorf("%s: %d, %v", name, len(all), err)
		}
	}
}

// What was asked for at once and is not there is asked for once more, one thing at a time; with an access list no IPv6 address is borne.
func TestLacks(t *testing.T) {
	a := createArgs{Name: "n", PerIP: 100, AllowedCIDRs: []string{"198.51.100.7/32"}}
	a.Health.Path = "/health"
	b := loadBalancer{ID: "71", Name: "n", Status: active}
	access := `{"accessList":[{"address":"0.0.0.0/0","id":1,"type":"DENY"},{"address":"198.51.100.7","id":2,"type":"ALLOW"}]}`
	monitor := `{"healthMonitor":{"type":"HTTP","path":"/health","statusRegex":"^200$"}}`
	r := &recorded{t: t, answer: map[string]answer{"GET loadbalancers/71/accesslist": {200, nil, `{"accessList":[]}`}, "GET loadbalancers/71/healthmonitor": {200, nil, `{"healthMonitor":{}}`},
		"GET loadbalancers/71/connectionthrottle": {200, nil, `{"connectionThrottle":{}}`}}}
	region := r.region()
	lack := func() string {
		p, err := region.lacks(t.Context(), a, b)
		if err != nil {
			t.Fatal(err)
		}
		if p == nil {
			return ""
		}
		return p.what
	}
	var seen []string
	for _, next := range [][2]string{{"accesslist", access}, {"healthmonitor", monitor}, {"connectionthrottle", `{"connectionThrottle":{"maxConnections":100}}`}} {
		seen = append(seen, lack())
		r.answer["GET loadbalancers/71/"+next[0]] = answer{200, nil, next[1]}
	}
	if seen = append(seen, lack()); !reflect.DeepEqual(seen, []string{"access list", "health monitor", "connection throttle", ""}) {
		t.Errorf("%q", seen)
	}
	a.IPv6 = true
	if got := lack(); got != "IPv6 address" {
		t.Errorf("%q", got)
	}
}

// Only what carries the run is deleted.
func TestNotOurs(t *testing.T) {
	r := &recorded{t: t, answer: map[string]answer{"GET loadbalancers": {200, nil, listSample}, "GET loadbalancers/71": {200, nil, `{"loadBalancer":{"id":71,"name":"lb-site1","status":"ACTIVE"}}`}}}
	h := Handlers(Regions{"rax": r.region()}, nil)
	in := with("id", "71", "name", "failover-shop-01x-edge-vip", "run", "01X", "slot", "edge-vip")
	if _, err := h[Delete].Check(t.Context(), provision.Step{}, in); err == nil || !strings.Contains(err.Error(), "not ours to delete") {
		t.Error(err)
	}
	if err := h[Delete].Do(t.Context(), provision.Step{}, in); err == nil || len(r.sent) > 0 {
		t.Errorf("%v, sent %q", err, r.sent)
	}
}

// What preflight reads: those that are ours, and the account's limits, in the documents' form.
func TestInventory(t *testing.T) {
	ours := `{"loadBalancers":[{"id":"71","name":"failover-shop-01arz3ndektsv4rrffq69g5fav-edge-vip","status":"ACTIVE","virtualIps":[{"address":"206.55.130.1","type":"PUBLIC","ipVersion":"IPV4"}]},
		{"id":72,"name":"failover-shop-01arz3ndektsv4rrffq69g5fav-old-vip","status":"PENDING_DELETE"},{"id":73,"name":"somebody's","status":"ACTIVE"}]}`
	// https://docs.rackspace.com/docs/cloud-load-balancers/v1/general-api-info/limits (retrieve absolute limits)
	limits := `{"absolute":[{"name":"IPV6_LIMIT","value":25},{"name":"LOADBALANCER_LIMIT","value":25},{"name":"BATCH_DELETE_LIMIT","value":10},{"name":"ACCESS_LIST_LIMIT","value":100},{"name":"NODE_LIMIT","value":25}]}`
	r := &recorded{t: t, answer: map[string]answer{"GET loadbalancers": {200, nil, ours}, "GET loadbalancers/absolutelimits": {200, nil, limits}}}
	inv := provision.Inventory{Cloud: "rax", Region: "ORD"}
	r.region().Inventory(t.Context(), "shop", nil, &inv)
	if o := inv.Balancing; o == nil || len(o.Balancers) != 1 || o.Balancers[0].Run != "01ARZ3NDEKTSV4RRFFQ69G5FAV" || !slices.Equal(o.Balancers[0].Addresses, []string{"206.55.130.1"}) || o.Members != 25 ||
		inv.Quotas["load_balancers"] != (provision.Quota{Limit: 25, Used: 3}) || len(inv.Unread) != 0 {
		t.Errorf("%+v %+v", inv, inv.Balancing)
	}
	r.answer = map[string]answer{"GET loadbalancers": {503, nil, `{"serviceUnavailable":{"code":503,"message":"The Load balancing service is currently not available"}}`}, "GET loadbalancers/absolutelimits": {200, nil, limits}}
	inv = provision.Inventory{Cloud: "rax", Region: "ORD"}
	r.region().Inventory(t.Context(), "shop", nil, &inv)
	if len(inv.Unread) != 1 || inv.Unread[0].Weight != provision.Refuse || inv.Unread[0].Check != "load balancer" || !strings.Contains(inv.Unread[0].What, "not available") {
		t.Errorf("%+v", inv.Unread)
	}
}
