package openstack

import (
	"context"
	"net/url"
	"time"

	"github.com/dripstat/failover/provision"
)

type serverGroupArgs struct {
	Cloud  string `json:"cloud"`
	Name   string `json:"name"`
	Policy string `json:"policy"`
	Run    string `json:"run"`
}

type serverGroup struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (c *Cloud) listServerGroups(ctx context.Context) ([]serverGroup, error) {
	s, err := c.service(ctx, "compute")
	if err != nil {
		return nil, err
	}
	var got struct {
		Groups []serverGroup `json:"server_groups"`
	}
	err = s.get(ctx, "list server groups", s.url("os-server-groups"), &got)
	return got.Groups, err
}

func (c *Cloud) checkServerGroup(ctx context.Context, a serverGroupArgs) (provision.Status, error) {
	if out, ok := c.just(ServerGroupCreate, a.Name); ok {
		return done(out)
	}
	if c.absent(ServerGroupCreate, a.Name) {
		return absent()
	}
	g, ok, err := c.namedGroup(ctx, a.Name)
	switch {
	case err != nil:
		return provision.Status{}, err
	case !ok:
		return absent()
	}
	return done(provision.Values{"id": g.ID})
}

func (c *Cloud) createServerGroup(ctx context.Context, a serverGroupArgs) error {
	s, minor, err := c.compute(ctx, mvPolicy)
	if err != nil {
		return err
	}
	c.tried(ServerGroupCreate, a.Name)
	policy := first(a.Policy, "anti-affinity")
	g := map[string]any{"name": a.Name, "policy": policy}
	if minor < mvPolicy {
		g = map[string]any{"name": a.Name, "policies": []string{policy}}
	}
	var out struct {
		Group serverGroup `json:"server_group"`
	}
	if err := s.post(ctx, "create server group "+a.Name, s.url("os-server-groups"), map[string]any{"server_group": g}, &out); err != nil {
		return err
	}
	c.remember(ServerGroupCreate, a.Name, provision.Values{"id": out.Group.ID})
	return nil
}

// namedGroup finds the server group of a name, which holds the run's ULID.
func (c *Cloud) namedGroup(ctx context.Context, name string) (serverGroup, bool, error) {
	list, err := c.sgroups.get(ctx, 0, time.Time{}, c.listServerGroups)
	if err != nil {
		return serverGroup{}, false, err
	}
	for _, g := range list {
		if name != "" && g.Name == name {
			return g, true, nil
		}
	}
	return serverGroup{}, false, nil
}

// checkNoServerGroup looks by id, or by name where the id is not known.
func (c *Cloud) checkNoServerGroup(ctx context.Context, a deleteArgs) (provision.Status, error) {
	if a.ID == "" {
		_, ok, err := c.namedGroup(ctx, a.Name)
		if err != nil {
			return provision.Status{}, err
		}
		if !ok {
			return c.noneSeen(ServerGroupDelete, a.key())
		}
		c.noisy(ServerGroupDelete, a.key())
		return absent()
	}
	s, err := c.service(ctx, "compute")
	if err != nil {
		return provision.Status{}, err
	}
	var got struct {
		Group serverGroup `json:"server_group"`
	}
	none, err := s.missing(ctx, "read server group "+a.ID, s.url("os-server-groups/"+url.PathEscape(a.ID)), &got)
	switch {
	case err != nil:
		return provision.Status{}, err
	case none:
		return done(provision.Values{"id": a.ID})
	case a.Name != "" && got.Group.Name != a.Name:
		return provision.Status{}, notOurs("server group "+got.Group.Name, a.ID, a.Name)
	}
	return absent()
}

func (c *Cloud) deleteServerGroup(ctx context.Context, a deleteArgs) error {
	id := a.ID
	if id == "" {
		g, ok, err := c.namedGroup(ctx, a.Name)
		if err != nil || !ok {
			return err
		}
		id = g.ID
	}
	s, err := c.service(ctx, "compute")
	if err != nil {
		return err
	}
	c.forget(ServerGroupCreate, a.Name)
	return s.remove(ctx, "delete server group "+id, s.url("os-server-groups/"+url.PathEscape(id)))
}
