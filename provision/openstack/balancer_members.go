package openstack

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// joinArgs are those of balancer.join; Members are by the server block's name.
type joinArgs struct {
	Cloud    string
	Balancer string
	Pool     string
	Port     int
	Subnets  map[string]string
	Members  map[string][]string
}

// UnmarshalJSON takes the arguments "members BLOCK" apart from the others.
func (a *joinArgs) UnmarshalJSON(b []byte) error {
	in, known := provision.Values{}, provision.Values{}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	a.Members = map[string][]string{}
	for name, v := range in {
		if block, ok := strings.CutPrefix(name, "members "); ok {
			a.Members[block] = provision.Values{"at": v}.List("at")
			continue
		}
		known[name] = v
	}
	var rest struct {
		Cloud    string            `json:"cloud"`
		Balancer string            `json:"balancer"`
		Pool     string            `json:"pool"`
		Port     int               `json:"member_port"`
		Subnets  map[string]string `json:"subnets"`
	}
	if err := known.Decode(&rest); err != nil {
		return err
	}
	a.Cloud, a.Balancer, a.Pool, a.Port, a.Subnets = rest.Cloud, rest.Balancer, rest.Pool, rest.Port, rest.Subnets
	return nil
}

// addresses are those of all members, in the order of the blocks' names.
func (a joinArgs) addresses() []string {
	var out []string
	for _, block := range slices.Sorted(maps.Keys(a.Members)) {
		out = append(out, a.Members[block]...)
	}
	return out
}

type member struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Port    int    `json:"protocol_port"`
	Status  string `json:"provisioning_status"`
	Up      bool   `json:"admin_state_up"`
}

func (c *Cloud) poolMembers(ctx context.Context, s service, pool string) ([]member, error) {
	return collect(ctx, s, "list the members of pool "+pool, "pools/"+url.PathEscape(pool)+"/members", "members", func(m member) string { return m.ID })
}

func (c *Cloud) checkJoin(ctx context.Context, a joinArgs) (provision.Status, error) {
	st, ready, err := c.changeable(ctx, a.Balancer)
	if err != nil || !ready {
		return st, err
	}
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return provision.Status{}, err
	}
	have, err := c.poolMembers(ctx, s, a.Pool)
	if err != nil {
		return provision.Status{}, err
	}
	wanted := a.addresses()
	if len(wanted) == 0 {
		return provision.Status{}, &provision.Error{What: "there is no server to become a member", Class: provision.Final}
	}
	for _, w := range wanted {
		i := slices.IndexFunc(have, func(m member) bool { return m.Address == w && m.Port == a.Port })
		switch {
		case i < 0:
			return absent()
		case have[i].Status == "ERROR":
			return provision.Status{State: provision.Failed, Seen: "member " + w + " is in ERROR"}, nil
		case have[i].Status != "ACTIVE":
			return provision.Status{State: provision.Working, Seen: "member " + w + ": " + have[i].Status, Again: pace}, nil
		}
	}
	return done(provision.Values{"members": wanted})
}

// join sets the pool's members by one request: sent twice it changes nothing more, and it is one change of state to wait
// for however many members there are.
// https://docs.openstack.org/api-ref/load-balancer/v2/#batch-update-members
func (c *Cloud) join(ctx context.Context, a joinArgs) error {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return err
	}
	members := []any{}
	for _, block := range slices.Sorted(maps.Keys(a.Members)) {
		for _, addr := range a.Members[block] {
			m := map[string]any{"name": block, "address": addr, "protocol_port": a.Port}
			if id := a.Subnets[block]; id != "" {
				m["subnet_id"] = id
			}
			members = append(members, m)
		}
	}
	return s.put(ctx, "make the servers members of the load balancer", s.url("pools/"+url.PathEscape(a.Pool)+"/members"), map[string]any{"members": members}, nil)
}
