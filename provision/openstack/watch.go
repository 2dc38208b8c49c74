package openstack

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
)

const (
	pace     = time.Second
	settling = 30 * time.Second // a server whose create was answered may be missing from lists that long
	unsure   = 15 * time.Second // a create without an answer may still make one
	// Lists may miss a new server for unsureLag; unsureLooks of those after it must not have shown one.
	unsureLag   = 12 * time.Second
	unsureLooks = 3
)

// server is what failover reads of nova's description.
type server struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Status    string            `json:"status"`
	Metadata  map[string]string `json:"metadata"`
	Tags      []string          `json:"tags"`
	Created   string            `json:"created"`
	Launched  string            `json:"OS-SRV-USG:launched_at"`
	Task      string            `json:"OS-EXT-STS:task_state"`
	VM        string            `json:"OS-EXT-STS:vm_state"`
	Zone      string            `json:"OS-EXT-AZ:availability_zone"`
	Addresses map[string][]struct {
		Addr string `json:"addr"`
		Type string `json:"OS-EXT-IPS:type"`
	} `json:"addresses"`
	Flavor struct {
		ID   string `json:"id"`
		Name string `json:"original_name"`
	} `json:"flavor"`
	Fault *struct {
		Message string `json:"message"`
	} `json:"fault"`
}

// carries tells whose a server is, by metadata or by tag.
func (s server) carries(key, value string) bool {
	return s.Metadata[key] == value || slices.Contains(s.Tags, key+"="+value)
}

// going says that it is deleted or about to be.
func (s server) going() bool {
	return s.Status == "DELETED" || s.Status == "SOFT_DELETED" || s.Task == "deleting" || s.Task == "soft-deleting"
}

// seen is nova's own wording.
func (s server) seen() string {
	if s.Task != "" {
		return s.Status + " (" + s.Task + ")"
	}
	return s.Status
}

// servers lists those that carry a tag of ours, or all that carry our metadata where the cloud has no tags.
func (c *Cloud) servers(ctx context.Context, key, value string) ([]server, error) {
	s, minor, err := c.compute(ctx, mvTags)
	if err != nil {
		return nil, err
	}
	tag := key + "=" + value
	filtered := minor >= mvTags && taggable(tag)
	all, err := listServers(ctx, s, filtered, tag)
	if err != nil || filtered {
		return all, err
	}
	return slices.DeleteFunc(all, func(x server) bool { return !x.carries(key, value) }), nil
}

func listServers(ctx context.Context, s service, filtered bool, tag string) ([]server, error) {
	var all []server
	marker := ""
	for {
		q := []string{"limit", "1000"}
		if filtered {
			q = append(q, "tags", tag)
		}
		if marker != "" {
			q = append(q, "marker", marker)
		}
		var page struct {
			Servers []server `json:"servers"`
			Links   []struct {
				Rel string `json:"rel"`
			} `json:"servers_links"`
		}
		if err := s.get(ctx, "list servers", s.url("servers/detail"+query(q...)), &page); err != nil {
			return nil, err
		}
		all = append(all, page.Servers...)
		more := false
		for _, l := range page.Links {
			more = more || l.Rel == "next"
		}
		if !more || len(page.Servers) == 0 {
			return all, nil
		}
		marker = page.Servers[len(page.Servers)-1].ID
	}
}

// taggable: nova's tags are at most 60 characters, without slash and comma.
func taggable(tag string) bool { return len(tag) <= 60 && !strings.ContainsAny(tag, "/,") }

// watch is the one list that answers for all servers of a run. It is asked for on a grid of one second
// that begins with the answer of the latest create, so that servers that boot in the same time are seen
// right after they are ACTIVE.
type watch struct {
	fetch func(context.Context) ([]server, error)

	mu     sync.Mutex
	at     time.Time // start of the list that is held
	list   []server
	err    error
	fl     *flight[[]server]
	anchor time.Time
	mine   map[string]answered // by slot: what our creates were answered
	lost   map[string]time.Time
}

type answered struct {
	id string
	at time.Time
}

func (c *Cloud) watch(run string) *watch {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watches[run]
	if w == nil {
		w = newWatch(func(ctx context.Context) ([]server, error) { return c.servers(ctx, provision.TagRun, run) })
		c.watches[run] = w
	}
	return w
}

func newWatch(fetch func(context.Context) ([]server, error)) *watch {
	return &watch{fetch: fetch, mine: map[string]answered{}, lost: map[string]time.Time{}}
}

// next is when the held list is worth replacing: the point of the grid nearest to a second after it.
func (w *watch) next() time.Time {
	if w.at.IsZero() {
		return time.Time{}
	}
	if w.anchor.IsZero() {
		return w.at.Add(pace)
	}
	early := w.at.Add(pace * 4 / 10)
	late := early.Sub(w.anchor) % pace // how far behind a point of the grid early is
	if late < 0 {
		late += pace
	}
	return early.Add(pace - late)
}

// look gives the list, when it was asked for, and how long until it is worth asking again.
func (w *watch) look(ctx context.Context) (list []server, at time.Time, again time.Duration, err error) {
	w.mu.Lock()
	if n := w.next(); !n.IsZero() && time.Now().Before(n) && w.fl == nil {
		defer w.mu.Unlock()
		return w.list, w.at, time.Until(n), w.err
	}
	if w.fl == nil || w.fl.waiting == 0 {
		w.fl = start(ctx, &w.mu, w.fetch, func(f *flight[[]server]) {
			w.at, w.list, w.err = f.started, f.val, f.err
			if w.fl == f {
				w.fl = nil
			}
		})
	}
	f := w.fl
	f.waiting++
	w.mu.Unlock()
	list, err = f.wait(ctx, &w.mu)
	w.mu.Lock()
	defer w.mu.Unlock()
	return list, f.started, max(time.Until(w.next()), time.Millisecond), err
}

// made notes the answer of a create.
func (w *watch) made(slot, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.mine[slot] = answered{id, now}
	w.anchor = now
	delete(w.lost, slot)
}

// unanswered notes a create whose fate is unknown.
func (w *watch) unanswered(slot string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost[slot] = time.Now()
	delete(w.mine, slot)
}

// answeredWith gives the id of the slot's server, where our own create was answered with one.
func (w *watch) answeredWith(slot string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mine[slot].id
}

// expected says why a slot that a list of time at lacks may have a server all the same.
func (w *watch) expected(slot string, at time.Time, gone func(string) bool) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m, ok := w.mine[slot]; ok && !gone(m.id) && (at.Before(m.at) || time.Since(m.at) < settling) {
		return "BUILD (accepted)", true
	}
	if t, ok := w.lost[slot]; ok && (at.Before(t) || time.Since(t) < unsure) {
		return "the create was not answered; looking for its server", true
	}
	return "", false
}
