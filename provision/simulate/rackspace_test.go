package simulate

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/deliver"
	"github.com/dripstat/failover/provision/dns"
	"github.com/dripstat/failover/provision/dns/clouddns"
	"github.com/dripstat/failover/provision/dns/designate"
	"github.com/dripstat/failover/provision/engine"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/rackspace"
	"github.com/dripstat/failover/provision/rackspace/balancer"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/templates"
)

// legacy says whether the cloud is Rackspace's first one. Its dice are its own, and what was found before it came keeps its story.
func (w *world) legacy() bool { return w.plan.Clouds[0].Rackspace != nil }

const rackspaceToo = "at Rackspace: "

// toRackspace takes some plans to that cloud, without what it does not have.
func (w *world) toRackspace() {
	d := w.dice("rackspace")
	if w.foundBefore(rackspaceToo, flexToo, standsToo, followsToo) || d.IntN(6) > 0 {
		return
	}
	w.plan.Clouds[0] = provision.Cloud{Name: "main", Rackspace: &provision.Rackspace{}}
	s := &w.plan.Servers[0]
	s.Spread, s.FloatingIP, s.Open, s.SSH.User, s.ConfigDrive = false, "", nil, "root", true
	for i := range w.plan.Balancers {
		w.plan.Balancers[i].FloatingIP = ""
	}
	w.toCloudDNS(d, "main")
}

// toCloudDNS has the plan's zone kept by a cloud's Cloud DNS.
func (w *world) toCloudDNS(d *rand.Rand, cloud string) {
	z := &w.plan.Zones[0]
	z.Provider = provision.DNSProvider{CloudDNS: &provision.CloudDNS{Cloud: cloud}}
	for i := range z.Records {
		z.Records[i].TTL = clouddns.LeastTTL * time.Second
		if old := w.old[z.FQDN(z.Records[i])]; len(old.Values) > 0 {
			old.TTL = clouddns.LeastTTL * (1 + d.IntN(2))
			w.old[old.Name] = old
		}
	}
}

// The flavors that are asked for, cheapest first.
var (
	rungs          = []string{"m1.small", "m1.medium", "m1.large"}
	rackspaceRungs = []string{"2 GB General Purpose v1", "30 GB I/O v1", "60 GB I/O v1"}
)

func (w *world) flavors() []string {
	switch {
	case w.legacy():
		return rackspaceRungs
	case w.flex():
		return flexRungs
	}
	return rungs
}

func (w *world) image() string {
	switch {
	case w.legacy():
		return "Debian 12 (Bookworm)"
	case w.flex():
		return "Debian-12"
	}
	return "debian-12"
}

// networks are those of which a graph takes the ids; Rackspace's public one is the same everywhere.
func (w *world) networks(ids map[string]string) []provision.Network {
	if w.legacy() {
		return []provision.Network{{ID: "00000000-0000-0000-0000-000000000000", Name: "public"}}
	}
	return []provision.Network{{ID: ids[w.external()], Name: w.external()}, {ID: ids["private"], Name: "private"}}
}

// rackspaceTrouble is what that cloud does wrong beside the faults of every cloud, and which of two forms it takes where its
// documents contradict each other.
func (w *world) rackspaceTrouble(all []sandbox.Fault) ([]sandbox.Fault, *sandbox.Rackspace) {
	if !w.keepsRecords() {
		return all, nil
	}
	d := w.dice("rackspace trouble")
	for i, f := range all {
		switch {
		case f.Arg == rungs[0]:
			all[i].Arg = w.flavors()[0]
		case f.Name == "dns-pending" && f.Arg == "4m":
			// Designate says that a set is PENDING, and can be waited for. Cloud DNS says COMPLETED before its name servers follow,
			// within a minute or so, and an undoing watches them for a minute, and a lag of four would be missed.
			all[i].Arg = "30s"
		}
	}
	for _, f := range []sandbox.Fault{{Name: "dns-job-slow", Arg: "6s"}, {Name: "dns-job-slow", Arg: "40s"}, {Name: "dns-job-error", Arg: "1"}, {Name: "dns-delete-half", Arg: "1"}, {Name: "empty-body", Arg: "7"}} {
		if d.IntN(100) < 15 {
			all = append(all, f)
		}
	}
	if w.flex() {
		return all, nil
	}
	r := &sandbox.Rackspace{Offset: d.IntN(2) == 0, Old: d.IntN(2) == 0, Quick: d.IntN(4) == 0}
	if d.IntN(3) == 0 {
		r.Managed = span(d, time.Second, 30*time.Second)
	}
	return all, r
}

// options are those of every cloud of a process.
func (w *world) options(rt http.RoundTripper, avoid ...string) openstack.Options {
	// A login that hangs would else end in the instant in which its caller gives up, and which is told first is chance.
	timeout := 30*time.Second - 7*time.Millisecond
	return openstack.Options{RoundTripper: rt, Avoid: avoid, Timeout: timeout, Env: func(string) (string, bool) { return "", false }}
}

// connect gives a process its cloud, as cmd does.
func (w *world) connect(o openstack.Options) (*openstack.Cloud, error) {
	switch {
	case w.legacy():
		return w.connectFirst("main", o)
	case w.flex():
		return w.connectFlex(o)
	}
	o.CloudsYAML = w.box.CloudsYAML("main")
	return openstack.New("main", provision.OpenStack{Entry: "main"}, region, o)
}

// connectFirst is connect for Rackspace's first cloud.
func (w *world) connectFirst(name string, o openstack.Options) (*openstack.Cloud, error) {
	c := rackspace.Credentials{Source: "the sandbox", URLs: []string{w.box.RackspaceURL()}, Username: w.box.Username(), APIKey: secrets.NewValue([]byte(w.box.APIKey()))}
	o.Legacy = true
	o.Identity = &openstack.Identity{Name: "the identity service", Version: "v2.0", Source: c.Source, Check: "username and api_key", URLs: c.URLs, Login: c.Login, Catalog: c.Catalog}
	return openstack.New(name, provision.OpenStack{}, region, o)
}

// public is the plan's zone in that cloud.
func (w *world) public(cloud *openstack.Cloud) dns.Zone {
	return dns.Late(func(ctx context.Context) (dns.Zone, error) {
		if w.keepsRecords() {
			sc, err := cloud.CloudDNS(ctx)
			if err != nil {
				return nil, err
			}
			return clouddns.New(sc, zone), nil
		}
		sc, err := cloud.DNS(ctx)
		if err != nil {
			return nil, err
		}
		return designate.New(sc, zone), nil
	})
}

// rackspaceHandlers adds its load balancers, the throwaway host key and what replaces it.
func (p *process) rackspaceHandlers(cloud *openstack.Cloud, m map[provision.Kind]engine.Handler, keeper *deliver.Keeper, g provision.Graph) {
	if !p.w.legacy() {
		return
	}
	for kind, h := range balancer.Handlers(balancer.Regions{"main": balancer.New(cloud.CloudLoadBalancers)}, inMemory(g)) {
		m[kind] = h
	}
	if p.w.crypto {
		m[steps.HostKeyRotate] = &deliver.HostKeyRotate{Keeper: keeper, Dial: p.dial}
		m[steps.ServerCreate] = deliver.FirstHostKey{Handler: m[steps.ServerCreate], Keeper: keeper, Merge: func(data []byte, private, public string) ([]byte, error) {
			return templates.HostKey(data, private, public, 0)
		}}
		return
	}
	m[steps.HostKeyRotate] = &once{p: p, name: "rotate", out: provision.Values{"host_keys": []string{publicKey}}, flaky: true}
	m[steps.ServerCreate] = keyless{m[steps.ServerCreate]}
}

// keyless creates servers without the throwaway host key, where nothing is really delivered.
type keyless struct{ engine.Handler }

func (keyless) plain(in provision.Values) provision.Values {
	out := maps.Clone(in)
	delete(out, "host_key")
	return out
}

func (h keyless) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	return h.Handler.Check(ctx, s, h.plain(in))
}

func (h keyless) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	return h.Handler.Do(ctx, s, h.plain(in))
}

// written gives the addresses that a change of DNS writes.
func written(body []byte) []string {
	var set struct{ Records []string } // designate's
	if json.Unmarshal(body, &set) == nil {
		return set.Records
	}
	var list struct{ Records []struct{ Data string } } // Cloud DNS's
	_ = json.Unmarshal(body, &list)
	var out []string
	for _, r := range list.Records {
		out = append(out, r.Data)
	}
	return out
}

// checkMixed: Cloud DNS knows records and no record sets. A set whose size changes is changed in two jobs, and holds some of both
// between them: never nothing, and nothing that is neither the old set's nor a server's that is up.
func (w *world) checkMixed(snap sandbox.Snapshot, where, name string, old provision.RRset, values []string) {
	if len(values) == 0 {
		w.wrong("%s holds nothing for %s, which had %d values", where, name, len(old.Values))
	}
	if w.balanced() {
		if values = slices.DeleteFunc(values, func(v string) bool { return slices.Contains(old.Values, v) }); len(values) > 0 {
			w.checkBalanced(snap, where, name, values)
		}
		return
	}
	slots := map[string]bool{}
	for _, a := range values {
		if slices.Contains(old.Values, a) {
			continue
		}
		s, ok := serverAt(snap, a)
		if slot := s.Metadata[provision.TagSlot]; !ok || s.Status != "ACTIVE" {
			w.wrong("%s holds %s for %s, where no server of ours lives", where, addressText(a), name)
		} else if slots[slot] {
			w.wrong("%s holds two servers of one slot for %s", where, name)
		} else {
			slots[slot] = true
		}
	}
}
