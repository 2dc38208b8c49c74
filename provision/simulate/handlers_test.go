package simulate

import (
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/deliver"
	"github.com/dripstat/failover/provision/dns"
	"github.com/dripstat/failover/provision/engine"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/provision/verify"
	"github.com/dripstat/failover/secrets"
)

// handlers wires one process as cmd does, with nothing of any process before it.
func (p *process) handlers(g provision.Graph) (map[provision.Kind]engine.Handler, func(), error) {
	w := p.w
	cloud, err := w.connect(w.options(p, home))
	if err != nil {
		return nil, nil, err
	}
	names, err := w.connectZones(p, cloud)
	if err != nil {
		return nil, nil, err
	}
	zones := dns.Zones{"public": w.public(names)}
	fetch := func(_ context.Context, _, fingerprint string) (secrets.Got, error) {
		c, err := edge(generation(fingerprint))
		return secrets.Got{Tried: secrets.Tried{Certificate: c}}, err
	}
	keeper := &deliver.Keeper{Fetch: fetch}
	m := map[provision.Kind]engine.Handler{
		steps.SlotsChoose: engine.Choose{},
		steps.DNSLower:    dns.Lower(zones),
		steps.DNSMove:     dns.Move(zones),
		steps.DNSRestore:  dns.Restore(zones),
		steps.DNSExpire:   dns.Expire{},
		steps.DNSAgree:    &dns.Agree{Zones: zones, Ask: p.ask},
		steps.HookRun:     &once{p: p, name: "hook", fails: 30},
	}
	if w.crypto {
		prove := &verify.Prove{Dial: p.dial}
		m[steps.LoginCreate] = deliver.LoginCreate{Keeper: keeper}
		m[steps.CertificateFetch] = deliver.CertificateFetch{Keeper: keeper}
		m[steps.CertificateDeliver] = &gave{p, &deliver.Deliver{Keeper: keeper, Dial: p.dial}}
		m[steps.LoginRecall] = deliver.LoginRecall{Keeper: keeper, Former: func(ctx context.Context, name, fingerprint, _ string) (secrets.Got, error) {
			return fetch(ctx, name, fingerprint)
		}}
		m[steps.LoginReplace] = &deliver.LoginReplace{Keeper: keeper, Dial: p.dial}
		m[steps.ServiceProve] = &watched{p, prove}
		m[steps.MemberProve] = &verify.Prove{Dial: p.dial, Plain: true}
		m[steps.ServiceConfirm] = &verify.Confirm{Prove: verify.Prove{Dial: p.dial}, Lookup: p.ask}
	} else {
		login, _ := g.Step("login")
		of := generation(provision.Values{"f": login.With["fingerprint"].Is}.Text("f"))
		m[steps.LoginCreate] = &once{p: p, name: "login", out: provision.Values{"public_key": publicKeys[of]}}
		m[steps.LoginRecall] = &once{p: p, name: "recall", echo: "public_key"}
		m[steps.LoginReplace] = &once{p: p, name: "replace", echo: "public_key", flaky: true}
		m[steps.CertificateFetch] = &once{p: p, name: "fetch", echo: "fingerprint"}
		m[steps.CertificateDeliver] = &gave{p, &once{p: p, name: "deliver", echo: "fingerprint", flaky: true}}
		m[steps.ServiceProve] = &watched{p, &proof{p: p}}
		m[steps.ServiceConfirm] = &proof{p: p}
		m[steps.MemberProve] = &proof{p: p}
	}
	for kind, h := range openstack.Handlers(openstack.Clouds{"main": cloud}, inMemory(g)) {
		m[kind] = h
	}
	p.rackspaceHandlers(cloud, m, keeper, g)
	w.without.handlers(m)
	for kind, h := range m {
		m[kind] = &apart{Handler: h, seen: map[provision.StepID]look{}}
	}
	return m, func() { cloud.Close(); names.Close(); keeper.Forget() }, nil
}

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl failover"

func (p *process) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if p.gone() {
		return nil, errGone
	}
	p.w.queue(fmt.Sprintf("%v %v dial %s", p, ctx.Value(asker{}), addr))
	if r := p.w.dice("dial"); p.w.strikes(r) {
		return nil, reset()
	}
	if host, _, _ := net.SplitHostPort(addr); isHome(host) {
		return p.w.dialHome()
	}
	conn, err := p.w.box.Dial(ctx, network, addr)
	if err == nil {
		context.AfterFunc(p.ctx, func() { conn.Close() })
	}
	return conn, err
}

// ask is the name server, over the network.
func (p *process) ask(ctx context.Context, server, name, typ string) (provision.RRset, error) {
	set := provision.RRset{Name: name, Type: typ}
	if p.gone() {
		return set, errGone
	}
	if r := p.w.dice("ask"); p.w.strikes(r) {
		if err := p.wait(ctx, 2*time.Second); err != nil {
			return set, err
		}
		return set, &provision.Error{What: "name server " + server + " does not answer", Class: provision.Transient}
	}
	p.w.watchAway()
	if s, ok := p.w.box.Serves(name, typ); ok {
		set.TTL, set.Values = s.TTL, slices.Sorted(slices.Values(s.Values))
	}
	return set, nil
}

// once is a step whose effect lives in the process: a hook, a key in memory, a delivery.
type once struct {
	p     *process
	name  string
	out   provision.Values
	echo  string // this argument is the output
	fails int    // per thousand, for good
	flaky bool

	mu   sync.Mutex
	done map[provision.StepID]bool
}

func (h *once) Check(_ context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.done[s.ID] {
		return provision.Status{State: provision.Absent}, nil
	}
	out := h.out
	if h.echo != "" {
		out = provision.Values{h.echo: in[h.echo]}
	}
	return provision.Status{State: provision.Done, Out: out}, nil
}

func (h *once) Do(ctx context.Context, s provision.Step, _ provision.Values) error {
	r := h.p.w.dice(h.name)
	if h.fails > 0 && r.IntN(1000) < h.fails {
		return &provision.Error{What: "the hook failed", Class: provision.Final}
	}
	if h.flaky && h.p.w.strikes(r) {
		return &provision.Error{What: "sshd does not answer yet", Class: provision.Transient}
	}
	if err := h.p.wait(ctx, span(r, 0, 2*time.Second)); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done == nil {
		h.done = map[provision.StepID]bool{}
	}
	h.done[s.ID] = true
	return nil
}

// proof is verify without cryptography: a server answers once it has been up for a moment.
type proof struct{ p *process }

func (h *proof) Do(context.Context, provision.Step, provision.Values) error { return nil }

func (h *proof) Check(_ context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	r := h.p.w.dice("prove")
	if h.p.w.strikes(r) {
		return provision.Status{State: provision.Working, Seen: "does not answer"}, nil
	}
	snap := h.p.w.box.Snapshot()
	for _, a := range in.List("addresses") {
		if isHome(a) && h.p.w.homeAnswers() {
			continue
		}
		if f := in.Text("fingerprint"); h.p.purpose == "deliver" && !h.p.w.serves(snap, a, f) {
			return provision.Status{State: provision.Working, Seen: a + " presents another certificate", Again: time.Second}, nil
		}
		if h.p.w.balancerAnswers(snap, a) {
			continue
		}
		if s, ok := serverAt(snap, a); !ok || s.Status != "ACTIVE" || time.Since(s.Created) < h.p.w.settled() {
			return provision.Status{State: provision.Working, Seen: a + " does not accept a connection", Again: time.Second}, nil
		}
	}
	return provision.Status{State: provision.Done, Out: provision.Values{"proven": strings.Join(in.List("addresses"), " ")}}, nil
}

func (w *world) settled() time.Duration { return 3 * time.Second }

func serverAt(snap sandbox.Snapshot, address string) (sandbox.ServerState, bool) {
	for _, s := range snap.Servers {
		if slices.Contains(s.Addresses, address) && s.TaskState != "deleting" {
			return s, true
		}
	}
	return sandbox.ServerState{}, false
}

// watched notes what was proven, and when.
type watched struct {
	p *process
	engine.Handler
}

func (h *watched) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	st, err := h.Handler.Check(ctx, s, in)
	if err == nil && st.State == provision.Done {
		h.p.mu.Lock()
		for _, a := range in.List("addresses") {
			h.p.proven[a] = time.Now()
		}
		h.p.mu.Unlock()
		if h.p.purpose == "deliver" {
			h.p.w.sees(in)
		}
	}
	return st, err
}

// apart lets no two steps look again in the same instant: what happens at once has no order, and could not be
// repeated. Who sees the same again and again looks less and less often: a minute that brings nothing new teaches
// nothing new.
type apart struct {
	engine.Handler
	mu   sync.Mutex
	seen map[provision.StepID]look
}

// look is what a step saw last, and how often in a row.
type look struct {
	at    provision.State
	said  string
	times int
}

const (
	patience = 8 // looks at one thing before they become rarer
	rarest   = 5 * time.Second
)

// again gives the wait before the next look.
func (a *apart) again(id provision.StepID, st provision.Status) time.Duration {
	wait := st.Again
	if wait <= 0 {
		wait = time.Second
	}
	wait = max(wait, 400*time.Millisecond) // name servers are asked more often than a simulation needs
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.seen[id]
	if l.at != st.State || l.said != st.Seen {
		l = look{at: st.State, said: st.Seen}
	}
	l.times++
	a.seen[id] = l
	if wait < rarest && st.State == provision.Working && l.times > patience {
		wait = min(wait<<min(l.times-patience, 10), rarest)
	}
	return wait
}

func (a *apart) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.ID))
	own := h.Sum32() % 9973
	time.Sleep(time.Duration(own)) // several begin at once, and what is bounded by the same minute ends at once
	st, err := a.Handler.Check(context.WithValue(ctx, asker{}, s.ID), s, in)
	st.Again = a.again(s.ID, st) + time.Duration(own)*time.Microsecond
	time.Sleep(time.Duration(own)) // one list answers several at once
	return st, err
}

func (a *apart) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	return a.Handler.Do(context.WithValue(ctx, asker{}, s.ID), s, in)
}
