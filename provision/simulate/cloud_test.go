package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dripstat/failover/provision"
)

// RoundTrip is the network between one process and the cloud: requests and answers are lost, late and broken
// when the seed says so, and the process may die at any of them.
func (p *process) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if p.gone() {
		return nil, context.Canceled
	}
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		req.Body.Close()
	}
	p.w.queue(fmt.Sprintf("%v %v %s %s %s", p, ctx.Value(asker{}), req.Method, req.URL, body))
	c := classify(req, body)
	r := p.w.dice(c.what)
	p.w.mu.Lock()
	p.w.seen.Requests++
	p.w.mu.Unlock()
	if !p.point("before " + c.what) {
		return nil, context.Canceled
	}
	if c.write {
		p.w.fenced(p, c)
		p.w.permitted(p, c)
	}
	// Every request takes a time of its own: two things that happen in the same instant have no order.
	if err := p.wait(ctx, time.Duration(1000+r.IntN(40000))*time.Microsecond); err != nil {
		return nil, err
	}
	fault := "none"
	if p.w.strikes(r) {
		fault = pick(r, c.faults()...)
		p.w.note("%v fault: %s at %s", p, fault, c.what)
	}
	switch fault { // those that come before any effect
	case "request lost":
		return nil, reset()
	case "hangs":
		if err := p.wait(ctx, 3*time.Minute); err != nil {
			return nil, err
		}
		return nil, reset()
	case "refused":
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case "500", "503", "429":
		return refuse(req, r, fault), nil
	case "late":
		if err := p.wait(ctx, span(r, 0, 8*time.Second)); err != nil {
			if c.write && r.IntN(2) == 0 { // it was on the wire when the process died or gave up
				go p.w.arrive(p, req, body, c, span(r, 0, 2*time.Second))
			}
			return nil, err
		}
	case "empty list", "stale":
	}
	resp, err := p.w.deliver(p, req, body, c)
	if err != nil {
		return nil, err
	}
	if !p.point("after " + c.what) {
		return nil, context.Canceled
	}
	return p.answer(ctx, req, resp, r, fault, c)
}

// asker is the key of the step that a request is sent for.
type asker struct{}

// instant is whatever happens at one moment.
type instant struct {
	at     time.Time
	what   []string
	sorted bool
}

// queue lets those who come in the same instant go on one after another, a nanosecond apart, in the order of what they are
// about: several wait for one rate limit to end, and timers that end together end in random order.
func (w *world) queue(what string) {
	w.mu.Lock()
	if now := time.Now(); w.now == nil || !w.now.at.Equal(now) {
		w.now = &instant{at: now}
	}
	here := w.now
	here.what = append(here.what, what)
	w.mu.Unlock()
	time.Sleep(time.Nanosecond) // all have come
	w.mu.Lock()
	if !here.sorted {
		slices.Sort(here.what)
		here.sorted = true
	}
	before, _ := slices.BinarySearch(here.what, what)
	w.mu.Unlock()
	time.Sleep(time.Duration(before))
}

// answer is what comes back of a request that was performed.
func (p *process) answer(ctx context.Context, req *http.Request, resp *http.Response, r *rand.Rand, fault string, c class) (*http.Response, error) {
	switch fault {
	case "reply lost":
		return nil, reset()
	case "reply hangs":
		if err := p.wait(ctx, 3*time.Minute); err != nil {
			return nil, err
		}
		return nil, reset()
	case "reply late":
		if err := p.wait(ctx, span(r, 0, 25*time.Second)); err != nil {
			return nil, err
		}
	case "500 after":
		return refuse(req, r, "500"), nil
	case "half":
		b, _ := io.ReadAll(resp.Body)
		return with(resp, b[:len(b)/2]), nil
	case "html":
		resp.Header.Set("Content-Type", "text/html")
		return with(resp, []byte("<html><title>Sign in</title></html>")), nil
	case "empty list":
		return with(resp, []byte(`{"`+c.list+`": []}`)), nil
	}
	if c.list == "servers" {
		return p.w.lagging(resp), nil
	}
	return resp, nil
}

// arrive performs a request whose sender is no more.
func (w *world) arrive(p *process, req *http.Request, body []byte, c class, after time.Duration) {
	time.Sleep(after)
	if resp, err := w.deliver(p, req.WithContext(context.Background()), body, c); err == nil {
		resp.Body.Close()
		w.note("%v %s arrived after all: %d", p, c.what, resp.StatusCode)
	}
}

// deliver performs the request on the cloud, and looks what it did.
func (w *world) deliver(p *process, req *http.Request, body []byte, c class) (*http.Response, error) {
	if w.flex() && strings.HasPrefix(req.URL.Path, "/"+home+"/") {
		w.wrong("the identity service of the region that is left was asked")
	}
	if c.write && p.purpose == "deliver" && !delivers(c.kind) {
		w.wrong("%s was sent, and only a certificate was to be delivered", c.what)
	}
	out := req.Clone(req.Context())
	out.Body = io.NopCloser(bytes.NewReader(body))
	if c.write {
		w.goingHome(p, c)
		if c.kind == "dns" && len(body) > 0 {
			w.moved(p, written(body))
		}
	}
	resp, err := w.box.RoundTripper().RoundTrip(out)
	if err != nil || !c.write {
		return resp, err
	}
	w.note("%v %s → %d", p, c.what, resp.StatusCode)
	if resp.StatusCode < 300 {
		w.changed(p, c)
		if c.kind == "server.create" {
			b, _ := io.ReadAll(resp.Body)
			var got struct{ Server struct{ ID string } }
			_ = json.Unmarshal(b, &got)
			w.mu.Lock()
			w.born[got.Server.ID] = time.Now()
			w.mu.Unlock()
			resp = with(resp, b)
		}
	}
	return resp, nil
}

// lagging takes servers out of a list that were made moments ago.
func (w *world) lagging(resp *http.Response) *http.Response {
	if !w.anyYoung() {
		return resp
	}
	b, _ := io.ReadAll(resp.Body)
	var page map[string]json.RawMessage
	var servers, kept []json.RawMessage
	if json.Unmarshal(b, &page) != nil || json.Unmarshal(page["servers"], &servers) != nil {
		return with(resp, b)
	}
	kept = []json.RawMessage{}
	for _, s := range servers {
		var id struct{ ID string }
		_ = json.Unmarshal(s, &id)
		w.mu.Lock()
		hidden := w.young(id.ID)
		w.mu.Unlock()
		if !hidden {
			kept = append(kept, s)
		}
	}
	page["servers"], _ = json.Marshal(kept)
	b, _ = json.Marshal(page)
	return with(resp, b)
}

func (w *world) anyYoung() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.born {
		if w.young(id) {
			return true
		}
	}
	return false
}

// young says whether lists may lack the server yet; w.mu is held.
func (w *world) young(id string) bool { return !w.calm && time.Since(w.born[id]) < w.lag }

func with(resp *http.Response, body []byte) *http.Response {
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return resp
}

func reset() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

// refuse makes an error answer; 429 and 503 may say for how long, in every form that clouds use.
func refuse(req *http.Request, r *rand.Rand, status string) *http.Response {
	now := time.Now().UTC()
	code := map[string]int{"500": 500, "503": 503, "429": 429}[status]
	h := http.Header{"Content-Type": {"application/json"}, "Date": {now.Format(http.TimeFormat)}}
	if code != 500 {
		at := now.Add(time.Duration(1+r.IntN(20)) * time.Second)
		switch r.IntN(5) {
		case 0:
			h.Set("Retry-After", pick(r, "1", "7", "20"))
		case 1:
			h.Set("Retry-After", at.Format(http.TimeFormat))
		case 2:
			h.Set("Retry-After", at.Format("2006-01-02T15:04:05Z"))
		case 3:
			h.Set("Reply-After", pick(r, "2", "9"))
		}
	}
	resp := &http.Response{Status: http.StatusText(code), StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Request: req}
	return with(resp, []byte(`{"fault": {"message": "simulated"}}`))
}

// class is what a request is for.
type class struct {
	what  string // the same for all that mean the same thing
	write bool
	list  string // key of the list that is read
	kind  provision.Kind
	id    string
	slot  string
}

// starred puts a star for every id.
func starred(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if hex := strings.ReplaceAll(p, "-", ""); len(hex) == 32 && strings.Trim(hex, "0123456789abcdef") == "" {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

func classify(req *http.Request, body []byte) class {
	path := strings.TrimSuffix(req.URL.Path, "/")
	c := class{what: req.Method + " " + starred(path), id: path[strings.LastIndexByte(path, '/')+1:]}
	login := strings.HasSuffix(path, "/auth/tokens") || strings.HasSuffix(path, "/v2.0/tokens")
	console := strings.HasSuffix(path, "/action")
	c.write = req.Method != http.MethodGet && req.Method != http.MethodHead && !login && !console
	var create struct {
		Server struct {
			Metadata map[string]string `json:"metadata"`
		} `json:"server"`
	}
	has := func(part string) bool { return strings.Contains(path, part) }
	switch {
	case has("/servers/detail"):
		c.list = "servers"
	case has("/os-keypairs"):
		c.kind = "keypair"
	case has("/os-server-groups"):
		c.kind = "servergroup"
	case has("/servers"):
		c.kind = "server"
		_ = json.Unmarshal(body, &create)
		c.slot = create.Server.Metadata[provision.TagSlot]
	case has("/security-group"):
		c.kind = "group"
	case has("/floatingips"):
		c.kind = "floatingip"
		if req.Method == http.MethodGet && c.id == "floatingips" {
			c.list = "floatingips"
		}
	case has("/v1.0/") && has("/loadbalancers"):
		c.kind = "cloudbalancer"
		if req.Method == http.MethodGet && c.id == "loadbalancers" {
			c.list = "loadBalancers"
		}
	case has("/lbaas/"):
		c.kind = balancerPart(path)
		if req.Method == http.MethodGet && c.id == "loadbalancers" {
			c.list = "loadbalancers"
		}
	case has("/v1/secrets"), has("/v1/containers"):
		c.kind = "certificate"
	case has("/recordsets"), has("/domains/"):
		c.kind = "dns"
	}
	if c.write {
		switch {
		case c.kind == "dns":
		case req.Method == http.MethodDelete && !has("/security-group-rules/") && (!has("/lbaas/") || c.kind == "balancer"): // a part is removed to be made anew
			c.kind += ".delete"
		default:
			c.kind += ".create"
		}
	}
	c.what += " " + c.slot
	return c
}

func (c class) faults() []string {
	if c.write {
		return []string{"request lost", "hangs", "refused", "500", "503", "429", "late", "late", "reply lost", "reply lost", "reply hangs", "reply late", "500 after", "half", "html"}
	}
	out := []string{"request lost", "hangs", "refused", "500", "503", "429", "reply late", "half", "html"}
	if c.list != "" {
		out = append(out, "empty list", "empty list")
	}
	return out
}

// wait is a delay that ends with the request or with the process.
func (p *process) wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ctx.Done():
		return errors.Join(errGone, context.Canceled)
	}
}
