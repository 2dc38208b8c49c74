package steps

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// Kinds of a renewal: a certificate delivered again to the servers of a run that is over.
const (
	// GroupOpen {cloud group port cidr run} → {port}: one rule more in the run's own group. Whoever undoes it closes the port, though another
	// delivery had opened it.
	GroupOpen provision.Kind = "group.open"
	// LoginRecall {certificate fingerprint run public_key path} → {public_key}: the login key that the servers of a run know, made again
	// in this process's memory from the certificate that it was derived from, wherever that is still kept.
	LoginRecall provision.Kind = "login.recall"
	// LoginReplace {address port user via host_keys rotated public_key former slot} → {public_key}: the key that this server knows from
	// now on, in the place of the former ones.
	LoginReplace provision.Kind = "login.replace"
)

// nextID is the login key that is derived from the certificate which is delivered now.
const nextID provision.StepID = "login"

// LoginKey is one that servers of a run know, and the certificate that it is derived from.
type LoginKey struct {
	Certificate string // of the plan
	Fingerprint string
	PublicKey   string // line of authorized_keys
	Path        string // where the certificate is kept by now, where that is not its own place
}

// Ended is one server that a run has delivered to, as its journal tells.
type Ended struct {
	Slot        string
	Cloud       string
	Certificate string
	Fingerprint string // delivered last
	Login       LoginKey
	deliver     provision.Step
	in          provision.Values // its arguments
}

// Deliveries gives the servers that a run has delivered to and that it has not given up, in the order of its graph. later are the
// journals of the renewals that followed, oldest first, each with its run.started.
func Deliveries(g provision.Graph, events []provision.Event, later [][]provision.Event) []Ended {
	outputs, _ := effects(events)
	done, gone := ended(g, events)
	login, _ := g.Step(loginID)
	first := LoginKey{Certificate: provision.Values{"c": login.With["certificate"].Is}.Text("c"), PublicKey: outputs[loginID].Text("public_key")}
	first.Fingerprint = outputs[fetchID(first.Certificate)].Text("fingerprint")
	var out []Ended
	for _, s := range g.Steps {
		slot := provision.Values{"slot": s.With["slot"].Is}.Text("slot")
		if s.Kind != CertificateDeliver || !done[s.ID] || gone[slot] {
			continue
		}
		in, err := s.Resolve(0, outputs)
		if err != nil {
			continue
		}
		server, _ := g.Step(provision.StepID("server/" + slot))
		e := Ended{Slot: slot, Cloud: provision.Values{"c": server.With["cloud"].Is}.Text("c"), Certificate: in.Text("certificate"), Fingerprint: in.Text("fingerprint"), Login: first, deliver: s, in: in}
		for _, l := range later {
			e.follow(l)
		}
		out = append(out, e)
	}
	return out
}

// Pulled gives the servers that have fetched their certificate themselves in a run, and that it has not given up, in the order of its graph.
// Nobody can log in to them: of what Ended tells, it is the slot and the certificate alone.
func Pulled(g provision.Graph, events []provision.Event) []Ended {
	done, gone := ended(g, events)
	var out []Ended
	for _, s := range g.Steps {
		if slot, ok := strings.CutPrefix(string(s.ID), "pull/"); ok && s.Kind == CertificatePulled && done[s.ID] && !gone[slot] {
			out = append(out, Ended{Slot: slot, Certificate: provision.Values{"c": s.With["certificate"].Is}.Text("c")})
		}
	}
	return out
}

// ended gives the steps of a run that are done, and the slots that it has given up.
func ended(g provision.Graph, events []provision.Event) (done map[provision.StepID]bool, gone map[string]bool) {
	done, gone = map[provision.StepID]bool{}, map[string]bool{}
	for _, e := range events {
		if s, ok := g.Step(e.Step); ok && e.Type == provision.StepDone {
			done[e.Step] = true
			gone[s.Slot] = gone[s.Slot] || s.Clears
		}
	}
	return done, gone
}

// follow takes over what a renewal has changed about a server.
func (e *Ended) follow(renewal []provision.Event) {
	if len(renewal) == 0 || renewal[0].Graph == nil {
		return
	}
	g := *renewal[0].Graph
	next, _ := g.Step(nextID)
	for _, ev := range renewal {
		if ev.Type != provision.StepDone {
			continue
		}
		switch ev.Step {
		case provision.StepID("deliver/" + e.Slot):
			e.Fingerprint = ev.Out.Text("fingerprint")
		case provision.StepID("login/" + e.Slot):
			e.Login = LoginKey{Certificate: provision.Values{"c": next.With["certificate"].Is}.Text("c"), PublicKey: ev.Out.Text("public_key"),
				Fingerprint: provision.Values{"f": next.With["fingerprint"].Is}.Text("f")}
		}
	}
}

// Renewal is what is known when certificates are to be delivered again.
type Renewal struct {
	Certificates map[string]provision.CertificateFacts // those to deliver, by name
	Servers      []Ended                               // those that are there, of Deliveries
	Balancers    []Terminated                          // those that are there, of Terminations
	Logins       []LoginKey                            // that they know, and that are not Next
	Next         *LoginKey                             // what they are to know; nil: as before
	Operator     string                                // "me", as a CIDR
	Roots        map[string]string                     // PEM, by certificate: what its clients trust by now, beside what the run knew
	At           time.Time
}

// Redeliver gives the graph that delivers certificates again to servers of a run. Nothing else of the run changes: a file keeps its
// place, owner and form, whatever the plan says by now. One server of each block is the first: the others are left
// alone until it is proven with what it got. SSH is opened to the operator where the run has closed it, and closed again.
func Redeliver(g provision.Graph, events []provision.Event, run provision.RunID, r Renewal) provision.Graph {
	outputs, _ := effects(events)
	out := provision.Graph{Service: g.Service, Region: g.Region, Home: g.Home, Purpose: "deliver", Of: run}
	add := func(s provision.Step) provision.StepID {
		out.Steps = append(out.Steps, s)
		return s.ID
	}
	for _, name := range sortedKeys(r.Certificates) {
		f := r.Certificates[name]
		add(provision.Step{ID: fetchID(name), Kind: CertificateFetch, Volatile: true,
			With:   map[string]provision.Arg{"certificate": provision.Lit(name), "fingerprint": provision.Lit(f.Fingerprint)},
			Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StagePrepare, Thing: "certificate " + name, Detail: fmt.Sprintf("from %s, expires in %d days", f.Source, int(f.NotAfter.Sub(r.At).Hours()/24))}})
	}
	var logins []provision.StepID
	for i, l := range r.Logins {
		with := map[string]provision.Arg{"certificate": provision.Lit(l.Certificate), "fingerprint": provision.Lit(l.Fingerprint), "run": provision.Lit(string(run)),
			"public_key": provision.Lit(l.PublicKey), "path": provision.Lit(l.Path)}
		logins = append(logins, add(provision.Step{ID: provision.StepID(fmt.Sprintf("recall/%d", i+1)), Kind: LoginRecall, Volatile: true, With: with, Within: provision.Duration(2 * time.Minute),
			Say: provision.Say{Stage: provision.StagePrepare, Thing: "login key", Detail: "of run " + run.Short() + ", from the certificate that the servers have"}}))
	}
	if n := r.Next; n != nil {
		logins = append(logins, add(provision.Step{ID: nextID, Kind: LoginCreate, Volatile: true, Needs: []provision.StepID{fetchID(n.Certificate)}, Within: provision.Duration(time.Minute),
			With: map[string]provision.Arg{"certificate": provision.Lit(n.Certificate), "fingerprint": provision.Lit(n.Fingerprint), "run": provision.Lit(string(run))},
			Say:  provision.Say{Stage: provision.StagePrepare, Thing: "login key", Detail: "of the new certificate, in memory"}}))
	}
	opened, shut := openings(g, outputs, run, r)
	for _, s := range opened {
		add(s)
	}
	leader := map[string]provision.StepID{} // by block: what the others wait for
	last := map[string][]provision.StepID{} // by block: what closing waits for
	for _, e := range r.Servers {
		block := blockOf(e.Slot)
		needs := append([]provision.StepID{fetchID(e.Certificate)}, logins...)
		if id := provision.StepID("open/" + block); slices.ContainsFunc(opened, func(s provision.Step) bool { return s.ID == id }) {
			needs = append(needs, id)
		}
		if leader[block] != "" {
			needs = append(needs, leader[block])
		}
		with := literals(e.in)
		with["fingerprint"] = provision.From(fetchID(e.Certificate), "fingerprint")
		end := add(provision.Step{ID: provision.StepID("deliver/" + e.Slot), Kind: CertificateDeliver, Needs: needs, With: with, Within: e.deliver.Within, Expect: e.deliver.Expect,
			Say: provision.Say{Stage: provision.StageDeliver, Thing: e.Slot, Detail: e.deliver.Say.Detail}})
		if id, ok := proofAgain(&out, g, outputs, e, r, end); ok {
			end = id
		}
		if n := r.Next; n != nil && e.Login.PublicKey != n.PublicKey {
			end = add(provision.Step{ID: provision.StepID("login/" + e.Slot), Kind: LoginReplace, Needs: unique([]provision.StepID{nextID, end}),
				With:   replaceArgs(e, nextID),
				Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
				Say: provision.Say{Stage: provision.StageClose, Thing: e.Slot, Detail: "knows the login key of the new certificate, and the former one no more"}})
		}
		if leader[block] == "" {
			leader[block] = end
		}
		last[block] = append(last[block], end)
	}
	for _, t := range r.Balancers {
		t.terminate(&out, g, outputs, r)
	}
	for _, s := range shut {
		_, block, _ := strings.Cut(string(s.ID), "/")
		s.Needs = append(s.Needs, last[block]...)
		add(s)
	}
	return out
}

// openings are the steps that open SSH to the operator in the groups that a run has made, and those that close it again.
func openings(g provision.Graph, outputs map[provision.StepID]provision.Values, run provision.RunID, r Renewal) (open, shut []provision.Step) {
	seen := map[string]bool{}
	for _, e := range r.Servers {
		block := blockOf(e.Slot)
		group, ok := g.Step(provision.StepID("group/" + block))
		id := outputs[group.ID].Text("id")
		if seen[block] || !ok || id == "" || r.Operator == "" {
			continue
		}
		seen[block] = true
		port := e.in["port"]
		what := fmt.Sprintf("port %v", port)
		with := map[string]provision.Arg{"cloud": provision.Lit(e.Cloud), "group": provision.Lit(id), "port": provision.Lit(port), "cidr": provision.Lit(r.Operator)}
		closing := maps.Clone(with)
		with["run"] = provision.Lit(string(run))
		if _, closed := g.Step(provision.StepID("close/" + block)); !closed && lets(group, port, r.Operator) {
			continue // keep_ssh, and from here
		}
		open = append(open, provision.Step{ID: provision.StepID("open/" + block), Kind: GroupOpen, With: with,
			Undo: provision.Undo{Kind: GroupClose, Take: []string{"cloud", "group", "port", "cidr"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StagePrepare, Thing: block, Detail: "open " + what + " from " + r.Operator}})
		shut = append(shut, provision.Step{ID: provision.StepID("close/" + block), Kind: GroupClose, Needs: []provision.StepID{provision.StepID("open/" + block)}, With: closing,
			Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StageClose, Thing: block, Detail: what + ", once the certificate is delivered"}})
	}
	return open, shut
}

// lets reports whether the rules that a group was made with let a network in at a port.
func lets(group provision.Step, port any, cidr string) bool {
	rules, _ := group.With["rules"].Is.([]any)
	return slices.ContainsFunc(rules, func(x any) bool {
		m := mapOf(x)
		return fmt.Sprint(m["port_min"]) == fmt.Sprint(port) && fmt.Sprint(m["port_max"]) == fmt.Sprint(port) && (m["cidr"] == cidr || m["cidr"] == "0.0.0.0/0")
	})
}

// proofAgain adds the proof of one server, as the run made it, with the new certificate.
func proofAgain(out *provision.Graph, g provision.Graph, outputs map[provision.StepID]provision.Values, e Ended, r Renewal, after provision.StepID) (provision.StepID, bool) {
	was, ok := g.Step(provision.StepID("prove/" + e.Slot))
	if !ok {
		return "", false
	}
	in, err := was.Resolve(0, outputs)
	if err != nil {
		return "", false
	}
	with := literals(in)
	with["fingerprint"] = provision.Lit(r.Certificates[e.Certificate].Fingerprint)
	with["ca"] = provision.Lit(withRoots(in.Text("ca"), r.Roots[e.Certificate]))
	out.Steps = append(out.Steps, provision.Step{ID: was.ID, Kind: ServiceProve, Volatile: true, Needs: []provision.StepID{after}, With: with, Within: was.Within, Expect: was.Expect,
		Say: provision.Say{Stage: provision.StageProve, Thing: e.Slot, Detail: was.Say.Detail + ", with the certificate that was delivered",
			Hint: "the certificate is in place there, and no other server was touched; look at the service on " + e.Slot}})
	return was.ID, true
}

func replaceArgs(e Ended, next provision.StepID) map[string]provision.Arg {
	with := map[string]provision.Arg{"public_key": provision.From(next, "public_key"), "former": provision.Lit([]string{e.Login.PublicKey})}
	for _, name := range []string{"address", "port", "user", "via", "host_keys", "rotated", "slot"} {
		with[name] = provision.Lit(e.in[name])
	}
	return with
}

func literals(in provision.Values) map[string]provision.Arg {
	out := map[string]provision.Arg{}
	for k, v := range in {
		out[k] = provision.Lit(v)
	}
	return out
}

// blockOf gives the server block that a slot is of: "collector" of collector-1.
func blockOf(slot string) string {
	i := strings.LastIndexByte(slot, '-')
	if i < 0 {
		return slot
	}
	return slot[:i]
}
