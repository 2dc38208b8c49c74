package rackspacetest_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/rackspace"
	"github.com/dripstat/failover/provision/rackspace/rackspacetest"
	"github.com/dripstat/failover/secrets"
)

// replay is all of Rackspace's services, which answer with what the fixtures have, and only to what they have. It speaks HTTP over
// connections in memory, under the names that the catalog has, so that time is virtual and hosts are the documents'. It is no cloud: it
// knows nothing of what was asked before.
type replay struct {
	t    *testing.T
	apis map[string]*rackspacetest.API

	mu     sync.Mutex
	once   []gift            // first those
	stay   map[string]gift   // then those, by exchange
	gave   map[string]int    // by the answer's name in full
	sent   []*http.Request   // in order
	plain  map[string]string // in the place of names in braces
	conns  chan net.Conn     // to the server
	closed chan struct{}
}

// gift is an answer that is given to an exchange.
type gift struct{ exchange, answer string }

// answered are those that any test was given.
var answered = map[string]bool{}

// client runs a test on a replay, in virtual time.
func client(t *testing.T, name string, test func(t *testing.T, r *replay)) {
	t.Helper()
	secrets := made(t) // outside: keys take their time
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &replay{t: t, apis: load(t), stay: map[string]gift{}, gave: map[string]int{}, plain: map[string]string{"token": "made-up-token"}, conns: make(chan net.Conn), closed: make(chan struct{})}
			for k, v := range secrets {
				r.plain[k] = v
			}
			srv := &http.Server{Handler: r, ReadHeaderTimeout: time.Hour}
			go func() { _ = srv.Serve(r) }()
			t.Cleanup(func() { _ = srv.Close() })
			test(t, r)
			for _, g := range r.once {
				t.Errorf("%s was not asked for, and not answered %q", g.exchange, g.answer)
			}
			for k := range r.gave {
				answered[k] = true
			}
		})
	})
}

// Accept, Close and Addr make it a listener.
func (r *replay) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

// Close ends it, and is called once.
func (r *replay) Close() error {
	close(r.closed)
	return nil
}

// Addr is none.
func (r *replay) Addr() net.Addr { return &net.TCPAddr{} }

func (r *replay) dial(context.Context, string, string) (net.Conn, error) {
	mine, theirs := net.Pipe()
	select {
	case r.conns <- theirs:
		return mine, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

// transport reaches it under any name; what would be TLS is not, here.
func (r *replay) transport() http.RoundTripper {
	tr := &http.Transport{DialContext: r.dial, DialTLSContext: r.dial}
	r.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// next answers an exchange so, once; those that were given earlier go first. "any: x" is a fault of the service.
func (r *replay) next(exchange, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.once = append(r.once, gift{exchange, answer})
}

// from answers an exchange so from now on, where next says nothing. Where neither does, its first answer is given.
func (r *replay) from(exchange, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stay[exchange] = gift{exchange, answer}
}

// asked counts how often an answer was given.
func (r *replay) asked(exchange, answer string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gave[exchange+": "+answer]
}

func (r *replay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.apis {
		below, err := a.Below(req.URL.Path)
		if !a.At(req.Host) || err != nil {
			continue
		}
		of, err := a.Find(req.Method, below, req.URL.Query(), body)
		if err != nil {
			r.t.Error(err)
			break
		}
		r.headers(a, req, body)
		r.sent = append(r.sent, req)
		r.answer(w, a, of)
		return
	}
	if req.Host != "" {
		r.t.Errorf("%s https://%s%s is in no fixture", req.Method, req.Host, req.URL)
	}
	w.WriteHeader(http.StatusBadRequest) // which nobody asks again
}

// headers are the same for all: the token but for who wants one, JSON, and nothing of what came after 2013.
func (r *replay) headers(a *rackspacetest.API, req *http.Request, body []byte) {
	token := r.plain["token"]
	if a.Name == "identity" || a.Name == "flex" {
		token = ""
	}
	for name, want := range map[string]string{"X-Auth-Token": token, "Accept": "application/json", "OpenStack-API-Version": "", "X-OpenStack-Nova-API-Version": ""} {
		if got := req.Header.Get(name); got != want {
			r.t.Errorf("%s %s: %s is %q, want %q", req.Method, req.URL, name, got, want)
		}
	}
	if len(body) > 0 && req.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("%s %s: its body is %q", req.Method, req.URL, req.Header.Get("Content-Type"))
	}
}

func (r *replay) answer(w http.ResponseWriter, a *rackspacetest.API, of []*rackspacetest.Exchange) {
	x, key := of[0].Answers[0], a.Name+": "+of[0].Name+": "+of[0].Answers[0].Name
	pick := func(g gift) bool {
		for _, e := range of {
			if g.exchange != a.Name+": "+e.Name {
				continue
			}
			answers, name := e.Answers, g.answer
			if fault, ok := strings.CutPrefix(name, "any: "); ok {
				answers, name = a.Faults, fault
			}
			for _, y := range answers {
				if y.Name == name {
					x, key = y, g.exchange+": "+g.answer
					if name != g.answer {
						key = a.Name + ": " + g.answer
					}
					return true
				}
			}
			r.t.Errorf("there is no fixture %s: %s", g.exchange, g.answer)
		}
		return false
	}
	found := false
	for i, g := range r.once {
		if found = pick(g); found {
			r.once = append(r.once[:i:i], r.once[i+1:]...)
			break
		}
	}
	for _, e := range of {
		if g, ok := r.stay[a.Name+": "+e.Name]; ok && !found {
			found = pick(g)
		}
	}
	r.gave[key]++
	soon := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
	for k, v := range x.Header {
		w.Header().Set(k, strings.NewReplacer("{soon}", soon, "{token}", r.plain["token"]).Replace(v))
	}
	text := strings.ReplaceAll(string(x.Body), "{soon}", soon)
	for name, v := range r.plain {
		quoted, _ := json.Marshal(v)
		text = strings.ReplaceAll(text, "{"+name+"}", strings.Trim(string(quoted), `"`))
	}
	var page string
	if json.Unmarshal([]byte(text), &page) == nil { // a text that is no JSON
		text = page
	} else if text != "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(x.Status)
	_, _ = io.WriteString(w, text)
}

// credentials are nobody's.
func credentials() rackspace.Credentials {
	return rackspace.Credentials{Source: "the plan", URLs: []string{rackspace.Endpoint}, Username: "ops", APIKey: secrets.NewValue([]byte("made-up-key"))}
}

// cloud is a region of the first cloud as failover sees it.
func (r *replay) cloud(c rackspace.Credentials) *openstack.Cloud {
	r.t.Helper()
	x, err := openstack.New("rax", provision.OpenStack{}, "ORD", openstack.Options{Legacy: true, RoundTripper: r.transport(),
		Identity: &openstack.Identity{Name: "the identity service", Version: "v2.0", Source: c.Source, Check: "username and api_key", URLs: c.URLs, Login: c.Login, Catalog: c.Catalog}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(x.Close)
	return x
}
