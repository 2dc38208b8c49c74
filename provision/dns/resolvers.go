package dns

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/dripstat/failover/provision"
)

// Resolvers performs dns.resolvers: it says what recursive resolvers still hold. What they hold is their
// own affair until it expires, so the step is Done whatever they say.
type Resolvers struct{}

// Do has nothing to do.
func (Resolvers) Do(context.Context, provision.Step, provision.Values) error { return nil }

// Check asks all resolvers once, at the same time.
func (Resolvers) Check(ctx context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	var w struct {
		Name      string   `json:"name"`
		Type      string   `json:"type"`
		Values    []string `json:"values"`
		Resolvers []string `json:"resolvers"`
	}
	if err := in.Decode(&w); err != nil {
		return provision.Status{}, err
	}
	said := make([]string, len(w.Resolvers))
	var wg sync.WaitGroup
	for i, r := range w.Resolvers {
		wg.Go(func() {
			set, err := AskResolver(ctx, r, w.Name, w.Type)
			switch {
			case err != nil:
				said[i] = err.Error()
			case !Same(set.Values, w.Values):
				said[i] = fmt.Sprintf("resolver %s gives %s for another %d s", r, strings.Join(head(set.Values, 2), ", "), set.TTL)
			}
		})
	}
	wg.Wait()
	stale := []any{}
	for _, s := range said {
		if s != "" {
			stale = append(stale, s)
		}
	}
	return provision.Status{State: provision.Done, Out: provision.Values{"fresh": len(said) - len(stale), "stale": stale}}, nil
}
