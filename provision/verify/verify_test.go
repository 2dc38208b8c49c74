package verify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

const name = "www.shop.test"

// site is a real HTTPS server with a certificate of its own making.
type site struct {
	*httptest.Server
	ca   *sandbox.CA
	leaf string
	hits atomic.Int64
}

// serve starts one whose certificate covers names.
func serve(t *testing.T, valid time.Duration, names []string, h http.HandlerFunc) *site {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, valid, names, h)
}

func serveOn(t *testing.T, ln net.Listener, valid time.Duration, names []string, h http.HandlerFunc) *site {
	t.Helper()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.IssueFor(valid, names...)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	s := &site{ca: ca, leaf: secrets.Fingerprint(leaf)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.hits.Add(1); h(w, r) }))
	_ = s.Listener.Close()
	s.Listener = ln
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// dial leads every address to the site, as if it listened there.
func (s *site) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.Listener.Addr().String())
}

func (s *site) request() Request {
	return Request{Address: "198.51.100.7", URL: "https://" + name + "/health", Status: 200, Fingerprint: s.leaf, Roots: s.ca.Pool(), Dial: s.dial, Timeout: 5 * time.Second}
}

func ok(w http.ResponseWriter, r *http.Request) {
	if r.Host != name || r.URL.Path != "/health" || r.TLS.ServerName != name {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	_, _ = io.WriteString(w, "all is well")
}

func TestAnswers(t *testing.T) {
	day := 24 * time.Hour
	good := serve(t, 90*day, []string{name}, ok)
	stranger := serve(t, 90*day, []string{name}, ok)
	for _, tt := range []struct {
		name string
		site *site
		edit func(r *Request)
		err  string // "" is proof
	}{
		{"proof", good, nil, ""},
		{"the body holds it", good, func(r *Request) { r.Body = "is well" }, ""},
		{"any leaf that verifies", good, func(r *Request) { r.Fingerprint = "" }, ""},
		{"another body", good, func(r *Request) { r.Body = "is lost" }, `answers 200, but its body does not hold "is lost"`},
		{"another status", good, func(r *Request) { r.Status = 204 }, "answers 200, wanted 204"},
		{"another leaf", good, func(r *Request) { r.Fingerprint = stranger.leaf }, "presents another certificate than the one delivered"},
		{"unknown root", good, func(r *Request) { r.Roots = stranger.ca.Pool() }, "presents a certificate that no trusted root signed"},
		{"wrong name", serve(t, 90*day, []string{"www.other.test"}, ok), nil, "presents a certificate for other names"},
		{"expired", serve(t, -time.Hour, []string{name}, ok), nil, "presents a certificate that has expired or is not yet valid"},
		{"500", serve(t, day, []string{name}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }), nil, "answers 500, wanted 200"},
		{"a redirect is not followed", serve(t, day, []string{name}, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://example.com/", 302) }), nil, "answers 302, wanted 200"},
		{"cut off in its body", serve(t, day, []string{name}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "short")
		}), nil, "stopped in the middle of its answer"},
		{"cut off before its answer", serve(t, day, []string{name}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), nil, "does not answer HTTP"},
		{"nobody listens", good, func(r *Request) {
			r.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
		}, "does not accept a connection: tcp: connection refused"},
		{"not https", good, func(r *Request) { r.URL = "http://" + name }, "is not an https URL"},
		{"an endless body is read no further than needed", serve(t, day, []string{name}, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}), nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.site.request()
			if tt.edit != nil {
				tt.edit(&r)
			}
			err := Answers(t.Context(), r)
			if tt.err == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("%v, want %q", err, tt.err)
			}
			// A server that was born a minute ago may do better in the next one; a wrong plan will not.
			want := provision.Transient
			if tt.name == "not https" {
				want = provision.Final
			}
			if got := provision.ClassOf(err); got != want {
				t.Errorf("class %q, want %q", got, want)
			}
		})
	}
}

// A server that accepts and then says nothing does not hold the proof up.
func TestSilentServer(t *testing.T) {
	s := serve(t, time.Hour, []string{name}, ok)
	r := s.request()
	r.Timeout = 100 * time.Millisecond
	r.Dial = func(context.Context, string, string) (net.Conn, error) {
		a, b := net.Pipe()
		t.Cleanup(func() { _ = b.Close() })
		go func() { _, _ = io.Copy(io.Discard, b) }()
		return a, nil
	}
	began := time.Now()
	if err := Answers(t.Context(), r); err == nil || time.Since(began) > 3*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func args1(s *site, edit provision.Values) provision.Values {
	in := provision.Values{"addresses": []any{"198.51.100.7", "198.51.100.8"}, "url": "https://" + name + "/health", "status": 200, "body": "",
		"successes": 3, "fingerprint": s.leaf, "ca": string(s.ca.PEM())}
	for k, v := range edit {
		in[k] = v
	}
	return in
}

// Several rounds in a row, at every address; one failure begins the count again.
func TestProveCountsInARow(t *testing.T) {
	var n, failAt atomic.Int64
	s := serve(t, time.Hour, []string{name}, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == failAt.Load() {
			w.WriteHeader(503)
		}
	})
	failAt.Store(4) // in the second round
	p := &Prove{Dial: s.dial}
	var seen []string
	for range 10 {
		st, err := p.Check(t.Context(), provision.Step{ID: "prove/a"}, args1(s, nil))
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, string(st.State))
		if st.State == provision.Done {
			if st.Out.Text("proven") != "198.51.100.7 198.51.100.8" {
				t.Errorf("proven: %v", st.Out)
			}
			break
		}
	}
	if got := strings.Join(seen, " "); got != "working working working working done" {
		t.Errorf("rounds: %s", got)
	}
	// Another step's count is its own.
	if st, _ := p.Check(t.Context(), provision.Step{ID: "prove/b"}, args1(s, nil)); st.State != provision.Working {
		t.Errorf("another step: %v", st)
	}
}

// The proof through the name: what the name servers give must be what the run put there.
func TestConfirm(t *testing.T) {
	s := serve(t, time.Hour, []string{name}, ok)
	set := func(values ...string) func(context.Context, string, string, string) (provision.RRset, error) {
		return func(_ context.Context, _, fqdn, typ string) (provision.RRset, error) {
			if fqdn != name+"." {
				return provision.RRset{}, fmt.Errorf("asked for %s", fqdn)
			}
			if typ != "A" {
				return provision.RRset{}, nil
			}
			return provision.RRset{Values: values}, nil
		}
	}
	for _, tt := range []struct {
		name   string
		lookup Lookup
		state  provision.State
		seen   string
	}{
		{"ours", set("198.51.100.7", "198.51.100.8"), provision.Done, ""},
		{"one of ours", set("198.51.100.8"), provision.Done, ""},
		{"somebody else's", set("203.0.113.1"), provision.Working, "www.shop.test gives 203.0.113.1, which this run did not put there"},
		{"nothing", set(), provision.Working, "www.shop.test has no address"},
		{"silence", func(context.Context, string, string, string) (provision.RRset, error) {
			return provision.RRset{}, errors.New("name server ns1 does not answer")
		}, provision.Working, "name server ns1 does not answer"},
		{"only the second answers", func(ctx context.Context, ns, fqdn, typ string) (provision.RRset, error) {
			if ns == "ns1" {
				return provision.RRset{}, errors.New("silence")
			}
			return set("198.51.100.7")(ctx, ns, fqdn, typ)
		}, provision.Done, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &Confirm{Prove: Prove{Dial: s.dial}, Lookup: tt.lookup}
			st, err := c.Check(t.Context(), provision.Step{ID: "confirm"}, args1(s, provision.Values{"successes": 1, "name_servers": []any{"ns1", "ns2"}}))
			if err != nil || st.State != tt.state || tt.seen != "" && st.Seen != tt.seen {
				t.Errorf("%s %q, %v; want %s %q", st.State, st.Seen, err, tt.state, tt.seen)
			}
		})
	}
	both := &Confirm{Prove: Prove{Dial: s.dial}, Lookup: func(_ context.Context, _, _, typ string) (provision.RRset, error) { // a name with records of both kinds
		return provision.RRset{Values: []string{map[string]string{"A": "203.0.113.1", "AAAA": "2001:db8::7"}[typ]}}, nil
	}}
	if st, err := both.Check(t.Context(), provision.Step{ID: "six"}, args1(s, provision.Values{"successes": 1, "name_servers": []any{"ns1"}, "addresses": []any{"2001:db8::7"}})); err != nil || st.State != provision.Done {
		t.Errorf("its AAAA record, beside an A record: %s %q, %v", st.State, st.Seen, err)
	}
	c := &Confirm{Lookup: set()}
	if st, _ := c.Check(t.Context(), provision.Step{}, args1(s, provision.Values{"name_servers": []any{}})); st.State != provision.Working || st.Seen != "no name server is known" {
		t.Errorf("without name servers: %+v", st)
	}
}

func TestNoAddressIsNoProof(t *testing.T) {
	s := serve(t, time.Hour, []string{name}, ok)
	if st, err := (&Prove{Dial: s.dial}).Check(t.Context(), provision.Step{}, args1(s, provision.Values{"addresses": []any{}, "successes": 1})); err == nil || st.State == provision.Done {
		t.Errorf("%v, %v", st, err)
	}
}

// A step and its handler that disagree must not fail in silence.
func TestUnknownArgument(t *testing.T) {
	if _, err := (&Prove{}).Check(t.Context(), provision.Step{}, provision.Values{"adresses": []any{}}); err == nil || !strings.Contains(err.Error(), "adresses") {
		t.Error(err)
	}
}
