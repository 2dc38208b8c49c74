package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/store"
)

// What a journal said when a run was chosen may be history by the time that the lease is held: somebody
// thought about the question, and another process went on until a moment ago. So whoever takes up a run reads
// it, or reads it again, under the lease.

// ErrWentOn says that a run was gone on with since its journal was read.
var ErrWentOn = errors.New("the run went on meanwhile")

// AbandonedError says that the undoing of a run has begun: there is no way on, only to the end of that.
type AbandonedError struct {
	Run provision.RunID
	By  provision.RunID // the run that undoes it
}

// Error names both.
func (e *AbandonedError) Error() string {
	if e.Run == e.By {
		return fmt.Sprintf("run %s was abandoned", e.Run.Short())
	}
	return fmt.Sprintf("run %s is being undone by run %s, or was", e.Run.Short(), e.By.Short())
}

// FollowedError says that another delivery to what the same run has made was begun since.
type FollowedError struct{ Run, By provision.RunID }

// Error names both.
func (e *FollowedError) Error() string {
	return fmt.Sprintf("run %s was followed by run %s, which delivers to the same servers and load balancers", e.Run.Short(), e.By.Short())
}

// Resume gives the events of a run to one who holds the lease and will go on with it, or an *AbandonedError. A delivery ends with the run that
// it is of: its certificate would come to a key manager that nobody clears any more. It ends, too, with the next one, whose certificate it would
// replace by one that is older: a *FollowedError.
func Resume(ctx context.Context, s Store, service string, run provision.RunID) ([]provision.Event, error) {
	events, err := Read(ctx, s, service, run)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if e.Type == provision.RunAbandoned {
			return nil, &AbandonedError{Run: run, By: provision.RunID(e.Message)}
		}
	}
	if len(events) > 0 && events[0].Graph != nil && events[0].Graph.Purpose == "deliver" {
		if _, err := Resume(ctx, s, service, events[0].Graph.Of); err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err := followed(ctx, s, service, run, events[0].Graph.Of); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// followed looks for a delivery of the same run that began after one.
func followed(ctx context.Context, s Store, service string, delivery, of provision.RunID) error {
	runs, err := Runs(ctx, s, service)
	if err != nil {
		return err
	}
	for _, e := range runs {
		if e.Run <= delivery { // ids sort by time
			continue
		}
		events, err := Read(ctx, s, service, e.Run)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if len(events) > 0 && events[0].Graph != nil && events[0].Graph.Purpose == "deliver" && events[0].Graph.Of == of {
			return &FollowedError{Run: delivery, By: e.Run}
		}
	}
	return nil
}

// Abandon writes into a run's journal that another run undoes it, for one who holds the lease and made the
// reverse graph from known events; ErrWentOn when there are more by now. It comes before any undoing.
func Abandon(ctx context.Context, s Store, service string, run, by provision.RunID, known int) error {
	events, err := Read(ctx, s, service, run)
	if err != nil {
		return err
	}
	if len(events) != known {
		return ErrWentOn
	}
	_, err = Open(s, service, run, len(events)).Append(ctx, provision.Event{V: provision.EventVersion, Time: time.Now().UTC(), Run: run,
		Type: provision.RunAbandoned, Message: string(by)})
	if errors.Is(err, store.ErrChanged) && !errors.Is(err, store.ErrFenced) { // a line of the one who had the lease came between
		return ErrWentOn
	}
	return err
}
