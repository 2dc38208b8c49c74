package openstack_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
)

// emptied answers lists of load balancers with nothing while it is told to.
type emptied struct {
	http.RoundTripper
	now bool
}

func (e *emptied) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := e.RoundTripper.RoundTrip(req)
	if err == nil && e.now && req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/loadbalancers") {
		body := []byte(`{"loadbalancers": []}`)
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		resp.Header.Del("Content-Length")
	}
	return resp, err
}

// A load balancer that octavia is at work on cannot be deleted yet. That it was seen counts: one list without it, however long after the first
// of such, does not make it gone.
func TestBalancerSeenIsNotGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		box, err := sandbox.Start(ctx, sandbox.Options{InMemory: true, Faults: []sandbox.Fault{{Name: "balancer-stuck", Arg: "1"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer box.Close()
		net := &emptied{RoundTripper: box.RoundTripper()}
		c, err := openstack.New("main", provision.OpenStack{Entry: "sandbox"}, "ORD", openstack.Options{CloudsYAML: box.CloudsYAML("sandbox"), RoundTripper: net})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		handlers := openstack.Handlers(openstack.Clouds{"main": c}, nil)
		_, _, networks := box.Offers("ORD")
		in := balancerIn("01RUN", networks["public"])
		in["cloud"] = "main"
		if err := handlers[steps.BalancerCreate].Do(ctx, provision.Step{ID: "balancer/edge"}, in); err != nil {
			t.Fatal(err)
		}
		gone := provision.Values{"cloud": "main", "name": balancerName("01RUN"), "run": "01RUN", "slot": "edge-vip"}
		look := func(empty bool) provision.Status {
			net.now = empty
			time.Sleep(4 * time.Second)
			st, err := handlers[steps.BalancerDelete].Check(ctx, provision.Step{ID: "remove/balancer-edge"}, gone)
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		for _, empty := range []bool{true, true, true, true, false, true, false, true} {
			if st := look(empty); st.State != provision.Working {
				t.Fatalf("%+v, with one that is PENDING_CREATE", st)
			}
		}
		for range 10 { // nothing but nothing: that is an answer
			if st := look(true); st.State == provision.Done {
				return
			}
		}
		t.Error("it is never gone")
	})
}
