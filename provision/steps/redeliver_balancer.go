package steps

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// ListenerUpdate {cloud balancer listener order "container CERTIFICATE"... ecdsa} → {containers}: a listener ends TLS with these containers,
// in that order, the default first. What ended it before is not touched.
const ListenerUpdate provision.Kind = "listener.update"

// Terminated is one load balancer that a run ends TLS on, as its journal tells.
type Terminated struct {
	Name         string
	Cloud        string
	Balancer     string              // the cloud's name for it
	Existing     *provision.Existing // it was there before the run
	Certificates []string
	Fingerprints map[string]string // that it has now, by certificate
	stores       map[string]provision.Values
	containers   map[string]string // hrefs that its listener names
	ids          map[string]string
	listener     provision.Values
	id           string           // of the listener
	whole        provision.Values // of a load balancer of Rackspace's, which has its one certificate in itself: what brought it there
}

// Terminations gives the load balancers whose TLS a run has ended, in the order of its graph. later are the journals of the renewals that
// followed, oldest first.
func Terminations(g provision.Graph, events []provision.Event, later [][]provision.Event) []Terminated {
	outputs, _ := effects(events)
	var out []Terminated
	for _, s := range g.Steps {
		if s.Kind == CloudBalancerTerminate && outputs[s.ID].Text("fingerprint") != "" {
			if t, ok := cloudTermination(g, s, outputs); ok {
				for _, l := range later {
					t.followCloud(l)
				}
				out = append(out, t)
			}
			continue
		}
		name, _ := strings.CutPrefix(string(s.ID), "listener/")
		if s.Kind != ListenerCreate || len(s.With["containers"].Of) == 0 || outputs[s.ID].Text("id") == "" { // the one of plain HTTP has none
			continue
		}
		in, err := s.Resolve(0, outputs)
		if err != nil {
			continue
		}
		balancer, _ := g.Step(balancerID(name))
		t := Terminated{Name: name, Cloud: in.Text("cloud"), Balancer: provision.Values{"n": balancer.With["name"].Is}.Text("n"), listener: in, id: outputs[s.ID].Text("id"),
			Fingerprints: map[string]string{}, stores: map[string]provision.Values{}, containers: map[string]string{}, ids: map[string]string{}}
		for _, o := range s.With["containers"].Of {
			store, _ := g.Step(o.Step)
			args, err := store.Resolve(0, outputs)
			if err != nil {
				continue
			}
			c := args.Text("certificate")
			t.Certificates = append(t.Certificates, c)
			t.stores[c], t.Fingerprints[c] = args, args.Text("fingerprint")
			t.containers[c], t.ids[c] = outputs[store.ID].Text("container"), outputs[store.ID].Text("id")
		}
		for _, l := range later {
			t.follow(l)
		}
		out = append(out, t)
	}
	return out
}

// follow takes over what a renewal has changed, or may have: a container that it made is there until another renewal is done.
func (t *Terminated) follow(renewal []provision.Event) {
	outputs, touched := effects(renewal)
	if len(renewal) == 0 || renewal[0].Graph == nil || !touched[listenerID(t.Name)] {
		return
	}
	for _, c := range t.Certificates {
		s, ok := renewal[0].Graph.Step(provision.StepID("store/" + t.Name + "/" + c))
		if args, err := s.Resolve(0, outputs); ok && err == nil && outputs[s.ID].Text("container") != "" {
			t.Fingerprints[c], t.containers[c], t.ids[c] = args.Text("fingerprint"), outputs[s.ID].Text("container"), outputs[s.ID].Text("id")
		}
	}
}

// Proven reports whether anything proves what the load balancer of a run serves.
func (t Terminated) Proven(g provision.Graph) bool {
	_, ok := g.Step(t.proof())
	return ok
}

func (t Terminated) proof() provision.StepID {
	return provision.StepID("prove/" + provision.Balancer{Name: t.Name}.Slot())
}

// terminate adds to a renewal what brings certificates to one load balancer: a container for each, named for its fingerprint, so that
// it is found again; the listener is pointed at it; it is proven; and only then the former one is removed. The containers are those
// of the run that is over, and are removed with it: nothing here is undone.
func (t Terminated) terminate(out *provision.Graph, g provision.Graph, outputs map[provision.StepID]provision.Values, r Renewal) {
	if t.whole != nil {
		t.terminateCloud(out, g, outputs, r)
		return
	}
	thing := "load balancer " + t.Name
	add := func(s provision.Step) provision.StepID {
		out.Steps = append(out.Steps, s)
		return s.ID
	}
	ecdsa, _ := t.listener["ecdsa"].(bool)
	with := map[string]provision.Arg{"cloud": provision.Lit(t.Cloud), "balancer": provision.Lit(t.listener["balancer"]), "listener": provision.Lit(t.id), "order": provision.Lit(t.Certificates)}
	var needs []provision.StepID
	var renewed []string
	for _, c := range t.Certificates {
		f, ok := r.Certificates[c]
		if !ok {
			with["container "+c] = provision.Lit(t.containers[c])
			continue
		}
		store := literals(t.stores[c])
		store["fingerprint"], store["name"] = provision.From(fetchID(c), "fingerprint"), provision.Lit(t.renewed(c, f.Fingerprint))
		id := add(provision.Step{ID: provision.StepID("store/" + t.Name + "/" + c), Kind: CertificateStore, Needs: []provision.StepID{fetchID(c)}, With: store,
			Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StageDeliver, Thing: thing, Detail: "certificate " + c + " into the key manager of " + g.Region}})
		with["container "+c] = provision.From(id, "container")
		needs, renewed, ecdsa = append(needs, id), append(renewed, c), ecdsa || f.Algorithm == "ECDSA"
	}
	with["ecdsa"] = provision.Lit(ecdsa)
	last := add(provision.Step{ID: listenerID(t.Name), Kind: ListenerUpdate, Needs: needs, With: with, Within: provision.Duration(5 * time.Minute), Expect: provision.Duration(expectPart),
		Say: provision.Say{Stage: provision.StageDeliver, Thing: thing, Detail: "ends TLS with certificate " + strings.Join(renewed, ", ") + " as it is now",
			Hint: "failover resume tries it again; the former certificate is there yet"}})
	if s, ok := t.proveAgain(g, outputs, r, last); ok {
		last = add(s)
	}
	for _, c := range renewed {
		base := t.stores[c]
		add(provision.Step{ID: provision.StepID("remove/" + t.Name + "/" + c), Kind: CertificateRemove, Needs: []provision.StepID{last},
			With: map[string]provision.Arg{"cloud": provision.Lit(t.Cloud), "id": provision.Lit(t.ids[c]), "name": provision.Lit(base["name"]), "keep": provision.Lit(t.renewed(c, r.Certificates[c].Fingerprint)),
				"run": provision.Lit(base["run"]), "slot": provision.Lit(base["slot"])},
			Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StageClose, Thing: thing, Detail: "certificate " + c + " of before out of the key manager of " + g.Region}})
	}
}

// renewed names the container of a renewal: that of the run, and which certificate it is.
func (t Terminated) renewed(certificate, fingerprint string) string {
	return fmt.Sprintf("%s.%.16s", t.stores[certificate].Text("name"), fingerprint)
}

// proveAgain is the run's proof of the load balancer, with the certificates that it has now.
func (t Terminated) proveAgain(g provision.Graph, outputs map[provision.StepID]provision.Values, r Renewal, after provision.StepID) (provision.Step, bool) {
	was, ok := g.Step(t.proof())
	if !ok {
		return provision.Step{}, false
	}
	in, err := was.Resolve(0, outputs)
	if err != nil {
		return provision.Step{}, false
	}
	now := func(m map[string]any) { // m names what is presented by the fingerprint that the run gave it
		for _, c := range t.Certificates {
			if t.stores[c].Text("fingerprint") != m["fingerprint"] {
				continue
			}
			f := t.Fingerprints[c]
			if renewed, ok := r.Certificates[c]; ok {
				f = renewed.Fingerprint
			}
			m["fingerprint"], m["ca"] = f, withRoots(provision.Values(m).Text("ca"), r.Roots[c])
			return
		}
	}
	now(in)
	if list, ok := in["also"].([]any); ok {
		also := make([]any, 0, len(list))
		for _, x := range list {
			m := maps.Clone(mapOf(x))
			now(m)
			also = append(also, m)
		}
		in["also"] = also
	}
	return provision.Step{ID: was.ID, Kind: ServiceProve, Volatile: true, Needs: []provision.StepID{after}, With: literals(in), Within: was.Within, Expect: was.Expect,
		Say: provision.Say{Stage: provision.StageProve, Thing: was.Say.Thing, Detail: was.Say.Detail + ", with the certificate that was delivered",
			Hint: "the former certificate is in the key manager yet; failover resume looks again"}}, true
}

// withRoots adds what clients trust by now to what the run knew.
func withRoots(ca, roots string) string {
	if roots == "" || strings.Contains(ca, strings.TrimSpace(roots)) {
		return ca
	}
	return strings.TrimLeft(ca+"\n"+roots, "\n")
}
