package verify

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Lookup asks one name server for the addresses of a name.
type Lookup func(ctx context.Context, nameServer, name, typ string) (provision.RRset, error)

// args of service.prove and service.confirm.
type args struct {
	Addresses   []string `json:"addresses"`
	NameServers []string `json:"name_servers"`
	URL         string   `json:"url"`
	Status      int      `json:"status"`
	Body        string   `json:"body"`
	Successes   int      `json:"successes"`
	Fingerprint string   `json:"fingerprint"`
	CA          string   `json:"ca"`
	Also        []also   `json:"also"`
}

// also is a further name that TLS must complete under.
type also struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	CA          string `json:"ca"`
}

// Prove performs service.prove: every address answers, several times in a row.
type Prove struct {
	Dial Dial
	// Plain makes it perform member.prove: URLs may be http://. Nothing that a name points to is proven so.
	Plain bool

	mu   sync.Mutex
	good map[provision.StepID]int
}

// Do has nothing to do: proof changes nothing.
func (p *Prove) Do(context.Context, provision.Step, provision.Values) error { return nil }

// Check makes one exchange with every address. It is Done after as many good rounds in a row as wanted.
func (p *Prove) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	var a args
	if err := in.Decode(&a); err != nil {
		return provision.Status{}, err
	}
	return p.round(ctx, s.ID, a, a.Addresses)
}

func (p *Prove) round(ctx context.Context, id provision.StepID, a args, addresses []string) (provision.Status, error) {
	if len(addresses) == 0 { // nothing asked is nothing proven
		return provision.Status{}, &provision.Error{What: "there is no address to prove"}
	}
	roots, err := secrets.Roots(a.CA)
	if err != nil {
		return provision.Status{}, err
	}
	errs := make([]error, len(addresses))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, addr := range addresses {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = Answers(ctx, Request{Address: addr, URL: a.URL, Status: a.Status, Body: a.Body, Fingerprint: a.Fingerprint, Roots: roots, Dial: p.Dial, Plain: p.Plain})
			for _, x := range a.Also {
				if errs[i] == nil {
					errs[i] = p.presents(ctx, addr, a.URL, x)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			p.count(id, 0)
			if provision.ClassOf(err) == provision.Final {
				return provision.Status{}, err
			}
			// Not an error of the check: the service is not there yet, and that is what was seen.
			return provision.Status{State: provision.Working, Seen: err.Error(), Again: time.Second}, nil
		}
	}
	want := max(a.Successes, 1)
	if n := p.count(id, 1); n < want {
		return provision.Status{State: provision.Working, Seen: "answers, " + counted(n, want) + " in a row", Again: 200 * time.Millisecond}, nil
	}
	return provision.Status{State: provision.Done, Out: provision.Values{"proven": strings.Join(addresses, " ")},
		Seen: fmt.Sprintf("%s answers %d", a.URL, a.Status)}, nil
}

// presents completes TLS with an address under a further name, on the port of rawURL.
func (p *Prove) presents(ctx context.Context, addr, rawURL string, x also) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	if port := u.Port(); port != "" {
		u.Host = x.Name + ":" + port
	} else {
		u.Host = x.Name
	}
	roots, err := secrets.Roots(x.CA)
	if err != nil {
		return err
	}
	return Presents(ctx, Request{Address: addr, URL: u.String(), Fingerprint: x.Fingerprint, Roots: roots, Dial: p.Dial})
}

// atOnce bounds how many addresses are asked at the same time.
const atOnce = 32

// count adds to the good rounds of a step; 0 starts again.
func (p *Prove) count(id provision.StepID, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.good == nil {
		p.good = map[provision.StepID]int{}
	}
	if n == 0 {
		p.good[id] = 0
	}
	p.good[id] += n
	return p.good[id]
}

// types are those of the records that the addresses are in: a name may have both, each confirmed by itself.
func (a args) types() []string {
	var out []string
	for _, typ := range []string{"A", "AAAA"} {
		if slices.ContainsFunc(a.Addresses, func(s string) bool {
			ip, err := netip.ParseAddr(s)
			return err == nil && (typ == "A") == ip.Unmap().Is4()
		}) {
			out = append(out, typ)
		}
	}
	return out
}

// Confirm performs service.confirm: the proof once more, at the addresses that the name servers give.
type Confirm struct {
	Prove  Prove
	Lookup Lookup
}

// Do has nothing to do.
func (c *Confirm) Do(context.Context, provision.Step, provision.Values) error { return nil }

// Check looks the name up at an authoritative server and proves what it answers. The answer must be
// what the run moved there: anything else is someone else's change.
func (c *Confirm) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	var a args
	if err := in.Decode(&a); err != nil {
		return provision.Status{}, err
	}
	u, err := url.Parse(a.URL)
	if err != nil {
		return provision.Status{}, err
	}
	var set provision.RRset
	err = fmt.Errorf("no name server is known")
	for _, ns := range a.NameServers {
		for _, typ := range a.types() {
			if set, err = c.Lookup(ctx, ns, u.Hostname()+".", typ); err == nil && len(set.Values) > 0 {
				break
			}
		}
		if len(set.Values) > 0 {
			break
		}
	}
	if err != nil {
		return provision.Status{State: provision.Working, Seen: err.Error()}, nil //nolint:nilerr // not there yet, and that is what was seen
	}
	for _, v := range set.Values {
		if !slices.Contains(a.Addresses, v) {
			return provision.Status{State: provision.Working, Seen: fmt.Sprintf("%s gives %s, which this run did not put there", u.Hostname(), v)}, nil
		}
	}
	if len(set.Values) == 0 {
		return provision.Status{State: provision.Working, Seen: u.Hostname() + " has no address"}, nil
	}
	return c.Prove.round(ctx, s.ID, a, set.Values)
}
