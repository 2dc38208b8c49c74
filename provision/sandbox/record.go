package sandbox

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Request is one API request that the sandbox received. SSH sessions and DNS
// queries are not among them.
type Request struct {
	Time    time.Time
	Service string // keystone, nova, glance, neutron, designate, octavia, barbican, identity, clouddns or clb
	Region  string // empty for keystone and designate
	Method  string
	Path    string
	Query   string
	Body    []byte // empty for /v3/auth/tokens: it holds the password
	Status  int    // 0: never answered
}

type requestLog struct {
	mu    sync.Mutex
	all   []Request
	conns int // open now, of all services
	most  int // at any one time
}

func (l *requestLog) connected(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns += n
	l.most = max(l.most, l.conns)
}

// MostConnections is how many connections to the APIs were open at one time, at the most.
func (c *Cloud) MostConnections() int {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	return c.log.most
}

func (l *requestLog) begin(s *service, r *http.Request, body []byte) int {
	if s.name == "keystone" || s.name == "identity" {
		body = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, Request{Time: time.Now(), Service: s.name, Region: s.region,
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Body: body})
	return len(l.all) - 1
}

func (l *requestLog) end(n, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[n].Status = status
}

// Requests is the log of API requests so far, in order of arrival.
func (c *Cloud) Requests() []Request {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	return slices.Clone(c.log.all)
}

// Writes counts the requests that meant to change something: all but GET and
// HEAD, but POST of tokens, for a token is not a change, and but the action
// that reads a console, which nova wants as a POST.
func (c *Cloud) Writes() int {
	n := 0
	for _, r := range c.Requests() {
		token := r.Service == "keystone" && strings.TrimSuffix(r.Path, "/") == "/v3/auth/tokens" || r.Service == "identity"
		console := strings.HasSuffix(r.Path, "/action") && bytes.Contains(r.Body, []byte(`"os-getConsoleOutput"`))
		if r.Method != "GET" && r.Method != "HEAD" && !token && !console {
			n++
		}
	}
	return n
}
