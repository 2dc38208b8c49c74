package balancer

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// deleteArgs are those of cloudbalancer.delete. Name is what it must carry.
type deleteArgs struct {
	Cloud string `json:"cloud"`
	ID    ident  `json:"id"`
	Name  string `json:"name"`
	Run   string `json:"run"`
	Slot  string `json:"slot"`
}

// A create whose answer nobody has may show late in lists: such a thing is looked for as long as this, and at the end several times.
const (
	unsure      = 15 * time.Second
	unsureLag   = 12 * time.Second
	unsureLooks = 3
)

// silence is since when nothing was seen, and how often once lists had had their time.
type silence struct {
	since time.Time
	looks int
}

// quiet gives whether nothing was seen for long enough to say that there is nothing.
func (r *Region) quiet(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.silence[name]
	if q.since.IsZero() {
		q.since = time.Now()
	}
	if time.Since(q.since) >= unsureLag {
		q.looks++
	}
	r.silence[name] = q
	if q.looks >= unsureLooks && time.Since(q.since) >= unsure {
		delete(r.silence, name)
		return true
	}
	return false
}

func (r *Region) noisy(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.silence, name)
}

// leavers gives those that are to go: all of the run's name, and the one whose id is known.
func (r *Region) leavers(ctx context.Context, a deleteArgs) ([]loadBalancer, error) {
	var out []loadBalancer
	if a.Name != "" {
		var err error
		if out, err = r.named(ctx, a.Name); err != nil {
			return nil, err
		}
	}
	if a.ID == "" || slices.ContainsFunc(out, func(b loadBalancer) bool { return b.ID == a.ID }) {
		return out, nil
	}
	b, ok, err := r.read(ctx, a.ID)
	switch {
	case err != nil:
		return nil, err
	case !ok || b.Status == deleted:
		return out, nil
	case a.Name != "" && b.Name != a.Name:
		return nil, &provision.Error{What: "delete load balancer " + b.Name + " " + string(b.ID) + ": it does not carry run " + a.Run + ", so it is not ours to delete", Class: provision.Final}
	}
	return append(out, b), nil
}

// checkGone is done when the service has none of them any more. A deletion that was accepted may fail: the load balancer is there
// again then, or in ERROR, and is deleted once more.
func (r *Region) checkGone(ctx context.Context, a deleteArgs) (provision.Status, error) {
	if a.ID == "" && a.Name == "" {
		return provision.Status{}, &provision.Error{What: "delete a load balancer: neither its id nor its name is known", Class: provision.Final}
	}
	here, err := r.leavers(ctx, a)
	if err != nil {
		return provision.Status{}, err
	}
	of := "delete " + a.Name + string(a.ID)
	for _, b := range here {
		if !b.going() { // it is there, and one list without it later tells nothing
			r.noisy(a.Name)
		}
		if b.Status == active || b.broken() {
			return provision.Status{State: provision.Absent, Seen: b.Status}, nil
		}
	}
	switch {
	case len(here) > 0:
		st := provision.Status{State: provision.Working, Seen: here[0].Status, Again: r.pace(of)}
		if !here[0].going() {
			st.Seen += "; what is being changed cannot be deleted"
		}
		return st, nil
	case a.ID == "" && !r.quiet(a.Name):
		return provision.Status{State: provision.Working, Seen: "its create was not answered; looking for what it made", Again: time.Second}, nil
	}
	r.over(of)
	return done(provision.Values{"id": string(a.ID)})
}

// going tells that a deletion was refused because there is one already.
func going(err error) bool {
	e := provision.AsError("", err)
	said := strings.ToLower(e.Said)
	return strings.HasSuffix(e.What, gone) || strings.Contains(said, "pending_delete") || strings.Contains(said, "deleted")
}

func (r *Region) remove(ctx context.Context, a deleteArgs) error {
	here, err := r.leavers(ctx, a)
	if err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.made, a.Name)
	r.mu.Unlock()
	for _, b := range here {
		if b.Status != active && !b.broken() {
			continue
		}
		err := r.write(ctx, http.MethodDelete, "delete load balancer "+string(b.ID), nil, nil, "loadbalancers", url.PathEscape(string(b.ID)))
		if err != nil && !going(err) {
			return err
		}
	}
	return nil
}
