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
	list, err := c.sgroups.get(ctx, 0, time.Time{}, c.listServerGroups)
	if err != nil {
		return provision.Status{}, err
	}
	for _, g := range list {
		if g.Name == a.Name {
			return done(provision.Values{"id": g.ID})
		}
	}
	return absent()
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

func (c *Cloud) checkNoServerGroup(ctx context.Context, a deleteArgs) (provision.Status, error) {
	if a.ID == "" {
		return done(provision.Values{})
	}
	s, err := c.service(ctx, "compute")
	if err != nil {
		return provision.Status{}, err
	}
	var got struct{}
	none, err := s.missing(ctx, "read server group "+a.ID, s.url("os-server-groups/"+url.PathEscape(a.ID)), &got)
	if err != nil {
		return provision.Status{}, err
	}
	if none {
		return done(provision.Values{"id": a.ID})
	}
	return absent()
}

func (c *Cloud) deleteServerGroup(ctx context.Context, a deleteArgs) error {
	s, err := c.service(ctx, "compute")
	if err != nil {
		return err
	}
	return s.remove(ctx, "delete server group "+a.ID, s.url("os-server-groups/"+url.PathEscape(a.ID)))
}
