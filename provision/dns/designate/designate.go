// Package designate turns one zone of OpenStack's DNS service into a dns.Zone.
//
// It sends no request before it is asked something, looks the zone's id up once, and replaces a record set
// whole, after comparing it with what the caller believes to be there. It must never touch a record set of
// another name or type, nor the zone itself.
package designate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/dns"
	"github.com/gophercloud/gophercloud/v2"
)

// Zone is one zone at designate. It is safe for concurrent use.
type Zone struct {
	sc   *gophercloud.ServiceClient
	name string // with the final dot

	mu   sync.Mutex
	zone zone // once known
	last reading
}

var _ dns.Zone = (*Zone)(nil)

type zone struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	TTL  int    `json:"ttl"`
}

// recordSet is designate's. A TTL of null is the zone's.
type recordSet struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	TTL     *int     `json:"ttl"`
	Records []string `json:"records"`
	Status  string   `json:"status"`
	Action  string   `json:"action"`
}

// New makes the Zone of a name, with or without the final dot. It sends nothing.
func New(sc *gophercloud.ServiceClient, name string) *Zone {
	return &Zone{sc: sc, name: dotted(name)}
}

func dotted(name string) string { return strings.TrimSuffix(name, ".") + "." }

// id looks the zone up, once. Two that ask at the same time cost one request more, not a wrong answer.
func (z *Zone) id(ctx context.Context) (zone, error) {
	z.mu.Lock()
	known := z.zone
	z.mu.Unlock()
	if known.ID != "" {
		return known, nil
	}
	var got struct {
		Zones []zone `json:"zones"`
	}
	if err := z.get(ctx, "look for zone "+z.name, z.sc.ServiceURL("zones")+"?"+url.Values{"name": {z.name}}.Encode(), &got); err != nil {
		return zone{}, err
	}
	for _, x := range got.Zones {
		if strings.EqualFold(x.Name, z.name) {
			z.mu.Lock()
			z.zone = x
			z.mu.Unlock()
			return x, nil
		}
	}
	return zone{}, z.unknown(ctx)
}

// unknown says which zones there are instead, where that can be read.
func (z *Zone) unknown(ctx context.Context) error {
	e := &provision.Error{Thing: "zone " + z.name, What: "designate has no such zone in this project", Class: provision.Final,
		Hint: "is it another project's?"}
	var got struct {
		Zones []zone `json:"zones"`
	}
	if z.get(ctx, "list zones", z.sc.ServiceURL("zones")+"?limit=20", &got) == nil {
		var names []string
		for _, x := range got.Zones {
			names = append(names, strings.TrimSuffix(x.Name, "."))
		}
		if len(names) > 0 {
			e.Hint = "this project has: " + strings.Join(names, ", ")
		} else {
			e.Hint = "this project has no zones at all: is it the right one?"
		}
	}
	return e
}

// find reads the one set of that name and type. The filter takes * for a pattern, so names are compared again.
func (z *Zone) find(ctx context.Context, name, typ string) (zone, recordSet, bool, error) {
	own, err := z.id(ctx)
	if err != nil {
		return zone{}, recordSet{}, false, err
	}
	var got struct {
		Sets []recordSet `json:"recordsets"`
	}
	u := z.sc.ServiceURL("zones", own.ID, "recordsets") + "?" + url.Values{"name": {dotted(name)}, "type": {typ}}.Encode()
	if err := z.get(ctx, "read "+name+" "+typ, u, &got); err != nil {
		return zone{}, recordSet{}, false, err
	}
	for _, s := range got.Sets {
		if strings.EqualFold(s.Name, dotted(name)) && s.Type == typ {
			return own, s, true, nil
		}
	}
	return own, recordSet{}, false, nil
}

// rrset is what a recordSet means. One that is being deleted is not there any more.
func (own zone) rrset(name, typ string, s recordSet, there bool) provision.RRset {
	out := provision.RRset{Name: dotted(name), Type: typ}
	if !there || s.Action == "DELETE" {
		return out
	}
	out.TTL = own.TTL
	if s.TTL != nil {
		out.TTL = *s.TTL
	}
	out.Values = slices.Sorted(slices.Values(s.Records))
	return out
}

// Get reads the set as designate holds it.
func (z *Zone) Get(ctx context.Context, name, typ string) (provision.RRset, error) {
	own, s, there, err := z.find(ctx, name, typ)
	if err != nil {
		return provision.RRset{}, err
	}
	z.mu.Lock()
	z.last = reading{provision.RecordKey(dotted(name), typ), s, there, time.Now()}
	z.mu.Unlock()
	return own.rrset(name, typ, s, there), nil
}

// reading is what the last Get found. A Set that follows at once compares with it instead of asking again:
// a round trip on the critical path, for a window that designate leaves open either way.
type reading struct {
	key   string
	set   recordSet
	there bool
	at    time.Time
}

// readingFor is how long a reading counts.
const readingFor = 500 * time.Millisecond

// current gives the set for a comparison, from the last Get where that was a moment ago. It counts once.
func (z *Zone) current(ctx context.Context, name, typ string) (zone, recordSet, bool, error) {
	z.mu.Lock()
	own, last := z.zone, z.last
	z.last = reading{}
	z.mu.Unlock()
	if last.key == provision.RecordKey(dotted(name), typ) && time.Since(last.at) < readingFor {
		return own, last.set, last.there, nil
	}
	return z.find(ctx, name, typ)
}

// Set replaces the set whole. Designate has no compare-and-swap: between the comparison and the change lies
// one round trip.
func (z *Zone) Set(ctx context.Context, old, next provision.RRset) error {
	if dotted(old.Name) != dotted(next.Name) || old.Type != next.Type {
		return &provision.Error{What: fmt.Sprintf("%s %s cannot become %s %s", old.Name, old.Type, next.Name, next.Type), Class: provision.Final}
	}
	own, s, there, err := z.current(ctx, next.Name, next.Type)
	if err != nil {
		return err
	}
	if !same(own.rrset(next.Name, next.Type, s, there), old) {
		return dns.ErrChanged
	}
	what := "set " + next.Name + " " + next.Type
	sets := z.sc.ServiceURL("zones", own.ID, "recordsets")
	body := map[string]any{"records": next.Values, "ttl": next.TTL}
	switch {
	case len(next.Values) == 0 && len(old.Values) == 0:
		return nil
	case len(next.Values) == 0:
		return z.send(ctx, http.MethodDelete, "delete "+next.Name+" "+next.Type, sets+"/"+s.ID, nil)
	case there && s.Action != "DELETE":
		return z.send(ctx, http.MethodPut, what, sets+"/"+s.ID, body)
	}
	body["name"], body["type"] = dotted(next.Name), next.Type
	err = z.send(ctx, http.MethodPost, what, sets, body)
	if errors.Is(err, errConflict) {
		if there { // the deletion of the former one is still under way
			return &provision.Error{What: what + ": the former record set is still being deleted", Class: provision.Transient}
		}
		return dns.ErrChanged // somebody was faster
	}
	return err
}

// same compares values as a set; a set without values has no TTL.
func same(a, b provision.RRset) bool {
	x, y := slices.Sorted(slices.Values(a.Values)), slices.Sorted(slices.Values(b.Values))
	return slices.EqualFunc(x, y, strings.EqualFold) && (len(x) == 0 || a.TTL == b.TTL)
}

// Settled says whether designate's own name servers have taken the set.
func (z *Zone) Settled(ctx context.Context, name, typ string) (provision.Status, error) {
	_, s, there, err := z.find(ctx, name, typ)
	if err != nil {
		return provision.Status{}, err
	}
	st := provision.Status{Seen: s.Status}
	if s.Action != "" && s.Action != "NONE" {
		st.Seen += " (" + s.Action + ")"
	}
	switch {
	case !there:
		st.State, st.Seen = provision.Done, "no such record set"
	case s.Status == "PENDING", s.Status == "ERROR":
		// ERROR is not the end: designate tries again by itself, every two minutes and when a name server is back.
		st.State = provision.Working
	default:
		st.State = provision.Done
	}
	return st, nil
}

// MostValues gives how many values one record set may have in this project, 0 where that cannot be read: the
// quota is 20 unless the provider says otherwise.
func (z *Zone) MostValues(ctx context.Context) (int, error) {
	var got struct {
		Most int `json:"recordset_records"`
	}
	if err := z.get(ctx, "read the quotas", z.sc.ServiceURL("quotas"), &got); err != nil {
		return 0, err
	}
	return max(got.Most, 0), nil
}

// NameServers gives those that designate itself calls authoritative.
func (z *Zone) NameServers(ctx context.Context) ([]string, error) {
	own, err := z.id(ctx)
	if err != nil {
		return nil, err
	}
	var got struct {
		List []struct {
			Host string `json:"hostname"`
		} `json:"nameservers"`
	}
	if err := z.get(ctx, "read the name servers of "+z.name, z.sc.ServiceURL("zones", own.ID, "nameservers"), &got); err != nil {
		return nil, err
	}
	var out []string
	for _, n := range got.List {
		out = append(out, strings.TrimSuffix(n.Host, "."))
	}
	return out, nil
}

func (z *Zone) get(ctx context.Context, what, u string, out any) error {
	_, err := z.sc.Get(ctx, u, out, &gophercloud.RequestOpts{OkCodes: []int{200}})
	return z.explain(true, what, err)
}

func (z *Zone) send(ctx context.Context, method, what, u string, body any) error {
	o := &gophercloud.RequestOpts{OkCodes: []int{200, 201, 202, 204}, JSONBody: body}
	resp, err := z.sc.Request(ctx, method, u, o)
	if err == nil && resp.Body != nil {
		resp.Body.Close()
	}
	return z.explain(false, what, err)
}

var errConflict = errors.New("it exists already")

// explain makes a *provision.Error, with designate's own message.
func (z *Zone) explain(read bool, what string, err error) error {
	if err == nil {
		return nil
	}
	e := &provision.Error{Thing: "zone " + z.name, What: what, Class: provision.Unknown}
	if read {
		e.Class = provision.Transient
	}
	var u gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &u) {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		e.Err = err
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e.Class = provision.Unknown
		}
		return e
	}
	var fault struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Errors  struct {
			Errors []struct {
				Message string `json:"message"`
			} `json:"errors"`
		} `json:"errors"`
	}
	if json.Unmarshal(u.Body, &fault) == nil {
		e.Said = first(fault.Message, strings.ReplaceAll(fault.Type, "_", " "))
		if len(fault.Errors.Errors) > 0 {
			e.Said += ": " + fault.Errors.Errors[0].Message
		}
		e.Said = line(e.Said)
	}
	if e.Said != "" {
		e.Said = "designate: " + e.Said
	}
	e.What += fmt.Sprintf(": answer %d", u.Actual)
	switch {
	case u.Actual == 409:
		e.Class, e.Err = provision.Final, errConflict
	case u.Actual == 429 || u.Actual == 503:
		e.Class = provision.Transient
	case u.Actual == 403:
		e.Class, e.Hint = provision.Final, "the user needs the right to change record sets of this zone"
	case u.Actual < 500:
		e.Class = provision.Final
	}
	return e
}

func first(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}

// line gives one printable line of bounded length.
func line(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if r := []rune(s); len(r) > 300 {
		return string(r[:299]) + "…"
	}
	return s
}
