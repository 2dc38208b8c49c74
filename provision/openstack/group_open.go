package openstack

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

type openArgs struct {
	Cloud string `json:"cloud"`
	Group string `json:"group"`
	Port  int    `json:"port"`
	CIDR  string `json:"cidr"`
	Run   string `json:"run"` // that made the group
}

// is reports whether a rule lets a network in; all addresses are no prefix.
func (r rule) is(cidr string) bool {
	want, have := prefixOf(cidr), ""
	if r.Prefix != nil {
		have = prefixOf(*r.Prefix)
	}
	return want == have
}

func (c *Cloud) checkOpen(ctx context.Context, a openArgs) (provision.Status, error) {
	s, err := c.service(ctx, "network")
	if err != nil {
		return provision.Status{}, err
	}
	open, err := c.openings(ctx, s, closeArgs{Group: a.Group, Port: a.Port})
	if err != nil {
		return provision.Status{}, err
	}
	if slices.ContainsFunc(open, func(r rule) bool { return r.is(a.CIDR) }) {
		// An output makes it this delivery's to close, though another one that stopped may have opened it.
		return done(provision.Values{"port": a.Port})
	}
	return provision.Status{State: provision.Absent, Seen: fmt.Sprintf("port %d is closed to %s", a.Port, a.CIDR)}, nil
}

// openPort adds one rule to a group that carries the run.
func (c *Cloud) openPort(ctx context.Context, a openArgs) error {
	s, err := c.service(ctx, "network")
	if err != nil {
		return err
	}
	var got struct {
		Group group `json:"security_group"`
	}
	none, err := s.missing(ctx, "read security group "+a.Group, s.url("security-groups/"+url.PathEscape(a.Group)+query("fields", "id", "fields", "description")), &got)
	switch {
	case err != nil:
		return err
	case none:
		return &provision.Error{What: "security group " + a.Group + " of run " + provision.RunID(a.Run).Short() + " is gone", Class: provision.Final}
	case !strings.Contains(got.Group.Description, mark(a.Run, "")):
		return notOurs("security group", a.Group, a.Run)
	}
	rules := groupRule{Protocol: "tcp", PortMin: a.Port, PortMax: a.Port, CIDR: a.CIDR}.expand(a.Group)
	return s.post(ctx, fmt.Sprintf("open port %d", a.Port), s.url("security-group-rules"), map[string]any{"security_group_rules": rules}, nil)
}
