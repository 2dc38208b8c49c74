// Package preflight turns a plan and a cloud that is only read into facts, or into findings that say why not.
//
// It asks everything at once and reports every finding, not the first. Reading (this file) and judging
// (judge_*.go) are apart: judgement is pure, on values. Findings are refuse, warn or note; a warning
// never stops an emergency. Nothing here changes anything, and nothing asks the region that is being left.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Zone is what preflight reads of a zone.
type Zone interface {
	Get(ctx context.Context, name, typ string) (provision.RRset, error)
	NameServers(ctx context.Context) ([]string, error)
}

// limited is a Zone that can tell how many values one record set may have, 0 for any number.
type limited interface {
	MostValues(ctx context.Context) (int, error)
}

// Sources are all that preflight reads. Maps are by the names of the plan's blocks.
type Sources struct {
	// Inventory reads one region of a cloud for the Server blocks that use it.
	Inventory map[string]func(ctx context.Context, servers []provision.Server) (provision.Inventory, error)
	Zones     map[string]Zone
	// Certificate fetches one, whole, from the first place of its ladder that has it: it is judged before any server is made.
	Certificate func(ctx context.Context, name string) (secrets.Got, error)
	// Ask asks one name server.
	Ask func(ctx context.Context, server, name, typ string) (provision.RRset, error)
	// Render gives the user-data of a Server block as it will be sent.
	Render func(s provision.Server, max int) ([]byte, error)
	// Wrap tries whether the place of a certificate would wrap it for as long, and leaves nothing behind; nil: nobody wraps.
	Wrap func(ctx context.Context, certificate string, ttl time.Duration) error
	// Roots gives the trust for a CA of the plan; "" means the system's alone.
	Now func() time.Time
}

// deadline bounds all of preflight: what does not answer by then becomes a finding.
const deadline = 20 * time.Second

// seen is everything that was read.
type seen struct {
	inventories  map[string]provision.Inventory
	certificates map[string]secrets.Got
	challenges   map[string][]provision.Challenge // by certificate
	records      map[string]provision.RecordFacts
	most         map[string]int // by zone: how many values one record set may have
	userData     map[string][]byte
	findings     []provision.Finding
	checks       int
}

// Check reads and judges. plan must be the plan for that region. The error is nil even when findings
// refuse; it is not nil only when reading could not begin.
func Check(ctx context.Context, plan provision.Plan, region string, src Sources) provision.Facts {
	if src.Now == nil {
		src.Now = time.Now
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	r := reader{plan: plan, src: src, seen: seen{
		inventories: map[string]provision.Inventory{}, certificates: map[string]secrets.Got{}, challenges: map[string][]provision.Challenge{},
		records: map[string]provision.RecordFacts{}, most: map[string]int{}, userData: map[string][]byte{},
	}}
	var wg sync.WaitGroup
	for _, c := range plan.Clouds {
		if read := src.Inventory[c.Name]; read != nil {
			wg.Go(func() { r.inventory(ctx, c, read) })
		}
	}
	for _, c := range plan.Certificates {
		wg.Go(func() { r.certificate(ctx, c) })
	}
	for _, z := range plan.Zones {
		wg.Go(func() { r.zone(ctx, z) })
	}
	wg.Wait()
	r.wraps(ctx)
	for _, s := range plan.Servers {
		r.render(s)
	}
	return judge(plan, region, r.seen, src.Now())
}

// reader gathers under one lock.
type reader struct {
	plan provision.Plan
	src  Sources
	mu   sync.Mutex
	seen seen
}

func (r *reader) found(f provision.Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.findings = append(r.seen.findings, f)
}

// refuse makes a finding out of an error, keeping its hint.
func refuse(check, thing string, pos provision.Pos, err error) provision.Finding {
	f := provision.Finding{Weight: provision.Refuse, Check: check, Thing: thing, What: strings.TrimPrefix(err.Error(), thing+": "), Pos: pos}
	var pe *provision.Error
	if errors.As(err, &pe) {
		f.Hint = pe.Hint
	} else {
		f.Hint = secrets.HintOf(err)
	}
	return f
}

// noCertificate says of every place why it gave nothing.
func noCertificate(c provision.Certificate, err error) []provision.Finding {
	thing := "certificate." + c.Name
	var le *secrets.LadderError
	if !errors.As(err, &le) {
		return []provision.Finding{refuse("certificate", thing, c.Pos, err)}
	}
	var out []provision.Finding
	for _, t := range le.Tried {
		f := refuse("certificate", thing, c.Pos, t.Err)
		if len(c.From) > 1 {
			f.What = "secrets." + t.Ref.Store + ": " + f.What
		}
		if len(c.From) > 1 && !secrets.Elsewhere(t.Err) && t.Ref != c.From[len(c.From)-1] {
			f.What += " (what is wrong is not made up for by the next place)"
		}
		out = append(out, f)
	}
	return out
}

func (r *reader) inventory(ctx context.Context, c provision.Cloud, read func(context.Context, []provision.Server) (provision.Inventory, error)) {
	var mine []provision.Server
	for _, s := range r.plan.Servers {
		if s.Cloud == c.Name {
			mine = append(mine, s)
		}
	}
	inv, err := read(ctx, mine)
	if err != nil {
		r.found(refuse("identity", "cloud."+c.Name, c.Pos, err))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.inventories[c.Name] = inv
	r.seen.findings = append(r.seen.findings, inv.Unread...)
	r.seen.checks += 2 // identity and region answered
}

func (r *reader) certificate(ctx context.Context, c provision.Certificate) {
	got, err := r.src.Certificate(ctx, c.Name)
	if err != nil {
		for _, f := range noCertificate(c, err) {
			r.found(f)
		}
		return
	}
	if got.Offer != nil {
		r.challenges(ctx, c, got)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.certificates[c.Name] = got
}

func (r *reader) zone(ctx context.Context, z provision.Zone) {
	zone := r.src.Zones[z.Name]
	if zone == nil {
		return
	}
	thing := "dns." + z.Name
	servers := z.NameServers
	var serversErr error
	sets := make([]provision.RRset, len(z.Records))
	errs := make([]error, len(z.Records))
	var wg sync.WaitGroup
	if len(servers) == 0 {
		wg.Go(func() { servers, serversErr = zone.NameServers(ctx) })
	}
	if l, ok := zone.(limited); ok && slices.ContainsFunc(z.Records, func(rec provision.Record) bool { return values(r.plan, rec) > 1 }) {
		wg.Go(func() {
			if most, err := l.MostValues(ctx); err == nil { // not for everybody to read
				r.mu.Lock()
				defer r.mu.Unlock()
				r.seen.most[z.Name] = most
			}
		})
	}
	for i, rec := range z.Records {
		wg.Go(func() { sets[i], errs[i] = zone.Get(ctx, z.FQDN(rec), rec.Type) })
	}
	wg.Wait()
	if serversErr != nil {
		r.found(refuse("dns", thing, z.Pos, serversErr))
	} else if len(servers) == 0 {
		r.found(refuse("dns", thing, z.Pos, &provision.Error{What: "no authoritative name server is known for " + z.Zone, Hint: "name them: name_servers = [...]"}))
	}
	silent := r.ask(ctx, z, sets, errs, servers)
	if len(silent) > 0 && len(silent) == len(servers) {
		r.found(provision.Finding{Weight: provision.Refuse, Check: "dns", Thing: thing, Pos: z.Pos,
			What: "no authoritative name server answers: " + silent[0], Hint: "a move could not be confirmed; look at the network here, or name servers that answer: name_servers = [...]"})
		return
	}
	for _, s := range silent {
		r.found(provision.Finding{Weight: provision.Warn, Check: "dns", Thing: thing, Pos: z.Pos, What: s})
	}
}

// ask asks every name server for every record and keeps the answers. It gives what the silent ones said.
func (r *reader) ask(ctx context.Context, z provision.Zone, sets []provision.RRset, errs []error, servers []string) []string {
	served := make([][]provision.RRset, len(z.Records))
	quiet := make([]string, len(servers))
	var wg sync.WaitGroup
	for i, rec := range z.Records {
		served[i] = make([]provision.RRset, len(servers))
		for j, ns := range servers {
			wg.Go(func() {
				set, err := r.src.Ask(ctx, ns, z.FQDN(rec), rec.Type)
				if err != nil {
					r.mu.Lock()
					quiet[j] = err.Error()
					r.mu.Unlock()
				}
				served[i][j] = set
			})
		}
	}
	wg.Wait()
	var silent []string
	var answering []string
	for j, q := range quiet {
		if q != "" {
			silent = append(silent, q)
		} else {
			answering = append(answering, servers[j])
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, rec := range z.Records {
		if errs[i] != nil {
			r.seen.findings = append(r.seen.findings, refuse("dns", "dns."+z.Name, rec.Pos, errs[i]))
			continue
		}
		var answers []provision.RRset
		for j := range servers {
			if quiet[j] == "" {
				answers = append(answers, served[i][j])
			}
		}
		r.seen.records[provision.RecordKey(z.FQDN(rec), rec.Type)] = provision.RecordFacts{Old: sets[i], Served: answers, NameServers: answering}
	}
	return silent
}

func (r *reader) render(s provision.Server) {
	limit := 49149 // nova takes 65535 characters of base64
	if inv, ok := r.seen.inventories[s.Cloud]; ok && inv.UserDataMax > 0 {
		limit = inv.UserDataMax
	}
	data, err := r.src.Render(s, limit)
	if err != nil {
		r.found(refuse("template", "server."+s.Name, s.Pos, err))
		return
	}
	r.seen.userData[s.Name] = data
	r.seen.checks++
}

// judge turns what was read into facts. It is pure.
func judge(plan provision.Plan, region string, s seen, now time.Time) provision.Facts {
	j := &judgement{plan: plan, seen: s, now: now, facts: provision.Facts{
		Region: region, At: now, Checks: s.checks, Findings: s.findings,
		Servers: map[string]provision.ServerFacts{}, Balancers: map[string]provision.BalancerFacts{}, Certificates: map[string]provision.CertificateFacts{}, Records: s.records,
	}}
	j.certificates()
	for _, srv := range plan.Servers {
		if inv, ok := s.inventories[srv.Cloud]; ok {
			j.server(srv, inv)
		}
	}
	for _, b := range plan.Balancers {
		if inv, ok := s.inventories[b.Cloud]; ok {
			j.balancer(b, inv)
		}
	}
	for _, c := range plan.Clouds {
		if inv, ok := s.inventories[c.Name]; ok {
			j.quotas(c, inv)
			j.clock(c, inv)
			j.earlier(c, inv)
		}
	}
	j.operator()
	j.dns()
	order := map[provision.Weight]int{provision.Refuse: 0, provision.Warn: 1, provision.Noted: 2}
	slices.SortStableFunc(j.facts.Findings, func(a, b provision.Finding) int {
		if d := order[a.Weight] - order[b.Weight]; d != 0 {
			return d
		}
		return compare(a.Thing+a.What, b.Thing+b.What)
	})
	return j.facts
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// judgement carries the facts while they grow.
type judgement struct {
	plan  provision.Plan
	seen  seen
	now   time.Time
	facts provision.Facts
}

func (j *judgement) find(w provision.Weight, check, thing string, pos provision.Pos, hint, what string, a ...any) {
	j.facts.Findings = append(j.facts.Findings, provision.Finding{Weight: w, Check: check, Thing: thing, Pos: pos, Hint: hint, What: fmt.Sprintf(what, a...)})
}
