package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/lock"
)

// leases are the lock of a service: on this machine always, and in the shared store as soon as it answers.
type leases struct {
	keep    *keep
	service string
	me      lock.Holder
	force   bool // live leases are taken over: it was asked for

	gone  chan struct{} // closed when either is lost
	quit  chan struct{}
	once  sync.Once
	tasks sync.WaitGroup

	mu     sync.Mutex
	held   []*lock.Lease
	stolen error
}

// lease takes the lock, or gives a *lock.HeldError. A shared store that does not answer is asked again in the
// background, unless it is required.
func (a *App) lease(ctx context.Context, k *keep, service string, me lock.Holder, o storeOptions, quiet bool) (*leases, error) {
	if o.takeOver != "" && o.takeOver != service {
		return nil, usage("--take-over "+service, "--take-over names %s, and this is %s; nothing was touched", o.takeOver, service)
	}
	l := &leases{keep: k, service: service, me: me, force: o.takeOver != "", gone: make(chan struct{}), quit: make(chan struct{})}
	take := func(s lock.Store) (*lock.Lease, error) {
		got, err := l.acquire(ctx, s)
		var held *lock.HeldError
		if errors.As(err, &held) && !l.force && !quiet && a.mayTake(service, held) {
			l.force = true
			got, err = l.acquire(ctx, s)
		}
		return got, err
	}
	local, err := take(k.local)
	if err != nil {
		if held := (*lock.HeldError)(nil); errors.As(err, &held) {
			return nil, err
		}
		return nil, &provision.Error{Thing: "lock", What: "cannot lock " + service + " in " + k.local.Dir() + "; nothing was touched", Err: err,
			Hint: "mend that folder, or set FAILOVER_STATE_DIR to one that can be written"}
	}
	l.add(local)
	if k.shared == nil {
		return l, nil
	}
	shared, err := take(k.shared)
	held := (*lock.HeldError)(nil)
	switch {
	case err == nil:
		l.share(shared)
	case errors.As(err, &held):
		l.release(ctx)
		return nil, err
	case o.require:
		l.release(ctx)
		return nil, &exitError{code: exitUsage, err: &provision.Error{Thing: "store", What: "the lock of " + service + " cannot be taken in etcd, and --require-store was given; nothing was touched", Err: err,
			Hint: "without --require-store the run goes on with this machine's journal and lock"}}
	default:
		k.tell("ETCD IS AWAY (%v): %s is locked on this machine only, and nobody elsewhere is kept from starting a run of it", err, service)
		l.tasks.Add(1)
		go l.chase(context.WithoutCancel(ctx))
	}
	return l, nil
}

func (l *leases) acquire(ctx context.Context, s lock.Store) (*lock.Lease, error) {
	got, err := lock.Acquire(ctx, s, l.service, l.me, processAlive)
	var held *lock.HeldError
	if errors.As(err, &held) && l.force {
		return lock.Take(ctx, s, l.service, l.me, held.Holder)
	}
	return got, err
}

// mayTake asks at a terminal for the service's name: a lock of a run that is at work is not taken by a yes.
func (a *App) mayTake(service string, held *lock.HeldError) bool {
	if !a.interactive() {
		return false
	}
	_, _ = fmt.Fprintf(a.Err, "%s\nIt is at work: its last sign of life was %s ago. If you take the lock over, it stops before its next change.\nType %s to take it over, or nothing to leave it: ",
		held.Error(), max(0, time.Until(held.Holder.Expires.Add(-lock.TTL))*-1).Round(time.Second), service)
	line, _ := bufio.NewReader(a.In).ReadString('\n')
	return strings.TrimSpace(line) == service
}

// add takes a lease up, and watches it.
func (l *leases) add(got *lock.Lease) {
	l.mu.Lock()
	l.held = append(l.held, got)
	l.mu.Unlock()
	l.tasks.Add(1)
	go func() {
		defer l.tasks.Done()
		select {
		case <-l.quit:
		case <-got.Lost():
			l.lose(got.Held())
		}
	}()
}

// share takes up the lease in the shared store: it fences what is written there, and hears whether it answers.
func (l *leases) share(got *lock.Lease) {
	l.add(got)
	l.keep.shared.Fence(lock.Key(l.service), got.Mine)
	got.Missed(l.keep.mirror.Miss)
	if !l.keep.require {
		got.Lenient()
	}
}

func (l *leases) lose(err error) {
	l.mu.Lock()
	if l.stolen == nil {
		l.stolen = err
	}
	l.mu.Unlock()
	l.once.Do(func() { close(l.gone) })
}

// chase takes the shared lease when the store answers. A run elsewhere that is at work there is the one that
// goes on; a lease that nobody renews is waited for.
func (l *leases) chase(ctx context.Context) {
	defer l.tasks.Done()
	t := time.NewTicker(2 * time.Second)
	defer t.Stop()
	var seen lock.Holder
	for {
		select {
		case <-l.quit:
			return
		case <-t.C:
		}
		got, err := l.acquire(ctx, l.keep.shared)
		var held *lock.HeldError
		switch {
		case err == nil:
			l.share(got)
			l.keep.tell("etcd answers: this run holds the lock there now")
			return
		case !errors.As(err, &held):
		case seen.Generation == held.Holder.Generation && held.Holder.Expires.After(seen.Expires):
			l.lose(&lock.LostError{To: held.Holder})
			return
		default:
			seen = held.Holder
		}
	}
}

// Held gives nil while nobody else has a lease of this service.
func (l *leases) Held() error {
	l.mu.Lock()
	held, err := l.held, l.stolen
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for _, h := range held {
		if err := h.Held(); err != nil {
			return err
		}
	}
	return nil
}

// taken gives the holders that were not done when the lock was taken, each once.
func (l *leases) taken() (live, dead []lock.Holder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[provision.RunID]bool{}
	for _, h := range l.held {
		if f := h.TakenFrom; f != nil && !seen[f.Run] {
			seen[f.Run] = true
			if h.TakenLive {
				live = append(live, *f)
			} else {
				dead = append(dead, *f)
			}
		}
	}
	return live, dead
}

// release lets go of everything that is still ours.
func (l *leases) release(ctx context.Context) {
	close(l.quit)
	l.tasks.Wait()
	for _, h := range l.held {
		_ = h.Release(context.WithoutCancel(ctx)) // it expires by itself
	}
}

// lostError is what is said when the lock is another's.
func lostError(err error, run provision.RunID) *provision.Error {
	return &provision.Error{Thing: "lock", What: err.Error(),
		Hint: "failover status --follow shows what runs now; when it is done: failover resume " + run.Short()}
}
