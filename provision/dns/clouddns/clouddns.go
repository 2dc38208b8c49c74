// Package clouddns turns one domain of Rackspace's Cloud DNS (v1.0) into a dns.Zone.
//
// That service knows records and no record sets, and changes them by jobs: a change is accepted, and done or failed some
// time later. A set whose number of values stays the same is changed by one request, all or nothing. Else what can be
// changed in place is, and the rest is added or deleted after that; a run that dies between the two finds its set
// halfway, and knows it by the values that only a change of ours can have put there.
//
// Nothing of this was ever run against the live service. Shapes are those of its documents
// (https://docs.rackspace.com/docs/cloud-dns/v1) and of recorded answers; where they contradict each other both are taken.
// It must never touch a record of another name or type, nor the domain itself.
package clouddns

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/dns"
	"github.com/gophercloud/gophercloud/v2"
)

// LeastTTL is the lowest TTL that the service takes, in seconds.
const LeastTTL = 300

const (
	pageSize  = 100
	emptyMost = 3 // a reading answered 2xx without a body is asked again that often, as pyrax does
	pollFirst = 300 * time.Millisecond
	pollMost  = 2 * time.Second
)

// Zone is one domain. It is safe for concurrent use.
type Zone struct {
	sc   *gophercloud.ServiceClient
	name string // without the final dot

	mu  sync.Mutex
	own domain // once known
}

var _ dns.Stepwise = (*Zone)(nil)

// New makes the Zone of a name, with or without the final dot. It sends nothing. The client's endpoint ends in the account.
func New(sc *gophercloud.ServiceClient, name string) *Zone {
	return &Zone{sc: sc, name: strings.TrimSuffix(name, ".")}
}

// ident is an id: a text since release 1.0.35, a number before.
type ident string

// UnmarshalJSON takes both.
func (i *ident) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		*i = ident(b)
		return nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	*i = ident(s)
	return err
}

type domain struct {
	ID   ident  `json:"id"`
	Name string `json:"name"`
}

type record struct {
	ID       ident  `json:"id,omitempty"`
	Name     string `json:"name"`
	Type     string `json:"type,omitempty"`
	Data     string `json:"data"`
	TTL      int    `json:"ttl,omitempty"`
	Priority *int   `json:"priority,omitempty"`
}

// domain looks the domain up, once, by its exact name.
func (z *Zone) domain(ctx context.Context) (domain, error) {
	z.mu.Lock()
	own := z.own
	z.mu.Unlock()
	if own.ID != "" {
		return own, nil
	}
	var got struct {
		Domains []domain `json:"domains"`
	}
	if err := z.get(ctx, "look for domain "+z.name, z.sc.ServiceURL("domains")+"?"+url.Values{"name": {z.name}}.Encode(), &got); err != nil {
		return own, err
	}
	for _, d := range got.Domains {
		if strings.EqualFold(d.Name, z.name) {
			z.mu.Lock()
			z.own = d
			z.mu.Unlock()
			return d, nil
		}
	}
	return own, &provision.Error{Thing: "domain " + z.name, What: "Cloud DNS has no such domain in this account", Class: provision.Final, Hint: "is it another account's?"}
}

// find reads the records of one name and type. It filters by type alone and compares names itself: the service's own
// filter finds nothing where a name has an underscore.
func (z *Zone) find(ctx context.Context, name, typ string) (domain, []record, error) {
	own, err := z.domain(ctx)
	if err != nil {
		return own, nil, err
	}
	var out []record
	for offset := 0; ; offset += pageSize { // an offset must be a multiple of the limit
		var page struct {
			Records []record `json:"records"`
			Links   []struct {
				Rel string `json:"rel"`
			} `json:"links"`
		}
		q := url.Values{"type": {typ}, "limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)}}
		if err := z.get(ctx, "read "+name+" "+typ, z.sc.ServiceURL("domains", string(own.ID), "records")+"?"+q.Encode(), &page); err != nil {
			return own, nil, err
		}
		for _, r := range page.Records {
			if strings.EqualFold(r.Name, strings.TrimSuffix(name, ".")) && r.Type == typ {
				out = append(out, r)
			}
		}
		if !slices.ContainsFunc(page.Links, func(l struct {
			Rel string `json:"rel"`
		}) bool {
			return l.Rel == "next"
		}) && len(page.Records) < pageSize || len(page.Records) == 0 {
			return own, out, nil
		}
	}
}

// rrset makes one of records. TTLs may differ; the longest is how long a resolver may hold the set.
func rrset(name, typ string, records []record) provision.RRset {
	s := provision.RRset{Name: name, Type: typ}
	for _, r := range records {
		s.TTL = max(s.TTL, r.TTL)
		v := r.Data
		if typ == "CNAME" {
			v = strings.TrimSuffix(v, ".") + "."
		}
		s.Values = append(s.Values, v)
	}
	slices.Sort(s.Values)
	return s
}

// data is a value as the service writes it.
func data(typ, value string) string {
	if typ == "CNAME" {
		return strings.TrimSuffix(value, ".")
	}
	return value
}

// Get reads the set.
func (z *Zone) Get(ctx context.Context, name, typ string) (provision.RRset, error) {
	_, records, err := z.find(ctx, name, typ)
	return rrset(name, typ, records), err
}

// Halfway reports whether have holds something of next that old has not, and nothing that neither has. What somebody
// else took out of old does not look like that; but where nothing is to be left, what is left of old goes too.
func (z *Zone) Halfway(old, next, have provision.RRset) bool {
	ours := len(next.Values) == 0 && len(have.Values) > 0
	for _, v := range have.Values {
		isNext, isOld := slices.Contains(next.Values, v), slices.Contains(old.Values, v)
		if !isNext && !isOld {
			return false
		}
		ours = ours || isNext && !isOld
	}
	return ours
}

// Set changes the set and waits for the job of each request: only its end tells whether it was done. There is no
// compare-and-swap: between the comparison and the change lies one round trip.
func (z *Zone) Set(ctx context.Context, old, next provision.RRset) error {
	own, have, err := z.find(ctx, next.Name, next.Type)
	if err != nil {
		return err
	}
	is := rrset(next.Name, next.Type, have)
	if !dns.Same(is.Values, old.Values) && !z.Halfway(old, next, is) || dns.Same(is.Values, old.Values) && len(is.Values) > 0 && is.TTL != old.TTL && is.TTL != next.TTL {
		return dns.ErrChanged
	}
	if len(next.Values) > 0 && next.TTL < LeastTTL {
		return z.low(next)
	}
	var put []record
	missing := slices.DeleteFunc(slices.Clone(next.Values), func(v string) bool { return slices.Contains(is.Values, v) })
	var spare []ident
	for _, r := range have {
		v := rrset(next.Name, next.Type, []record{r}).Values[0]
		switch {
		case slices.Contains(next.Values, v):
			if r.TTL != next.TTL {
				put = append(put, record{ID: r.ID, Name: r.Name, Data: r.Data, TTL: next.TTL})
			}
		case len(missing) > 0: // the name must be there always, though it cannot change
			put = append(put, record{ID: r.ID, Name: r.Name, Data: data(next.Type, missing[0]), TTL: next.TTL})
			missing = missing[1:]
		default:
			spare = append(spare, r.ID)
		}
	}
	records := z.sc.ServiceURL("domains", string(own.ID), "records")
	what := next.Name + " " + next.Type
	if len(put) > 0 {
		if err := z.job(ctx, http.MethodPut, "set "+what, records, map[string]any{"records": put}); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		add := make([]record, len(missing))
		for i, v := range missing {
			add[i] = record{Name: strings.TrimSuffix(next.Name, "."), Type: next.Type, Data: data(next.Type, v), TTL: next.TTL}
		}
		if err := z.job(ctx, http.MethodPost, "add to "+what, records, map[string]any{"records": add}); err != nil {
			return err
		}
	}
	if len(spare) > 0 {
		q := url.Values{}
		for _, id := range spare {
			q.Add("id", string(id))
		}
		// Not all or nothing: what is left is found halfway.
		return z.job(ctx, http.MethodDelete, "take from "+what, records+"?"+q.Encode(), nil)
	}
	return nil
}

func (z *Zone) low(s provision.RRset) error {
	return &provision.Error{Thing: "domain " + z.name, What: fmt.Sprintf("a TTL of %d s for %s is below the %d s that Cloud DNS takes", s.TTL, s.Name, LeastTTL),
		Hint: fmt.Sprintf("ttl = %d", LeastTTL), Class: provision.Final}
}

// LowestTTL is the lowest that a record may have, in seconds.
func (z *Zone) LowestTTL() int { return LeastTTL }

// Settled is always Done: Set waited for its jobs. The name servers follow within a minute or so, and are asked.
func (z *Zone) Settled(context.Context, string, string) (provision.Status, error) {
	return provision.Status{State: provision.Done}, nil
}

// NameServers gives those that the domain names.
func (z *Zone) NameServers(ctx context.Context) ([]string, error) {
	own, err := z.domain(ctx)
	if err != nil {
		return nil, err
	}
	var got struct {
		NameServers []struct {
			Name string `json:"name"`
		} `json:"nameservers"`
	}
	err = z.get(ctx, "read the name servers of "+z.name, z.sc.ServiceURL("domains", string(own.ID))+"?showRecords=false&showSubdomains=false", &got)
	var out []string
	for _, n := range got.NameServers {
		out = append(out, strings.TrimSuffix(n.Name, "."))
	}
	return out, err
}
