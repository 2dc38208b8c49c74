package sandbox

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// zone has two sides: what was asked for (sets, what designate shows and UPDATE
// changes) and what the name server says (served, which follows by changes).
type zone struct {
	id, name, email string
	ttl             int
	serial          uint32
	created         time.Time
	updated         time.Time
	version         int
	sets            map[string]*rrset // by id
	served          map[rrKey]rrData
	changes         []*change    // not yet served, oldest first
	records         []*dnsRecord // as Cloud DNS has them, under Options.Rackspace
	jobs            []*dnsJob
	order           int
}

type rrKey struct{ name, kind string }

type rrData struct {
	ttl    int
	values []string
}

// rrset is a record set as designate knows it.
type rrset struct {
	id, name, kind, description string
	ttl                         *int // nil: the zone's
	values                      []string
	created, updated            time.Time
	version                     int
	last                        *change // the change that made it what it is
	action                      string
	gone                        bool // a DELETE waits to be served
	order                       int
}

// change is one RRset on its way to the name server.
type change struct {
	key    rrKey
	data   *rrData // nil: delete
	active time.Time
	serve  time.Time
	stuck  bool // dns-pending without an end
	served bool
	lag    time.Duration
}

// pending is designate's view: the change has not been confirmed yet. A lagging
// name server is not designate's concern, which is what makes dns-lag nasty.
func (ch *change) pending(now time.Time) bool {
	return ch != nil && (ch.stuck || now.Before(ch.active))
}

func (c *Cloud) addZone(z Zone) error {
	name := fqdn(z.Name)
	if name == "." || c.zones[name] != nil {
		return fmt.Errorf("zone %q: no name, or twice the same", z.Name)
	}
	zn := &zone{id: uuid(), name: name, email: "hostmaster." + name, ttl: 3600, serial: uint32(c.started.Unix()), created: c.started,
		version: 1, sets: map[string]*rrset{}, served: map[rrKey]rrData{}, order: c.nextOrder()}
	c.zones[name] = zn
	ns := c.nsNames(zn)
	records := append([]Record{
		{Name: name, Type: "SOA", TTL: 3600, Values: []string{zn.soaText(ns[0])}},
		{Name: name, Type: "NS", TTL: 3600, Values: ns},
		{Name: ns[0], Type: "A", TTL: 3600, Values: []string{c.nsIP()}},
	}, z.Records...)
	for _, r := range records {
		key := rrKey{fqdn(r.Name), strings.ToUpper(r.Type)}
		if !dns.IsSubDomain(name, key.name) {
			return fmt.Errorf("zone %s: record %s is not in it", name, r.Name)
		}
		if old := zn.find(key); old != nil && (key.kind == "NS" || key.kind == "SOA") {
			return fmt.Errorf("zone %s: the sandbox sets %s itself", name, key.kind)
		} else if old != nil {
			return fmt.Errorf("zone %s: %s %s is there twice", name, key.name, key.kind)
		}
		values, err := canonical(key, r.TTL, r.Values)
		if err != nil {
			return err
		}
		ttl := r.TTL
		rs := &rrset{id: uuid(), name: key.name, kind: key.kind, values: values, created: c.started, version: 1, action: "NONE", order: c.nextOrder()}
		if ttl > 0 {
			rs.ttl = &ttl
		}
		zn.sets[rs.id] = rs
		zn.served[key] = rrData{rs.ttlOr(zn.ttl), values}
	}
	if c.opts.Rackspace != nil || c.opts.Flex {
		zn.seedRecords(c)
	}
	return nil
}

// nsNames are the names of the zone's servers. They are one server in truth,
// reachable by Dial at nsIP:53, so that a client that finds its way by NS and
// A records arrives.
func (c *Cloud) nsNames(z *zone) []string { return []string{"ns1." + z.name} }

func (c *Cloud) nsIP() string {
	if c.base == 0 {
		return "127.0.0.1"
	}
	return net.IPv4(127, c.base, 255, 53).String()
}

func (z *zone) soaText(ns string) string {
	return fmt.Sprintf("%s %s %d 3600 600 86400 300", ns, z.email, z.serial)
}

func (rs *rrset) ttlOr(def int) int {
	if rs.ttl != nil {
		return *rs.ttl
	}
	return def
}

func (z *zone) find(key rrKey) *rrset {
	for _, rs := range z.sets {
		if rs.name == key.name && rs.kind == key.kind && !rs.gone {
			return rs
		}
	}
	return nil
}

func (z *zone) list() []*rrset {
	var all []*rrset
	for _, rs := range z.sets {
		all = append(all, rs)
	}
	slices.SortFunc(all, func(a, b *rrset) int { return cmp.Compare(a.order, b.order) })
	return all
}

// canonical checks the values by parsing them and returns them as they will be
// shown and compared.
func canonical(key rrKey, ttl int, values []string) ([]string, error) {
	var out []string
	for _, v := range values {
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", key.name, ttl, key.kind, v))
		if err != nil || rr == nil || dns.TypeToString[rr.Header().Rrtype] != key.kind {
			return nil, fmt.Errorf("%s %s: %q is no such record", key.name, key.kind, v)
		}
		out = append(out, rdata(rr))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s %s: no records", key.name, key.kind)
	}
	return out, nil
}

// rdata is the text of a record after its header.
func rdata(rr dns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }

// submit sends a change on its way. Designate's changes take DNSDelay and suffer
// dns-pending; an UPDATE reaches the primary at once. Both suffer dns-lag.
func (c *Cloud) submit(z *zone, key rrKey, data *rrData, now time.Time, designate bool) *change {
	ch := &change{key: key, data: data, active: now}
	if designate {
		ch.active = now.Add(c.opts.DNSDelay)
		if f := c.faults["dns-pending"]; f != nil {
			if ch.stuck = f.d == 0; !ch.stuck {
				ch.active = now.Add(f.d)
			}
		}
	}
	if f := c.faults["dns-lag"]; f != nil {
		ch.lag = f.d
	}
	ch.serve = ch.active.Add(ch.lag)
	z.changes = append(z.changes, ch)
	z.updated, z.version = now, z.version+1
	return ch
}

// settle serves what is due, in the order of the due times. A name server takes the zone over as it is at that
// moment: of a record that was changed once more meanwhile it never sees what was in between.
func (z *zone) settle(now time.Time) {
	z.work(now)
	due := slices.Clone(z.changes)
	due = slices.DeleteFunc(due, func(ch *change) bool { return ch.stuck || now.Before(ch.serve) })
	slices.SortStableFunc(due, func(a, b *change) int { return a.serve.Compare(b.serve) })
	for _, ch := range due {
		if ch.served {
			continue
		}
		latest := ch
		for _, newer := range z.changes[slices.Index(z.changes, ch):] {
			if newer.key == ch.key && !newer.stuck && !newer.active.After(ch.serve) {
				latest = newer
			}
		}
		if latest.data == nil {
			delete(z.served, ch.key)
		} else {
			z.served[ch.key] = *latest.data
		}
		for _, older := range z.changes { // one that was stuck must not come back over a newer one
			older.served = older.served || older.key == ch.key
			if older == latest {
				break
			}
		}
		z.serial = max(z.serial+1, uint32(ch.serve.Unix()))
	}
	z.changes = slices.DeleteFunc(z.changes, func(ch *change) bool { return ch.served })
	for id, rs := range z.sets {
		if rs.gone && !rs.last.pending(now) {
			delete(z.sets, id)
		}
	}
}

// unstick lets go what dns-pending and dns-lag held back.
func (c *Cloud) unstick(now time.Time) {
	for _, z := range c.zones {
		for _, ch := range z.changes {
			if at := now.Add(c.opts.DNSDelay); ch.stuck || ch.serve.After(at) {
				if ch.stuck || ch.active.After(at) {
					ch.active = at
				}
				ch.stuck, ch.serve = false, at
			}
		}
	}
}

func (c *Cloud) zoneList() []*zone {
	return ofRegion(c.zones, "", func(z *zone) (string, int) { return "", z.order })
}

// zoneOf is the zone that holds a name: the longest that fits.
func (c *Cloud) zoneOf(name string) *zone {
	var best *zone
	for _, z := range c.zones {
		if dns.IsSubDomain(z.name, name) && (best == nil || len(z.name) > len(best.name)) {
			best = z
		}
	}
	return best
}
