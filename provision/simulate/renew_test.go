package simulate

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/deliver"
	"github.com/dripstat/failover/provision/engine"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/provision/store"
)

// renewal is what `failover deliver` does to a run that is done: a certificate is brought to its servers, or its load balancer, by a graph of its own.
type renewal struct {
	to     int               // the generation that is delivered
	ids    []provision.RunID // of what was begun, in order
	given  map[string]string // by slot: the fingerprint that it was given last
	shown  map[string]string // by slot: the fingerprint that a proof found there
	before map[string]string // what the run had made, and must be there yet
	open   bool              // it was given up half way: what serves is the one or the other
}

// renews says whether the story has a renewal.
func (w *world) renews(d *rand.Rand) bool {
	return !w.foundBefore(flexToo, standsToo, followsToo) && len(w.plan.Certificates) > 0 && d.IntN(2) == 0
}

// renew delivers until that is done, or given up; false when something is wrong.
func (w *world) renew() bool {
	d := w.dice("renewal")
	if !w.renews(d) {
		return true
	}
	r := &w.renewal
	r.before = w.made()
	w.renewTrouble(d)
	patience := pick(d, 1, 2, 9, 9, 9) // tries before it is given up
	for try := 1; ; try++ {
		w.count(func(t *tally) { t.Renewals++ })
		if try == 5 {
			w.quiet()
		}
		resume := len(r.ids) > 0 && w.begun(r.ids[len(r.ids)-1]) && d.IntN(3) > 0
		if !resume {
			w.turns++
			r.ids = append(r.ids, runID(w.seed, w.turns))
			if r.to = pick(d, original, sameKey, otherKey, otherKey, elliptic, elliptic); w.legacy() && r.to == elliptic { // the same again: after a reboot
				r.to = otherKey
			}
		}
		id := r.ids[len(r.ids)-1]
		w.turned = id
		outcome, err := w.spell(func(p *process) (provision.Outcome, error) {
			if resume {
				return p.perform(provision.Graph{Purpose: "resume"}, id, true)
			}
			return p.redeliver(id)
		})
		w.note("outcome of deliver %s %v", outcome, err)
		w.checkLedTo()
		switch {
		case len(w.problems) > 0:
			return false
		case outcome == provision.OutcomeDone:
			w.count(func(t *tally) { t.Renewed++ })
			w.checkRenewed()
			w.checkDone()
			return len(w.problems) == 0 && w.tooLate(r.ids[:len(r.ids)-1])
		case try == patience:
			w.count(func(t *tally) { t.GivenUp++ })
			r.open = true
			return d.IntN(2) == 0 || w.takeBack(id)
		case try > 9:
			w.wrong("a certificate is not delivered after %d tries: %s %v", try, outcome, err)
			return false
		}
		time.Sleep(span(d, 0, pick(d, 2*time.Second, 90*time.Second)))
	}
}

// renewals gives the journals of all that were begun.
func (w *world) renewals() (out [][]provision.Event) {
	for _, id := range w.renewal.ids {
		if events, err := journal.Parse(w.journaled(journal.Key(service, id))); err == nil {
			out = append(out, events)
		}
	}
	return out
}

// renewTrouble begins anew what goes wrong.
func (w *world) renewTrouble(d *rand.Rand) {
	w.mu.Lock()
	w.calm = false
	w.faults = max(w.faults, pick(d, 0, 2, 5, 12))
	w.mu.Unlock()
	if w.balanced() && !w.legacy() {
		for _, f := range []sandbox.Fault{{Name: "store-reply-lost", Arg: "1"}, {Name: "balancer-busy", Arg: "3"}} {
			if d.IntN(4) == 0 {
				if err := w.box.SetFault(f); err != nil {
					w.wrong("%v", err)
				}
			}
		}
	}
}

// takeBack abandons a delivery that was given up: SSH is closed again, and nothing else is changed.
func (w *world) takeBack(id provision.RunID) bool {
	if !w.begun(id) {
		return true
	}
	ok := w.turnOf(id, "abandon", func(past []provision.Event) provision.Graph { return steps.Reverse(*past[0].Graph, past, id) })
	if ok {
		w.checkStill("a delivery was taken back")
	}
	return ok
}

// late lets somebody go on with a delivery that was given up, after the run that it is of was undone: there is nothing to deliver to any more.
func (w *world) late() {
	if w.renewal.open {
		w.goOn(w.renewal.ids)
		w.checkNothing()
	}
}

// tooLate lets somebody go on with deliveries that others followed: what those have brought stays.
func (w *world) tooLate(ids []provision.RunID) bool {
	if len(ids) > 0 {
		w.goOn(ids)
		w.checkRenewed()
	}
	return len(w.problems) == 0
}

// goOn resumes what has begun.
func (w *world) goOn(ids []provision.RunID) {
	for _, id := range ids {
		if w.begun(id) {
			outcome, err := w.spell(func(p *process) (provision.Outcome, error) {
				return p.perform(provision.Graph{Purpose: "resume"}, id, true)
			})
			w.note("outcome of deliver, too late: %s %v", outcome, err)
		}
	}
}

// redeliver is what `failover deliver` does with the journals and the cloud.
func (p *process) redeliver(id provision.RunID) (provision.Outcome, error) {
	w := p.w
	past, err := journal.Read(p.ctx, p.runs, service, w.run)
	if err != nil {
		return provision.OutcomeStopped, err
	}
	var later [][]provision.Event
	for _, of := range w.renewal.ids {
		events, err := journal.Read(p.ctx, p.runs, service, of)
		if err == nil && len(events) > 0 {
			later = append(later, events)
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			return provision.OutcomeStopped, err
		}
	}
	run := *past[0].Graph
	c, err := edge(w.renewal.to)
	if err != nil {
		return provision.OutcomeStopped, err
	}
	algorithm := "RSA"
	if w.renewal.to == elliptic {
		algorithm = "ECDSA"
	}
	r := steps.Renewal{Certificates: map[string]provision.CertificateFacts{"edge": {Fingerprint: c.Fingerprint(), NotAfter: c.Leaf.NotAfter, Source: "memory", Algorithm: algorithm}},
		Balancers: steps.Terminations(run, past, later), Operator: w.facts.Operator, Roots: map[string]string{}, At: time.Now()}
	there := w.ours(w.box.Snapshot())
	for _, e := range steps.Deliveries(run, past, later) {
		if list := there[e.Slot]; len(list) == 1 && list[0].Status == "ACTIVE" {
			r.Servers = append(r.Servers, e)
		}
	}
	if len(r.Servers)+len(r.Balancers) == 0 {
		w.wrong("there is nothing to deliver to")
	}
	if err := w.logins(&r); err != nil {
		return provision.OutcomeStopped, err
	}
	g := steps.Redeliver(run, past, w.run, r)
	if err := g.Check(); err != nil {
		w.wrong("the graph of a delivery: %v", err)
	}
	return p.perform(w.without.redeliver(g), id, false)
}

// logins says which keys the servers know, and which they are to know.
func (w *world) logins(r *steps.Renewal) error {
	for _, e := range r.Servers {
		if r.Next == nil {
			key, err := w.login(w.renewal.to)
			if err != nil {
				return err
			}
			r.Next = &steps.LoginKey{Certificate: "edge", Fingerprint: keys.pairs[w.renewal.to].fingerprint, PublicKey: key}
		}
		if e.Login.PublicKey != r.Next.PublicKey && !slices.Contains(r.Logins, e.Login) {
			r.Logins = append(r.Logins, e.Login)
		}
	}
	return nil
}

// login gives the login key of the run that is derived from a certificate.
func (w *world) login(generation int) (string, error) {
	if !w.crypto {
		return publicKeys[generation], nil
	}
	c, err := edge(generation)
	if err != nil {
		return "", err
	}
	l, err := deliver.NewLogin(string(w.run), c)
	if err != nil {
		return "", err
	}
	return l.PublicKey(), nil
}

// publicKeys stand for login keys where nobody logs in.
var publicKeys = [generations]string{publicKey, publicKey, strings.Replace(publicKey, "OMqqn", "OMqqo", 1), strings.Replace(publicKey, "OMqqn", "OMqqp", 1)}

// gave notes what a server is given, and that the first of them was proven before any other gets it.
type gave struct {
	p *process
	engine.Handler
}

func (h *gave) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	w, slot, what := h.p.w, in.Text("slot"), in.Text("fingerprint")
	if first := w.firstSlot(); h.p.purpose == "deliver" && slot != first && w.plan.Servers[0].Ready != nil {
		w.mu.Lock()
		ok := w.renewal.shown[first] == what
		w.mu.Unlock()
		if !ok {
			w.wrong("a second server was given a certificate before the first one was proven with it")
		}
	}
	err := h.Handler.Do(ctx, s, in)
	if err == nil {
		w.mu.Lock()
		w.renewal.given[slot] = what
		w.mu.Unlock()
	}
	return err
}

// firstSlot is the first one of the block that there is.
func (w *world) firstSlot() string {
	there := w.ours(w.box.Snapshot())
	for _, slot := range w.plan.Servers[0].Slots() {
		if len(there[slot]) > 0 {
			return slot
		}
	}
	return ""
}

// serves is what a proof without cryptography finds out of the certificate at an address.
func (w *world) serves(snap sandbox.Snapshot, address, fingerprint string) bool {
	s, ok := serverAt(snap, address)
	if !ok {
		got, err := w.presents(address)
		return err == nil && got == fingerprint
	}
	slot := s.Metadata[provision.TagSlot]
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.renewal.given[slot] == fingerprint
}

// sees notes what a proof has found.
func (w *world) sees(in provision.Values) {
	snap := w.box.Snapshot()
	for _, a := range in.List("addresses") {
		if s, ok := serverAt(snap, a); ok {
			w.mu.Lock()
			w.renewal.shown[s.Metadata[provision.TagSlot]] = in.Text("fingerprint")
			w.mu.Unlock()
		}
	}
}

// presents gives the fingerprint of the certificate that an address presents.
func (w *world) presents(address string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := w.box.Dial(ctx, "tcp", net.JoinHostPort(address, "443"))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{ServerName: "www." + zone, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // whatever it is
	if err := c.HandshakeContext(ctx); err != nil {
		return "", err
	}
	sum := sha256.Sum256(c.ConnectionState().PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:]), nil
}

// made gives all that there is of a run, by what it is, but for the certificates themselves.
func (w *world) made() map[string]string {
	snap := w.box.Snapshot()
	out := map[string]string{}
	for _, s := range snap.Servers {
		out["servers"] += fmt.Sprintln(s.ID, s.Status, s.Addresses, s.Metadata[provision.TagRun], s.Metadata[provision.TagSlot])
	}
	for _, g := range snap.SecurityGroups {
		out["security groups"] += fmt.Sprintln(g.ID, slices.Sorted(slices.Values(g.Rules)))
	}
	for _, b := range snap.Balancers {
		out["load balancers"] += fmt.Sprintln(b.ID, b.Status, b.Address, b.Parts, b.Members, b.Idle, len(b.Containers))
	}
	for _, x := range snap.KeyManager {
		out["key manager"] += x.Kind + "\n"
	}
	for _, set := range slices.Concat(snap.Designate, snap.Served) {
		if set.Type == "A" {
			out["DNS"] += fmt.Sprintln(set.Name, set.TTL, set.Values, set.Leaving)
		}
	}
	out["ports"], out["key pairs"] = fmt.Sprint(snap.Ports), fmt.Sprint(snap.KeyPairs)
	out["server groups"], out["floating addresses"] = fmt.Sprint(snap.ServerGroups), fmt.Sprint(snap.FloatingIPs)
	return out
}

// checkStill: all that the run has made is as it was.
func (w *world) checkStill(when string) {
	time.Sleep(time.Minute)
	now := w.made()
	for _, what := range slices.Sorted(maps.Keys(w.renewal.before)) {
		if what == "key manager" && w.renewal.open {
			continue // what was brought there is the run's, and goes with it
		}
		if now[what] != w.renewal.before[what] {
			w.wrong("%s, and %s are not what they were: %q, now %q", when, what, w.renewal.before[what], now[what])
		}
	}
}

// checkRenewed: a delivery is done. What was delivered is presented everywhere, and nothing else has changed.
func (w *world) checkRenewed() {
	w.checkStill("a certificate was delivered")
	want := keys.pairs[w.renewal.to].fingerprint
	snap := w.box.Snapshot()
	for _, b := range snap.Balancers {
		at := b.Address
		for _, f := range snap.FloatingIPs {
			if f.Port == b.Port {
				at = f.Address
			}
		}
		got, err := w.presents(at)
		if err != nil || got != want {
			w.wrong("a certificate was delivered, and the load balancer presents another: %.16s, not %.16s: %v", got, want, err)
		}
	}
	if w.balanced() {
		return
	}
	for slot, list := range w.ours(snap) {
		w.mu.Lock()
		got := w.renewal.given[slot]
		w.mu.Unlock()
		if w.crypto {
			var err error
			if got, err = w.presents(list[0].Addresses[len(list[0].Addresses)-1]); err != nil {
				w.wrong("%s presents nothing: %v", slot, err)
			}
		}
		if got != want {
			w.wrong("a certificate was delivered, and a server has another: %.16s, not %.16s", got, want)
		}
	}
}

// delivers says whether a change may be part of a delivery: rules of the run's own group, the key manager, and what ends TLS.
func delivers(kind provision.Kind) bool {
	noun, _, _ := strings.Cut(string(kind), ".")
	return slices.Contains([]string{"group", "certificate", "listener", "cloudbalancer"}, noun)
}
