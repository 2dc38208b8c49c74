package dns

import (
	"context"
	"fmt"
	"time"

	"github.com/dripstat/failover/provision"
)

// Expire performs dns.expire: it is Done when every answer that was given before a change has left the
// resolvers' caches, which is its TTL later.
type Expire struct{}

// Do has nothing to do: time passes by itself.
func (Expire) Do(context.Context, provision.Step, provision.Values) error { return nil }

// Check asks the clock.
func (Expire) Check(_ context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	var w struct {
		Since time.Time `json:"since"`
		TTL   float64   `json:"ttl"` // seconds
	}
	if err := in.Decode(&w); err != nil {
		return provision.Status{}, err
	}
	until := w.Since.Add(time.Duration(w.TTL * float64(time.Second)))
	left := time.Until(until)
	if left <= 0 {
		return provision.Status{State: provision.Done}, nil
	}
	return provision.Status{State: provision.Working, Again: left,
		Seen: fmt.Sprintf("resolvers may hold the former answer until %s", until.Local().Format("15:04:05"))}, nil
}
