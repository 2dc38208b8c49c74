package lock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dripstat/failover/provision/store"
)

// Lenient makes a lease that cannot be renewed count as held until someone else is seen to have it.
func (l *Lease) Lenient() {
	l.mu.Lock()
	l.lenient = true
	l.mu.Unlock()
}

// Missed gives what is told of each heartbeat that the store did not take.
func (l *Lease) Missed(tell func(error)) {
	l.mu.Lock()
	l.missed = tell
	l.mu.Unlock()
}

// Holder says what the lease says of us.
func (l *Lease) Holder() Holder {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder
}

// Mine reports whether a record is of this lease: what a store's fence asks.
func (l *Lease) Mine(raw []byte) bool {
	h, err := parse("", raw)
	return err == nil && h.same(l.Holder())
}

// Lost is closed when another is seen to hold the lease.
func (l *Lease) Lost() <-chan struct{} { return l.gone }

// beat renews until Release, or until someone else has taken the lease.
func (l *Lease) beat(ctx context.Context) {
	defer close(l.done)
	t := time.NewTicker(Beat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.gone:
			return
		case <-t.C:
		}
		l.renew(ctx)
	}
}

// renew writes a new expiry, or finds out why it cannot.
func (l *Lease) renew(ctx context.Context) {
	l.asking.Lock()
	defer l.asking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	l.mu.Lock()
	h, raw := l.holder, l.raw
	l.mu.Unlock()
	h.Expires = time.Now().Add(TTL).Round(0)
	err := l.put(ctx, raw, h)
	if err != nil && (errors.Is(err, store.ErrChanged) || errors.Is(err, store.ErrExists)) {
		// Another's, or a heartbeat of ours whose answer was lost.
		err = l.look(ctx)
	}
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		l.mu.Lock()
		l.silent = time.Now()
		missed := l.missed
		l.mu.Unlock()
		if missed != nil {
			missed(err)
		}
	}
}

// look reads who has the lease; the error says that nobody could tell.
func (l *Lease) look(ctx context.Context) error {
	began := time.Now()
	raw, err := l.store.Read(ctx, l.key)
	if err != nil {
		return err
	}
	have, err := parse("", raw)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if have.same(l.holder) {
		l.holder, l.raw, l.sure = *have, raw, began
		return nil
	}
	if l.lost == nil {
		l.lost = &LostError{*have}
		close(l.gone)
	}
	return nil
}

// stale reports whether an answer is too old to go by. Both clocks are asked: the monotonic one stands still while a
// laptop sleeps, and the other one can be set.
func stale(at time.Time) bool {
	return time.Since(at) > fresh || time.Since(at.Round(0)).Abs() > fresh
}

// late reports whether the lease is about to expire, or has.
func (l *Lease) late() bool { return !time.Now().Before(l.holder.Expires.Add(-margin)) }

// Held gives nil while the lease is ours. It asks the store, unless that has answered, or failed to, a moment ago.
// One that came close to its expiry, as on a laptop that slept, is renewed first.
func (l *Lease) Held() error {
	l.mu.Lock()
	late := l.lost == nil && !l.lenient && l.late() && time.Since(l.silent) > Beat
	l.mu.Unlock()
	if late {
		l.renew(context.Background())
	}
	l.mu.Lock()
	ask := l.lost == nil && stale(l.sure) && time.Since(l.silent) > Beat
	l.mu.Unlock()
	if ask {
		l.asking.Lock()
		ctx, cancel := context.WithTimeout(context.Background(), askTime)
		if err := l.look(ctx); err != nil {
			l.mu.Lock()
			l.silent = time.Now()
			l.mu.Unlock()
		}
		cancel()
		l.asking.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return l.lost
	}
	if !l.lenient && l.late() {
		return fmt.Errorf("%w: it could not be renewed since %s", ErrLost, l.holder.Expires.Add(-TTL).Local().Format("15:04:05"))
	}
	return nil
}

// Doubt makes the next Held ask, however new the last answer is: a journal that was changed under our hands tells of
// another holder sooner than the lease does.
func (l *Lease) Doubt() {
	l.mu.Lock()
	l.sure = time.Time{}
	l.mu.Unlock()
}

// Release ends the lease; its generation stays behind so that the next one is higher.
func (l *Lease) Release(ctx context.Context) error {
	l.stop()
	<-l.done
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	for again := false; ; again = true {
		l.mu.Lock()
		h, raw, lost := l.holder, l.raw, l.lost
		l.mu.Unlock()
		if lost != nil { // it is another's by now
			return nil
		}
		h.Expires = time.Time{}
		err := l.put(ctx, raw, h)
		if err == nil || again || !errors.Is(err, store.ErrChanged) {
			return err
		}
		if err := l.look(ctx); err != nil {
			return err
		}
	}
}
