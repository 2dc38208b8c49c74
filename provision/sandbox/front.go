package sandbox

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// front is what a load balancer serves with: it ends TLS with the certificates of its listeners, redirects, and hands
// requests to the members that are well. It comes to life when somebody connects.
//
// Its mutex is taken with the cloud's held, never the other way round.
type front struct {
	c *Cloud
	b *balancer

	mu      sync.Mutex
	stopped bool
	ln      map[string]net.Listener
	servers []*http.Server
	turn    int
}

func newFront(c *Cloud, b *balancer) *front {
	return &front{c: c, b: b, ln: map[string]net.Listener{}}
}

func (f *front) stop() {
	f.mu.Lock()
	f.stopped = true
	servers := f.servers
	for _, l := range f.ln {
		l.Close()
	}
	clear(f.ln)
	f.mu.Unlock()
	for _, s := range servers {
		s.Close()
	}
}

// listener returns what listens on a port, opening it at first use; nil means that nothing does.
func (f *front) listener(port, ip string) net.Listener {
	i := slices.IndexFunc(f.b.listeners, func(l *lbListener) bool { return strconv.Itoa(l.port) == port })
	f.mu.Lock()
	defer f.mu.Unlock()
	if i < 0 || f.stopped {
		return nil
	}
	if l := f.ln[port]; l != nil {
		return l
	}
	l := f.c.openAt(ip, port)
	if l == nil {
		return nil
	}
	f.ln[port] = l
	secure := f.b.listeners[i].protocol == "TERMINATED_HTTPS"
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if x := f.at(port); x != nil {
				f.handler(x).ServeHTTP(w, r)
			} else {
				panic(http.ErrAbortHandler) // it does not listen there any more
			}
		}),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if x := f.at(port); x != nil {
				return f.config(x), nil
			}
			return nil, errors.New("nothing listens there any more")
		}}}
	f.servers = append(f.servers, srv)
	f.c.wg.Go(func() {
		if secure {
			srv.ServeTLS(l, "", "")
		} else {
			srv.Serve(l)
		}
	})
	return l
}

// at gives what listens on a port now: a change puts another one in its place.
func (f *front) at(port string) *lbListener {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	i := slices.IndexFunc(f.b.listeners, func(l *lbListener) bool { return strconv.Itoa(l.port) == port })
	if i < 0 {
		return nil
	}
	return f.b.listeners[i]
}

// openAt listens for an address of the sandbox: on it where it is this machine's, which a private one is not.
func (c *Cloud) openAt(ip, port string) net.Listener {
	if c.opts.InMemory {
		return newMemListener(net.JoinHostPort(ip, port))
	}
	if a, err := netip.ParseAddr(ip); err != nil || !a.IsLoopback() {
		ip = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return nil
	}
	return l
}

// config presents the certificate for the name that the client asks for, or else the default.
func (f *front) config(l *lbListener) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		f.c.mu.Lock()
		certs := l.certs // an update puts others in their place
		f.c.mu.Unlock()
		for i := range certs {
			if h.SupportsCertificate(&certs[i]) == nil {
				return &certs[i], nil
			}
		}
		return &certs[0], nil
	}}
	if len(l.versions) > 0 {
		if !slices.Contains(l.versions, "TLSv1.3") {
			cfg.MaxVersion = tls.VersionTLS12
		}
		if !slices.Contains(l.versions, "TLSv1.2") {
			cfg.MinVersion = tls.VersionTLS13
		}
	}
	return cfg
}

// handler does what the listener says: a policy first, then the pool.
func (f *front) handler(l *lbListener) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.redirect {
			host, _, err := net.SplitHostPort(r.Host)
			if err != nil {
				host = r.Host
			}
			w.Header().Set("Location", "https://"+host+r.URL.RequestURI())
			w.WriteHeader(http.StatusMovedPermanently)
			return
		}
		f.c.mu.Lock()
		policies := make([]lbPolicy, 0, len(l.policies))
		for _, p := range l.policies {
			policies = append(policies, lbPolicy{action: p.action, prefix: p.prefix, url: p.url, code: p.code, position: p.position, rules: slices.Clone(p.rules)})
		}
		f.c.mu.Unlock()
		slices.SortStableFunc(policies, func(a, b lbPolicy) int { return cmp.Compare(a.position, b.position) })
		for _, p := range policies {
			if !p.matches(r) {
				continue
			}
			switch p.action {
			case "REDIRECT_PREFIX":
				w.Header().Set("Location", p.prefix+r.URL.RequestURI())
				w.WriteHeader(cmp.Or(p.code, http.StatusFound))
			case "REDIRECT_TO_URL":
				w.Header().Set("Location", p.url)
				w.WriteHeader(cmp.Or(p.code, http.StatusFound))
			default:
				http.Error(w, "Forbidden", http.StatusForbidden)
			}
			return
		}
		m := f.member(r.Context(), l.pool)
		if m == nil {
			http.Error(w, "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>", http.StatusServiceUnavailable)
			return
		}
		f.proxy(l, m).ServeHTTP(w, r)
	})
}

// matches reports whether all rules of a policy hold; one without rules is never taken, as in octavia.
func (p lbPolicy) matches(r *http.Request) bool {
	for _, rule := range p.rules {
		var have string
		switch rule.kind {
		case "HOST_NAME":
			have = strings.ToLower(r.Host)
		case "PATH":
			have = r.URL.Path
		case "HEADER":
			have = r.Header.Get(rule.key)
		}
		ok := false
		switch rule.compare {
		case "EQUAL_TO":
			ok = have == rule.value
		case "STARTS_WITH":
			ok = strings.HasPrefix(have, rule.value)
		case "ENDS_WITH":
			ok = strings.HasSuffix(have, rule.value)
		case "CONTAINS":
			ok = strings.Contains(have, rule.value)
		}
		if ok == rule.invert {
			return false
		}
	}
	return len(p.rules) > 0
}

// member gives the next one that is enabled and well; nil where there is none.
func (f *front) member(ctx context.Context, p *lbPool) *lbMember {
	if p == nil {
		return nil
	}
	f.c.mu.Lock()
	members, monitor := slices.Clone(p.members), p.monitor
	f.c.mu.Unlock()
	f.mu.Lock()
	f.turn++
	turn := f.turn
	f.mu.Unlock()
	for i := range members {
		m := members[(turn+i)%len(members)]
		if !m.down && m.weight > 0 && f.well(ctx, p, m, monitor) {
			return m
		}
	}
	return nil
}

// well asks a member as the health monitor says, no oftener than it says. Unlike a real one it asks when there is a request to
// serve, so that nothing moves by itself, and one answer is enough.
func (f *front) well(ctx context.Context, p *lbPool, m *lbMember, h *lbMonitor) bool {
	if h == nil {
		return true
	}
	f.c.mu.Lock()
	fresh, well := time.Since(m.checked) < time.Duration(h.delay)*time.Second && m.well, m.well
	f.c.mu.Unlock()
	if fresh {
		return well
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(h.timeout, 1))*time.Second)
	defer cancel()
	well = f.answers(ctx, p, m, h)
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	m.checked, m.well = time.Now(), well
	return well
}

func (f *front) answers(ctx context.Context, p *lbPool, m *lbMember, h *lbMonitor) bool {
	if h.kind == connects {
		conn, err := f.c.dial(ctx, "tcp", m.hostPort(), f.b.region)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.scheme()+"://"+m.hostPort()+h.path, nil)
	if err != nil {
		return false
	}
	r.Host = h.host
	res, err := f.transport().RoundTrip(r)
	if err != nil {
		return false
	}
	res.Body.Close()
	return h.good(res.StatusCode)
}

// good tells whether an answer is what the monitor wants.
func (h *lbMonitor) good(status int) bool {
	if h.status != "" {
		ok, err := regexp.MatchString(h.status, strconv.Itoa(status))
		return ok && err == nil
	}
	return slices.Contains(strings.Split(h.codes, ","), strconv.Itoa(status))
}

func (m *lbMember) hostPort() string { return net.JoinHostPort(m.address, strconv.Itoa(m.port)) }

func (p *lbPool) scheme() string {
	if p.tls {
		return "https"
	}
	return "http"
}

// transport reaches members from inside the region. Without a CA of the pool's octavia verifies no member.
func (f *front) transport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return f.c.dial(ctx, network, addr, f.b.region)
		},
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true,
	}
}

func (f *front) proxy(l *lbListener, m *lbMember) http.Handler {
	return &httputil.ReverseProxy{
		Transport: f.transport(),
		ErrorLog:  log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: l.pool.scheme(), Host: m.hostPort()})
			r.Out.Host = r.In.Host
			if l.headers["X-Forwarded-For"] == "true" {
				r.SetXForwarded()
			}
			if l.headers["X-Forwarded-Port"] == "true" {
				r.Out.Header.Set("X-Forwarded-Port", fmt.Sprint(l.port))
			}
		},
	}
}
