package dns

import (
	"context"

	"github.com/dripstat/failover/provision"
)

// Late gives a zone that is opened at its first use, once: designate's address is known only after
// authentication. An opening that fails is tried again by the next use.
func Late(open func(ctx context.Context) (Zone, error)) Zone {
	return &late{open: open, turn: make(chan struct{}, 1)}
}

type late struct {
	open func(ctx context.Context) (Zone, error)
	turn chan struct{} // not a mutex: whoever waits for it can be called off, and virtual time goes on meanwhile
	zone Zone
}

func (l *late) get(ctx context.Context) (Zone, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.turn }()
	if l.zone == nil {
		z, err := l.open(ctx)
		if err != nil {
			return nil, err
		}
		l.zone = z
	}
	return l.zone, nil
}

func (l *late) Get(ctx context.Context, name, typ string) (provision.RRset, error) {
	z, err := l.get(ctx)
	if err != nil {
		return provision.RRset{}, err
	}
	return z.Get(ctx, name, typ)
}

func (l *late) Set(ctx context.Context, old, next provision.RRset) error {
	z, err := l.get(ctx)
	if err != nil {
		return err
	}
	return z.Set(ctx, old, next)
}

func (l *late) Settled(ctx context.Context, name, typ string) (provision.Status, error) {
	z, err := l.get(ctx)
	if err != nil {
		return provision.Status{}, err
	}
	return z.Settled(ctx, name, typ)
}

// Halfway is the provider's. Whoever asks has read the set before, so that the zone is open.
func (l *late) Halfway(old, next, have provision.RRset) bool {
	z, err := l.get(context.Background())
	s, ok := z.(Stepwise)
	return err == nil && ok && s.Halfway(old, next, have)
}

// Busy is empty where the provider does all at once.
func (l *late) Busy(ctx context.Context, name, typ string) (string, error) {
	z, err := l.get(ctx)
	if err != nil {
		return "", err
	}
	if s, ok := z.(Stepwise); ok {
		return s.Busy(ctx, name, typ)
	}
	return "", nil
}

// MostValues gives 0 where the provider names no limit.
func (l *late) MostValues(ctx context.Context) (int, error) {
	z, err := l.get(ctx)
	if err != nil {
		return 0, err
	}
	if z, ok := z.(interface {
		MostValues(ctx context.Context) (int, error)
	}); ok {
		return z.MostValues(ctx)
	}
	return 0, nil
}

func (l *late) NameServers(ctx context.Context) ([]string, error) {
	z, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return z.NameServers(ctx)
}
