package openstack

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dripstat/failover/provision"
	"golang.org/x/time/rate"
)

const (
	maxConns    = 16 // open at one time, to all services together
	maxStreams  = 32 // requests under way over HTTP/2, which needs one connection a service
	dialTimeout = 5 * time.Second
	maxBody     = 64 << 20
	maxAttempts = 5               // of one read
	maxGate     = 2 * time.Minute // the longest that a Retry-After holds others back
)

// transport is what every request goes through: rate, connections, timeouts, repeats of reads, waits that
// the cloud asked for, counting, and a debug line. It reads bodies wholly, so that connections are reused
// and a body that breaks off is repeated like any other failed read.
type transport struct {
	base    http.RoundTripper
	limit   *rate.Limiter
	timeout time.Duration
	log     *slog.Logger
	agent   string
	sent    atomic.Int64
	writes  atomic.Int64

	// slots are taken before the timeout begins to run: waiting for a connection is no failure. They are
	// shared by all services, so that a run is never more than maxConns connections to a cloud. Services
	// that speak HTTP/2 need one connection each and have slots of their own.
	slots, streams chan struct{}

	mu    sync.Mutex
	hosts map[string]*host
	skew  skew
}

// host is what is shared by all requests to one scheme and host.
type host struct {
	h2            atomic.Bool // it was seen to speak HTTP/2
	mu            sync.Mutex
	until         time.Time // nothing is sent before
	local, remote netip.Addr
}

func newTransport(s settings, o Options) (*transport, error) {
	tc := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca := slices.Concat(s.ca, o.CACert); len(ca) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(ca) {
			return nil, &provision.Error{What: s.source + ": cacert holds no certificate in PEM", Class: provision.Final}
		}
		tc.RootCAs = pool
	}
	if s.cert != nil {
		tc.Certificates = []tls.Certificate{*s.cert}
	}
	network := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       tc,
		TLSHandshakeTimeout:   dialTimeout,
		ForceAttemptHTTP2:     true,
		MaxConnsPerHost:       maxConns,
		MaxIdleConnsPerHost:   maxConns,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	t := &transport{
		base: network,
		// A net below mistakes, not a pace: 200 creates over 16 connections go out unhindered.
		limit:   rate.NewLimiter(100, 320),
		timeout: o.Timeout,
		log:     o.Log,
		agent:   o.UserAgent,
		hosts:   map[string]*host{},
		slots:   make(chan struct{}, maxConns),
		streams: make(chan struct{}, maxStreams),
	}
	network.DialContext = (&dialer{idle: network.CloseIdleConnections}).dial
	if o.RoundTripper != nil {
		t.base = o.RoundTripper
	}
	if t.timeout <= 0 {
		t.timeout = 30 * time.Second
	}
	return t, nil
}

// dialer keeps the number of open connections within maxConns: requests under way are bounded by slots, so
// when there is no room for one more, idle ones of other services make it.
type dialer struct {
	open atomic.Int64
	idle func() // closes idle connections
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.open.Add(1) > maxConns {
		d.idle()
	}
	c, err := (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		d.open.Add(-1)
		return nil, err
	}
	return &counted{Conn: c, open: &d.open}, nil
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// client never follows a redirect to another host: X-Auth-Token would go along.
func (t *transport) client() http.Client {
	return http.Client{Transport: t, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > 3 || req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme || req.Method != http.MethodGet || via[0].Method != http.MethodGet {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

func (t *transport) host(req *http.Request) *host {
	key := req.URL.Scheme + "://" + req.URL.Host
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hosts[key]
	if h == nil {
		h = &host{}
		t.hosts[key] = h
	}
	return h
}

// RoundTrip repeats reads that failed in a way that may pass. Writes are sent once.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	h := t.host(req)
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	for attempt := 1; ; attempt++ {
		if err := h.pass(ctx); err != nil {
			closeBody(req)
			return nil, err
		}
		if err := t.limit.Wait(ctx); err != nil {
			closeBody(req)
			return nil, unsent{err}
		}
		slots := t.slots
		if h.h2.Load() {
			slots = t.streams
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			closeBody(req)
			return nil, unsent{ctx.Err()}
		}
		resp, err := t.once(h, req, read)
		<-slots
		wait, asked := time.Duration(0), false
		if resp != nil {
			if wait, asked = retryAfter(resp, time.Now()); asked {
				h.hold(min(wait, maxGate))
			}
		}
		if !read || attempt == maxAttempts || !repeatable(resp, err) || ctx.Err() != nil {
			return resp, err
		}
		// The gate waits for what was asked for; this only spreads those who wait there.
		back := min(200*time.Millisecond<<(attempt-1), 2*time.Second)
		if asked {
			back = 100 * time.Millisecond
		}
		if err := sleep(ctx, back/2+t.spread(back/2)); err != nil {
			return nil, err // with an answer beside it net/http would complain on stderr
		}
	}
}

// spread gives a part of d that differs from request to request. It is no chance, so that tests repeat exactly.
func (t *transport) spread(d time.Duration) time.Duration {
	return d * time.Duration(t.sent.Load()*618%1000) / 1000
}

// once sends the request and reads the whole answer, within the timeout of one request.
func (t *transport) once(h *host, req *http.Request, read bool) (*http.Response, error) {
	timeout := t.timeout
	if !read { // a create that is slow is better waited for than looked for
		timeout *= 2
	}
	ctx, cancel := context.WithTimeout(req.Context(), timeout)
	defer cancel()
	begun := time.Now()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			begun = time.Now()
			h.met(i.Conn)
		},
	})
	out := req.Clone(ctx)
	if t.agent != "" {
		out.Header.Set("User-Agent", t.agent)
	}
	t.sent.Add(1)
	if !read && !isLogin(req) {
		t.writes.Add(1)
	}
	first := time.Now()
	resp, err := t.base.RoundTrip(out)
	var body []byte
	if err == nil {
		got := time.Now()
		h.h2.Store(resp.ProtoMajor == 2)
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		t.mu.Lock()
		t.skew.add(resp.Header.Get("Date"), begun, got)
		t.mu.Unlock()
	}
	if t.log != nil {
		status, why := 0, ""
		if resp != nil {
			status = resp.StatusCode
		}
		if err != nil {
			why = scrub(err.Error())
		}
		t.log.Debug("request", "method", req.Method, "host", req.URL.Host, "path", req.URL.Path, "status", status,
			"took", time.Since(first).Round(time.Millisecond), "error", why)
	}
	if err != nil {
		if ctx.Err() != nil && req.Context().Err() == nil {
			err = timeoutError{timeout}
		}
		return nil, err
	}
	return resp, nil
}

// isLogin tells the request for a token, which changes nothing.
func isLogin(req *http.Request) bool {
	return strings.HasSuffix(req.URL.Path, "/auth/tokens") || strings.HasSuffix(req.URL.Path, "/v2.0/tokens")
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// pass waits until the host may be spoken to again.
func (h *host) pass(ctx context.Context) error {
	for {
		h.mu.Lock()
		d := time.Until(h.until)
		h.mu.Unlock()
		if d <= 0 {
			return nil
		}
		if err := sleep(ctx, d); err != nil {
			return unsent{err}
		}
	}
}

func (h *host) hold(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if u := time.Now().Add(d); u.After(h.until) {
		h.until = u
	}
}

func (h *host) met(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.local, h.remote = addr(c.LocalAddr()), addr(c.RemoteAddr())
}

func addr(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap()
}

// repeatable says whether a read that went so may go otherwise next time.
func repeatable(resp *http.Response, err error) bool {
	if err != nil {
		return transientNet(err)
	}
	switch resp.StatusCode {
	case 429, 500, 502, 503, 504:
		return true
	case 413:
		return resp.Header.Get("Retry-After") != "" || resp.Header.Get("Reply-After") != ""
	}
	return false
}

// timeoutError is the end of one request's own time, not of the caller's.
type timeoutError struct{ after time.Duration }

func (e timeoutError) Error() string { return fmt.Sprintf("no answer within %s", e.after) }
func (e timeoutError) Timeout() bool { return true }

// unsent says that the request never left.
type unsent struct{ error }

func (e unsent) Unwrap() error { return e.error }

// transientNet: everything that is not a refusal by name or by certificate.
func transientNet(err error) bool {
	var cert *tls.CertificateVerificationError
	var rec tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case errors.As(err, &cert), errors.As(err, &rec), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	}
	return true
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
