package balancer

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// useArgs are those of cloudbalancer.use.
type useArgs struct {
	Cloud string `json:"cloud"`
	ID    ident  `json:"id"`
	Name  string `json:"name"`
}

func (r *Region) checkUse(ctx context.Context, a useArgs) (provision.Status, error) {
	b, st, ok, err := r.changeable(ctx, a.ID)
	if err != nil || !ok {
		return st, err
	}
	v4, v6 := b.addresses()
	if v4 == "" {
		return provision.Status{State: provision.Failed, Seen: "load balancer " + b.Name + " has no public IPv4 address"}, nil
	}
	return done(provision.Values{"id": string(b.ID), "name": b.Name, "address": v4, "ipv4": v4, "ipv6": v6})
}

func (r *Region) use(context.Context, useArgs) error {
	return errors.New("nothing can be done about a load balancer that is there already")
}

// staying says whether something can be undone now in a load balancer that was there before the run: ok. Else the status says why not, or that
// there is nothing to undo, since it is gone itself.
func (r *Region) staying(ctx context.Context, id ident) (st provision.Status, ok bool, err error) {
	b, there, err := r.read(ctx, id)
	switch {
	case err != nil:
		return st, false, err
	case !there || b.going():
		return provision.Status{State: provision.Done, Out: provision.Values{}}, false, nil
	case b.broken():
		return provision.Status{State: provision.Failed, Seen: "load balancer " + b.Name + " is in " + b.Status + ": only Rackspace's support can change it"}, false, nil
	case b.Status != active:
		return provision.Status{State: provision.Working, Seen: b.Status, Again: r.pace(string(id))}, false, nil
	}
	r.over(string(id))
	return st, true, nil
}

// undone says whether nothing of a change is there. Where nobody knows whether it was ever made, it may show late.
func (r *Region) undone(of string, hold int, there bool) (provision.Status, error) {
	switch {
	case there:
		r.noisy(of)
		return provision.Status{State: provision.Absent}, nil
	case hold > 0 && !r.quiet(of):
		return provision.Status{State: provision.Working, Seen: "the change was not answered; looking for what it did", Again: time.Second}, nil
	}
	return done(provision.Values{})
}

// detachArgs are those of cloudbalancer.detach.
type detachArgs struct {
	memberArgs
	Hold int `json:"hold"` // seconds
}

// added gives the members that the run has added.
func (a detachArgs) added(have []node) []node {
	return slices.DeleteFunc(slices.Clone(have), func(n node) bool {
		return n.Port != a.Port || !slices.ContainsFunc(slices.Concat(a.Members, a.Also), func(m string) bool { return provision.SameAddress(m, n.Address) })
	})
}

func (r *Region) checkDetached(ctx context.Context, a detachArgs) (provision.Status, error) {
	st, ok, err := r.staying(ctx, a.Balancer)
	if err != nil || !ok {
		return st, err
	}
	have, err := r.nodes(ctx, a.Balancer)
	if err != nil {
		return provision.Status{}, err
	}
	return r.undone("detach "+string(a.Balancer)+" "+strings.Join(a.Members, " "), a.Hold, len(a.added(have)) > 0)
}

// batch is the most that one request may delete.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/general-api-info/limits
const batch = 10

// detach takes those that are there yet out by one request.
func (r *Region) detach(ctx context.Context, a detachArgs) error {
	have, err := r.nodes(ctx, a.Balancer)
	if err != nil {
		return err
	}
	ids := url.Values{}
	for _, n := range a.added(have) {
		if len(ids["id"]) < batch {
			ids.Add("id", string(n.ID))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	err = r.send(ctx, http.MethodDelete, "take the servers out of the load balancer", nil, ids, nil, "loadbalancers", url.PathEscape(string(a.Balancer)), "nodes")
	if err == nil {
		return nil
	}
	e := provision.AsError("", err)
	if strings.Contains(strings.ToLower(e.Said), "not a part of") { // somebody was quicker
		e.Class = provision.Transient
	}
	return e
}

// conditionArgs are those of cloudbalancer.disable and cloudbalancer.restore.
type conditionArgs struct {
	Cloud    string                     `json:"cloud"`
	Balancer ident                      `json:"balancer"`
	Nodes    []provision.StandingMember `json:"nodes"`
	Port     int                        `json:"member_port"`
	Members  []string                   `json:"members"` // the run's own
	Hold     int                        `json:"hold"`    // seconds
}

// differing gives the first of the nodes that is there and not as it is to be, with the condition that it is to have.
func (a conditionArgs) differing(have []node, want func(was string, n node) string) (node, bool) {
	for _, m := range a.Nodes {
		i := slices.IndexFunc(have, func(n node) bool { return string(n.ID) == m.ID })
		if i < 0 { // somebody has removed it
			continue
		}
		n := have[i]
		if slices.ContainsFunc(a.Members, func(own string) bool { return n.Port == a.Port && provision.SameAddress(own, n.Address) }) {
			continue // a dead server's address was given to one of the run's
		}
		if c := want(m.Condition, n); c != n.Condition {
			n.Condition = c
			return n, true
		}
	}
	return node{}, false
}

const disabled = "DISABLED"

func disable(string, node) string { return disabled }

// restore leaves alone what somebody has changed since.
func restore(was string, n node) string {
	if n.Condition != disabled {
		return n.Condition
	}
	return was
}

func (r *Region) checkDisabled(ctx context.Context, a conditionArgs) (provision.Status, error) {
	_, st, ok, err := r.changeable(ctx, a.Balancer)
	if err != nil || !ok {
		return st, err
	}
	have, err := r.nodes(ctx, a.Balancer)
	if err != nil {
		return provision.Status{}, err
	}
	if _, ok := a.differing(have, disable); ok {
		return provision.Status{State: provision.Absent}, nil
	}
	return done(provision.Values{})
}

func (r *Region) disable(ctx context.Context, a conditionArgs) error {
	return r.condition(ctx, a, disable)
}

func (r *Region) checkRestored(ctx context.Context, a conditionArgs) (provision.Status, error) {
	st, ok, err := r.staying(ctx, a.Balancer)
	if err != nil || !ok {
		return st, err
	}
	have, err := r.nodes(ctx, a.Balancer)
	if err != nil {
		return provision.Status{}, err
	}
	_, there := a.differing(have, restore)
	return r.undone("restore "+string(a.Balancer), a.Hold, there)
}

func (r *Region) restore(ctx context.Context, a conditionArgs) error {
	return r.condition(ctx, a, restore)
}

// condition changes one node: several are one change after another.
func (r *Region) condition(ctx context.Context, a conditionArgs, want func(string, node) string) error {
	have, err := r.nodes(ctx, a.Balancer)
	if err != nil {
		return err
	}
	n, ok := a.differing(have, want)
	if !ok {
		return nil
	}
	return r.setCondition(ctx, a.Balancer, n)
}

// unterminateArgs are those of cloudbalancer.unterminate.
type unterminateArgs struct {
	Cloud       string   `json:"cloud"`
	Balancer    ident    `json:"balancer"`
	Fingerprint string   `json:"fingerprint"`
	Also        []string `json:"also"` // those of renewals
	Hold        int      `json:"hold"` // seconds

	Nodes []provision.StandingMember `json:"nodes"` // that were there before
}

func (r *Region) checkUnterminated(ctx context.Context, a unterminateArgs) (provision.Status, error) {
	st, ok, err := r.staying(ctx, a.Balancer)
	if err != nil || !ok {
		return st, err
	}
	t, err := r.terminates(ctx, a.Balancer)
	if err != nil {
		return provision.Status{}, err
	}
	has := fingerprint(t.Certificate)
	nodes, err := r.nodes(ctx, a.Balancer)
	if err != nil {
		return provision.Status{}, err
	}
	if slices.ContainsFunc(nodes, func(n node) bool {
		return !slices.ContainsFunc(a.Nodes, func(m provision.StandingMember) bool { return m.ID == string(n.ID) })
	}) { // a later run, or somebody, serves with it by now
		return done(provision.Values{})
	}
	// One that is not shown is the run's: there was none before.
	there := has != "" && (has == a.Fingerprint || slices.Contains(a.Also, has)) || has == "" && t.Port != 0
	return r.undone("unterminate "+string(a.Balancer), a.Hold, there)
}

// unterminate takes the certificate with its key out again.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/ssl-termination
func (r *Region) unterminate(ctx context.Context, a unterminateArgs) error {
	err := r.write(ctx, http.MethodDelete, "end TLS at the load balancer no more", nil, nil, "loadbalancers", url.PathEscape(string(a.Balancer)), "ssltermination")
	if err != nil && strings.HasSuffix(provision.AsError("", err).What, gone) {
		return nil
	}
	return err
}
