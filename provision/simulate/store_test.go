package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/lock"
	"github.com/dripstat/failover/provision/store"
)

// memory is a disk that outlives the processes which share it.
type memory struct {
	w      *world
	mu     sync.Mutex
	values map[string][]byte
}

// disk is the memory as one process reaches it, as strict as store/file: nothing is added behind the back of who reads.
type disk struct {
	*memory
	p    *process
	mine sync.Mutex
	ends map[string]*end
}

// end is where a store believes that a value ends: it adds only there.
type end struct {
	known    bool
	appended bool // reading moves it no more, until something went wrong
	at       int
}

func endOf(mu *sync.Mutex, ends map[string]*end, key string) *end {
	mu.Lock()
	defer mu.Unlock()
	if ends[key] == nil {
		ends[key] = &end{}
	}
	return ends[key]
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
	if e := endOf(&d.mine, d.ends, key); !e.appended {
		e.known, e.at = true, len(whole(b))
	}
	if b == nil {
		return nil, store.ErrNotFound
	}
	return b, nil
}

func (d *disk) Swap(_ context.Context, key string, old, next []byte) error {
	if d.p.gone() {
		return errGone
	}
	if key == lock.Key(service) && d.p.stalled() {
		return errDisk
	}
	return d.swap(key, old, next)
}

func (m *memory) swap(key string, old, next []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := m.values[key]
	switch {
	case have == nil && old != nil:
		return store.ErrChanged
	case have != nil && old == nil:
		return store.ErrExists
	case !bytes.Equal(have, old):
		return store.ErrChanged
	}
	if m.values[key] = slices.Clone(next); next == nil {
		delete(m.values, key)
	}
	return nil
}

func (d *disk) Append(_ context.Context, key string, b []byte) error {
	if d.p.gone() {
		return errGone
	}
	at, err := d.at(key)
	if err != nil {
		return err
	}
	d.put(key, b)
	e := endOf(&d.mine, d.ends, key)
	e.known, e.appended, e.at = true, true, at+len(b)
	return nil
}

// at gives the length of a value that may be added to: it ends where this process believes that it does.
func (d *disk) at(key string) (int, error) {
	e := endOf(&d.mine, d.ends, key)
	have := d.read(key)
	if !e.appended { // opened: a torn line is cut
		have = whole(have)
	}
	if (e.known || e.appended) && len(have) != e.at {
		e.appended = false
		return 0, store.ErrChanged
	}
	return len(have), nil
}

func (d *disk) Aside(key, to string) error {
	if d.p.gone() {
		return errGone
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.values[to] = d.values[key]
	delete(d.values, key)
	delete(d.ends, key)
	return nil
}

func (d *disk) Watch(context.Context, string) (<-chan struct{}, error) {
	return nil, errors.New("nobody watches")
}

// timed lets appending take its time before the store is asked, and fail: what waits inside a mirror holds a mutex, and
// a bubble's clock stands still while anybody waits for one.
type timed struct {
	journal.Store
	p *process
}

func (t timed) Append(ctx context.Context, key string, b []byte) error {
	return t.p.writing(ctx, key, b, func() error {
		if err := t.Store.Append(ctx, key, b); err != nil {
			return err
		}
		if t.p.team != nil && t.p.w.team.require && !t.p.gone() && !bytes.Contains(t.p.w.team.read(key), b) {
			t.p.w.wrong("a record was accepted that the required store does not have")
		}
		return nil
	})
}

// writing adds to a journal. It fails, or the process dies before, in the middle or after, when the seed says so.
func (p *process) writing(ctx context.Context, key string, b []byte, write func() error) error {
	if p.gone() {
		return errGone
	}
	r := p.w.dice("append")
	if p.w.strikes(r) {
		switch r.IntN(6) {
		case 0:
			p.w.note("%v journal: write fails", p)
			return errDisk
		case 1:
			p.w.note("%v journal: dies in the middle of a write", p)
			part := b[:r.IntN(len(b))]
			if _, err := p.disk.at(key); err == nil {
				p.disk.put(key, part)
				if p.w.team != nil && bytes.IndexByte(part, '\n') >= 0 { // whole lines that no mark tells of
					p.w.torn(key, true)
				}
			}
			p.crash()
			return errGone
		default: // slow
			if err := p.wait(ctx, span(r, 0, 20*time.Second)); err != nil {
				return err
			}
		}
	}
	if err := p.wait(ctx, time.Duration(100+r.IntN(3000))*time.Microsecond); err != nil {
		return err
	}
	if !p.point("before a journal write") {
		return errGone
	}
	if err := write(); err != nil {
		return err
	}
	p.recorded(b)
	if !p.point("after a journal write") {
		return errGone
	}
	return nil
}

func (m *memory) put(key string, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// A torn line is cut before the next is added, as store/file does.
	m.values[key] = append(slices.Clip(whole(m.values[key])), b...)
}

func (d *disk) List(_ context.Context, prefix string) ([]string, error) { return d.keys(prefix), nil }

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
