package balancer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// The kinds of steps that this package performs.
const (
	Create      provision.Kind = "cloudbalancer.create"
	Delete      provision.Kind = "cloudbalancer.delete"
	Terminate   provision.Kind = "cloudbalancer.terminate"
	Versions    provision.Kind = "cloudbalancer.versions"
	Redirect    provision.Kind = "cloudbalancer.redirect"
	Attach      provision.Kind = "cloudbalancer.attach"
	Enable      provision.Kind = "cloudbalancer.enable"
	Use         provision.Kind = "cloudbalancer.use"
	Detach      provision.Kind = "cloudbalancer.detach"
	Disable     provision.Kind = "cloudbalancer.disable"
	Restore     provision.Kind = "cloudbalancer.restore"
	Unterminate provision.Kind = "cloudbalancer.unterminate"
)

// Handler performs steps of one kind. Check changes nothing: it says how far the effect holds now. Do starts
// the effect and returns. Neither waits.
type Handler interface {
	Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error)
	Do(ctx context.Context, s provision.Step, in provision.Values) error
}

// Regions are those of the plan's clouds, by the name of their block.
type Regions map[string]*Region

// Keys gives a certificate of the plan that is in this process's memory; nil where it is not.
type Keys func(certificate string) *secrets.Certificate

// Handlers gives one for each kind, over all clouds.
func Handlers(r Regions, keys Keys) map[provision.Kind]Handler {
	return map[provision.Kind]Handler{
		Create:      handler[createArgs]{r, (*Region).checkCreate, (*Region).create},
		Delete:      handler[deleteArgs]{r, (*Region).checkGone, (*Region).remove},
		Terminate:   handler[terminateArgs]{r, (*Region).checkTerminates, terminate(keys)},
		Versions:    handler[changeArgs]{r, (*Region).checkVersions, (*Region).turnOff},
		Redirect:    handler[changeArgs]{r, (*Region).checkRedirects, (*Region).redirect},
		Attach:      handler[memberArgs]{r, (*Region).checkAttached, (*Region).attach},
		Enable:      handler[memberArgs]{r, (*Region).checkEnabled, (*Region).enable},
		Use:         handler[useArgs]{r, (*Region).checkUse, (*Region).use},
		Detach:      handler[detachArgs]{r, (*Region).checkDetached, (*Region).detach},
		Disable:     handler[conditionArgs]{r, (*Region).checkDisabled, (*Region).disable},
		Restore:     handler[conditionArgs]{r, (*Region).checkRestored, (*Region).restore},
		Unterminate: handler[unterminateArgs]{r, (*Region).checkUnterminated, (*Region).unterminate},
	}
}

// handler decodes the arguments and finds the region.
type handler[A any] struct {
	regions Regions
	check   func(*Region, context.Context, A) (provision.Status, error)
	do      func(*Region, context.Context, A) error
}

func (h handler[A]) args(s provision.Step, in provision.Values) (r *Region, a A, err error) {
	if err := in.Decode(&a); err != nil {
		return nil, a, &provision.Error{Thing: string(s.ID), What: string(s.Kind) + ": " + err.Error(), Class: provision.Final}
	}
	if r = h.regions[in.Text("cloud")]; r == nil {
		return nil, a, &provision.Error{Thing: string(s.ID), What: fmt.Sprintf("there is no cloud %q of Rackspace (%s)", in.Text("cloud"), strings.Join(slices.Sorted(maps.Keys(h.regions)), ", ")), Class: provision.Final}
	}
	return r, a, nil
}

// Check is the Handler's.
func (h handler[A]) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	r, a, err := h.args(s, in)
	if err != nil {
		return provision.Status{}, err
	}
	st, err := h.check(r, ctx, a)
	if err != nil {
		return st, provision.AsError(string(s.ID), err)
	}
	return st, nil
}

// Do is the Handler's.
func (h handler[A]) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	r, a, err := h.args(s, in)
	if err != nil {
		return err
	}
	if err := h.do(r, ctx, a); err != nil {
		return provision.AsError(string(s.ID), err)
	}
	return nil
}

func done(out provision.Values) (provision.Status, error) {
	return provision.Status{State: provision.Done, Out: out}, nil
}

// changeArgs are those of every change to a load balancer that is there.
type changeArgs struct {
	Cloud    string `json:"cloud"`
	Balancer ident  `json:"balancer"`
}

// changeable gives the load balancer where a change may be asked for now: ok. Else the status says why not.
func (r *Region) changeable(ctx context.Context, id ident) (b loadBalancer, st provision.Status, ok bool, err error) {
	b, there, err := r.read(ctx, id)
	switch {
	case err != nil:
		return b, st, false, err
	case !there || b.going():
		return b, provision.Status{State: provision.Failed, Seen: "the load balancer is gone"}, false, nil
	case b.broken():
		return b, provision.Status{State: provision.Failed, Seen: "load balancer " + b.Name + " is in " + b.Status + ": only Rackspace's support can change it"}, false, nil
	case b.Status != active:
		return b, provision.Status{State: provision.Working, Seen: b.Status, Again: r.pace(string(id))}, false, nil
	}
	r.over(string(id))
	return b, st, true, nil
}
