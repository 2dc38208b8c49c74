package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
)

// Zones gives the plan's dns blocks by name.
type Zones map[string]Zone

func (z Zones) zone(name string) (Zone, error) {
	if zone := z[name]; zone != nil {
		return zone, nil
	}
	return nil, &provision.Error{What: fmt.Sprintf("the plan has no dns block %q any more", name)}
}

// change is the argument of dns.lower, dns.move and dns.restore.
type change struct {
	Zone   string          `json:"zone"`
	Old    provision.RRset `json:"old"`
	TTL    int             `json:"ttl"`
	Values []string        `json:"values"`
	Leave  bool            `json:"leave"` // a set that names nothing of Values or From may stay
	Later  provision.RRset `json:"later"` // what a later run put, which stands; no Values: none did
	From   []string        `json:"from"`  // what an earlier step of the run put there, where values come in place of that
	Hold   int             `json:"hold"`  // seconds for which the set must go on being the wanted one: a change is out that nobody has the answer of
}

// set is the record set with the run's own TTL.
func (c change) set(values []string) provision.RRset {
	return provision.RRset{Name: c.Old.Name, Type: c.Old.Type, TTL: c.TTL, Values: slices.Sorted(slices.Values(values))}
}

// Changer performs dns.lower, dns.move and dns.restore: they differ in what they put in place of what.
type Changer struct {
	Zones Zones
	// Next gives the set to put, and the sets that it may be put in place of.
	Next func(c change) (next provision.RRset, from []provision.RRset)

	mu  sync.Mutex
	put map[provision.StepID]time.Time // sets that this process put, and when

	watched steady
}

// Lower puts the old values with a lower TTL.
func Lower(z Zones) *Changer {
	return &Changer{Zones: z, Next: func(c change) (provision.RRset, []provision.RRset) {
		next := c.Old
		next.TTL = c.TTL
		return next, []provision.RRset{c.Old}
	}}
}

// Move puts the new values in place of the old, whose TTL may have been lowered meanwhile, or of those that an earlier
// move of the run has put.
func Move(z Zones) *Changer {
	return &Changer{Zones: z, Next: func(c change) (provision.RRset, []provision.RRset) {
		next := c.set(c.Values)
		if len(c.From) > 0 {
			return next, []provision.RRset{c.set(c.From)}
		}
		lowered := c.Old
		lowered.TTL = min(c.TTL, c.Old.TTL)
		return next, []provision.RRset{c.Old, lowered}
	}}
}

// Restore puts the old set back, in place of what the run had put or of the old set with a lowered TTL.
// Values are what was moved there. A set that holds neither is someone else's and is not touched: an error, or with
// Leave, where it names nothing that the run put, as good as restored. Later's is replaced like the run's own, or with Leave left as it is.
func Restore(z Zones) *Changer {
	return &Changer{Zones: z, Next: func(c change) (provision.RRset, []provision.RRset) {
		lowered := c.Old
		lowered.TTL = min(c.TTL, c.Old.TTL)
		from := []provision.RRset{c.set(c.Values), lowered}
		if len(c.From) > 0 {
			from = append(from, c.set(c.From))
		}
		if len(c.Later.Values) > 0 && !c.Leave {
			from = append(from, c.Later)
		}
		return c.Old, from
	}}
}

func equal(a, b provision.RRset) bool {
	return Same(a.Values, b.Values) && (a.TTL == b.TTL || len(a.Values) == 0)
}

// Check compares what the provider holds with what is wanted. What this very process has put was
// answered with success and is not read again: the name servers are asked instead.
func (h *Changer) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	c, zone, err := h.decode(in)
	if err != nil {
		return provision.Status{}, err
	}
	next, from := h.Next(c)
	h.mu.Lock()
	at, mine := h.put[s.ID]
	h.mu.Unlock()
	if !mine {
		if z, ok := zone.(Stepwise); ok { // before the set is read: what is on its way then is in what is read, or is seen here
			busy, err := z.Busy(ctx, next.Name, next.Type)
			if err != nil {
				return provision.Status{}, err
			}
			if busy != "" {
				h.watched.left(string(s.ID), false, 0)
				return provision.Status{State: provision.Working, Seen: busy, Again: providerEvery}, nil
			}
		}
		have, err := zone.Get(ctx, next.Name, next.Type)
		if err != nil {
			return provision.Status{}, err
		}
		if c.Leave && len(c.Later.Values) > 0 && equal(have, c.Later) {
			return left(have), nil
		}
		if !equal(have, next) {
			if replaces(zone, from, next, have) {
				h.watched.left(string(s.ID), false, 0)
				return provision.Status{State: provision.Absent}, nil
			}
			if c.Leave && !overlap(have.Values, c.Values) && !overlap(have.Values, c.From) {
				return left(have), nil
			}
			return provision.Status{}, changedError(have, c.Old)
		}
		if h.watched.left(string(s.ID), true, time.Duration(c.Hold)*time.Second) > 0 {
			return provision.Status{State: provision.Working, Again: time.Second,
				Seen: fmt.Sprintf("it is as wanted; it is watched for %d s, since a change of it was not answered and may come late", c.Hold)}, nil
		}
		at = time.Now()
	}
	return provision.Status{State: provision.Done, Out: provision.Values{
		"ttl": next.TTL, "moved_at": at.UTC().Format(time.RFC3339), "values": append([]string{}, next.Values...), // a list even where it is empty: no null in the journal
		"stale_until": at.Add(time.Duration(c.Old.TTL) * time.Second).UTC().Format(time.RFC3339),
	}}, nil
}

// left is what there is to say of a set that somebody else has put, and that stays.
func left(have provision.RRset) provision.Status {
	return provision.Status{State: provision.Done, Out: provision.Values{"ttl": have.TTL, "values": append([]string{}, have.Values...), "left": true}}
}

// steady knows since when things are as they are wanted.
type steady struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// left gives for how long a thing must go on being as wanted; the time begins anew when it is not.
func (s *steady) left(thing string, wanted bool, hold time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since == nil {
		s.since = map[string]time.Time{}
	}
	if !wanted {
		delete(s.since, thing)
		return hold
	}
	if s.since[thing].IsZero() {
		s.since[thing] = time.Now()
	}
	return hold - time.Since(s.since[thing])
}

// overlap reports whether two sets have a value in common.
func overlap(a, b []string) bool {
	return common(a, b) != "" || slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// replaces reports whether next may be put in place of have: that is one of from, or halfway from one of them to next, or
// from one of them to another, where an earlier change has stopped.
func replaces(z Zone, from []provision.RRset, next, have provision.RRset) bool {
	s, stepwise := z.(Stepwise)
	for _, f := range from {
		if equal(have, f) || stepwise && s.Halfway(f, next, have) {
			return true
		}
		for _, g := range from {
			if stepwise && s.Halfway(f, g, have) {
				return true
			}
		}
	}
	return false
}

func changedError(have, old provision.RRset) error {
	return &provision.Error{What: fmt.Sprintf("%s %s was changed by someone else: it is %s now, it was %s when this run read it", old.Name, old.Type, text(have), text(old)),
		Hint: "look who changed it; then run again, which reads it afresh", Class: provision.Final}
}

func text(s provision.RRset) string {
	if len(s.Values) == 0 {
		return "absent"
	}
	return fmt.Sprintf("%s (TTL %d)", strings.Join(s.Values, ", "), s.TTL)
}

// Do puts the set, from whichever of the allowed sets the provider holds.
func (h *Changer) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	c, zone, err := h.decode(in)
	if err != nil {
		return err
	}
	next, from := h.Next(c)
	for i, f := range from {
		if i > 0 && equal(f, from[i-1]) {
			continue
		}
		if err = zone.Set(ctx, f, next); !errors.Is(err, ErrChanged) {
			break
		}
	}
	if errors.Is(err, ErrChanged) {
		have, gerr := zone.Get(ctx, next.Name, next.Type)
		if gerr != nil {
			return gerr
		}
		if !replaces(zone, from, next, have) {
			return changedError(have, c.Old)
		}
		if err = zone.Set(ctx, have, next); errors.Is(err, ErrChanged) { // again, within a moment
			return changedError(have, c.Old)
		}
	}
	if err == nil {
		h.mu.Lock()
		if h.put == nil {
			h.put = map[provision.StepID]time.Time{}
		}
		h.put[s.ID] = time.Now()
		h.mu.Unlock()
	}
	return err
}

func (h *Changer) decode(in provision.Values) (change, Zone, error) {
	// Outputs come with undo steps; they are not arguments.
	args := provision.Values{"zone": in["zone"], "old": in["old"], "ttl": in["ttl"]}
	for _, k := range []string{"values", "from", "later", "leave", "hold"} {
		if v, ok := in[k]; ok {
			args[k] = v
		}
	}
	var c change
	if err := args.Decode(&c); err != nil {
		return c, nil, err
	}
	z, err := h.Zones.zone(c.Zone)
	return c, z, err
}

// Agree performs dns.agree: every authoritative name server serves the set.
type Agree struct {
	Zones Zones
	// Ask asks one name server; nil: Ask of this package.
	Ask func(ctx context.Context, server, name, typ string) (provision.RRset, error)

	mu    sync.Mutex
	asked map[string]word // what the provider last said, by record

	watched steady
}

// providerEvery spaces the questions to the provider; name servers are asked far more often.
const providerEvery = time.Second

// Do has nothing to do.
func (a *Agree) Do(context.Context, provision.Step, provision.Values) error { return nil }

// Check asks all name servers at once. A server that does not answer holds the step up only while no
// other agrees; the provider's own ERROR ends it.
func (a *Agree) Check(ctx context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	var w struct {
		Zone        string   `json:"zone"`
		Name        string   `json:"name"`
		Type        string   `json:"type"`
		Values      []string `json:"values"`
		NameServers []string `json:"name_servers"`
		Settled     bool     `json:"settled"`
		Hold        int      `json:"hold"` // seconds
	}
	if err := in.Decode(&w); err != nil {
		return provision.Status{}, err
	}
	if len(w.NameServers) == 0 {
		return provision.Status{}, &provision.Error{What: "no authoritative name server is known for " + w.Name, Hint: "name them: dns { name_servers = [...] }"}
	}
	said := make([]string, len(w.NameServers))
	agreed := make([]bool, len(w.NameServers))
	question := a.Ask
	if question == nil {
		question = Ask
	}
	var wg sync.WaitGroup
	for i, ns := range w.NameServers {
		wg.Go(func() {
			set, err := question(ctx, ns, w.Name, w.Type)
			switch {
			case err != nil:
				said[i] = err.Error()
			case Same(set.Values, w.Values):
				agreed[i] = true
			case len(set.Values) == 0:
				said[i] = ns + " has no such record yet"
			default:
				said[i] = fmt.Sprintf("%s still gives %s", ns, strings.Join(head(set.Values, 2), ", "))
			}
		})
	}
	wg.Wait()
	n := 0
	seen := ""
	for i := range agreed {
		if agreed[i] {
			n++
		} else if seen == "" {
			seen = said[i]
		}
	}
	if n == len(agreed) && w.Settled {
		if st, err := a.finished(ctx, w.Zone, w.Name, w.Type); err != nil || st.State != provision.Done {
			return st, err
		}
	}
	if left := a.watched.left(provision.RecordKey(w.Name, w.Type), n == len(agreed), time.Duration(w.Hold)*time.Second); n == len(agreed) && left > 0 {
		return provision.Status{State: provision.Working, Again: time.Second,
			Seen: fmt.Sprintf("all agree; they are watched for %d s, since what was moved was never seen there and may come late", w.Hold)}, nil
	}
	if n == len(agreed) {
		return provision.Status{State: provision.Done, Out: provision.Values{"servers": n, "agreed_at": time.Now().UTC().Format(time.RFC3339Nano)}}, nil
	}
	return a.settling(ctx, w.Zone, w.Name, w.Type, fmt.Sprintf("%d of %d agree; %s", n, len(agreed), seen))
}

// finished asks the provider whether anything of the record is still on its way to the name servers: they may
// serve the wanted set because an earlier change has not reached them yet.
func (a *Agree) finished(ctx context.Context, zone, name, typ string) (provision.Status, error) {
	z, err := a.Zones.zone(zone)
	if err != nil {
		return provision.Status{}, err
	}
	st, err := z.Settled(ctx, name, typ)
	st.Again = providerEvery
	return st, err
}

// settling asks the provider only when the name servers do not agree, for what it says of its own progress.
func (a *Agree) settling(ctx context.Context, zone, name, typ, seen string) (provision.Status, error) {
	st := provision.Status{State: provision.Working, Seen: seen, Again: 100 * time.Millisecond}
	z, err := a.Zones.zone(zone)
	if err != nil {
		return st, err
	}
	key := provision.RecordKey(name, typ)
	a.mu.Lock()
	last, known := a.asked[key]
	if a.asked == nil {
		a.asked = map[string]word{}
	}
	if !known { // the first question can wait: most providers are done by then
		a.asked[key] = word{at: time.Now()}
	}
	a.mu.Unlock()
	if known && time.Since(last.at) >= providerEvery {
		last = word{at: time.Now()}
		if p, err := z.Settled(ctx, name, typ); err == nil {
			last.status = p
		}
		a.mu.Lock()
		a.asked[key] = last
		a.mu.Unlock()
	}
	switch last.status.State {
	case provision.Failed:
		return provision.Status{State: provision.Failed, Seen: last.status.Seen}, nil
	case provision.Working:
		st.Seen = last.status.Seen + "; " + st.Seen
	}
	return st, nil
}

// word is what a provider said of a record set, and when.
type word struct {
	at     time.Time
	status provision.Status
}

func head(v []string, n int) []string { return v[:min(n, len(v))] }
