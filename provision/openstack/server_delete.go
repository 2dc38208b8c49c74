package openstack

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/dripstat/failover/provision"
)

// deleting is how long a delete may take to show before it is sent again.
const deleting = 30 * time.Second

// checkNoServer looks at the run's one list while the server is in it, and asks for the server itself
// before it is called gone.
func (c *Cloud) checkNoServer(ctx context.Context, a deleteArgs) (provision.Status, error) {
	if a.ID == "" { // nothing was created
		return done(provision.Values{})
	}
	_, sent := c.leaving(a.ID)
	state := func(s server, again time.Duration) (provision.Status, error) {
		if s.going() || sent {
			return provision.Status{State: provision.Working, Seen: s.seen(), Again: again}, nil
		}
		return provision.Status{State: provision.Absent, Seen: s.seen()}, nil
	}
	if a.Run != "" {
		list, _, again, err := c.watch(a.Run).look(ctx)
		if err != nil {
			return provision.Status{Again: again}, err
		}
		for _, s := range list {
			if s.ID == a.ID && s.Status != "DELETED" {
				return state(s, again)
			}
		}
	}
	s, there, err := c.server(ctx, a.ID)
	if err != nil {
		return provision.Status{}, err
	}
	if !there || s.Status == "DELETED" || s.Status == "SOFT_DELETED" {
		c.markGone(a.ID)
		return done(provision.Values{"id": a.ID})
	}
	return state(s, pace)
}

// server reads one.
func (c *Cloud) server(ctx context.Context, id string) (server, bool, error) {
	var one struct {
		Server server `json:"server"`
	}
	api, _, err := c.compute(ctx, mvTags)
	if err != nil {
		return server{}, false, err
	}
	gone, err := api.missing(ctx, "read server "+id, api.url("servers/"+url.PathEscape(id)), &one)
	return one.Server, !gone && err == nil, err
}

// deleteServer deletes only what carries the run.
func (c *Cloud) deleteServer(ctx context.Context, a deleteArgs) error {
	if a.Run != "" {
		s, there, err := c.known(ctx, a)
		if err != nil || !there {
			return err
		}
		if !s.carries(provision.TagRun, a.Run) {
			return &provision.Error{What: fmt.Sprintf("delete server %s (%s): it does not carry run %s, so it is not ours to delete", s.Name, a.ID, a.Run), Class: provision.Final}
		}
	}
	api, _, err := c.compute(ctx, mvTags)
	if err != nil {
		return err
	}
	if err := api.remove(ctx, "delete server "+a.ID, api.url("servers/"+url.PathEscape(a.ID))); err != nil {
		return err
	}
	c.markGone(a.ID)
	return nil
}

// known takes the server from the list that Check has just read, where it is in it.
func (c *Cloud) known(ctx context.Context, a deleteArgs) (server, bool, error) {
	w := c.watch(a.Run)
	w.mu.Lock()
	for _, s := range w.list {
		if s.ID == a.ID && time.Since(w.at) < 10*time.Second {
			w.mu.Unlock()
			return s, true, nil
		}
	}
	w.mu.Unlock()
	return c.server(ctx, a.ID)
}

func (c *Cloud) markGone(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone[id] = true
	if _, ok := c.made["gone "+id]; !ok {
		c.made["gone "+id] = made{at: time.Now()}
	}
}

// leaving says whether the server was asked to go a while ago.
func (c *Cloud) leaving(id string) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.made["gone "+id]
	if ok && time.Since(m.at) > deleting {
		delete(c.made, "gone "+id)
		ok = false
	}
	return m.at, ok
}
