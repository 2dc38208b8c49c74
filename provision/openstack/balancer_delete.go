package openstack

import (
	"context"
	"net/url"
	"slices"

	"github.com/dripstat/failover/provision"
)

// leavers gives the load balancers that are to go: all of the run's name, and the one whose id is known.
func (c *Cloud) leavers(ctx context.Context, a deleteArgs) ([]balancer, error) {
	var out []balancer
	if a.Name != "" {
		var err error
		if out, err = c.namedBalancers(ctx, a.Name); err != nil {
			return nil, err
		}
	}
	if a.ID != "" && !slices.ContainsFunc(out, func(b balancer) bool { return b.ID == a.ID }) {
		b, ok, err := c.readBalancer(ctx, a.ID)
		if err != nil {
			return nil, err
		}
		if ok && a.Name != "" && b.Name != a.Name {
			return nil, notOurs("load balancer "+b.Name, b.ID, a.Run)
		}
		if ok {
			out = append(out, b)
		}
	}
	return slices.DeleteFunc(out, func(b balancer) bool { return b.Status == "DELETED" }), nil
}

// checkNoBalancer is done when octavia has none of them any more: until then the certificate is in use, and the address
// is not free.
func (c *Cloud) checkNoBalancer(ctx context.Context, a deleteArgs) (provision.Status, error) {
	if a.ID == "" && a.Name == "" {
		return provision.Status{}, &provision.Error{What: "delete a load balancer: neither its id nor its name is known", Class: provision.Final}
	}
	here, err := c.leavers(ctx, a)
	if err != nil {
		return provision.Status{}, err
	}
	for _, b := range here {
		if !b.going() { // it is there, and one list without it later tells nothing
			c.noisy(BalancerDelete, a.key())
		}
		if !b.pending() {
			return provision.Status{State: provision.Absent, Seen: b.Status}, nil
		}
	}
	if len(here) > 0 {
		st := busy(here[0])
		if !here[0].going() {
			st.Seen += "; octavia deletes nothing that it is at work on"
		}
		return st, nil
	}
	if a.ID == "" {
		return c.noneSeen(BalancerDelete, a.key())
	}
	return done(provision.Values{"id": a.ID})
}

func (c *Cloud) deleteBalancer(ctx context.Context, a deleteArgs) error {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return err
	}
	here, err := c.leavers(ctx, a)
	if err != nil {
		return err
	}
	for _, b := range here {
		if b.pending() {
			continue
		}
		if err := s.remove(ctx, "delete load balancer "+b.ID, s.url("loadbalancers/"+url.PathEscape(b.ID)+query("cascade", "true"))); err != nil {
			return err
		}
	}
	return nil
}
