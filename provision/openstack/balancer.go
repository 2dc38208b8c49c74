package openstack

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// balancerArgs are those of balancer.create.
type balancerArgs struct {
	Cloud    string `json:"cloud"`
	Name     string `json:"name"`
	Service  string `json:"service"`
	Run      string `json:"run"`
	Slot     string `json:"slot"`
	Network  string `json:"network"`
	Subnet   string `json:"subnet"`
	Provider string `json:"provider"`
	Flavor   string `json:"flavor"`
}

// balancer is octavia's load balancer.
// https://docs.openstack.org/api-ref/load-balancer/v2/#show-load-balancer-details
type balancer struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Status    string   `json:"provisioning_status"`
	Operating string   `json:"operating_status"`
	Address   string   `json:"vip_address"`
	Port      string   `json:"vip_port_id"`
	Provider  string   `json:"provider"`
	Created   string   `json:"created_at"`
	Tags      []string `json:"tags"`
}

// pending says that octavia works on it: whatever is asked of it meanwhile is answered 409.
func (b balancer) pending() bool { return strings.HasPrefix(b.Status, "PENDING_") }

// going says that it is deleted or about to be.
func (b balancer) going() bool { return b.Status == "PENDING_DELETE" || b.Status == "DELETED" }

// changeable reports whether a load balancer takes changes now: while it is PENDING they are answered 409. Where it does not, the status
// says why.
func (c *Cloud) changeable(ctx context.Context, id string) (st provision.Status, ok bool, err error) {
	b, there, err := c.readBalancer(ctx, id)
	switch {
	case err != nil:
		return st, false, err
	case !there || b.going():
		return provision.Status{State: provision.Failed, Seen: "the load balancer is gone"}, false, nil
	case b.Status == "ERROR":
		st, err = broken(b)
		return st, false, err
	case b.pending():
		return busy(b), false, nil
	}
	return st, true, nil
}

func (c *Cloud) listBalancers(ctx context.Context, pairs ...string) ([]balancer, error) {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return nil, err
	}
	return collect(ctx, s, "list load balancers", "loadbalancers", "loadbalancers", func(b balancer) string { return b.ID }, pairs...)
}

// named gives the load balancers of a name, which holds the run's ULID, those that serve or may yet serve first.
func (c *Cloud) namedBalancers(ctx context.Context, name string) ([]balancer, error) {
	all, err := c.listBalancers(ctx, "name", name)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(b balancer) bool { return b.Name != name })
	slices.SortStableFunc(all, func(x, y balancer) int {
		return cmp.Or(boolCompare(x.Status == "ERROR", y.Status == "ERROR"), cmp.Compare(x.Created, y.Created), cmp.Compare(x.ID, y.ID))
	})
	return all, nil
}

// readBalancer reads one; ok is false where there is none.
func (c *Cloud) readBalancer(ctx context.Context, id string) (b balancer, ok bool, err error) {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return b, false, err
	}
	var got struct {
		Balancer balancer `json:"loadbalancer"`
	}
	none, err := s.missing(ctx, "read load balancer "+id, s.url("loadbalancers/"+url.PathEscape(id)), &got)
	return got.Balancer, !none && err == nil, err
}

func (c *Cloud) checkBalancer(ctx context.Context, a balancerArgs) (provision.Status, error) {
	all, err := c.namedBalancers(ctx, a.Name)
	if err != nil {
		return provision.Status{}, err
	}
	all = slices.DeleteFunc(all, balancer.going)
	if len(all) == 0 {
		// A list that is empty does not undo an answer: the load balancer itself is asked for.
		b, ok, err := c.answered(ctx, a.Name)
		if err != nil || !ok {
			return provision.Status{State: provision.Absent}, err
		}
		all = append(all, b)
	}
	b := all[0]
	// The id goes along from the first: an attempt that runs out of time is cleared away by it.
	st := provision.Status{State: provision.Working, Out: provision.Values{"id": b.ID}, Seen: b.Status, Again: pace}
	switch {
	case b.Status == "ERROR":
		st.State, st.Again = provision.Failed, 0
		st.Seen = "ERROR: octavia does not tell why; its provider is " + first(b.Provider, "unknown")
	case b.Status == "ACTIVE" && b.Address == "":
		st.Seen = "ACTIVE, without an address yet"
	case b.Status == "ACTIVE":
		return done(provision.Values{"id": b.ID, "address": b.Address, "port": b.Port})
	}
	return st, nil
}

// answered gives the load balancer that a create of this process was answered with, unless it is gone.
func (c *Cloud) answered(ctx context.Context, name string) (balancer, bool, error) {
	c.mu.Lock()
	id := c.balancers[name]
	c.mu.Unlock()
	if id == "" {
		return balancer{}, false, nil
	}
	b, ok, err := c.readBalancer(ctx, id)
	return b, ok && !b.going(), err
}

// createBalancer makes the load balancer with nothing in it.
func (c *Cloud) createBalancer(ctx context.Context, a balancerArgs) error {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return err
	}
	lb := map[string]any{"name": a.Name, "description": describeFor("made by failover for "+a.Service, a.Run, a.Slot), "tags": ourTags(a.Service, a.Run, a.Slot),
		"vip_network_id": a.Network}
	for k, v := range map[string]string{"vip_subnet_id": a.Subnet, "provider": a.Provider, "flavor_id": a.Flavor} {
		if v != "" {
			lb[k] = v
		}
	}
	var out struct {
		Balancer balancer `json:"loadbalancer"`
	}
	if err := s.post(ctx, "create load balancer "+a.Slot, s.url("loadbalancers"), map[string]any{"loadbalancer": lb}, &out); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.balancers[a.Name] = out.Balancer.ID
	return nil
}

// ourTags are what every part of a load balancer carries.
func ourTags(service, run, slot string) []string {
	return []string{"failover", provision.TagService + "=" + service, provision.TagRun + "=" + run, provision.TagSlot + "=" + slot}
}

// busy is for what has to wait until octavia has done what it is about.
func busy(b balancer) provision.Status {
	return provision.Status{State: provision.Working, Seen: b.Status, Again: pace / 2}
}

// broken is for a load balancer that went into ERROR after it had been there.
func broken(b balancer) (provision.Status, error) {
	return provision.Status{State: provision.Failed, Seen: fmt.Sprintf("load balancer %s is in %s", b.Name, b.Status)}, nil
}
