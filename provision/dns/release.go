package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/dripstat/failover/provision"
)

// Release performs dns.release: it is Done when nothing gives an address that is about to be removed. The provider is
// asked first: while it holds one, no name server will ever stop to give it, and only a person can change that.
type Release struct {
	Zones Zones
	// Ask asks one name server; nil: Ask of this package.
	Ask func(ctx context.Context, server, name, typ string) (provision.RRset, error)
}

// Do has nothing to do: the record is not this run's to change.
func (r Release) Do(context.Context, provision.Step, provision.Values) error { return nil }

// Check asks the provider and all name servers at once.
func (r Release) Check(ctx context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	var a struct {
		Zone        string          `json:"zone"`
		Old         provision.RRset `json:"old"`
		Ours        []string        `json:"ours"`
		Values      []string        `json:"values"`
		NameServers []string        `json:"name_servers"`
	}
	if err := in.Decode(&a); err != nil {
		return provision.Status{}, err
	}
	zone, err := r.Zones.zone(a.Zone)
	if err != nil {
		return provision.Status{}, err
	}
	have, err := zone.Get(ctx, a.Old.Name, a.Old.Type)
	if err != nil {
		return provision.Status{}, err
	}
	doomed := append(slices.Clone(a.Ours), a.Values...)
	if x := common(have.Values, doomed); x != "" {
		return provision.Status{}, &provision.Error{What: fmt.Sprintf("%s %s still points to %s, which would be removed; what it held before is not known, since the run's journal was lost", a.Old.Name, a.Old.Type, x),
			Hint: "point it to where the service is to be at your DNS provider, wait for its TTL, and type this again", Class: provision.Final}
	}
	ask := r.Ask
	if ask == nil {
		ask = Ask
	}
	said := make([]string, len(a.NameServers))
	var wg sync.WaitGroup
	for i, ns := range a.NameServers {
		wg.Go(func() {
			set, err := ask(ctx, ns, a.Old.Name, a.Old.Type)
			if err != nil {
				said[i] = err.Error()
			} else if x := common(set.Values, doomed); x != "" {
				said[i] = fmt.Sprintf("%s still gives %s", ns, x)
			}
		})
	}
	wg.Wait()
	for _, s := range said {
		if s != "" {
			return provision.Status{State: provision.Working, Seen: s}, nil
		}
	}
	return provision.Status{State: provision.Done}, nil
}

// common gives the first address that two lists share, however it is written.
func common(a, b []string) string {
	for _, x := range a {
		p, err := netip.ParseAddr(x)
		if err != nil {
			continue
		}
		for _, y := range b {
			if q, err := netip.ParseAddr(y); err == nil && p == q {
				return x
			}
		}
	}
	return ""
}
