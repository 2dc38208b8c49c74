package openstack

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/dripstat/failover/provision"
)

// deleting is how long a delete may take to show before it is sent again.
const deleting = 30 * time.Second

// checkNoServer looks at the run's one list while servers of the slot are in it, and asks for the server
// itself before it is called gone. All that carry run and slot are meant, whatever id was given: a slot that
// was undone holds none.
func (c *Cloud) checkNoServer(ctx context.Context, a deleteArgs) (provision.Status, error) {
	if a.ID == "" && (a.Run == "" || a.Slot == "") {
		return provision.Status{}, &provision.Error{What: "delete a server: neither its id nor run and slot are known", Class: provision.Final}
	}
	if a.Run != "" {
		list, _, again, err := c.watch(a.Run).look(ctx)
		if err != nil {
			return provision.Status{Again: again}, err
		}
		here := a.among(list)
		for _, s := range here { // one that must be deleted goes before those that are going
			if !c.parting(s) {
				c.noisy(ServerDelete, a.key())
				return provision.Status{State: provision.Absent, Seen: s.seen()}, nil
			}
		}
		if len(here) > 0 {
			return provision.Status{State: provision.Working, Seen: here[0].seen(), Again: again}, nil
		}
	}
	if a.ID == "" {
		return c.noneSeen(ServerDelete, a.key())
	}
	s, there, err := c.server(ctx, a.ID)
	switch {
	case err != nil:
		return provision.Status{}, err
	case !there || s.Status == "DELETED" || s.Status == "SOFT_DELETED":
		c.markGone(a.ID)
		return done(provision.Values{"id": a.ID})
	case c.parting(s):
		return provision.Status{State: provision.Working, Seen: s.seen(), Again: pace}, nil
	}
	return provision.Status{State: provision.Absent, Seen: s.seen()}, nil
}

// key names the slot that is emptied.
func (a deleteArgs) key() string { return a.Run + "/" + a.Slot + "/" + a.Name }

// among gives the servers that the arguments mean.
func (a deleteArgs) among(list []server) []server {
	var out []server
	for _, s := range list {
		slot := a.Slot != "" && s.carries(provision.TagRun, a.Run) && s.carries(provision.TagSlot, a.Slot)
		if (s.ID == a.ID || slot) && s.Status != "DELETED" && s.Status != "SOFT_DELETED" {
			out = append(out, s)
		}
	}
	return out
}

// parting says that a server is on its way out, by its own state or since we asked.
func (c *Cloud) parting(s server) bool {
	_, sent := c.leaving(s.ID)
	return s.going() || sent
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
	doomed := []server{{ID: a.ID}}
	if a.Run != "" {
		var err error
		if doomed, err = c.doomed(ctx, a); err != nil {
			return err
		}
	}
	api, _, err := c.compute(ctx, mvTags)
	if err != nil {
		return err
	}
	for _, s := range doomed {
		if err := api.remove(ctx, "delete server "+s.ID, api.url("servers/"+url.PathEscape(s.ID))); err != nil {
			return err
		}
		c.markGone(s.ID)
	}
	return nil
}

// doomed gives the servers to delete: those in the list that Check has just read, and the one whose id is known.
func (c *Cloud) doomed(ctx context.Context, a deleteArgs) ([]server, error) {
	w := c.watch(a.Run)
	w.mu.Lock()
	var out []server
	if time.Since(w.at) < 10*time.Second {
		out = a.among(w.list)
	}
	w.mu.Unlock()
	if a.ID != "" && !slices.ContainsFunc(out, func(s server) bool { return s.ID == a.ID }) {
		s, there, err := c.server(ctx, a.ID)
		if err != nil {
			return nil, err
		}
		if there {
			out = append(out, s)
		}
	}
	for _, s := range out {
		if !s.carries(provision.TagRun, a.Run) {
			return nil, notOurs("server "+s.Name, s.ID, a.Run)
		}
	}
	return slices.DeleteFunc(out, c.parting), nil
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
