package balancer

import (
	"context"
	"strings"
	"sync"

	"github.com/dripstat/failover/provision"
)

// Inventory adds what there is of load balancers to what was read of a region: those that carry a name of ours, those that blocks want to
// use, how many there are and may be, and how many members each may have. It changes nothing. What cannot be read is told in Unread, and refuses.
func (r *Region) Inventory(ctx context.Context, service string, blocks []provision.Balancer, inv *provision.Inventory) {
	var wg sync.WaitGroup
	var all []loadBalancer
	var listErr, limitErr error
	var limits struct {
		Absolute []struct {
			Name  string `json:"name"`
			Value int    `json:"value"`
		} `json:"absolute"`
	}
	wg.Go(func() { all, listErr = r.all(ctx, nil) })
	wg.Go(func() {
		_, limitErr = r.get(ctx, "read the limits of load balancers", &limits, nil, "loadbalancers", "absolutelimits")
	})
	wg.Wait()
	unread := func(w provision.Weight, check, what string, err error) {
		e := provision.AsError("", err)
		inv.Unread = append(inv.Unread, provision.Finding{Weight: w, Check: check, Thing: "cloud." + inv.Cloud, Hint: e.Hint,
			What: "could not be read in " + inv.Region + ": " + what + " (" + strings.TrimPrefix(err.Error(), e.Thing+": ") + ")"})
	}
	if listErr != nil {
		unread(provision.Refuse, "load balancer", "load balancers of this service", listErr)
		return
	}
	o := &provision.Balancing{Balancers: []provision.Live{}, Standing: map[string][]provision.Standing{}}
	inv.Balancing = o
	for _, b := range blocks {
		if b.Existing == nil {
			continue
		}
		found, err := r.standing(ctx, all, *b.Existing)
		if err != nil {
			unread(provision.Refuse, "load balancer", "the load balancer that load_balancer "+b.Name+" is to use", err)
			continue // not known is not none
		}
		o.Standing[b.Name] = found
	}
	prefix := strings.ToLower("failover-" + service + "-")
	for _, b := range all {
		rest, ours := strings.CutPrefix(b.Name, prefix)
		if !ours || b.going() {
			continue
		}
		run, _, _ := strings.Cut(rest, "-")
		l := provision.Live{ID: string(b.ID), Name: b.Name, Status: b.Status, Service: service, Run: provision.RunID(strings.ToUpper(run))}
		v4, v6 := b.addresses()
		for _, a := range []string{v4, v6} {
			if a != "" {
				l.Addresses = append(l.Addresses, a)
			}
		}
		o.Balancers = append(o.Balancers, l)
	}
	if limitErr != nil {
		unread(provision.Warn, "quota", "limits of load balancers", limitErr)
		return
	}
	for _, l := range limits.Absolute {
		switch l.Name {
		case "LOADBALANCER_LIMIT":
			if inv.Quotas == nil {
				inv.Quotas = map[string]provision.Quota{}
			}
			inv.Quotas["load_balancers"] = provision.Quota{Limit: l.Value, Used: len(all)}
		case "NODE_LIMIT":
			o.Members = l.Value
		}
	}
}
