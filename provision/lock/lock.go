// Package lock gives one run at a time the right to change a service: a lease with an owner, a
// generation and an expiry.
//
// Whoever holds a lease can say so at any moment (Held); a run asks before every change and stops when
// the answer is no. A lease of another is never deleted; an expired one is taken over, and that is told.
package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/store"
)

// Store is what a lease needs of a store.
type Store interface {
	Read(ctx context.Context, key string) ([]byte, error)
	Swap(ctx context.Context, key string, old, next []byte) error
}

// Holder says who holds a lease.
type Holder struct {
	Owner      string          `json:"owner"`
	Host       string          `json:"host"`
	PID        int             `json:"pid"`
	Command    string          `json:"command"`
	Run        provision.RunID `json:"run"`
	Since      time.Time       `json:"since"`
	Expires    time.Time       `json:"expires"`
	Generation int             `json:"generation"`
}

// HeldError says that another run is at work.
type HeldError struct{ Holder Holder }

// Error names the owner, the command and the time.
func (e *HeldError) Error() string {
	h := e.Holder
	return fmt.Sprintf("locked by %s on %s since %s (%s, run %s)", h.Owner, h.Host, h.Since.Local().Format("15:04:05"), h.Command, h.Run.Short())
}

// ErrLost says that the lease is no longer ours.
var ErrLost = errors.New("the lease on this service was lost")

// TTL is how long a lease lives without a heartbeat; it is renewed three times in that.
const TTL = 45 * time.Second

// margin is how long before its expiry a lease counts as lost: what was begun under it has to be called back before
// another may take it over, and two clocks are never quite the same.
const margin = 5 * time.Second

// Lease is held by this process.
type Lease struct {
	store Store
	key   string
	stop  context.CancelFunc
	done  chan struct{}

	mu     sync.Mutex
	holder Holder
	raw    []byte
	lost   error

	// TakenFrom is the expired holder that this lease follows, if there was one.
	TakenFrom *Holder
}

// Key gives the key of a service's lease.
func Key(service string) string { return service + "/lease.json" }

// Acquire takes the lease of a service for h, or gives a *HeldError. alive says whether a process of
// this very host still runs: a lease of a dead one is expired.
func Acquire(ctx context.Context, s Store, service string, h Holder, alive func(pid int) bool) (*Lease, error) {
	l := &Lease{store: s, key: Key(service), done: make(chan struct{})}
	now := time.Now()
	old, err := s.Read(ctx, l.key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if old != nil {
		var have Holder
		if err := json.Unmarshal(old, &have); err != nil {
			return nil, fmt.Errorf("the lease of %s does not parse: %w", service, err)
		}
		dead := have.Host == h.Host && have.PID != h.PID && alive != nil && !alive(have.PID)
		if now.Before(have.Expires) && !dead {
			return nil, &HeldError{have}
		}
		if !have.Expires.IsZero() {
			l.TakenFrom = &have
		}
		h.Generation = have.Generation
	}
	h.Generation++
	h.Since, h.Expires = now, now.Add(TTL)
	if err := l.put(ctx, old, h); err != nil {
		if errors.Is(err, store.ErrChanged) || errors.Is(err, store.ErrExists) {
			return nil, &HeldError{l.other(ctx)}
		}
		return nil, err
	}
	bctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = cancel
	go l.beat(bctx)
	return l, nil
}

func (l *Lease) other(ctx context.Context) Holder {
	var h Holder
	if b, err := l.store.Read(ctx, l.key); err == nil {
		_ = json.Unmarshal(b, &h)
	}
	return h
}

func (l *Lease) put(ctx context.Context, old []byte, h Holder) error {
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := l.store.Swap(ctx, l.key, old, raw); err != nil {
		return err
	}
	l.mu.Lock()
	l.holder, l.raw = h, raw
	l.mu.Unlock()
	return nil
}

// beat renews until Release, or until someone else has taken the lease.
func (l *Lease) beat(ctx context.Context) {
	defer close(l.done)
	t := time.NewTicker(TTL / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		l.mu.Lock()
		h, raw := l.holder, l.raw
		l.mu.Unlock()
		h.Expires = time.Now().Add(TTL)
		if err := l.put(ctx, raw, h); errors.Is(err, store.ErrChanged) || errors.Is(err, store.ErrExists) {
			l.mu.Lock()
			l.lost = ErrLost
			l.mu.Unlock()
			return
		}
	}
}

// Held gives nil while the lease is ours and not about to expire. It asks the clock, not the store.
func (l *Lease) Held() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return l.lost
	}
	if !time.Now().Before(l.holder.Expires.Add(-margin)) {
		return fmt.Errorf("%w: it could not be renewed since %s", ErrLost, l.holder.Expires.Add(-TTL).Local().Format("15:04:05"))
	}
	return nil
}

// Release ends the lease; its generation stays behind so that the next one is higher.
func (l *Lease) Release(ctx context.Context) error {
	l.stop()
	<-l.done
	l.mu.Lock()
	h, raw, lost := l.holder, l.raw, l.lost
	l.mu.Unlock()
	if lost != nil { // it is another's by now
		return nil //nolint:nilerr // there is nothing to release
	}
	h.Expires = time.Time{}
	return l.put(ctx, raw, h)
}
