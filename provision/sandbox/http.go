package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// service is one API of one region (region is empty for keystone and designate,
// which no region owns). The handler knows nothing of sockets: do turns a
// request into a reply or into the error that a broken network would give.
type service struct {
	c      *Cloud
	name   string
	region string
	routes []route
	fail   func(r *call, status int, message string) any
	addr   string              // host:port
	rooms  map[string]*service // services behind this address, by the first part of a path

	ln  net.Listener
	srv *http.Server
}

// call is one request on its way through a service. Handlers run with the
// cloud's mutex held and must not wait.
type call struct {
	*http.Request
	c      *Cloud
	s      *service
	region string
	now    time.Time
	id     string // req-…
	body   []byte
	vars   map[string]string
	micro  int // nova's minor microversion: 2.93 is 93
	token  *token
	header http.Header // of the reply
	lose   bool        // the reply never reaches the client
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

// handler answers with a status and what becomes the JSON body (nil for none).
type handler func(r *call) (int, any)

type route struct {
	method string
	path   []string // {x} matches one segment
	open   bool     // needs no token
	do     handler
}

func on(pattern string, do handler) route {
	m, p, _ := strings.Cut(pattern, " ")
	r := route{method: m, do: do}
	if strings.HasPrefix(m, "!") {
		r.method, r.open = m[1:], true
	}
	r.path = segments(p)
	return r
}

func segments(p string) []string {
	return strings.FieldsFunc(p, func(c rune) bool { return c == '/' })
}

func (rt route) match(segs []string) (map[string]string, bool) {
	if len(segs) != len(rt.path) {
		return nil, false
	}
	for i, p := range rt.path {
		if p != segs[i] && !strings.HasPrefix(p, "{") {
			return nil, false
		}
	}
	vars := map[string]string{}
	for i, p := range rt.path {
		if strings.HasPrefix(p, "{") {
			v, err := url.PathUnescape(segs[i])
			if err != nil {
				return nil, false
			}
			vars[strings.Trim(p, "{}")] = v
		}
	}
	return vars, true
}

func (c *Cloud) newService(name, region string, routes []route, fail func(*call, int, string) any) *service {
	return &service{c: c, name: name, region: region, routes: routes, fail: fail}
}

// open listens, on the port that the service had before if it had one: the
// catalog that clients hold must stay true when a dark region lights up again.
func (s *service) open() error {
	addr := s.addr
	if addr == "" {
		addr = net.JoinHostPort(s.c.opts.Addr, "0")
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%s %s: %w", s.name, s.region, err)
	}
	if s.addr == "" { // set once: others read it without a lock
		s.addr = ln.Addr().String()
	}
	s.ln = ln
	srv := &http.Server{
		Handler:           s,
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
		BaseContext:       func(net.Listener) context.Context { return s.c.ctx },
		ConnState: func(_ net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew:
				s.c.log.connected(1)
			case http.StateClosed, http.StateHijacked:
				s.c.log.connected(-1)
			default:
			}
		},
	}
	s.srv = srv
	if s.c.tls != nil {
		srv.TLSConfig = s.c.tls.Clone() // Serve adds to it
		s.c.wg.Go(func() { srv.ServeTLS(ln, "", "") })
		return nil
	}
	s.c.wg.Go(func() { srv.Serve(ln) })
	return nil
}

func (s *service) shut() {
	if s.srv != nil {
		s.srv.Close()
		s.srv, s.ln = nil, nil
	}
}

var errReset = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}

func refused(network, addr string) error {
	a, _ := net.ResolveTCPAddr("tcp", addr)
	return &net.OpError{Op: "dial", Net: network, Addr: a, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// ServeHTTP serves the API over a socket. An error of do becomes a reset
// connection: that is what the client of a dead machine sees.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rep, err := s.do(r)
	if err != nil {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			if t, ok := conn.(*net.TCPConn); ok {
				t.SetLinger(0) // close with RST, not FIN
			}
			conn.Close()
			return
		}
		panic(http.ErrAbortHandler)
	}
	for k, v := range rep.header {
		w.Header()[k] = v
	}
	w.WriteHeader(rep.status)
	w.Write(rep.body)
}

// RoundTripper serves the APIs by host:port in memory, without a socket.
// Requests for other hosts are refused.
func (c *Cloud) RoundTripper() http.RoundTripper { return memTransport{c} }

type memTransport struct{ c *Cloud }

func (t memTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	s := t.c.byHost[r.URL.Host]
	if s == nil {
		return nil, refused("tcp", r.URL.Host)
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rep, err := s.do(in)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", rep.status, http.StatusText(rep.status)), StatusCode: rep.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: rep.header, Body: io.NopCloser(bytes.NewReader(rep.body)),
		ContentLength: int64(len(rep.body)), Request: r,
	}, nil
}

func (s *service) refuses() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	dark, hang := s.c.dark(s.region)
	return dark && !hang || s.c.ctx.Err() != nil
}

func (c *Cloud) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return errReset
	}
}

func (s *service) do(r *http.Request) (*reply, error) {
	c := s.c
	if room, in := s.room(r); room != nil {
		return room.do(in)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if s.refuses() {
		return nil, refused("tcp", s.addr) // a socket would not have let it in either: nothing to log
	}
	n := c.log.begin(s, r, body)
	if s.region != "" {
		if err := c.awaitLight(r.Context(), s.region, s.addr); err != nil {
			return nil, err
		}
	}
	if c.opts.Latency > 0 {
		if err := c.sleep(r.Context(), c.opts.Latency); err != nil {
			return nil, err
		}
	}
	k := &call{Request: r, c: c, s: s, region: s.region, now: time.Now(), body: body,
		id: "req-" + uuid(), micro: 1, header: http.Header{}}
	k.header.Set("Content-Type", "application/json")
	k.header.Set("X-Openstack-Request-Id", k.id)
	k.header.Set("Date", k.now.UTC().Format(http.TimeFormat))

	c.mu.Lock()
	c.sweep(k.now)
	status, val := k.route()
	c.mu.Unlock()

	c.log.end(n, status)
	if k.lose {
		return nil, errReset
	}
	rep := &reply{status: status, header: k.header}
	if raw, ok := val.(rawBody); ok {
		rep.body = []byte(raw)
	} else if val != nil && status != http.StatusNoContent {
		if rep.body, err = json.Marshal(val); err != nil {
			return nil, err
		}
	}
	if rep.body == nil {
		k.header.Del("Content-Type")
	}
	if status != http.StatusNoContent {
		k.header.Set("Content-Length", strconv.Itoa(len(rep.body)))
	}
	return rep, nil
}

func (k *call) route() (int, any) {
	if status, val := k.faulty(); status != 0 {
		return status, val
	}
	segs, methods := segments(k.URL.EscapedPath()), []string{}
	for _, rt := range k.s.routes {
		vars, ok := rt.match(segs)
		if !ok {
			continue
		}
		if rt.method != k.Method && (k.Method != "HEAD" || rt.method != "GET") {
			methods = append(methods, rt.method)
			continue
		}
		k.vars = vars
		if !rt.open {
			if k.token = k.good(k.Header.Get("X-Auth-Token")); k.token == nil {
				return k.unauthorized()
			}
		}
		if k.s.name == "nova" && k.c.opts.Rackspace == nil {
			if status, val := k.microversion(); status != 0 {
				return status, val
			}
		}
		return rt.do(k)
	}
	// A real service asks for a token before it says that a path is unknown.
	if k.s.name != "keystone" && k.s.name != "identity" && k.good(k.Header.Get("X-Auth-Token")) == nil {
		return k.unauthorized()
	}
	if len(methods) > 0 {
		k.header.Set("Allow", strings.Join(methods, ", "))
		return k.err(405, "The method %s is not allowed for this resource.", k.Method)
	}
	return k.err(404, "The resource could not be found.")
}

// keystone is the address of the one that is asked for tokens here.
func (k *call) keystone() string {
	if u := k.c.url("keystone", k.region); u != "" {
		return u
	}
	return k.c.url("keystone", "")
}

// unauthorized is keystonemiddleware's answer, the same before every service. Those of Rackspace's first cloud have each its own.
func (k *call) unauthorized() (int, any) {
	if k.c.opts.Rackspace != nil {
		return k.err(401, "Invalid authentication token. Please renew")
	}
	k.header.Set("WWW-Authenticate", fmt.Sprintf("Keystone uri=%q", k.keystone()))
	return 401, keystoneError(k, 401, "The request you have made requires authentication.")
}

func (k *call) err(status int, format string, a ...any) (int, any) {
	msg := format
	if len(a) > 0 {
		msg = fmt.Sprintf(format, a...)
	}
	return status, k.s.fail(k, status, msg)
}

// decode reads the JSON body into v.
func (k *call) decode(v any) error {
	if len(k.body) == 0 {
		return errors.New("empty body")
	}
	return json.Unmarshal(k.body, v)
}

func (k *call) malformed() (int, any) { return k.err(400, "Malformed request body") }

// rawBody is a body that is not JSON.
type rawBody string

func statusTitle(status int) string { return http.StatusText(status) }

// obj is a JSON object under construction.
type obj = map[string]any

// page cuts a list the way nova, glance, neutron and designate do: marker is the
// id of the last item seen, limit the most to return. more says that a next page exists.
func page[T any](k *call, all []T, id func(T) string) (part []T, more, ok bool) {
	q := k.URL.Query()
	if m := q.Get("marker"); m != "" {
		i := 0
		for ; i < len(all) && id(all[i]) != m; i++ {
		}
		if i == len(all) {
			return nil, false, false
		}
		all = all[i+1:]
	}
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 && n < len(all) {
		return all[:n], true, true
	}
	return all, false, true
}

// next is the query of the page after the item called marker.
func (k *call) next(marker string) string {
	q := k.URL.Query()
	q.Set("marker", marker)
	return k.URL.Path + "?" + q.Encode()
}

func (k *call) self(path string) string { return k.c.scheme() + k.s.addr + path }
