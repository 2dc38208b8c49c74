// Package lock gives one run at a time the right to change a service: a lease with an owner, a
// generation and an expiry.
//
// Whoever holds a lease can say so at any moment (Held); a run asks before every change and stops when
// the answer is no. A lease of another is never deleted; an expired one is taken over, and that is told. A
// live one is taken over only by Take, which names its holder. A lease that could not be renewed because the
// store is away counts as lost shortly before another may take it, unless Lenient asks for less.
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
	Machine    string          `json:"machine,omitempty"` // this boot of it, and which of its process tables: of two machines with one name, or containers, a PID says nothing
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

// LostError is an ErrLost that knows who has it now.
type LostError struct{ To Holder }

// Error names the one who took it.
func (e *LostError) Error() string {
	h := e.To
	return fmt.Sprintf("the lock was taken over by %s on %s at %s (%s, run %s)", h.Owner, h.Host, h.Since.Local().Format("15:04:05"), h.Command, h.Run.Short())
}

// Is makes it an ErrLost.
func (e *LostError) Is(target error) bool { return target == ErrLost }

// Pace of a lease.
const (
	// TTL is how long a lease lives without a heartbeat.
	TTL = 45 * time.Second
	// Beat is the time between heartbeats: a lease that was taken over is known as lost within it.
	Beat = 5 * time.Second
	// fresh is how long an answer of the store is good for.
	fresh = time.Second
	// seizeTries bounds how often a lease that changes under our hands is looked at.
	seizeTries = 5
	// askTime bounds one question to the store.
	askTime = 3 * time.Second
)

// margin is how long before its expiry a lease counts as lost: what was begun under it has to be called back before
// another may take it over, and two clocks are never quite the same.
const margin = 5 * time.Second

// Lease is held by this process.
type Lease struct {
	store  Store
	key    string
	stop   context.CancelFunc
	done   chan struct{}
	gone   chan struct{}
	asking sync.Mutex // one question at a time: answers must not overtake each other

	mu      sync.Mutex
	holder  Holder
	raw     []byte
	lenient bool
	lost    error
	sure    time.Time // when the store last said that it is ours
	silent  time.Time // when the store last did not answer
	missed  func(error)

	// TakenFrom is the holder that this lease follows, if one had not let go: an expired one, or, where
	// TakenLive, one that was at work.
	TakenFrom *Holder
	TakenLive bool
}

// Key gives the key of a service's lease.
func Key(service string) string { return service + "/lease.json" }

// Show gives who holds the lease of a service, and whether it has expired; nil where nobody does.
func Show(ctx context.Context, s Store, service string) (h *Holder, expired bool, err error) {
	raw, err := s.Read(ctx, Key(service))
	if errors.Is(err, store.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if h, err = parse(service, raw); err != nil || h.Expires.IsZero() {
		return nil, false, err
	}
	return h, !time.Now().Before(h.Expires), nil
}

func parse(service string, raw []byte) (*Holder, error) {
	var h Holder
	if err := json.Unmarshal(raw, &h); err != nil {
		return nil, fmt.Errorf("the lease of %s does not parse: %w", service, err)
	}
	return &h, nil
}

// same reports whether two records are of one lease, at different heartbeats.
func (h Holder) same(o Holder) bool {
	return h.Generation == o.Generation && h.Run == o.Run && h.Owner == o.Owner && h.Host == o.Host && h.PID == o.PID && h.Since.Equal(o.Since)
}

// Acquire takes the lease of a service for h, or gives a *HeldError. alive says whether a process of
// this very machine, which h names, still runs: a lease of a dead one is expired.
func Acquire(ctx context.Context, s Store, service string, h Holder, alive func(pid int) bool) (*Lease, error) {
	l, err := acquire(ctx, s, service, h, func(have Holder) bool {
		return have.Machine == h.Machine && h.Machine != "" && have.PID != h.PID && alive != nil && !alive(have.PID)
	})
	if l != nil {
		l.TakenLive = false
	}
	return l, err
}

// Take takes the lease from a holder that is at work; the one that it is taken from stops before its next
// change. Where another than that holds it by now, it gives a *HeldError.
func Take(ctx context.Context, s Store, service string, h, from Holder) (*Lease, error) {
	return acquire(ctx, s, service, h, from.same)
}

// acquire takes what is free, what has expired, and what may be taken. A record that changed between the look and the
// write is looked at again: it may have been a heartbeat of the very holder that it may be taken from.
func acquire(ctx context.Context, s Store, service string, h Holder, may func(Holder) bool) (*Lease, error) {
	l := &Lease{store: s, key: Key(service), done: make(chan struct{}), gone: make(chan struct{})}
	for tries := 1; ; tries++ {
		err := l.seize(ctx, service, h, may)
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrChanged) && !errors.Is(err, store.ErrExists) {
			return nil, err
		}
		if tries == seizeTries {
			return nil, &HeldError{l.other(ctx)}
		}
	}
	bctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = cancel
	go l.beat(bctx)
	return l, nil
}

// seize looks once, and writes h as the holder. It gives the store's ErrChanged or ErrExists where another wrote in between.
func (l *Lease) seize(ctx context.Context, service string, h Holder, may func(Holder) bool) error {
	now := time.Now()
	old, err := l.store.Read(ctx, l.key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	l.TakenFrom, l.TakenLive = nil, false
	if old != nil {
		have, err := parse(service, old)
		if err != nil {
			return err
		}
		live := now.Before(have.Expires)
		if live && !may(*have) {
			return &HeldError{*have}
		}
		if !have.Expires.IsZero() {
			l.TakenFrom, l.TakenLive = have, live
		}
		h.Generation = have.Generation
	}
	h.Generation++
	h.Since, h.Expires = now.Round(0), now.Add(TTL).Round(0)
	return l.put(ctx, old, h)
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
	began := time.Now()
	if err := l.store.Swap(ctx, l.key, old, raw); err != nil {
		return err
	}
	l.mu.Lock()
	l.holder, l.raw, l.sure = h, raw, began
	l.mu.Unlock()
	return nil
}
