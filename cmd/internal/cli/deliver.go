package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/deliver"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/preflight"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/secrets"
)

// deliverOptions are those of `failover deliver [RUN]`.
type deliverOptions struct {
	again
	names  []string
	former string
	me     string
	yes    bool
	dryRun bool
}

// newDeliver is `failover deliver [RUN]`: renewals.
func newDeliver(app *App) *cobra.Command {
	o := &deliverOptions{again: again{app: app}}
	cmd := &cobra.Command{
		Use: "deliver [RUN]", Short: "Deliver renewed certificates to the servers and load balancers of a run, and change nothing else", Args: cobra.MaximumNArgs(1),
		Long: `Takes the certificates of a run's servers and load balancers from where the plan keeps them, judges them as preflight does, and
delivers them again: to the same places, in the same form. It is for renewals, and after a reboot of servers
that keep their certificate in memory. It is shown first and asks once, and is a run of its own in the journal.

One server of each block goes first: the others are left alone until it is proven, over TLS, to serve what it
was given. Where the run has closed SSH, it is opened to you and closed again.

A load balancer that ends TLS gets it through the key manager of its region: as a container of its own, which the listener
is pointed at. The former one is removed once the load balancer is proven to serve with the new one. One of Rackspace's
first cloud is sent it directly, in the place of the former one, and proven.

The servers let in whoever has the certificate that they have now. After a renewal with a new key, that
former one is still needed, once: failover seal keeps it; for other places name its path by --former.`,
		Example: `  failover deliver --dry-run
  failover deliver 01JDXR4 --certificate edge
  failover deliver --former tls/edge-2025`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), first(args)) },
	}
	o.add(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.names, "certificate", nil, "deliver this certificate of the plan alone")
	f.StringVar(&o.former, "former", "", "path of the certificate that the servers have now, in the places of the plan's one")
	f.StringVar(&o.me, "me", "", "the address that the cloud sees you come from")
	f.BoolVar(&o.yes, "yes", false, "go on without asking")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and change nothing")
	return cmd
}

// canDeliver says which run is meant where none is named: the latest whose servers have been given something, and that stands yet. One whose servers
// fetched it themselves is meant, too: to renew an earlier run instead would be no answer.
func canDeliver(p past) bool {
	return isFailover(p) && !abandoned(p) && len(steps.Deliveries(p.graph, p.events, nil))+len(steps.Terminations(p.graph, p.events, nil))+len(steps.Pulled(p.graph, p.events)) > 0
}

func abandoned(p past) bool {
	return slices.ContainsFunc(p.events, func(e provision.Event) bool { return e.Type == provision.RunAbandoned })
}

func (o *deliverOptions) run(ctx context.Context, prefix string) error {
	a := o.app
	if !o.dryRun && !o.yes {
		if err := a.mayAsk(); err != nil {
			return err
		}
	}
	p, s, st, err := o.open(ctx, prefix, canDeliver)
	if err != nil {
		return err
	}
	defer s.close()
	defer st.Close() //nolint:errcheck // every append was synced
	g, facts, err := o.graph(ctx, p, s, st)
	if err != nil {
		return err
	}
	h := view.Head{Service: g.Service, Region: g.Region, Home: g.Home, Plan: p.plan, Purpose: g.Purpose}
	switch {
	case facts.Refused():
		return a.refuse(s.plan, []string{g.Region}, facts.Findings, o.shared.json)
	case o.dryRun:
		a.showPlan(h, g, facts, o.shared.json)
		return nil
	case !o.yes:
		view.WritePlan(a.Err, a.look(a.Err), h, g, facts)
		if err := a.consent(fmt.Sprintf("Deliver to what run %s has made now?", p.entry.Run.Short())); err != nil {
			return err
		}
	case !o.shared.json:
		view.WriteFindings(a.Err, a.look(a.Err), facts.Findings)
	}
	return a.perform(ctx, performance{site: s, graph: g, id: newRunID(), head: h, store: st, options: o.store, json: o.shared.json, findings: facts.Findings, planPath: p.plan})
}

// renewal is what is found out before anything is shown.
type renewal struct {
	o     *deliverOptions
	past  past
	site  *site
	facts provision.Facts
	got   map[string]*secrets.Certificate // what is to be delivered; the site's keeper wipes them
	plan  steps.Renewal
}

// graph reads what has to be known, and builds what would be done. A refusal is in the facts.
func (o *deliverOptions) graph(ctx context.Context, p past, s *site, st *keep) (provision.Graph, provision.Facts, error) {
	run := p.entry.Run
	none := provision.Graph{Service: p.graph.Service, Region: p.graph.Region, Home: p.graph.Home, Purpose: "deliver", Of: run}
	switch {
	case p.graph.Purpose != "failover":
		return none, provision.Facts{}, usage("failover runs lists them", "run %s is itself a run of failover %s: it has no servers", run.Short(), p.graph.Purpose)
	case abandoned(p):
		return none, provision.Facts{}, usage("failover runs lists them", "run %s was abandoned, or is being: its servers are gone, or going", run.Short())
	}
	others, unread, err := otherRuns(ctx, st, p)
	if err != nil {
		return none, provision.Facts{}, err
	}
	later := renewals(others, p)
	pulled := steps.Pulled(p.graph, p.events)
	servers, balancers, err := o.wanted(steps.Deliveries(p.graph, p.events, later), pulled, steps.Terminations(p.graph, p.events, later), run)
	if err != nil {
		return none, provision.Facts{}, err
	}
	r := &renewal{o: o, past: p, site: s, facts: provision.Facts{Region: p.graph.Region, At: time.Now(), Certificates: map[string]provision.CertificateFacts{}},
		got: map[string]*secrets.Certificate{}, plan: steps.Renewal{Roots: map[string]string{}}}
	for _, e := range unread {
		if e.Run < p.entry.Run {
			continue
		}
		r.find(provision.Warn, "earlier run", "run "+e.Run.Short(), "failover status "+e.Run.Short()+" tells why", "its journal cannot be read: if it delivered a certificate, servers may know another login key than is thought here")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // a person may be asked meanwhile
	defer cancel()
	if r.pulled(pulled, len(servers)+len(balancers)); len(servers)+len(balancers) == 0 {
		return none, r.facts, nil
	}
	for _, e := range servers {
		r.certificate(ctx, e.Certificate, e.Fingerprint, e.Slot)
	}
	r.terminated(ctx, balancers)
	r.servers(ctx, servers)
	r.balancers(ctx, balancers)
	if len(r.plan.Servers)+len(r.plan.Balancers) == 0 && !r.facts.Refused() {
		r.find(provision.Refuse, "server", r.facts.Region, "failover abandon "+run.Short()+" clears the rest away", "no server or load balancer of run %s is there to deliver to", run.Short())
	}
	if !r.facts.Refused() {
		r.logins(ctx)
	}
	if r.facts.Refused() {
		return none, r.facts, nil
	}
	r.plan.Certificates, r.plan.At = r.facts.Certificates, r.facts.At
	g := steps.Redeliver(p.graph, p.events, run, r.plan)
	return g, r.facts, g.Check()
}

// wanted keeps the servers and load balancers of the certificates that were named. pulled are servers that have fetched theirs.
func (o *deliverOptions) wanted(servers, pulled []steps.Ended, balancers []steps.Terminated, run provision.RunID) ([]steps.Ended, []steps.Terminated, error) {
	var have []string
	for _, e := range slices.Concat(servers, pulled) {
		have = append(have, e.Certificate)
	}
	for _, t := range balancers {
		have = append(have, t.Certificates...)
	}
	slices.Sort(have)
	have = slices.Compact(have)
	if len(have) == 0 {
		return nil, nil, usage("failover resume "+run.Short()+" goes on with it", "run %s has delivered no certificate to a server or load balancer that it has kept", run.Short())
	}
	for _, n := range o.names {
		if !slices.Contains(have, n) {
			return nil, nil, usage("--certificate "+have[0], "run %s has delivered no certificate %q; it has delivered %s", run.Short(), n, strings.Join(have, ", "))
		}
	}
	servers = slices.DeleteFunc(servers, func(e steps.Ended) bool { return !o.named(e.Certificate) })
	balancers = slices.DeleteFunc(balancers, func(t steps.Terminated) bool { return !slices.ContainsFunc(t.Certificates, o.named) })
	return servers, balancers, nil
}

// named says whether a certificate is to be delivered.
func (o *deliverOptions) named(certificate string) bool {
	return len(o.names) == 0 || slices.Contains(o.names, certificate)
}

// pulled says of the servers that fetched their certificate themselves that they keep it. Where there are no others, that is a refusal.
func (r *renewal) pulled(pulled []steps.Ended, others int) {
	weight, run := provision.Warn, r.past.entry.Run.Short()
	if others == 0 {
		weight = provision.Refuse
	}
	by := map[string][]string{}
	for _, e := range pulled {
		if r.o.named(e.Certificate) {
			by[e.Certificate] = append(by[e.Certificate], e.Slot)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		r.find(weight, "certificate", strings.Join(by[name], ", "), fmt.Sprintf("a new run makes servers that fetch the renewed one: failover --region %s, and then: failover abandon %s", r.facts.Region, run),
			"fetched certificate %s from Vault themselves, by a token that works once; nobody can log in to them, and nothing can be delivered to them", name)
	}
}

// renewals gives the journals of what was delivered to the run's servers since, oldest first.
func renewals(others []past, of past) (out [][]provision.Event) {
	for _, p := range others {
		if p.entry.Run > of.entry.Run && p.graph.Purpose == "deliver" && p.graph.Of == of.entry.Run { // ids sort by time
			out = append(out, p.events)
		}
	}
	return out
}

func (r *renewal) find(w provision.Weight, check, thing, hint, what string, a ...any) {
	r.facts.Findings = append(r.facts.Findings, provision.Finding{Weight: w, Check: check, Thing: thing, Hint: hint, What: strings.TrimPrefix(fmt.Sprintf(what, a...), thing+": ")})
}

// certificate fetches and judges what is to be delivered to a place that has another one, or the same, so far.
func (r *renewal) certificate(ctx context.Context, name, has, place string) {
	if _, known := r.facts.Certificates[name]; known {
		return
	}
	c, ok := r.site.plan.Certificate(name)
	if !ok {
		r.find(provision.Refuse, "certificate", "certificate."+name, "put it back, or give the plan that the run began with: --plan FILE", "the plan has no such block any more")
		r.facts.Certificates[name] = provision.CertificateFacts{}
		return
	}
	if c.CA != "" {
		r.plan.Roots[name] = c.CA
	}
	one := provision.Plan{Certificates: []provision.Certificate{c}}
	f := preflight.Check(ctx, one, r.facts.Region, preflight.Sources{Certificate: func(ctx context.Context, name string) (secrets.Got, error) {
		got, err := r.site.kept(ctx, name)
		r.got[name] = got.Certificate
		return got, err
	}})
	r.facts.Checks += f.Checks
	r.facts.Findings = append(r.facts.Findings, f.Findings...)
	r.facts.Certificates[name] = f.Certificates[name]
	if new := f.Certificates[name].Fingerprint; new != "" && new == has {
		r.find(provision.Noted, "certificate", "certificate."+name, "", "it is the one that %s has already, or had before a reboot", place)
	}
}

// servers keeps those that are there, and finds out who "me" is.
func (r *renewal) servers(ctx context.Context, servers []steps.Ended) {
	run := r.past.entry.Run
	invs := map[string]provision.Inventory{}
	for _, e := range servers {
		if _, known := invs[e.Cloud]; known {
			continue
		}
		cloud := r.site.clouds[e.Cloud]
		if cloud == nil {
			r.find(provision.Refuse, "identity", "cloud."+e.Cloud, "put it back, or give the plan that the run began with: --plan FILE", "the plan has no such block any more")
			return
		}
		inv, err := cloud.Inventory(ctx, openstack.Query{Service: r.past.graph.Service})
		if err != nil {
			pe := provision.AsError("", err)
			r.find(provision.Refuse, "identity", "cloud."+e.Cloud, pe.Hint, "%v", pe)
			return
		}
		invs[e.Cloud] = inv
		r.facts.Checks += 2
	}
	for _, e := range servers {
		inv := invs[e.Cloud]
		i := slices.IndexFunc(inv.Servers, func(l provision.Live) bool { return l.Run == run && l.Slot == e.Slot })
		unread := slices.ContainsFunc(inv.Unread, func(f provision.Finding) bool { return strings.Contains(f.What, "servers") })
		switch {
		case i < 0 && !unread:
			r.find(provision.Warn, "server", e.Slot, "", "is gone from %s: nothing is delivered to it", r.facts.Region)
			continue
		case i >= 0 && inv.Servers[i].Status != "ACTIVE":
			r.find(provision.Warn, "server", e.Slot, "start it, and deliver again", "is %s: nothing is delivered to it", inv.Servers[i].Status)
			continue
		}
		r.plan.Servers = append(r.plan.Servers, e)
		if _, ok := r.past.graph.Step(provision.StepID("prove/" + e.Slot)); !ok {
			r.find(provision.Warn, "server", e.Slot, "", "has no ready block: nothing proves that it serves what is delivered")
		}
		cidr, bad := preflight.Me(pick(r.o.me, r.site.plan.Operator), inv)
		if bad != nil && r.plan.Operator == "" && !r.facts.Refused() {
			bad.Thing = pick(bad.Thing, e.Slot)
			r.facts.Findings = append(r.facts.Findings, *bad)
		}
		r.plan.Operator = cidr
	}
}

// logins finds out how the servers are logged in to: their key is derived from the certificate that they have. One that is
// delivered now becomes what the next key is derived from.
func (r *renewal) logins(ctx context.Context) {
	run := string(r.past.entry.Run)
	var needed []steps.LoginKey
	for _, e := range r.plan.Servers {
		if !slices.Contains(needed, e.Login) {
			needed = append(needed, e.Login)
		}
	}
	for _, l := range needed {
		if f, ok := r.facts.Certificates[l.Certificate]; ok && r.plan.Next == nil {
			next, err := deliver.NewLogin(run, r.got[l.Certificate])
			if err != nil {
				r.find(provision.Refuse, "certificate", "certificate."+l.Certificate, "", "%v", err)
				return
			}
			r.plan.Next = &steps.LoginKey{Certificate: l.Certificate, Fingerprint: f.Fingerprint, PublicKey: next.PublicKey()}
		}
		if r.plan.Next != nil && r.plan.Next.PublicKey == l.PublicKey {
			continue // renewed with its key
		}
		l.Path = r.o.former
		got, err := r.site.former(ctx, l.Certificate, l.Fingerprint, l.Path)
		if err == nil {
			_, err = deliver.Recall(run, l.PublicKey, got.Certificate)
		}
		if err != nil {
			r.noLogin(l, err)
			continue
		}
		r.plan.Logins = append(r.plan.Logins, l)
	}
}

// noLogin says what would let us in.
func (r *renewal) noLogin(l steps.LoginKey, err error) {
	what := fmt.Sprintf("the servers let in only who has the certificate that they have now (SHA-256 %.16s…), and that is not to be had", l.Fingerprint)
	hint := "say where it is kept: --former PATH, a path in the places of certificate." + l.Certificate + "; or, without it, a new run: failover --region " + r.facts.Region
	var le *secrets.LadderError
	switch {
	case errors.Is(err, deliver.ErrOtherLogin):
		what = "the certificate that the servers have is there, but it does not give the login key that they know; was the run adopted, or its key pair replaced?"
		hint = "a new run: failover --region " + r.facts.Region
	case errors.As(err, &le):
		what += ": " + le.Error()
	default:
		what += ": " + err.Error()
	}
	r.find(provision.Refuse, "certificate", "certificate."+l.Certificate, hint, "%s", what)
}
