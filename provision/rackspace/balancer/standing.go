package balancer

import (
	"context"
	"net/url"
	"slices"

	"github.com/dripstat/failover/provision"
)

// standing gives those of the region's load balancers that e could mean, as they are. all are those that there are.
// The filter is documented to find every load balancer that holds a member at an address:
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/load-balancers
func (r *Region) standing(ctx context.Context, all []loadBalancer, e provision.Existing) ([]provision.Standing, error) {
	var err error
	if e.Name == "" {
		if all, err = r.all(ctx, url.Values{"nodeaddress": {e.Member}}); err != nil {
			return nil, err
		}
	}
	var out []provision.Standing
	for _, b := range all {
		if b.going() || e.Name != "" && b.Name != e.Name && string(b.ID) != e.Name {
			continue
		}
		s, there, err := r.stands(ctx, b.ID)
		if err != nil {
			return nil, err
		}
		if !there {
			continue
		}
		if e.Name == "" && len(e.Replaced(s)) == 0 { // a filter that was not heeded
			continue
		}
		out = append(out, s)
	}
	// An id is the one that it names, whatever else has it for a name.
	if i := slices.IndexFunc(out, func(s provision.Standing) bool { return s.ID == e.Name }); i >= 0 {
		out = out[i : i+1]
	}
	return out, nil
}

// stands reads one: a list does not show its members, and a filtered one may show nothing but its name.
func (r *Region) stands(ctx context.Context, id ident) (s provision.Standing, there bool, err error) {
	b, there, err := r.read(ctx, id)
	if err != nil || !there || b.going() {
		return s, false, err
	}
	s = provision.Standing{ID: string(b.ID), Name: b.Name, Status: b.Status, Protocol: b.Protocol, Plain: true}
	s.IPv4, s.IPv6 = b.addresses()
	nodes, err := r.nodes(ctx, b.ID)
	if err != nil {
		return s, false, err
	}
	for _, n := range nodes {
		s.Members = append(s.Members, provision.StandingMember{ID: string(n.ID), Address: n.Address, Port: n.Port, Condition: n.Condition})
	}
	t, err := r.terminates(ctx, b.ID)
	if err != nil {
		return s, false, err
	}
	s.TLSPort, s.Plain, s.Fingerprint = t.Port, !bool(t.Enabled) || !bool(t.Only), fingerprint(t.Certificate)
	return s, true, nil
}
