package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
)

// permitted checks, as a change leaves the process, that its intent is on the disk.
func (w *world) permitted(p *process, c class) {
	noun, verb, _ := strings.Cut(string(c.kind), ".")
	ok := false
	p.mu.Lock()
	for id, kind := range p.intents {
		n, v, _ := strings.Cut(string(kind), ".")
		removes := v == "delete" || v == "remove" || v == "detach" || v == "unterminate"
		ok = ok || n == noun && (noun == "dns" || removes == (verb == "delete")) && (c.slot == "" || strings.HasSuffix(string(id), "/"+c.slot))
	}
	p.mu.Unlock()
	if !ok {
		w.wrong("%s was sent without a recorded intent", c.what)
	}
}

// fenced checks, as a change leaves the process, that it holds the lease.
func (w *world) fenced(p *process, c class) {
	if !p.disk.holds(p) || w.team != nil && w.team.require && !w.team.holds(p) {
		w.wrong("%s was sent without the lease", c.what)
	}
}

// changed checks what a change has made of DNS.
func (w *world) changed(p *process, c class) {
	snap := w.box.Snapshot()
	for name, old := range w.old {
		w.checkRecord(p, snap, name, old)
	}
}

// checkRecord: a record holds the old set, or the new one, whose every address was proven moments before.
func (w *world) checkRecord(p *process, snap sandbox.Snapshot, name string, old provision.RRset) {
	for where, sets := range map[string][]sandbox.RRset{"designate": snap.Designate, "the name server": snap.Served} {
		values := valuesOf(sets, name)
		if slices.Equal(values, slices.Sorted(slices.Values(old.Values))) {
			continue
		}
		if w.keepsRecords() {
			w.checkMixed(snap, where, name, old, values)
			continue
		}
		if w.balanced() {
			w.checkBalanced(snap, where, name, values)
			continue
		}
		slots := map[string]bool{}
		for _, a := range values {
			s, ok := serverAt(snap, a)
			if !ok || s.Status != "ACTIVE" {
				w.wrong("%s holds %s for %s, where no server of ours lives", where, addressText(a), name)
				continue
			}
			slots[s.Metadata[provision.TagSlot]] = true
		}
		if s := w.plan.Servers[0]; len(slots) < s.Enough() || len(slots) > s.Count || len(values) != len(slots) {
			w.wrong("%s holds neither the old nor a new set for %s: %d of %d", where, name, len(values), s.Count)
		}
	}
	_ = p
}

// goingHome checks a change that going back makes: home answers, and what is removed is in no cache any more.
func (w *world) goingHome(p *process, c class) {
	if p.purpose != "back" {
		return
	}
	if w.plan.Servers[0].Ready != nil && !w.homeAnswers() {
		w.wrong("%s was sent, though home does not answer", c.what)
	}
	if c.kind != "server.delete" && c.kind != "floatingip.delete" && c.kind != "balancer.delete" && c.kind != "cloudbalancer.delete" {
		return
	}
	w.watchAway()
	for i := range w.plan.Zones[0].Records {
		rec := w.plan.Zones[0].Records[i]
		w.mu.Lock()
		last := w.away[w.plan.Zones[0].FQDN(rec)]
		w.mu.Unlock()
		if time.Since(last) < rec.TTL {
			w.wrong("%s was sent while caches may hold its address for %s", c.what, rec.Name)
		}
	}
}

// checkHome: the names are home again, and what the run made is still there.
func (w *world) checkHome() {
	time.Sleep(time.Minute)
	snap := w.box.Snapshot()
	w.checkOld(snap, "home again")
	w.checkSlots(snap, "home again, of which none was to be removed,")
}

// checkSlots: one server in each slot, or where not all are needed, in enough of them; it gives those that are there.
func (w *world) checkSlots(snap sandbox.Snapshot, when string) []sandbox.ServerState {
	ours := w.ours(snap)
	block := w.plan.Servers[0]
	var out []sandbox.ServerState
	for _, slot := range block.Slots() {
		if n := len(ours[slot]); n == 0 && block.Pooled() {
			continue
		} else if n != 1 {
			w.wrong("%s with %d servers for one slot", when, n)
			continue
		}
		if s := ours[slot][0]; s.Status != "ACTIVE" {
			w.wrong("%s with a server in %s", when, s.Status)
		}
		out = append(out, ours[slot][0])
	}
	if n := len(out); n < block.Enough() || n > block.Count {
		w.wrong("%s with %d servers, where %d to %d are wanted", when, n, block.Enough(), block.Count)
	}
	floating := len(out) + len(w.plan.Balancers)
	if n := w.floating(snap); block.FloatingIP != "" && n != floating {
		w.wrong("%s with %d floating addresses for %d servers", when, n, len(out))
	}
	return out
}

func addressText(a string) string {
	if strings.HasPrefix(a, "127.") {
		return "an address"
	}
	return a
}

// moved checks the moment at which a set is written: every new address was proven by this very process. On the way
// back it is the addresses of www that were, before any name goes home: those of a name that nothing can prove
// are taken on its word.
func (w *world) moved(p *process, values []string) {
	if w.plan.Servers[0].Ready == nil {
		return
	}
	if p.purpose == "back" {
		values = w.old["www."+zone+"."].Values
	}
	for _, a := range values {
		if p.purpose == "abandon" || isHome(a) && p.purpose != "back" { // an undoing asks nobody
			continue
		}
		p.mu.Lock()
		at, ok := p.proven[a]
		p.mu.Unlock()
		if !ok {
			w.wrong("DNS was given an address that %s", "this process has not proven")
			continue
		}
		w.mu.Lock()
		w.oldest = max(w.oldest, time.Since(at))
		w.mu.Unlock()
		if time.Since(at) > freshness {
			w.wrong("DNS was given an address whose proof is too old")
		}
	}
}

// freshness is what moments before means.
const freshness = 3 * time.Minute

func valuesOf(sets []sandbox.RRset, name string) []string {
	for _, s := range sets {
		if s.Name == name && s.Type == "A" && !s.Leaving {
			return slices.Sorted(slices.Values(s.Values))
		}
	}
	return nil
}

// ours gives the servers that carry the run, by slot.
func (w *world) ours(snap sandbox.Snapshot) map[string][]sandbox.ServerState {
	out := map[string][]sandbox.ServerState{}
	for _, s := range snap.Servers {
		if s.Metadata[provision.TagRun] == string(w.run) && s.TaskState != "deleting" {
			slot := s.Metadata[provision.TagSlot]
			out[slot] = append(out[slot], s)
		}
	}
	return out
}

// checkDone: the run said that it is done.
func (w *world) checkDone() {
	time.Sleep(time.Minute) // what was on the wire has arrived, and the name servers lag no more
	snap := w.box.Snapshot()
	there := w.checkSlots(snap, "done")
	var want []string
	for _, s := range there {
		want = append(want, s.Addresses...)
	}
	for name := range w.old {
		for where, sets := range map[string][]sandbox.RRset{"designate": snap.Designate, "the name server": snap.Served} {
			have := valuesOf(sets, name)
			if w.balanced() {
				w.checkBalanced(snap, where, name, have)
				if b, ok := balancerAt(snap, strings.Join(have, " ")); ok && len(behind(snap, b)) != len(there) {
					w.wrong("done, but %d of %d servers are members", len(behind(snap, b)), len(there))
				}
				continue
			}
			if len(have) != len(there) {
				w.wrong("done, but %s holds %d addresses for %s", where, len(have), name)
			}
			for _, a := range have {
				if !slices.Contains(want, a) {
					w.wrong("done, but %s holds another address for %s", where, name)
				}
			}
		}
	}
}

// checkLedTo: the run ended, or will go no further; whatever is there is what its journal leads to.
func (w *world) checkLedTo() {
	snap := w.box.Snapshot()
	led, err := w.leads(w.journaled(journal.Key(service, w.run)))
	if err != nil {
		w.wrong("the journal cannot be read: %v", err)
		return
	}
	for slot := range w.ours(snap) {
		if !led["server.delete "+slot] {
			w.wrong("a server of slot %s is there that the journal does not lead to", slot)
		}
	}
	for _, s := range snap.Servers {
		if s.Metadata[provision.TagRun] == "" || s.Metadata[provision.TagSlot] == "" {
			w.wrong("a server is there without tags")
		}
	}
	w.checkBalancers(snap, led)
	for name, old := range w.old {
		w.checkRecord(nil, snap, name, old)
	}
}

// leads gives what would be removed if the run were undone now. What was read of the journal before is not read
// again: it is only added to.
func (w *world) leads(journaled []byte) (map[string]bool, error) {
	if !bytes.HasPrefix(journaled, w.read) {
		return nil, errors.New("what was recorded has changed")
	}
	for line := range bytes.Lines(journaled[len(w.read):]) {
		if !bytes.HasSuffix(line, []byte("\n")) { // torn
			break
		}
		var e provision.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, err
		}
		w.past = append(w.past, e)
		w.read = journaled[:len(w.read)+len(line)]
	}
	led := map[string]bool{}
	if len(w.past) > 0 && w.past[0].Graph != nil {
		for _, s := range steps.Reverse(*w.past[0].Graph, w.past, w.run).Steps {
			led[string(s.Kind)+" "+fmt.Sprint(s.With["slot"].Is)] = true
		}
	}
	return led, nil
}

// checkNothing: the run was abandoned.
func (w *world) checkNothing() {
	time.Sleep(time.Minute)
	snap := w.box.Snapshot()
	mark := strings.ToLower(string(w.run))
	for slot, list := range w.ours(snap) {
		w.wrong("abandoned, but %d servers of %s are left", len(list), slot)
	}
	for _, f := range snap.FloatingIPs {
		w.wrong("abandoned, but floating IP %s is left", f.Description)
	}
	for what, list := range map[string][]sandbox.GroupState{"security group": snap.SecurityGroups, "server group": snap.ServerGroups} {
		for _, g := range list {
			if strings.Contains(g.Name, mark) {
				w.wrong("abandoned, but a %s is left", what)
			}
		}
	}
	if len(snap.KeyPairs) > 0 {
		w.wrong("abandoned, but a key pair is left")
	}
	w.checkLeft(snap)
	if n := len(made(snap)); n > 0 || len(snap.KeyManager) > 0 {
		w.wrong("abandoned, but %d load balancers and %d things in the key manager are left", n, len(snap.KeyManager))
	}
	if len(snap.Ports) > len(w.there()) {
		w.wrong("abandoned, but a port is left")
	}
	w.checkOld(snap, "abandoned")
}

// checkOld: every record is as it was before the run.
func (w *world) checkOld(snap sandbox.Snapshot, when string) {
	for name, old := range w.old {
		for where, sets := range map[string][]sandbox.RRset{"designate": snap.Designate, "the name server": snap.Served} {
			have := provision.RRset{}
			for _, s := range sets {
				if s.Name == name && s.Type == "A" && !s.Leaving {
					have.TTL, have.Values = s.TTL, slices.Sorted(slices.Values(s.Values))
				}
			}
			if !slices.Equal(have.Values, slices.Sorted(slices.Values(old.Values))) || have.TTL != old.TTL && where == "designate" {
				w.wrong("%s, but %s holds %d values with TTL %d for %s, not %d with %d", when, where, len(have.Values), have.TTL, name, len(old.Values), old.TTL)
			}
		}
	}
}
