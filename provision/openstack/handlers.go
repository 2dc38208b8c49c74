package openstack

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// The kinds of steps that this package performs.
const (
	KeypairCreate     provision.Kind = "keypair.create"
	KeypairDelete     provision.Kind = "keypair.delete"
	GroupCreate       provision.Kind = "group.create"
	GroupDelete       provision.Kind = "group.delete"
	GroupClose        provision.Kind = "group.close"
	GroupOpen         provision.Kind = "group.open"
	ServerGroupCreate provision.Kind = "servergroup.create"
	ServerGroupDelete provision.Kind = "servergroup.delete"
	ServerCreate      provision.Kind = "server.create"
	ServerDelete      provision.Kind = "server.delete"
	FloatingIPCreate  provision.Kind = "floatingip.create"
	FloatingIPDelete  provision.Kind = "floatingip.delete"
	ConsoleHostKeys   provision.Kind = "console.hostkeys"
	CertificatePulled provision.Kind = "certificate.pulled"
	CertificateStore  provision.Kind = "certificate.store"
	CertificateRemove provision.Kind = "certificate.remove"
	BalancerCreate    provision.Kind = "balancer.create"
	BalancerDelete    provision.Kind = "balancer.delete"
	PoolCreate        provision.Kind = "pool.create"
	MonitorCreate     provision.Kind = "healthmonitor.create"
	ListenerCreate    provision.Kind = "listener.create"
	ListenerUpdate    provision.Kind = "listener.update"
	PolicyCreate      provision.Kind = "l7policy.create"
	RuleCreate        provision.Kind = "l7rule.create"
	BalancerJoin      provision.Kind = "balancer.join"
)

// Handler performs steps of one kind. Check changes nothing: it says how far the effect holds now. Do starts
// the effect and returns. Neither waits.
type Handler interface {
	Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error)
	Do(ctx context.Context, s provision.Step, in provision.Values) error
}

// Clouds are those of the plan, by the name of their block.
type Clouds map[string]*Cloud

// Handlers gives one for each kind, over all clouds. keys are the certificates that may go into a key manager.
func Handlers(c Clouds, keys Keys) map[provision.Kind]Handler {
	return map[provision.Kind]Handler{
		KeypairCreate:     handler[keypairArgs]{c, (*Cloud).checkKeypair, (*Cloud).createKeypair},
		KeypairDelete:     handler[deleteArgs]{c, (*Cloud).checkNoKeypair, (*Cloud).deleteKeypair},
		GroupCreate:       handler[groupArgs]{c, (*Cloud).checkGroup, (*Cloud).createGroup},
		GroupDelete:       handler[deleteArgs]{c, (*Cloud).checkNoGroup, (*Cloud).deleteGroup},
		GroupClose:        handler[closeArgs]{c, (*Cloud).checkClosed, (*Cloud).closePort},
		GroupOpen:         handler[openArgs]{c, (*Cloud).checkOpen, (*Cloud).openPort},
		ServerGroupCreate: handler[serverGroupArgs]{c, (*Cloud).checkServerGroup, (*Cloud).createServerGroup},
		ServerGroupDelete: handler[deleteArgs]{c, (*Cloud).checkNoServerGroup, (*Cloud).deleteServerGroup},
		ServerCreate:      handler[serverArgs]{c, (*Cloud).checkServer, (*Cloud).createServer},
		ServerDelete:      handler[deleteArgs]{c, (*Cloud).checkNoServer, (*Cloud).deleteServer},
		FloatingIPCreate:  handler[floatingArgs]{c, (*Cloud).checkFloating, (*Cloud).createFloating},
		FloatingIPDelete:  handler[deleteArgs]{c, (*Cloud).checkNoFloating, (*Cloud).deleteFloating},
		ConsoleHostKeys:   handler[consoleArgs]{c, (*Cloud).checkConsole, func(*Cloud, context.Context, consoleArgs) error { return nil }},
		CertificatePulled: handler[pulledArgs]{c, (*Cloud).checkPulled, func(*Cloud, context.Context, pulledArgs) error { return nil }},
		CertificateStore:  handler[storeArgs]{c, (*Cloud).checkStored, storeIn(keys)},
		CertificateRemove: handler[deleteArgs]{c, (*Cloud).checkNotStored, (*Cloud).removeStored},
		BalancerCreate:    handler[balancerArgs]{c, (*Cloud).checkBalancer, (*Cloud).createBalancer},
		BalancerDelete:    handler[deleteArgs]{c, (*Cloud).checkNoBalancer, (*Cloud).deleteBalancer},
		PoolCreate:        handler[poolArgs]{c, checkPart[poolArgs], makePart[poolArgs]},
		MonitorCreate:     handler[monitorArgs]{c, checkPart[monitorArgs], makePart[monitorArgs]},
		ListenerCreate:    handler[listenerArgs]{c, checkPart[listenerArgs], makePart[listenerArgs]},
		ListenerUpdate:    handler[updateArgs]{c, (*Cloud).checkListener, (*Cloud).updateListener},
		PolicyCreate:      handler[policyArgs]{c, checkPart[policyArgs], makePart[policyArgs]},
		RuleCreate:        handler[ruleArgs]{c, checkPart[ruleArgs], makePart[ruleArgs]},
		BalancerJoin:      handler[joinArgs]{c, (*Cloud).checkJoin, (*Cloud).join},
	}
}

// deleteArgs are those of every kind that removes. Run, where given, must be what the thing carries.
type deleteArgs struct {
	Cloud string `json:"cloud"`
	ID    string `json:"id"`
	Name  string `json:"name"`
	Run   string `json:"run"`
	Slot  string `json:"slot"`
	Keep  string `json:"keep"` // of a certificate: the name of what stays
}

// handler decodes the arguments and finds the cloud.
type handler[A any] struct {
	clouds Clouds
	check  func(*Cloud, context.Context, A) (provision.Status, error)
	do     func(*Cloud, context.Context, A) error
}

func (h handler[A]) args(s provision.Step, in provision.Values) (c *Cloud, a A, err error) {
	if err := in.Decode(&a); err != nil {
		return nil, a, &provision.Error{Thing: string(s.ID), What: string(s.Kind) + ": " + err.Error(), Class: provision.Final}
	}
	name := in.Text("cloud")
	if c = h.clouds[name]; c == nil {
		var have []string
		for n := range h.clouds {
			have = append(have, n)
		}
		slices.Sort(have)
		return nil, a, &provision.Error{Thing: string(s.ID), What: fmt.Sprintf("there is no cloud %q (%s)", name, strings.Join(have, ", ")), Class: provision.Final}
	}
	return c, a, nil
}

func (h handler[A]) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	c, a, err := h.args(s, in)
	if err != nil {
		return provision.Status{}, err
	}
	st, err := h.check(c, ctx, a)
	if err != nil {
		return st, provision.AsError(string(s.ID), err)
	}
	return st, nil
}

func (h handler[A]) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	c, a, err := h.args(s, in)
	if err != nil {
		return err
	}
	if err := h.do(c, ctx, a); err != nil {
		return provision.AsError(string(s.ID), err)
	}
	return nil
}

func absent() (provision.Status, error) { return provision.Status{State: provision.Absent}, nil }

func done(out provision.Values) (provision.Status, error) {
	return provision.Status{State: provision.Done, Out: out}, nil
}
