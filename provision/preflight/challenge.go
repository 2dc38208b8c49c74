package preflight

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// maxAliases is how long a chain of aliases may be that a challenge is led along.
const maxAliases = 4

// challenges finds, for every proof that an authority will ask for, the zone of the plan that it can be put into.
func (r *reader) challenges(ctx context.Context, c provision.Certificate, got secrets.Got) {
	out := make([]provision.Challenge, len(got.Offer.Challenges))
	var wg sync.WaitGroup
	for i, name := range got.Offer.Challenges {
		wg.Go(func() {
			ch, err := r.challenge(ctx, name)
			if err != nil {
				f := refuse("certificate", "certificate."+c.Name, c.Pos, err)
				f.What = fmt.Sprintf("secrets.%s: %s", got.Ref.Store, f.What)
				r.found(f)
			}
			out[i] = ch
		})
	}
	if ids := got.Offer.Identities; len(ids) > 0 {
		for _, n := range c.Names {
			wg.Go(func() { r.allowed(ctx, c, n, ids) })
		}
	}
	wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.challenges[c.Name] = out
	r.seen.checks += len(out)
}

// challenge follows aliases from name to the set that is to hold the values. Delegating a challenge so is common where the
// zone itself is not to be written by machines: https://letsencrypt.org/docs/challenge-types/#dns-01-challenge
func (r *reader) challenge(ctx context.Context, name string) (provision.Challenge, error) {
	at := name
	for range maxAliases {
		z, ok := zoneOf(r.plan, at)
		if !ok {
			what := fmt.Sprintf("no dns block of the plan holds %s", strings.TrimSuffix(at, "."))
			if at != name {
				what += ", which " + strings.TrimSuffix(name, ".") + " is an alias of"
			}
			return provision.Challenge{}, &provision.Error{What: what + ", where the authority asks for a proof", Hint: "add a dns block for its zone, or take another place of the certificate (from)"}
		}
		zone := r.src.Zones[z.Name]
		alias, err := zone.Get(ctx, at, "CNAME")
		if err != nil {
			return provision.Challenge{}, err
		}
		if len(alias.Values) == 0 {
			return r.answerable(ctx, z, name, at)
		}
		at = strings.ToLower(strings.TrimSuffix(alias.Values[0], ".")) + "."
	}
	return provision.Challenge{}, &provision.Error{What: fmt.Sprintf("%s is an alias of an alias, more than %d deep", strings.TrimSuffix(name, "."), maxAliases)}
}

// answerable reads the set as a run would before it writes, and asks the name servers that will have to serve it.
func (r *reader) answerable(ctx context.Context, z provision.Zone, name, at string) (provision.Challenge, error) {
	ch := provision.Challenge{For: name, Zone: z.Name, Name: at}
	zone := r.src.Zones[z.Name]
	if _, err := zone.Get(ctx, at, "TXT"); err != nil {
		return ch, err
	}
	servers := z.NameServers
	if len(servers) == 0 {
		var err error
		if servers, err = zone.NameServers(ctx); err != nil {
			return ch, err
		}
	}
	var last error
	for _, ns := range servers {
		if _, err := r.src.Ask(ctx, ns, at, "TXT"); err != nil {
			last = err
			continue
		}
		ch.NameServers = append(ch.NameServers, ns)
	}
	if len(ch.NameServers) == 0 {
		return ch, &provision.Error{What: "no authoritative name server answers for " + strings.TrimSuffix(at, "."), Err: last}
	}
	return ch, nil
}

// zoneOf gives the dns block with the longest zone that a name lies in.
func zoneOf(p provision.Plan, name string) (provision.Zone, bool) {
	var best provision.Zone
	for _, z := range p.Zones {
		if zone := strings.ToLower(z.Zone) + "."; (name == zone || strings.HasSuffix(name, "."+zone)) && len(z.Zone) > len(best.Zone) {
			best = z
		}
	}
	return best, best.Zone != ""
}
