package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
)

// challengeTTL is what a set gets that was not there before: it is asked for once, and gone soon.
const challengeTTL = 60

// challenge is the argument of challenge.set and challenge.clear.
type challenge struct {
	Zone        string   `json:"zone"`
	Name        string   `json:"name"`
	Values      []string `json:"values"` // in presentation form, quoted
	NameServers []string `json:"name_servers"`
}

func (z Zones) challenge(in provision.Values) (challenge, Zone, error) {
	args := provision.Values{}
	for _, k := range []string{"zone", "name", "values", "name_servers"} {
		if v, ok := in[k]; ok {
			args[k] = v
		}
	}
	var c challenge
	if err := args.Decode(&c); err != nil {
		return c, nil, err
	}
	zone, err := z.zone(c.Zone)
	return c, zone, err
}

// plainText is a TXT value without its quotes: providers and name servers differ in them.
func plainText(v string) string { return strings.Trim(v, `"`) }

// missing gives the values that are not in a set.
func missing(set, want []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(v string) bool {
		return slices.ContainsFunc(set, func(x string) bool { return plainText(x) == plainText(v) })
	})
}

// ChallengeSet performs challenge.set: an authority's values are in a TXT set, beside whatever else is there, and every name
// server serves them.
type ChallengeSet struct {
	Zones Zones
	// Ask asks one name server; nil: Ask of this package.
	Ask func(ctx context.Context, server, name, typ string) (provision.RRset, error)
}

// Check asks the provider first, then all name servers at once: an authority asks any of them.
func (h *ChallengeSet) Check(ctx context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	c, zone, err := h.Zones.challenge(in)
	if err != nil {
		return provision.Status{}, err
	}
	done := provision.Status{State: provision.Done, Out: provision.Values{"values": append([]string{}, c.Values...)}}
	if len(c.Values) == 0 { // proven already
		return done, nil
	}
	have, err := zone.Get(ctx, c.Name, "TXT")
	if err != nil {
		return provision.Status{}, err
	}
	if len(missing(have.Values, c.Values)) > 0 {
		return provision.Status{State: provision.Absent}, nil
	}
	ask := h.Ask
	if ask == nil {
		ask = Ask
	}
	said := make([]string, len(c.NameServers))
	var wg sync.WaitGroup
	for i, ns := range c.NameServers {
		wg.Go(func() {
			set, err := ask(ctx, ns, c.Name, "TXT")
			switch {
			case err != nil:
				said[i] = err.Error()
			case len(missing(set.Values, c.Values)) > 0:
				said[i] = ns + " does not have it yet"
			}
		})
	}
	wg.Wait()
	late := slices.DeleteFunc(said, func(s string) bool { return s == "" })
	if len(late) == 0 {
		return done, nil
	}
	st := provision.Status{State: provision.Working, Again: 500 * time.Millisecond, Seen: fmt.Sprintf("%d of %d have it; %s", len(c.NameServers)-len(late), len(c.NameServers), late[0])}
	if p, err := zone.Settled(ctx, c.Name, "TXT"); err == nil && p.State == provision.Failed {
		return provision.Status{State: provision.Failed, Seen: p.Seen, Out: done.Out}, nil
	}
	return st, nil
}

// Do adds what is missing.
func (h *ChallengeSet) Do(ctx context.Context, _ provision.Step, in provision.Values) error {
	c, zone, err := h.Zones.challenge(in)
	if err != nil {
		return err
	}
	have, err := zone.Get(ctx, c.Name, "TXT")
	if err != nil {
		return err
	}
	next := provision.RRset{Name: c.Name, Type: "TXT", TTL: have.TTL, Values: slices.Concat(have.Values, missing(have.Values, c.Values))}
	if len(have.Values) == 0 {
		next.TTL = challengeTTL
	}
	slices.Sort(next.Values)
	return again(zone.Set(ctx, have, next))
}

// ChallengeClear performs challenge.clear: none of an authority's values is in the TXT set any more. A value of anybody else's
// stays, and with it the set.
type ChallengeClear struct{ Zones Zones }

// Check asks the provider.
func (h ChallengeClear) Check(ctx context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	c, zone, err := h.Zones.challenge(in)
	if err != nil {
		return provision.Status{}, err
	}
	if len(c.Values) == 0 {
		return provision.Status{State: provision.Done}, nil
	}
	have, err := zone.Get(ctx, c.Name, "TXT")
	if err != nil {
		return provision.Status{}, err
	}
	if len(missing(have.Values, c.Values)) == len(c.Values) {
		return provision.Status{State: provision.Done}, nil
	}
	return provision.Status{State: provision.Absent}, nil
}

// Do takes them out.
func (h ChallengeClear) Do(ctx context.Context, _ provision.Step, in provision.Values) error {
	c, zone, err := h.Zones.challenge(in)
	if err != nil {
		return err
	}
	have, err := zone.Get(ctx, c.Name, "TXT")
	if err != nil {
		return err
	}
	return again(zone.Set(ctx, have, provision.RRset{Name: c.Name, Type: "TXT", TTL: have.TTL, Values: missing(c.Values, have.Values)}))
}

// again lets a set that somebody else changed in the middle be read once more: others may answer challenges of the same name.
func again(err error) error {
	if errors.Is(err, ErrChanged) {
		return &provision.Error{What: "somebody else changed the set in the middle", Err: err, Class: provision.Transient}
	}
	return err
}
