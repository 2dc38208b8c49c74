package balancer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/dripstat/failover/provision"
)

const (
	pageSize  = 100 // the most, and what is given where none is asked for
	emptyMost = 3   // a reading answered 2xx without a body is asked again that often
	maxSaid   = 300
)

// Region is the load balancers of one region. It is safe for concurrent use.
type Region struct {
	client func(context.Context) (*gophercloud.ServiceClient, error)

	mu      sync.Mutex
	made    map[string]ident     // that creates of ours were answered with, by name
	sent    map[string]bool      // changes of this process that were accepted and that an answer may not show
	since   map[string]time.Time // since when something is waited for
	silence map[string]silence   // of what is looked for to be deleted
}

// New makes one. It sends nothing; client gives a client whose endpoint ends in the account.
func New(client func(context.Context) (*gophercloud.ServiceClient, error)) *Region {
	return &Region{client: client, made: map[string]ident{}, sent: map[string]bool{}, since: map[string]time.Time{}, silence: map[string]silence{}}
}

// get reads into out. none says that there is no such thing: 404, and 410 of what was deleted.
func (r *Region) get(ctx context.Context, what string, out any, query url.Values, path ...string) (none bool, err error) {
	sc, err := r.client(ctx)
	if err != nil {
		return false, err
	}
	u := sc.ServiceURL(path...)
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	for try := 1; ; try++ {
		resp, err := sc.Request(ctx, http.MethodGet, u, &gophercloud.RequestOpts{OkCodes: []int{200, 202, 203}, KeepResponseBody: true})
		if err != nil {
			var code gophercloud.ErrUnexpectedResponseCode
			if errors.As(err, &code) && (code.Actual == http.StatusNotFound || code.Actual == http.StatusGone) {
				return true, nil
			}
			return false, explain(true, what, err)
		}
		err = json.NewDecoder(resp.Body).Decode(out)
		resp.Body.Close()
		if err == nil {
			return false, nil
		}
		// As Cloud DNS does: https://github.com/pycontribs/pyrax/blob/master/pyrax/clouddns.py (_retry_get)
		if try == emptyMost {
			return false, &provision.Error{What: what + ": the answer of Cloud Load Balancers is empty or cannot be read", Class: provision.Transient}
		}
	}
}

// write sends a change. Which 2xx is answered differs between the documents and the tests of clients, so all are taken; out may be nil.
func (r *Region) write(ctx context.Context, method, what string, body, out any, path ...string) error {
	o := &gophercloud.RequestOpts{}
	if body != nil {
		o.JSONBody = body
	}
	return r.send(ctx, method, what, o, nil, out, path...)
}

// writeRaw is write of a body that is wiped afterwards, with an error that repeats nothing of it.
func (r *Region) writeRaw(ctx context.Context, method, what string, body []byte, path ...string) error {
	return r.send(ctx, method, what, &gophercloud.RequestOpts{RawBody: bytes.NewReader(body), MoreHeaders: map[string]string{"Content-Type": "application/json"}}, nil, nil, path...)
}

// send sends a request with what stands behind its path; o and out may be nil.
func (r *Region) send(ctx context.Context, method, what string, o *gophercloud.RequestOpts, query url.Values, out any, path ...string) error {
	sc, err := r.client(ctx)
	if err != nil {
		return err
	}
	u := sc.ServiceURL(path...)
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	if o == nil {
		o = &gophercloud.RequestOpts{}
	}
	o.OkCodes, o.KeepResponseBody = []int{200, 201, 202, 204}, true
	resp, err := sc.Request(ctx, method, u, o)
	if err != nil {
		if o.RawBody != nil {
			err = withoutBody(err)
		}
		return explain(false, what, err)
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return &provision.Error{What: what + ": Cloud Load Balancers took it, and its answer cannot be read", Class: provision.Unknown}
	}
	return nil
}

// withoutBody drops what a refusal of a key says: it might quote what it refuses. What is being changed, or over a limit, does not.
func withoutBody(err error) error {
	var u gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &u) && u.Actual != http.StatusUnprocessableEntity && u.Actual != http.StatusRequestEntityTooLarge {
		u.Body = nil
		return u
	}
	return err
}

// fault is every error: flat, or under one root that names its kind, as the proxy before the service writes it.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/general-api-info/faults
// https://github.com/rackerlabs/otter/blob/master/otter/test/cloud_client/test_clb.py
type fault struct {
	Message    string `json:"message"`
	Details    string `json:"details"`
	RetryAfter string `json:"retryAfter"`
	RetryAt    string `json:"retryAt"`
	Validation struct {
		Messages []string `json:"messages"`
	} `json:"validationErrors"`
}

func parseFault(body []byte) fault {
	var f fault
	_ = json.Unmarshal(body, &f) // the proxy's may be no JSON
	if f.Message != "" || len(f.Validation.Messages) > 0 {
		return f
	}
	var rooted map[string]json.RawMessage
	if json.Unmarshal(body, &rooted) == nil && len(rooted) == 1 {
		for _, inner := range rooted {
			_ = json.Unmarshal(inner, &f) // what is there of it
		}
	}
	return f
}

var longWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[A-Za-z0-9+/=_.-]{48,}`) })

// text is one line of bounded length, without what might be somebody's secret.
func (f fault) text() string {
	parts := []string{}
	for _, p := range append([]string{f.Message, f.Details}, f.Validation.Messages...) {
		if p = strings.TrimSuffix(strings.Join(strings.Fields(p), " "), "."); p != "" {
			parts = append(parts, p)
		}
	}
	out := longWord().ReplaceAllString(strings.Join(parts, ": "), "(…)")
	if r := []rune(out); len(r) > maxSaid {
		out = string(r[:maxSaid])
	}
	return out
}

// gone is the end of what is said where there is no such thing.
const gone = ": it is not there"

// explain makes a *provision.Error.
func explain(read bool, what string, err error) error {
	var pe *provision.Error
	if errors.As(err, &pe) {
		return err
	}
	e := &provision.Error{What: what, Class: provision.Unknown}
	if read {
		e.Class = provision.Transient
	}
	var u gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &u) {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		var op *net.OpError
		if errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &op) && op.Op == "dial" {
			e.Class = provision.Transient // it never left
		}
		e.Err = err
		return e
	}
	f := parseFault(u.Body)
	if said := f.text(); said != "" {
		e.Said = "Cloud Load Balancers: " + said
	}
	switch u.Actual {
	case 400:
		e.Class = provision.Final
	case 401, 403:
		e.What, e.Class, e.Hint = what+": this user may not", provision.Final, "this user wants the role lbaas:admin in this account; lbaas:creator may not delete"
	case 404, 410:
		e.What, e.Class = what+gone, provision.Final
	case 413, 429:
		e.What, e.Class = what+": over the account's limit", provision.Final
		if at := wait(u.ResponseHeader, f, time.Now()); at >= 0 {
			e.What, e.Class, e.After = what+": too many requests", provision.Transient, at
		}
	case 422:
		immutable(e, what, strings.ToLower(e.Said))
	case 500:
		if strings.Contains(strings.ToLower(e.Said), "virtual ip") { // outOfVirtualIps: nothing was made
			e.Class = provision.Final
		}
	case 503:
		e.Class = provision.Transient
	}
	return e
}

// immutable tells what 422 means. Nothing was changed: the load balancer is being changed already, which passes, or it
// will never be changed again.
func immutable(e *provision.Error, what, said string) {
	switch {
	case strings.Contains(said, "'error'"), strings.Contains(said, "'suspended'"), strings.Contains(said, "delete"):
		e.Class = provision.Final
	case strings.Contains(said, "duplicate nodes"): // an earlier request did it
		e.What, e.Class = what+": they are there already", provision.Transient
	default:
		e.What, e.Class = what+": it is being changed", provision.Transient
	}
}

// wait reads when to come again: a header, seconds or a date of either form, or what the proxy says in the body. Less than nothing says
// that neither is there: that is a limit of the account, and asking again would not help.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/general-api-info/limits
func wait(h http.Header, f fault, now time.Time) time.Duration {
	for _, v := range []string{h.Get("Retry-After"), h.Get("Reply-After"), f.RetryAfter, f.RetryAt} {
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		if d, err := time.ParseDuration(v + "s"); err == nil {
			return max(d, 0)
		}
		for _, form := range []string{http.TimeFormat, time.RFC3339} {
			if at, err := time.Parse(form, v); err == nil {
				return max(at.Sub(now), 0)
			}
		}
		return time.Second
	}
	return -1
}

// all lists the account's load balancers in this region, with a filter those that pass it. A marker is the first of the next page in the documents and the last of the
// one before in others: what comes twice counts once.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/general-api-info/paginated-collections
func (r *Region) all(ctx context.Context, filter url.Values) ([]loadBalancer, error) {
	var out []loadBalancer
	seen := map[ident]bool{}
	q := url.Values{"limit": {"100"}}
	maps.Copy(q, filter)
	for {
		var page struct {
			Balancers []loadBalancer `json:"loadBalancers"`
		}
		if _, err := r.get(ctx, "list load balancers", &page, q, "loadbalancers"); err != nil {
			return nil, err
		}
		fresh := 0
		for _, b := range page.Balancers {
			if !seen[b.ID] {
				seen[b.ID], fresh = true, fresh+1
				out = append(out, b)
			}
		}
		if fresh == 0 || len(page.Balancers) < pageSize {
			return sorted(out), nil
		}
		q.Set("marker", string(page.Balancers[len(page.Balancers)-1].ID))
	}
}

// named gives those of a name, which holds the run's ULID, but for those that are going. The list shows no metadata.
func (r *Region) named(ctx context.Context, name string) ([]loadBalancer, error) {
	all, err := r.all(ctx, nil)
	if err != nil {
		return nil, err
	}
	var out []loadBalancer
	for _, b := range all {
		if b.Name == name && b.Status != deleted {
			out = append(out, b)
		}
	}
	return out, nil
}

// read reads one; ok is false where there is none.
func (r *Region) read(ctx context.Context, id ident) (b loadBalancer, ok bool, err error) {
	var got struct {
		Balancer loadBalancer `json:"loadBalancer"`
	}
	none, err := r.get(ctx, "read load balancer "+string(id), &got, nil, "loadbalancers", url.PathEscape(string(id)))
	return got.Balancer, !none && err == nil, err
}

// How often something is looked at that takes its time: soon at first, then as seldom as the documents advise, for an
// account may read a hundred times a minute.
const (
	paceFirst = 300 * time.Millisecond
	paceMost  = 5 * time.Second
)

func (r *Region) pace(of string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since[of].IsZero() {
		r.since[of] = time.Now()
	}
	return min(max(time.Since(r.since[of])/3, paceFirst), paceMost)
}

// over ends what pace began.
func (r *Region) over(of string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.since, of)
}

// accepted remembers a change that was answered 2xx.
func (r *Region) accepted(change string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent[change] = true
}

func (r *Region) was(change string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[change]
}
