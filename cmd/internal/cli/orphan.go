package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/journal"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/preflight"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/provision/store"
)

// orphan is a run of which only what it made is left.
type orphan struct {
	app     *App
	shared  shared
	options storeOptions
	plan    provision.Plan
	site    *site
	store   *keep
	found   steps.Found
	read    map[string]inventory // by cloud
}

// inventory is what one cloud has answered.
type inventory struct {
	inv provision.Inventory
	err error
}

// orphan reads the region and chooses the run: the one whose id begins with prefix, or the only one.
func (a *App) orphan(ctx context.Context, s shared, so storeOptions, region, me, prefix string) (o *orphan, err error) {
	o = &orphan{app: a, shared: s, options: so}
	if o.plan, err = a.load(s, false); err != nil {
		return nil, err
	}
	o.plan.Operator = pick(me, o.plan.Operator)
	if o.store, err = a.store(o.plan, so); err != nil {
		return nil, err
	}
	a.aloud(o.store)
	o.store.merge(ctx)
	if o.site, err = a.newSite(o.plan, region, a.box); err != nil {
		o.close()
		return nil, err
	}
	if err = o.look(ctx); err == nil {
		err = o.choose(ctx, prefix)
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *orphan) close() {
	if o.site != nil {
		o.site.close()
	}
	_ = o.store.Close() // every append was synced
}

// look reads every cloud of the plan. Without the list of servers nothing can be said of a run.
func (o *orphan) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	o.read = map[string]inventory{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, read := range o.site.sources().Inventory {
		wg.Go(func() {
			inv, err := read(ctx, slices.DeleteFunc(slices.Clone(o.site.plan.Servers), func(s provision.Server) bool { return s.Cloud != name }))
			mu.Lock()
			defer mu.Unlock()
			o.read[name] = inventory{inv, err}
		})
	}
	wg.Wait()
	for _, name := range slices.Sorted(maps.Keys(o.read)) {
		var unknown *openstack.RegionError
		switch r := o.read[name]; {
		case errors.As(r.err, &unknown):
			return &exitError{code: exitUsage, err: unknown}
		case r.err != nil:
			return &exitError{code: exitRefused, err: provision.AsError("cloud."+name, r.err)}
		case r.inv.Servers == nil:
			return &exitError{code: exitRefused, err: &provision.Error{Thing: "cloud." + name, What: "the servers in " + o.site.region + " could not be listed, so what a run has made there cannot be told",
				Said: said(r.inv.Unread), Hint: "type it again when the cloud answers"}}
		}
	}
	return nil
}

func said(fs []provision.Finding) string {
	for _, f := range fs {
		if f.Check == "server" {
			return f.What
		}
	}
	return ""
}

// runs gives what the region holds of each run. An id that is no ULID was not given by us, and never becomes a file's name.
func (o *orphan) runs() map[provision.RunID]steps.Found {
	out := map[provision.RunID]steps.Found{}
	of := func(run provision.RunID, keep func(steps.Found)) {
		if _, err := ulid.ParseStrict(string(run)); err != nil || string(run) != strings.ToUpper(string(run)) {
			return
		}
		if _, ok := out[run]; !ok {
			out[run] = steps.Found{Run: run, Servers: map[string][]provision.Live{}, Groups: map[string][]provision.NamedID{},
				ServerGroups: map[string][]provision.NamedID{}, KeyPairs: map[string][]string{}, Balancers: map[string][]provision.Live{}, Containers: map[string][]provision.NamedID{}, Rackspace: map[string]bool{}}
		}
		keep(out[run])
	}
	prefix := strings.ToLower("failover-" + o.plan.Service + "-")
	named := func(name string, keep func(steps.Found)) { // steps gives names of service, run and what it is for
		if rest, ours := strings.CutPrefix(name, prefix); ours && len(rest) > ulid.EncodedSize && rest[ulid.EncodedSize] == '-' {
			of(provision.RunID(strings.ToUpper(rest[:ulid.EncodedSize])), keep)
		}
	}
	for cloud, r := range o.read {
		for _, s := range r.inv.Servers {
			of(s.Run, func(f steps.Found) { f.Servers[cloud] = append(f.Servers[cloud], s) })
		}
		for _, g := range r.inv.SecurityGroups {
			named(g.Name, func(f steps.Found) { f.Groups[cloud] = append(f.Groups[cloud], g) })
		}
		for _, g := range r.inv.ServerGroups {
			named(g.Name, func(f steps.Found) { f.ServerGroups[cloud] = append(f.ServerGroups[cloud], g) })
		}
		if r.inv.Balancing != nil {
			for _, b := range r.inv.Balancing.Balancers {
				named(b.Name, func(f steps.Found) { f.Balancers[cloud] = append(f.Balancers[cloud], b) })
			}
		}
		for _, x := range r.inv.Containers {
			named(x.Name, func(f steps.Found) { f.Containers[cloud] = append(f.Containers[cloud], x) })
		}
		for _, k := range r.inv.KeyPairs {
			named(k, func(f steps.Found) { f.KeyPairs[cloud] = append(f.KeyPairs[cloud], k) })
		}
	}
	return out
}

// choose takes the run that was named, or the only one that is there.
func (o *orphan) choose(ctx context.Context, prefix string) error {
	all := o.runs()
	var hits []provision.RunID
	for _, run := range slices.Sorted(maps.Keys(all)) {
		for _, c := range o.plan.Clouds {
			all[run].Rackspace[c.Name] = c.Rackspace != nil
		}
		if strings.HasPrefix(string(run), strings.ToUpper(prefix)) {
			hits = append(hits, run)
		}
	}
	region := o.site.region
	switch {
	case len(hits) == 1:
		o.found = all[hits[0]]
	case len(hits) > 1:
		var list []string
		for _, run := range hits {
			list = append(list, fmt.Sprintf("%s: %s", run.Short(), all[run]))
		}
		return usage("name one by the beginning of its id: --adopt --region "+region+" "+hits[len(hits)-1].Short(), "%s has what %d runs of %s have made: %s", region, len(hits), o.plan.Service, strings.Join(list, "; "))
	case prefix == "":
		return usage("failover --region "+region+" starts anew", "%s has nothing that a run of %s has made: there is nothing to adopt", region, o.plan.Service)
	default:
		return usage("failover resume --adopt --region "+region+" without a name lists what there is", "%s has nothing of a run of %s that begins with %s", region, o.plan.Service, prefix)
	}
	events, err := journal.Read(ctx, o.store.runs, o.plan.Service, o.found.Run)
	switch {
	case err == nil && len(events) > 0:
		return o.known()
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	return nil
}

// known says that the journal was not lost at all.
func (o *orphan) known() error {
	run := o.found.Run.Short()
	return usage("failover resume "+run+", or failover abandon "+run, "the journal of run %s is not lost: it is in %s", run, o.store.Where())
}

// missing is the plan without what is there already: what the run has must not count as needed once more.
func (o *orphan) missing() provision.Plan {
	plan := o.site.plan
	plan.Servers = slices.Clone(plan.Servers)
	for i, s := range plan.Servers {
		have := map[string]bool{}
		for _, l := range o.found.Servers[s.Cloud] {
			have[l.Slot] = true
		}
		plan.Servers[i].Count, plan.Servers[i].Need, plan.Servers[i].Hedge = 0, 0, 0
		for _, slot := range s.Slots() {
			if !have[slot] {
				plan.Servers[i].Count++
			}
		}
	}
	return plan
}

// sources are what preflight reads, with the inventories that are there and without what is the run's own.
func (o *orphan) sources() preflight.Sources {
	src := o.site.sources()
	for name, r := range o.read {
		src.Inventory[name] = func(context.Context, []provision.Server) (provision.Inventory, error) {
			inv := r.inv
			inv.Servers = slices.DeleteFunc(slices.Clone(inv.Servers), func(s provision.Live) bool { return s.Run == o.found.Run })
			inv.Quotas = maps.Clone(inv.Quotas)
			if inv.Balancing != nil {
				rest := *inv.Balancing
				rest.Balancers = slices.DeleteFunc(slices.Clone(rest.Balancers), func(b provision.Live) bool { return b.Run == o.found.Run })
				inv.Balancing = &rest
			}
			balancers, listeners, floating := len(o.found.Balancers[name]), 0, 0
			for _, b := range o.site.plan.Balancers { // those that are there have what the plan gives them
				if balancers > 0 && b.Cloud == name && b.Existing == nil {
					listeners++
					if b.RedirectHTTP {
						listeners++
					}
				}
			}
			for _, b := range o.found.Balancers[name] {
				floating += len(b.Addresses) - 1
			}
			for thing, n := range map[string]int{"security_group": len(o.found.Groups[name]), "server_groups": len(o.found.ServerGroups[name]),
				"load_balancers": balancers, "pools": balancers, "listeners": listeners, "floatingip": floating} {
				if q, ok := inv.Quotas[thing]; ok {
					q.Used -= n
					inv.Quotas[thing] = q
				}
			}
			return inv, nil
		}
	}
	return src
}

// findings tell what is adopted into g, and what of it needs a person's eye; on says that the run goes on.
func (o *orphan) findings(g provision.Graph, on bool) []provision.Finding {
	run := o.found.Run.Short()
	out := []provision.Finding{{Weight: provision.Noted, Check: "adopt", What: fmt.Sprintf("run %s has made in %s: %s", run, o.site.region, o.found)}}
	add := func(w provision.Weight, hint, format string, a ...any) {
		out = append(out, provision.Finding{Weight: w, Check: "adopt", What: fmt.Sprintf(format, a...), Hint: hint})
	}
	switch {
	case o.store.shared == nil:
		add(provision.Warn, "ask the others; put store { etcd { ... } } into the plan", "run %s may be at work on another machine: its lock cannot be seen from here", run)
	case o.store.mirror.Away() != nil:
		add(provision.Warn, "failover resume "+run+" when etcd answers", "etcd is away, and may have the journal of run %s", run)
	}
	var missing, again []string
	planned := map[string]bool{}
	for _, s := range g.Steps {
		if s.Kind == steps.ServerCreate && s.Within > 0 { // what has no place in the plan has no deadline
			planned[fmt.Sprint(s.With["cloud"].Is, "/", s.With["slot"].Is)] = true
		}
	}
	for _, cloud := range slices.Sorted(maps.Keys(o.found.Servers)) {
		slots := map[string][]string{}
		for _, l := range o.found.Servers[cloud] {
			slots[l.Slot] = append(slots[l.Slot], l.ID)
			if !planned[cloud+"/"+l.Slot] {
				add(provision.Warn, "--plan with the plan that the run was started with, if it matters; failover abandon removes it with the run",
					"%s (%s) is of run %s and in no slot of this plan: it is left as it is", cmp.Or(l.Slot, l.Name), l.ID, run)
			}
		}
		for _, slot := range slices.Sorted(maps.Keys(slots)) {
			if ids := slots[slot]; len(ids) > 1 && planned[cloud+"/"+slot] {
				add(provision.Warn, "delete what is too many in the cloud's console, or failover abandon removes all of them with the run",
					"slot %s has %d servers (%s): the oldest one that is not in ERROR serves, the others are left as they are", slot, len(ids), strings.Join(ids, ", "))
			}
		}
	}
	if !on {
		return out
	}
	for _, s := range g.Steps {
		_, there := o.found.Server(s)
		old := provision.Values{}
		if m, ok := s.With["old"].Is.(map[string]any); ok {
			old = m
		}
		switch ttl, _ := s.With["ttl"].Is.(int); {
		case s.Kind == steps.ServerCreate && !there && s.Within > 0:
			missing = append(missing, s.Say.Thing)
		case s.Kind == steps.HookRun:
			again = append(again, s.Say.Thing)
		case s.Kind == steps.DNSMove && s.Undo.Kind == steps.DNSRestore && len(old.List("values")) > 0 && old["ttl"] == ttl:
			add(provision.Noted, "", "%s has a TTL of %d s: if the run had lowered it, from what is not known, and abandon and back leave it so", s.Say.Thing, ttl)
		}
	}
	if len(again) > 0 {
		add(provision.Noted, "", "steps of your own run, whether they had run before or not: %s", strings.Join(again, ", "))
	}
	if len(missing) > 0 {
		add(provision.Noted, "", "%s: not seen; looked for during 15 s more, and then made", strings.Join(missing, ", "))
	}
	for _, name := range steps.BeforeUnknown(g) {
		add(provision.Warn, "look it up where it is written down, or in the DNS provider's own history, now",
			"%s points to servers of run %s already; what it held before is not known, so neither abandon nor back can restore it", name, run)
	}
	return out
}

// graph is that of a fresh run under the run's own id, and the events that its journal begins with.
func (o *orphan) graph(ctx context.Context) (provision.Graph, []provision.Event, provision.Facts, error) {
	facts := preflight.Check(ctx, o.missing(), o.site.region, o.sources())
	if facts.Refused() {
		return provision.Graph{}, nil, facts, o.app.refuse(o.plan, []string{o.site.region}, facts.Findings, o.shared.json)
	}
	for _, s := range o.site.plan.Servers { // its slots are the run's, whatever is missing of them
		f := facts.Servers[s.Name]
		f.Hedge = s.Hedge
		facts.Servers[s.Name] = f
	}
	g, err := steps.Build(o.site.plan, facts, o.found.Run)
	if err != nil {
		return g, nil, facts, &exitError{code: exitUsage, err: err}
	}
	g, events := steps.Adopt(g, o.found, time.Now().UTC())
	facts.Findings = append(o.findings(g, true), facts.Findings...)
	return g, events, facts, nil
}

// remains is the graph of a run that is only to be removed: it needs no image, no flavor and no certificate, and
// leaves the records alone.
func (o *orphan) remains(ctx context.Context) (provision.Graph, []provision.Event, provision.Facts, error) {
	bare := o.site.plan
	bare.Servers, bare.Certificates, bare.Balancers = nil, nil, nil
	facts := preflight.Check(ctx, bare, o.site.region, o.sources())
	if facts.Refused() {
		return provision.Graph{}, nil, facts, o.app.refuse(o.plan, []string{o.site.region}, facts.Findings, o.shared.json)
	}
	for _, c := range o.site.plan.Certificates {
		facts.Certificates[c.Name] = provision.CertificateFacts{}
	}
	for _, s := range o.site.plan.Servers {
		f := provision.ServerFacts{Hedge: s.Hedge}
		if s.FloatingIP != "" {
			f.Floating = &provision.Network{Name: s.FloatingIP}
		}
		facts.Servers[s.Name] = f
	}
	for _, b := range o.site.plan.Balancers {
		f := provision.BalancerFacts{Standing: o.read[b.Cloud].inv.Balancing.Stands(b.Name)}
		if b.FloatingIP != "" {
			f.Floating = &provision.Network{Name: b.FloatingIP}
		}
		facts.Balancers[b.Name] = f
	}
	g, err := steps.Build(o.site.plan, facts, o.found.Run)
	if err != nil {
		return g, nil, facts, &exitError{code: exitUsage, err: err}
	}
	g, events := steps.Remains(g, o.found, time.Now().UTC())
	return g, events, facts, nil
}

// begin starts the run's journal anew, under the lock. What is in it from then on is what resume and abandon go by.
func (o *orphan) begin(ctx context.Context, command string, g provision.Graph, events []provision.Event) ([]provision.Event, error) {
	who, host := identity()
	lease, err := o.app.lease(ctx, o.store, g.Service, holder("failover "+command+" --adopt", o.found.Run), o.options, o.shared.json)
	if err != nil {
		return nil, err
	}
	defer lease.Release(ctx)
	first := provision.Event{V: provision.EventVersion, Time: time.Now().UTC(), Run: o.found.Run, Type: provision.RunStarted, Graph: &g, User: who, Host: host,
		Plan: planAt(o.plan), PlanD: o.plan.Digest, Adopted: true,
		Message: fmt.Sprintf("the journal of before was lost; adopted from what %s had: %s", o.site.region, o.found)}
	err = journal.Start(ctx, o.store.runs, g.Service, o.found.Run, append([]provision.Event{first}, events...))
	if errors.Is(err, store.ErrExists) {
		return nil, o.known()
	}
	if err != nil {
		return nil, &provision.Error{Thing: "journal", What: "cannot begin the journal of run " + o.found.Run.Short() + " in " + o.store.Where() + "; nothing was touched", Err: err}
	}
	return journal.Read(ctx, o.store.runs, g.Service, o.found.Run)
}
