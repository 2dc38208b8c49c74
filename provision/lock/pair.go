package lock

import (
	"context"
	"errors"
	"sync"
	"time"
)

// PairOptions say whose lock it is, and where.
type PairOptions struct {
	Service string
	Me      Holder
	Alive   func(pid int) bool // whether a process of this machine runs
	Local   Store              // this machine's
	Shared  Store              // the team's; nil without one
	Require bool               // the shared store's silence is an error, and a lease there that cannot be renewed is lost
	Force   bool               // live leases are taken over
	// Ask says whether a live lease may be taken over all the same; nil: no.
	Ask func(*HeldError) bool
	// Joined is given the lease in the shared store when it is taken up, at once or later: what fences writes there.
	Joined func(l *Lease, late bool)
	// Alone is told that the shared store does not answer and the lock is held on this machine only, for now.
	Alone func(err error)
}

// Pair is the lock of a service: on this machine always, and in the shared store as soon as it answers.
type Pair struct {
	o     PairOptions
	gone  chan struct{} // closed when either is lost
	quit  chan struct{}
	once  sync.Once
	tasks sync.WaitGroup

	mu     sync.Mutex
	held   []*Lease
	stolen error
}

// ErrShared is in the chain of an error of the shared store.
var ErrShared = errors.New("in the shared store")

// sharedError is an error of the shared store.
type sharedError struct{ error }

func (e sharedError) Unwrap() []error { return []error{e.error, ErrShared} }

// chaseEvery is how often a shared store that was silent is asked for the lease.
const chaseEvery = 2 * time.Second

// AcquirePair takes the lock, or gives a *HeldError, what the local store says, or under Require what the shared one
// does (ErrShared). A shared store that does not answer is asked again in the background, unless it is required.
func AcquirePair(ctx context.Context, o PairOptions) (*Pair, error) {
	p := &Pair{o: o, gone: make(chan struct{}), quit: make(chan struct{})}
	local, err := p.take(ctx, o.Local)
	if err != nil {
		return nil, err
	}
	p.add(local)
	if o.Shared == nil {
		return p, nil
	}
	shared, err := p.take(ctx, o.Shared)
	held := (*HeldError)(nil)
	switch {
	case err == nil:
		p.join(shared, false)
	case errors.As(err, &held):
		p.Release(ctx)
		return nil, err
	case o.Require:
		p.Release(ctx)
		return nil, sharedError{err}
	default:
		if o.Alone != nil {
			o.Alone(err)
		}
		p.tasks.Add(1)
		go p.chase(context.WithoutCancel(ctx))
	}
	return p, nil
}

// take acquires one lease, and asks where somebody has it who is at work.
func (p *Pair) take(ctx context.Context, s Store) (*Lease, error) {
	got, err := p.acquire(ctx, s)
	var held *HeldError
	if errors.As(err, &held) && !p.o.Force && p.o.Ask != nil && p.o.Ask(held) {
		p.o.Force = true
		got, err = p.acquire(ctx, s)
	}
	return got, err
}

func (p *Pair) acquire(ctx context.Context, s Store) (*Lease, error) {
	got, err := Acquire(ctx, s, p.o.Service, p.o.Me, p.o.Alive)
	var held *HeldError
	if errors.As(err, &held) && p.o.Force {
		return Take(ctx, s, p.o.Service, p.o.Me, held.Holder)
	}
	return got, err
}

// add takes a lease up, and watches it.
func (p *Pair) add(got *Lease) {
	p.mu.Lock()
	p.held = append(p.held, got)
	p.mu.Unlock()
	p.tasks.Add(1)
	go func() {
		defer p.tasks.Done()
		select {
		case <-p.quit:
		case <-got.Lost():
			p.lose(got.Held())
		}
	}()
}

// join takes up the lease in the shared store.
func (p *Pair) join(got *Lease, late bool) {
	p.add(got)
	if !p.o.Require {
		got.Lenient()
	}
	if p.o.Joined != nil {
		p.o.Joined(got, late)
	}
}

func (p *Pair) lose(err error) {
	p.mu.Lock()
	if p.stolen == nil {
		p.stolen = err
	}
	p.mu.Unlock()
	p.once.Do(func() { close(p.gone) })
}

// chase takes the shared lease when the store answers. A run elsewhere that is at work there is the one that
// goes on; a lease that nobody renews is waited for.
func (p *Pair) chase(ctx context.Context) {
	defer p.tasks.Done()
	t := time.NewTicker(chaseEvery)
	defer t.Stop()
	var seen Holder
	for {
		select {
		case <-p.quit:
			return
		case <-t.C:
		}
		got, err := p.acquire(ctx, p.o.Shared)
		var held *HeldError
		switch {
		case err == nil:
			p.join(got, true)
			return
		case !errors.As(err, &held):
		case seen.Generation == held.Holder.Generation && held.Holder.Expires.After(seen.Expires):
			p.lose(&LostError{To: held.Holder})
			return
		default:
			seen = held.Holder
		}
	}
}

// Lost is closed when another has taken either lease.
func (p *Pair) Lost() <-chan struct{} { return p.gone }

// Held gives nil while nobody else has a lease of this service.
func (p *Pair) Held() error {
	p.mu.Lock()
	held, err := p.held, p.stolen
	p.mu.Unlock()
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

// Doubt makes the next Held ask both stores.
func (p *Pair) Doubt() {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	for _, h := range held {
		h.Doubt()
	}
}

// Taken gives the holders that were not done when the lock was taken, each run once: those that were at work, and
// those whose lease had been left behind.
func (p *Pair) Taken() (live, dead []Holder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.held {
		f := h.TakenFrom
		switch {
		case f == nil || has(live, *f) || has(dead, *f):
		case h.TakenLive:
			live = append(live, *f)
		default:
			dead = append(dead, *f)
		}
	}
	return live, dead
}

func has(list []Holder, h Holder) bool {
	for _, x := range list {
		if x.Run == h.Run {
			return true
		}
	}
	return false
}

// Release lets go of everything that is still ours.
func (p *Pair) Release(ctx context.Context) {
	close(p.quit)
	p.tasks.Wait()
	for _, h := range p.held {
		_ = h.Release(context.WithoutCancel(ctx)) // it expires by itself
	}
}
