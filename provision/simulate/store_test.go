package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/lock"
	"github.com/dripstat/failover/provision/store"
)

// memory is the disk that all processes share. It outlives them.
type memory struct {
	w      *world
	mu     sync.Mutex
	values map[string][]byte
}

// disk is the memory as one process reaches it.
type disk struct {
	*memory
	p *process
}

var (
	errDisk = errors.New("no space left on device")
	errGone = errors.New("the process is gone")
)

func (m *memory) read(key string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.values[key])
}

func (d *disk) Read(_ context.Context, key string) ([]byte, error) {
	if d.p.gone() {
		return nil, errGone
	}
	b := d.read(key)
	if b == nil {
		return nil, store.ErrNotFound
	}
	return b, nil
}

func (d *disk) Swap(_ context.Context, key string, old, next []byte) error {
	if d.p.gone() {
		return errGone
	}
	if d.p.stalled() {
		return errDisk
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	have := d.values[key]
	switch {
	case have == nil && old != nil:
		return store.ErrChanged
	case have != nil && old == nil:
		return store.ErrExists
	case !bytes.Equal(have, old):
		return store.ErrChanged
	}
	d.values[key] = slices.Clone(next)
	return nil
}

// Append fails, or dies before, in the middle or after, when the seed says so.
func (d *disk) Append(ctx context.Context, key string, b []byte) error {
	if d.p.gone() {
		return errGone
	}
	r := d.w.dice("append")
	if d.w.strikes(r) {
		switch r.IntN(6) {
		case 0:
			d.w.note("%v journal: write fails", d.p)
			return errDisk
		case 1:
			d.w.note("%v journal: dies in the middle of a write", d.p)
			d.put(key, b[:r.IntN(len(b))])
			d.p.crash()
			return errGone
		default: // slow
			if err := d.p.wait(ctx, span(r, 0, 20*time.Second)); err != nil {
				return err
			}
		}
	}
	if err := d.p.wait(ctx, time.Duration(100+r.IntN(3000))*time.Microsecond); err != nil {
		return err
	}
	if !d.p.point("before a journal write") {
		return errGone
	}
	d.put(key, b)
	d.p.recorded(b)
	if !d.p.point("after a journal write") {
		return errGone
	}
	return nil
}

func (d *disk) put(key string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.values[key]
	v = v[:bytes.LastIndexByte(v, '\n')+1] // a torn line is cut before the next is added, as store/file does
	d.values[key] = append(slices.Clip(v), b...)
}

func (d *disk) List(_ context.Context, prefix string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for k := range d.values {
		if strings.HasPrefix(k, prefix) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out, nil
}

// holder says who holds the lease now.
func (m *memory) holder() (h lock.Holder) {
	_ = json.Unmarshal(m.read(lock.Key(service)), &h)
	return h
}

// recorded keeps which intents of the process are on the disk and not answered.
func (p *process) recorded(lines []byte) {
	for line := range bytes.Lines(lines) {
		if !p.w.telling && !bytes.Contains(line, []byte(provision.StepIntent)) && !bytes.Contains(line, []byte(provision.StepSent)) {
			continue
		}
		var e provision.Event
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		if p.w.telling {
			said := ""
			if e.Error != nil {
				said = ": " + e.Error.Error()
			}
			p.w.note("%v journal: %s %s %s %s%s", p, e.Type, e.Step, e.Kind, e.Outcome, said)
		}
		p.mu.Lock()
		switch e.Type {
		case provision.StepIntent:
			p.intents[e.Step] = e.Kind
		case provision.StepSent:
			delete(p.intents, e.Step)
		default:
		}
		p.mu.Unlock()
	}
}
