// Package simulate runs the real engine, steps, handlers, journal and lock against the sandbox's model in virtual
// time, with faults and crashes that a seed decides, and checks after every run what a run promises.
//
// Nothing here opens a socket, reads a file or waits in real time; the same seed gives the same run. A seed
// that fails is repeated with: go test ./provision/simulate -run TestSeed -seed N -v
package simulate

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/sandbox"
)

const (
	service = "dripstat"
	home    = "IAD"
	region  = "ORD"
	zone    = "dripstat.test"
)

// world is everything around the processes of one seed: the cloud, the store, the plan, and what was seen.
type world struct {
	seed    uint64
	without safeguard
	telling bool       // the trace is wanted: most of what a seed does is only told, never read
	rng     *rand.Rand // of the plan and of the story; faults have dice of their own
	box     *sandbox.Cloud
	store   *memory            // of all machines
	team    *team              // nil: there is only that
	hosts   map[string]*memory // the stores of machines that have a team
	plan    provision.Plan
	facts   provision.Facts
	run     provision.RunID
	turns   int             // runs that turn it around
	turned  provision.RunID // the latest of them
	graph   provision.Graph
	old     map[string]provision.RRset // by record
	crypto  bool                       // real SSH and TLS
	renewal renewal
	began   time.Time
	read    []byte // of the run's journal, by leads
	past    []provision.Event

	mu       sync.Mutex
	counts   map[string]int
	now      *instant      // at which something came
	faults   int           // that may still happen
	rate     int           // per thousand requests
	lag      time.Duration // of lists that miss a new server, at most
	born     map[string]time.Time
	next     int // process numbers
	calm     bool
	well     time.Time            // home answers from then on
	away     map[string]time.Time // by record: when the name server was last seen to give the new set
	problems []string
	trace    []string
	oldest   time.Duration // of a proof when DNS was written
	seen     tally
}

// tally counts what happened, to know that the simulation still does what it is for.
type tally struct {
	Requests, Faults, Crashes, Resumes, Abandons, Takeovers, Done, Failed, Backs int
	// Of a shared store: processes that met its absence, journals that were merged, that forked, and changes of the
	// machine at work.
	Away, Merged, Forked, Moved int
	Flex                        int // seeds at OpenStack Flex
	Followed                    int // seeds with a second run
	Standing                    int // seeds whose servers join a load balancer that is there
	Renewals, Renewed, GivenUp  int // deliveries of a renewed certificate that were begun, done, and given up half way
}

func (a *tally) add(b tally) {
	a.Requests, a.Faults, a.Crashes, a.Resumes = a.Requests+b.Requests, a.Faults+b.Faults, a.Crashes+b.Crashes, a.Resumes+b.Resumes
	a.Abandons, a.Takeovers, a.Done, a.Failed = a.Abandons+b.Abandons, a.Takeovers+b.Takeovers, a.Done+b.Done, a.Failed+b.Failed
	a.Backs, a.Away, a.Merged, a.Forked, a.Moved = a.Backs+b.Backs, a.Away+b.Away, a.Merged+b.Merged, a.Forked+b.Forked, a.Moved+b.Moved
	a.Standing, a.Followed = a.Standing+b.Standing, a.Followed+b.Followed
	a.Flex, a.Renewals, a.Renewed, a.GivenUp = a.Flex+b.Flex, a.Renewals+b.Renewals, a.Renewed+b.Renewed, a.GivenUp+b.GivenUp
}

func newWorld(ctx context.Context, seed uint64, without safeguard, telling bool) (*world, error) {
	w := &world{seed: seed, without: without, telling: telling, rng: rand.New(rand.NewPCG(seed, 1)), counts: map[string]int{}, born: map[string]time.Time{},
		old: map[string]provision.RRset{}, away: map[string]time.Time{}, began: time.Now(), run: runID(seed, 0)}
	w.renewal.given, w.renewal.shown = map[string]string{}, map[string]string{}
	w.store, w.hosts = &memory{w: w, values: map[string][]byte{}}, map[string]*memory{}
	w.share()
	w.crypto = seed%20 == 19
	w.rate = pick(w.rng, 0, 5, 20, 50, 120, 250)
	w.faults = pick(w.rng, 0, 2, 5, 12, 30)
	w.lag = time.Duration(pick(w.rng, 0, 0, 3, 8, 12)) * time.Second
	records := w.declare()
	var err error
	boot, lag, life := span(w.rng, 2*time.Second, 12*time.Second), span(w.rng, 100*time.Millisecond, 4*time.Second), pick(w.rng, time.Hour, time.Hour, 45*time.Second, 20*time.Second)
	faults, rax := w.rackspaceTrouble(append(w.trouble(), w.balancerTrouble()...))
	w.box, err = sandbox.Start(ctx, sandbox.Options{InMemory: true, Regions: []string{home, region}, Rackspace: rax, Flex: w.flex(), Standing: w.there(), Zones: []sandbox.Zone{{Name: zone + ".", Records: records}},
		Boot: boot, DNSDelay: lag, TokenTTL: life, Faults: faults})
	if err != nil {
		return nil, err
	}
	return w, w.survey(ctx)
}

// trouble is what the cloud itself does wrong.
func (w *world) trouble() []sandbox.Fault {
	var out []sandbox.Fault
	add := func(one int, name, arg string) {
		if w.rng.IntN(100) < one {
			out = append(out, sandbox.Fault{Name: name, Arg: arg})
		}
	}
	add(15, "no-valid-host", pick(w.rng, "m1.small", "1", "2"))
	add(15, "boot-error", pick(w.rng, "1", "2"))
	add(5, "slow-boot", pick(w.rng, "40s", "4m"))
	add(10, "dns-lag", pick(w.rng, "5s", "20s"))
	add(10, "dns-pending", pick(w.rng, "5s", "30s", "4m"))
	return out
}

// declare makes the plan, and gives the records that exist before.
func (w *world) declare() []sandbox.Record {
	r := w.rng
	s := provision.Server{Name: "web", Cloud: "main", Count: 1 + r.IntN(3), Spread: r.IntN(3) == 0, Timeout: 90 * time.Second,
		SSH: provision.SSH{User: "debian", Port: 22}}
	if d := w.dice("pool"); d.IntN(3) == 0 { // not all of them are needed
		s.Need, s.Hedge = 1+d.IntN(s.Count), d.IntN(2)
	}
	if r.IntN(2) == 0 {
		s.FloatingIP = "public"
	}
	if r.IntN(2) == 0 {
		s.Open = []provision.OpenRule{{Protocol: "tcp", Port: 443, PortMax: 443, From: "any"}, {Protocol: "tcp", Port: 22, PortMax: 22, From: "192.0.2.1/32"}}
	}
	plan := provision.Plan{Service: service, Home: home, Regions: []string{region},
		Clouds: []provision.Cloud{{Name: "main", OpenStack: &provision.OpenStack{Entry: "main"}}}}
	if w.crypto || r.IntN(3) == 0 {
		s.Certificate = "edge"
		plan.Certificates = []provision.Certificate{{Name: "edge", Names: []string{"www." + zone}}}
	}
	if w.crypto || r.IntN(4) > 0 {
		s.Ready = &provision.Ready{URL: "https://www." + zone + "/health", Status: 200, Within: 2 * time.Minute, Successes: 1 + r.IntN(2)}
	}
	plan.Servers = []provision.Server{s}
	z := provision.Zone{Name: "public", Zone: zone, Within: 5 * time.Minute, Provider: provision.DNSProvider{Designate: &provision.Designate{Cloud: "main"}}}
	var before []sandbox.Record
	for _, name := range []string{"www", "api"}[:1+r.IntN(2)] {
		rec := provision.Record{Name: name, Host: name, Type: "A", TTL: time.Minute, To: []string{"web"}, Unproven: s.Ready == nil}
		z.Records = append(z.Records, rec)
		old := provision.RRset{Name: z.FQDN(rec), Type: "A"}
		if name == "www" || r.IntN(3) > 0 {
			old.TTL, old.Values = pick(r, 60, 300), []string{"203.0.113.10", "203.0.113.11"}[:1+r.IntN(2)]
			before = append(before, sandbox.Record{Name: old.Name, Type: "A", TTL: old.TTL, Values: old.Values})
		}
		w.old[old.Name] = old
	}
	plan.Zones = []provision.Zone{z}
	if r.IntN(4) == 0 {
		plan.Hooks = []provision.Hook{{Name: "warm", Run: []provision.HookArg{{Text: "warm"}, {AddressesOf: "web"}}, After: []string{"server.web"}, Before: []string{"dns.public"}}}
	}
	w.plan = plan
	w.balance()
	w.toRackspace()
	w.toFlex()
	w.stand()
	for i := range before {
		before[i].TTL = w.old[before[i].Name].TTL
	}
	return before
}

// inventory reads the facts as preflight does, where the seed is one of those that do everything for real; of all
// others a few ids are all that a graph takes from them.
func (w *world) inventory(ctx context.Context) (provision.Inventory, error) {
	images, flavors, networks := w.box.Offers(region)
	ids := provision.Inventory{Images: map[string][]provision.Image{"web": {{ID: images[w.image()], Name: w.image()}}}, Networks: w.networks(networks)}
	for _, name := range w.flavors() {
		ids.Flavors = append(ids.Flavors, provision.Flavor{ID: flavors[name], Name: name})
	}
	if !w.crypto {
		return ids, nil
	}
	c, err := w.connect(w.options(w.box.RoundTripper()))
	if err != nil {
		return ids, err
	}
	if err := c.Connect(ctx); err != nil {
		return ids, err
	}
	return c.Inventory(ctx, openstack.Query{Service: service, Servers: []provision.Server{{Name: "web", Image: provision.ImageWant{Name: w.image()}}}})
}

// survey reads the facts once, before anything goes wrong.
func (w *world) survey(ctx context.Context) error {
	inv, err := w.inventory(ctx)
	if err != nil {
		return err
	}
	if len(inv.Images["web"]) == 0 || len(inv.Flavors) < 3 {
		return fmt.Errorf("the sandbox offers too little: %+v", inv.Unread)
	}
	sf := provision.ServerFacts{Image: inv.Images["web"][0], UserData: []byte("#cloud-config\n"), Hedge: w.plan.Servers[0].Hedge}
	network := w.external()
	if w.plan.Servers[0].FloatingIP != "" {
		network = "private"
	}
	for _, n := range inv.Networks {
		if n.Name == network {
			sf.Networks = []provision.Network{n}
		}
		if n.Name == w.external() && network == "private" {
			sf.Floating = &n
		}
	}
	for _, name := range w.flavors()[:1+w.rng.IntN(3)] {
		for _, f := range inv.Flavors {
			if f.Name == name {
				sf.Rungs = append(sf.Rungs, provision.Rung{Flavor: f})
			}
		}
	}
	if len(sf.Rungs) == 0 {
		return fmt.Errorf("the sandbox has none of the flavors")
	}
	w.facts = provision.Facts{Region: region, At: time.Now(), Servers: map[string]provision.ServerFacts{"web": sf}, Records: map[string]provision.RecordFacts{},
		Certificates: map[string]provision.CertificateFacts{}, Operator: "192.0.2.1/32"}
	for name, old := range w.old {
		w.facts.Records[provision.RecordKey(name, "A")] = provision.RecordFacts{Old: old, NameServers: []string{"ns1." + zone}}
	}
	if err := w.balancerFacts(ctx, inv); err != nil {
		return err
	}
	if len(w.plan.Certificates) > 0 {
		cert, err := edge(original)
		if err != nil {
			return err
		}
		w.facts.Certificates["edge"] = provision.CertificateFacts{Fingerprint: cert.Fingerprint(), NotAfter: cert.Leaf.NotAfter, Source: "memory"}
		w.plan.Certificates[0].CA = keys.ca
	}
	return nil
}

// dice gives the chance of the n-th occurrence of something: it does not depend on what else happens.
func (w *world) dice(what string) *rand.Rand {
	w.mu.Lock()
	n := w.counts[what]
	w.counts[what]++
	w.mu.Unlock()
	h := fnv.New64a()
	_, _ = h.Write(strconv.AppendInt(append([]byte(what), '/'), int64(n), 10))
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// strikes says whether a fault happens now.
func (w *world) strikes(r *rand.Rand) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calm || w.faults <= 0 || r.IntN(1000) >= w.rate {
		return false
	}
	w.faults--
	w.seen.Faults++
	return true
}

func (w *world) wrong(format string, a ...any) {
	w.note("WRONG: "+format, a...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := fmt.Sprintf(format, a...); !slices.Contains(w.problems, p) {
		w.problems = append(w.problems, p)
	}
}

func (w *world) note(format string, a ...any) {
	if !w.telling {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%9.3f ", time.Since(w.began).Seconds())+fmt.Sprintf(format, a...))
}

func pick[T any](r *rand.Rand, among ...T) T { return among[r.IntN(len(among))] }

func span(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from))).Round(time.Millisecond)
}

// runID is a ULID in form: 26 letters and digits.
func runID(seed uint64, n int) provision.RunID {
	return provision.RunID(strings.ToUpper(fmt.Sprintf("01K%020d%03d", seed, n)))
}
