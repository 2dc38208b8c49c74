package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/lock"
	"github.com/dripstat/failover/provision/store"
	"github.com/dripstat/failover/provision/store/mirror"
)

// Some seeds have a store on each machine and one that is shared, which goes away and comes back. What is promised
// then depends on what was asked for:
//
//   - With Require every machine may take a run up at any time, and everything holds that holds with one store.
//   - Without it a run goes on while the shared store is away, and nobody elsewhere is kept from going on too: people
//     have to agree among themselves. Here they do: one machine is at work, its seat, and another takes over only
//     once the shared store has everything. Then everything holds as well.

// team is what is around the shared store.
type team struct {
	*memory
	require bool
	absent  []absence       // in order
	seat    string          // the machine at work, without Require
	handing bool            // it changes: the shared store stays until the new one has everything
	torn    map[string]bool // journals whose last writer died between its own store and the shared one: it left no mark
}

type absence struct{ from, to time.Time }

// share gives some worlds a shared store.
func (w *world) share() {
	r := w.dice("team")
	if r.IntN(3) > 0 {
		return
	}
	t := &team{memory: &memory{w: w, values: map[string][]byte{}}, require: r.IntN(2) == 0, seat: "here", torn: map[string]bool{}}
	if at := time.Now(); r.IntN(5) > 0 {
		for range 30 {
			at = at.Add(span(r, 0, pick(r, 20*time.Second, 3*time.Minute, 10*time.Minute)))
			from := at
			at = at.Add(span(r, time.Second, pick(r, 5*time.Second, time.Minute, 4*time.Minute)))
			t.absent = append(t.absent, absence{from, at})
		}
	}
	w.team = t
}

// lossy is how long a shared store that goes away may do what it is asked, without an answer.
const lossy = 5 * time.Second

// reach says whether the shared store does what it is asked, and whether it answers.
func (w *world) reach() (does, answers bool) {
	if w.handedOver() {
		return true, true
	}
	w.mu.Lock()
	calm := w.calm
	w.mu.Unlock()
	now := time.Now()
	for _, a := range w.team.absent {
		if !calm && !now.Before(a.from) && now.Before(a.to) {
			return now.Before(a.from.Add(lossy)) && w.dice("shared").IntN(2) == 0, false
		}
	}
	return true, true
}

// handedOver says whether the shared store is to stay, until the machine at work has all that it has.
func (w *world) handedOver() bool {
	w.mu.Lock()
	handing := w.team.handing
	w.mu.Unlock()
	if !handing {
		return false
	}
	if w.lacks(w.team.memory, w.at(w.team.seat)) {
		return true
	}
	w.mu.Lock()
	w.team.handing = false
	w.mu.Unlock()
	return false
}

// lacks says whether b is without a line of a journal in a.
func (w *world) lacks(a, b *memory) bool {
	for _, key := range a.keys(service + "/runs/") {
		if !bytes.HasPrefix(b.read(key), whole(a.read(key))) {
			return true
		}
	}
	return false
}

// whole is a value without a torn line.
func whole(b []byte) []byte { return b[:bytes.LastIndexByte(b, '\n')+1] }

// at gives the store of a machine.
func (w *world) at(host string) *memory {
	if w.team == nil {
		return w.store
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.hosts[host]
	if m == nil {
		m = &memory{w: w, values: map[string][]byte{}}
		w.hosts[host] = m
	}
	return m
}

// journaled gives what counts of a journal: what is shared, and without Require what the machine at work has.
func (w *world) journaled(key string) []byte {
	switch {
	case w.team == nil:
		return w.store.read(key)
	case w.team.require:
		return w.team.read(key)
	}
	// A seat that is new may lack what the one before had, which is shared then.
	here, there := w.at(w.team.seat).read(key), w.team.read(key)
	if len(whole(there)) > len(whole(here)) {
		return there
	}
	return here
}

// host is where the next process works.
func (w *world) host() string {
	want := pick(w.rng, "here", "here", "there")
	if w.team == nil || w.team.require || want == w.team.seat {
		return want
	}
	if _, up := w.reach(); up && !w.lacks(w.at(w.team.seat), w.team.memory) && !w.lacks(w.team.memory, w.at(w.team.seat)) {
		w.count(func(t *tally) { t.Moved++ })
		w.note("the work goes on %s", want)
		w.mu.Lock()
		w.team.seat, w.team.handing = want, true
		w.mu.Unlock()
	}
	return w.team.seat
}

// elsewhere is where a second operator works.
func (w *world) elsewhere() string {
	if w.team != nil && !w.team.require {
		return w.team.seat
	}
	return "elsewhere"
}

// checkTeam: at the end the shared store has everything that counts, whoever had recorded it.
func (w *world) checkTeam() {
	if w.team == nil {
		return
	}
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	for _, host := range []string{"here", "there", "elsewhere"} { // the next command on each machine
		p := w.spawn(host)
		p.open()
		p.shut()
		p.kill()
		forks := len(w.at(host).keys("forks/"))
		w.count(func(t *tally) { t.Forked += forks })
	}
	for _, key := range w.team.keys(service + "/runs/") {
		if _, err := journal.Parse(w.team.read(key)); err != nil {
			w.wrong("the shared journal cannot be read: %v", err)
		}
	}
	if w.team.require {
		return
	}
	for _, host := range []string{"here", "there"} {
		if len(w.at(host).keys("forks/")) > 0 {
			w.wrong("a journal went on in two places, though one machine was at work")
		}
	}
	here := w.at(w.team.seat)
	for _, key := range here.keys(service + "/runs/") {
		if !w.team.torn[key] && !bytes.HasPrefix(w.team.read(key), whole(here.read(key))) {
			w.wrong("the shared store lacks what the machine at work has recorded: %d bytes of %s, which has %d here", len(w.team.read(key)), key, len(whole(here.read(key))))
		}
	}
}

// open begins what the command line calls its store: journals go to this machine, and where there is a team to that too.
func (p *process) open() {
	p.runs = timed{p.disk, p}
	if p.w.team == nil {
		return
	}
	p.team = &shared{memory: p.w.team.memory, p: p, ends: map[string]*end{}}
	p.mirror = mirror.New(p.disk, p.team, mirror.Options{Require: p.w.team.require,
		Away: func(error) {
			p.w.count(func(t *tally) { t.Away++ })
			p.w.note("%v: the shared store is away", p)
		},
		Back:   func() { p.w.note("%v: the shared store is back", p) },
		Forked: func(key string) { p.w.note("%v: %s went on elsewhere", p, key) }})
	p.runs = timed{p.mirror, p}
	if p.w.without == merges {
		return
	}
	merged, _ := p.mirror.Merge(p.ctx)
	if len(merged) > 0 {
		p.w.count(func(t *tally) { t.Merged++ })
		p.w.note("%v merges %v", p, merged)
	}
}

// shut ends it, with a last attempt to give the shared store everything.
func (p *process) shut() {
	if p.mirror == nil {
		return
	}
	_ = p.mirror.Flush(p.ctx)
	_ = p.mirror.Close()
}

// shared is the team's store as one process reaches it: what etcd does, without etcd.
type shared struct {
	*memory
	p    *process
	mu   sync.Mutex
	ends map[string]*end
	mine func([]byte) bool // the fence, once the lease is held there
}

func (s *shared) fence(mine func([]byte) bool) {
	s.mu.Lock()
	s.mine = mine
	s.mu.Unlock()
}

// away performs what it is given, or not, and says whether that is known.
func (s *shared) ask(do func() error) error {
	if s.p.gone() {
		return errGone
	}
	does, answers := s.p.w.reach()
	var err error
	if does {
		err = do()
	}
	if !answers {
		return fmt.Errorf("%w: cut off", store.ErrAway)
	}
	return err
}

func (s *shared) Read(_ context.Context, key string) (b []byte, err error) {
	err = s.ask(func() error {
		b = s.read(key)
		if e := endOf(&s.mu, s.ends, key); !e.appended {
			e.known, e.at = true, len(b)
		}
		if b == nil {
			return store.ErrNotFound
		}
		return nil
	})
	if err != nil {
		b = nil
	}
	return b, err
}

func (s *shared) Swap(_ context.Context, key string, old, next []byte) error {
	return s.ask(func() error { return s.swap(key, old, next) })
}

func (s *shared) Append(_ context.Context, key string, b []byte) error {
	s.p.w.torn(key, true)
	if !s.p.point("before a shared record") {
		return errGone
	}
	e := endOf(&s.mu, s.ends, key)
	err := s.ask(func() error {
		have := s.read(key)
		if !e.known {
			e.known, e.at = true, len(have)
		}
		s.mu.Lock()
		mine := s.mine
		s.mu.Unlock()
		if mine != nil && !mine(s.read(lock.Key(service))) {
			return store.ErrFenced
		}
		rest := have[e.at:]
		if !bytes.HasPrefix(b, rest) { // somebody else's; ours is that of a request whose answer was lost
			return store.ErrChanged
		}
		s.put(key, b[len(rest):])
		e.at, e.appended = e.at+len(b), true
		return nil
	})
	if err != nil { // the next reading finds the end anew
		e.appended = false
	}
	if !s.p.point("after a shared record") {
		return errGone
	}
	s.p.w.torn(key, false)
	return err
}

func (w *world) torn(key string, yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.team.torn[key] = yes
}

func (s *shared) List(_ context.Context, prefix string) (keys []string, err error) {
	err = s.ask(func() error {
		keys = s.keys(prefix)
		return nil
	})
	return keys, err
}

func (s *shared) Watch(context.Context, string) (<-chan struct{}, error) {
	return nil, errors.New("nobody watches")
}

// lease takes the lock of the service: on this machine, and in the shared store as soon as that answers.
func (p *process) lease(me lock.Holder) (*lock.Pair, error) {
	o := lock.PairOptions{Service: service, Me: me, Alive: p.w.alive, Local: p.disk}
	if p.team != nil && p.w.without != teams {
		o.Shared, o.Require = p.team, p.w.team.require
		o.Alone = func(error) { p.w.note("%v works without the shared lease", p) }
		o.Joined = func(l *lock.Lease, late bool) {
			p.team.fence(l.Mine)
			l.Missed(p.mirror.Miss)
			if late {
				p.w.note("%v has the shared lease now", p)
			}
		}
	}
	l, err := lock.AcquirePair(p.ctx, o)
	if err == nil {
		live, dead := l.Taken()
		p.w.count(func(t *tally) { t.Takeovers += len(live) + len(dead) })
	}
	return l, err
}

// holds says whether a process has the lease in a store at this moment.
func (m *memory) holds(p *process) bool {
	var h lock.Holder
	_ = json.Unmarshal(m.read(lock.Key(service)), &h)
	return h.PID == p.n && time.Now().Before(h.Expires)
}

func (m *memory) keys(prefix string) (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.values {
		if strings.HasPrefix(k, prefix) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}
