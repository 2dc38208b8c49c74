package balancer

import (
	"context"
	"net/http"
	"net/url"

	"github.com/dripstat/failover/provision"
)

// memberArgs are those of cloudbalancer.attach, and with a number those of cloudbalancer.enable.
type memberArgs struct {
	Cloud    string   `json:"cloud"`
	Balancer ident    `json:"balancer"`
	Port     int      `json:"member_port"`
	Members  []string `json:"members"` // addresses inside the region
	Also     []string `json:"also"`    // of a run whose journal was lost: any of its servers may be a member; for cloudbalancer.detach alone
	Number   int      `json:"number"`
}

func (r *Region) nodes(ctx context.Context, id ident) ([]node, error) {
	var got struct {
		Nodes []node `json:"nodes"`
	}
	_, err := r.get(ctx, "list the nodes of load balancer "+string(id), &got, nil, "loadbalancers", url.PathEscape(string(id)), "nodes")
	return got.Nodes, err
}

func (r *Region) checkAttached(ctx context.Context, a memberArgs) (provision.Status, error) {
	_, st, ok, err := r.changeable(ctx, a.Balancer)
	switch {
	case err != nil || !ok:
		return st, err
	case len(a.Members) == 0:
		return provision.Status{}, &provision.Error{What: "there is no server to become a member", Class: provision.Final}
	}
	have, err := r.nodes(ctx, a.Balancer)
	if err != nil {
		return provision.Status{}, err
	}
	for _, m := range a.Members {
		if _, ok := find(have, m, a.Port); !ok {
			return provision.Status{State: provision.Absent}, nil
		}
	}
	return done(provision.Values{"members": a.Members})
}

// attach adds those that are not there by one request. DRAINING lets the monitor ask them and sends them nobody.
func (r *Region) attach(ctx context.Context, a memberArgs) error {
	have, err := r.nodes(ctx, a.Balancer)
	if err != nil {
		return err
	}
	add := []any{}
	for _, m := range a.Members {
		if _, ok := find(have, m, a.Port); !ok {
			add = append(add, map[string]any{"address": m, "port": a.Port, "condition": "DRAINING", "type": "PRIMARY"})
		}
	}
	if len(add) == 0 {
		return nil
	}
	return r.write(ctx, http.MethodPost, "make the servers members of the load balancer", map[string]any{"nodes": add}, nil, "loadbalancers", url.PathEscape(string(a.Balancer)), "nodes")
}

// checkEnabled is done when the member's condition is ENABLED. Its status is the monitor's word, ONLINE before it has asked.
func (r *Region) checkEnabled(ctx context.Context, a memberArgs) (provision.Status, error) {
	_, st, ok, err := r.changeable(ctx, a.Balancer)
	switch {
	case err != nil || !ok:
		return st, err
	case a.Number > len(a.Members): // of those that might have served, so many did not
		return done(provision.Values{})
	}
	have, err := r.nodes(ctx, a.Balancer)
	if err != nil {
		return provision.Status{}, err
	}
	m := a.Members[a.Number-1]
	n, ok := find(have, m, a.Port)
	switch {
	case !ok:
		return provision.Status{State: provision.Failed, Seen: m + " is not a member any more"}, nil
	case n.Condition != "ENABLED":
		return provision.Status{State: provision.Absent, Seen: n.Condition}, nil
	}
	return done(provision.Values{"member": m, "status": n.Status})
}

// enable lets traffic to one member: the service has no change of several.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/nodes
func (r *Region) enable(ctx context.Context, a memberArgs) error {
	have, err := r.nodes(ctx, a.Balancer)
	if err != nil {
		return err
	}
	n, ok := find(have, a.Members[a.Number-1], a.Port)
	if !ok {
		return &provision.Error{What: a.Members[a.Number-1] + " is not a member any more", Class: provision.Final}
	}
	n.Condition = "ENABLED"
	return r.setCondition(ctx, a.Balancer, n)
}

// setCondition says what traffic one member gets.
func (r *Region) setCondition(ctx context.Context, balancer ident, n node) error {
	what := map[string]string{"ENABLED": "let traffic to member ", disabled: "send no more traffic to member "}[n.Condition]
	if what == "" {
		what = "make " + n.Condition + " member "
	}
	return r.write(ctx, http.MethodPut, what+n.Address, map[string]any{"node": map[string]any{"condition": n.Condition}}, nil,
		"loadbalancers", url.PathEscape(string(balancer)), "nodes", url.PathEscape(string(n.ID)))
}
