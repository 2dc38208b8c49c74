// Package dns turns a wanted RRset into one that every authoritative name server serves, and back.
//
// A Zone is one zone at its provider; each provider has a folder below this one. The handlers here lower
// a TTL, move a record set and ask the name servers themselves until they agree. They never change a
// record that the plan does not name, and never overwrite a set that someone else changed meanwhile.
package dns

import (
	"context"
	"errors"

	"github.com/dripstat/failover/provision"
)

// ErrChanged says that the provider no longer holds the record set that was read before.
var ErrChanged = errors.New("the record set was changed by someone else meanwhile")

// Zone is one zone at its provider. Names have the final dot; TTLs are seconds; values are in
// presentation form ("203.0.113.7", "host.example.com."), sorted.
type Zone interface {
	// Get reads the set as the provider holds it. A set that does not exist has no Values; that is no error.
	Get(ctx context.Context, name, typ string) (provision.RRset, error)

	// Set puts next in the place of old in one call where the provider can. An old without Values means
	// that there was none; a next without Values removes it. Where the provider holds something else than
	// old (or, of a Stepwise Zone, what is halfway from it), nothing is changed and the error is ErrChanged.
	Set(ctx context.Context, old, next provision.RRset) error

	// Settled says whether the provider itself has finished with the set: Done, Working ("PENDING"), or Failed where it
	// will not try again.
	// Providers that answer only when they have finished always give Done.
	Settled(ctx context.Context, name, typ string) (provision.Status, error)

	// NameServers gives the authoritative servers of the zone, host:port or host.
	NameServers(ctx context.Context) ([]string, error)
}

// Stepwise is a Zone whose provider changes the values of a set one after another where their number changes: a set that
// was begun on may be found halfway.
type Stepwise interface {
	Zone
	// Halfway reports whether have is on its way from old to next, and can only be so by a change of ours.
	Halfway(old, next, have provision.RRset) bool
	// Busy says what the provider has accepted for a set and not done yet, whoever sent it; empty where that is nothing. What is
	// read before that is not what will be there.
	Busy(ctx context.Context, name, typ string) (string, error)
}
